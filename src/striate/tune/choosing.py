"""How much to unfreeze, and at which rate: alternatives, tried on held-out images while there is time."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
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
SHARE_OF_HEAD, SHARE_OF_STAGES = 0.3, 0.3
"""Of the epochs: for the head alone, and for one stage after the other; the rest is for all of them together."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An alternative, and what came of it."""

    name: str
    phases: tuple[Phase, ...]
    right: int = 0
    held_out: int = 0
    """Images that were held out; 0: it was not tried."""
    seconds: float = 0.0
    reason: str = ""
    """Why it was not tried, or not to its end."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of each epoch, of the last fold."""

    @property
    def accuracy(self) -> float | None:
        """On the images that were held out; None: it was not tried."""
        return self.right / self.held_out if self.held_out else None

    @property
    def result(self) -> str:
        """What came of it, in words."""
        if self.accuracy is None:
            return f"not tried, {self.reason}"
        ended = f", {self.reason}" if self.reason else ""
        return f"{100 * self.accuracy:.1f} % of {self.held_out} held-out images, {self.seconds:.0f} s{ended}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "phases": [{"stages": p.count, "epochs": p.epochs, "lr": p.lr, "decay": p.decay} for p in self.phases],
            "accuracy": self.accuracy,
            "right": self.right,
            "held_out": self.held_out,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def gradual_phases(count: int, *, epochs: int, lr: float, decay: float = 0.3) -> tuple[Phase, ...]:
    """Return the phases of gradual unfreezing: the head, then one stage more at a time, then all of them together.

    Args:
        count: Stages that learn in the end, the head included.
        epochs: In all; each phase has at least one.
        lr: Of the head.
        decay: Of the rate from stage to stage.

    Example:
        >>> [(phase.count, phase.epochs) for phase in gradual_phases(3, epochs=10, lr=3e-3)]
        [(1, 3), (2, 3), (3, 4)]
    """
    if count == 1:
        return (Phase(count=1, epochs=epochs, lr=lr),)
    between = range(2, count)
    own = max(1, round(SHARE_OF_STAGES * epochs / max(1, len(between))))
    first = max(1, round(SHARE_OF_HEAD * epochs))
    rest = max(1, epochs - first - own * len(between))
    return (
        Phase(count=1, epochs=first, lr=lr),
        *(Phase(count=n, epochs=own, lr=lr, decay=decay) for n in between),
        Phase(count=count, epochs=rest, lr=lr, decay=decay),
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
    note: Callable[[str], None],
) -> tuple[list[Trial], Trial, nn.Module | None]:
    """Try alternatives in their order, as long as there is time, on copies of a network.

    Args:
        network: Left as it is.
        stages: Of it.
        trials: The first is always tried, for an epoch at least.
        divisions: Images to learn from and to hold out; several: folds.
        setting: Of all.
        seconds: To be spent; what would not fit is left out, and says so.
        note: Called with a line of text for each.

    Returns:
        All alternatives with what came of them; the best one, of equals that of which the least learns; and the network
        that it left, None where there were folds, of which none has seen all images.
    """
    begin, done = time.monotonic(), list[Trial]()
    best: tuple[Trial, nn.Module] | None = None
    cost = 0.0  # most seconds an epoch so far
    for trial in trials:
        epochs, left = _epochs(trial) * len(divisions), begin + seconds - time.monotonic()
        if best is not None and cost * epochs > left:
            reason = f"it would take about {cost * epochs:.0f} s, {max(0.0, left):.0f} s were left"
            done.append(replace(trial, reason=reason))
        else:
            tried, own = _try(network, stages, trial, divisions=divisions, setting=setting, deadline=begin + seconds)
            cost = max(cost, tried.seconds / max(1, len(tried.rows) * len(divisions)))
            done.append(tried)
            if best is None or _rank(tried) > _rank(best[0]):
                best = tried, own
        note(f"{trial.name}: {done[-1].result}")
    if best is None:
        raise ValueError("choose: there must be an alternative")
    return done, best[0], best[1] if len(divisions) == 1 else None


def _epochs(trial: Trial) -> int:
    return sum(phase.epochs for phase in trial.phases)


def _rank(trial: Trial) -> tuple[float, int]:
    return trial.accuracy or 0.0, -max(phase.count for phase in trial.phases)


def _try(
    network: nn.Module,
    stages: Sequence[Stage],
    trial: Trial,
    *,
    divisions: Sequence[tuple[Dataset, Dataset]],
    setting: Setting,
    deadline: float,
) -> tuple[Trial, nn.Module]:
    """Return the alternative with what came of it, and the network that the last division left."""
    begin, right, held_out = time.monotonic(), 0, 0
    for train, out in divisions:
        own = copy.deepcopy(network)
        result = fit(own, stages, phases=trial.phases, train=train, val=out, setting=setting, deadline=deadline)
        right, held_out = right + round((result.accuracy or 0.0) * len(out)), held_out + len(out)
    taken = f"{len(result.rows)} of {_epochs(trial)} epochs"
    reason = "" if result.is_complete else f"stopped after {taken} for lack of time"
    seconds = time.monotonic() - begin
    return replace(trial, right=right, held_out=held_out, seconds=seconds, rows=result.rows, reason=reason), own
