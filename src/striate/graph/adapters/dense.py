"""PyTorch's dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, named
from striate.ops.dense import Linear

__all__ = ["ADAPTERS", "linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Call:
    """Adapt ``linear``."""
    return Call(Linear(), (input,), named(weight=weight, bias=bias))


ADAPTERS: dict[str, Callable[..., Any]] = {"linear": linear}
