"""A graph cut into parts of the engine and parts of PyTorch, in an order in which each finds its inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.engine.lowering import reason_against
from striate.graph.graph import Graph, Node
from striate.graph.opaque import Constant, Input
from striate.graph.rerun import obstacles
from striate.ops._movement import Movement
from striate.ops.normalization import BatchNorm

__all__ = [
    "CAPTURED_BATCH",
    "OTHER_BATCH",
    "Part",
    "batch_counters",
    "difference",
    "example_of",
    "has_single_values",
    "is_constant",
    "is_fit",
    "partition",
    "reason_against_graph",
    "reason_against_network",
]

CAPTURED_BATCH = 3
"""Images of the captured run: a number that hardly stands in a network as one of its own."""
OTHER_BATCH = 5
"""Images of a second capture, which tells what follows from their number."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Tables of a module whose functions the engine does not call."""


@dataclass(frozen=True, eq=False)
class Part:
    """Neighbouring nodes that run in the same place."""

    in_engine: bool
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    """What it reads and does not compute."""
    outputs: tuple[Node, ...]
    """What others read, or the network returns."""


def partition(graph: Graph, *, batch: int) -> tuple[list[Part], Mapping[int, str]]:
    """Cut a graph into parts.

    Args:
        graph: Captured with a batch of `batch` images.
        batch: Tells the axis of the images.

    Returns:
        The parts in the order of execution, and why nodes run in PyTorch, by their index.
    """
    reasons = {
        node.index: reason
        for node in graph.nodes
        if not isinstance(node.op, Input) and not is_constant(node) and (reason := _reason(node, batch)) is not None
    }
    level: dict[int, int] = {}
    parts: dict[tuple[int, bool], list[Node]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input) or is_constant(node):
            level[node.index] = 0
            continue
        in_engine = node.index not in reasons
        # Even levels are PyTorch's, odd ones the engine's: a node waits for the latest of what it reads.
        latest = max((level[source.index] for source in _read_by(node, reasons)), default=0)
        level[node.index] = latest if latest % 2 == int(in_engine) else latest + 1
        parts.setdefault((level[node.index], in_engine), []).append(node)
    ordered = sorted(parts.items(), key=lambda part: part[0])
    return [_part(graph, reasons, in_engine, nodes) for (_, in_engine), nodes in ordered], reasons


def is_constant(node: Node) -> bool:
    """Whether a node is a tensor that stays the same from pass to pass."""
    return isinstance(node.op, Constant) and node.replay is None


def _reason(node: Node, batch: int) -> str | None:
    if node.computed:
        return "a parameter that the network computes"
    if isinstance(node.op, Constant):
        return "made anew in every pass"
    return reason_against(node, batch=batch)


def _read_by(node: Node, reasons: Mapping[int, str]) -> tuple[Node, ...]:
    """Return the nodes whose values a node needs where it runs; constants are always there."""
    replay = node.replay if node.index in reasons else None
    read = node.sources if replay is None else (*node.sources, *replay.nodes, *replay.sized)
    return tuple(source for source in read if not is_constant(source))


def _part(graph: Graph, reasons: Mapping[int, str], in_engine: bool, nodes: Sequence[Node]) -> Part:
    own = {node.index for node in nodes}
    inputs = {s.index: s for node in nodes for s in _read_by(node, reasons) if s.index not in own}
    wanted = {node.index for node in graph.outputs}
    wanted |= {s.index for node in graph.nodes if node.index not in own for s in _read_by(node, reasons)}
    outputs = [node for node in nodes if node.index in wanted]
    return Part(in_engine, tuple(nodes), tuple(inputs.values()), tuple(outputs))


def is_fit(inputs: Sequence[Any]) -> bool:
    """Whether the engine takes inputs: float32 on the CPU, with the same number of images, at least one."""
    return all(
        isinstance(x, Tensor)
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.ndim >= 2
        and x.shape[0] == inputs[0].shape[0]
        and x.numel() > 0
        and x.layout == torch.strided
        for x in inputs
    )


def example_of(x: Tensor, *, images: int = CAPTURED_BATCH) -> Tensor:
    """Return so many images of an input, repeated where there are fewer."""
    x = x.detach()
    while x.shape[0] < images:
        x = torch.cat([x, x])
    return x[:images].clone()


def difference(graph: Graph, other: Graph) -> str | None:
    """Say how the graphs of two numbers of images differ in more than that number; None: they do not."""
    if [node.call for node in graph.nodes] != [node.call for node in other.nodes]:
        return "it takes another way with another number of images"
    for one, two in zip(graph.nodes, other.nodes, strict=True):
        is_moved = isinstance(one.op, Movement | Input) or isinstance(two.op, Movement | Input)
        if type(one.op) is not type(two.op) or (not is_moved and one.op != two.op and one.replay is None):
            return f"{one.name} is another operation with another number of images"
        if is_constant(one):
            values = [node.parameters["value"].tensor for node in (one, two)]
            if values[0].shape != values[1].shape or not torch.equal(*values):
                return f"{one.name} is another number with another number of images"
    return None


def batch_counters(model: nn.Module, nodes: Sequence[Node]) -> Iterator[Tensor]:
    """Yield the counters that batch norms in training keep beside their statistics."""
    for node in nodes:
        statistics = node.parameters.get("running_mean")
        if statistics is not None and getattr(node.op, "training", False):
            module = model.get_submodule(statistics.name.rpartition(".")[0])
            counter = getattr(module, "num_batches_tracked", None)
            if counter is not None:
                yield counter


def reason_against_network(model: nn.Module) -> str | None:
    """Say why a network must run in PyTorch as a whole, before it is captured; None: parts may run in the engine."""
    for path, module in model.named_modules():
        own = vars(module)
        if any(own[table] for table in HOOKS):
            return f"a hook is registered on {path or 'it'}, and the engine calls none"
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
            if module.momentum is None and module.training:
                return f"{path} averages its statistics over all batches (momentum=None)"
            if any(buffer is not None and not buffer.is_contiguous() for buffer in own["_buffers"].values()):
                return f"the statistics of {path} do not lie in one piece"
    return None


def reason_against_graph(graph: Graph) -> str | None:
    """Say why a captured network must run in PyTorch as a whole; None: parts of it may run in the engine."""
    if graph.read_values:
        return f"it decides by the numbers of {graph.read_values[0].name}, so another input may take another way"
    found = obstacles(graph)
    if found:
        return found[0]
    writers = [node for node in graph.nodes if node.in_place and node.inputs and node.inputs[0] in graph.inputs]
    if writers:
        return f"{writers[0].name} writes on what the network is given"
    written = [p.name for aside in graph.asides if not aside.is_check for p in aside.writes]
    others = [name for name in written if not name.endswith("num_batches_tracked")]
    return f"it writes on {others[0]} while it runs" if others else None


def has_single_values(nodes: Sequence[Node]) -> bool:
    """Whether a batch norm in training sees one value a channel for each image: one image is then too few."""
    return any(
        isinstance(node.op, BatchNorm) and node.op.training and math.prod(node.output_shape[2:]) == 1 for node in nodes
    )
