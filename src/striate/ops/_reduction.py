"""How a loss of each sample becomes one number, and how the gradient goes back to each."""

from __future__ import annotations

import numpy as np

from striate.ops.op import Array

__all__ = ["MEANS", "REDUCTIONS", "reduced", "spread"]

REDUCTIONS = ("mean", "sum", "none")
MEANS = ("mean", "batchmean")
"""Those that divide the sum: by the number of losses, or by the number of samples."""


def reduced(losses: Array, divisor: float, reduction: str) -> Array:
    """Return the mean (sum over divisor), the sum, or the losses as they are."""
    match reduction:
        case "mean" | "batchmean":
            with np.errstate(invalid="ignore"):  # the mean over nothing is nan
                return np.asarray(losses.sum() / losses.dtype.type(divisor))
        case "sum":
            return np.asarray(losses.sum())
        case _:
            return losses


def spread(grad_output: Array, divisor: float, reduction: str, *, axis: int | None = None) -> Array:
    """Return dL/d(loss of a sample), with `axis` added so that it multiplies the scores."""
    match reduction:
        case "mean" | "batchmean":
            return np.asarray(grad_output / grad_output.dtype.type(divisor))
        case "sum":
            return grad_output
        case _:
            return grad_output if axis is None else np.expand_dims(grad_output, axis)
