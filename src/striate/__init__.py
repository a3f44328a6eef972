"""striate: convolutional neural networks you can see through, at the speed of your processor.

Everything here is imported when it is first used, so that ``import striate`` costs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from striate.errors import (
    DataError,
    DivergedError,
    ImageError,
    MissingExtraError,
    ModelError,
    ResourceError,
    StriateError,
    UsageError,
)

if TYPE_CHECKING:
    from striate import data as data
    from striate import models as models
    from striate.train import Recipe as Recipe
    from striate.train import Run as Run
    from striate.train import resume as resume
    from striate.train.start import train as train

__all__ = [
    "DataError",
    "DivergedError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "Recipe",
    "ResourceError",
    "Run",
    "StriateError",
    "UsageError",
    "__version__",
    "data",
    "models",
    "resume",
    "train",
]

__version__ = "0.1.0"

_ROOMS = ("data", "models", "train")
_FROM_TRAIN = ("Recipe", "Run", "resume")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"striate.{name}")
    if name in _FROM_TRAIN:
        return getattr(importlib.import_module("striate.train"), name)
    raise AttributeError(f"module 'striate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
