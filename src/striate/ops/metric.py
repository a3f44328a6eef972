"""Figures to judge a network by: accuracy, top-k error and root mean squared error. They have no gradient of use.

Equal scores are ranked by class index, the lowest first, as `argmax` does: a network that gives every class the same
score has guessed class 0. A score that is not a number counts against the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import as_classes
from striate.ops._forms import floats
from striate.ops.op import Array

__all__ = ["accuracy", "rmse", "top_k_error"]


def accuracy(logits: Any, targets: Any) -> float:
    """Return the share of samples whose highest score is at the right class.

    Args:
        logits: Scores or probabilities (N, K).
        targets: Class indices (N,).

    Raises:
        UsageError: no samples, shapes that do not fit, or a class outside 0 to K - 1.

    Example:
        >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
        0.5
    """
    ranks = _ranks("accuracy", logits, targets)
    return float((ranks == 0).mean())


def top_k_error(logits: Any, targets: Any, *, k: int = 1) -> float:
    """Return the share of samples whose class is not among the k highest scores.

    Args:
        logits: Scores or probabilities (N, K).
        targets: Class indices (N,).
        k: How many guesses count, 1 to K. ImageNet's figures are k = 1 and k = 5.

    Raises:
        UsageError: k outside 1 to K, no samples, shapes that do not fit, or a class outside 0 to K - 1.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 2.

    Example:
        >>> scores = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
        >>> top_k_error(scores, [1, 0], k=1), top_k_error(scores, [1, 0], k=2)
        (1.0, 0.5)
    """
    ranks = _ranks("top_k_error", logits, targets)
    num_classes = np.asarray(logits).shape[1]
    if not 1 <= k <= num_classes:
        raise UsageError(
            f"top_k_error: `k` must be from 1 to the number of classes, {num_classes}, got {k}. Ask for fewer guesses."
        )
    return float((ranks >= k).mean())


def rmse(predictions: Any, targets: Any) -> float:
    """Return the root of the mean squared error, in the unit of the targets: sqrt(mean of (y - t)^2).

    Raises:
        UsageError: shapes that differ, or nothing to compare.

    Example:
        >>> rmse([3.0, 5.0], [0.0, 1.0]) == 12.5**0.5
        True
    """
    predictions, targets = floats("rmse", predictions=predictions, targets=targets)
    if predictions.shape != targets.shape or predictions.size == 0:
        raise UsageError(
            f"rmse: `targets` must have the shape of the predictions and at least one value, got {targets.shape} for "
            f"{predictions.shape}. Drop or add an axis with reshape: (N,) and (N, 1) do not pair up."
        )
    return float(np.sqrt(np.mean((predictions - targets) ** 2)))


def _ranks(function: str, logits: Any, targets: Any) -> Array:
    """Return how many classes stand before the right one, for each sample."""
    (scores,) = floats(function, logits=logits)
    if scores.ndim != 2 or scores.shape[0] == 0:
        raise UsageError(
            f"{function}: `logits` must have 2 axes (N, K) and at least one sample, got {scores.shape}. "
            "Give one row of scores a sample."
        )
    classes = as_classes(function, targets, num_classes=scores.shape[1])
    if classes.shape != scores.shape[:1]:
        raise UsageError(
            f"{function}: `targets` must be one class a sample, ({len(scores)},), got {classes.shape}. "
            "Of one-hot rows take argmax(axis=1)."
        )
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    is_before = np.arange(scores.shape[1]) < classes[:, None]
    return np.asarray((~(scores <= own) | ((scores == own) & is_before)).sum(axis=1))
