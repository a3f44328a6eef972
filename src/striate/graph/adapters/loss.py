"""PyTorch's losses; the targets are an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, named
from striate.ops.absolute_error import HuberLoss, L1Loss, SmoothL1Loss
from striate.ops.binary_loss import BinaryCrossEntropy, BinaryCrossEntropyWithLogits
from striate.ops.divergence import KLDivLoss
from striate.ops.loss import CrossEntropy, NLLLoss
from striate.ops.op import Op
from striate.ops.squared_error import MSELoss

__all__ = ["ADAPTERS"]

REDUCTIONS = ("mean", "sum", "none")


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Call | None:
    if (size_average, reduce) != (None, None) or reduction not in REDUCTIONS:
        return None
    return Call(CrossEntropy(reduction, float(label_smoothing), ignore_index), (input, target), named(weight=weight))


def _nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Call | None:
    if (size_average, reduce) != (None, None) or reduction not in REDUCTIONS:
        return None
    return Call(NLLLoss(reduction, ignore_index=ignore_index), (input, target), named(weight=weight))


def _pair(kind: Callable[[str], Any]) -> Callable[..., Call | None]:
    def adapt(
        input: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> Call | None:
        is_plain = weight is None and pos_weight is None and (size_average, reduce) == (None, None)
        return Call(kind(reduction), (input, target)) if is_plain and reduction in REDUCTIONS else None

    return adapt


def _difference(kind: Callable[[str], Op]) -> Callable[..., Call | None]:
    def adapt(
        input: Tensor,
        target: Tensor,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Call | None:
        is_plain = weight is None and (size_average, reduce) == (None, None)
        return Call(kind(reduction), (input, target)) if is_plain and reduction in REDUCTIONS else None

    return adapt


def _smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Call | None:
    is_plain = (size_average, reduce) == (None, None) and reduction in REDUCTIONS
    return Call(SmoothL1Loss(reduction, float(beta)), (input, target)) if is_plain else None


def _huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Call | None:
    is_plain = weight is None and reduction in REDUCTIONS
    return Call(HuberLoss(reduction, float(delta)), (input, target)) if is_plain else None


def _kl_div(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Call | None:
    is_plain = (size_average, reduce) == (None, None) and reduction in (*REDUCTIONS, "batchmean")
    return Call(KLDivLoss(reduction, bool(log_target)), (input, target)) if is_plain else None


ADAPTERS: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "binary_cross_entropy": _pair(BinaryCrossEntropy),
    "binary_cross_entropy_with_logits": _pair(BinaryCrossEntropyWithLogits),
    "mse_loss": _difference(MSELoss),
    "l1_loss": _difference(L1Loss),
    "smooth_l1_loss": _smooth_l1_loss,
    "huber_loss": _huber_loss,
    "kl_div": _kl_div,
}
