r"""Operations that take a part of an array or add a border to it: slice, chunk, pad.

What is cut away gets no gradient, $\partial L / \partial x = 0$ there. The gradient at a constant border ends there;
that at a border of copies (reflect, replicate, circular) goes back to what was copied, where it adds up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axis_of, check_axis, check_choice, check_grad_output
from striate.ops._forms import Pads, floats, per_axis
from striate.ops._movement import Movement, apply_movement, apply_movement_backward
from striate.ops.op import Array, Shape
from striate.ops.working import Line

__all__ = [
    "Pad", "Slice", "chunk", "chunk_backward", "chunk_slices", "pad", "pad_backward", "slice_axis",
    "slice_axis_backward",
]  # fmt: skip

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""PyTorch's names of paddings, and NumPy's."""


def slice_axis(x: Any, *, axis: int, start: int = 0, stop: int | None = None, step: int = 1) -> Array:
    """Take part of an array along one axis, like x[:, start:stop:step] with axis=1; negative bounds count from the end.

    Raises:
        UsageError: an axis that x does not have, or a step below 1.

    Example:
        >>> slice_axis([[1, 2, 3, 4]], axis=1, start=1, stop=-1).tolist()
        [[2.0, 3.0]]
    """
    return apply_movement(_slice("slice_axis", np.shape(x), axis, start, stop, step), "slice_axis", x)


def slice_axis_backward(
    grad_output: Any, x: Any, *, axis: int, start: int = 0, stop: int | None = None, step: int = 1
) -> Array:
    """Return dL/dx of `slice_axis`: the gradient where values were taken, 0 elsewhere."""
    op = _slice("slice_axis_backward", np.shape(x), axis, start, stop, step)
    return apply_movement_backward(op, "slice_axis_backward", grad_output, x)


def chunk(x: Any, *, chunks: int, axis: int = 1) -> tuple[Array, ...]:
    """Cut an array into parts of equal length along one axis; the last may be shorter, and there may be fewer of them.

    Raises:
        UsageError: an axis that x does not have, or fewer than one part.

    Example:
        >>> [part.tolist() for part in chunk([[1, 2, 3, 4, 5]], chunks=2)]
        [[[1.0, 2.0, 3.0]], [[4.0, 5.0]]]
    """
    (x,) = floats("chunk", x=x)
    return tuple(op.forward(x) for op in chunk_slices("chunk", x.shape, chunks=chunks, axis=axis))


def chunk_backward(grad_outputs: Sequence[Any], x: Any, *, chunks: int, axis: int = 1) -> Array:
    """Return dL/dx of `chunk` from the gradients of all parts: they are put one behind the other."""
    function = "chunk_backward"
    (x,) = floats(function, x=x)
    ops = chunk_slices(function, x.shape, chunks=chunks, axis=axis)
    if len(grad_outputs) != len(ops):
        raise UsageError(
            f"{function}: `grad_outputs` must have one gradient a part, {len(ops)}, got {len(grad_outputs)}. "
            "Give zeros for a part that was not used."
        )
    gradients = floats(function, **{f"grad_outputs[{i}]": g for i, g in enumerate(grad_outputs)})
    for op, gradient in zip(ops, gradients, strict=True):
        check_grad_output(function, gradient, op.output_shape(x.shape))
    return np.concatenate(gradients, axis=ops[0].axis)


