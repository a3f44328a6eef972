"""What all ways of tuning have in common: the source, the data, the head, the stages, the machine."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from striate.data import Augmentation, Dataset, Preprocessing, Splits, statistics
from striate.errors import DataError, UsageError
from striate.train.choice import choose_configuration, choose_for_evaluation
from striate.train.defaults import prepare_splits
from striate.train.machine import Configuration
from striate.train.network import check_output, run_example
from striate.train.prepare import first_batch
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.recipes import choose_recipe
from striate.tune.choosing import FEW, folds_of
from striate.tune.fitting import Setting
from striate.tune.head import Head, find_head, replace_head
from striate.tune.source import Source
from striate.tune.stages import Stage, divide

__all__ = ["LR", "MINUTES", "Options", "Task", "few_of", "hold_out", "load_for", "prepare", "strong_augmentation"]

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 800, 6, 60
"""About as many updates as an alternative takes where its epochs are not given."""
MINUTES = 5.0
BATCH = 32
LR = 3e-3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user may say about all ways of tuning; None: found or chosen.

    Raises:
        UsageError: a value is outside its range.
    """

    head: str | None = None
    unfreeze: int | None = None
    epochs: int | None = None
    lr: float | None = None
    pull: float = 0.0
    minutes: float = MINUTES
    augmentation: Augmentation | None = None
    seed: int = 0
    device: str = "cpu"
    engine: str = "auto"

    def __post_init__(self) -> None:
        for name, (least, rule) in _RULES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise UsageError(f"tune: `{name}` must be {rule}, got {value}.")


