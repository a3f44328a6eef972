"""How good a classifier is, with the uncertainty of the answer: `measure` returns an `Evaluation`.

NumPy only: importing scikit-learn takes longer than evaluating a small network. The tests hold every number against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.train._intervals import Interval, calibration_interval, confusion_intervals, wilson_interval
from striate.train._scores import (
    CALIBRATION_BINS,
    ReliabilityBin,
    balanced_accuracy,
    calibration_error,
    check,
    confusion_matrix,
    cross_entropy,
    macro,
    precision_recall_f1,
    reliability_bins,
    root_mean_squared_error,
    top_k_accuracy,
)

__all__ = [
    "CALIBRATION_BINS",
    "ClassMetrics",
    "Evaluation",
    "Interval",
    "ReliabilityBin",
    "balanced_accuracy",
    "calibration_error",
    "confusion_matrix",
    "cross_entropy",
    "measure",
    "precision_recall_f1",
    "reliability_bins",
    "root_mean_squared_error",
    "top_k_accuracy",
    "wilson_interval",
]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One class. A value is None where it is 0/0: precision without predictions, recall without images."""

    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything measured on one data set; shares and probabilities are 0 .. 1, `loss` is in nats.

    `top5` is None with five classes or fewer. `confusion[t][p]` counts images of class t predicted as p. `intervals`
    holds the 95 % intervals of "top1", "top5", "macro_f1", "balanced_accuracy" and "calibration_error".
    """

    num_samples: int
    loss: float
    top1: float
    top5: float | None
    macro_precision: float
    macro_recall: float
    macro_f1: float
    balanced_accuracy: float
    calibration_error: float
    intervals: dict[str, Interval]
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the class indices."""
        return tuple(entry.name for entry in self.per_class)

    def top_confusions(self, *, limit: int = 10) -> list[tuple[str, str, int]]:
        """(target, prediction, count) of the most frequent mistakes, most frequent first; ties in class order."""
        names = self.class_names
        counts = np.array(self.confusion)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:limit]
        pairs = [divmod(int(flat), len(names)) for flat in order if counts.flat[flat] > 0]
        return [(names[t], names[p], int(counts[t, p])) for t, p in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, ready for `json.dumps`; `from_dict` gives an equal `Evaluation` back."""
        fields = asdict(self)
        fields["intervals"] = {name: list(interval) for name, interval in self.intervals.items()}
        fields["confusion"] = [list(row) for row in self.confusion]
        for name in ("per_class", "reliability"):
            fields[name] = [{key: _listed(value) for key, value in entry.items()} for entry in fields[name]]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        """Rebuild what `to_dict` wrote, also after a trip through JSON.

        Raises:
            UsageError: A field is missing or is not known.
        """
        _check_fields(fields, known=cls.__dataclass_fields__)
        restored = dict(fields)
        restored["intervals"] = {name: _pair(interval) for name, interval in fields["intervals"].items()}
        restored["confusion"] = tuple(tuple(row) for row in fields["confusion"])
        restored["per_class"] = tuple(
            ClassMetrics(**{**entry, **{key: _pair(entry[key]) for key in ("precision_interval", "recall_interval")}})
            for entry in fields["per_class"]
        )
        restored["reliability"] = tuple(ReliabilityBin(**entry) for entry in fields["reliability"])
        return cls(**restored)

    def text(self, *, max_classes: int = 30) -> str:
        """Tables for a terminal, at most 100 columns wide, no colour; of more than `max_classes` the worst by F1."""
        from striate.train._evaluation_text import evaluation_text

        return evaluation_text(self, max_classes=max_classes)


def measure(
    probabilities: Array,
    targets: Array,
    *,
    class_names: Sequence[str] | None = None,
    loss: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compute all metrics of a classifier, with 95 % intervals.

    Proportions (top-1, top-5, precision, recall) get Wilson intervals; macro F1, balanced accuracy and calibration
    error a bootstrap of 1,000 resamples. The intervals describe the sampling of images, not the luck of training.

    Args:
        probabilities: Class probabilities, (N, K), rows adding up to 1.
        targets: Class indices, (N,).
        class_names: K names; None numbers them.
        loss: Cross-entropy in nats where it is known from logits; None computes it from `probabilities`.
        seed: Of the bootstrap; the same seed gives the same intervals.

    Raises:
        UsageError: Shapes, values or the number of names do not fit.

    Example:
        >>> result = measure(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), class_names=["cat", "dog"])
        >>> result.top1, result.confusion
        (0.5, ((1, 0), (1, 0)))
    """
    p, t = check(probabilities, targets, function="measure")
    num_samples, num_classes = p.shape
    names = tuple(class_names) if class_names is not None else tuple(str(index) for index in range(num_classes))
    if len(names) != num_classes:
        raise UsageError(
            f"measure: `class_names` must hold {num_classes} names, one for each column of `probabilities`, "
            f"got {len(names)}. Pass the names the model was trained with."
        )
    predictions = p.argmax(axis=1)
    confusion = confusion_matrix(predictions, t, num_classes=num_classes)
    averages = _averages(confusion)
    top5 = top_k_accuracy(p, t, k=5) if num_classes > 5 else None
    intervals = {"top1": _share_interval(averages["top1"], num_samples)}
    if top5 is not None:
        intervals["top5"] = _share_interval(top5, num_samples)
    intervals |= confusion_intervals(confusion, seed=seed)
    intervals["calibration_error"] = calibration_interval(p.max(axis=1), predictions == t, seed=seed)
    return Evaluation(
        num_samples=num_samples,
        loss=cross_entropy(probabilities, t) if loss is None else float(loss),
        top5=top5,
        calibration_error=calibration_error(p, t),
        intervals=intervals,
        per_class=_per_class(confusion, names=names),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=reliability_bins(p, t),
        **averages,
    )


def _averages(confusion: Array) -> dict[str, float]:
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = precision_recall_f1(confusion)
    return {
        "top1": float(np.trace(confusion) / confusion.sum()),
        "macro_precision": float(macro(precision, predicted=predicted, support=support)),
        "macro_recall": float(macro(recall, predicted=predicted, support=support)),
        "macro_f1": float(macro(f1, predicted=predicted, support=support)),
        "balanced_accuracy": float(np.nanmean(recall)),
    }


def _per_class(confusion: Array, *, names: Sequence[str]) -> tuple[ClassMetrics, ...]:
    support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    precision, recall, f1 = precision_recall_f1(confusion)
    return tuple(
        ClassMetrics(
            name=str(name),
            support=int(support[k]),
            predicted=int(predicted[k]),
            precision=_number(precision[k]),
            recall=_number(recall[k]),
            f1=_number(f1[k]),
            precision_interval=wilson_interval(int(correct[k]), int(predicted[k])),
            recall_interval=wilson_interval(int(correct[k]), int(support[k])),
        )
        for k, name in enumerate(names)
    )


def _share_interval(share: float, num_samples: int) -> Interval:
    interval = wilson_interval(round(share * num_samples), num_samples)
    return interval if interval is not None else (0.0, 1.0)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _pair(value: Sequence[float] | None) -> Interval | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _check_fields(fields: Mapping[str, Any], *, known: Mapping[str, Any]) -> None:
    missing, unknown = sorted(set(known) - set(fields)), sorted(set(fields) - set(known))
    if missing or unknown:
        raise UsageError(
            f"Evaluation.from_dict: `fields` must be what `to_dict` wrote, got missing {missing}, unknown {unknown}. "
            "Evaluate the run again with this version of striate."
        )
