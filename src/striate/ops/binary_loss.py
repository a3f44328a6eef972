r"""Binary cross-entropy, of probabilities or of logits.

$$ L = -\big( t \ln p + (1 - t) \ln (1 - p) \big), \qquad
   \frac{\partial L}{\partial p} = \frac{p - t}{p (1 - p)}, \qquad p = \sigma(z): \;
   \frac{\partial L}{\partial z} = \frac{p - t}{p (1 - p)}\, p (1 - p) = p - t . $$

Of logits it is computed as $\max(z, 0) - z t + \ln(1 + e^{-|z|})$, in which nothing overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_choice
from striate.ops._pair_loss import PairLoss, apply_pair, apply_pair_backward
from striate.ops._reduction import REDUCTIONS
from striate.ops.activation import Sigmoid
from striate.ops.op import Array
from striate.ops.working import Term

__all__ = [
    "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits", "binary_cross_entropy", "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_backward",
]  # fmt: skip

# PyTorch's limits, so that p = 0 or 1 on the wrong side gives a large number and not infinity.
LOWEST_LOGARITHM = -100.0
SMALLEST_VARIANCE = 1e-12


def binary_cross_entropy(probabilities: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Measure how far probabilities of "yes" are from the targets, in nats: -(t ln p + (1 - t) ln(1 - p)).

    Args:
        probabilities: p from 0 to 1, any shape; logarithms below -100 count as -100, as in PyTorch.
        targets: t from 0 to 1, of the same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ, or values outside 0 to 1.

    Example:
        >>> binary_cross_entropy([0.9, 0.2], [1, 0], reduction="none").round(4).tolist()
        [0.1054, 0.2231]
    """
    check_choice("binary_cross_entropy", "reduction", reduction, REDUCTIONS)
    return apply_pair(BinaryCrossEntropy(reduction), "binary_cross_entropy", probabilities, targets)


def binary_cross_entropy_backward(
    grad_output: Any, probabilities: Any, targets: Any, *, reduction: str = "mean"
) -> Array:
    """Return dL/dprobabilities of `binary_cross_entropy`: (p - t) / (p (1 - p)), over N for the mean."""
    function = "binary_cross_entropy_backward"
    check_choice(function, "reduction", reduction, REDUCTIONS)
    return apply_pair_backward(BinaryCrossEntropy(reduction), function, grad_output, probabilities, targets)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, *, reduction: str = "mean") -> Array:
    """Compute the binary cross-entropy of sigmoid(logits) without overflow.

    Args:
        logits: z, any shape.
        targets: t from 0 to 1, of the same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that differ, or targets outside 0 to 1.

    Example:
        >>> binary_cross_entropy_with_logits([0.0, 1000.0], [1, 0], reduction="none").round(4).tolist()
        [0.6931, 1000.0]
    """
    function = "binary_cross_entropy_with_logits"
    check_choice(function, "reduction", reduction, REDUCTIONS)
    return apply_pair(BinaryCrossEntropyWithLogits(reduction), function, logits, targets)


def binary_cross_entropy_with_logits_backward(
    grad_output: Any, logits: Any, targets: Any, *, reduction: str = "mean"
) -> Array:
    """Return dL/dlogits of `binary_cross_entropy_with_logits`: sigmoid(z) - t, over N for the mean."""
    function = "binary_cross_entropy_with_logits_backward"
    check_choice(function, "reduction", reduction, REDUCTIONS)
    return apply_pair_backward(BinaryCrossEntropyWithLogits(reduction), function, grad_output, logits, targets)


def _check_unit(function: str, argument: str, values: Array) -> None:
    outside = values[~((values >= 0) & (values <= 1))]
    if outside.size:
        raise UsageError(
            f"{function}: `{argument}` must be from 0 to 1, got {float(outside[0])}. "
            "Of raw scores take binary_cross_entropy_with_logits; classes are 0 and 1."
        )


def _two_sided(scale: float, t: float, costs: tuple[float, float], where: str) -> list[Term]:
    """Return t times the cost of "no" and 1 - t times that of "yes", without terms that are 0."""
    yes = Term((scale * t, costs[0]), f"t{where} (-ln p{where})")
    no = Term((scale * (1 - t), costs[1]), f"(1 - t{where}) (-ln(1 - p{where}))")
    return [term for term in (yes, no) if term.factors[0] != 0]


@dataclass(frozen=True)
class BinaryCrossEntropy(PairLoss):
    """Binary cross-entropy of probabilities."""

    name: ClassVar[str] = "binary_cross_entropy"
    equation: ClassVar[str] = "L = -(t ln p + (1 - t) ln(1 - p))"
    gradient_equation: ClassVar[str] = "dL/dp = c (p - t) / (p (1 - p))"
    flops_per_value: ClassVar[int] = 7

    def check(self, y: Array, t: Array) -> None:
        """Refuse values outside 0 to 1."""
        _check_unit(self.name, "probabilities", y)
        _check_unit(self.name, "targets", t)

    def logarithms(self, y: Array) -> tuple[Array, Array]:
        """Return ln p and ln(1 - p), neither below -100."""
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(y), LOWEST_LOGARITHM), np.maximum(np.log1p(-y), LOWEST_LOGARITHM)

    def losses(self, y: Array, t: Array) -> Array:
        """Return -(t ln p + (1 - t) ln(1 - p))."""
        of_yes, of_no = self.logarithms(y)
        return np.asarray(-(t * of_yes + (1 - t) * of_no))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return (p - t) / (p (1 - p)) and ln(1 - p) - ln p."""
        of_yes, of_no = self.logarithms(y)
        return (y - t) / np.maximum(y * (1 - y), SMALLEST_VARIANCE), of_no - of_yes

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the costs of both answers, each times the target's share of it."""
        of_yes, of_no = self.logarithms(np.asarray(y))
        return _two_sided(scale, t, (-float(of_yes), -float(of_no)), where)

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c (p - t) / (p (1 - p))."""
        return [Term((c, y - t, 1 / max(y * (1 - y), SMALLEST_VARIANCE)), "c (p - t) / (p (1 - p))")]


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(PairLoss):
    """Sigmoid and binary cross-entropy in one."""

    name: ClassVar[str] = "binary_cross_entropy_with_logits"
    equation: ClassVar[str] = "L = -(t ln p + (1 - t) ln(1 - p)), p = 1 / (1 + exp(-z))"
    gradient_equation: ClassVar[str] = "dL/dz = c (p - t), p = 1 / (1 + exp(-z))"
    flops_per_value: ClassVar[int] = 7

    def check(self, y: Array, t: Array) -> None:
        """Refuse targets outside 0 to 1."""
        _check_unit(self.name, "targets", t)

    def losses(self, y: Array, t: Array) -> Array:
        """Return max(z, 0) - z t + ln(1 + exp(-|z|))."""
        return np.asarray(np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y))))

    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return sigmoid(z) - t and -z."""
        return Sigmoid().value(y) - t, -y

    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return the costs of both answers, each times the target's share of it."""
        return _two_sided(scale, t, (float(np.logaddexp(0, -y)), float(np.logaddexp(0, y))), where)

    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c p and -c t."""
        return [Term((c, float(Sigmoid().value(np.asarray(y)))), "c p"), Term((-c, t), "-c t")]
