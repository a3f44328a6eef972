"""The graph of one forward pass: nodes in the order in which they ran, each with its operation and where it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from striate.errors import UsageError, nearest
from striate.graph.opaque import Opaque
from striate.ops.op import Op, Shape

if TYPE_CHECKING:
    from striate.graph._torch_calls import TorchCall
    from striate.graph.torch_call import Aside, Replay

__all__ = ["Graph", "Node", "Parameter"]


@dataclass(frozen=True, eq=False)
class Parameter:
    """A tensor that an operation takes by name: the module's own, never a copy."""

    name: str
    """Its name in the network, as in `state_dict`; of a constant, the name of its node."""
    tensor: Tensor = field(repr=False)
    kind: Literal["parameter", "buffer", "constant"] = "parameter"


@dataclass(frozen=True, eq=False)
class Node:
    """One tensor that the forward pass produced, and the operation that made it.

    ``op.forward(*inputs, **parameters)`` is its value, where the arrays are the values of `inputs`, of `parameters` and
    of `computed`.
    """

    index: int
    """Place in the order of execution."""
    name: str
    """Unique: ``layer1.0.conv1``; ``fc:2`` is the second call of a shared layer, ``layer1.0.add`` a functional call
    in ``layer1.0``, ``chunk[1]`` the second output of a call."""
    call: str
    """The name in PyTorch, without the underscore of in-place calls: ``conv2d``."""
    op: Op
    inputs: tuple[Node, ...]
    parameters: Mapping[str, Parameter]
    """By the name under which the operation takes them."""
    computed: Mapping[str, Node]
    """Parameters that other nodes computed, as a normalised or masked weight; empty in most networks."""
    module: str
    """Dotted path of the module it ran in; empty: the network itself."""
    output_shape: Shape
    dtype: torch.dtype
    in_place: bool = False
    """Whether the call wrote on one of its inputs."""
    _torch_call: TorchCall | None = None
    _part: int = 0

    @property
    def sources(self) -> tuple[Node, ...]:
        """All nodes whose values it reads: `inputs`, then `computed`."""
        return (*self.inputs, *self.computed.values())

    @cached_property
    def replay(self) -> Replay | None:
        """The call, to be run again in PyTorch on new values.

        None: there is none (inputs, constants that are the same in every run), or it cannot be run again;
        `striate.graph.rerun.obstacles` says why.
        """
        from striate.graph.torch_call import Replay

        call = self._torch_call
        return None if call is None or call.refusal is not None else Replay(self._part, call)

    def __repr__(self) -> str:
        sources = ", ".join(node.name for node in self.sources)
        return f"Node({self.index}, {self.name!r}, {self.call}({sources}) -> {self.output_shape})"


@dataclass(frozen=True, eq=False)
class Graph:
    """What `capture` returns."""

    nodes: tuple[Node, ...]
    """In the order of execution, inputs first."""
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    """The tensors that the network returned, from first to last, whatever structure they were in."""
    loss: Node | None = None
    """The last node of the loss, where `capture` was given one."""
    read_values: tuple[Node, ...] = ()
    """Nodes whose numbers Python read during the run (``if x.sum() > 0``, ``.item()``, ``.numpy()``): what followed may
    depend on them without an edge, and another input may give another graph."""
    asides: tuple[Aside, ...] = ()
    """Calls that made no node and count all the same when the run is repeated, in order: writes on buffers, and what
    Python decided on."""
    _network_end: int | None = None
    """How many nodes there are without those of the loss."""
    _structure: Any = None
    _refusals: Mapping[int, str] = field(default_factory=dict)
    _values: Mapping[int, Tensor] = field(default_factory=dict)
    _gradients: Mapping[int, Tensor] | None = None
    _parameter_gradients: Mapping[int, Tensor] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The network's parameters that the pass used, each once, in the order of their first use."""
        once: dict[int, Parameter] = {}
        for node in self.nodes:
            for parameter in node.parameters.values():
                if parameter.kind == "parameter":
                    once.setdefault(id(parameter.tensor), parameter)
        return tuple(once.values())

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _users(self) -> dict[int, tuple[Node, ...]]:
        users: dict[int, list[Node]] = {node.index: [] for node in self.nodes}
        for node in self.nodes:
            for source in dict.fromkeys(node.sources):
                users[source.index].append(node)
        return {index: tuple(nodes) for index, nodes in users.items()}

    def node(self, name: str) -> Node:
        """Return the node of a name.

        Raises:
            UsageError: no node has that name; the message names the nearest.
        """
        if name not in self._by_name:
            raise UsageError(
                f"Graph.node: `name` must be one of the {len(self.nodes)} nodes, got {name!r}."
                f"{nearest(name, self._by_name)} print(graph) lists them."
            )
        return self._by_name[name]

    def users(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes that read a node's value, in the order of execution."""
        return self._users[node.index]

    def value(self, node: Node | str) -> Tensor:
        """Return what a node's output was when it was produced, even if a later call wrote on it.

        Raises:
            UsageError: values were not kept.
        """
        node = self.node(node) if isinstance(node, str) else node
        if node.index not in self._values:
            raise UsageError(
                f"Graph.value: `{node.name}` must have been kept, and was not. Use capture(..., keep_values=True)."
            )
        return self._values[node.index]

    def gradient(self, of: Node | Parameter | str) -> Tensor | None:
        """Return dL/d(node) or dL/d(parameter), L being the loss that `capture` was given.

        Args:
            of: A node, a parameter, or the name of a node. The gradient of a node is that of the value it produced,
                before any in-place call that wrote on it later.

        Returns:
            A tensor of its shape; None where PyTorch sees no way from it to the loss (detached, frozen, integers).

        Raises:
            UsageError: `capture` was given no loss.
        """
        if self._gradients is None:
            raise UsageError(
                "Graph.gradient: `loss` must have been given to have gradients, got none. "
                "Use capture(model, x, loss=lambda output: ...)."
            )
        if isinstance(of, Parameter):
            return self._parameter_gradients.get(id(of.tensor))
        return self._gradients.get((self.node(of) if isinstance(of, str) else of).index)

    def returned(self, values: Mapping[int, Tensor]) -> Any:
        """Return new outputs in the structure in which the network returned its own: a tensor, a tuple, a mapping ...

        Args:
            values: The value of each node of `outputs`, by the index of the node.

        Example:
            >>> from torch import nn
            >>> from striate.graph import capture
            >>> graph = capture(nn.Identity(), torch.ones(2))
            >>> graph.returned({0: torch.zeros(1)})
            tensor([0.])
        """
        from striate.graph._torch_calls import returned

        return returned(self._structure, values)

    @property
    def opaque(self) -> tuple[Node, ...]:
        """The nodes whose operation striate does not know."""
        return tuple(node for node in self.nodes if isinstance(node.op, Opaque))

    def __str__(self) -> str:
        from striate.graph._table import table

        return table(self)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.parameters)} parameters)"
