"""PyTorch's convolutions: `conv1d` to `conv3d` and their transposed forms, functional or as a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, named, per_axis, shape_of
from striate.ops.convolution import Convolution, parse_convolution
from striate.ops.op import Shape
from striate.ops.transposed_convolution import parse_transposed_convolution

__all__ = ["ADAPTERS", "convolution", "transposed_convolution"]

PerAxis = int | Sequence[int]


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PerAxis | str = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Call:
    """Adapt ``conv1d``, ``conv2d`` and ``conv3d``; how many dimensions follows from the weight."""
    dims = weight.ndim - 2
    op = _parsed(
        shape_of(input),
        shape_of(weight),
        per_axis(stride, dims),
        padding if isinstance(padding, str) else per_axis(padding, dims),
        per_axis(dilation, dims),
        groups,
    )
    return Call(op, (input,), named(weight=weight, bias=bias))


@lru_cache(maxsize=1024)  # a network repeats its blocks, and this is half of what an adapter costs
def _parsed(x: Shape, weight: Shape, stride: Shape, padding: Shape | str, dilation: Shape, groups: int) -> Convolution:
    dims = len(weight) - 2
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return parse_convolution(f"conv{dims}d", x, weight, dims=dims, **options)


def transposed_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> Call:
    """Adapt ``conv_transpose1d`` to ``conv_transpose3d``."""
    dims = weight.ndim - 2
    op = parse_transposed_convolution(
        f"conv_transpose{dims}d",
        shape_of(input),
        shape_of(weight),
        stride=per_axis(stride, dims),
        padding=per_axis(padding, dims),
        output_padding=per_axis(output_padding, dims),
        groups=groups,
        dilation=per_axis(dilation, dims),
        dims=dims,
    )
    return Call(op, (input,), named(weight=weight, bias=bias))


ADAPTERS: dict[str, Callable[..., Any]] = {
    **{f"conv{dims}d": convolution for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": transposed_convolution for dims in (1, 2, 3)},
}
