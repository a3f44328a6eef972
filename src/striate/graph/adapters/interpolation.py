"""PyTorch's `interpolate`, and `nn.Upsample`, which calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, shape_of
from striate.ops.adaptive_pooling import AdaptiveAvgPool
from striate.ops.interpolation import parse_interpolate

__all__ = ["ADAPTERS"]


def _interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    outputs: Sequence[Tensor],
) -> Call | None:
    """Adapt the modes nearest and linear; ``area`` is adaptive average pooling, as PyTorch computes it."""
    lengths = shape_of(outputs[0])[2:]
    if mode == "area":
        return Call(AdaptiveAvgPool(lengths), (input,))
    if antialias or mode not in ("nearest", "linear", "bilinear", "trilinear"):
        return None
    by_size = size is not None or recompute_scale_factor
    op = parse_interpolate(
        "interpolate",
        shape_of(input),
        size=lengths if by_size else None,
        scale_factor=None if by_size else scale_factor,
        mode=mode,
        align_corners=bool(align_corners),
    )
    return Call(op, (input,))


ADAPTERS: dict[str, Callable[..., Any]] = dict.fromkeys(("interpolate", "upsample"), _interpolate)
