r"""Activation functions that followed ReLU: softplus, GELU, SiLU, Mish, and stand-ins for sigmoid, tanh and SiLU.

With the sigmoid $\sigma$, the normal distribution's $\Phi$ and its density $\varphi(x) = e^{-x^2/2} / \sqrt{2\pi}$:

$$ \mathrm{softplus}' = \sigma(\beta x), \qquad \mathrm{silu}' = \sigma + x \sigma (1 - \sigma), \qquad
   \mathrm{gelu}' = \Phi + x \varphi, \qquad \mathrm{logsigmoid}' = \sigma(-x) . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.ops._activation import Activation, apply, apply_backward, with_sign
from striate.ops._arguments import check_choice, check_range
from striate.ops.activation import Sigmoid
from striate.ops.op import Array
from striate.ops.working import number

__all__ = [
    "GELU", "Hardsigmoid", "Hardswish", "LogSigmoid", "Mish", "SiLU", "Softplus", "Softsign", "gelu", "gelu_backward",
    "hardsigmoid", "hardsigmoid_backward", "hardswish", "hardswish_backward", "logsigmoid", "logsigmoid_backward",
    "mish", "mish_backward", "silu", "silu_backward", "softplus", "softplus_backward", "softsign", "softsign_backward",
]  # fmt: skip

# Of the approximation by tanh. Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
TANH_SCALE, TANH_CUBIC = math.sqrt(2 / math.pi), 0.044715


def softplus(x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Smooth ReLU: y = ln(1 + exp(beta x)) / beta, and x itself where beta x exceeds the threshold, as in PyTorch.

    Raises:
        UsageError: beta is not above 0.

    Example:
        >>> softplus([0.0, 100.0]).round(6).tolist()
        [0.693147, 100.0]
    """
    return apply(_softplus("softplus", beta, threshold), x)


def softplus_backward(grad_output: Any, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return dL/dx of `softplus`: the slope is sigmoid(beta x)."""
    return apply_backward(_softplus("softplus_backward", beta, threshold), grad_output, x)


def gelu(x: Any, *, approximate: str = "none") -> Array:
    """Weigh a number by how much of a standard normal distribution lies below it: y = x Phi(x).

    Args:
        x: Any shape.
        approximate: ``"none"`` for the exact form, or ``"tanh"`` for
            x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), off by up to 5e-4.

    Raises:
        UsageError: an approximation of another name.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.

    Example:
        >>> gelu([-1.0, 0.0, 1.0]).round(6).tolist()
        [-0.158655, 0.0, 0.841345]
    """
    return apply(_gelu("gelu", approximate), x)


def gelu_backward(grad_output: Any, x: Any, *, approximate: str = "none") -> Array:
    """Return dL/dx of `gelu`: the slope is Phi(x) + x phi(x), phi the normal density."""
    return apply_backward(_gelu("gelu_backward", approximate), grad_output, x)


def silu(x: Any) -> Array:
    """Weigh a number by its sigmoid: y = x sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya 2018, Neural Networks 107, equation 8.
    """
    return apply(SiLU(), x)


def silu_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `silu`: the slope is s (1 + x (1 - s)), s = sigmoid(x)."""
    return apply_backward(SiLU(), grad_output, x)


def hardsigmoid(x: Any) -> Array:
    """Sigmoid of straight pieces: y = min(max(0, x + 3), 6) / 6."""
    return apply(Hardsigmoid(), x)


def hardsigmoid_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `hardsigmoid`: the slope is 1/6 where -3 < x < 3, else 0."""
    return apply_backward(Hardsigmoid(), grad_output, x)


def hardswish(x: Any) -> Array:
    """SiLU of straight and one curved piece: y = x min(max(0, x + 3), 6) / 6.

    Source: Howard et al. 2019, arXiv:1905.02244 (MobileNetV3), section 5.2.
    """
    return apply(Hardswish(), x)


def hardswish_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `hardswish`: the slope is 0 up to -3, (2x + 3) / 6 up to 3, then 1."""
    return apply_backward(Hardswish(), grad_output, x)


def mish(x: Any) -> Array:
    """Weigh a number by the tanh of its softplus: y = x tanh(ln(1 + exp(x))).

    Source: Misra 2020, arXiv:1908.08681, equation 1.

    Example:
        >>> mish([-1.0, 0.0, 1.0]).round(6).tolist()
        [-0.303401, 0.0, 0.865098]
    """
    return apply(Mish(), x)


