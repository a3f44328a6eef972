"""`Evaluation.text`: plain tables of at most 100 columns. All characters of its own are ASCII."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate.train._printable import cell, printable, width

if TYPE_CHECKING:
    from striate.train.metrics import ClassMetrics, Evaluation, Interval

__all__ = ["evaluation_text"]

_COLUMNS = 100
_MAX_NAME = 24
_MAX_MATRIX = 12  # classes; a wider confusion matrix becomes a list of the most frequent mistakes


def evaluation_text(evaluation: Evaluation, *, max_classes: int) -> str:
    """Render `evaluation` as text; see `Evaluation.text`."""
    parts = [_summary(evaluation), _class_table(evaluation, max_classes=max_classes)]
    if len(evaluation.per_class) <= _MAX_MATRIX:
        parts.append(_matrix(evaluation))
    elif evaluation.top_confusions(limit=1):
        parts.append(_confusion_list(evaluation))
    return "\n\n".join(parts)


def _summary(evaluation: Evaluation) -> str:
    intervals = evaluation.intervals
    rows = [("accuracy (top-1)", _percent(evaluation.top1), intervals.get("top1"))]
    if evaluation.top5 is not None:
        rows.append(("accuracy (top-5)", _percent(evaluation.top5), intervals.get("top5")))
    rows += [
        ("balanced accuracy", _percent(evaluation.balanced_accuracy), intervals.get("balanced_accuracy")),
        ("macro F1", _percent(evaluation.macro_f1), intervals.get("macro_f1")),
        ("calibration error", _percent(evaluation.calibration_error), intervals.get("calibration_error")),
        ("cross-entropy", f"{evaluation.loss:.4f}  ", None),
    ]
    title = f"{evaluation.num_samples:,} samples, {len(evaluation.per_class)} classes"
    lines = [f"{title:<30}{'':>10}   95 % interval"]
    return "\n".join(lines + [f"{name:<30}{value:>10}   {_range(span)}".rstrip() for name, value, span in rows])


def _class_table(evaluation: Evaluation, *, max_classes: int) -> str:
    shown = list(evaluation.per_class)
    hidden = len(shown) - max_classes
    if hidden > 0:
        # A class without images and predictions has no F1 and comes last; ties keep the class order.
        shown = sorted(shown, key=lambda entry: 2.0 if entry.f1 is None else entry.f1)[:max_classes]
    name_columns = _name_columns([entry.name for entry in shown], largest=_MAX_NAME)
    lines = [
        f"{'class':<{name_columns}}  {'precision':>9}  {'95 %':<14}  {'recall':>8}  {'95 %':<14}  {'F1':>8}  support"
    ]
    lines += [_class_row(entry, name_columns=name_columns) for entry in shown]
    if hidden > 0:
        lines.append(f"({max_classes} classes with the lowest F1; {hidden} more are not shown)")
    return "\n".join(lines)


def _class_row(entry: ClassMetrics, *, name_columns: int) -> str:
    return (
        f"{cell(entry.name, columns=name_columns)}  {_percent(entry.precision):>9}  "
        f"{_range(entry.precision_interval, decimals=1):<14}  {_percent(entry.recall):>8}  "
        f"{_range(entry.recall_interval, decimals=1):<14}  "
        f"{_percent(entry.f1):>8}  {entry.support:>7,}"
    )


def _matrix(evaluation: Evaluation) -> str:
    names = evaluation.class_names
    digits = max(len(str(count)) for row in evaluation.confusion for count in row)
    name_columns = _name_columns(names, largest=16)
    # Columns as wide as the names allow: two spaces between, 100 columns in all.
    room = (_COLUMNS - name_columns) // len(names) - 2
    columns = max(digits, min(room, _name_columns(names, largest=10)))
    lines = ["confusion matrix: rows are the true class, columns the predicted class"]
    lines.append(" " * name_columns + "".join("  " + cell(name, columns=columns, right=True) for name in names))
    for name, row in zip(names, evaluation.confusion, strict=True):
        counts = "".join(f"  {count if count else '.':>{columns}}" for count in row)
        lines.append(cell(name, columns=name_columns) + counts)
    return "\n".join(lines)


def _confusion_list(evaluation: Evaluation) -> str:
    lines = ["most frequent mistakes"]
    for target, prediction, count in evaluation.top_confusions(limit=10):
        lines.append(f"{count:>7,}  {cell(target, columns=_MAX_NAME)}  taken for {cell(prediction, columns=_MAX_NAME)}")
    return "\n".join(line.rstrip() for line in lines)


def _name_columns(names: tuple[str, ...] | list[str], *, largest: int) -> int:
    return max(5, min(largest, max(width(printable(name)) for name in names)))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _range(interval: Interval | None, *, decimals: int = 2) -> str:
    return "-" if interval is None else " .. ".join(f"{100 * end:.{decimals}f}" for end in interval)
