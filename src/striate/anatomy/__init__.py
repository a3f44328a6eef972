"""Anatomy: one table about a network that agrees with itself, and what follows from it.

The package is also the function: ``striate.anatomy(model, example)`` is `striate.anatomy.anatomy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from striate.anatomy.advice import Advice as Advice
    from striate.anatomy.examine import Anatomy as Anatomy
    from striate.anatomy.examine import anatomy as anatomy
    from striate.anatomy.layer import Layer as Layer
    from striate.anatomy.layer import Total as Total
    from striate.anatomy.sight import Sight as Sight

_HOMES = {
    "Advice": "advice",
    "Anatomy": "examine",
    "Layer": "layer",
    "Sight": "sight",
    "Total": "layer",
    "anatomy": "examine",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
make_callable(__name__)
