"""Run a whole captured graph again in PyTorch, call by call, as the network itself would run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from striate.errors import UsageError
from striate.graph.graph import Graph, Node
from striate.graph.opaque import Constant, Input
from striate.graph.torch_call import Aside

__all__ = ["obstacles", "rerun", "run_nodes"]


def rerun(graph: Graph, *inputs: Tensor, trust_reads: bool = False) -> Any:
    """Run the captured calls on new inputs and return what the network would return, in its own structure.

    Outputs, gradients, random numbers and what is left in the buffers are those of the network itself, in the mode in
    which it was captured. The number of images may be another.

    Args:
        graph: What `capture` returned; what belongs to a loss is left out.
        *inputs: One for each of `graph.inputs`.
        trust_reads: Do not check what Python read of the values of nodes (``if x.sum() > 0``, ``.item()``). For a
            network that only prints or stores them.

    Raises:
        UsageError: inputs do not fit the graph in number, type or shape; a call cannot be run again; or Python would
            find other numbers than in the captured run, and might go another way.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> graph, x = capture(model, torch.ones(1, 4)), torch.randn(5, 4)
        >>> torch.equal(rerun(graph, x), model(x))
        True
    """
    values = _run_until(graph, inputs, kept=graph.outputs, end=None, trust_reads=trust_reads, what="rerun")
    _check_outputs(graph, values, inputs)
    return graph.returned(values)


def run_nodes(
    graph: Graph,
    *inputs: Tensor,
    nodes: Sequence[Node],
    replace: Callable[[Node, Mapping[int, Tensor]], Tensor | None] | None = None,
) -> dict[int, Tensor]:
    """Run the captured calls on new inputs as far as some nodes need, and return the values of those nodes.

    Gradients flow from the values to the inputs, as in the network. Nothing is written on a value.

    Args:
        graph: What `capture` returned.
        *inputs: One for each of `graph.inputs`; the number of images may be another.
        nodes: Whose values are wanted.
        replace: Asked for every node that one call makes alone, with the values known so far by the index of their
            node: what it returns takes the place of the call's output. None: the call runs.

    Returns:
        By the index of the node.

    Raises:
        UsageError: as of `rerun`, of the calls that are run.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.ones(1, 2))
        >>> run_nodes(graph, torch.tensor([[-1.0, 2.0]]), nodes=[graph.node("0")])
        {1: tensor([[0., 2.]])}
    """
    end = max((node.index for node in nodes), default=-1)
    return _run_until(graph, inputs, kept=nodes, end=end, replace=replace, what="run_nodes")


def _run_until(
    graph: Graph,
    inputs: tuple[Tensor, ...],
    *,
    kept: Sequence[Node],
    end: int | None,
    replace: Callable[[Node, Mapping[int, Tensor]], Tensor | None] | None = None,
    trust_reads: bool = False,
    what: str,
) -> dict[int, Tensor]:
    """Run the calls up to the node of an index (None: all), and return the values of the nodes that are kept."""
    found = obstacles(graph, until=end)
    if found:
        raise UsageError(f"{what}: `graph` must hold only calls that can be run again, got {found[0]}")
    _check_inputs(graph, inputs, what=what)
    values = dict(zip((node.index for node in graph.inputs), inputs, strict=True))
    unused = _unused_after(graph, kept)
    waiting = list(reversed(graph.asides))
    for nodes in _calls(graph):
        first = nodes[0].index
        if end is not None and first > end:
            return {node.index: values[node.index] for node in kept}
        while waiting and waiting[-1].position <= first:
            _run_aside(waiting.pop(), values, trust_reads=trust_reads)
        instead = replace(nodes[0], values) if replace is not None and len(nodes) == 1 else None
        values |= _run(nodes, values) if instead is None else {first: instead}
        for index in (i for node in nodes for i in unused[node.index]):
            del values[index]
    for aside in reversed(waiting):
        _run_aside(aside, values, trust_reads=trust_reads)
    return {node.index: values[node.index] for node in kept}


def obstacles(graph: Graph, *, until: int | None = None) -> tuple[str, ...]:
    """Return why a graph cannot be run again: a sentence for each node and each aside; empty: it can.

    Args:
        graph: What `capture` returned.
        until: Index of the last node that matters; None: all of the network.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> obstacles(capture(nn.ReLU(), torch.ones(2)))
        ()
    """
    end = len(graph.nodes) if until is None else until
    nodes = (f"`{node.name}`, {node.call}: {graph._refusals[node.index]}" for node in _network(graph)
             if node.index in graph._refusals and node.index <= end)  # fmt: skip
    asides = (f"{aside.call}: {aside.refusal}" for aside in graph.asides
              if aside.refusal is not None and aside.position <= end)  # fmt: skip
    return (*nodes, *asides)


def _network(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes without those of a loss."""
    return graph.nodes[: graph._network_end]


