"""Diagnosis: why a network does not learn, by its name, with the evidence, the edit and what was tested to be sure.

The package is also the function: ``striate.diagnose(model, (x, y))`` is `striate.diagnose.diagnosing.diagnose`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from striate.diagnose.causes import CAUSES as CAUSES
    from striate.diagnose.causes import Cause as Cause
    from striate.diagnose.diagnosing import diagnose as diagnose
    from striate.diagnose.finding import Diagnosis as Diagnosis
    from striate.diagnose.finding import Finding as Finding
    from striate.diagnose.watching import Watch as Watch
    from striate.diagnose.watching import watch as watch

_HOMES = {
    "CAUSES": "causes",
    "Cause": "causes",
    "Diagnosis": "finding",
    "Finding": "finding",
    "Watch": "watching",
    "diagnose": "diagnosing",
    "watch": "watching",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
make_callable(__name__)
