"""`tune`: what a network knows, for data that is small."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from striate.data import Augmentation, Dataset, Splits, load, statistics
from striate.data.batches import Batches
from striate.errors import DataError, ModelError, UsageError
from striate.train.choice import choose_configuration
from striate.train.machine import Configuration, select_device, thread_count
from striate.train.metrics import wilson_interval
from striate.train.network import check_output, run_example
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.recipes import choose_recipe
from striate.train.run import MODELS, Run
from striate.tune.choosing import FEW, Trial, choose, folds_of, gradual_phases
from striate.tune.features import accuracy_of_scikit_learn, base_features, choose_decay, fit_head
from striate.tune.fitting import Fit, Phase, Setting, fit
from striate.tune.head import Head, find_head, replace_head
from striate.tune.saving import save_run
from striate.tune.source import Source, open_source
from striate.tune.stages import Stage, divide

__all__ = ["MODES", "Mode", "tune"]

Mode = Literal["features", "head", "full", "gradual"]
MODES: tuple[Mode, ...] = ("features", "head", "full", "gradual")
STEPS = 800
"""About as many updates as a phase plan takes where the epochs are not given."""
MINUTES = 5.0
BATCH = 32
LR = 3e-3


@dataclass(frozen=True, kw_only=True)
class Task:
    """A source, the data, and all that the modes have in common."""

    source: Source
    head: Head
    splits: Splits
    stages: tuple[Stage, ...]
    network: nn.Module
    """The source's, with a new head."""
    setting: Setting
    divisions: Sequence[tuple[Dataset, Dataset]]
    """Images to learn from and to hold out."""
    epochs: int
    lr: float
    unfreeze: int | None
    seconds: float
    show: Progress

    @property
    def num_classes(self) -> int:
        """Of the new data."""
        return len(self.splits.class_names)