def mish_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `mish`: the slope is t + x s (1 - t^2), t = tanh(softplus(x)), s = sigmoid(x)."""
    return apply_backward(Mish(), grad_output, x)


def softsign(x: Any) -> Array:
    """Squeeze numbers into (-1, 1) without an exponential: y = x / (1 + |x|).

    Example:
        >>> softsign([-3.0, 0.0, 1.0]).tolist()
        [-0.75, 0.0, 0.5]
    """
    return apply(Softsign(), x)


def softsign_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `softsign`: the slope 1 / (1 + |x|)^2 vanishes on both sides, more slowly than that of tanh."""
    return apply_backward(Softsign(), grad_output, x)


def logsigmoid(x: Any) -> Array:
    """Return the logarithm of the sigmoid: y = -ln(1 + exp(-x)), computed without overflow on either side.

    Example:
        >>> logsigmoid([-1000.0, 0.0]).round(6).tolist()
        [-1000.0, -0.693147]
    """
    return apply(LogSigmoid(), x)


def logsigmoid_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `logsigmoid`: the slope is sigmoid(-x)."""
    return apply_backward(LogSigmoid(), grad_output, x)


def _softplus(function: str, beta: float, threshold: float) -> Softplus:
    check_range(function, "beta", beta, above=0)
    return Softplus(float(beta), float(threshold))


def _gelu(function: str, approximate: str) -> GELU:
    check_choice(function, "approximate", approximate, ("none", "tanh"))
    return GELU(approximate)


@dataclass(frozen=True)
class Softplus(Activation):
    """Smooth ReLU."""

    beta: float = 1.0
    threshold: float = 20.0
    name: ClassVar[str] = "softplus"
    equation: ClassVar[str] = "y = ln(1 + exp(beta x)) / beta, or x where beta x > threshold"
    derivative: ClassVar[str] = "y' = 1 / (1 + exp(-beta x)), or 1 where beta x > threshold"
    arithmetic: ClassVar[str] = "ln(1 + exp({beta} x {x})) / {beta}"
    flops_per_value: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        """Return ln(1 + exp(beta x)) / beta, or x."""
        scaled = self.beta * x
        return np.where(scaled > self.threshold, x, np.logaddexp(scaled, np.zeros_like(x)) / self.beta)

    def slope(self, x: Array) -> Array:
        """Return sigmoid(beta x), or 1."""
        scaled = self.beta * x
        return np.where(scaled > self.threshold, 1.0, Sigmoid().value(scaled)).astype(x.dtype)

    def formula(self, x: float) -> str:
        """Write the part of the formula that x falls into."""
        return number(x) if self.beta * x > self.threshold else super().formula(x)


@dataclass(frozen=True)
class GELU(Activation):
    """Gaussian error linear unit."""

    approximate: str = "none"
    name: ClassVar[str] = "gelu"
    equation: ClassVar[str] = "y = x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2"
    derivative: ClassVar[str] = "y' = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)"
    flops_per_value: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        """Return x times Phi(x), or times its approximation."""
        return (x * self.share(x)).astype(x.dtype)

    def share(self, x: Array) -> Array:
        """Return Phi(x), or the approximation of it by tanh."""
        if self.approximate == "tanh":
            return np.asarray((1 + np.tanh(TANH_SCALE * (x + TANH_CUBIC * x**3))) / 2)
        # NumPy has no error function; Python's is exact to 1e-15. erfc(-z) is 1 + erf(z) without cancellation.
        doubled = np.frompyfunc(math.erfc, 1, 1)(-x / math.sqrt(2))
        return np.asarray(doubled, dtype=np.float64) / 2

    def slope(self, x: Array) -> Array:
        """Return Phi(x) + x phi(x), or the slope of the approximation."""
        if self.approximate == "tanh":
            t = np.tanh(TANH_SCALE * (x + TANH_CUBIC * x**3))
            density = (1 - t * t) * TANH_SCALE * (1 + 3 * TANH_CUBIC * x**2) / 2
        else:
            density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return (self.share(x) + x * density).astype(x.dtype)

    def formula(self, x: float) -> str:
        """Write the product with its numbers."""
        name = "Phi" if self.approximate == "none" else "approximate Phi"
        share = float(self.share(np.asarray(x)))
        return f"{with_sign(x)} x {name}({number(x)}) = {with_sign(x)} x {number(share)}"


@dataclass(frozen=True)
class SiLU(Activation):
    """Sigmoid linear unit, or swish."""

    name: ClassVar[str] = "silu"
    equation: ClassVar[str] = "y = x / (1 + exp(-x))"
    derivative: ClassVar[str] = "y' = s (1 + x (1 - s)), s = 1 / (1 + exp(-x))"
    arithmetic: ClassVar[str] = "{x} / (1 + exp(-{x}))"
    flops_per_value: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        """Return x sigmoid(x)."""
        return np.asarray(x * Sigmoid().value(x))

    def slope(self, x: Array) -> Array:
        """Return s + x s (1 - s)."""
        return np.asarray(Sigmoid().value(x) + x * Sigmoid().slope(x))


@dataclass(frozen=True)
class Hardsigmoid(Activation):
    """Sigmoid of straight pieces."""

    name: ClassVar[str] = "hardsigmoid"
    equation: ClassVar[str] = "y = min(max(0, x + 3), 6) / 6"
    derivative: ClassVar[str] = "y' = 1/6 if -3 < x < 3, else 0"
    arithmetic: ClassVar[str] = "min(max(0, {x} + 3), 6) / 6"
    flops_per_value: ClassVar[int] = 4

    def value(self, x: Array) -> Array:
        """Return min(max(0, x + 3), 6) / 6."""
        return np.asarray(np.clip(x + 3, 0, 6) / 6)

    def slope(self, x: Array) -> Array:
        """Return 1/6 or 0."""
        return np.where((x > -3) & (x < 3), 1 / 6, 0.0).astype(x.dtype)


@dataclass(frozen=True)
class Hardswish(Activation):
    """SiLU with the hard sigmoid."""

    name: ClassVar[str] = "hardswish"
    equation: ClassVar[str] = "y = x min(max(0, x + 3), 6) / 6"
    derivative: ClassVar[str] = "y' = (2x + 3) / 6 if -3 < x < 3, 1 from 3 on, else 0"
    arithmetic: ClassVar[str] = "{x} x min(max(0, {x} + 3), 6) / 6"
    flops_per_value: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        """Return x min(max(0, x + 3), 6) / 6."""
        return np.asarray(x * np.clip(x + 3, 0, 6) / 6)

    def slope(self, x: Array) -> Array:
        """Return the slope of the piece that x lies on."""
        return np.where(x <= -3, 0.0, np.where(x < 3, (2 * x + 3) / 6, 1.0)).astype(x.dtype)


@dataclass(frozen=True)
class Mish(Activation):
    """A number weighed by the tanh of its softplus."""

    name: ClassVar[str] = "mish"
    equation: ClassVar[str] = "y = x tanh(ln(1 + exp(x)))"
    derivative: ClassVar[str] = "y' = t + x s (1 - t^2), t = tanh(ln(1 + exp(x))), s = sigmoid(x)"
    arithmetic: ClassVar[str] = "{x} x tanh(ln(1 + exp({bare})))"
    flops_per_value: ClassVar[int] = 11

    def weight(self, x: Array) -> Array:
        """Return tanh(softplus(x))."""
        return np.asarray(np.tanh(np.logaddexp(x, np.zeros_like(x))))

    def value(self, x: Array) -> Array:
        """Return x tanh(softplus(x))."""
        return np.asarray(x * self.weight(x))

    def slope(self, x: Array) -> Array:
        """Return t + x s (1 - t^2)."""
        t = self.weight(x)
        return np.asarray(t + x * Sigmoid().value(x) * (1 - t * t))


@dataclass(frozen=True)
class Softsign(Activation):
    """Tanh without an exponential."""

    name: ClassVar[str] = "softsign"
    equation: ClassVar[str] = "y = x / (1 + |x|)"
    derivative: ClassVar[str] = "y' = 1 / (1 + |x|)^2"
    arithmetic: ClassVar[str] = "{x} / (1 + |{bare}|)"
    flops_per_value: ClassVar[int] = 3

    def value(self, x: Array) -> Array:
        """Return x / (1 + |x|)."""
        return np.asarray(x / (1 + np.abs(x)))

    def slope(self, x: Array) -> Array:
        """Return 1 / (1 + |x|)^2."""
        return np.asarray(1 / (1 + np.abs(x)) ** 2)


@dataclass(frozen=True)
class LogSigmoid(Activation):
    """The logarithm of the sigmoid."""

    name: ClassVar[str] = "logsigmoid"
    equation: ClassVar[str] = "y = -ln(1 + exp(-x))"
    derivative: ClassVar[str] = "y' = 1 / (1 + exp(x))"
    arithmetic: ClassVar[str] = "-ln(1 + exp(-{x}))"
    flops_per_value: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        """Return -ln(1 + exp(-x))."""
        return np.asarray(-np.logaddexp(-x, np.zeros_like(x)))

    def slope(self, x: Array) -> Array:
        """Return sigmoid(-x)."""
        return Sigmoid().value(-x)
