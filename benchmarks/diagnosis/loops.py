"""Loops as people write them, healthy and with the faults that only a loop can have; they are watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import striate
from benchmarks.diagnosis.worlds import World, make_world

__all__ = ["HEALTHY_LOOPS", "LOOP_FAULTS", "Calls", "Loop", "loop_world", "run_loop", "watched"]


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


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What a loop calls, where a package wants its own functions in their place; None: the usual."""

    forward: Callable[[Tensor], Tensor] | None = None
    backward: Callable[[Tensor], Any] | None = None
    step: Callable[[], Any] | None = None
    after: Callable[[Tensor], Any] = lambda loss: None
    """Takes the loss at the end of each batch."""


PLAIN = Calls()
USUAL_LOSS = functional.cross_entropy
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
    world = loop_world(architecture, loop, seed=seed)
    optimizer = world.optimizer(world.model)
    with striate.watch(world.model, optimizer) as looking:
        run_loop(world, loop, optimizer)
    return looking.report()


def loop_world(architecture: str, loop: Loop, *, seed: int) -> World:
    """Return the training that a loop runs."""
    world = make_world(architecture, seed=seed)
    if loop.few is not None:
        generator = torch.Generator().manual_seed(seed)
        world.x = world.x + 1.2 * torch.randn(world.x.shape, generator=generator)
        world.held = (world.held[0] + 1.2 * torch.randn(world.held[0].shape, generator=generator), world.held[1])
        world.x, world.y = world.x[: loop.few], world.y[: loop.few]
    if loop.shuffles_labels:
        world.y = world.y[torch.randperm(len(world.y), generator=torch.Generator().manual_seed(seed))]
    world.optimizer = lambda model: torch.optim.SGD(model.parameters(), lr=loop.rate, momentum=0.9)
    return world


def run_loop(world: World, loop: Loop, optimizer: torch.optim.Optimizer, calls: Calls = PLAIN) -> None:
    """Train as the loop says."""
    for _ in range(loop.epochs):
        _epoch(world, loop, optimizer, calls)
        if loop.evaluates:
            _evaluate(world, loop)


def _batches(world: World) -> Iterator[tuple[Tensor, Tensor]]:
    if world.data is not None:
        yield from world.data
        return
    for rows in torch.randperm(len(world.x)).split(32):
        x = world.x[rows]
        yield x if world.augment is None else world.augment(x), world.y[rows]


def _epoch(world: World, loop: Loop, optimizer: torch.optim.Optimizer, calls: Calls) -> None:
    if loop.train_mode:
        world.model.train()
    for number, (x, y) in enumerate(_batches(world)):
        outputs = (calls.forward or world.model)(x)
        # People write functional.cross_entropy(...) in the loop; `striate.watch` sees it where it is looked up there.
        loss_fn = functional.cross_entropy if world.loss_fn is USUAL_LOSS else world.loss_fn
        loss = loss_fn(outputs.softmax(1) if loop.softmax else outputs, y)
        if loop.clears and number % loop.parts == 0:
            optimizer.zero_grad()
        (calls.backward or Tensor.backward)(loss / loop.parts)
        if loop.clip is not None:
            torch.nn.utils.clip_grad_norm_(world.model.parameters(), loop.clip)
        if loop.clears_late:
            optimizer.zero_grad()
        if loop.steps and (number + 1) % loop.parts == 0:
            (calls.step or optimizer.step)()
        calls.after(loss.detach())


@torch.no_grad()
def _evaluate(world: World, loop: Loop) -> None:
    if loop.eval_mode:
        world.model.eval()
    for start in range(0, len(world.held[0]), 200):
        functional.cross_entropy(world.model(world.held[0][start : start + 200]), world.held[1][start : start + 200])
