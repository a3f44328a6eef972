r"""Activation functions made of straight pieces or of one exponential: the classic ones.

Each acts on one number at a time, so the gradient is multiplied by the slope at that number: with
$\delta = \partial L / \partial y$, $\partial L / \partial x = \delta\, f'(x)$.
At a kink, where there is no slope, PyTorch's choice is taken.

$$ \mathrm{relu}' = [x > 0], \qquad \sigma' = \sigma (1 - \sigma) \le \tfrac14, \qquad \tanh' = 1 - \tanh^2 \le 1 . $$
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._activation import Activation, apply, apply_backward
from striate.ops.op import Array
from striate.ops.working import number

__all__ = [
    "ELU", "Hardtanh", "Identity", "LeakyReLU", "ReLU", "ReLU6", "Sigmoid", "Tanh", "elu", "elu_backward", "hardtanh",
    "hardtanh_backward", "identity", "identity_backward", "leaky_relu", "leaky_relu_backward", "relu", "relu6",
    "relu6_backward", "relu_backward", "sigmoid", "sigmoid_backward", "tanh", "tanh_backward",
]  # fmt: skip


def identity(x: Any) -> Array:
    """Return what came in: a layer without an activation."""
    return apply(Identity(), x)


def identity_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `identity`: the gradient as it came."""
    return apply_backward(Identity(), grad_output, x)


def relu(x: Any) -> Array:
    """Keep positive numbers, silence the others: y = max(0, x).

    Example:
        >>> relu([-2.0, 0.0, 3.0]).tolist()
        [0.0, 0.0, 3.0]
    """
    return apply(ReLU(), x)


def relu_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `relu`: a gate, open where x > 0.

    A unit whose x is negative for every sample gets no gradient and cannot come back: it is dead.

    Example:
        >>> relu_backward([5.0, 5.0, 5.0], [-2.0, 0.0, 3.0]).tolist()
        [0.0, 0.0, 5.0]
    """
    return apply_backward(ReLU(), grad_output, x)


def relu6(x: Any) -> Array:
    """Keep numbers between 0 and 6: y = min(max(0, x), 6).

    Source: Howard et al. 2017, arXiv:1704.04861 (MobileNet), for arithmetic of few bits.
    """
    return apply(ReLU6(), x)


def relu6_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `relu6`: a gate, open where 0 < x < 6."""
    return apply_backward(ReLU6(), grad_output, x)


def leaky_relu(x: Any, *, negative_slope: float = 0.01) -> Array:
    """Keep positive numbers, shrink the others: y = x if x > 0, else negative_slope x.

    Source: Maas, Hannun and Ng 2013, ICML workshop on deep learning for audio, section 2.

    Example:
        >>> leaky_relu([-100.0, -1.0, 0.0, 1.0, 100.0]).tolist()
        [-1.0, -0.01, 0.0, 1.0, 100.0]
    """
    return apply(LeakyReLU(negative_slope), x)


def leaky_relu_backward(grad_output: Any, x: Any, *, negative_slope: float = 0.01) -> Array:
    """Return dL/dx of `leaky_relu`: the slope is 1 where x > 0, else negative_slope, so no unit dies."""
    return apply_backward(LeakyReLU(negative_slope), grad_output, x)


def elu(x: Any, *, alpha: float = 1.0) -> Array:
    """Keep positive numbers, let the others level off at -alpha: y = x if x > 0, else alpha (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter 2016, arXiv:1511.07289, equation 15.
    """
    return apply(ELU(alpha), x)


def elu_backward(grad_output: Any, x: Any, *, alpha: float = 1.0) -> Array:
    """Return dL/dx of `elu`: the slope is 1 where x > 0, else alpha exp(x)."""
    return apply_backward(ELU(alpha), grad_output, x)


def sigmoid(x: Any) -> Array:
    """Squeeze numbers into (0, 1): y = 1 / (1 + exp(-x)), computed without overflow on either side.

    Example:
        >>> sigmoid([-1000.0, 0.0, 1000.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    return apply(Sigmoid(), x)


def sigmoid_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `sigmoid`: the slope y (1 - y) is at most 1/4 and vanishes on both sides.

    Example:
        >>> sigmoid_backward([1.0, 1.0], [0.0, 40.0]).tolist()
        [0.25, 4.248354255291589e-18]
    """
    return apply_backward(Sigmoid(), grad_output, x)


def tanh(x: Any) -> Array:
    """Squeeze numbers into (-1, 1): y = (exp(x) - exp(-x)) / (exp(x) + exp(-x)) = 2 sigmoid(2x) - 1."""
    return apply(Tanh(), x)


def tanh_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `tanh`: the slope 1 - y^2 is 1 at 0 and vanishes on both sides."""
    return apply_backward(Tanh(), grad_output, x)


def hardtanh(x: Any, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Cut numbers off at both ends: y = min(max(min_val, x), max_val).

    Raises:
        UsageError: min_val is not below max_val.
    """
    return apply(_hardtanh("hardtanh", min_val, max_val), x)


