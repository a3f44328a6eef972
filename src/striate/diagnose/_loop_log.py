"""What is seen of somebody's own training loop: a record that hooks write into, cheap at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["LoopLog", "find_transform", "is_sampled"]

MOST_KEPT = 2048
"""Samples that are kept for the checks afterwards."""

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda out: out,
    "softmax": lambda out: out.softmax(1),
    "log_softmax": lambda out: out.log_softmax(1),
    "sigmoid": torch.sigmoid,
    "squeeze": lambda out: out.squeeze(1),
    "flatten": lambda out: out.flatten(),
    "squeezed sigmoid": lambda out: torch.sigmoid(out).flatten(),
}
"""What people do between the network and the loss."""


@dataclass(eq=False)
class LoopLog:
    """Counts and sampled measurements of one loop."""

    steps: int = 0
    forwards: int = 0
    """With gradients."""
    backwards: int = 0
    clears: int = 0
    """Calls of zero_grad."""
    trained_in_eval_mode: int = 0
    was_in_training_mode: bool = False
    evaluated_in_training_mode: int = 0
    evaluations: int = 0
    """Forward passes without gradients."""
    stale: list[float] = field(default_factory=list)
    """At sampled steps after the first: the share of a gradient that no backward pass since the last step made."""
    empty: int = 0
    """Sampled steps at which no parameter had a gradient."""
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Step, and loss of a training batch."""
    held: list[tuple[int, float]] = field(default_factory=list)
    """Step, and loss of a batch without gradients."""
    inputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    held_inputs: list[Tensor] = field(default_factory=list)
    loss_fn: Callable[..., Any] | None = None
    transform: str = "nothing"
    unknown_transform: bool = False
    _rooms: dict[str, Tensor] = field(default_factory=dict)
    """A block for inputs and one for targets, of which `inputs` and `targets` are parts."""
    _used: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Training samples kept so far."""
        return sum(map(len, self.inputs))

    def add_pair(self, inputs: Tensor, targets: Tensor) -> None:
        """Keep a training batch, until there are enough."""
        if self.kept < MOST_KEPT and len(inputs) == len(targets):
            self.inputs.append(self._room_for(inputs.detach(), "inputs"))
            self.targets.append(self._room_for(targets.detach(), "targets"))

    def _room_for(self, batch: Tensor, kind: str) -> Tensor:
        """Copy a batch into one large block.

        Small blocks that stay while the loop's own come and go make the C library give memory back to the system and
        take it again at every step: LeNet-5 in batches of 64 took half as long again.
        """
        shape, room = batch.shape[1:], self._rooms.get(kind)
        if room is None or room.shape[1:] != shape or room.dtype != batch.dtype:
            room = self._rooms[kind] = torch.empty((MOST_KEPT + len(batch), *shape), dtype=batch.dtype)
            self._used[kind] = 0
        first = self._used[kind]
        if first + len(batch) > len(room):
            return batch.cpu().clone()
        self._used[kind] = first + len(batch)
        return room[first : first + len(batch)].copy_(batch)


def is_sampled(step: int) -> bool:
    """Say whether a step is looked into: the first four, then one of 32."""
    return step < 4 or step % 32 == 0


def find_transform(outputs: Tensor, given: Tensor) -> str | None:
    """Say what was done to the network's outputs before the loss got them; None: nothing known."""
    for name, transform in TRANSFORMS.items():
        try:
            made = transform(outputs)
        except (RuntimeError, IndexError):
            continue
        if made.shape == given.shape and torch.allclose(made, given, atol=1e-6, equal_nan=True):
            return name
    return None
