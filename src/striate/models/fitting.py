"""Which networks of the registry a set of weights is of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from striate.models._weight_names import input_of_other_channels, rename
from striate.models.registry import create, info, names

__all__ = ["networks_that_fit"]

_COUNTER = ".num_batches_tracked"


def networks_that_fit(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the networks whose names are those of the weights, and whose shapes differ in head and input at most.

    Args:
        tensors: Weights by name; a prefix before all names does not matter.

    Example:
        >>> networks_that_fit(create("resnet20", num_classes=7).state_dict())
        ('resnet20',)
    """
    return tuple(name for name in names() if _fits(tensors, _shapes_of(name)))


@cache
def _shapes_of(name: str) -> Mapping[str, Tensor]:
    """The network's weights by name, without memory."""
    with torch.device("meta"):
        return create(name, image_size=info(name).image_size).state_dict()


def _fits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    renamed, _ = rename(tensors, [*expected])
    ours = {key for key in expected if not key.endswith(_COUNTER)}
    theirs = {key for key in renamed if not key.endswith(_COUNTER)}
    if ours != theirs:
        return False
    first = input_of_other_channels(renamed, expected)
    differing = [key for key in ours if renamed[key].shape != expected[key].shape and key != first]
    sizes = {(renamed[key].shape[0], expected[key].shape[0]) for key in differing if renamed[key].ndim}
    same_rest = all(
        renamed[key].ndim == expected[key].ndim > 0 and renamed[key].shape[1:] == expected[key].shape[1:]
        for key in differing
    )
    return same_rest and len(sizes) <= 1
