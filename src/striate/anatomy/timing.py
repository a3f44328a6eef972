"""How long each layer takes on this machine: its call is run again on the values of the captured run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from striate.anatomy.layer import Times
from striate.errors import StriateError
from striate.graph import Graph, Node
from striate.graph._untouched import untouched

__all__ = ["REPEATS", "measured_times"]

REPEATS = 7
"""Runs of each call, of which the median counts; one more before them warms up."""


def measured_times(graph: Graph, model: nn.Module) -> dict[int, Times | None]:
    """Return the time of each node by its index: forward without gradients, backward of that node alone.

    Outputs of one call share its time: it stands at the first. Inputs and constants have none. A call that wrote in
    place runs on a copy, which is timed with it. Buffers and random generators are put back.

    Args:
        graph: Captured with its values.
        model: What was captured.

    Returns:
        None for a call that cannot be run again.
    """
    times: dict[int, Times | None] = {}
    seen: set[int] = set()
    with untouched(model) as guard:
        for node in graph.nodes[: graph._network_end]:
            if not node.inputs and not node.computed:
                continue
            if node.replay is None:
                times[node.index] = None
            elif node.replay.key not in seen:
                seen.add(node.replay.key)
                for parameter in node.replay.writes:
                    guard.keep(parameter.tensor)
                times[node.index] = _times(graph, node)
    return times


def _times(graph: Graph, node: Node) -> Times | None:
    replay = node.replay
    if replay is None:
        return None
    values = {source.index: graph.value(source) for source in (*replay.nodes, *replay.sized)}
    try:
        with torch.no_grad():
            forward = _median(lambda: replay.run(values), values)
        return Times(forward, _backward(node, values) if replay.is_differentiable else None)
    except (RuntimeError, TypeError, StriateError):  # PyTorch has no single error for what cannot be repeated
        return None


def _backward(node: Node, values: dict[int, Tensor]) -> float | None:
    """Time the gradients of a node with respect to its inputs and the parameters that learn."""
    if node.replay is None:
        return None
    given = {i: v.detach().requires_grad_() if v.is_floating_point() else v for i, v in values.items()}
    parameters = [p.tensor for p in node.parameters.values() if p.kind == "parameter" and p.tensor.requires_grad]
    with torch.enable_grad():
        output = node.replay.run(given)[node.replay.output]
        if not output.requires_grad:
            return None
        sources = [value for value in given.values() if value.requires_grad] + parameters
        ones = torch.ones_like(output)

        def run() -> Any:
            return torch.autograd.grad(output, sources, ones, retain_graph=True, allow_unused=True)

        return _median(run, values)


def _median(run: Callable[[], Any], values: dict[int, Tensor]) -> float:
    """Return the median time of a call in milliseconds, warm-up left out."""
    has_cuda = any(value.is_cuda for value in values.values())
    times = []
    for _ in range(REPEATS + 1):
        if has_cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        if has_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[1:])
