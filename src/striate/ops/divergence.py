r"""Kullback-Leibler divergence as a loss: how far log probabilities are from a target distribution (distillation).

$$ \ell = t\, (\ln t - y), \qquad \frac{\partial \ell}{\partial y} = -t, \qquad
   \frac{\partial \ell}{\partial t} = \ln t + 1 - y, $$

with $y = \ln p$ the network's log probabilities. Where $t = 0$ the term is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_choice
from striate.ops._pair_loss import PairLoss, apply_pair, apply_pair_backward
from striate.ops._reduction import REDUCTIONS
from striate.ops.op import Array, Shape
from striate.ops.working import Term

__all__ = ["KLDivLoss", "kl_div", "kl_div_backward"]


def kl_div(log_probabilities: Any, targets: Any, *, reduction: str = "mean", log_target: bool = False) -> Array:
    """Measure how far log probabilities are from a target distribution, in nats: t (ln t - ln p).

    Args:
        log_probabilities: ln p, any shape with the samples along the first axis.
        targets: t, of the same shape, or ln t.
        reduction: ``"batchmean"`` is the divergence, a mean over samples of sums over classes; ``"mean"`` divides by
            the number of all values, as in PyTorch; ``"sum"`` or ``"none"``.
        log_target: The targets are logarithms.

    Raises:
        UsageError: shapes that differ, or negative targets that are not logarithms.

    Source: Kullback & Leibler 1951, Annals of Mathematical Statistics 22; Hinton et al. 2015, arXiv:1503.02531.

    Example:
        >>> round(float(kl_div([[math.log(0.25), math.log(0.75)]], [[0.5, 0.5]], reduction="batchmean")), 6)
        0.143841
    """
    op = _kl_div("kl_div", reduction, log_target)
    return apply_pair(op, "kl_div", log_probabilities, targets)


def kl_div_backward(
    grad_output: Any, log_probabilities: Any, targets: Any, *, reduction: str = "mean", log_target: bool = False
) -> Array:
    """Return dL/dlog_probabilities of `kl_div`: -t, over the number of values or samples for a mean."""
    op = _kl_div("kl_div_backward", reduction, log_target)
    return apply_pair_backward(op, "kl_div_backward", grad_output, log_probabilities, targets)


def _kl_div(function: str, reduction: str, log_target: bool) -> KLDivLoss:
    check_choice(function, "reduction", reduction, (*REDUCTIONS, "batchmean"))
    return KLDivLoss(reduction, bool(log_target))


@dataclass(frozen=True)
class KLDivLoss(PairLoss):
    """Kullback-Leibler divergence; inputs: log probabilities y, targets t (or their logarithms)."""

    log_target: bool = False
    name: ClassVar[str] = "kl_div"
    equation: ClassVar[str] = "L = mean of t (ln t - y)"
    gradient_equation: ClassVar[str] = "dL/dy = -c t"
    flops_per_value: ClassVar[int] = 3

    def check(self, y: Array, t: Array) -> None:
        """Refuse negative targets that are not logarithms."""
        if not self.log_target and t.size and t.min() < 0:
            raise UsageError(
                f"kl_div: `targets` must be 0 or more, got {float(t.min()):g}. "
                "Give probabilities, or set log_target=True for their logarithms."
            )

    def divisor(self, shape: Shape) -> int:
        """Return the number of values, or of samples for ``"batchmean"``."""
        return shape[0] if self.reduction == "batchmean" and shape else math.prod(shape)

    def probabilities(self, t: Array) -> tuple[Array, Array]:
        """Return the targets and their logarithms; that of 0 counts as 0, since 0 ln 0 is 0."""
        if self.log_target:
            return np.exp(t), t
        return t, np.log(t, out=np.zeros_like(t), where=t > 0)

    def losses(self, y: Array, t: Array) -> Array:
        """Return t (ln t - y)."""
        p, logarithm = self.probabilities(t)
        return np.asarray(p * (logarithm - y))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return -t, and ln t + 1 - y or, of logarithms, t (ln t + 1 - y)."""
        p, logarithm = self.probabilities(t)
        slope = logarithm + 1 - y
        return -p, p * slope if self.log_target else slope

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return t times the difference of the logarithms."""
        p, logarithm = (float(part) for part in self.probabilities(np.asarray(t)))
        factors = (p, logarithm - y) if scale == 1 else (scale, p, logarithm - y)
        return [Term(factors, f"t{where} (ln t{where} - y{where})")]

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return -c t."""
        return [Term((-c, float(self.probabilities(np.asarray(t))[0])), "-c t")]
