"""The lines that `Progress` shows, as plain text composed to a width; no terminal is touched here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Bar", "Position", "bar_line", "duration", "is_ascii_only", "row_line", "status_line"]

_MIN_BAR = 8
_MAX_BAR = 24  # fixed where there is room, so that it does not move while the numbers change their length


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run is; None is not known yet."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    accuracy: float | None
    images_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Character positions of the bar in its line: filled from `start` to `filled`, empty from there to `stop`."""

    start: int
    filled: int
    stop: int


def is_ascii_only(*, encoding: str | None, environ: Mapping[str, str]) -> bool:
    """Decide whether only ASCII can be shown: the stream says so, or the user chose the C locale.

    Python 3.11 writes UTF-8 even under ``LC_ALL=C``, so the stream's encoding alone does not tell.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if locale in {"C", "POSIX"}:
        return True
    return encoding is not None and not encoding.lower().replace("-", "").startswith("utf")


def duration(seconds: float) -> str:
    """Write a time span as people say it.

    Example:
        >>> duration(0.62), duration(42.4), duration(62), duration(3 * 3600 + 240)
        ('0.6 s', '42 s', '1 min 02 s', '3 h 04 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def status_line(position: Position) -> str:
    """One plain line from within an epoch, for logs."""
    return "  ".join(
        [f"epoch {position.epoch}/{position.epochs}", f"step {position.step}/{position.steps}", *_details(position)]
    )


def bar_line(position: Position, *, columns: int, is_ascii: bool) -> tuple[str, Bar | None]:
    """Compose the live line for a terminal of `columns` columns; what matters least is dropped first.

    Returns:
        The line, never wider than `columns`, and where its bar is (None when there is no room for one).
    """
    head = f"epoch {position.epoch}/{position.epochs}"
    parts = [f"{position.step:>{len(str(position.steps))}}/{position.steps}", *_details(position)]
    # From least to most wanted; the loss goes last.
    droppable = [part for part in (parts[0], *_details(position, order="drop")) if part in parts]
    while droppable and len("  ".join([head, *parts])) + 2 + _MIN_BAR > columns:
        parts.remove(droppable.pop(0))
    if len(head) + 2 + _MIN_BAR > columns:
        head = f"{position.epoch}/{position.epochs}"
    room = columns - len("  ".join([head, *parts])) - 2
    if room < 3:
        return head[:columns], None
    size = min(room, _MAX_BAR)
    share = min(1.0, position.step / position.steps) if position.steps > 0 else 1.0
    done = int(share * size)
    full, empty = ("#", "-") if is_ascii else ("━", "─")
    bar = Bar(start=len(head) + 2, filled=len(head) + 2 + done, stop=len(head) + 2 + size)
    return "  ".join([head, full * done + empty * (size - done), *parts]), bar


def row_line(row: Mapping[str, Any], *, epochs: int, is_best: bool, columns: int | None) -> str:
    """Compose the line of a finished epoch; with `columns`, what matters least is dropped until it fits."""
    epoch = f"{row['epoch']:>{len(str(epochs))}}/{epochs}"
    best = " best" if is_best else "     "
    has_val_accuracy = row.get("val_accuracy") is not None
    fields = {
        "epoch": f"epoch {epoch}",
        "train_loss": _named(row, key="train_loss", name="loss", form="{:.4f}"),
        "train_accuracy": _named(row, key="train_accuracy", name="train", form="{:.2%}"),
        "val_loss": "" if has_val_accuracy else _named(row, key="val_loss", name="val loss", form="{:.4f}", end=best),
        "val_accuracy": _named(row, key="val_accuracy", name="val", form="{:.2%}", end=best),
        "images_per_second": _named(row, key="images_per_second", name="", form="{:,.0f}", end=" images/s"),
        "seconds": "" if row.get("seconds") is None else duration(row["seconds"]),
    }
    parts = {name: text for name, text in fields.items() if text}
    for name in ("images_per_second", "train_accuracy", "seconds", "train_loss"):
        if columns is None or len("  ".join(parts.values()).rstrip()) <= columns:
            break
        parts.pop(name, None)
    line = "  ".join(parts.values()).rstrip()
    # Too narrow even for that: "2/20  91.20 % best" still fits 20 columns.
    return line if columns is None or len(line) <= columns else line.replace("epoch ", "").replace("val ", "").lstrip()


def _details(position: Position, *, order: str = "show") -> list[str]:
    loss = "" if position.loss is None else f"loss {position.loss:.4f}"
    accuracy = "" if position.accuracy is None else f"acc {_percent(position.accuracy)}"
    speed = "" if position.images_per_second is None else f"{position.images_per_second:,.0f} images/s"
    left = "" if position.seconds_left is None else f"{duration(position.seconds_left)} left"
    parts = [loss, accuracy, speed, left] if order == "show" else [speed, accuracy, left, loss]
    return [part for part in parts if part]


def _named(row: Mapping[str, Any], *, key: str, name: str, form: str, end: str = "") -> str:
    value = row.get(key)
    if value is None:
        return ""
    text = _percent(value) if form == "{:.2%}" else form.format(value)
    return f"{name} {text}{end}".lstrip()


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