@dataclass(kw_only=True)
class Outcome:
    """A tuned network, and how it came about."""

    network: nn.Module
    mode: str
    trials: list[Trial] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def tune(
    source: str | Path | Run | nn.Module,
    data: Any,
    *,
    mode: Mode = "gradual",
    model: MODELS | None = None,
    head: str | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    images_per_class: int | None = None,
    unfreeze: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    pull: float = 0.0,
    minutes: float = MINUTES,
    augmentation: Augmentation | None = None,
    output: str | Path = "runs",
    experiment: str | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Tune a trained network to new data and return the run, evaluated and reported.

    Args:
        source: A run, a weights file, the name of a network with published weights, ``timm:NAME``,
            ``torchvision:NAME``, or a module with its weights.
        data: Anything `striate.data.load` takes, whose images are prepared as the source's were; or `Splits`.
        mode: ``features`` fits a linear head to what the frozen base makes of the images, once; ``head`` trains a new
            head on the frozen base with augmentation; ``full`` trains everything from the start; ``gradual`` trains the
            head, then one stage more at a time, and chooses by held-out images how many.
        model: For a weights file: which network it is of. For a run of a network of one's own: that network.
        head: Path of the classifier head, where it is not found.
        image_size: Side of the images in pixels; None for the source's.
        in_channels: 1 or 3; None for the source's.
        images_per_class: Learn from so many images of each class; None: all.
        unfreeze: Stages that learn, the head included; None chooses (``gradual``).
        epochs: Of each alternative; None: about as many as make 800 steps.
        lr: Of the head; the base learns at a tenth of it and less. None tries two.
        pull: Factor of the L2 term toward the source weights.
        minutes: To be spent on choosing; alternatives that do not fit are reported as not tried.
        augmentation: None: strong for small data, by the kind of images.
        output: Folder in which the run folder is made.
        experiment: Its name; None makes one.
        skip_bad: Leave unreadable images out.
        seed: Decides split, head, order and augmentation.
        device: As for `train`.
        threads: As for `train`.
        engine: As for `train`.
        progress: Where to show what happens; None prints to standard error.

    Raises:
        StriateError: one of its kinds, each with what is wrong and what to do.
    """
    if mode not in MODES:
        raise UsageError(f"tune: `mode` must be one of {', '.join(MODES)}, got {mode!r}.")
    _check(images_per_class=images_per_class, unfreeze=unfreeze, epochs=epochs, minutes=minutes, lr=lr, pull=pull)
    show = progress or Progress()
    device = select_device(device)
    with thread_count(threads or torch.get_num_threads()):
        opened = open_source(source, model=model, image_size=image_size, in_channels=in_channels)
        splits = load_for(opened, data, images_per_class=images_per_class, skip_bad=skip_bad, seed=seed)
        opened = opened.fitted_to(splits)
        task = prepare(
            opened, splits, head=head, epochs=epochs, lr=lr, pull=pull, unfreeze=unfreeze, minutes=minutes,
            augmentation=augmentation, seed=seed, device=device, engine=engine, show=show,
        )  # fmt: skip
        outcome = run_mode(task, mode)
        return save_run(task, outcome, output=Path(output), experiment=experiment)


def _check(**values: float | None) -> None:
    rules = {
        "images_per_class": (2, "at least 2, to learn from one and hold one out"),
        "unfreeze": (1, "at least 1, the head"),
        "epochs": (1, "at least 1"),
        "minutes": (0, "0 or more"),
        "lr": (1e-12, "above 0"),
        "pull": (0, "0 or more"),
    }
    for name, value in values.items():
        least, rule = rules[name]
        if value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError(f"tune: `{name}` must be {rule}, got {value}.")


def load_for(source: Source, data: Any, *, images_per_class: int | None, skip_bad: bool, seed: int) -> Splits:
    """Load data as the source's images were prepared, with no validation split: what is held out is chosen here."""
    splits = data if isinstance(data, Splits) else _loaded(source, data, skip_bad=skip_bad, seed=seed)
    counts = np.bincount(splits.train.labels.numpy(), minlength=len(splits.class_names))
    if counts.min() == 0:
        empty = [name for name, count in zip(splits.class_names, counts, strict=True) if not count]
        raise DataError(
            f"tune: every class must have training images, got none of {', '.join(empty[:8])}. "
            "Add some, or leave the class out."
        )
    if images_per_class is None:
        return splits
    return replace(splits, train=few_of(splits.train, images_per_class, seed=seed))


def _loaded(source: Source, data: Any, *, skip_bad: bool, seed: int) -> Splits:
    spec = source.spec
    is_images = spec.image_size is not None or source.takes_size_of_data
    return load(
        data,
        image_size=spec.image_size,
        resize_size=spec.image_size if source.preprocessing is None else source.preprocessing.resize_size,
        in_channels=spec.in_channels if is_images else None,
        val_fraction=0.0,
        seed=seed,
        skip_bad=skip_bad,
    )


def few_of(dataset: Dataset, count: int, *, seed: int) -> Dataset:
    """Return so many images of each class, or all where there are fewer; more hold those that fewer hold."""
    labels = dataset.labels.numpy()
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    chosen = [order[labels[order] == label][:count] for label in range(len(dataset.class_names))]
    return dataset.subset(np.sort(np.concatenate(chosen)))


def prepare(
    source: Source,
    splits: Splits,
    *,
    head: str | None,
    epochs: int | None,
    lr: float | None,
    pull: float,
    unfreeze: int | None,
    minutes: float,
    augmentation: Augmentation | None,
    seed: int,
    device: str,
    engine: str,
    show: Progress,
) -> Task:
    """Find the head, divide the network, hold images out, and find the fastest way to compute."""
    network = copy.deepcopy(source.network).to("cpu")
    run_example(network, source.example, spec=source.spec)
    found = find_head(network, source.example, name=head)
    classes = len(splits.class_names)
    if source.class_names == splits.class_names and found.num_classes == classes:
        fresh = found
        show.note(f"head     {found.name}: that of the source, which knows the same {classes} classes")
    else:
        fresh = replace_head(network, found, num_classes=classes, seed=seed)
        show.note(f"head     {found.name}: a new one for {classes} classes, the source's had {found.num_classes}")
    stages = divide(network, fresh)
    if unfreeze is not None and unfreeze > len(stages):
        raise UsageError(
            f"tune: `unfreeze` must be at most {len(stages)}, the stages of the network "
            f"({', '.join(stage.name for stage in stages)}), got {unfreeze}."
        )
    preprocessing = source.preprocessing or statistics(splits.train, image_size=source.spec.image_size)
    spec = replace(source.spec, num_classes=len(splits.class_names))
    check_output(network, source.example, spec=spec)
    batch = max(2, min(BATCH, len(splits.train) // 2))
    augmented = augmentation if augmentation is not None else strong_augmentation(splits)
    setting = Setting(
        preprocessing=preprocessing, augmentation=augmented, batch_size=batch, pull=pull, seed=seed,
        machine=_machine(network, splits, preprocessing, batch=batch, device=device, engine=engine, seed=seed),
    )  # fmt: skip
    network.to(setting.machine.device)
    show.note(f"stages   {', '.join(stage.name for stage in stages)}")
    show.note(f"machine  {setting.machine.describe()}")
    steps = max(1, len(splits.train) // batch)
    return Task(
        source=source, head=fresh, splits=splits, stages=stages, network=network, setting=setting,
        divisions=hold_out(splits.train, seed=seed), epochs=epochs or min(60, max(6, round(STEPS / steps))),
        lr=lr or LR, unfreeze=unfreeze, seconds=60 * minutes, show=show,
    )  # fmt: skip


def hold_out(dataset: Dataset, *, seed: int) -> list[tuple[Dataset, Dataset]]:
    """Hold out a fifth of the images; each once, in folds, where a class has fewer than 50."""
    folds = folds_of(dataset, seed=seed)
    few = int(np.bincount(dataset.labels.numpy(), minlength=len(dataset.class_names)).min()) < FEW
    return folds if few else folds[:1]


def strong_augmentation(splits: Splits) -> Augmentation:
    """Return what small data is augmented by: more than a training from scratch on much data needs."""
    usual = choose_recipe("", splits).augmentation
    size = splits.image_size or 0
    if splits.kind == "vectors":
        return usual
    if size <= 40 and usual.horizontal_flip is None:  # characters
        return replace(
            usual, rotation_degrees=12.0, scale=0.1, shear=0.15, translate=size / 12, early_epochs=0, early_size=0
        )
    if size <= 64:
        return Augmentation(
            crop_padding=size // 8, crop_padding_mode="reflect", horizontal_flip="random", cutout=size // 4,
            color_jitter=(0.2, 0.2, 0.2),
        )  # fmt: skip
    return Augmentation(
        resized_crop_scale=(0.35, 1.0), horizontal_flip="random", color_jitter=(0.3, 0.3, 0.3), rotation_degrees=5.0
    )


def _machine(
    network: nn.Module, splits: Splits, preprocessing: Any, *, batch: int, device: str, engine: str, seed: int
) -> Configuration:
    batches = Batches(
        splits.train, batch_size=batch, preprocessing=preprocessing, seed=seed, epoch=0, shuffle=True, device=device
    )
    first = next(iter(batches))
    recipe = Recipe(name="tune", epochs=1, batch_size=batch, opt="adamw", lr=LR)
    start = Configuration(device=device, threads=torch.get_num_threads())
    network.to(device)
    choices = {"bf16": False if device == "cpu" else None, "channels_last": None, "compile": False}
    chosen, _ = choose_configuration(
        network, first, recipe=recipe, start=start, choices=choices, engine=engine, num_samples=30 * len(splits.train)
    )
    return chosen


# The modes ------------------------------------------------------------------------------------------------------------


def run_mode(task: Task, mode: str) -> Outcome:
    """Tune in one of the modes, or train the same network from scratch (``scratch``)."""
    modes = {"features": _features, "head": _head, "full": _full, "gradual": _gradual, "scratch": _scratch}
    return modes[mode](task)


def _features(task: Task) -> Outcome:
    train, setting = task.splits.train, task.setting
    task.show.note("features: the base runs once over the training images")
    values, is_known = base_features(
        task.network, task.head, train, preprocessing=setting.preprocessing, machine=setting.machine
    )
    places = {int(n): index for index, n in enumerate(train.sample_ids)}
    parts = [
        tuple(torch.tensor([places[int(n)] for n in one.sample_ids]) for one in division) for division in task.divisions
    ]
    scores = choose_decay(values, train.labels, num_classes=task.num_classes, parts=parts)  # type: ignore[arg-type]
    decay = max(scores, key=lambda key: (scores[key], key))
    network = copy.deepcopy(task.network)
    head: Any = network.get_submodule(task.head.name)
    has_bias = head.bias is not None
    fitted = fit_head(values, train.labels, num_classes=task.num_classes, decay=decay, bias=has_bias)
    with torch.no_grad():
        head.weight.copy_(fitted.weight.reshape(head.weight.shape))
        if has_bias:
            head.bias.copy_(fitted.bias)
    held = sum(len(out) for _, out in task.divisions)
    trials = [
        Trial(name=f"L2 {key:g}", phases=(), accuracy=score, held_out=held, right=round(score * held))
        for key, score in scores.items()
    ]
    for trial in trials:
        task.show.note(f"{trial.name}: {100 * (trial.accuracy or 0):.1f} % of {held} held-out images")
    check = accuracy_of_scikit_learn(values, train.labels, decay=decay, parts=parts)  # type: ignore[arg-type]
    task.show.note(f"scikit-learn's logistic regression with L2 {decay:g}: {100 * check:.1f} %")
    facts = {"decay": decay, "features": int(values.shape[1]), "features_from_cache": is_known, "scikit_learn": check}
    return Outcome(network=network, mode="features", trials=trials, facts=facts)


def _head(task: Task) -> Outcome:
    rates = [task.lr] if task.unfreeze is not None else [task.lr, task.lr / 3]
    trials = [Trial(name=f"head, rate {lr:g}", phases=(Phase(count=1, epochs=task.epochs, lr=lr),)) for lr in rates]
    return _chosen(task, "head", trials)


def _full(task: Task) -> Outcome:
    count = len(task.stages)
    phases = {
        f"all stages, rate {lr:g}": (Phase(count=count, epochs=task.epochs, lr=lr),)
        for lr in (task.lr / 3, task.lr / 10)
    }
    return _chosen(task, "full", [Trial(name=name, phases=own) for name, own in phases.items()])


def _scratch(task: Task) -> Outcome:
    fresh = replace(task, network=fresh_copy(task))
    phases = (Phase(count=len(task.stages), epochs=task.epochs, lr=task.lr),)
    return _chosen(fresh, "scratch", [Trial(name=f"from scratch, rate {task.lr:g}", phases=phases)])


def _gradual(task: Task) -> Outcome:
    most = len(task.stages)
    counts = [task.unfreeze] if task.unfreeze is not None else sorted({min(2, most), (most + 2) // 2, most, 1})
    # The middle first: where time is short, it is the one that was tried.
    order = sorted(counts, key=lambda count: abs(count - (most + 1) / 2))
    trials = [
        Trial(
            name=f"{count} of {most} stages learn, rate {task.lr:g}",
            phases=gradual_phases(count, epochs=task.epochs, lr=task.lr),
        )
        for count in order
    ]
    return _chosen(task, "gradual", trials)


def _chosen(task: Task, mode: str, trials: Sequence[Trial]) -> Outcome:
    """Try alternatives; where folds chose, learn from all images with the best one."""
    tried, network = choose(
        task.network, task.stages, trials, divisions=task.divisions, setting=task.setting, seconds=task.seconds,
        note=task.show.note,
    )  # fmt: skip
    best = max((t for t in tried if t.accuracy is not None), key=lambda t: (t.accuracy or 0.0, -t.phases[-1].count))
    low, high = wilson_interval(best.right, best.held_out) or (0.0, 1.0)
    task.show.note(f"chosen: {best.name} (95 % interval of its accuracy {100 * low:.1f} to {100 * high:.1f} %)")
    result = Fit(rows=best.rows)
    if network is None:
        task.show.note(f"learning from all {len(task.splits.train)} images")
        network = copy.deepcopy(task.network)
        result = fit(network, task.stages, phases=best.phases, train=task.splits.train, val=None, setting=task.setting)
    facts = {"stages_that_learn": best.phases[-1].count, "interval": [low, high]}
    return Outcome(network=network, mode=mode, trials=tried, rows=result.rows, facts=facts)


def fresh_copy(task: Task) -> nn.Module:
    """Return the network with random weights, as its layers draw them.

    Raises:
        ModelError: a layer has parameters and cannot draw them anew.
    """
    network = copy.deepcopy(task.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.setting.seed)
        for path, module in network.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif [*module.parameters(recurse=False)]:
                raise ModelError(
                    f"tune: `{path}` ({type(module).__name__}) must have reset_parameters() for a comparison with "
                    "training from scratch. Add it, or leave the comparison out."
                )
    return network
