r"""Losses of regression: the mean squared error, and half the sum of squares.

$$ L = \frac1N \sum_n (y_n - t_n)^2, \quad \frac{\partial L}{\partial y_n} = \frac2N (y_n - t_n); \qquad
   E = \frac12 \sum_n (t_n - y_n)^2, \quad \frac{\partial E}{\partial y_n} = y_n - t_n . $$
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from striate.ops._arguments import check_choice
from striate.ops._pair_loss import PairLoss, apply_pair, apply_pair_backward
from striate.ops._reduction import REDUCTIONS
from striate.ops.op import Array
from striate.ops.working import Term

__all__ = [
    "HalfSquaredError", "MSELoss", "half_squared_error", "half_squared_error_backward", "mse_loss", "mse_loss_backward",
]  # fmt: skip


def mse_loss(outputs: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Average the squared differences: mean of (y - t)^2.

    Args:
        outputs: y, any shape.
        targets: t, of the same shape: nothing is broadcast.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ.

    Example:
        >>> float(mse_loss([3.0, 5.0], [0.0, 1.0]))
        12.5
    """
    check_choice("mse_loss", "reduction", reduction, REDUCTIONS)
    return apply_pair(MSELoss(reduction), "mse_loss", outputs, targets)


def mse_loss_backward(grad_output: Any, outputs: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Return dL/doutputs of `mse_loss`: 2 (y - t), over the number of values for the mean."""
    check_choice("mse_loss_backward", "reduction", reduction, REDUCTIONS)
    return apply_pair_backward(MSELoss(reduction), "mse_loss_backward", grad_output, outputs, targets)


def half_squared_error(outputs: Any, targets: Any) -> Array:
    """Sum half the squared differences: E = 1/2 sum of (t - y)^2.

    Texts on backpropagation use it, and some call it the mean squared error, though nothing is divided by N: the half
    cancels the 2 of the derivative.

    Raises:
        UsageError: shapes that differ.

    Example:
        >>> float(half_squared_error([3.0, 5.0], [0.0, 1.0]))
        12.5
    """
    return apply_pair(HalfSquaredError(), "half_squared_error", outputs, targets)


def half_squared_error_backward(grad_output: Any, outputs: Any, targets: Any) -> Array:
    """Return dE/doutputs of `half_squared_error`: y - t."""
    return apply_pair_backward(HalfSquaredError(), "half_squared_error_backward", grad_output, outputs, targets)


@dataclass(frozen=True)
class MSELoss(PairLoss):
    """Mean squared error."""

    name: ClassVar[str] = "mse_loss"
    equation: ClassVar[str] = "L = mean of (y - t)^2"
    gradient_equation: ClassVar[str] = "dL/dy = 2 c (y - t)"
    flops_per_value: ClassVar[int] = 3

    def losses(self, y: Array, t: Array) -> Array:
        """Return (y - t)^2."""
        return (y - t) ** 2

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return 2 (y - t) and its opposite."""
        return 2 * (y - t), 2 * (t - y)

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the difference times itself."""
        factors = (y - t, y - t) if scale == 1 else (scale, y - t, y - t)
        return [Term(factors, f"(y{where} - t{where})^2")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return 2 c (y - t)."""
        return [Term((2.0, c, y - t), "2 c (y - t)")]


@dataclass(frozen=True)
class HalfSquaredError(PairLoss):
    """Half the sum of squared differences."""

    reduction: str = "sum"
    name: ClassVar[str] = "half_squared_error"
    equation: ClassVar[str] = "E = 1/2 sum of (t - y)^2"
    gradient_equation: ClassVar[str] = "dE/dy = c (y - t)"
    flops_per_value: ClassVar[int] = 4

    def losses(self, y: Array, t: Array) -> Array:
        """Return half of (t - y)^2."""
        return (t - y) ** 2 / 2

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return y - t and its opposite."""
        return y - t, t - y

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return half the difference times itself."""
        return [Term((0.5 * scale, t - y, t - y), f"1/2 (t{where} - y{where})^2")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c (y - t)."""
        return [Term((c, y - t), "c (y - t)")]
