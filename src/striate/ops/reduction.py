r"""Operations that make one number of many: mean, sum, product, largest and smallest value over some axes.

$$ y = \frac1m \sum_i x_i: \; \frac{\partial L}{\partial x_i} = \frac{\delta}{m}, \qquad
   y = \sum_i x_i: \; \frac{\partial L}{\partial x_i} = \delta, \qquad
   y = \prod_i x_i: \; \frac{\partial L}{\partial x_i} = \delta \prod_{j \ne i} x_j, \qquad
   y = \max_i x_i: \; \frac{\partial L}{\partial x_i} = \frac{\delta\,[x_i = y]}{\#\{j : x_j = y\}} . $$

The mean over height and width is global average pooling.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from striate.ops._arguments import axes_of
from striate.ops._forms import floats
from striate.ops._over_axes import OverAxes, apply_over_axes, apply_over_axes_backward
from striate.ops.op import Array
from striate.ops.working import Grid, Line, Sum, Term, number

__all__ = [
    "Amax", "Amin", "Mean", "Prod", "Total", "amax", "amax_backward", "amin", "amin_backward", "mean", "mean_backward",
    "prod", "prod_backward", "sum", "sum_backward",
]  # fmt: skip

MOST_FACTORS = 4  # of a product that fits into one line


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


def amin(x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Array:
    """Take the smallest value over some axes, or over all; arguments as for `mean`."""
    return _apply(Amin, "amin", x, axis, keepdim)


def amin_backward(
    grad_output: Any, x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Array:
    """Return dL/dx of `amin`: the gradient to the smallest value, in equal shares where there are several."""
    return _apply_backward(Amin, "amin_backward", grad_output, x, axis, keepdim)


def prod(x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Array:
    """Multiply over some axes, or over all; arguments as for `mean`.

    Example:
        >>> prod([[1, 2], [3, 4]], axis=1).tolist()
        [2.0, 12.0]
    """
    return _apply(Prod, "prod", x, axis, keepdim)


def prod_backward(
    grad_output: Any, x: Any, *, axis: int | tuple[int, ...] | None = None, keepdim: bool = False
) -> Array:
    """Return dL/dx of `prod`: the gradient times the product of all other values, right also where some are 0.

    Example:
        >>> prod_backward(1.0, [2.0, 0.0, 5.0]).tolist()
        [0.0, 10.0, 0.0]
    """
    return _apply_backward(Prod, "prod_backward", grad_output, x, axis, keepdim)


def _apply(kind: type[OverAxes], function: str, x: Any, axis: Any, keepdim: bool) -> Array:
    (x,) = floats(function, x=x)
    return apply_over_axes(kind(axes_of(function, axis, dims=x.ndim), keepdim), x)


def _apply_backward(kind: type[OverAxes], function: str, grad_output: Any, x: Any, axis: Any, keepdim: bool) -> Array:
    (x,) = floats(function, x=x)
    return apply_over_axes_backward(kind(axes_of(function, axis, dims=x.ndim), keepdim), function, grad_output, x)


class Mean(OverAxes):
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


class Total(OverAxes):
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


class Prod(OverAxes):
    """Product over axes."""

    name: ClassVar[str] = "prod"
    equation: ClassVar[str] = "y = product of x"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy times the product of the other values"

    def reduced(self, x: Array) -> Array:
        """Return the product."""
        return np.asarray(x.prod(axis=self.axes, keepdims=True))

    def slopes(self, x: Array) -> Array:
        """Return the product of all values before each, times that of all after it: a quotient would fail at 0."""
        order = (*(axis for axis in range(x.ndim) if axis not in self.axes), *self.axes)
        moved = x.transpose(order)
        lined = moved.reshape(*moved.shape[: x.ndim - len(self.axes)], -1)
        ones = np.ones_like(lined[..., :1])
        before = np.cumprod(np.concatenate((ones, lined[..., :-1]), axis=-1), axis=-1)
        after = np.cumprod(np.concatenate((ones, lined[..., :0:-1]), axis=-1), axis=-1)[..., ::-1]
        return (before * after).reshape(moved.shape).transpose(np.argsort(order))

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the factors."""
        if values.size > MOST_FACTORS:
            rows = values if values.ndim == 2 else values.reshape(1, -1)
            return (Grid("x", rows), Line(f"y = product of {values.size} values = {number(value)}"))
        return (Sum("y", (Term(tuple(values.ravel().tolist()), " ".join(names)),), value),)


class _Extreme(OverAxes):
    """Largest or smallest value over axes."""

    word: ClassVar[str]
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy [x = y] / number of x that equal y"

    @abstractmethod
    def place(self, values: Array) -> int:
        """Return the flat position of the value, the first of several."""

    def slopes(self, x: Array) -> Array:
        """Return equal shares for the values taken, 0 for the others."""
        is_taken = x == self.reduced(x)
        return np.asarray(is_taken / is_taken.sum(axis=self.axes, keepdims=True), dtype=x.dtype)

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the values with the one taken marked, and its place."""
        rows = values if values.ndim == 2 else values.reshape(1, -1)
        row, column = (int(i) for i in np.unravel_index(self.place(rows), rows.shape))
        window = (slice(row, row + 1), slice(column, column + 1))
        place = names[row * rows.shape[1] + column]
        return (Grid("x", rows, window), Line(f"{self.word}: {place} = {number(value)}"))


class Amax(_Extreme):
    """Largest value over axes."""

    name: ClassVar[str] = "amax"
    equation: ClassVar[str] = "y = largest x"
    word: ClassVar[str] = "largest"

    def reduced(self, x: Array) -> Array:
        """Return the largest value."""
        return np.asarray(x.max(axis=self.axes, keepdims=True))

    def place(self, values: Array) -> int:
        """Return where the largest value is."""
        return int(values.argmax())


class Amin(_Extreme):
    """Smallest value over axes."""

    name: ClassVar[str] = "amin"
    equation: ClassVar[str] = "y = smallest x"
    word: ClassVar[str] = "smallest"

    def reduced(self, x: Array) -> Array:
        """Return the smallest value."""
        return np.asarray(x.min(axis=self.axes, keepdims=True))

    def place(self, values: Array) -> int:
        """Return where the smallest value is."""
        return int(values.argmin())
