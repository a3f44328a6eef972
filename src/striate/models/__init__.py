"""The classic networks by name, their papers, initialisation schemes and published weights.

>>> from striate import models
>>> models.info("resnet20").paper.year
2015

Listing and describing networks needs no torch; `create`, `initialize`, `set_dropout` and `load_weights` import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from striate.models.registry import Deviation, ModelInfo, Paper, PretrainedWeights, PrintedCount, create, info
from striate.models.registry import names as list

if TYPE_CHECKING:
    from striate.models.initialization import initialize, set_dropout
    from striate.models.weights import load_weights

__all__ = [
    "Deviation",
    "ModelInfo",
    "Paper",
    "PretrainedWeights",
    "PrintedCount",
    "create",
    "info",
    "initialize",
    "list",
    "load_weights",
    "set_dropout",
]

_LAZY = {
    "initialize": "striate.models.initialization",
    "load_weights": "striate.models.weights",
    "set_dropout": "striate.models.initialization",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
