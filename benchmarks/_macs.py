"""Multiply-adds of a network, counted on its graph: what one image costs in a forward pass and in a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from striate.graph import Graph, Node

__all__ = ["forward_macs", "training_macs"]


def forward_macs(graph: Graph) -> int:
    """Count the multiply-adds of the forward pass of the batch that was captured."""
    return sum(_macs(node) for node in graph.nodes)


def training_macs(graph: Graph) -> int:
    """Count the multiply-adds of forward pass, weight gradients and input gradients of the batch that was captured.

    Each of the three costs a layer as much as its forward pass. The gradient of the network's input is not computed, so
    the layers that read nothing learned before them have two of the three.
    """
    after_parameters, total = set[int](), 0
    for node in graph.nodes:
        needs_input_gradient = any(source.index in after_parameters for source in node.sources)
        learns = any(parameter.kind == "parameter" for parameter in node.parameters.values())
        if needs_input_gradient or learns:
            after_parameters.add(node.index)
        total += _macs(node) * (1 + learns + needs_input_gradient)
    return total


def _macs(node: Node) -> int:
    from striate.graph.opaque import Constant, Input, Opaque

    if isinstance(node.op, Input | Constant):
        return 0
    if isinstance(node.op, Opaque):
        raise TypeError(f"macs: {node.name} ({node.call}) is not known to striate, so its cost is not. Leave it out.")
    parameters = {key: tuple(parameter.tensor.shape) for key, parameter in node.parameters.items()}
    parameters |= {key: source.output_shape for key, source in node.computed.items()}
    return node.op.macs(*(source.output_shape for source in node.inputs), **parameters)
