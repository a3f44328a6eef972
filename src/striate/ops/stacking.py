r"""Operations that lay copies or arrays side by side: stack, expand, repeat, tile.

A stacked array gets its own part of the gradient; a value that was copied gets the sum over its copies:

$$ y_{k\,\cdot} = x^{(k)}: \; \frac{\partial L}{\partial x^{(k)}} = \delta_{k\,\cdot}, \qquad
   y_{i + r I} = x_i: \; \frac{\partial L}{\partial x_i} = \sum_r \delta_{i + r I} . $$
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axis_of, check_grad_output
from striate.ops._forms import floats
from striate.ops._movement import Movement, apply_movement, apply_movement_backward
from striate.ops._pairwise import summed_to
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = [
    "Expand", "Repeat", "Stack", "expand", "expand_backward", "repeat", "repeat_backward", "stack", "stack_backward",
    "tile", "tile_backward",
]  # fmt: skip


def stack(*arrays: Any, axis: int = 0) -> Array:
    """Put arrays of one shape side by side along a new axis.

    Raises:
        UsageError: no arrays, or shapes that differ.

    Example:
        >>> stack([1, 2], [3, 4]).tolist(), stack([1, 2], [3, 4], axis=-1).tolist()
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 3.0], [2.0, 4.0]])
    """
    converted, op = _stack("stack", arrays, axis)
    op.output_shape(*(array.shape for array in converted))
    return op.forward(*converted)


def stack_backward(grad_output: Any, *arrays: Any, axis: int = 0) -> tuple[Array, ...]:
    """Return the gradients of `stack`: each input's own part."""
    converted, op = _stack("stack_backward", arrays, axis)
    (grad_output,) = floats("stack_backward", grad_output=grad_output)
    check_grad_output("stack_backward", grad_output, op.output_shape(*(array.shape for array in converted)))
    return op.backward(grad_output, *converted).inputs


