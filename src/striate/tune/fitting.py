"""Training of a network of which some stages are frozen: phases, a rate for each stage, a pull to the source."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from striate.data import Augmentation, Batches, Dataset, Preprocessing, derive_seed
from striate.data.batches import Batch
from striate.errors import DivergedError
from striate.train.evaluate import predict_logits
from striate.train.loss import training_loss
from striate.train.machine import Configuration
from striate.train.modes import modes_kept
from striate.train.optimizer import set_learning_rate, without_compiler
from striate.train.recipe import Recipe
from striate.train.schedule import learning_rate
from striate.tune.stages import Stage, learning

__all__ = ["Fit", "Phase", "Setting", "accuracy_of", "fit"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the training in which the same stages learn."""

    count: int
    """Stages that learn, counted from the head."""
    epochs: int
    lr: float
    """Of the head, at its highest."""
    decay: float = 1.0
    """Factor of the learning rate from each stage to the one before it."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.epochs < 1 or not self.lr > 0 or not 0 < self.decay <= 1:
            raise ValueError(f"a phase must train at least the head for at least one epoch, got {self}")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is the same for all phases."""

    preprocessing: Preprocessing
    augmentation: Augmentation
    machine: Configuration
    batch_size: int = 32
    weight_decay: float = 1e-4
    pull: float = 0.0
    """Factor of half the squared distance from the source weights, which is added to the loss (L2-SP)."""
    seed: int = 0


@dataclass(kw_only=True)
class Fit:
    """What came of a training."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of each epoch, as a run keeps them in ``metrics.jsonl``."""
    best_epoch: int = 0
    accuracy: float | None = None
    """The best one on the validation images, whose weights the network has; None without such images."""
    seconds: float = 0.0
    is_complete: bool = True
    """Whether all phases were finished in the time there was."""


def fit(
    network: nn.Module,
    stages: Sequence[Stage],
    *,
    phases: Sequence[Phase],
    train: Dataset,
    val: Dataset | None,
    setting: Setting,
    deadline: float | None = None,
) -> Fit:
    """Train a network in phases and leave in it the weights of the epoch that was best on the validation images.

    Frozen weights and statistics keep their bits. Every module's mode and ``requires_grad`` are given back at the end.

    Args:
        network: Changed in place, on the device of the setting.
        stages: What `divide` returned.
        phases: One after the other.
        train: Images to learn from.
        val: Images to choose the epoch by; None: the last one is taken.
        setting: Everything else.
        deadline: Value of `time.monotonic` at which to stop after the current epoch; None: never.

    Raises:
        DivergedError: the loss is not a number.

    Source: pull to the source: Li, Grandvalet and Davoine 2018, arXiv:1802.01483. Rates that fall from stage to stage:
    Howard and Ruder 2018, arXiv:1801.06146, sec. 3.2.
    """
    begin, result = time.monotonic(), Fit()
    source = {name: p.detach().clone() for name, p in network.named_parameters()} if setting.pull else {}
    best: dict[str, Tensor] | None = None
    with modes_kept(network):
        for epoch, row in enumerate(_epochs(network, stages, phases, train=train, setting=setting, source=source), 1):
            result.rows.append({"epoch": epoch, **row})
            if val is not None:
                accuracy = accuracy_of(network, val, setting=setting)
                result.rows[-1]["val_accuracy"] = accuracy
                if result.accuracy is None or accuracy >= result.accuracy:
                    result.accuracy, result.best_epoch = accuracy, epoch
                    best = copy.deepcopy(network.state_dict())
            if deadline is not None and time.monotonic() > deadline:
                break
    result.is_complete = len(result.rows) == sum(phase.epochs for phase in phases)
    if best is None:
        result.best_epoch = len(result.rows)
    else:
        network.load_state_dict(best)
    for row in result.rows:
        row["best"] = row["epoch"] == result.best_epoch
    result.seconds = time.monotonic() - begin
    return result


def _epochs(
    network: nn.Module,
    stages: Sequence[Stage],
    phases: Sequence[Phase],
    *,
    train: Dataset,
    setting: Setting,
    source: dict[str, Tensor],
) -> Iterator[dict[str, Any]]:
    """Train epoch after epoch, and yield each one's row."""
    epoch = 0
    for phase in phases:
        own = _PhaseFit(network, stages, phase, setting=setting, source=source)
        for number in range(phase.epochs):
            yield own.epoch(train, number=number, epoch=epoch)
            epoch += 1


