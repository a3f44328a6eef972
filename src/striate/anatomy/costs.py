"""What a layer costs, from its shapes: parameters, multiply-adds, operations, connections."""

from __future__ import annotations

import math

from striate.anatomy.layer import Parameters
from striate.graph import Constant, Input, Node, Opaque
from striate.ops.op import Shape

__all__ = ["connections", "counted_parameters", "flops", "macs", "moved_bytes", "value_bytes"]


def counted_parameters(node: Node, counted: set[int]) -> Parameters:
    """Count a node's parameters that are not counted yet, and put them into `counted`, by identity.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> layer = nn.Linear(4, 3)
        >>> graph = capture(nn.Sequential(layer, nn.Linear(3, 4), layer), torch.ones(1, 4))
        >>> counted = set()
        >>> [counted_parameters(node, counted).count for node in graph.nodes]
        [0, 15, 16, 0]
    """
    found = {id(p.tensor): p.tensor for p in node.parameters.values() if p.kind == "parameter"}
    new = [tensor for key, tensor in found.items() if key not in counted]
    shared = sum(tensor.numel() for key, tensor in found.items() if key in counted)
    counted.update(found)
    return Parameters(
        trainable=sum(tensor.numel() for tensor in new if tensor.requires_grad),
        frozen=sum(tensor.numel() for tensor in new if not tensor.requires_grad),
        shared=shared,
    )


def macs(node: Node) -> int | None:
    """Return the multiply-adds of one forward pass of a node; None: its operation is unknown."""
    return None if isinstance(node.op, Opaque) else node.op.macs(*_inputs(node), **_parameters(node))


def flops(node: Node) -> int | None:
    """Return the floating-point operations of one forward pass of a node; None: its operation is unknown."""
    if isinstance(node.op, Opaque):
        return None
    return 0 if isinstance(node.op, Input | Constant) else node.op.flops(*_inputs(node), **_parameters(node))


def connections(node: Node, cost: int | None) -> tuple[int | None, int | None]:
    """Return how many inputs a unit of a layer with weights has, and the weights that a dense layer would need."""
    if not cost or not node.inputs or not math.prod(node.output_shape):
        return None, None
    inputs, units = math.prod(node.inputs[0].output_shape[1:]), math.prod(node.output_shape[1:])
    return cost // math.prod(node.output_shape), inputs * units


def value_bytes(node: Node) -> int:
    """Return the bytes of a node's value."""
    return math.prod(node.output_shape) * node.dtype.itemsize


def moved_bytes(node: Node) -> int:
    """Return the bytes of a node's inputs, parameters and output, each once."""
    sources = sum(value_bytes(source) for source in dict.fromkeys(node.sources))
    tensors = {id(p.tensor): p.tensor for p in node.parameters.values()}.values()
    return value_bytes(node) + sources + sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _inputs(node: Node) -> tuple[Shape, ...]:
    return tuple(source.output_shape for source in node.inputs)


def _parameters(node: Node) -> dict[str, Shape]:
    fixed = {name: tuple(parameter.tensor.shape) for name, parameter in node.parameters.items()}
    return fixed | {name: source.output_shape for name, source in node.computed.items()}
