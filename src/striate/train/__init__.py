"""Training: recipes, the loop, the run folder it leaves, evaluation and prediction.

The package is also the function: ``striate.train("mnist", epochs=3)`` is `striate.train.train`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from striate.train.metrics import Evaluation as Evaluation
    from striate.train.predict import Prediction as Prediction
    from striate.train.progress import Progress as Progress
    from striate.train.recipe import Recipe as Recipe
    from striate.train.recipes import RECIPES as RECIPES
    from striate.train.recipes import choose_recipe as choose_recipe
    from striate.train.recipes import get_recipe as get_recipe
    from striate.train.run import Run as Run
    from striate.train.start import resume as resume
    from striate.train.start import train as train

_HOMES = {
    "RECIPES": "recipes",
    "Evaluation": "metrics",
    "Prediction": "predict",
    "Progress": "progress",
    "Recipe": "recipe",
    "Run": "run",
    "choose_recipe": "recipes",
    "get_recipe": "recipes",
    "resume": "start",
    "train": "start",
}

__all__ = sorted(_HOMES)


# Recipes and their errors need no PyTorch: a wrong flag is answered before it is imported.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

make_callable(__name__)
