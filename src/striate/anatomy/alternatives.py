"""What could stand in the place of a costly layer, with the parameters and multiply-adds that it would have."""

from __future__ import annotations

import math
from dataclasses import dataclass

from striate.anatomy._units import count_text
from striate.graph import Graph, Node
from striate.ops.convolution import Convolution
from striate.ops.dense import Linear
from striate.ops.op import Elementwise
from striate.ops.reshaping import Flatten, Reshape

__all__ = ["Alternative", "alternatives"]

REDUCTION = 4
"""Part of the channels that is left behind a 1 x 1 reduction, as in the bottlenecks of ResNet."""
FEWEST = 4
"""Channels that a reduction leaves at least: with fewer, as behind an image, there is nothing to reduce."""


@dataclass(frozen=True)
class Alternative:
    """A layer or two instead of one, with the same shapes before and behind."""

    what: str
    parameters: int
    macs: int
    instead_of: tuple[int, int]
    """Parameters and multiply-adds of the layer that it would replace."""

    def __str__(self) -> str:
        parts = [
            f"{count_text(new)} instead of {count_text(old)} {word}"
            for new, old, word in zip(
                (self.parameters, self.macs), self.instead_of, ("parameters", "multiply-adds"), strict=True
            )
        ]
        return f"{self.what}: {', '.join(parts)}"


def alternatives(graph: Graph, node: Node) -> tuple[Alternative, ...]:
    """Return what could replace a layer: it would have to be trained anew.

    A convolution with a window: a 1 x 1 reduction before it, or one kernel a channel and a 1 x 1 layer (depthwise
    separable). A dense layer behind flattened maps: global average pooling before it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.Conv2d(64, 128, 3, padding=1, bias=False), torch.zeros(1, 64, 8, 8))
        >>> [(other.what, other.parameters, other.macs) for other in alternatives(graph, graph.nodes[-1])]
        [('1 x 1 reduction to 16 channels before it', 19456, 1245184), ('depthwise separable', 8768, 561152)]
    """
    weight = node.parameters.get("weight")
    if weight is None:
        return ()
    shape = tuple(weight.tensor.shape)
    if isinstance(node.op, Convolution):
        return _of_convolution(node, node.op, shape)
    return _of_dense(node, shape) if isinstance(node.op, Linear) else ()


def _of_convolution(node: Node, op: Convolution, shape: tuple[int, ...]) -> tuple[Alternative, ...]:
    out, channels, *kernel = shape
    taps, bias = math.prod(kernel), out if "bias" in node.parameters else 0
    if taps == 1 or op.groups > 1:
        return ()
    samples = node.output_shape[0]
    before, behind = (samples * math.prod(each[2:]) for each in (node.inputs[0].output_shape, node.output_shape))
    now = (out * channels * taps + bias, out * channels * taps * behind)
    few = channels // REDUCTION
    narrow = Alternative(
        f"1 x 1 reduction to {few} channels before it",
        channels * few + few * taps * out + bias,
        channels * few * before + few * taps * out * behind,
        now,
    )
    separable = Alternative(
        "depthwise separable",
        channels * taps + channels * out + bias,
        (channels * taps + channels * out) * behind,
        now,
    )
    return tuple(option for option in (narrow, separable) if few >= FEWEST and option.parameters < now[0])


def _of_dense(node: Node, shape: tuple[int, ...]) -> tuple[Alternative, ...]:
    """Put global average pooling before a dense layer that reads whole maps."""
    maps = _flattened(node)
    if maps is None:
        return ()
    out, features = shape
    bias, samples = out if "bias" in node.parameters else 0, node.output_shape[0]
    return (
        Alternative(
            f"global average pooling of the {maps[1]} maps of {' x '.join(map(str, maps[2:]))} before it",
            maps[1] * out + bias,
            samples * maps[1] * out,
            (out * features + bias, samples * out * features),
        ),
    )


def _flattened(node: Node) -> tuple[int, ...] | None:
    """Return the shape of the maps that a dense layer reads as one vector."""
    source = node.inputs[0]
    while source.inputs and (isinstance(source.op, Elementwise) or source.op.name == "dropout"):
        source = source.inputs[0]
    maps = source.inputs[0].output_shape if source.inputs else ()
    is_flat = isinstance(source.op, Flatten | Reshape) and len(maps) > 2 and math.prod(maps[2:]) > 1
    return maps if is_flat and len(source.output_shape) == 2 else None