def chunk_slices(function: str, shape: Shape, *, chunks: int, axis: int) -> list[Slice]:
    """Return the parts of `chunk` as operations, each of which a graph can hold."""
    if chunks < 1:
        raise UsageError(f"{function}: `chunks` must be 1 or more, got {chunks}. Ask for at least one part.")
    axis = axis_of(function, axis, dims=len(shape))
    check_axis(function, axis, shape=shape)
    length = -(-shape[axis] // chunks)
    return [Slice(axis, start, min(start + length, shape[axis])) for start in range(0, shape[axis], length)]


def pad(x: Any, *, padding: Any, mode: str = "constant", value: float = 0.0) -> Array:
    """Add a border along the last axes.

    Args:
        x: Any shape.
        padding: For each of the last axes in their order a pair (before, after). PyTorch's `F.pad` lists the same
            numbers flat and from the last axis on.
        mode: ``"constant"``, ``"reflect"`` (mirror without the edge), ``"replicate"`` (the edge) or ``"circular"``.
        value: The constant.

    Raises:
        UsageError: an unknown mode, pairs for more axes than x has, or a mirror longer than the axis has values.

    Example:
        >>> pad([1, 2, 3], padding=[(1, 2)], mode="reflect").tolist()
        [2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    return apply_movement(_pad("pad", np.ndim(x), padding, mode, value), "pad", x)


def pad_backward(grad_output: Any, x: Any, *, padding: Any, mode: str = "constant", value: float = 0.0) -> Array:
    """Return dL/dx of `pad`: the gradient inside the border, plus that of each value's copies in it."""
    op = _pad("pad_backward", np.ndim(x), padding, mode, value)
    return apply_movement_backward(op, "pad_backward", grad_output, x)


def _slice(function: str, shape: Shape, axis: int, start: int, stop: int | None, step: int) -> Slice:
    axis = axis_of(function, axis, dims=len(shape))
    if step < 1:
        raise UsageError(f"{function}: `step` must be 1 or more, got {step}. Reverse an array with permute or [::-1].")
    return Slice(axis, *slice(start, stop, step).indices(shape[axis]))


def _pad(function: str, dims: int, padding: Any, mode: str, value: float) -> Pad:
    check_choice(function, "mode", mode, tuple(MODES))
    pairs = tuple(padding)
    if len(pairs) > dims or any(np.ndim(pair) != 1 for pair in pairs):
        raise UsageError(
            f"{function}: `padding` must be a pair (before, after) for each of the last axes, at most {dims}, "
            f"got {padding!r}. Write padding=[(1, 1), (1, 1)] for a border of one pixel."
        )
    canonical = [per_axis(function, "padding", tuple(pair), dims=2, smallest=0) for pair in pairs]
    return Pad(
        ((0, 0),) * (dims - len(pairs)) + tuple((before, after) for before, after in canonical), mode, float(value)
    )


@dataclass(frozen=True)
class Slice(Movement):
    """Part of one axis."""

    axis: int
    """Counted from the front."""
    start: int
    """Bounds as in Python's range: from 0, with stop not beyond the length."""
    stop: int
    step: int = 1
    name: ClassVar[str] = "slice"
    equation: ClassVar[str] = "y[i] = x[start + i step]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape with the axis as long as the slice."""
        (x,) = inputs
        check_axis(self.name, self.axis, shape=x)
        if not 0 <= self.start <= x[self.axis] or self.stop > x[self.axis]:
            raise UsageError(
                f"slice: `stop` must lie within the {x[self.axis]} values of axis {self.axis}, got "
                f"{self.start} to {self.stop}. Shorten it."
            )
        return (*x[: self.axis], len(range(self.start, self.stop, self.step)), *x[self.axis + 1 :])

    def index(self) -> Any:
        """Return the slice as an index of an array."""
        return (*[slice(None)] * self.axis, slice(self.start, self.stop, self.step))

    def move(self, x: Array) -> Array:
        """Take the part."""
        return np.asarray(x[self.index()])

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Put the gradient where the part was, zeros elsewhere."""
        gradient = np.zeros(shape, dtype=grad_output.dtype)
        gradient[self.index()] = grad_output
        return gradient

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic along the axis."""
        i = position[self.axis]
        return [Line(f"along axis {self.axis}: {self.start} + {i} x {self.step} = {source[self.axis]}")]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return where the positions lie in the input."""
        return self.start + positions * self.step if axis + 2 == self.axis else positions


@dataclass(frozen=True)
class Pad(Movement):
    """A border."""

    pads: Pads
    """(before, after) of every axis."""
    mode: str = "constant"
    value: float = 0.0
    name: ClassVar[str] = "pad"
    equation: ClassVar[str] = "y[i] = x[i - before] inside the border"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the lengths with their borders."""
        (x,) = inputs
        if len(self.pads) != len(x):
            raise UsageError(
                f"pad: `pads` must have a pair for each of the {len(x)} axes, got {self.pads}. Add (0, 0)."
            )
        for axis, (length, pair) in enumerate(zip(x, self.pads, strict=True)):
            most = {"constant": math.inf, "replicate": math.inf if length else 0, "circular": length}.get(
                self.mode, max(0, length - 1)
            )
            if max(pair) > most:
                raise UsageError(
                    f"pad: `padding` must be at most {most} along axis {axis} of length {length} "
                    f"with mode={self.mode!r}, got {pair}. Pad less, or use mode='replicate'."
                )
        return tuple(before + length + after for length, (before, after) in zip(x, self.pads, strict=True))

    def move(self, x: Array) -> Array:
        """Add the border."""
        return self._padded(x, self.value)

    def origins(self, shape: Shape) -> Array:
        """Return for each output the flat position of its input, -1 in a constant border."""
        return self._padded(np.arange(math.prod(shape), dtype=np.int64).reshape(shape), -1)

    def _padded(self, x: Array, value: float) -> Array:
        if self.mode == "constant":
            return np.pad(x, self.pads, constant_values=value)
        return np.asarray(np.pad(x, self.pads, mode=MODES[self.mode]))  # type: ignore[call-overload]

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Add up the gradients of each value's copies; those of a constant border are dropped."""
        origins = self.origins(shape)
        is_copy = origins >= 0
        total = np.bincount(origins[is_copy], weights=grad_output[is_copy], minlength=math.prod(shape))
        return total.reshape(shape).astype(grad_output.dtype)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return where the positions lie in the input: outside it for a constant, else at what they copy."""
        before, after = self.pads[axis + 2]
        if self.mode == "constant":
            return positions - before
        return np.unique(np.pad(np.arange(size), (before, after), mode=MODES[self.mode])[positions])  # type: ignore[call-overload]
