"""Replay: the rest of a captured run again in NumPy, after one value or parameter was changed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from striate.errors import UsageError
from striate.graph.graph import Graph, Node
from striate.graph.opaque import Opaque
from striate.ops.op import Array

__all__ = ["inputs_of", "parameters_of", "replay"]


def inputs_of(graph: Graph, node: Node) -> tuple[Array, ...]:
    """Return the values that a node read, as arrays; a graph captured with ``keep_values=True``."""
    return tuple(graph.value(source).detach().cpu().numpy() for source in node.inputs)


def parameters_of(graph: Graph, node: Node) -> dict[str, Array]:
    """Return the parameters of a node by the names under which its operation takes them, as arrays."""
    own = {name: parameter.tensor.detach().cpu().numpy() for name, parameter in node.parameters.items()}
    return own | {name: graph.value(source).detach().cpu().numpy() for name, source in node.computed.items()}


def replay(
    graph: Graph,
    *,
    until: Node,
    values: Mapping[int, Array] | None = None,
    parameters: Mapping[str, Array] | None = None,
) -> Array:
    """Compute a node again with some values or parameters changed, by the definitions of the operations.

    Only what depends on a change is computed; everything else is read from the captured run.

    Args:
        graph: Captured with ``keep_values=True``.
        until: The node to compute.
        values: Changed outputs by the index of their node.
        parameters: Changed parameters by their name in the network.

    Raises:
        UsageError: what depends on the change includes an operation that striate does not know.
    """
    changed: dict[int, Array] = dict(values or {})
    renamed = parameters or {}
    for node in graph.nodes[: until.index + 1]:
        if node.index in changed:
            continue
        own = {key: renamed[p.name] for key, p in node.parameters.items() if p.name in renamed}
        if not own and not any(source.index in changed for source in node.sources):
            continue
        if isinstance(node.op, Opaque):
            raise UsageError(
                f"replay: `{node.name}` must be an operation that striate knows, got {node.op.text}. "
                f"`{until.name}` cannot be computed through it."
            )
        arrays = parameters_of(graph, node) | own
        arrays |= {key: changed[source.index] for key, source in node.computed.items() if source.index in changed}
        given = [changed.get(s.index, _value(graph, s)) for s in node.inputs]
        changed[node.index] = np.asarray(node.op.forward(*given, **arrays))
    return changed.get(until.index, _value(graph, until))


def _value(graph: Graph, node: Node) -> Array:
    array: Array = graph.value(node).detach().cpu().numpy()
    return array
