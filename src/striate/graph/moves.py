"""Several steps that only move numbers, taken by one call of PyTorch: ``x[:, :, ::2, ::2]``, `pixel_shuffle` ..."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

from striate.ops._movement import Movement, everything
from striate.ops.op import Array, Shape
from striate.ops.slicing import Slice

__all__ = ["Moves"]


@dataclass(frozen=True)
class Moves(Movement):
    """Movements one after the other, as one operation.

    Example:
        >>> import numpy as np
        >>> Moves((Slice(0, 1, 3), Slice(1, 0, 4, 2))).forward(np.arange(12).reshape(3, 4)).tolist()
        [[4, 6], [8, 10]]
    """

    name: ClassVar[str] = "moves"
    equation: ClassVar[str] = "y = the values of x at other places"

    steps: tuple[Movement, ...]
    """From first to last; each a `Slice`, `Reshape`, `Permute` or `ChannelShuffle`."""

    def shapes(self, x: Shape) -> list[Shape]:
        """Return the shape before the first step and after each."""
        return [*accumulate(self.steps, lambda shape, step: step.output_shape(shape), initial=x)]

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape after the last step."""
        return self.shapes(inputs[0])[-1]

    def move(self, x: Array) -> Array:
        """Take all steps."""
        for step in self.steps:
            x = step.move(x)
        return x

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Take all steps back."""
        for step, before in reversed([*zip(self.steps, self.shapes(shape), strict=False)]):
            grad_output = step.move_back(grad_output, before)
        return grad_output

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return what slices leave of the positions; after any other step nothing is known of neighbourhoods."""
        if not all(isinstance(step, Slice) for step in self.steps):
            return everything(size)
        for step in reversed(self.steps):
            positions = step.reads(positions, axis=axis, size=size)
        return positions
