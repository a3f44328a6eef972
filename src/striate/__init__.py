"""striate: convolutional neural networks you can see through, at the speed of your processor.

Everything here is imported when it is first used, so that ``import striate`` costs no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names
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
    from striate import anatomy as anatomy
    from striate import data as data
    from striate import diagnose as diagnose
    from striate import engine as engine
    from striate import graph as graph
    from striate import models as models
    from striate import ops as ops
    from striate import see as see
    from striate import work as work
    from striate.diagnose.watching import watch as watch
    from striate.engine import accelerate as accelerate
    from striate.graph import capture as capture
    from striate.graph import check_shapes as check_shapes
    from striate.train import Recipe as Recipe
    from striate.train import Run as Run
    from striate.train import resume as resume
    from striate.train.start import train as train
    from striate.tune.tuning import tune as tune

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
    "accelerate",
    "anatomy",
    "capture",
    "check_shapes",
    "data",
    "diagnose",
    "engine",
    "graph",
    "models",
    "ops",
    "resume",
    "see",
    "train",
    "tune",
    "watch",
    "work",
]

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Recipe": "train",
        "Run": "train",
        "accelerate": "engine",
        "anatomy": "",
        "capture": "graph",
        "check_shapes": "graph",
        "data": "",
        "diagnose": "",
        "engine": "",
        "graph": "",
        "models": "",
        "ops": "",
        "resume": "train",
        "see": "",
        "train": "",
        "tune": "",
        "watch": "diagnose",
        "work": "",
    },
)
