"""Loops as people write them, healthy and with the faults that only a loop can have; they are watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

import striate
from benchmarks.diagnosis.worlds import World, make_world

__all__ = ["HEALTHY_LOOPS", "LOOP_FAULTS", "watched"]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What a loop does otherwise than it should."""

    clears: bool = True
    clears_late: bool = False
    steps: bool = True
    evaluates: bool = True
    train_mode: bool = True
    eval_mode: bool = True
    softmax: bool = False
    parts: int = 1
    """Batches whose gradients are added up on purpose."""
    clip: float | None = None
    epochs: int = 4
    rate: float = 0.05
    shuffles_labels: bool = False
    few: int | None = None
    """Trains on so many images only, made noisy."""


LOOP_FAULTS: dict[str, tuple[tuple[str, ...], Loop]] = {
    "no zero_grad": (("missing-zero-grad",), Loop(clears=False)),
    "zero_grad between backward and step": (("gradient-not-reaching",), Loop(clears_late=True)),
    "step is never called": (("gradient-not-reaching",), Loop(steps=False)),
    "evaluation in training mode": (("eval-in-train-mode",), Loop(eval_mode=False)),
    "softmax in the loop": (("softmax-before-loss",), Loop(softmax=True)),
    "rate far too high in the loop": (("learning-rate-too-high",), Loop(rate=20.0)),
    "labels shuffled in the loop": (("shuffled-labels",), Loop(shuffles_labels=True)),
    "trained too long on little, in the loop": (("overfitting",), Loop(few=60, epochs=150, rate=0.02)),
}
HEALTHY_LOOPS: dict[str, Loop] = {
    "a plain loop": Loop(),
    "a loop that adds up two batches": Loop(parts=2),
    "a loop that clips": Loop(clip=1.0),
    "a loop without evaluation": Loop(evaluates=False),
}


def watched(architecture: str, loop: Loop, *, seed: int) -> Any:
    """Run a loop under `striate.watch` and return the report."""
    world = make_world(architecture, seed=seed)
    if loop.few is not None:
        generator = torch.Generator().manual_seed(seed)
        world.x = world.x + 1.2 * torch.randn(world.x.shape, generator=generator)
        world.held = (world.held[0] + 1.2 * torch.randn(world.held[0].shape, generator=generator), world.held[1])
        world.x, world.y = world.x[: loop.few], world.y[: loop.few]
    if loop.shuffles_labels:
        world.y = world.y[torch.randperm(len(world.y), generator=torch.Generator().manual_seed(seed))]
    optimizer = torch.optim.SGD(world.model.parameters(), lr=loop.rate, momentum=0.9)
    with striate.watch(world.model, optimizer) as looking:
        for _ in range(loop.epochs):
            _epoch(world, loop, optimizer)
            if loop.evaluates:
                _evaluate(world, loop)
    return looking.report()


def _epoch(world: World, loop: Loop, optimizer: torch.optim.Optimizer) -> None:
    if loop.train_mode:
        world.model.train()
    for number, rows in enumerate(torch.randperm(len(world.x)).split(32)):
        outputs = world.model(world.x[rows])
        loss = functional.cross_entropy(outputs.softmax(1) if loop.softmax else outputs, world.y[rows])
        if loop.clears and number % loop.parts == 0:
            optimizer.zero_grad()
        (loss / loop.parts).backward()
        if loop.clip is not None:
            torch.nn.utils.clip_grad_norm_(world.model.parameters(), loop.clip)
        if loop.clears_late:
            optimizer.zero_grad()
        if loop.steps and (number + 1) % loop.parts == 0:
            optimizer.step()


@torch.no_grad()
def _evaluate(world: World, loop: Loop) -> None:
    if loop.eval_mode:
        world.model.eval()
    for start in range(0, len(world.held[0]), 200):
        functional.cross_entropy(world.model(world.held[0][start : start + 200]), world.held[1][start : start + 200])
