"""Which operations run on one image at a time, and what is taken together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from striate.engine._builder import Builder, Value
from striate.engine._codes import code_of
from striate.engine.images import _layers as layers
from striate.engine.images import _pooling as pooling
from striate.engine.images import _steps as steps
from striate.engine.images._layout import Image, vectors_of
from striate.engine.images._sums import Epilogue
from striate.engine.lowering._patterns import Patterns, Taken
from striate.engine.lowering.folding import fixed_coefficients
from striate.graph.graph import Graph, Node
from striate.ops._movement import Movement
from striate.ops.activation import Identity
from striate.ops.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.average_pooling import AvgPool
from striate.ops.combination import Concatenate
from striate.ops.convolution import Convolution
from striate.ops.dense import Linear
from striate.ops.dropout import Dropout
from striate.ops.local_response import LocalResponseNorm
from striate.ops.max_pooling import MaxPool
from striate.ops.normalization import BatchNorm
from striate.ops.reduction import Mean

__all__ = ["is_read_as_numbers", "lower", "reason_against"]

MOST_FLOATS = 2**27
"""Of a tensor or of packed weights: places are 32-bit numbers."""


def reason_against(node: Node) -> str | None:
    """Say why a node that the engine knows cannot run on one image at a time; None: it can."""
    op: Any = node.op
    if isinstance(op, BatchNorm) and op.training:
        return "statistics of the batch"
    if isinstance(op, Dropout) and op.training and op.p:
        return "dropout"
    shapes = [node.output_shape, *(source.output_shape for source in node.inputs)]
    tensors = [p.tensor.numel() for p in node.parameters.values()]
    if max(*tensors, 0, *(_floats(shape) for shape in shapes)) > MOST_FLOATS:
        return "too many numbers"
    return None


def _floats(shape: Any) -> int:
    size = 1
    for length in shape[1:]:
        size *= length + 64  # with borders and the rest of a vector
    return size


def is_read_as_numbers(graph: Graph, node: Node) -> bool:
    """Whether all that read a node read single numbers of it, not vectors: then pixels need not be filled up."""
    return all(
        isinstance(user.op, Convolution) and (user.op.groups == 1 or node.output_shape[1] != user.op.groups)
        for user in graph.users(node)
    )


def lower(
    b: Builder, graph: Graph, nodes: Collection[Node], values: Mapping[int, Value], kept: Collection[Node]
) -> dict[int, Value]:
    """Emit a part of a graph; the arguments are those of `striate.engine.lowering.lower`."""
    known = dict(values)
    patterns = Patterns(graph, part={node.index for node in nodes}, kept={node.index for node in kept}, trains=False)
    for node in nodes:
        if node.index not in known:
            b.label = node.name
            _read(b, node, known, patterns)
    return known


def _read(b: Builder, node: Node, known: dict[int, Value], patterns: Patterns) -> None:
    """Emit one node, or several that become one instruction; all of them are then known."""
    op = node.op
    values: list[Any] = [known.get(source.index) for source in node.inputs]
    taken = Taken((node,))
    if isinstance(op, Convolution | Linear):
        taken = patterns.of_layer(
            node, may_add=lambda other: _may_add(b, node, other, known), may_pool=layers.may_pool(node, values[0])
        )
        layer = layers.convolve if isinstance(op, Convolution) else layers.connect
        result = layer(b, node, values[0], _epilogue(b, taken, known))
    elif isinstance(op, BatchNorm):
        x = values[0] if values[0].lanes.extent[0] == node.output_shape[1] else steps.flattened(b, values[0])
        taken = patterns.of_normalization(node, may_add=lambda other: _may_add(b, node, other, known))
        result = steps.normalize(b, x, _epilogue(b, taken, known, normalization=node))
    else:
        result = _simple(b, node, values)
    for one in taken.nodes:
        known[one.index] = result
    # A flattened node between the two keeps the shape that PyTorch sees.
    last = taken.nodes[-1]
    known[last.index] = Value(result.lanes, tuple(last.output_shape[1:]), False)


def _simple(b: Builder, node: Node, values: list[Any]) -> Value:
    op, x = node.op, values[0]
    code = code_of(op)
    if isinstance(op, Identity | Dropout):
        return Value(x.lanes, x.shape, False)
    if code is not None:
        return steps.activate(b, x, code)
    if isinstance(op, LocalResponseNorm):
        return steps.normalize_locally(b, node, x)
    if isinstance(op, MaxPool | AdaptiveMaxPool):
        return pooling.maximize(b, node, x)
    if isinstance(op, AvgPool | AdaptiveAvgPool | Mean):
        return pooling.average(b, node, x)
    if isinstance(op, Concatenate):
        return steps.concatenate(b, node, values)
    if isinstance(op, Movement):
        return steps.move(b, node, x)
    return steps.combine(b, node, values)


def _may_add(b: Builder, node: Node, other: Node, known: Mapping[int, Value]) -> bool:
    """Whether another value is known, and has its numbers where a layer's output will have them."""
    value = known.get(other.index)
    if value is None or not isinstance(value.lanes, Image):
        return False
    shape, width = node.output_shape[1:], b.machine.width
    extent = (shape[0], 1, 1) if len(shape) == 1 else ((shape[0], 1, shape[1]) if len(shape) == 2 else shape)
    return value.lanes.extent == tuple(extent) and value.lanes.pitch == vectors_of(extent[0], width) * width


def _epilogue(b: Builder, taken: Taken, known: Mapping[int, Value], *, normalization: Node | None = None) -> Epilogue:
    normalization = taken.normalization or normalization
    coefficients = None if normalization is None else fixed_coefficients(b, normalization)
    added = None if taken.added is None else known[taken.added.index].lanes
    return Epilogue(coefficients, added if isinstance(added, Image) else None, taken.code, taken.pools)
