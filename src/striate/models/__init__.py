"""The classic networks by name, their papers, initialisation schemes and published weights.

>>> from striate import models
>>> models.info("resnet20").paper.year
2015

Listing and describing networks needs no torch; what builds, changes or loads one imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names
from striate.models.registry import Deviation, ModelInfo, Paper, PretrainedWeights, PrintedCount, create, info
from striate.models.registry import names as list

if TYPE_CHECKING:
    from striate.models.initialization import initialize, set_dropout
    from striate.models.weights import load_weights, which_fit

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
    "which_fit",
]

_LAZY = {
    "initialize": "initialization",
    "load_weights": "weights",
    "set_dropout": "initialization",
    "which_fit": "weights",
}


__getattr__, __dir__ = lazy_names(__name__, _LAZY)
