"""What stays in memory: in a training step until the backward pass, and in inference at the worst moment.

Training is measured: the network runs once with gradients, and every tensor that autograd keeps is noted; each piece of
memory counts once, the network's own parameters and buffers not at all. Inference is computed: the values that
are still to be read, at the node where they are most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.anatomy.costs import value_bytes
from striate.graph import Constant, Graph, Node, capture
from striate.graph._calls import storage_key, tensors_in

__all__ = ["Kept", "captured", "inference_bytes"]


@dataclass(frozen=True)
class Kept:
    """What autograd kept of a run, in bytes."""

    by_node: dict[int, int]
    """By the index of the node."""
    total: int
    """More than the sum where a piece of memory is no node's."""


def captured(model: nn.Module, example: Any) -> tuple[Graph, Kept]:
    """Capture a network with its values, and measure what autograd keeps of the run.

    Raises:
        As `striate.capture`.

    Example:
        >>> graph, kept = captured(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.ones(2, 4))
        >>> [(node.name, kept.by_node.get(node.index, 0)) for node in graph.nodes]  # 2 x 4 and 2 x 3 numbers
        [('input', 32), ('0', 0), ('1', 24)]
    """
    saved = _Saved(model)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda tensor: tensor), saved:
        graph = capture(model, example, keep_values=True)
    return graph, saved.by_node(graph)


class _Saved(TorchFunctionMode):
    """Notes the memory of each tensor that autograd keeps, and the call that kept it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._own: set[int | None] | None = None
        self._memory: dict[int | None, Any] = {}
        self._by_call: dict[int | None, list[int | None]] = {}
        """Memory that a call kept, by the memory of its first output."""
        self._waiting: list[int | None] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._waiting = []
        result = func(*args, **(kwargs or {}))
        if self._waiting:
            for tensor in tensors_in(result)[:1]:
                self._by_call.setdefault(storage_key(tensor), []).extend(self._waiting)
        self._waiting = []
        return result

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd keeps."""
        if self._own is None:  # in the run: buffers are stand-ins while a network is captured
            own = [*self._model.parameters(), *self._model.buffers()]
            self._own = {storage_key(parameter) for parameter in own}
        key = storage_key(tensor)
        if key is not None and key not in self._own and key not in self._memory:
            self._memory[key] = tensor.untyped_storage()  # held, so that no other tensor can take its place
            self._waiting.append(key)
        return tensor

    def by_node(self, graph: Graph) -> Kept:
        """Give each piece of memory to the node whose value it is; else to the node whose call kept it."""
        owners: dict[int | None, int] = {}
        for node in graph.nodes:
            if not isinstance(node.op, Constant):
                owners.setdefault(storage_key(graph.value(node)), node.index)
        keepers = {key: owners[made] for made, keys in self._by_call.items() if made in owners for key in keys}
        kept: dict[int, int] = {}
        for key, storage in self._memory.items():
            index = owners.get(key, keepers.get(key))
            if index is not None:
                kept[index] = kept.get(index, 0) + storage.nbytes()
        return Kept(kept, sum(storage.nbytes() for storage in self._memory.values()))


def inference_bytes(graph: Graph) -> int:
    """Return the most bytes of values that are alive at once when nothing is kept for a backward pass.

    A value lives until it was read for the last time; inputs and outputs until the end. In-place calls and views take
    no memory of their own.

    Args:
        graph: Captured with its values.
    """
    groups = _memory(graph)
    size: dict[int, int] = {}
    last: dict[int, int] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            continue
        group = groups[node.index]
        size[group] = max(size.get(group, 0), value_bytes(node))
        last[group] = max(last.get(group, 0), node.index, *(user.index for user in graph.users(node)))
    for node in (*graph.inputs, *graph.outputs):
        last[groups[node.index]] = len(graph.nodes)
    return _peak(graph.nodes, groups, size, last)


def _peak(nodes: Sequence[Node], groups: dict[int, int], size: dict[int, int], last: dict[int, int]) -> int:
    alive = most = 0
    ends: dict[int, list[int]] = {}
    for node in nodes:
        if groups.get(node.index) == node.index:
            alive += size[node.index]
            ends.setdefault(last[node.index], []).append(size[node.index])
        most = max(most, alive)
        alive -= sum(ends.pop(node.index, ()))
    return most


def _memory(graph: Graph) -> dict[int, int]:
    """Return for each node the first node that has its memory."""
    first: dict[int | None, int] = {}
    groups: dict[int, int] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            continue
        key = storage_key(graph.value(node))
        if node.in_place and node.inputs and node.inputs[0].index in groups:
            groups[node.index] = groups[node.inputs[0].index]  # its source's value was copied before the write
            first[key] = groups[node.index]
        else:
            groups[node.index] = first.setdefault(key, node.index)
    return groups
