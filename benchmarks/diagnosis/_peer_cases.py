"""The cases that another package is given, and whether it can be given them at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.healthy import HEALTHY
from benchmarks.diagnosis.loops import HEALTHY_LOOPS, LOOP_FAULTS, Loop, loop_world
from benchmarks.diagnosis.worlds import World, make_world

__all__ = ["TAKES", "Case", "changed", "peer_cases", "why_not"]

TAKES: dict[str, frozenset[str]] = {
    "torchtest2": frozenset({"model", "data", "augment", "loss", "optimizer"}),
    "torchmortem": frozenset({"model", "data", "augment", "loss", "optimizer", "loop"}),
    "torch-audit": frozenset({"model", "data", "augment", "loss", "optimizer", "loop"}),
    "neural-net-checklist": frozenset({"model", "data", "augment"}),
}
"""What each peer is given. The checklist's documented call has its own loss (cross-entropy) and optimizer."""
TRAINING = Loop(epochs=8, evaluates=False)
"""The loop in which peers that watch loops see a case that has none of its own."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training, faulty or healthy."""

    name: str
    architecture: str
    right: tuple[str, ...]
    """Right causes; none: healthy."""
    make: Callable[[], World]
    loop: Loop | None = None
    """Its own loop."""


def peer_cases(architecture: str, seed: int) -> Iterator[Case]:
    """Yield the cases of one architecture and one seed, and all healthy trainings of that seed.

    Args:
        architecture: A key of `ARCHITECTURES`.
        seed: Of data, weights and faults.
    """

    def faulty(put: Callable[[World], None]) -> World:
        world = make_world(architecture, seed=seed)
        put(world)
        return world

    for name, (causes, put) in FAULTS.items():
        yield Case(name=name, architecture=architecture, right=causes, make=lambda p=put: faulty(p))
    loops = {**LOOP_FAULTS, **{name: ((), loop) for name, loop in HEALTHY_LOOPS.items()}}
    for name, (causes, loop) in loops.items():
        yield Case(
            name=name,
            architecture=architecture,
            right=causes,
            make=lambda o=loop: loop_world(architecture, o, seed=seed),
            loop=loop,
        )
    for name, make in HEALTHY.items():
        yield Case(name=name, architecture="healthy", right=(), make=lambda m=make: m(seed))


def changed(world: World, usual: World) -> set[str]:
    """Say in which parts a training differs from the usual one."""
    parts = {"loss": "loss_fn", "optimizer": "optimizer", "augment": "augment", "validation": "validation"}
    found = {part for part, field in parts.items() if getattr(world, field) is not getattr(usual, field)}
    if world.data is not None or not (torch.equal(world.x, usual.x) and torch.equal(world.y, usual.y)):
        found.add("data")
    before, after = usual.model.state_dict(), world.model.state_dict()
    learns = [[p.requires_grad for p in each.model.parameters()] for each in (usual, world)]
    if (
        repr(world.model) != repr(usual.model)
        or learns[0] != learns[1]
        or any(not torch.equal(before[name], after[name]) for name in before)
    ):
        found.add("model")
    return found


def why_not(peer: str, case: Case, world: World, usual: World) -> str | None:
    """Say why a peer cannot be asked about a case; None: it can.

    Args:
        peer: A key of `TAKES`.
        case: The case.
        world: What it makes.
        usual: The healthy training into which its fault was put.
    """
    takes = TAKES[peer]
    if case.loop is not None and "loop" not in takes:
        return "takes no loop"
    if "loss" not in takes and world.loss_fn is not functional.cross_entropy:
        return "takes no loss but cross-entropy"
    if case.right and case.loop is None and not changed(world, usual) & takes:
        return "is not given what is at fault"
    return None
