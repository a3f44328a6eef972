r"""Losses of regression that grow in a straight line: the absolute error, and its forms that are rounded at 0.

With $d = y - t$, and $N$ values for the mean:

$$ \ell_1 = |d|, \qquad
   \text{smooth } \ell_1 = \begin{cases} d^2 / 2 \beta & |d| < \beta \\ |d| - \beta / 2 & \text{else} \end{cases}, \quad
   \text{Huber} = \begin{cases} d^2 / 2 & |d| \le \delta \\ \delta\, (|d| - \delta / 2) & \text{else} \end{cases} $$

The slopes are bounded, so that one target far off does not pull harder than others:
$\mathrm{sign}\, d$; $d / \beta$ within $\beta$, else $\mathrm{sign}\, d$; $d$ within $\delta$, else
$\delta\, \mathrm{sign}\, d$.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.ops._arguments import check_choice, check_range
from striate.ops._pair_loss import PairLoss, apply_pair, apply_pair_backward
from striate.ops._reduction import REDUCTIONS
from striate.ops.op import Array
from striate.ops.working import Term

__all__ = [
    "HuberLoss", "L1Loss", "SmoothL1Loss", "huber_loss", "huber_loss_backward", "l1_loss", "l1_loss_backward",
    "smooth_l1_loss", "smooth_l1_loss_backward",
]  # fmt: skip


def l1_loss(outputs: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Average the absolute differences: mean of |y - t|.

    Args:
        outputs: y, any shape.
        targets: t, of the same shape: nothing is broadcast.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ.

    Example:
        >>> float(l1_loss([3.0, 5.0], [0.0, 6.0]))
        2.0
    """
    return apply_pair(_l1("l1_loss", reduction), "l1_loss", outputs, targets)


