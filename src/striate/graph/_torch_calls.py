"""A call of PyTorch that can be run again: the function, and its arguments with slots in the place of tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import UsageError
from striate.graph._calls import plain_name, storage_key, tensors_in
from striate.graph._lengths import measured, tensors_of
from striate.graph._templates import SLOTS, Fixed, Given, Made, Measured, Slot, filled
from striate.graph.graph import Node, Parameter
from striate.ops.op import Shape

__all__ = ["Modes", "TorchCall", "call_of", "fingerprint", "nodes_of", "picked_from", "returned"]

PICKING = {"getitem", "setitem", "select", "narrow"}
"""Calls that pick from an axis by number."""

Autocast = tuple[str, bool, torch.dtype]
DEVICES = ("cpu", "cuda")
"""Where autocasting is looked for."""


@dataclass(frozen=True, slots=True)
class Modes:
    """How PyTorch was set when a call ran."""

    has_gradients: bool
    autocast: tuple[Autocast, ...] = ()
    """On each device, where it was on."""

    @classmethod
    def now(cls) -> Modes:
        """Return how PyTorch is set."""
        if not torch._C._is_any_autocast_enabled():
            return WITH if torch.is_grad_enabled() else WITHOUT
        states = ((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in DEVICES)
        return cls(torch.is_grad_enabled(), tuple(state for state in states if state[1]))

    def set(self, stack: ExitStack, *, around: Modes) -> None:
        """Set PyTorch so, where it is not for the caller: without gradients, or otherwise than around the network."""
        if not self.has_gradients or not around.has_gradients:
            stack.enter_context(torch.set_grad_enabled(self.has_gradients))
        if self.autocast != around.autocast:
            on = {device: dtype for device, _, dtype in self.autocast}
            for device in DEVICES if torch.cuda.is_available() else DEVICES[:1]:
                stack.enter_context(torch.autocast(device, on.get(device), enabled=device in on))


WITH, WITHOUT = Modes(has_gradients=True), Modes(has_gradients=False)


@dataclass(eq=False, slots=True)
class TorchCall:
    """A call that ran, as it can be run again.

    The arguments are a template. What the call wrote on and made is known once it has run.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    given: tuple[int, ...] = ()
    """The nodes whose values it takes, of calls inside it too, each once; until they are `nodes`."""
    sized: tuple[int, ...] = ()
    """The nodes whose sizes it takes, each once; until they are `sized_nodes`."""
    nodes: tuple[Node, ...] = ()
    sized_nodes: tuple[Node, ...] = ()
    """Without those of `nodes`."""
    modes: Modes = WITH
    around: Modes = WITH
    key: int = 0
    """Of all that the call made the same, and of no other call."""
    written: tuple[Slot, ...] = ()
    """What it writes on and must not: it gets copies."""
    added: tuple[Slot, ...] = ()
    """What it wrote on and did not return, as ``x[i] = y`` does: its outputs after those that it returned."""
    outputs: int = 1
    updates: tuple[Parameter, ...] = ()
    """What of the network it writes on, as it should: buffers, and constants kept in a module."""
    hides_gradient: bool = False
    """Whether what it makes has a gradient that is not that of the call, as in a function with its own backward."""
    refusal: str | None = None
    """Why it cannot be run again."""

    def result(self, values: Mapping[int, Tensor]) -> Any:
        """Run it on new values, by the index of their node, and return what the function returns."""
        return _Filling(values).run(self)[0]

    def run(self, values: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        """Run it on new values and return its outputs."""
        return _Filling(values).outputs(self)


def call_of(name: str, function: Callable[..., Any], *args: Any) -> TorchCall:
    """Return a call that striate makes itself, whose slots stand among its arguments or one level inside them.

    Example:
        >>> call_of("view", torch.reshape, Given(2), (Measured(3), -1)).given
        (2,)
    """
    inside = [value for arg in args for value in (arg if isinstance(arg, tuple) else (arg,))]
    slots = tuple(value for value in inside if isinstance(value, SLOTS))
    given, sized = nodes_of(slots)
    return TorchCall(name, function, args, given=given, sized=sized)


def nodes_of(slots: Collection[Slot]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the nodes whose values slots take, and those whose sizes they take."""
    given = dict.fromkeys([slot.node for slot in slots if type(slot) is Given])
    sized, made = dict[int, None](), [slot for slot in slots if type(slot) is Made]
    for form in [slot.form for slot in slots if type(slot) is Measured]:
        tensors = [*tensors_of(form)]
        sized |= dict.fromkeys(tensor for tensor in tensors if isinstance(tensor, int))
        made += [tensor for tensor in tensors if isinstance(tensor, Made)]
    for inner in made:
        given |= dict.fromkeys(inner.call.given)
        sized |= dict.fromkeys(inner.call.sized)
    return tuple(given), tuple(sized)


class _Filling:
    """One run of a call and of those inside it, each of which runs once."""

    def __init__(self, values: Mapping[int, Tensor]) -> None:
        self._values = values
        self._made: dict[int, tuple[Tensor, ...]] = {}

    def outputs(self, call: TorchCall) -> tuple[Tensor, ...]:
        result, written = self.run(call)
        found = [*tensors_in(result), *(written[slot] if slot in written else self.value(slot) for slot in call.added)]
        if call.updates:  # a buffer may be written on again later: what is handed out must stay
            own = {storage_key(parameter.tensor) for parameter in call.updates}
            found = [tensor.clone() if storage_key(tensor) in own else tensor for tensor in found]
        return tuple(found)

    def run(self, call: TorchCall) -> tuple[Any, dict[Slot, Tensor]]:
        """Return the result, and the copies that were written on."""
        if call.refusal is not None:
            raise UsageError(f"Replay.run: `{call.name}` must be a call that can be run again. {call.refusal}")
        if call.hides_gradient and torch.is_grad_enabled() and self._needs_gradient(call):
            raise UsageError(
                f"Replay.run: `{call.name}` must run without gradients, got a tensor that needs one: the gradient is "
                "not that of the call (`torch.autograd.Function`, a checkpoint, a hook). Use torch.no_grad()."
            )
        with ExitStack() as stack:
            if not call.around.has_gradients:
                stack.enter_context(torch.no_grad())
            return self._run(call, stack)

    def _run(self, call: TorchCall, stack: ExitStack) -> tuple[Any, dict[Slot, Tensor]]:
        # Gradients flow through the copies, also where the call runs without: so they do in the network.
        written: dict[Slot, Tensor] = {slot: self.value(slot).clone() for slot in call.written}

        def fill(slot: Slot) -> Any:
            return written[slot] if slot in written else self.value(slot)

        args, kwargs = filled(call.args, fill), filled(call.kwargs, fill)
        call.modes.set(stack, around=call.around)
        return call.function(*args, **kwargs), written

    def value(self, slot: Slot) -> Any:
        if isinstance(slot, Given):
            return self._values[slot.node]
        if isinstance(slot, Parameter):
            return slot.tensor
        if isinstance(slot, Measured):
            return measured(slot.form, self._shape)
        if isinstance(slot, Made):
            if id(slot.call) not in self._made:
                self._made[id(slot.call)] = self.outputs(slot.call)
            return self._made[id(slot.call)][slot.output]
        if not isinstance(slot, Fixed) or slot.tensor is None:
            raise RuntimeError(f"a call takes a {type(slot).__name__} that was not settled")
        return slot.tensor

    def _needs_gradient(self, call: TorchCall) -> bool:
        tensors = tensors_in((filled(call.args, self.value), filled(call.kwargs, self.value)))
        return any(tensor.requires_grad for tensor in tensors)

    def _shape(self, tensor: int | Made) -> Shape:
        return tuple((self.value(tensor) if isinstance(tensor, Made) else self._values[tensor]).shape)


def returned(structure: Any, values: Mapping[int, Tensor]) -> Any:
    """Return what a network returns, as a template and the values of nodes make it."""
    return filled(structure, _Filling(values).value)


def fingerprint(answer: Any) -> tuple[str, tuple[int, ...], int]:
    """Return what numbers that Python read are compared by, without keeping them."""
    array = np.asarray(answer)
    return str(array.dtype), array.shape, hash(array.tobytes())


def picked_from(call: TorchCall) -> int | None:
    """Return the node from whose first axis a call picks by plain numbers, as ``x[0]`` and ``x[:2]`` do."""
    name, args = plain_name(call.name)[0], call.args
    if name not in PICKING or len(args) < 2 or not isinstance(args[0], Given):
        return None
    if name in {"select", "narrow"}:
        picks = args[1] == 0 and any(type(value) is int for value in args[2:])
    else:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        first = next((value for value in index if value is not None), None)
        parts = (
            (first.start, first.stop) if isinstance(first, slice) else first if isinstance(first, list) else (first,)
        )
        picks = any(type(value) is int for value in parts)
    return args[0].node if picks else None
