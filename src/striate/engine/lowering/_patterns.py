"""Neighbours in the graph that become one instruction: a layer, its batch norm, what is added, activation, pooling."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from striate.engine._codes import IDENTITY, PLAIN, RELU, Code, code_of
from striate.graph.graph import Graph, Node
from striate.ops.activation import Identity
from striate.ops.combination import Add
from striate.ops.dropout import Dropout
from striate.ops.max_pooling import MaxPool
from striate.ops.normalization import BatchNorm

__all__ = ["Patterns", "Taken"]


@dataclass(frozen=True, eq=False)
class Taken:
    """A layer and what follows it."""

    nodes: tuple[Node, ...]
    normalization: Node | None = None
    """A batch norm with fixed statistics: its scale and shift become those of the layer."""
    added: Node | None = None
    code: Code = PLAIN
    pools: bool = False
    """2 x 2 max pooling with stride 2."""


class Patterns:
    """Finds what can be taken together.

    Args:
        graph: The graph.
        part: Indices of the nodes that may be taken.
        kept: Indices of the nodes whose own values are wanted.
        trains: Whether a backward pass follows: nothing is folded then.
    """

    def __init__(self, graph: Graph, *, part: Collection[int], kept: Collection[int], trains: bool) -> None:
        self._graph, self._part, self._kept, self._trains = graph, part, kept, trains

    def after(self, node: Node) -> Node | None:
        """Return the only node that reads a node, where nothing else needs its value."""
        users = self._graph.users(node)
        if len(users) != 1 or node.index in self._kept or users[0].index not in self._part:
            return None
        return users[0] if users[0].sources.count(node) == 1 else None

    def of_layer(self, node: Node, *, may_add: Callable[[Node], bool], may_pool: bool) -> Taken:
        """Return what follows a convolution or a dense layer.

        Args:
            node: The layer.
            may_add: Whether the value of a node is known and lies as the layer's output will.
            may_pool: Whether the layer can pool.
        """
        nodes, normalization, added = [node], None, None
        if not self._trains:
            self._take_vanishing(nodes)
            after = self.after(nodes[-1])
            if after is not None and isinstance(after.op, BatchNorm) and not after.op.training:
                nodes.append(after)
                normalization = after
            added = self._take_added(nodes, may_add)
        code = self._take_activation(nodes)
        pools = may_pool and added is None and code.kind in (IDENTITY, RELU) and self._take_pooling(nodes)
        return Taken(tuple(nodes), normalization, added, code, pools)

    def of_normalization(self, node: Node, *, may_add: Callable[[Node], bool]) -> Taken:
        """Return what follows a batch norm that has no layer before it."""
        nodes = [node]
        added = self._take_added(nodes, may_add)
        code = self._take_activation(nodes)
        return Taken(tuple(nodes), None, added, code)

    def _take_vanishing(self, nodes: list[Node]) -> None:
        """Take nodes that do nothing in evaluation."""
        while (after := self.after(nodes[-1])) is not None and (
            isinstance(after.op, Identity)
            or (isinstance(after.op, Dropout) and (not after.op.training or not after.op.p))
        ):
            nodes.append(after)

    def _take_added(self, nodes: list[Node], may_add: Callable[[Node], bool]) -> Node | None:
        after = self.after(nodes[-1])
        if after is None or type(after.op) is not Add:
            return None
        first, second = after.inputs
        if first.output_shape != second.output_shape:
            return None
        other = second if first is nodes[-1] else first
        if not may_add(other):
            return None
        nodes.append(after)
        return other

    def _take_activation(self, nodes: list[Node]) -> Code:
        after = self.after(nodes[-1])
        code = None if after is None else code_of(after.op)
        if after is None or code is None or code.kind == IDENTITY or (self._trains and code.needs_input):
            return Code(IDENTITY)
        nodes.append(after)
        return code

    def _take_pooling(self, nodes: list[Node]) -> bool:
        after = self.after(nodes[-1])
        if after is None or not isinstance(after.op, MaxPool) or len(after.output_shape) != 4:
            return False
        op, halves = after.op, tuple(length // 2 for length in nodes[-1].output_shape[2:])
        fits = (
            (op.kernel_size, op.stride, op.dilation) == ((2, 2), (2, 2), (1, 1))
            and op.pads == ((0, 0), (0, 0))
            and tuple(after.output_shape[2:]) == halves
        )
        if fits:
            nodes.append(after)
        return fits
