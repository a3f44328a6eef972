"""Networks by name: what there is, what is known about each, and building one.

The table of entries is data (`striate.models.catalog`); the code that builds a family is imported when one is built,
so listing and describing networks needs no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from striate.errors import ModelError, UsageError, nearest
from striate.models.entry import Deviation, ModelInfo, Paper, PretrainedWeights, PrintedCount

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Deviation", "ModelInfo", "Paper", "PretrainedWeights", "PrintedCount", "create", "info", "names"]


@cache
def _entries() -> Mapping[str, ModelInfo]:
    """All entries by name, in the order `names` gives them."""
    from striate.models.catalog import ENTRIES

    return {entry.name: entry for entry in ENTRIES}


def names() -> list[str]:
    """Names of all networks: families in the order of their papers, variants from small to large.

    Example:
        >>> names()[:4]
        ['mlp_boston', 'mlp_iris', 'mlp_mnist', 'mlp_cifar']
    """
    return list(_entries())


def info(name: str) -> ModelInfo:
    """What is known about one network, without building it.

    Args:
        name: A name from `names`.

    Raises:
        ModelError: there is no network of that name.

    Example:
        >>> info("lenet5").num_params
        44426
    """
    entries = _entries()
    if name not in entries:
        raise ModelError(
            f"info: `name` must be the name of a network, got {name!r}."
            f"{nearest(str(name), entries)} `striate models` lists all {len(entries)}."
        )
    return entries[name]


def _positive(argument: str, value: int | None, default: int) -> int:
    """The value of a size argument, or its default."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"create: `{argument}` must be a whole number of at least 1, got {value!r}.")
    return value


def _fitting_image_size(entry: ModelInfo, image_size: int | None) -> int | None:
    """The side of the images in pixels, None for vectors; what cannot fit is refused."""
    if entry.min_image_size is None or entry.image_size is None:
        if image_size is not None:
            raise ModelError(
                f"create: `image_size` must be left out for {entry.name}, got {image_size!r}. "
                "It takes vectors; give their length as `in_channels`."
            )
        return None
    size = _positive("image_size", image_size, entry.image_size)
    if size < entry.min_image_size:
        raise ModelError(
            f"create: `image_size` must be at least {entry.min_image_size} for {entry.name}, got {size}. "
            "A smaller image has no pixel left after the last pooling; enlarge the images or choose another network."
        )
    return size


def create(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    weights: str | Path | None = None,
) -> nn.Module:
    """Build a network of the registry.

    In evaluation mode every network maps (N, C, H, W), or (N, D) for vectors, to logits (N, num_classes). In training
    mode GoogLeNet returns a tuple: logits and those of its two auxiliary heads.

    Args:
        name: A name from `names`.
        num_classes: Number of logits; None = the entry's.
        in_channels: Channels of the images, or length of the vectors; None = the entry's.
        image_size: Side of the square images in pixels; None = the entry's. Vectors have none.
        weights: None for a fresh network; a file (.safetensors, .pt, .pth); or a published name such as "imagenet".
            With `num_classes` given, a head of another size in the file is left out and the fresh head kept; with
            `in_channels` given, an RGB input layer becomes a grey one, or a grey one RGB (see `load_weights`).

    Raises:
        ModelError: unknown name, an image size that cannot fit, or weights that do not.
        UsageError: a size that is not a positive whole number.

    Example:
        >>> import torch
        >>> create("lenet5")(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    entry = info(name)
    sizes = {
        "num_classes": _positive("num_classes", num_classes, entry.num_classes),
        "in_channels": _positive("in_channels", in_channels, entry.in_channels),
        "image_size": _fitting_image_size(entry, image_size),
    }
    family = importlib.import_module(f"striate.models.{entry.family}")
    model = cast("nn.Module", family.build(name, **sizes))
    if weights is not None:
        from striate.models.weights import load_weights

        load_weights(model, weights, name=name, new_head=num_classes is not None, new_input=in_channels is not None)
    return model
