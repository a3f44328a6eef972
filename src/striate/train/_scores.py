"""Point estimates of a classifier's quality, from probabilities (N, K) and targets (N,).

Counts come first: everything but the loss, top-k accuracy and calibration is a function of the confusion matrix,
`C[t, p]` = number of images of class `t` predicted as class `p`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError

__all__ = [
    "CALIBRATION_BINS",
    "ReliabilityBin",
    "balanced_accuracy",
    "calibration_error",
    "confusion_matrix",
    "cross_entropy",
    "precision_recall_f1",
    "reliability_bins",
    "root_mean_squared_error",
    "top_k_accuracy",
]

Array: TypeAlias = npt.NDArray[Any]

CALIBRATION_BINS = 15  # Guo et al. 2017, section 2: M = 15 bins of equal width.


def check(probabilities: Array, targets: Array, *, function: str) -> tuple[Array, Array]:
    """Bring both to arrays, float64 (N, K) and int64 (N,), or say what is wrong with them."""
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] < 2:
        raise UsageError(
            f"{function}: `probabilities` must have shape (N, K) with N >= 1 images and K >= 2 classes, "
            f"got shape {p.shape}. Pass one row of class probabilities for each image."
        )
    if t.shape != p.shape[:1] or t.dtype.kind not in "iu":
        raise UsageError(
            f"{function}: `targets` must be {p.shape[0]} integers, one for each row of `probabilities`, "
            f"got {t.dtype} of shape {t.shape}. Pass class indices, not one-hot rows."
        )
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise UsageError(
            f"{function}: `targets` must lie in 0 .. {p.shape[1] - 1}, got {t.min()} .. {t.max()}. "
            "Check that the data and the model have the same classes."
        )
    _check_probabilities(p, function=function)
    return p, t.astype(np.int64)


def _check_probabilities(p: Array, *, function: str) -> None:
    # 1e-3 lets bfloat16 and float16 softmax rows pass; logits are far outside it.
    with np.errstate(invalid="ignore"):  # inf - inf inside the sum of a bad row
        bad = ~(np.isfinite(p).all(axis=1) & (p >= -1e-6).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= 1e-3))
    if bad.any():
        row = int(bad.argmax())
        raise UsageError(
            f"{function}: `probabilities` must be finite, not negative and add up to 1 in each row, "
            f"got {np.array2string(p[row, :4], precision=4)} at the start of row {row}. "
            "Apply softmax to logits first; NaN means that the network itself computed NaN."
        )


def top_k_accuracy(probabilities: Array, targets: Array, *, k: int = 1) -> float:
    """Share of images whose target is among the `k` most probable classes.

    Equal probabilities are ranked by class index, lowest first, as `argmax` does; so `k=1` always equals the trace of
    the confusion matrix, and a collapsed network that gives every class the same probability scores as "class 0".

    Args:
        probabilities: Class probabilities, (N, K).
        targets: Class indices, (N,).
        k: How many guesses count, 1 to K.

    Raises:
        UsageError: Shapes or values do not fit, or `k` is not in 1 .. K.

    Example:
        >>> top_k_accuracy(np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2]]), np.array([0, 1]), k=2)
        1.0
    """
    p, t = check(probabilities, targets, function="top_k_accuracy")
    if not 1 <= k <= p.shape[1]:
        raise UsageError(
            f"top_k_accuracy: `k` must lie in 1 .. {p.shape[1]} (the number of classes), got {k}. Choose a smaller `k`."
        )
    target_probability = p[np.arange(len(t)), t][:, None]
    before = np.arange(p.shape[1])[None, :] < t[:, None]
    rank = (p > target_probability).sum(axis=1) + ((p == target_probability) & before).sum(axis=1)
    return float((rank < k).mean())


def cross_entropy(probabilities: Array, targets: Array) -> float:
    """Mean of `-ln p(target)`, in nats.

    A probability of 0 counts as the smallest normal number of its own float type (1.2e-38 for float32: 87.3 nats), the
    most that a softmax in that type can honestly claim; compute the loss from logits where that matters.

    Raises:
        UsageError: Shapes or values do not fit.

    Example:
        >>> round(cross_entropy(np.array([[0.5, 0.5]]), np.array([1])), 4)
        0.6931
    """
    given = np.asarray(probabilities).dtype
    p, t = check(probabilities, targets, function="cross_entropy")
    floor = float(np.finfo(given if given.kind == "f" else np.float64).tiny)
    return float(-np.log(np.maximum(p[np.arange(len(t)), t], floor)).mean())


def confusion_matrix(predictions: Array, targets: Array, *, num_classes: int) -> Array:
    """Count, for each target class (row), how often each class was predicted (column).

    Args:
        predictions: Predicted class indices, (N,).
        targets: Class indices, (N,).
        num_classes: K.

    Returns:
        int64 counts, (K, K); the sum is N.

    Raises:
        UsageError: An index is outside 0 .. K-1, or the lengths differ.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    p, t = np.asarray(predictions), np.asarray(targets)
    if p.shape != t.shape or p.ndim != 1:
        raise UsageError(
            "confusion_matrix: `predictions` must have the shape (N,) of `targets`, "
            f"got {p.shape} and {t.shape}. Pass one class index for each image."
        )
    both = np.concatenate([p, t])
    if len(both) and (both.min() < 0 or both.max() >= num_classes):
        raise UsageError(
            f"confusion_matrix: `predictions` and `targets` must lie in 0 .. {num_classes - 1}, "
            f"got {both.min()} .. {both.max()}. Check `num_classes`."
        )
    cells = t.astype(np.int64) * num_classes + p.astype(np.int64)
    counts = np.bincount(cells, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def precision_recall_f1(confusion: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and F1 of each class; NaN where a ratio is 0/0.

    precision = C[k, k] / sum_t C[t, k], recall = C[k, k] / sum_p C[k, p], F1 = 2 C[k, k] / (both sums together).

    Args:
        confusion: Counts, (..., K, K); leading axes are kept, which is how bootstrap resamples are scored.

    Returns:
        Three float64 arrays, (..., K).

    Example:
        >>> precision_recall_f1(np.array([[1, 1], [0, 1]]))[0].tolist()
        [1.0, 0.5]
    """
    correct = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return rates(correct=correct, predicted=confusion.sum(axis=-2), support=confusion.sum(axis=-1))


def rates(*, correct: Array, predicted: Array, support: Array) -> tuple[Array, Array, Array]:
    """As `precision_recall_f1`, from the three counts of each class."""
    with np.errstate(invalid="ignore"):
        return correct / predicted, correct / support, 2 * correct / (predicted + support)


def macro(values: Array, *, predicted: Array, support: Array) -> Array:
    """Mean over the classes that occur as target or prediction; a class whose value is 0/0 counts as 0.

    That is what scikit-learn's ``average="macro"`` with ``zero_division=0`` computes.
    """
    occurs = (predicted + support) > 0
    total: Array = np.where(occurs, np.nan_to_num(values), 0.0).sum(axis=-1)
    mean: Array = total / occurs.sum(axis=-1)
    return mean


def balanced_accuracy(confusion: Array) -> float:
    """Mean recall over the classes that have images: what accuracy would be if all classes were equally frequent.

    Example:
        >>> balanced_accuracy(np.array([[90, 0], [10, 0]]))
        0.5
    """
    return float(np.nanmean(precision_recall_f1(confusion)[1]))


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images whose top-1 probability lies in (lower, upper]; accuracy and confidence are None in an empty bin."""

    lower: float
    upper: float
    count: int
    accuracy: float | None
    confidence: float | None


def bin_indices(confidence: Array) -> Array:
    """Index of the calibration bin (lower, upper] of each confidence, 0 .. 14; exactly 0 belongs to the first."""
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    indices: Array = np.searchsorted(edges[1:-1], confidence, side="left")
    return indices


def reliability_bins(probabilities: Array, targets: Array) -> tuple[ReliabilityBin, ...]:
    """Group images by the probability of the predicted class into 15 bins of equal width.

    Raises:
        UsageError: Shapes or values do not fit.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 2 (arXiv:1706.04599).
    """
    p, t = check(probabilities, targets, function="reliability_bins")
    confidence, is_correct = p.max(axis=1), p.argmax(axis=1) == t
    bins = bin_indices(confidence)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return tuple(
        ReliabilityBin(
            lower=float(edges[i]),
            upper=float(edges[i + 1]),
            count=int(inside.sum()),
            accuracy=float(is_correct[inside].mean()) if inside.any() else None,
            confidence=float(confidence[inside].mean()) if inside.any() else None,
        )
        for i in range(CALIBRATION_BINS)
        for inside in [bins == i]
    )


def calibration_error(probabilities: Array, targets: Array) -> float:
    """Expected calibration error: mean of |accuracy - confidence| over the bins, weighted by their images.

    0 means that of the images predicted with probability 0.8, 80 % are right. Finite samples bias it upwards (about
    0.025 for 1,000 images of a perfectly calibrated network), so compare it only between equally large test sets.

    Raises:
        UsageError: Shapes or values do not fit.

    Source: Guo et al. 2017, equation 3 (arXiv:1706.04599); 15 bins of equal width, closed on the right.

    Example:
        >>> round(calibration_error(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1])), 3)
        0.3
    """
    bins = [b for b in reliability_bins(probabilities, targets) if b.accuracy is not None and b.confidence is not None]
    gaps = [b.count * abs((b.accuracy or 0.0) - (b.confidence or 0.0)) for b in bins]
    return float(sum(gaps) / sum(b.count for b in bins))


def root_mean_squared_error(predictions: Array, targets: Array) -> float:
    """Square root of the mean squared difference, in the unit of `targets`; for regression heads.

    Args:
        predictions: Real numbers of any shape.
        targets: Real numbers of the same shape.

    Raises:
        UsageError: The shapes differ (no broadcasting: (N,) against (N, 1) is a mistake), or there is nothing.

    Example:
        >>> root_mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        1.4142135623730951
    """
    p, t = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if p.shape != t.shape or p.size == 0:
        raise UsageError(
            "root_mean_squared_error: `predictions` must have the shape of `targets` and at least one number, "
            f"got {p.shape} and {t.shape}. Reshape one of them; striate does not broadcast here."
        )
    return float(np.sqrt(np.mean((p - t) ** 2)))