def expand(x: Any, *, shape: Sequence[int]) -> Array:
    """Repeat an array along axes of length 1, or along new axes in front; -1 keeps a length.

    Raises:
        UsageError: a length that is neither that of x, which is not 1, nor -1.

    Example:
        >>> expand([[1], [2]], shape=(-1, 3)).tolist()
        [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    return apply_movement(_expand(np.shape(x), shape), "expand", x)


def expand_backward(grad_output: Any, x: Any, *, shape: Sequence[int]) -> Array:
    """Return dL/dx of `expand`: the sum over the copies."""
    return apply_movement_backward(_expand(np.shape(x), shape), "expand_backward", grad_output, x)


def repeat(x: Any, *, repeats: Sequence[int]) -> Array:
    """Lay copies of an array one behind the other, some along each axis; more numbers than axes add axes in front.

    This is PyTorch's `repeat` and NumPy's `tile`; NumPy's `repeat` is another operation.

    Raises:
        UsageError: fewer numbers than axes, or negative ones.

    Example:
        >>> repeat([1, 2], repeats=(3,)).tolist()
        [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
    """
    return apply_movement(_repeat("repeat", repeats), "repeat", x)


def repeat_backward(grad_output: Any, x: Any, *, repeats: Sequence[int]) -> Array:
    """Return dL/dx of `repeat`: the sum over the copies."""
    return apply_movement_backward(_repeat("repeat_backward", repeats), "repeat_backward", grad_output, x)


def tile(x: Any, *, repeats: Sequence[int]) -> Array:
    """Lay copies side by side like `repeat`; with fewer numbers than axes, those in front are not repeated."""
    return apply_movement(_repeat("tile", repeats, dims=np.ndim(x)), "tile", x)


def tile_backward(grad_output: Any, x: Any, *, repeats: Sequence[int]) -> Array:
    """Return dL/dx of `tile`: the sum over the copies."""
    op = _repeat("tile_backward", repeats, dims=np.ndim(x))
    return apply_movement_backward(op, "tile_backward", grad_output, x)


def _stack(function: str, arrays: tuple[Any, ...], axis: int) -> tuple[list[Array], Stack]:
    if not arrays:
        raise UsageError(
            f"{function}: `arrays` must be at least one array, got none. Give them one by one: stack(a, b)."
        )
    converted = floats(function, **{f"arrays[{i}]": array for i, array in enumerate(arrays)})
    return converted, Stack(axis_of(function, axis, dims=converted[0].ndim + 1))


def _expand(x: Shape, shape: Sequence[int]) -> Expand:
    own = (*[-1] * (len(shape) - len(x)), *x)
    return Expand(tuple(length if n == -1 else int(n) for n, length in zip(shape, own, strict=False)))


def _repeat(function: str, repeats: Sequence[int], *, dims: int = 0) -> Repeat:
    if min(repeats, default=0) < 0:
        raise UsageError(
            f"{function}: `repeats` must be 0 or more along each axis, got {tuple(repeats)}. Count copies."
        )
    return Repeat((*[1] * (dims - len(repeats)), *(int(n) for n in repeats)))


@dataclass(frozen=True)
class Stack(Op):
    """Arrays side by side along a new axis."""

    axis: int = 0
    """Of the output, counted from the front."""
    name: ClassVar[str] = "stack"
    equation: ClassVar[str] = "y[k] = xk along the new axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the inputs' shape with their number at the new axis."""
        first = inputs[0]
        axis_of(self.name, self.axis, dims=len(first) + 1)
        for i, shape in enumerate(inputs):
            if shape != first:
                raise UsageError(
                    f"stack: `arrays` must have one shape, got {first} and {shape}, number {i}. "
                    "Use concat to join arrays along an axis that they have."
                )
        return (*first[: self.axis], len(inputs), *first[self.axis :])

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Put them side by side."""
        return np.stack(inputs, axis=self.axis)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Give each input its part of the gradient."""
        return Gradients(tuple(np.moveaxis(grad_output, self.axis, 0)))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Say which input the value came from, and where it stood there."""
        position = checked(self.name, position, self.output_shape(*(x.shape for x in inputs)))
        which, source = position[self.axis], (*position[: self.axis], *position[self.axis + 1 :])
        value, name = float(inputs[which][source]), named(f"x{which}", source)
        parts = (
            Line(f"axis {self.axis} counts the {len(inputs)} inputs: {which} is x{which}"),
            Line(f"{named('y', position)} is {name}"),
            Sum("y", (Term((value,), name),), value),
        )
        return Working(f"stack at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Say where the gradient of one value of ``input``, ``input1`` ... comes from."""
        names = ["input", *(f"input{i}" for i in range(1, len(inputs)))]
        if of not in names:
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        which = names.index(of)
        position = checked(self.name, position, inputs[which].shape)
        target = (*position[: self.axis], which, *position[self.axis :])
        value = float(grad_output[target])
        parts = (
            Line(f"{named(f'x{which}', position)} went to {named('y', target)}"),
            Sum(f"dL/dx{which}", (Term((value,), named("dL/dy", target)),), value),
        )
        return Working(f"stack, dL/d{of} at {list(position)}", f"dL/dx{which} = its part of dL/dy", parts, value)


@dataclass(frozen=True)
class Expand(Movement):
    """Copies along axes of length 1 and along new axes in front."""

    shape: tuple[int, ...]
    name: ClassVar[str] = "expand"
    equation: ClassVar[str] = "y = x, the same along each repeated axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape."""
        (x,) = inputs
        own = self.shape[len(self.shape) - len(x) :]
        if (
            len(x) > len(self.shape)
            or min(self.shape, default=0) < 0
            or any(n not in (1, m) for n, m in zip(x, own, strict=True))
        ):
            raise UsageError(
                f"expand: `shape` must keep the lengths of x {x} that are not 1, and may add axes in front, "
                f"got {self.shape}. Use repeat to lay copies along a longer axis."
            )
        return self.shape

    def move(self, x: Array) -> Array:
        """Copy."""
        return np.broadcast_to(x, self.shape).copy()

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Add up the gradients of the copies."""
        return summed_to(grad_output, shape)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return the same positions, or the only one of an axis of length 1."""
        return np.unique(np.minimum(positions, size - 1))


@dataclass(frozen=True)
class Repeat(Movement):
    """Copies of the whole array one behind the other."""

    repeats: tuple[int, ...]
    """How many along each axis of the output."""
    name: ClassVar[str] = "repeat"
    equation: ClassVar[str] = "y[i] = x[i mod length] along each axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the lengths times the numbers of copies."""
        (x,) = inputs
        if len(self.repeats) < len(x):
            raise UsageError(
                f"repeat: `repeats` must have a number for each of the {len(x)} axes of x {x}, got {self.repeats}. "
                "Write 1 for an axis that is not repeated."
            )
        own = (*[1] * (len(self.repeats) - len(x)), *x)
        return tuple(n * count for n, count in zip(own, self.repeats, strict=True))

    def move(self, x: Array) -> Array:
        """Copy."""
        return np.tile(x, self.repeats)

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Add up the gradients of the copies."""
        own = (*[1] * (len(self.repeats) - len(shape)), *shape)
        pairs = [length for pair in zip(self.repeats, own, strict=True) for length in pair]
        total = grad_output.reshape(pairs).sum(axis=tuple(range(0, len(pairs), 2)))
        return np.asarray(total).reshape(shape)

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic along the axes that are repeated."""
        added = len(self.repeats) - len(shape)
        return [
            Line(f"along axis {axis + added}: {position[axis + added]} mod {length} = {source[axis]}")
            for axis, length in enumerate(shape)
            if self.repeats[axis + added] > 1
        ]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return which positions the copies are of."""
        return np.unique(positions % size)
