"""What a rule is: a small function from observations to a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from striate.diagnose._look import Look
from striate.diagnose._setup import Setup
from striate.diagnose.finding import Finding

__all__ = ["Found", "Rule", "percent"]


@dataclass(frozen=True, eq=False)
class Found:
    """A finding, and the setup without it: the next rules look at that one, so that they see only what it leaves."""

    finding: Finding
    repaired: Setup | None = None
    """None: nothing that trains can be looked at beyond it."""


Rule = Callable[[Look], Found | str | None]
"""None: not the cause. A string: could not be checked, and why."""


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.3g} %"
