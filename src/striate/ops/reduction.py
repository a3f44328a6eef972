r"""Operations that make one number of many: mean, sum and largest value over some axes.

$$ y = \frac1m \sum_i x_i: \; \frac{\partial L}{\partial x_i} = \frac{\delta}{m}, \qquad
   y = \sum_i x_i: \; \frac{\partial L}{\partial x_i} = \delta, \qquad
   y = \max_i x_i: \; \frac{\partial L}{\partial x_i} = \frac{\delta\,[x_i = y]}{\#\{j : x_j = y\}} . $$

The mean over height and width is global average pooling.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axes_of, check_grad_output
from striate.ops._forms import floats
from striate.ops._movement import everything
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working, number

__all__ = ["Amax", "Mean", "Total", "amax", "amax_backward", "mean", "mean_backward", "sum", "sum_backward"]


def mean(x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Array:
    """Average over some axes, or over all.

    Args:
        x: Any shape.
        axis: One axis or several; None for all.
        keepdim: Leave the axes in place with length 1.

    Raises:
        UsageError: an axis that x does not have, or no values.

    Example:
        >>> mean([[[[1, 2], [3, 6]]]], axis=(2, 3)).tolist()
        [[3.0]]
    """
    return _apply(Mean, "mean", x, axis, keepdim)


def mean_backward(
    grad_output: Any, x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Array:
    """Return dL/dx of `mean`: the gradient over the number of values, to each of them."""
    return _apply_backward(Mean, "mean_backward", grad_output, x, axis, keepdim)


def sum(x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Array:
    """Add up over some axes, or over all; arguments as for `mean`.

    Example:
        >>> sum([[1, 2], [3, 4]], axis=1).tolist()
        [3.0, 7.0]
    """
    return _apply(Total, "sum", x, axis, keepdim)


def sum_backward(
    grad_output: Any, x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Array:
    """Return dL/dx of `sum`: the gradient, to each of the values."""
    return _apply_backward(Total, "sum_backward", grad_output, x, axis, keepdim)


def amax(x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Array:
    """Take the largest value over some axes, or over all; arguments as for `mean`.

    Example:
        >>> amax([[1, 2], [3, 4]], axis=0).tolist()
        [3.0, 4.0]
    """
    return _apply(Amax, "amax", x, axis, keepdim)


def amax_backward(
    grad_output: Any, x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Array:
    """Return dL/dx of `amax`: the gradient to the largest value, in equal shares where there are several.

    Example:
        >>> amax_backward(1.0, [2.0, 5.0, 5.0]).tolist()
        [0.0, 0.5, 0.5]
    """
    return _apply_backward(Amax, "amax_backward", grad_output, x, axis, keepdim)


def _apply(kind: type[_Reduction], function: str, x: Any, axis: Any, keepdim: bool) -> Array:
    (x,) = floats(function, x=x)
    op = kind(axes_of(function, axis, dims=x.ndim), keepdim)
    op.output_shape(x.shape)
    return op.forward(x)


def _apply_backward(kind: type[_Reduction], function: str, grad_output: Any, x: Any, axis: Any, keepdim: bool) -> Array:
    grad_output, x = floats(function, grad_output=grad_output, x=x)
    op = kind(axes_of(function, axis, dims=x.ndim), keepdim)
    check_grad_output(function, grad_output, op.output_shape(x.shape))
    return op.backward(grad_output, x).inputs[0]


@dataclass(frozen=True)
class _Reduction(Op):
    """One number of all values along some axes."""

    axes: tuple[int, ...]
    """Counted from the front, ascending."""
    keepdim: bool = False
    gradient_equation: ClassVar[str]

    @abstractmethod
    def reduced(self, x: Array) -> Array:
        """Return the output with the reduced axes left in place."""

    @abstractmethod
    def slopes(self, x: Array) -> Array:
        """Return dy/dx for each value."""

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape without the reduced axes, or with length 1 there."""
        (x,) = inputs
        if any(axis >= len(x) or x[axis] == 0 for axis in self.axes):
            raise UsageError(
                f"{self.name}: `x` must have values along the axes {self.axes}, got shape {x}. Name axes that it has."
            )
        if self.keepdim:
            return tuple(1 if axis in self.axes else n for axis, n in enumerate(x))
        return tuple(n for axis, n in enumerate(x) if axis not in self.axes)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Reduce."""
        (x,) = inputs
        return np.asarray(self.reduced(x)).reshape(self.output_shape(x.shape))

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Hand the gradient of each output to the values it came from, times their slopes."""
        (x,) = inputs
        kept = tuple(1 if axis in self.axes else n for axis, n in enumerate(x.shape))
        return Gradients((grad_output.reshape(kept) * self.slopes(x),))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one step a value."""
        return math.prod(inputs[0])

    def cells(self, position: tuple[int, ...], dims: int) -> Any:
        """Return the index of all values that one output was made of."""
        kept = iter(position)
        index: list[Any] = []
        for axis in range(dims):
            if axis not in self.axes:
                index.append(next(kept))
            else:
                index.append(slice(None))
                if self.keepdim:
                    next(kept)
        return tuple(index)

    def names(self, index: Any, shape: Shape) -> list[str]:
        """Return the names of those values, row by row."""
        ranges = [range(n) if isinstance(i, slice) else [i] for i, n in zip(index, shape, strict=True)]
        return [f"x{list(cell)}" for cell in product(*ranges)]

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the working of one output from its values."""
        terms = tuple(Term((v,), name) for v, name in zip(values.ravel().tolist(), names, strict=True))
        return (Sum("sum", terms, float(values.sum())),)

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into the values that it was made of."""
        (x,) = inputs
        position = checked(self.name, position, self.output_shape(x.shape))
        index = self.cells(position, x.ndim)
        values = np.asarray(x[index], dtype=np.float64)
        value = float(type(self)(tuple(range(values.ndim))).forward(values))
        parts = self.parts(values, self.names(index, x.shape), value)
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Write dL/dx as the gradient of its output times the slope."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        position = checked(self.name, position, x.shape)
        kept = tuple(0 if axis in self.axes else i for axis, i in enumerate(position))
        place = kept if self.keepdim else tuple(i for axis, i in enumerate(position) if axis not in self.axes)
        slope = float(self.slopes(x)[position])
        value = float(self.backward(grad_output, x).inputs[0][position])
        term = Term((float(grad_output[place]), slope), f"{named('dL/dy', place)} dy/dx")
        parts = (Line(f"dy/dx = {number(slope)}"), Sum("dL/dx", (term,), value))
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, parts, value)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position along a reduced axis, the same one along another."""
        return everything(size) if axis + 2 in self.axes else positions


