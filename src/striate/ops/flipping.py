r"""Operations that turn an array round along an axis: flip (mirror) and roll (shift with what falls off coming back).

Both put every value at one other place, so the gradient takes the way back: flipped again, or rolled by the opposite.

$$ \text{flip: } y_i = x_{I - 1 - i}, \qquad \text{roll: } y_i = x_{(i - s) \bmod I} . $$
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axes_of, axis_of, check_axis
from striate.ops._movement import Movement, apply_movement, apply_movement_backward, everything
from striate.ops.op import Array, Shape
from striate.ops.working import Line

__all__ = ["Flip", "Roll", "flip", "flip_backward", "roll", "roll_backward"]


def flip(x: Any, *, axis: int | Sequence[int]) -> Array:
    """Mirror an array along one axis or several; flipping both axes of an image turns it by 180 degrees.

    Raises:
        UsageError: an axis that x does not have, or one twice.

    Example:
        >>> flip([[1, 2], [3, 4]], axis=1).tolist()
        [[2.0, 1.0], [4.0, 3.0]]
    """
    return apply_movement(Flip(axes_of("flip", axis, dims=np.ndim(x))), "flip", x)


def flip_backward(grad_output: Any, x: Any, *, axis: int | Sequence[int]) -> Array:
    """Return dL/dx of `flip`: the gradient flipped, which is the inverse."""
    op = Flip(axes_of("flip_backward", axis, dims=np.ndim(x)))
    return apply_movement_backward(op, "flip_backward", grad_output, x)


def roll(x: Any, *, shifts: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Shift an array along some axes; what falls off at one end comes in at the other.

    Args:
        x: Any shape.
        shifts: By how many places, one number an axis; towards the end where positive.
        axis: One axis or several; None rolls all values as one row, row by row.

    Raises:
        UsageError: not as many shifts as axes, or an axis that x does not have.

    Example:
        >>> roll([1, 2, 3, 4], shifts=1).tolist(), roll([[1, 2], [3, 4]], shifts=-1, axis=0).tolist()
        ([4.0, 1.0, 2.0, 3.0], [[3.0, 4.0], [1.0, 2.0]])
    """
    return apply_movement(_roll("roll", np.ndim(x), shifts, axis), "roll", x)


def roll_backward(
    grad_output: Any, x: Any, *, shifts: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Array:
    """Return dL/dx of `roll`: the gradient rolled by the opposite."""
    op = _roll("roll_backward", np.ndim(x), shifts, axis)
    return apply_movement_backward(op, "roll_backward", grad_output, x)


def _roll(function: str, dims: int, shifts: Any, axis: Any) -> Roll:
    several = (shifts,) if isinstance(shifts, int | np.integer) else tuple(shifts)
    if axis is not None:
        given = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
        axes = tuple(axis_of(function, one, dims=dims) for one in given)
    if len(several) != (1 if axis is None else len(axes)):
        places = "all values at once" if axis is None else f"each of the axes {axes}"
        raise UsageError(
            f"{function}: `shifts` must be one number for {places}, got {shifts!r}. Write shifts=1, axis=0."
        )
    return Roll(tuple(int(shift) for shift in several), None if axis is None else axes)


@dataclass(frozen=True)
class Flip(Movement):
    """A mirror image."""

    axes: tuple[int, ...]
    """Counted from the front."""
    name: ClassVar[str] = "flip"
    equation: ClassVar[str] = "y[i] = x[length - 1 - i] along each axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        for axis in self.axes:
            axis_of(self.name, axis, dims=len(inputs[0]))
        return inputs[0]

    def move(self, x: Array) -> Array:
        """Flip."""
        return np.flip(x, self.axes)

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Flip back."""
        return np.flip(grad_output, self.axes)

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic along each axis."""
        return [Line(f"along axis {axis}: {shape[axis]} - 1 - {position[axis]} = {source[axis]}") for axis in self.axes]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return the positions counted from the other end along a flipped axis."""
        return size - 1 - positions[::-1] if axis + 2 in self.axes else positions


@dataclass(frozen=True)
class Roll(Movement):
    """A shift that comes round."""

    shifts: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    """As many as shifts, counted from the front; None: all values as one row."""
    name: ClassVar[str] = "roll"
    equation: ClassVar[str] = "y[i] = x[(i - shift) mod length] along each axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        for axis in self.axes or ():
            check_axis(self.name, axis, shape=inputs[0])
        return inputs[0]

    def move(self, x: Array) -> Array:
        """Roll."""
        return np.roll(x, self.shifts, self.axes)

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Roll by the opposite."""
        return np.roll(grad_output, tuple(-shift for shift in self.shifts), self.axes)

    def shift(self, axis: int) -> int:
        """Return the shift along an axis; an axis that is named twice adds up."""
        return sum(shift for shift, one in zip(self.shifts, self.axes or (), strict=False) if one == axis)

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic along each axis."""
        if self.axes is None:
            return [Line(f"all values as one row, shifted by {self.shifts[0]}")]
        return [
            Line(f"along axis {axis}: ({position[axis]} - {self.shift(axis)}) mod {shape[axis]} = {source[axis]}")
            for axis in sorted(set(self.axes))
        ]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return where the positions came from; of values rolled as one row every position."""
        if self.axes is None:
            return everything(size)
        return np.unique((positions - self.shift(axis + 2)) % size)