def l1_loss_backward(grad_output: Any, outputs: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Return dL/doutputs of `l1_loss`: the sign of y - t, over the number of values for the mean."""
    function = "l1_loss_backward"
    return apply_pair_backward(_l1(function, reduction), function, grad_output, outputs, targets)


def smooth_l1_loss(outputs: Any, targets: Any, *, beta: float = 1.0, reduction: str = "mean") -> Array:
    """Average absolute differences that are rounded off below beta: d^2 / (2 beta), else |d| - beta / 2.

    Args:
        outputs: y, any shape.
        targets: t, of the same shape.
        beta: Where the parabola ends; 0 is `l1_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ, or a negative beta.

    Source: Girshick 2015, arXiv:1504.08083 (Fast R-CNN), equation 3.

    Example:
        >>> smooth_l1_loss([0.5, 3.0], [0.0, 0.0], reduction="none").tolist()
        [0.125, 2.5]
    """
    return apply_pair(_smooth_l1("smooth_l1_loss", beta, reduction), "smooth_l1_loss", outputs, targets)


def smooth_l1_loss_backward(
    grad_output: Any, outputs: Any, targets: Any, *, beta: float = 1.0, reduction: str = "mean"
) -> Array:
    """Return dL/doutputs of `smooth_l1_loss`: d / beta within beta, else the sign of d."""
    function = "smooth_l1_loss_backward"
    return apply_pair_backward(_smooth_l1(function, beta, reduction), function, grad_output, outputs, targets)


def huber_loss(outputs: Any, targets: Any, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    """Average squared differences that go on in a straight line from delta on: delta times `smooth_l1_loss`.

    Args:
        outputs: y, any shape.
        targets: t, of the same shape.
        delta: Where the parabola ends, above 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ, or a delta that is not above 0.

    Source: Huber 1964, Annals of Mathematical Statistics 35, "Robust estimation of a location parameter".

    Example:
        >>> huber_loss([1.0, 5.0], [0.0, 0.0], delta=2.0, reduction="none").tolist()
        [0.5, 8.0]
    """
    return apply_pair(_huber("huber_loss", delta, reduction), "huber_loss", outputs, targets)


def huber_loss_backward(
    grad_output: Any, outputs: Any, targets: Any, *, delta: float = 1.0, reduction: str = "mean"
) -> Array:
    """Return dL/doutputs of `huber_loss`: d within delta, else delta times its sign."""
    function = "huber_loss_backward"
    return apply_pair_backward(_huber(function, delta, reduction), function, grad_output, outputs, targets)


def _l1(function: str, reduction: str) -> L1Loss:
    check_choice(function, "reduction", reduction, REDUCTIONS)
    return L1Loss(reduction)


def _smooth_l1(function: str, beta: float, reduction: str) -> SmoothL1Loss:
    check_choice(function, "reduction", reduction, REDUCTIONS)
    check_range(function, "beta", beta, above=0, closed=True)
    return SmoothL1Loss(reduction, float(beta))


def _huber(function: str, delta: float, reduction: str) -> HuberLoss:
    check_choice(function, "reduction", reduction, REDUCTIONS)
    check_range(function, "delta", delta, above=0)
    return HuberLoss(reduction, float(delta))


@dataclass(frozen=True)
class L1Loss(PairLoss):
    """Mean absolute error."""

    name: ClassVar[str] = "l1_loss"
    equation: ClassVar[str] = "L = mean of |y - t|"
    gradient_equation: ClassVar[str] = "dL/dy = c sign(y - t)"
    flops_per_value: ClassVar[int] = 3

    def losses(self, y: Array, t: Array) -> Array:
        """Return |y - t|."""
        return np.asarray(np.abs(y - t))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return the sign of y - t, 0 where they are equal, and its opposite."""
        return np.asarray(np.sign(y - t)), np.asarray(np.sign(t - y))

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the distance."""
        return [Term(_factors(scale, abs(y - t)), f"|y{where} - t{where}|")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c times the sign."""
        return [Term((c, float(np.sign(y - t))), "c sign(y - t)")]


@dataclass(frozen=True)
class SmoothL1Loss(PairLoss):
    """Absolute error with its kink rounded off."""

    beta: float = 1.0
    name: ClassVar[str] = "smooth_l1_loss"
    equation: ClassVar[str] = "L = mean of d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, d = y - t"
    gradient_equation: ClassVar[str] = "dL/dy = c d / beta where |d| < beta, else c sign(d), d = y - t"
    flops_per_value: ClassVar[int] = 5

    def losses(self, y: Array, t: Array) -> Array:
        """Return the parabola within beta, else the line."""
        d = np.abs(y - t)
        curved = d * d / (2 * self.beta) if self.beta else d
        return np.asarray(np.where(d < self.beta, curved, d - self.beta / 2))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return d / beta within beta, else the sign, and its opposite."""
        d = y - t
        curved = d / self.beta if self.beta else d
        slope: Array = np.where(np.abs(d) < self.beta, curved, np.sign(d))
        return slope, -slope

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the piece that the difference falls into."""
        d = y - t
        if abs(d) < self.beta:
            return [Term((scale / (2 * self.beta), d, d), f"(y{where} - t{where})^2 / (2 beta)")]
        return [Term(_factors(scale, abs(d) - self.beta / 2), f"|y{where} - t{where}| - beta / 2")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c times the slope of that piece."""
        d = y - t
        if abs(d) < self.beta:
            return [Term((c, d, 1 / self.beta), "c (y - t) / beta")]
        return [Term((c, float(np.sign(d))), "c sign(y - t)")]


@dataclass(frozen=True)
class HuberLoss(PairLoss):
    """Squared error with straight arms."""

    delta: float = 1.0
    name: ClassVar[str] = "huber_loss"
    equation: ClassVar[str] = "L = mean of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = y - t"
    gradient_equation: ClassVar[str] = "dL/dy = c d where |d| <= delta, else c delta sign(d), d = y - t"
    flops_per_value: ClassVar[int] = 5

    def losses(self, y: Array, t: Array) -> Array:
        """Return the parabola within delta, else the line."""
        d = np.abs(y - t)
        return np.asarray(np.where(d <= self.delta, d * d / 2, self.delta * (d - self.delta / 2)))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return d, cut off at -delta and delta, and its opposite."""
        slope: Array = np.clip(y - t, -self.delta, self.delta)
        return slope, -slope

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the piece that the difference falls into."""
        d = y - t
        if abs(d) <= self.delta:
            return [Term((scale / 2, d, d), f"(y{where} - t{where})^2 / 2")]
        factors = _factors(scale, self.delta, abs(d) - self.delta / 2)
        return [Term(factors, f"delta (|y{where} - t{where}| - delta / 2)")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c times the slope of that piece."""
        d = y - t
        if abs(d) <= self.delta:
            return [Term((c, d), "c (y - t)")]
        return [Term((c, self.delta, float(np.sign(d))), "c delta sign(y - t)")]


def _factors(scale: float, *factors: float) -> tuple[float, ...]:
    """Return the factors of a term, a scale of 1 left out."""
    return factors if scale == 1 else (scale, *factors)
