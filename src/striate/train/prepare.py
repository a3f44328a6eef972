"""What a training needs before its first step: the network with its first weights, the batch, the preprocessing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate import models
from striate.data import Augmentation, Batches, Preprocessing, Splits, derive_seed, statistics
from striate.data.batches import Batch
from striate.data.geometry import shrink
from striate.errors import ModelError, UsageError
from striate.models.weights import LoadedWeights
from striate.train._printable import printable
from striate.train.defaults import choose_model
from striate.train.network import ModelSpec, build_network, check_output
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.recipes import choose_recipe
from striate.train.run import MODELS

__all__ = [
    "Start",
    "build",
    "first_batch",
    "fitting_batch",
    "has_normalization",
    "initialize",
    "measure_preprocessing",
    "published_statistics",
    "set_dropout",
    "start",
]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network with its first weights, and what it is to learn from."""

    network: nn.Module
    spec: ModelSpec
    source: MODELS | None
    """What builds the network again, where its name alone does not."""
    recipe: Recipe
    preprocessing: Preprocessing
    example: Batch
    """The first batch, without augmentation."""
    device: str


NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def start(
    splits: Splits,
    *,
    model: MODELS | None,
    recipe: Recipe | None,
    overrides: Mapping[str, Any],
    weights: str | Path | None,
    seed: int,
    device: str,
    show: Progress | None = None,
) -> Start:
    """Build the network, choose the recipe that fits it and the data, and give the network its first weights.

    Args:
        splits: The data.
        model: As for `striate.train.train`; None picks by the data.
        recipe: None picks by the model and the data.
        overrides: Single values of the recipe, which the user typed.
        weights: A weights file, or ``imagenet``, to start from.
        seed: Of the run.
        device: Where the network goes.
        show: Is told how weights were changed to fit the network.

    Raises:
        ModelError: the network does not take the images, or does not return one logit a class.
        UsageError: a value of the recipe does not fit the data.
    """
    network, spec, source = build(model, splits, weights=weights, seed=seed, show=show)
    base = recipe or choose_recipe(spec.name, splits, has_normalization=has_normalization(network))
    asked = "batch_size" in overrides or "batch-size" in overrides
    final = fitting_batch(base.with_overrides(overrides), splits, asked=asked)
    preprocessing = measure_preprocessing(splits, spec, weights=weights)
    example = first_batch(splits, preprocessing, final, seed=seed, device=device)
    is_pretrained = weights is not None or isinstance(model, nn.Module)
    initialize(network, final, images=example.inputs.cpu(), seed=seed, pretrained=is_pretrained)
    network.to(device)
    check_output(network, example.inputs[:2], spec=spec)
    _check_early_size(network, example.inputs[:2], recipe=final, spec=spec)
    return Start(
        network=network,
        spec=spec,
        source=source,
        recipe=final,
        preprocessing=preprocessing,
        example=example,
        device=device,
    )


def _check_early_size(network: nn.Module, inputs: Tensor, *, recipe: Recipe, spec: ModelSpec) -> None:
    side = recipe.augmentation.early_size
    if not side or spec.image_size is None:
        return
    try:
        check_output(network, shrink(inputs, side=side), spec=spec)
    except ModelError as error:
        raise UsageError(
            f"train: `early_size` must be a size that `{spec.name}` takes, got {side}: {error} "
            "Or switch it off with early_size=0 early_epochs=0."
        ) from error


def build(
    model: MODELS | None,
    splits: Splits,
    *,
    weights: str | Path | None,
    seed: int,
    show: Progress | None = None,
) -> tuple[nn.Module, ModelSpec, MODELS | None]:
    """Build the network and say what it is; its random initial weights depend on the seed alone.

    Weights to start from may have a head of another size, which is left out, and an input layer for RGB where the
    images are grey, or the other way round, which is adapted.
    """
    chosen = model if model is not None else choose_model(splits)
    own = chosen if not isinstance(chosen, str) or ":" in chosen else None
    if isinstance(chosen, str):
        name = chosen
    else:
        kind = type(chosen) if isinstance(chosen, nn.Module) else chosen
        name = f"class {getattr(kind, '__name__', 'callable')}"
    spec = ModelSpec(
        name=name,
        num_classes=len(splits.class_names),
        in_channels=splits.train.images.channels,
        image_size=splits.image_size,
    )
    torch.manual_seed(derive_seed(seed, 0))
    network = build_network(spec, source=own)
    if weights is not None:
        known = spec.name if spec.in_registry else None
        loaded = models.load_weights(network, weights, name=known, new_head=True, new_input=True)
        if show is not None:
            _tell_changes(loaded, in_channels=spec.in_channels, show=show)
    return network, spec, own