def hardtanh_backward(grad_output: Any, x: Any, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return dL/dx of `hardtanh`: a gate, open where min_val < x < max_val."""
    return apply_backward(_hardtanh("hardtanh_backward", min_val, max_val), grad_output, x)


def _hardtanh(function: str, min_val: float, max_val: float) -> Hardtanh:
    if not min_val < max_val:
        raise UsageError(f"{function}: `min_val` must be below max_val = {max_val!r}, got {min_val!r}. Swap them.")
    return Hardtanh(float(min_val), float(max_val))


@dataclass(frozen=True)
class Identity(Activation):
    """No activation."""

    name: ClassVar[str] = "identity"
    equation: ClassVar[str] = "y = x"
    derivative: ClassVar[str] = "y' = 1"
    arithmetic: ClassVar[str] = "{x}"
    flops_per_value: ClassVar[int] = 0

    def value(self, x: Array) -> Array:
        """Return x."""
        return x

    def slope(self, x: Array) -> Array:
        """Return 1."""
        return np.ones_like(x)


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectified linear unit."""

    name: ClassVar[str] = "relu"
    equation: ClassVar[str] = "y = max(0, x)"
    derivative: ClassVar[str] = "y' = 1 if x > 0, else 0"
    arithmetic: ClassVar[str] = "max(0, {x})"

    def value(self, x: Array) -> Array:
        """Return max(0, x)."""
        return np.maximum(x, 0)

    def slope(self, x: Array) -> Array:
        """Return [x > 0]."""
        return (x > 0).astype(x.dtype)


@dataclass(frozen=True)
class Hardtanh(Activation):
    """A straight line between two ends."""

    min_val: float = -1.0
    max_val: float = 1.0
    name: ClassVar[str] = "hardtanh"
    equation: ClassVar[str] = "y = min(max(min_val, x), max_val)"
    derivative: ClassVar[str] = "y' = 1 if min_val < x < max_val, else 0"
    arithmetic: ClassVar[str] = "min(max({min_val}, {x}), {max_val})"
    flops_per_value: ClassVar[int] = 2

    def value(self, x: Array) -> Array:
        """Return min(max(min_val, x), max_val)."""
        return np.clip(x, self.min_val, self.max_val)

    def slope(self, x: Array) -> Array:
        """Return [min_val < x < max_val]."""
        return ((x > self.min_val) & (x < self.max_val)).astype(x.dtype)


@dataclass(frozen=True)
class ReLU6(Hardtanh):
    """ReLU that stops at 6."""

    min_val: float = 0.0
    max_val: float = 6.0
    name: ClassVar[str] = "relu6"
    equation: ClassVar[str] = "y = min(max(0, x), 6)"
    derivative: ClassVar[str] = "y' = 1 if 0 < x < 6, else 0"


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """ReLU with a small slope on the negative side."""

    negative_slope: float = 0.01
    name: ClassVar[str] = "leaky_relu"
    equation: ClassVar[str] = "y = x if x > 0, else negative_slope x"
    derivative: ClassVar[str] = "y' = 1 if x > 0, else negative_slope"
    arithmetic: ClassVar[str] = "max(0, {x}) + {negative_slope} x min(0, {x})"
    flops_per_value: ClassVar[int] = 2

    def value(self, x: Array) -> Array:
        """Return x or negative_slope x."""
        return np.where(x > 0, x, self.negative_slope * x)

    def slope(self, x: Array) -> Array:
        """Return 1 or negative_slope."""
        return np.where(x > 0, 1.0, self.negative_slope).astype(x.dtype)


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit."""

    alpha: float = 1.0
    name: ClassVar[str] = "elu"
    equation: ClassVar[str] = "y = x if x > 0, else alpha (exp(x) - 1)"
    derivative: ClassVar[str] = "y' = 1 if x > 0, else alpha exp(x)"
    arithmetic: ClassVar[str] = "{alpha} x (exp({x}) - 1)"
    flops_per_value: ClassVar[int] = 4

    def value(self, x: Array) -> Array:
        """Return x or alpha (exp(x) - 1)."""
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x: Array) -> Array:
        """Return 1 or alpha exp(x)."""
        return np.where(x > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0))).astype(x.dtype)

    def formula(self, x: float) -> str:
        """Write the half of the formula that x falls into."""
        return number(x) if x > 0 else super().formula(x)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """The logistic function."""

    name: ClassVar[str] = "sigmoid"
    equation: ClassVar[str] = "y = 1 / (1 + exp(-x))"
    derivative: ClassVar[str] = "y' = y (1 - y)"
    arithmetic: ClassVar[str] = "1 / (1 + exp(-{x}))"
    flops_per_value: ClassVar[int] = 4

    def value(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x))."""
        small = np.exp(-np.abs(x))  # in (0, 1]: no overflow, whatever the sign of x
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))

    def slope(self, x: Array) -> Array:
        """Return y (1 - y), as exp(-|x|) / (1 + exp(-|x|))^2: 1 - y would lose all its digits for large x."""
        small = np.exp(-np.abs(x))
        return np.asarray(small / (1 + small) ** 2)


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    equation: ClassVar[str] = "y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))"
    derivative: ClassVar[str] = "y' = 1 - y^2"
    arithmetic: ClassVar[str] = "tanh({x})"
    flops_per_value: ClassVar[int] = 7

    def value(self, x: Array) -> Array:
        """Return tanh(x)."""
        return np.tanh(x)

    def slope(self, x: Array) -> Array:
        """Return 1 - y^2 = 4 sigmoid'(2x)."""
        return 4 * Sigmoid().slope(2 * x)
