"""Which operations the engine runs, and what it takes together: the graph read from first to last node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from striate.engine._builder import Builder, Value
from striate.engine._codes import code_of
from striate.engine.lowering import activation, combination, convolution, dense, movement, normalization, pooling
from striate.engine.lowering._patterns import Patterns, Taken
from striate.engine.lowering.activation import Epilogue
from striate.engine.lowering.folding import fixed_coefficients
from striate.graph.graph import Graph, Node
from striate.ops._movement import Movement
from striate.ops.activation import Identity
from striate.ops.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.average_pooling import AvgPool
from striate.ops.combination import Add, Concatenate, Divide, Multiply, ScaledAdd, Subtract
from striate.ops.convolution import Convolution
from striate.ops.dense import Linear
from striate.ops.dropout import Dropout
from striate.ops.local_response import LocalResponseNorm
from striate.ops.max_pooling import MaxPool
from striate.ops.normalization import BatchNorm
from striate.ops.reduction import Mean

__all__ = ["lower", "reason_against"]

REASONS: dict[type, Callable[[Node], str | None]] = {
    Convolution: convolution.reason_against,
    Linear: lambda node: None if len(node.output_shape) == 2 else "more axes than images and features",
    MaxPool: pooling.reason_against,
    AvgPool: pooling.reason_against,
    AdaptiveAvgPool: pooling.reason_against,
    AdaptiveMaxPool: pooling.reason_against,
    Mean: pooling.reason_against,
    BatchNorm: normalization.reason_against,
    LocalResponseNorm: normalization.reason_against,
    Dropout: normalization.reason_against,
    Concatenate: lambda node: None if node.op.axis else "images that are joined",  # type: ignore[attr-defined]
    Movement: movement.reason_against,
    **dict.fromkeys((Add, Subtract, Multiply, Divide, ScaledAdd), combination.reason_against),
}


def reason_against(node: Node, *, batch: int) -> str | None:
    """Say why a node cannot run in the engine; None: it can.

    Args:
        node: Of a captured graph.
        batch: Images of the example: the first axis of everything must be theirs.
    """
    tensors = [source for source in node.inputs if combination.number_of(source) is None]
    for tensor in (node, *tensors):
        if tensor.dtype != torch.float32:
            return f"numbers of type {str(tensor.dtype).removeprefix('torch.')}"
        if not 2 <= len(tensor.output_shape) <= 4 or tensor.output_shape[0] != batch:
            return f"the shape {tuple(tensor.output_shape)}"
        if 0 in tensor.output_shape:
            return "an empty tensor"
    if any(p.tensor.dtype != torch.float32 for p in node.parameters.values()):
        return "parameters of another type than float32"
    if code_of(node.op) is not None:
        return None
    for kind, reason in REASONS.items():
        if isinstance(node.op, kind):
            return reason(node)
    return "no kernel for it"


def lower(
    b: Builder, graph: Graph, nodes: Collection[Node], values: Mapping[int, Value], kept: Collection[Node]
) -> dict[int, Value]:
    """Emit a part of a graph.

    Args:
        b: Where the instructions go.
        graph: The graph.
        nodes: The part, in the order of execution.
        values: What the part reads and does not compute, by the index of the node.
        kept: Nodes whose values others read: they are not taken together with what follows.

    Returns:
        All values, by the index of the node.
    """
    known = dict(values)
    own, wanted = ({node.index for node in some} for some in (nodes, kept))
    reader = _Reader(b, Patterns(graph, part=own, kept=wanted, trains=b.trains), known)
    for node in nodes:
        if node.index not in known:
            reader.read(node)
    return known


class _Reader:
    """Reads nodes in order and takes neighbours together."""

    def __init__(self, b: Builder, patterns: Patterns, known: dict[int, Value]) -> None:
        self.b, self.patterns, self.known = b, patterns, known

    def read(self, node: Node) -> None:
        """Emit one node, or several that become one instruction; all of them are then known."""
        b, op, known = self.b, node.op, self.known
        b.label = node.name
        taken = Taken((node,))
        values: list[Any] = [known.get(source.index) for source in node.inputs]
        if isinstance(op, Convolution | Linear):
            is_convolution = isinstance(op, Convolution)
            may_add = (lambda other: self._may_add(node, other)) if is_convolution else (lambda other: False)
            taken = self.patterns.of_layer(node, may_add=may_add, may_pool=is_convolution)
            layer = convolution.convolve if is_convolution else dense.connect
            result = layer(b, node, values[0], self._epilogue(taken))
        elif isinstance(op, BatchNorm):
            taken = self.patterns.of_normalization(node, may_add=lambda other: self._may_add(node, other))
            residual = None if taken.added is None else known[taken.added.index]
            result = normalization.normalize(b, node, values[0], self._epilogue(taken), residual)
        else:
            result = self._simple(node, values)
        for one in taken.nodes:
            known[one.index] = result
        # A flattened node between the two keeps the shape that PyTorch sees.
        last = taken.nodes[-1]
        known[last.index] = Value(result.lanes, tuple(last.output_shape[1:]), result.needs_gradient)

    def _simple(self, node: Node, values: list[Any]) -> Value:
        """Emit a node that is taken by itself."""
        b, op, x = self.b, node.op, values[0]
        code = code_of(op)
        if isinstance(op, Identity):
            return Value(x.lanes, x.shape, x.needs_gradient)
        if code is not None:
            return activation.activate(b, x, code)
        for kinds, emit in SIMPLE:
            if isinstance(op, kinds):
                return emit(b, node, x)
        joins = movement.concatenate if isinstance(op, Concatenate) else combination.combine
        return joins(b, node, values)

    def _may_add(self, node: Node, other: Node) -> bool:
        """Whether another value is known, and is a map like a layer's output."""
        value = self.known.get(other.index)
        return value is not None and value.lanes.extent == movement.extent_of(tuple(node.output_shape[1:]))

    def _epilogue(self, taken: Taken) -> Epilogue:
        coefficients = None if taken.normalization is None else fixed_coefficients(self.b, taken.normalization)
        added = None if taken.added is None else self.known[taken.added.index].lanes
        return Epilogue(taken.code, taken.pools, coefficients, added)


SIMPLE: list[tuple[Any, Callable[[Builder, Node, Value], Value]]] = [
    (LocalResponseNorm, normalization.normalize_locally),
    (Dropout, normalization.drop),
    (MaxPool | AdaptiveMaxPool, pooling.maximize),
    (AvgPool | AdaptiveAvgPool | Mean, pooling.average),
    (Movement, movement.move),
]