def accuracy_of(network: nn.Module, dataset: Dataset, *, setting: Setting) -> float:
    """Return the share of right answers; every module keeps its mode."""
    logits, targets = predict_logits(
        network, dataset, preprocessing=setting.preprocessing, configuration=setting.machine
    )
    return float((logits.argmax(1) == targets).double().mean())


class _PhaseFit:
    """One phase: its optimizer, and its epochs."""

    def __init__(
        self, network: nn.Module, stages: Sequence[Stage], phase: Phase, *, setting: Setting, source: dict[str, Tensor]
    ) -> None:
        self.network, self.phase, self.setting = network, phase, setting
        groups = learning(network, stages, count=phase.count)
        self.pulled = [
            (p, source[name]) for name, p in network.named_parameters() if name in source and p.requires_grad
            and not name.startswith(f"{stages[-1].name}.")
        ]  # fmt: skip
        self.optimizer = _optimizer(groups, phase, setting=setting)
        self.computing = setting.machine.computing(network)
        self.recipe = Recipe(
            name="tune", epochs=phase.epochs, batch_size=setting.batch_size, opt="adamw", lr=phase.lr,
            sched="one-cycle",
        )  # fmt: skip

    def epoch(self, train: Dataset, *, number: int, epoch: int) -> dict[str, Any]:
        """Take the steps of one epoch."""
        total = correct = seen = 0.0
        begin = time.monotonic()
        for step, batch in enumerate(self._batches(train, epoch=epoch)):
            steps = max(1, len(train) // self.recipe.batch_size)
            set_learning_rate(
                self.optimizer,
                learning_rate(number * steps + step, recipe=self.recipe, steps_per_epoch=steps, plateau_drops=0),
            )
            torch.manual_seed(derive_seed(self.setting.seed, epoch, step))
            loss, outputs = self._step(batch)
            total += loss * len(batch.targets)
            correct += float((outputs.argmax(1) == batch.targets).sum())
            seen += len(batch.targets)
        seconds = time.monotonic() - begin
        return {
            "train_loss": total / seen,
            "train_accuracy": correct / seen,
            "val_loss": None,
            "val_accuracy": None,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "images_per_second": round(seen / max(seconds, 1e-9), 1),
            "seconds": round(seconds, 3),
            "stages_that_learn": self.phase.count,
        }

    def _batches(self, train: Dataset, *, epoch: int) -> Iterator[Batch]:
        size = min(self.recipe.batch_size, len(train))
        yield from Batches(
            train, batch_size=size, preprocessing=self.setting.preprocessing, augmentation=self.setting.augmentation,
            seed=self.setting.seed, epoch=epoch, shuffle=True, device=self.setting.machine.device,
            memory_format=self.setting.machine.memory_format, drop_last=True,
        )  # fmt: skip

    def _step(self, batch: Batch) -> tuple[float, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        with self.setting.machine.autocast():
            outputs = self.computing(batch.inputs)
        loss = training_loss(outputs, batch, smoothing=0.0, class_weights=None, num_samples=len(batch.targets))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError("tune: the loss is not a number any more. Lower the learning rate: lr=... (--lr).")
        loss.backward()
        for parameter, own in self.pulled:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - own, alpha=self.setting.pull)
        self.optimizer.step()
        return value, outputs.detach()


def _optimizer(groups: Sequence[Sequence[Tensor]], phase: Phase, *, setting: Setting) -> torch.optim.Optimizer:
    """AdamW with a rate for each stage; biases and normalisation do not decay."""
    made = []
    for distance, parameters in enumerate(reversed([*groups])):
        for decays in (True, False):
            own = [p for p in parameters if (p.ndim > 1) == decays]
            decay = setting.weight_decay if decays else 0.0
            if own:
                made.append({"params": own, "weight_decay": decay, "lr_scale": phase.decay**distance})
    with without_compiler():
        return torch.optim.AdamW(made, lr=phase.lr)
