"""The named recipes, as data, and the rule that picks one for a model and a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from striate.data.augment import Augmentation
from striate.errors import UsageError, nearest
from striate.train.recipe import Recipe

if TYPE_CHECKING:
    from striate.data import Splits

__all__ = ["RECIPES", "check_overrides", "choose_recipe", "get_recipe"]

_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="small",
        epochs=30,
        batch_size=32,
        lr=0.05,
        smoothing=0.05,
        augmentation=Augmentation(rotation_degrees=8, scale=0.08, translate=0.6),
    ),
    Recipe(name="vectors", epochs=100, batch_size=16, lr=0.05, weight_decay=1e-3, val_fraction=0.1),
    Recipe(
        name="mlp-mnist",
        epochs=20,
        lr=0.1,
        weight_decay=1e-4,
        init="he",
        augmentation=Augmentation(rotation_degrees=8.6, scale=0.1, shear=0.1, translate=1.5),
    ),
    Recipe(
        name="lenet5-mnist",
        epochs=30,
        lr=0.1,
        smoothing=0.05,
        augmentation=Augmentation(rotation_degrees=11.5, scale=0.12, shear=0.2, translate=2),
    ),
    Recipe(
        name="mnist-fast",
        epochs=2,
        batch_size=64,
        lr=0.05,
        smoothing=0.05,
        augmentation=Augmentation(crop_padding=1),
    ),
    Recipe(
        name="mlp-cifar",
        epochs=30,
        batch_size=512,
        lr=0.15,
        smoothing=0.1,
        init="he",
        augmentation=Augmentation(crop_padding=2, crop_padding_mode="reflect", horizontal_flip="random"),
    ),
    Recipe(
        name="cnn-cifar",
        epochs=24,
        batch_size=256,
        opt="muon",
        lr=0.05,
        rest_lr=0.05,
        weight_decay=0.0,
        warmup_epochs=2,
        smoothing=0.1,
        dropout=0.2,
        init="he",
        augmentation=Augmentation(crop_padding=2, crop_padding_mode="reflect", horizontal_flip="random"),
    ),
    Recipe(
        name="cifar-fast",
        epochs=15,
        batch_size=1000,
        opt="muon",
        lr=0.18,
        rest_lr=670.0,  # of the head, whose logits are divided by 256
        bias_lr_scale=0.08,
        momentum=0.6,
        rest_momentum=0.85,
        normalize_weights=True,
        weight_decay=3e-6,
        sched="triangle",
        warmup_epochs=0,
        smoothing=0.2,
        init="whitening",
        tta="flip-shift",
        augmentation=Augmentation(
            crop_padding=2,
            crop_padding_mode="reflect",
            horizontal_flip="alternating",
            early_epochs=6,
            early_size=24,
        ),
    ),
    Recipe(
        name="cifar",
        epochs=30,
        lr=0.2,
        smoothing=0.1,
        augmentation=Augmentation(crop_padding=4, horizontal_flip="random"),
    ),
    Recipe(
        name="resnet-2015",
        epochs=120,
        batch_size=256,
        lr=0.1,
        nesterov=False,
        weight_decay=1e-4,
        decay_all=True,
        sched="plateau",
        decay_epochs=10,
        init="xavier/2",
        dropout=0.0,
        augmentation=Augmentation(crop_padding=4, horizontal_flip="random"),
    ),
    Recipe(
        name="photographs",
        epochs=30,
        batch_size=64,
        lr=0.05,
        smoothing=0.1,
        augmentation=Augmentation(
            resized_crop_scale=(0.35, 1.0), horizontal_flip="random", color_jitter=(0.2, 0.2, 0.2)
        ),
    ),
)

# Networks without normalisation layers diverge at the same rates: theirs are lower, and the gradient is clipped.
_PLAIN_RATES = {"cifar": 0.05, "photographs": 0.01}
_RECIPES += tuple(
    dataclasses.replace(recipe, name=f"{recipe.name}-plain", lr=_PLAIN_RATES[recipe.name], clip_grad=1.0)
    for recipe in _RECIPES
    if recipe.name in _PLAIN_RATES
)

RECIPES = MappingProxyType({recipe.name: recipe for recipe in _RECIPES})
"""Name to recipe; changing a copy through `Recipe.with_overrides` leaves these as they are."""

# Networks with a recipe of their own on a data set, before the general rules of `choose_recipe`.
_OWN = {
    ("lenet5", "mnist"): "lenet5-mnist",
    ("lenet5", "fashion-mnist"): "lenet5-mnist",
    ("mlp_mnist", "mnist"): "mlp-mnist",
    ("mlp_mnist", "fashion-mnist"): "mlp-mnist",
    ("mlp_cifar", "cifar10"): "mlp-cifar",
    ("cnn_cifar", "cifar10"): "cnn-cifar",
    ("airbench94", "cifar10"): "cifar-fast",
    ("airbench94", "cifar100"): "cifar-fast",
    ("airbench95", "cifar10"): "cifar-fast",
    ("airbench95", "cifar100"): "cifar-fast",
}
_CHARACTERS = ("digits", "mnist", "fashion-mnist")


def get_recipe(name: str) -> Recipe:
    """Return a named recipe.

    Raises:
        UsageError: there is none of that name; the nearest are named.
    """
    if name not in RECIPES:
        raise UsageError(
            f"train: `recipe` {name!r} is not known.{nearest(name, RECIPES)} There are {', '.join(sorted(RECIPES))}."
        )
    return RECIPES[name]


def check_overrides(overrides: Mapping[str, Any], *, base: Recipe | None) -> Recipe:
    """Return a recipe with single values replaced, before data and network are known.

    Args:
        overrides: As for `Recipe.with_overrides`.
        base: The recipe that was asked for. None, where the model and the data will choose one: some values stand
            only beside others (`early_epochs`), so they are refused here when none of the recipes takes them.

    Raises:
        UsageError: an unknown key, or a value that does not fit.
    """
    if base is not None:
        return base.with_overrides(overrides)
    try:
        return Recipe().with_overrides(overrides)
    except UsageError as refusal:
        for recipe in RECIPES.values():
            try:
                return recipe.with_overrides(overrides)
            except UsageError:
                continue
        raise refusal from None


def choose_recipe(model_name: str, splits: Splits, *, has_normalization: bool = True) -> Recipe:
    """Pick the recipe that `striate train` takes when none is named.

    A network's own recipe for the data set comes first; then vectors, small grey images, small pictures and photographs
    have one each.

    Args:
        model_name: Name in the registry, or any other.
        splits: The data.
        has_normalization: Whether the network has normalisation layers; without them it learns at lower rates.
    """
    own = _OWN.get((model_name, splits.name))
    if own is not None:
        return RECIPES[own]
    if splits.kind == "vectors":
        return RECIPES["vectors"]
    size = splits.image_size or 224
    if splits.name in _CHARACTERS or size <= 16:
        return RECIPES["small"]  # characters must not be mirrored
    name = "cifar" if size <= 64 else "photographs"
    return RECIPES[name if has_normalization else f"{name}-plain"]
