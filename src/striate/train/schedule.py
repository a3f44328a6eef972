"""Learning rate as a function of the step: a pure function for most schedules, one small memory for plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass

from striate.train.recipe import Recipe

__all__ = ["PlateauState", "learning_rate"]


@dataclass(kw_only=True, slots=True)
class PlateauState:
    """What the plateau schedule has to remember from epoch to epoch: the best accuracy, and how often it dropped.

    Source: He et al. 2016, arXiv:1512.03385, sec. 3.4 (divide the rate by 10 when the error plateaus).

    Example:
        >>> state = PlateauState()
        >>> for accuracy in (0.5, 0.6, 0.6, 0.6):
        ...     state.update(accuracy, patience=2)
        >>> state.drops
        1
    """

    best: float = -math.inf
    epochs_since_best: int = 0
    drops: int = 0

    def update(self, val_accuracy: float, *, patience: int) -> None:
        """Count one epoch; after `patience` epochs without a better accuracy the rate drops once."""
        if val_accuracy > self.best:
            self.best, self.epochs_since_best = val_accuracy, 0
            return
        self.epochs_since_best += 1
        if self.epochs_since_best >= patience:
            self.drops, self.epochs_since_best = self.drops + 1, 0


def learning_rate(step: int, *, recipe: Recipe, steps_per_epoch: int, plateau_drops: int = 0) -> float:
    """Return the learning rate of one optimizer step, counted from 0 over the whole run.

    It depends on nothing but its arguments, so a resumed run continues on the same curve.

    Args:
        step: Optimizer steps already taken.
        recipe: Names the schedule and its numbers.
        steps_per_epoch: Optimizer steps in one epoch.
        plateau_drops: For `plateau`, how often the rate has dropped so far (`PlateauState.drops`).

    Source: one-cycle: Smith and Topin 2018, arXiv:1708.07120; cosine: Loshchilov and Hutter 2017, arXiv:1608.03983.

    Example:
        >>> recipe = Recipe(lr=1.0, epochs=10, sched="cosine")
        >>> [round(learning_rate(step, recipe=recipe, steps_per_epoch=1), 3) for step in (0, 5, 10)]
        [1.0, 0.5, 0.0]
    """
    warmup_steps = _warmup_epochs(recipe) * steps_per_epoch
    if step < warmup_steps:
        start = recipe.start_lr_fraction
        return recipe.lr * (start + (1 - start) * step / warmup_steps)
    total_steps = recipe.epochs * steps_per_epoch
    progress = min(1.0, (step - warmup_steps) / max(1.0, total_steps - warmup_steps))
    end = recipe.end_lr_fraction
    if recipe.sched in ("cosine", "one-cycle"):
        return recipe.lr * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))
    if recipe.sched == "triangle":
        return recipe.lr * (1 - (1 - end) * progress)
    if recipe.sched == "step":
        return float(recipe.lr * recipe.decay_rate ** (step // (recipe.decay_epochs * steps_per_epoch)))
    if recipe.sched == "plateau":
        return float(recipe.lr * recipe.decay_rate**plateau_drops)
    return recipe.lr


def _warmup_epochs(recipe: Recipe) -> float:
    if recipe.warmup_epochs is not None:
        return recipe.warmup_epochs
    return recipe.epochs / 4 if recipe.sched in ("one-cycle", "triangle") else 0.0
