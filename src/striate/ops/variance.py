r"""Variance and standard deviation over some axes: what a normalisation written by hand divides by.

With $m$ values, their mean $\mu$ and the correction $c$ (1 for a sample, 0 for a whole population):

$$ v = \frac{1}{m - c} \sum_i (x_i - \mu)^2, \quad \frac{\partial L}{\partial x_i} = \frac{2 \delta}{m - c} (x_i - \mu);
   \qquad s = \sqrt v, \qquad \frac{\partial L}{\partial x_i} = \frac{\delta}{(m - c)\, s} (x_i - \mu) . $$

The path through the mean adds nothing, because $\sum_j (x_j - \mu) = 0$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axes_of
from striate.ops._forms import floats
from striate.ops._over_axes import OverAxes, apply_over_axes, apply_over_axes_backward
from striate.ops.op import Array, Shape
from striate.ops.working import Grid, Line, Sum, Term, number

__all__ = ["Std", "Var", "std", "std_backward", "var", "var_backward"]


def var(x: Any, *, axis: int | tuple[int, ...] | None = None, correction: float = 1, keepdim: bool = False) -> Array:
    """Return the mean squared distance from the mean over some axes, or over all.

    Args:
        x: Any shape.
        axis: One axis or several; None for all.
        correction: Subtracted from the number of values that the sum of squares is divided by: 1, or 0 as in
            batch normalisation. NumPy calls it `ddof` and takes 0 unless told.
        keepdim: Leave the axes in place with length 1.

    Raises:
        UsageError: an axis that x does not have, or not more values than the correction.

    Example:
        >>> float(var([1, 2, 3, 6])), float(var([1, 2, 3, 6], correction=0))
        (4.666666666666667, 3.5)
    """
    return _apply(Var, "var", x, axis, correction, keepdim)


def var_backward(
    grad_output: Any,
    x: Any,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 1,
    keepdim: bool = False,
) -> Array:
    """Return dL/dx of `var`: 2 g (x - mean) over the number of values less the correction."""
    return _apply_backward(Var, "var_backward", grad_output, x, axis, correction, keepdim)


def std(x: Any, *, axis: int | tuple[int, ...] | None = None, correction: float = 1, keepdim: bool = False) -> Array:
    """Return the root of the variance; arguments as for `var`.

    Example:
        >>> float(std([1, 5], correction=0))
        2.0
    """
    return _apply(Std, "std", x, axis, correction, keepdim)


def std_backward(
    grad_output: Any,
    x: Any,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 1,
    keepdim: bool = False,
) -> Array:
    """Return dL/dx of `std`: g (x - mean) / ((number of values - correction) std), 0 where all are equal."""
    return _apply_backward(Std, "std_backward", grad_output, x, axis, correction, keepdim)


def _apply(kind: type[Var], function: str, x: Any, axis: Any, correction: float, keepdim: bool) -> Array:
    (x,) = floats(function, x=x)
    return apply_over_axes(kind(axes_of(function, axis, dims=x.ndim), keepdim, correction), x)


def _apply_backward(
    kind: type[Var], function: str, grad_output: Any, x: Any, axis: Any, correction: float, keepdim: bool
) -> Array:
    (x,) = floats(function, x=x)
    op = kind(axes_of(function, axis, dims=x.ndim), keepdim, correction)
    return apply_over_axes_backward(op, function, grad_output, x)


def _deviations(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the distance of each value from the mean over some axes."""
    # From one of the values first, so that equal values differ by exactly 0 and not by the rounding of their mean.
    shifted = x - x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))]
    return np.asarray(shifted - shifted.mean(axis=axes, keepdims=True))


@dataclass(frozen=True)
class Var(OverAxes):
    """Variance over axes."""

    correction: float = 1
    name: ClassVar[str] = "var"
    equation: ClassVar[str] = "y = sum of (x - mean)^2 / (number of values - correction)"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy 2 (x - mean) / (number of values - correction)"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape without the reduced axes, or with length 1 there."""
        out, count = super().output_shape(*inputs), math.prod(inputs[0][axis] for axis in self.axes)
        if not 0 <= self.correction < count:
            raise UsageError(
                f"{self.name}: `correction` must be from 0 on and below the number of values, {count} along the axes "
                f"{self.axes} of {inputs[0]}, got {self.correction}. Write correction=0, or take more values."
            )
        return out

    def divisor(self, x: Array) -> float:
        """Return what the sum of squares is divided by."""
        count: int = math.prod(x.shape[axis] for axis in self.axes)
        return count - self.correction

    def reduced(self, x: Array) -> Array:
        """Return the variance."""
        return np.asarray((_deviations(x, self.axes) ** 2).sum(axis=self.axes, keepdims=True) / self.divisor(x))

    def slopes(self, x: Array) -> Array:
        """Return 2 (x - mean) / (m - c)."""
        return np.asarray(2 * _deviations(x, self.axes) / self.divisor(x))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count two additions, a difference and a square a value."""
        return 4 * math.prod(inputs[0])

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the mean, the sum of squares and the quotient."""
        away, mean = _deviations(values, tuple(range(values.ndim))), number(values.mean())
        pairs = zip(away.ravel().tolist(), names, strict=True)
        squares = Sum("squares", tuple(Term((d, d), f"({name} - mean)^2") for d, name in pairs), float((away**2).sum()))
        divisor = f"({values.size} - {number(self.correction)})"
        variance = squares.value / (values.size - self.correction)
        return (
            Line(f"mean of {values.size} values: {mean}"),
            squares,
            Line(f"variance = {number(squares.value)} / {divisor} = {number(variance)}"),
        )


@dataclass(frozen=True)
class Std(Var):
    """Standard deviation over axes."""

    name: ClassVar[str] = "std"
    equation: ClassVar[str] = "y = sqrt(sum of (x - mean)^2 / (number of values - correction))"
    gradient_equation: ClassVar[str] = "dL/dx = dL/dy (x - mean) / ((number of values - correction) y)"

    def reduced(self, x: Array) -> Array:
        """Return the root of the variance."""
        return np.sqrt(super().reduced(x))

    def slopes(self, x: Array) -> Array:
        """Return (x - mean) / ((m - c) y); 0 where all values are equal, as in PyTorch."""
        y, away = self.reduced(x), _deviations(x, self.axes)
        return np.divide(away, self.divisor(x) * y, out=np.zeros_like(away), where=y != 0)

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the parts of the variance, and the root."""
        parts = super().parts(values, names, value)
        return (*parts, Line(f"y = sqrt(variance) = {number(value)}"))
