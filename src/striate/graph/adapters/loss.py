"""PyTorch's losses; the targets are an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, named
from striate.ops.binary_loss import BinaryCrossEntropy, BinaryCrossEntropyWithLogits
from striate.ops.loss import CrossEntropy, NLLLoss
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
    op = CrossEntropy(reduction, float(label_smoothing))
    is_plain = (size_average, reduce) == (None, None) and _counts_all(target, ignore_index)
    return Call(op, (input, target), named(weight=weight)) if is_plain and reduction in REDUCTIONS else None


def _nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Call | None:
    is_plain = (size_average, reduce) == (None, None) and _counts_all(target, ignore_index)
    return Call(NLLLoss(reduction), (input, target), named(weight=weight)) if is_plain else None


def _counts_all(target: Tensor, ignore_index: int) -> bool:
    return target.is_floating_point() or not bool((target == ignore_index).any())


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


def _mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Call | None:
    is_plain = weight is None and (size_average, reduce) == (None, None)
    return Call(MSELoss(reduction), (input, target)) if is_plain and reduction in REDUCTIONS else None


ADAPTERS: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "binary_cross_entropy": _pair(BinaryCrossEntropy),
    "binary_cross_entropy_with_logits": _pair(BinaryCrossEntropyWithLogits),
    "mse_loss": _mse_loss,
}
