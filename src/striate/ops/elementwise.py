r"""Elementary functions of one number: exponential, logarithm, roots, absolute value, reciprocal, constant powers.

Users' own layers are made of these: a norm is a root of squares, a temperature an exponential. With
$\delta = \partial L / \partial y$, $\partial L / \partial x = \delta\, f'(x)$:

$$ (e^x)' = e^x, \quad (\ln x)' = \frac1x, \quad (\sqrt x)' = \frac{1}{2 \sqrt x}, \quad
   \Big(\frac{1}{\sqrt x}\Big)' = -\frac{1}{2 x \sqrt x}, \quad |x|' = \mathrm{sign}\,x, \quad
   \Big(\frac1x\Big)' = -\frac{1}{x^2}, \quad (x^p)' = p\, x^{p-1} . $$

Outside its domain a function gives infinity or nan and no error, as in PyTorch: a network that arrives there is
explained, not stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.ops._activation import Activation, apply, apply_backward
from striate.ops.op import Array, Gradients

__all__ = [
    "Abs", "Exp", "Log", "Pow", "Reciprocal", "Rsqrt", "Sqrt", "abs", "abs_backward", "exp", "exp_backward", "log",
    "log_backward", "pow", "pow_backward", "reciprocal", "reciprocal_backward", "rsqrt", "rsqrt_backward", "sqrt",
    "sqrt_backward",
]  # fmt: skip


def exp(x: Any) -> Array:
    """Raise e to the power of a number; from 710 on the result is infinite in float64, from 89 on in float32.

    Example:
        >>> exp([0.0, 1.0]).round(4).tolist()
        [1.0, 2.7183]
    """
    return apply(Exp(), x)


def exp_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `exp`: the slope is y itself."""
    return apply_backward(Exp(), grad_output, x)


def log(x: Any) -> Array:
    """Take the natural logarithm; of 0 it is minus infinity, of a negative number nan.

    Example:
        >>> log([1.0, 10.0]).round(4).tolist()
        [0.0, 2.3026]
    """
    return apply(Log(), x)


def log_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `log`: the slope is 1 / x."""
    return apply_backward(Log(), grad_output, x)


def sqrt(x: Any) -> Array:
    """Take the square root; of a negative number it is nan."""
    return apply(Sqrt(), x)


def sqrt_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `sqrt`: the slope 1 / (2 sqrt(x)) is infinite at 0, which is why norms add a small number."""
    return apply_backward(Sqrt(), grad_output, x)


def rsqrt(x: Any) -> Array:
    """Take one over the square root, what a normalisation multiplies by.

    Example:
        >>> rsqrt([4.0, 0.25]).tolist()
        [0.5, 2.0]
    """
    return apply(Rsqrt(), x)


def rsqrt_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `rsqrt`: the slope is -y^3 / 2."""
    return apply_backward(Rsqrt(), grad_output, x)


def abs(x: Any) -> Array:
    """Drop the sign: y = |x|."""
    return apply(Abs(), x)


def abs_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `abs`: the slope is the sign, and 0 at the kink.

    Example:
        >>> abs_backward([5.0, 5.0, 5.0], [-2.0, 0.0, 3.0]).tolist()
        [-5.0, 0.0, 5.0]
    """
    return apply_backward(Abs(), grad_output, x)


def reciprocal(x: Any) -> Array:
    """Take one over a number; of 0 it is infinity."""
    return apply(Reciprocal(), x)


def reciprocal_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `reciprocal`: the slope is -y^2."""
    return apply_backward(Reciprocal(), grad_output, x)


def pow(x: Any, *, exponent: float) -> Array:
    """Raise numbers to a constant power: y = x^exponent; a negative number to a fractional power is nan.

    Example:
        >>> pow([-2.0, 3.0], exponent=3).tolist()
        [-8.0, 27.0]
    """
    return apply(Pow(float(exponent)), x)


def pow_backward(grad_output: Any, x: Any, *, exponent: float) -> Array:
    """Return dL/dx of `pow`: the slope is exponent x^(exponent - 1), and 0 throughout for the power 0."""
    return apply_backward(Pow(float(exponent)), grad_output, x)


class _Function(Activation):
    """A function whose slope may be infinite."""

    @np.errstate(all="ignore")
    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the slope at every value; 0 times infinity is nan, as in PyTorch."""
        return super().backward(grad_output, *inputs, **parameters)


