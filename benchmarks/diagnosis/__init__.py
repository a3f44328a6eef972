"""Faults that are put into healthy trainings, and trainings that are healthy: is each named, and is there silence?"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    from benchmarks.diagnosis import program

    program.main(arguments)