def _run(nodes: tuple[Node, ...], values: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Return the values of the nodes of one call."""
    node = nodes[0]
    if isinstance(node.op, Input):
        return {}
    if node.replay is None:  # a constant
        return {node.index: node.parameters["value"].tensor}
    outputs = node.replay.run(values)
    return {node.index: outputs[node.replay.output] for node in nodes if node.replay is not None}


def _run_aside(aside: Aside, values: Mapping[int, Tensor], *, trust_reads: bool) -> None:
    is_read = aside.is_check and aside.nodes
    if not (trust_reads and is_read):
        aside.run(values)


def _calls(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Yield the nodes of each call, which follow each other."""
    for _, nodes in groupby(_network(graph), key=lambda n: -1 - n.index if n.replay is None else n.replay.key):
        yield tuple(nodes)


def _unused_after(graph: Graph, wanted: Sequence[Node]) -> dict[int, list[int]]:
    """Return for each node whose values may be let go once it has run."""
    last = {node.index: node.index for node in _network(graph)}
    for node in _network(graph):
        if node.replay is not None:
            last |= dict.fromkeys((n.index for n in (*node.replay.nodes, *node.replay.sized)), node.index)
    for aside in graph.asides:
        last |= {n.index: max(last[n.index], aside.position) for n in (*aside.nodes, *aside.sized)}
    kept = {node.index for node in wanted}
    unused: dict[int, list[int]] = {node.index: [] for node in _network(graph)}
    for index, at in last.items():
        if index not in kept and at in unused:
            unused[at].append(index)
    return unused


def _check_inputs(graph: Graph, inputs: tuple[Tensor, ...], *, what: str) -> None:
    if len(inputs) != len(graph.inputs):
        raise UsageError(
            f"{what}: `inputs` must be as many tensors as the graph has inputs, {len(graph.inputs)}, got "
            f"{len(inputs)}. "
            "Give them in the order of graph.inputs."
        )
    for node, tensor in zip(graph.inputs, inputs, strict=True):
        expected, got = node.output_shape, tuple(tensor.shape)
        if len(got) != len(expected) or got[1:] != expected[1:] or tensor.dtype != node.dtype:
            raise UsageError(
                f"{what}: `{node.name}` must be of shape {expected} and {node.dtype}, but for the length of its first "
                f"axis, got {got} and {tensor.dtype}. Capture the network on such an input."
            )


def _check_outputs(graph: Graph, values: Mapping[int, Tensor], inputs: tuple[Tensor, ...]) -> None:
    """Refuse an output that did not follow the number of images: a loop over them ran as often as in capture."""
    captured = graph.inputs[0].output_shape[:1] if graph.inputs else ()
    given = tuple(inputs[0].shape[:1]) if inputs else ()
    for node in graph.outputs:
        followed = captured == given or node.output_shape[:1] != captured or isinstance(node.op, Constant)
        if not followed and tuple(values[node.index].shape[:1]) != given:
            raise UsageError(
                f"rerun: `{node.name}` must have the {given[0]} images of the input, got {len(values[node.index])}: "
                f"the network's code counted them. Capture it with {given[0]} images."
            )