@dataclass(frozen=True)
class Exp(_Function):
    """Exponential."""

    name: ClassVar[str] = "exp"
    equation: ClassVar[str] = "y = exp(x)"
    derivative: ClassVar[str] = "y' = exp(x)"
    arithmetic: ClassVar[str] = "exp({bare})"

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return exp(x)."""
        return np.asarray(np.exp(x))

    def slope(self, x: Array) -> Array:
        """Return exp(x)."""
        return self.value(x)


@dataclass(frozen=True)
class Log(_Function):
    """Natural logarithm."""

    name: ClassVar[str] = "log"
    equation: ClassVar[str] = "y = ln(x)"
    derivative: ClassVar[str] = "y' = 1 / x"
    arithmetic: ClassVar[str] = "ln({bare})"

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return ln(x)."""
        return np.asarray(np.log(x))

    @np.errstate(all="ignore")
    def slope(self, x: Array) -> Array:
        """Return 1 / x."""
        return np.asarray(1 / x)


@dataclass(frozen=True)
class Sqrt(_Function):
    """Square root."""

    name: ClassVar[str] = "sqrt"
    equation: ClassVar[str] = "y = sqrt(x)"
    derivative: ClassVar[str] = "y' = 1 / (2 sqrt(x))"
    arithmetic: ClassVar[str] = "sqrt({bare})"

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return sqrt(x)."""
        return np.asarray(np.sqrt(x))

    @np.errstate(all="ignore")
    def slope(self, x: Array) -> Array:
        """Return 1 / (2 sqrt(x))."""
        return np.asarray(1 / (2 * np.sqrt(x)))


@dataclass(frozen=True)
class Rsqrt(_Function):
    """One over the square root."""

    name: ClassVar[str] = "rsqrt"
    equation: ClassVar[str] = "y = 1 / sqrt(x)"
    derivative: ClassVar[str] = "y' = -y^3 / 2"
    arithmetic: ClassVar[str] = "1 / sqrt({bare})"
    flops_per_value: ClassVar[int] = 2

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return 1 / sqrt(x)."""
        return np.asarray(1 / np.sqrt(x))

    @np.errstate(all="ignore")
    def slope(self, x: Array) -> Array:
        """Return -y^3 / 2."""
        return np.asarray(-(self.value(x) ** 3) / 2)


@dataclass(frozen=True)
class Abs(_Function):
    """Absolute value."""

    name: ClassVar[str] = "abs"
    equation: ClassVar[str] = "y = |x|"
    derivative: ClassVar[str] = "y' = 1 if x > 0, -1 if x < 0, 0 at 0"
    arithmetic: ClassVar[str] = "|{bare}|"

    def value(self, x: Array) -> Array:
        """Return |x|."""
        return np.asarray(np.abs(x))

    def slope(self, x: Array) -> Array:
        """Return the sign; that of nan counts as 0, as in PyTorch."""
        return np.asarray((x > 0).astype(x.dtype) - (x < 0).astype(x.dtype))


@dataclass(frozen=True)
class Reciprocal(_Function):
    """One over a number."""

    name: ClassVar[str] = "reciprocal"
    equation: ClassVar[str] = "y = 1 / x"
    derivative: ClassVar[str] = "y' = -y^2"
    arithmetic: ClassVar[str] = "1 / {x}"

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return 1 / x."""
        return np.asarray(1 / x)

    @np.errstate(all="ignore")
    def slope(self, x: Array) -> Array:
        """Return -y^2."""
        return np.asarray(-(self.value(x) ** 2))


@dataclass(frozen=True)
class Pow(_Function):
    """A constant power."""

    exponent: float
    name: ClassVar[str] = "pow"
    equation: ClassVar[str] = "y = x^p"
    derivative: ClassVar[str] = "y' = p x^(p - 1)"
    arithmetic: ClassVar[str] = "{x}^{exponent}"

    @np.errstate(all="ignore")
    def value(self, x: Array) -> Array:
        """Return x^p."""
        return np.asarray(np.power(x, self.exponent))

    @np.errstate(all="ignore")
    def slope(self, x: Array) -> Array:
        """Return p x^(p - 1); of the power 0 it is 0 even at x = 0, where x^-1 is infinite."""
        if self.exponent == 0:
            return np.zeros_like(x)
        return np.asarray(self.exponent * np.power(x, self.exponent - 1))