class Mean(_Reduction):
    """Mean over axes."""

    name: ClassVar[str] = "mean"
    equation: ClassVar[str] = "y = sum of x / number of values"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy / number of values"

    def reduced(self, x: Array) -> Array:
        """Return the mean."""
        return np.asarray(x.mean(axis=self.axes, keepdims=True))

    def slopes(self, x: Array) -> Array:
        """Return one over the number of values."""
        return np.full_like(x, 1 / math.prod(x.shape[axis] for axis in self.axes))

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the sum and the quotient."""
        total = float(values.sum())
        return (*super().parts(values, names, value), Line(f"y = {number(total)} / {values.size} = {number(value)}"))


class Total(_Reduction):
    """Sum over axes."""

    name: ClassVar[str] = "sum"
    equation: ClassVar[str] = "y = sum of x"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy"

    def reduced(self, x: Array) -> Array:
        """Return the sum."""
        return np.asarray(x.sum(axis=self.axes, keepdims=True))

    def slopes(self, x: Array) -> Array:
        """Return 1."""
        return np.ones_like(x)


class Amax(_Reduction):
    """Largest value over axes."""

    name: ClassVar[str] = "amax"
    equation: ClassVar[str] = "y = largest x"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy [x = y] / number of x that equal y"

    def reduced(self, x: Array) -> Array:
        """Return the largest value."""
        return np.asarray(x.max(axis=self.axes, keepdims=True))

    def slopes(self, x: Array) -> Array:
        """Return equal shares for the largest values, 0 for the others."""
        is_largest = x == self.reduced(x)
        return np.asarray(is_largest / is_largest.sum(axis=self.axes, keepdims=True), dtype=x.dtype)

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the values with the largest marked, and its place."""
        rows = values if values.ndim == 2 else values.reshape(1, -1)
        row, column = (int(i) for i in np.unravel_index(int(rows.argmax()), rows.shape))
        window = (slice(row, row + 1), slice(column, column + 1))
        place = names[row * rows.shape[1] + column]
        return (Grid("x", rows, window), Line(f"largest: {place} = {number(value)}"))
