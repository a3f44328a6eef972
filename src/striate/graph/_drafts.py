"""Nodes while the network still runs, and how they become a graph: names come at the end, when calls are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from striate.graph._torch_calls import TorchCall
from striate.graph.graph import Graph, Node, Parameter
from striate.graph.opaque import Constant, Input
from striate.graph.torch_call import Aside
from striate.ops.op import Op, Shape

__all__ = ["AsideDraft", "Draft", "Place", "finish", "names_of"]


@dataclass(eq=False, slots=True)
class Place:
    """One call of a module."""

    path: str
    module: nn.Module | None
    calls: list[int] = field(default_factory=list)
    """Numbers of the calls recorded in it, those in modules inside it not counted."""
    has_children: bool = False


@dataclass(eq=False, slots=True)
class Draft:
    """A node to be."""

    call: str
    op: Op
    shape: Shape
    dtype: torch.dtype
    place: Place
    number: int
    """Of the call; the outputs of one call share it."""
    inputs: tuple[Draft, ...] = ()
    parameters: dict[str, Parameter] = field(default_factory=dict)
    computed: dict[str, Draft] = field(default_factory=dict)
    output: int | None = None
    in_place: bool = False
    is_live: bool = True
    """Whether it depends on the input or on a parameter."""
    varies: bool = False
    """Whether it depends on the input, so that its shape may."""
    torch_call: TorchCall | None = None
    """The call that makes it, to be run again."""
    part: int = 0
    """Which of the outputs of that call it is."""
    name: str = ""
    """For inputs and parameters, whose names do not come from a place."""
    index: int | None = None
    value: Tensor | None = None
    edge: Any = None
    """Its place in autograd's graph at the time it was produced."""


@dataclass(eq=False, slots=True)
class AsideDraft:
    """A call that made no node and counts all the same, and the answer that a check must find again."""

    position: int
    call: TorchCall
    answer: Any = None


def names_of(drafts: Sequence[Draft]) -> list[str]:
    """Return the unique names of drafts in order: that of the layer for its one call, else layer and call."""
    taken: set[str] = set()
    bases: dict[int, str] = {}
    names = []
    for draft in drafts:
        if draft.number not in bases:
            bases[draft.number] = _unused(draft.name or _base(draft, drafts), taken)
        name = bases[draft.number] if draft.output is None else f"{bases[draft.number]}[{draft.output}]"
        names.append(name)
    return names


def _unused(base: str, taken: set[str]) -> str:
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}:{count}"
    taken.add(name)
    return name


def _base(draft: Draft, drafts: Sequence[Draft]) -> str:
    place = draft.place
    if not place.path:
        return draft.call
    if not place.has_children and draft.number == _main_call(place, drafts):
        return place.path
    return f"{place.path}.{draft.call}"


def _main_call(place: Place, drafts: Sequence[Draft]) -> int | None:
    """Return the call that carries its layer's name: the only one, or in PyTorch's own layers the one with weights.

    So a convolution with circular padding is ``conv.pad`` and ``conv``.
    """
    if len(place.calls) == 1:
        return place.calls[0]
    if not type(place.module).__module__.startswith("torch.nn."):
        return None
    weighted = {draft.number for draft in drafts if draft.number in place.calls and draft.parameters}
    return weighted.pop() if len(weighted) == 1 else None


def finish(
    drafts: Sequence[Draft],
    *,
    inputs: Sequence[Draft],
    outputs: Sequence[Draft],
    loss: Draft | None,
    read: Sequence[Draft],
    gradients: dict[int, Tensor] | None,
    parameter_gradients: dict[int, Tensor],
    asides: Sequence[AsideDraft],
    network_end: int | None,
    structure: Any,
) -> Graph:
    """Return the graph of all drafts; `gradients` go by the index of the draft."""
    nodes: list[Node] = []
    for index, (draft, name) in enumerate(zip(drafts, names_of(drafts), strict=True)):
        node = Node(
            index=index,
            name=name,
            call=draft.call,
            op=draft.op,
            inputs=tuple(nodes[_index(source)] for source in draft.inputs),
            parameters={
                key: Parameter(p.name or name, p.tensor, p.kind) if not p.name else p
                for key, p in draft.parameters.items()
            },
            computed={key: nodes[_index(source)] for key, source in draft.computed.items()},
            module=draft.place.path,
            output_shape=draft.shape,
            dtype=draft.dtype,
            in_place=draft.in_place,
            _torch_call=draft.torch_call and _join(draft.torch_call, nodes),
            _part=draft.part,
        )
        nodes.append(node)
    return Graph(
        nodes=tuple(nodes),
        inputs=tuple(nodes[_index(draft)] for draft in inputs),
        outputs=tuple(nodes[_index(draft)] for draft in outputs),
        loss=None if loss is None else nodes[_index(loss)],
        read_values=tuple(nodes[_index(draft)] for draft in dict.fromkeys(read)),
        _values={_index(draft): draft.value for draft in drafts if draft.value is not None},
        _gradients=gradients,
        _parameter_gradients=parameter_gradients,
        asides=tuple(Aside(aside.position, _join(aside.call, nodes), aside.answer) for aside in asides),
        _network_end=network_end,
        _structure=structure,
        _refusals={_index(draft): reason for draft in drafts if (reason := _refusal(draft)) is not None},
    )


def _join(call: TorchCall, nodes: Sequence[Node]) -> TorchCall:
    """Give a call the nodes that it takes in the place of their numbers."""
    if call.given:
        call.nodes, call.given = tuple([nodes[index] for index in call.given]), ()
    if call.sized:
        call.sized_nodes = tuple([nodes[index] for index in call.sized if nodes[index] not in call.nodes])
        call.sized = ()
    return call


def _refusal(draft: Draft) -> str | None:
    """Return why a node cannot be run again; None: it can, or there is nothing to run."""
    if draft.torch_call is not None:
        return draft.torch_call.refusal
    return None if isinstance(draft.op, Input | Constant) else "PyTorch does not show what computes it."


def _index(draft: Draft) -> int:
    if draft.index is None:
        raise RuntimeError(f"a node reads `{draft.call}`, which was not recorded")
    return draft.index
