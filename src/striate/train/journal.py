"""The run's log files: ``metrics.jsonl`` (one event a line, appended) and ``results.csv`` (one row an epoch)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from striate.files import append_line, write_text

__all__ = ["Journal", "read_events"]

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "lr",
    "images_per_second",
    "seconds",
)


class Journal:
    """Appends events of one run, and keeps the table of epochs beside them.

    Args:
        folder: The run folder.
        enabled: Only the main process of several writes.
    """

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._events = folder / "metrics.jsonl"
        self._table = folder / "results.csv"
        self._enabled = enabled

    def add(self, event: str, **values: Any) -> None:
        """Append one event; an epoch is added to the table as well."""
        if not self._enabled:
            return
        append_line(self._events, json.dumps({"event": event, **values}, allow_nan=False))
        if event == "epoch":
            self._write_table()

    def keep(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the events that are not wanted: what a resumed run will do again."""
        if not self._enabled:
            return
        kept = [json.dumps(event) + "\n" for event in read_events(self._events) if wanted(event)]
        write_text(self._events, "".join(kept))
        self._write_table()

    def _write_table(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(event for event in read_events(self._events) if event.get("event") == "epoch")
        write_text(self._table, text.getvalue())


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``; a line that a kill cut off is left out, a missing file is an empty list."""
    if not path.is_file():
        return []
    events = list[dict[str, Any]]()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            events.append(value)
    return events
