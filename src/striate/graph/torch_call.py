"""Calls of a captured run, run again in PyTorch: on new values, with gradients, on another number of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from striate.errors import UsageError
from striate.graph._torch_calls import TorchCall, fingerprint, picked_from
from striate.graph.graph import Node, Parameter

__all__ = ["Aside", "Replay"]


@dataclass(frozen=True, eq=False)
class Replay:
    """The call that made a node, run again as PyTorch ran it.

    It takes the values of other nodes, and the network's own parameters and buffers as they are at that time. Gradients
    flow through it, and random calls draw again. It writes on none of the values, and on no parameter; buffers that the
    call updates, as a batch normalisation in training does, are updated.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), torch.ones(1, 2))
        >>> replay = graph.node("1").replay
        >>> [node.name for node in replay.nodes]
        ['0']
        >>> replay.run({graph.node("0").index: torch.tensor([[-1.0, 2.0], [3.0, -4.0]])})[replay.output]
        tensor([[0., 2.],
                [3., 0.]])
    """

    output: int
    """Which of the call's outputs the node is."""
    _call: TorchCall = field(repr=False)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes whose values it takes, each once."""
        return self._call.nodes

    @property
    def sized(self) -> tuple[Node, ...]:
        """The nodes of whose values it takes no more than the shape, each once; none of `nodes`."""
        return self._call.sized_nodes

    @property
    def key(self) -> int:
        """Equal for the nodes of one call, whose outputs can come from one run."""
        return self._call.key

    @property
    def is_differentiable(self) -> bool:
        """Whether gradients flow through it as in the network.

        Where the network was captured without gradients none flows; of calls inside a function with a backward of
        its own, `run` refuses tensors that need one.
        """
        return self._call.around.has_gradients and not self._call.hides_gradient

    @property
    def writes(self) -> tuple[Parameter, ...]:
        """The network's own tensors that it updates: buffers, and constants that the forward pass writes on."""
        return self._call.updates

    def run(self, values: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Run the call and return all its outputs; that of the node stands at `output`.

        Args:
            values: By the index of the node, for all of `nodes`, and for `sized`, where any tensor of the right shape
                will do.

        Raises:
            UsageError: a value is missing; or there is another number of images than in the captured run, and the call
                cannot be run on it. What else PyTorch raises is passed on.
        """
        _check_given(values, (*self.nodes, *self.sized), what="Replay.run")
        self._check_picked(values)
        outputs = self._call.run(values)
        if len(outputs) != self._call.outputs:
            raise UsageError(
                f"Replay.run: `{self._call.name}` must return {self._call.outputs} tensors as in the captured run, got "
                f"{len(outputs)}. Capture the network with this number of images."
            )
        return outputs

    def _check_picked(self, values: Mapping[int, Tensor]) -> None:
        """Refuse to pick images by plain numbers out of another number of them: a loop may have counted to it."""
        index = picked_from(self._call)
        for node in self.nodes:
            if node.index == index and values[index].shape[:1] != node.output_shape[:1]:
                raise UsageError(
                    f"Replay.run: `{node.name}` must have the first axis of the captured run, {node.output_shape[0]}, "
                    f"got {len(values[index])}, because `{self._call.name}` picks from it by number. "
                    "Capture the network with this number of images."
                )


@dataclass(frozen=True, eq=False)
class Aside:
    """A call that made no node and counts all the same when a run is repeated.

    It writes on buffers (`num_batches_tracked.add_`), or it is a check: Python decided something on a number or on a
    size, or computed with it, and what it found in the captured run must be found again.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.BatchNorm1d(3), torch.ones(2, 3))
        >>> [(aside.call, aside.position, aside.is_check) for aside in graph.asides]
        [('add_', 1, False)]
        >>> [parameter.name for parameter in graph.asides[0].writes]
        ['num_batches_tracked']
    """

    position: int
    """How many nodes of the graph were there when it ran: it comes before the node of this index."""
    _call: TorchCall = field(repr=False)
    _answer: Any = field(default=None, repr=False)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes whose values it takes, each once."""
        return self._call.nodes

    @property
    def sized(self) -> tuple[Node, ...]:
        """The nodes of whose values it takes no more than the shape, each once; none of `nodes`."""
        return self._call.sized_nodes

    @property
    def call(self) -> str:
        """The name in PyTorch."""
        return self._call.name

    @property
    def writes(self) -> tuple[Parameter, ...]:
        """The network's own tensors that it updates."""
        return self._call.updates

    @property
    def is_check(self) -> bool:
        """Whether it asks if Python would find what it found, and writes on nothing."""
        return self._answer is not None

    @property
    def refusal(self) -> str | None:
        """Why it cannot be run again; None: it can."""
        return self._call.refusal

    def run(self, values: Mapping[int, Tensor]) -> None:
        """Run it on new values, by the index of the node.

        Raises:
            UsageError: a value is missing; or a check finds something else than in the captured run.
        """
        _check_given(values, (*self.nodes, *self.sized), what="Aside.run")
        result = self._call.result(values)
        if self._answer is not None and fingerprint(result) != self._answer:
            names = ", ".join(f"`{node.name}`" for node in (*self.nodes, *self.sized)) or "a buffer"
            raise UsageError(
                f"Aside.run: `{self.call}` of {names} must answer as in the captured run, got {result!r}: Python read "
                "it, and what followed may depend on it. Run the network itself, or capture it on this input."
            )


def _check_given(values: Mapping[int, Tensor], nodes: tuple[Node, ...], *, what: str) -> None:
    for node in nodes:
        if node.index not in values:
            raise UsageError(
                f"{what}: `values` must hold the value of `{node.name}` under {node.index}, got none. Run it first."
            )
