"""Which networks of the registry a set of weights is of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from striate.models._matching import Shapes, match, shapes
from striate.models.registry import create, names

__all__ = ["networks_that_fit"]


def networks_that_fit(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the networks whose names are those of the weights, and whose shapes differ in head and input at most.

    Args:
        tensors: Weights by name; a prefix before all names does not matter.

    Example:
        >>> networks_that_fit(create("resnet20", num_classes=7).state_dict())
        ('resnet20',)
    """
    file = shapes(tensors)
    return tuple(name for name in names() if match(file, _shapes_of(name)).fits)


@cache
def _shapes_of(name: str) -> Shapes:
    """The shapes of the network's weights by name; it is built without memory for its numbers."""
    with torch.device("meta"):
        return shapes(create(name).state_dict())