def _tell_changes(loaded: LoadedWeights, *, in_channels: int, show: Progress) -> None:
    if loaded.prefix:
        done = "taken off" if loaded.prefix.startswith("-") else "put before"
        show.note(f"weights  `{printable(loaded.prefix[1:])}` {done} the file's names")
    if loaded.adapted:
        before, how = ("RGB", "the mean") if in_channels == 1 else ("grey", "a third")
        show.note(f"weights  {', '.join(loaded.adapted)} is {how} of the file's {before} kernels, to fit the images")


def initialize(network: nn.Module, recipe: Recipe, *, images: Tensor, seed: int, pretrained: bool) -> None:
    """Give a fresh network the recipe's starting weights, and any network its dropout.

    Args:
        network: Changed in place, on the CPU.
        recipe: Names the scheme and the dropout.
        images: Normalised images (N, C, H, W) for schemes that look at them.
        seed: Of the run.
        pretrained: The weights are to be kept.
    """
    if recipe.init != "default" and not pretrained:
        models.initialize(network, recipe.init, seed=seed, images=images)
    set_dropout(network, recipe)


def has_normalization(network: nn.Module) -> bool:
    """Whether a network has batch, group or layer normalisation."""
    return any(isinstance(module, NORMALIZATIONS) for module in network.modules())


def set_dropout(network: nn.Module, recipe: Recipe) -> None:
    """Set every dropout layer to what the recipe says, if it says so."""
    if recipe.dropout is not None:
        models.set_dropout(network, recipe.dropout)


def fitting_batch(recipe: Recipe, splits: Splits, *, asked: bool) -> Recipe:
    """Make a recipe's own batch size fit a small data set; one the user typed is refused when it cannot fit."""
    samples = len(splits.train)
    if recipe.batch_size <= samples:
        return recipe
    if asked:
        raise UsageError(
            f"train: `batch_size` must be at most {samples}, the number of training images, got {recipe.batch_size}. "
            f"Use --batch-size {max(1, samples // 4)}."
        )
    return recipe.with_overrides({"batch_size": max(1, samples // 4)})


def measure_preprocessing(splits: Splits, spec: ModelSpec, *, weights: str | Path | None) -> Preprocessing:
    """Measure mean and deviation on the training split, or take those that published weights were trained with."""
    preprocessing = statistics(
        splits.train, image_size=spec.image_size, resize_size=splits.source["resize_size"] or spec.image_size
    )
    if weights is None or not spec.in_registry or not models.info(spec.name).pretrained:
        return preprocessing
    mean, std = published_statistics(models.info(spec.name).pretrained[-1], channels=spec.in_channels)
    return dataclasses.replace(preprocessing, mean=mean, std=std)


def published_statistics(
    published: models.PretrainedWeights, *, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation that published weights were trained with, for images of so many channels.

    The first kernels for grey images are the mean of those for three channels: divided by a third of the deviation,
    grey images give what they would have given as three equal channels.
    """
    mean, std = published.mean, published.std
    if channels == len(mean):
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std) / len(std) * channels,) * channels


def first_batch(splits: Splits, preprocessing: Preprocessing, recipe: Recipe, *, seed: int, device: str) -> Batch:
    """Return the first batch of the run without augmentation: an example for checks and measurements."""
    batches = Batches(
        splits.train,
        batch_size=recipe.batch_size,
        preprocessing=preprocessing,
        augmentation=Augmentation(),
        seed=seed,
        epoch=0,
        shuffle=True,
        device=device,
    )
    with contextlib.closing(iter(batches)) as iterator:
        return next(iterator)
