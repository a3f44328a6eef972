"""How much to unfreeze, and at which rate: alternatives, tried on held-out images while there is time."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from striate.data import Dataset, derive_seed
from striate.errors import DataError
from striate.tune.fitting import Phase, Setting, fit
from striate.tune.stages import Stage

__all__ = ["Trial", "choose", "folds_of", "gradual_phases"]

FEW = 50
"""Images of a class below which every image is held out once, in folds."""
FOLDS = 5
EPOCHS_OF_HEAD, EPOCHS_OF_STAGE, EPOCHS_OF_ALL = 0.3, 0.3, 0.4
"""Shares of the epochs: the head alone, one stage after the other, and all of them together."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An alternative, and what came of it."""

    name: str
    phases: tuple[Phase, ...]
    accuracy: float | None = None
    """On the images that were held out; None: it was not tried."""
    epochs: int = 0
    """At which the held-out images were best, as a mean over the folds."""
    seconds: float = 0.0
    reason: str = ""
    """Why it was not tried."""
    held_out: int = 0
    right: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "phases": [{"stages": p.count, "epochs": p.epochs, "lr": p.lr, "decay": p.decay} for p in self.phases],
            "accuracy": self.accuracy,
            "right": self.right,
            "held_out": self.held_out,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "not_tried": self.reason,
        }


def gradual_phases(count: int, *, epochs: int, lr: float, decay: float = 0.5) -> tuple[Phase, ...]:
    """Return the phases of gradual unfreezing: the head, then one stage more at a time, then all of them together.

    Args:
        count: Stages that learn in the end, the head included.
        epochs: In all; each phase has at least one.
        lr: Of the head; a tenth of it where stages of the base learn too.
        decay: Of the rate from stage to stage.

    Example:
        >>> [(phase.count, phase.epochs) for phase in gradual_phases(3, epochs=10, lr=3e-3)]
        [(1, 3), (2, 3), (3, 4)]
    """
    if count == 1:
        return (Phase(count=1, epochs=epochs, lr=lr),)
    between = range(2, count)
    own = max(1, round(EPOCHS_OF_STAGE * epochs / max(1, len(between))))
    first = max(1, round(EPOCHS_OF_HEAD * epochs))
    rest = max(1, epochs - first - own * len(between))
    return (
        Phase(count=1, epochs=first, lr=lr),
        *(Phase(count=n, epochs=own, lr=lr / 10, decay=decay) for n in between),
        Phase(count=count, epochs=rest, lr=lr / 10, decay=decay),
    )


def folds_of(dataset: Dataset, *, seed: int, folds: int = FOLDS) -> list[tuple[Dataset, Dataset]]:
    """Divide images so that each is held out once and every part has as much of each class.

    Args:
        dataset: What to divide.
        seed: Of the division.
        folds: At most; as many as the smallest class has images, but two at least.

    Raises:
        DataError: a class has fewer than two images.
    """
    labels = dataset.labels.numpy()
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    if counts.min() < 2:
        name = dataset.class_names[int(counts.argmin())]
        raise DataError(
            f"tune: every class must have at least 2 images to learn from and to be held out, got {counts.min()} of "
            f"`{name}`. Add images of it, or leave the class out."
        )
    parts = int(min(folds, counts.min()))
    order = np.random.Generator(np.random.PCG64(derive_seed(seed, 5))).permutation(len(labels))
    part = np.empty(len(labels), dtype=np.int64)
    for label in range(len(counts)):
        own = order[labels[order] == label]
        part[own] = np.arange(len(own)) % parts
    return [
        (dataset.subset(np.flatnonzero(part != k)), dataset.subset(np.flatnonzero(part == k))) for k in range(parts)
    ]


def choose(
    network: nn.Module,
    stages: Sequence[Stage],
    trials: Sequence[Trial],
    *,
    divisions: Sequence[tuple[Dataset, Dataset]],
    setting: Setting,
    seconds: float,
    note: Any,
) -> tuple[list[Trial], nn.Module | None]:
    """Try alternatives in their order, as long as there is time, on copies of a network.

    Args:
        network: Left as it is.
        stages: Of it.
        trials: The first is always tried.
        divisions: Images to learn from and to hold out; several: folds.
        setting: Of all.
        seconds: To be spent; what would not fit is left out, and says so.
        note: Called with a line of text for each.

    Returns:
        The alternatives with their accuracies, and the network that the best one left, where there was one division.
    """
    begin, done = time.monotonic(), list[Trial]()
    best: tuple[float, nn.Module] | None = None
    cost = 0.0  # seconds an epoch, with all its stages, so far
    for trial in trials:
        epochs = sum(phase.epochs for phase in trial.phases) * len(divisions)
        left = seconds - (time.monotonic() - begin)
        if done and cost * epochs > left:
            done.append(
                replace(trial, reason=f"it would take about {cost * epochs:.0f} s, {max(0.0, left):.0f} s were left")
            )
            note(f"not tried: {trial.name} ({done[-1].reason})")
            continue
        start, right, held, best_epochs, rows = time.monotonic(), 0, 0, [], []
        for train, out in divisions:
            own = copy.deepcopy(network)
            result = fit(own, stages, phases=trial.phases, train=train, val=out, setting=setting)
            accuracy = result.accuracy or 0.0
            right, held = right + round(accuracy * len(out)), held + len(out)
            best_epochs.append(result.best_epoch)
            rows = result.rows
            if len(divisions) == 1 and (best is None or accuracy > best[0]):
                best = (accuracy, own)
        spent = time.monotonic() - start
        cost = max(cost, spent / epochs)
        measured: dict[str, Any] = {"accuracy": right / held, "right": right, "held_out": held, "seconds": spent}
        done.append(replace(trial, epochs=round(float(np.mean(best_epochs))), rows=rows, **measured))
        note(f"{trial.name}: {100 * right / held:.1f} % of {held} held-out images, {spent:.0f} s")
    return done, None if best is None else best[1]
