"""How much processor time others took while something was timed: on shared cores a figure is worth no more."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["LOUD", "Watch"]

LOUD = 0.1
"""Processors taken by others, from which on a measurement is repeated."""
BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, nice, system, irq, softirq, steal


class Watch:
    """Measures how many processors other programs use, from its making on. Linux only; elsewhere it knows nothing.

    Args:
        process_ids: Programs that are not "others", beside this one.
        proc: The kernel's folder.
    """

    def __init__(self, process_ids: Sequence[int], *, proc: Path = Path("/proc")) -> None:
        self._proc, self._own = proc, [*process_ids, os.getpid()]
        self._begin = time.perf_counter()
        self._start = self._ticks()

    def others(self) -> float | None:
        """Return the processors that others used on average since the beginning; None: not known.

        What a child of an own program used counts as its own once the child has ended.
        """
        now = self._ticks()
        if self._start is None or now is None:
            return None
        seconds = max(time.perf_counter() - self._begin, 1e-9)
        return max(0.0, (now - self._start) / os.sysconf("SC_CLK_TCK") / seconds)

    def _ticks(self) -> int | None:
        """Ticks of all processors that the own programs did not use."""
        try:
            columns = [int(word) for word in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:]]
            own = sum(self._ticks_of(process_id) for process_id in self._own)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return sum(columns[index] for index in BUSY_COLUMNS) - own

    def _ticks_of(self, process_id: int) -> int:
        # The name in parentheses may hold spaces. Fields 14 to 17 of proc(5): user and system ticks, those of children.
        fields = (self._proc / str(process_id) / "stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15])
