"""Which positions of a source each position of a node reads along one axis; channels are an axis like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from striate.graph.graph import Node
from striate.graph.opaque import Opaque
from striate.ops._adaptive import AdaptivePool
from striate.ops._normalizing import Normalization
from striate.ops._over_axes import OverAxes
from striate.ops._pairwise import Pairwise
from striate.ops._pooling import Pool
from striate.ops.combination import Concatenate
from striate.ops.convolution import Convolution
from striate.ops.dense import Linear
from striate.ops.dropout import Dropout
from striate.ops.group_normalization import GroupNorm, LayerNorm
from striate.ops.interpolation import Interpolate
from striate.ops.learned_activation import PReLU
from striate.ops.local_response import LocalResponseNorm
from striate.ops.matmul import Matmul
from striate.ops.op import Elementwise, Op, Shape
from striate.ops.slicing import Pad, Slice
from striate.ops.softmax import _AlongAxis
from striate.ops.tiled_convolution import TiledConvolution
from striate.ops.transposed_convolution import TransposedConvolution

__all__ = ["Listed", "Part", "Relation", "relation"]

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Listed:
    """Position p reads ``index[p, k]`` wherever ``counts[p, k]``; an index outside of the source is padding."""

    index: Positions
    """(length of the node, most that one position reads)."""
    counts: npt.NDArray[np.bool_]
    size: int
    """Length of the source."""
    step: int = 0
    """How far the first position that is read moves from one position to the next, of windows that slide; else 0."""

    @cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """1 where a position of the node (rows) reads one of the source (columns); padding is left out."""
        table = np.zeros((len(self.index), self.size), dtype=np.float32)
        is_inside = self.counts & (self.index >= 0) & (self.index < self.size)
        rows = np.broadcast_to(np.arange(len(self.index))[:, None], self.index.shape)
        table[rows[is_inside], self.index[is_inside]] = 1
        return table


@dataclass(frozen=True)
class Part:
    """The source lies in the node from `start` on, and is not read before and behind it."""

    start: int


Relation = Literal["same", "all"] | Listed | Part
"""Position p reads position p; all of them; those of a list; or the source is a part of the node."""

Rule = Callable[[Any, Node, Node, int, int], Relation]


def relation(node: Node, operand: int, axis: int) -> Relation:
    """Return what a node reads of its source number `operand` along an axis, counted from the batch.

    For operations that keep the number of axes; one that has no rule here reads everything.
    """
    source = node.sources[operand]
    if operand >= len(node.inputs) or isinstance(node.op, Opaque):
        return "all"
    for kind in type(node.op).__mro__:
        if kind in RULES:
            return RULES[kind](node.op, node, source, axis, operand)
    return "all"


def _same(op: Op, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "same"


def _windows(op: Op, node: Node, source: Node, axis: int, operand: int) -> Relation:
    """Channels by group, positions as the operation reads them."""
    if axis < 2:
        weight = node.parameters.get("weight") or node.computed.get("weight")
        if axis == 0 or weight is None:
            return "same"
        groups = getattr(op, "groups", 1)
        return "all" if groups == 1 else _grouped(node.output_shape[1], source.output_shape[1], groups)
    shapes = tuple((name, tuple(parameter.tensor.shape)) for name, parameter in node.parameters.items()) + tuple(
        (name, other.output_shape) for name, other in node.computed.items()
    )
    return _listed(op, axis - 2, source.output_shape[axis], node.output_shape[axis], shapes)


def _spatial(op: Op, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "same" if axis < 2 else _listed(op, axis - 2, source.output_shape[axis], node.output_shape[axis], ())


def _pairwise(op: Op, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "same" if source.output_shape[axis] == node.output_shape[axis] else "all"


def _batch_norm(op: Normalization, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "all" if op.has_own_statistics() and axis != 1 else "same"


def _layer_norm(op: LayerNorm, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "all" if axis >= len(node.output_shape) - len(op.normalized_shape) else "same"


def _group_norm(op: GroupNorm, node: Node, source: Node, axis: int, operand: int) -> Relation:
    channels = source.output_shape[1]
    if axis == 1:
        return _grouped(channels, channels, op.groups(source.output_shape))
    return "same" if axis == 0 else "all"


def _along_axis(op: _AlongAxis, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "all" if axis == op.axis else "same"


def _over_axes(op: OverAxes, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "all" if axis in op.axes else "same"


def _concatenated(op: Concatenate, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return Part(op.bounds(*(other.output_shape for other in node.inputs))[operand]) if axis == op.axis else "same"


def _sliced(op: Slice, node: Node, source: Node, axis: int, operand: int) -> Relation:
    if axis != op.axis:
        return "same"
    return _one_each(op.start + np.arange(node.output_shape[axis]) * op.step, source.output_shape[axis], op.step)


def _padded(op: Pad, node: Node, source: Node, axis: int, operand: int) -> Relation:
    if op.pads[axis] == (0, 0):
        return "same"
    length = node.output_shape[axis]
    if op.mode == "constant":
        return _one_each(np.arange(length) - op.pads[axis][0], source.output_shape[axis], 1)
    return _listed(op, axis - 2, source.output_shape[axis], length, ())


def _neighbours(op: LocalResponseNorm, node: Node, source: Node, axis: int, operand: int) -> Relation:
    if axis != 1:
        return "same"
    index = np.arange(source.output_shape[1])[:, None] - op.size // 2 + np.arange(op.size)
    return Listed(index, np.ones(index.shape, dtype=bool), source.output_shape[1])


def _dense(op: Linear, node: Node, source: Node, axis: int, operand: int) -> Relation:
    return "all" if axis == len(node.output_shape) - 1 else "same"


def _product(op: Matmul, node: Node, source: Node, axis: int, operand: int) -> Relation:
    summed = axis == len(node.output_shape) - 1 - operand
    return "all" if summed or source.output_shape[axis] != node.output_shape[axis] else "same"


def _one_each(index: Positions, size: int, step: int) -> Listed:
    return Listed(index[:, None], np.ones((len(index), 1), dtype=bool), size, step)


def _grouped(out: int, channels: int, groups: int) -> Relation:
    """Return the channels of the group of each output channel."""
    size = channels // groups
    index = (np.arange(out) // (out // groups) * size)[:, None] + np.arange(size)
    return Listed(index, np.ones(index.shape, dtype=bool), channels)


@lru_cache(maxsize=4096)
def _listed(op: Op, axis: int, size: int, length: int, shapes: tuple[tuple[str, Shape], ...]) -> Listed:
    """Ask an operation for each position; `axis` is a spatial one."""
    asked = [np.array([position], dtype=np.int64) for position in range(length)]
    read = [op.reads(position, axis=axis, size=size, **dict(shapes)) for position in asked]
    widest = max((len(positions) for positions in read), default=0)
    index = np.zeros((length, widest), dtype=np.int64)
    counts = np.zeros((length, widest), dtype=bool)
    for position, positions in enumerate(read):
        index[position, : len(positions)], counts[position, : len(positions)] = positions, True
    step = 0
    if isinstance(op, Convolution | Pool | TiledConvolution):  # the same everywhere, beyond the border too
        first, second = (op.reads(np.array([p]), axis=axis, size=size, **dict(shapes))[0] for p in (0, 1))
        step = int(second - first)
    return Listed(index, counts, size, step)


RULES: dict[type, Rule] = {
    Elementwise: _same,
    Dropout: _same,
    PReLU: _same,
    Pairwise: _pairwise,
    Convolution: _windows,
    TiledConvolution: _windows,
    TransposedConvolution: _windows,
    Pool: _spatial,
    AdaptivePool: _spatial,
    Interpolate: _spatial,
    Normalization: _batch_norm,
    LayerNorm: _layer_norm,
    GroupNorm: _group_norm,
    LocalResponseNorm: _neighbours,
    _AlongAxis: _along_axis,
    OverAxes: _over_axes,
    Concatenate: _concatenated,
    Slice: _sliced,
    Pad: _padded,
    Linear: _dense,
    Matmul: _product,
}