_RULES = {
    "unfreeze": (1, "at least 1, the head"),
    "epochs": (1, "at least 1"),
    "minutes": (0, "0 or more"),
    "lr": (1e-12, "above 0"),
    "pull": (0, "0 or more"),
}


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
    options: Options
    show: Progress

    @property
    def num_classes(self) -> int:
        """Of the new data."""
        return len(self.splits.class_names)

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates of the head that are tried."""
        return (LR, LR / 3) if self.options.lr is None else (self.options.lr,)

    @property
    def evaluated(self) -> tuple[str, Dataset]:
        """The split that is looked at in the end, and its name: training images only where there are no others.

        A validation split that the data brings is never chosen by, so it tells as much as a test split.
        """
        if self.splits.test is not None:
            return "test", self.splits.test
        return ("val", self.splits.val) if self.splits.val is not None else ("train", self.splits.train)


def load_for(source: Source, data: Any, *, skip_bad: bool, seed: int, show: Progress) -> Splits:
    """Load data as the source's images were prepared, with no validation split: what is held out is chosen here.

    Raises:
        DataError: a class has no training images.
    """
    spec = source.spec
    is_images = spec.image_size is not None or source.takes_size_of_data
    options = {
        "resize_size": spec.image_size if source.preprocessing is None else source.preprocessing.resize_size,
        "in_channels": spec.in_channels if is_images else None,
        "val_fraction": 0.0,
        "seed": seed,
        "skip_bad": skip_bad,
    }
    image_size = None if isinstance(data, Splits) else spec.image_size
    splits = prepare_splits(data, model=None, image_size=image_size, options=options, show=show)
    counts = _images_of_classes(splits.train)
    if counts.min() == 0:
        empty = [name for name, count in zip(splits.class_names, counts, strict=True) if not count]
        raise DataError(
            f"tune: every class must have training images, got none of {', '.join(empty[:8])}. "
            "Add some, or leave the class out."
        )
    return splits


def _images_of_classes(dataset: Dataset) -> Any:
    return np.bincount(dataset.labels.numpy(), minlength=len(dataset.class_names))


def few_of(dataset: Dataset, count: int, *, seed: int) -> Dataset:
    """Return so many images of each class, or all where there are fewer; more hold those that fewer hold."""
    labels = dataset.labels.numpy()
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    chosen = [order[labels[order] == label][:count] for label in range(len(dataset.class_names))]
    return dataset.subset(np.sort(np.concatenate(chosen)))


def prepare(
    source: Source,
    splits: Splits,
    options: Options,
    *,
    show: Progress,
    machine: Configuration | None = None,
    base_learns: bool = True,
) -> Task:
    """Find the head, divide the network, hold images out, and find the fastest way to compute.

    Args:
        source: Left as it is.
        splits: What `load_for` returned, or a part of it.
        options: The user's.
        show: Where to say what was found.
        machine: How to compute, where that was measured before.
        base_learns: Whether the base is trained; otherwise the way to compute is that of its forward pass.
    """
    source = source.fitted_to(splits)
    network = copy.deepcopy(source.network).to("cpu")
    run_example(network, source.example, spec=source.spec)
    head = _fitting_head(network, source, splits, options, show=show)
    check_output(network, source.example, spec=replace(source.spec, num_classes=len(splits.class_names)))
    stages = divide(network, head)
    if options.unfreeze is not None and options.unfreeze > len(stages):
        raise UsageError(
            f"tune: `unfreeze` must be at most {len(stages)}, the stages of the network "
            f"({', '.join(stage.name for stage in stages)}), got {options.unfreeze}."
        )
    preprocessing = source.preprocessing or statistics(splits.train, image_size=source.spec.image_size)
    batch = max(2, min(BATCH, len(splits.train) // 2))
    setting = Setting(
        preprocessing=preprocessing,
        augmentation=strong_augmentation(splits) if options.augmentation is None else options.augmentation,
        machine=machine or _measured(network, splits, preprocessing, options, batch=batch, learns=base_learns),
        batch_size=batch,
        pull=options.pull,
        seed=options.seed,
    )
    network.to(setting.machine.device)
    show.note(f"stages   {', '.join(stage.name for stage in stages)}")
    show.note(f"machine  {setting.machine.describe()}")
    usual = round(STEPS / max(1, len(splits.train) // batch))
    return Task(
        source=source,
        head=head,
        splits=splits,
        stages=stages,
        network=network,
        setting=setting,
        divisions=hold_out(splits.train, seed=options.seed),
        epochs=options.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, usual)),
        options=options,
        show=show,
    )


def _fitting_head(network: nn.Module, source: Source, splits: Splits, options: Options, *, show: Progress) -> Head:
    """Find the head, and put a new one in its place but where source and data have the same classes."""
    found, classes = find_head(network, source.example, name=options.head), len(splits.class_names)
    if source.class_names == splits.class_names and found.num_classes == classes:
        show.note(f"head     {found.name}: that of the source, which knows the same {classes} classes")
        return found
    show.note(f"head     {found.name}: a new one for {classes} classes, the source's had {found.num_classes}")
    return replace_head(network, found, num_classes=classes, seed=options.seed)


def hold_out(dataset: Dataset, *, seed: int) -> list[tuple[Dataset, Dataset]]:
    """Hold out a fifth of the images; each once, in folds, where a class has fewer than 50."""
    folds = folds_of(dataset, seed=seed)
    few = _images_of_classes(dataset).min() < FEW
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


def _measured(
    network: nn.Module,
    splits: Splits,
    preprocessing: Preprocessing,
    options: Options,
    *,
    batch: int,
    learns: bool,
) -> Configuration:
    """Time the ways to compute on the real network and a real batch; on a CPU in float32, as the source was trained."""
    device = options.device
    recipe = Recipe(name="tune", epochs=1, batch_size=batch, opt="adamw", lr=LR)
    example = first_batch(splits, preprocessing, recipe, seed=options.seed, device=device)
    start = Configuration(device=device, threads=torch.get_num_threads())
    if not learns:
        return choose_for_evaluation(network.to(device), example, start=start, engine=options.engine)
    choices = {"bf16": False if device == "cpu" else None, "channels_last": None, "compile": False}
    chosen, _ = choose_configuration(
        network.to(device),
        example,
        recipe=recipe,
        start=start,
        choices=choices,
        engine=options.engine,
        num_samples=STEPS * batch,
    )
    return chosen
