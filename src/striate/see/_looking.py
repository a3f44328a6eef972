"""Looking at a network: its graph in evaluation mode, with everything put back afterwards, and what lies on a path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import UsageError, nearest
from striate.graph import Graph, Node, capture, untouched

__all__ = ["as_inputs", "dependents", "looking", "named", "path_to", "sides", "varying"]


@contextmanager
def looking(model: nn.Module, *inputs: Tensor, keep_values: bool = False) -> Iterator[Graph]:
    """Give a block the graph of a network in evaluation mode; afterwards the network is as it was, bit for bit.

    Args:
        model: Any module.
        *inputs: What it runs on.
        keep_values: Keep what every node answered to them, for `Graph.value`.
    """
    with untouched(model):
        model.eval()
        with torch.enable_grad():
            graph = capture(model, tuple(inputs), keep_values=keep_values)
        yield graph


def as_inputs(model: nn.Module, x: Any, *, what: str) -> tuple[Tensor, ...]:
    """Bring what the caller gave to tensors of the network's type and device; the first is the one that is looked at.

    Raises:
        UsageError: no tensor or array of numbers, or no image in it.
    """
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    given = x if isinstance(x, tuple | list) else (x,)
    tensors = []
    for value in given:
        tensor = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
        if not isinstance(tensor, Tensor) or tensor.ndim < 2 or len(tensor) == 0:
            got = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(value).__name__
            raise UsageError(
                f"{what}: `x` must be a tensor with a batch axis and at least one sample, (N, C, H, W), got {got}. "
                "Write image[None] for one image."
            )
        tensors.append(tensor.detach().to(like.device, like.dtype if not tensor.is_complex() else tensor.dtype))
    return tuple(tensors)


def named(graph: Graph, name: str) -> Node:
    """Return the node of a name that the user gave.

    Raises:
        UsageError: there is none; the message names the nearest, and what lists them.
    """
    names = {node.name: node for node in graph.nodes}
    if name not in names:
        raise UsageError(
            f"see: `{name}` must be a layer of the network.{nearest(name, names)} `striate anatomy MODEL`, or "
            "print(striate.capture(model, x)), lists them."
        )
    return names[name]


def varying(graph: Graph) -> set[int]:
    """Return the indices of the nodes whose values depend on an input."""
    found = {node.index for node in graph.inputs}
    for node in graph.nodes:
        if any(source.index in found for source in node.sources):
            found.add(node.index)
    return found


def path_to(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes through which the inputs reach a node, inputs left out, the node itself last."""
    wanted, found = varying(graph), {node.index}
    for current in reversed(graph.nodes[: node.index + 1]):
        if current.index in found:
            found.update(source.index for source in current.sources)
    inputs = {source.index for source in graph.inputs}
    return [n for n in graph.nodes if n.index in found and n.index in wanted and n.index not in inputs]


def dependents(graph: Graph, node: Node) -> set[int]:
    """Return the indices of a node and of all that depend on it."""
    found = {node.index}
    for current in graph.nodes[node.index + 1 :]:
        if any(source.index in found for source in current.sources):
            found.add(current.index)
    return found


def sides(node: Node) -> tuple[int, ...]:
    """Return height and width of a node with positions, (N, C, H, W); empty for others."""
    return node.output_shape[2:] if len(node.output_shape) == 4 else ()
