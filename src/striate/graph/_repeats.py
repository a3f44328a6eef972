"""Keeps of each call of a run what is needed to run it again, and finds what cannot be run again."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import UsageError
from striate.graph import _calls
from striate.graph._drafts import AsideDraft, Draft
from striate.graph._lengths import SIZES, Length, Lengths, tensors_of
from striate.graph._origins import Origins
from striate.graph._templates import Fixed, Given, Made, Measured, Slot, arguments, template
from striate.graph._torch_calls import Modes, TorchCall, call_of, fingerprint, nodes_of
from striate.graph.graph import Parameter
from striate.graph.opaque import Constant

__all__ = ["Kept", "Repeats"]

RANDOM = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "uniform", "random",
    "bernoulli", "multinomial", "poisson", "binomial", "exponential", "geometric", "cauchy", "log_normal", "dropout",
    "feature_dropout", "alpha_dropout", "rrelu", "gumbel_softmax", "_standard_gamma", "_sample_dirichlet",
}  # fmt: skip
"""Calls that draw numbers, by their plain names."""

LEADING = {
    "view", "reshape", "expand", "broadcast_to", "repeat", "tile", "zeros", "ones", "full", "empty", "new_zeros",
    "new_ones", "new_full", "new_empty", "rand", "randn", "arange", "randperm",
}  # fmt: skip
"""Calls whose first number may be a number of images that `len` or `int` made plain."""

NORMALIZATIONS = {"batch_norm", "instance_norm", "native_batch_norm"}
"""Calls that write on buffers without PyTorch counting it."""

APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]

SHARED = "It takes a tensor on whose memory another call wrote through another tensor."
NOT_AGAIN = "It takes what a call made on the way of writing on the network's own tensors."


@dataclass(eq=False, slots=True)
class Kept:
    """A call that is about to run."""

    call: TorchCall
    slots: dict[int, Slot] = field(default_factory=dict)
    """By the identity of the tensor."""
    lengths: dict[float, Length] | None = None
    """Arguments that are a number read off a shape, by their value."""
    has_lengths: bool = False

    @property
    def is_same_in_every_run(self) -> bool:
        """Whether nothing that it takes can change."""
        return self.call.refusal is None and all(isinstance(slot, Fixed) for slot in self.slots.values())


class Repeats:
    """The calls of a run, as they can be run again.

    Args:
        origins: Which node made a tensor.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._around = Modes.now()
        self._has_gradients, self._knows_gradients = self._around.has_gradients, True
        """Whether gradients are on, by the calls that were seen to switch them, and whether these are all."""
        self._seeds = _seeds()
        self.lengths = Lengths(origins.drafts)
        self.asides: list[AsideDraft] = []
        self.refusal: str | None = None
        """Why nothing that follows can be run again."""
        self._fixed: list[Fixed] = []
        self._given: dict[int, Given] = {}
        self._own: dict[int, Parameter] = {}
        """The network's own tensors that calls took, by the identity of what stands for them."""
        self.is_over = False
        """Whether the network has run, and what follows is a loss."""

    def free(self, name: str, answer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return what a call about a tensor answered: sizes with their memory, where they may differ in another run."""
        if name == "register_hook":
            self._note_hook(args[0])
        tensor = self._origins.varying(args[0]) if args and isinstance(args[0], Tensor) else None
        if tensor is None or name not in SIZES:
            return answer
        return self.lengths.read(name, answer, tensor=tensor, arguments=(*args[1:], *kwargs.values()))

    def _note_hook(self, tensor: Tensor) -> None:
        """Note that the network's code may change the gradient of a tensor; on its own tensors hooks stay."""
        source = self._origins.source(tensor)
        if source is not None and source.torch_call is not None:
            source.torch_call.hides_gradient = True
        elif self._origins.belongings.own(tensor) is None:
            self.refusal = "Before it, a hook on the gradient of an input was registered."

    def keep(
        self,
        function: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sources: Mapping[int, Draft],
    ) -> Kept:
        """Return a call, before it runs, as it can be run again."""
        modes = Modes.now()
        is_hidden = self._is_hidden(modes)
        if name == "_set_grad_enabled":
            self._knows_gradients, self._has_gradients = self._knows_gradients and not is_hidden, args[0]
        call = TorchCall(name, function, modes=self._around if modes == self._around else modes, around=self._around)
        call.hides_gradient = is_hidden
        kept = Kept(call)
        slots, own = kept.slots, self._own

        def slot(value: Any) -> Slot:
            key = id(value)
            found = slots.get(key)
            if found is None:
                # What belongs to the network and was not written on is the most frequent, and known by its identity.
                found = own.get(key) if key not in sources else None
                slots[key] = found = self._slot(value, sources, kept) if found is None else found
            return found

        call.args, call.kwargs = arguments(args, kwargs, slot)
        if self.lengths.plain and _calls.plain_name(name)[0] in LEADING:
            call.args = self._with_leading_length(call.args, kept)
        if kept.has_lengths:
            kept.lengths = {int.__index__(value): value for value in args if type(value) is Length}
        call.given, call.sized = nodes_of(kept.slots.values())
        if name == "__set__" and getattr(getattr(function, "__self__", None), "__name__", "") == "data":
            self._origins.protect(args[:1])
            self.refusal = "Before it, `data` of a tensor was set."
        call.refusal = call.refusal or self.refusal
        return kept

    def _is_hidden(self, modes: Modes) -> bool:
        """Whether a call runs inside a function that has a backward of its own, or in inference mode.

        There, gradients are off and nobody was seen to switch them off. Once something inside switches them, one has to
        look at who called.
        """
        if not self._around.has_gradients:
            return False
        if self._knows_gradients:
            return modes.has_gradients != self._has_gradients
        return torch.is_inference_mode_enabled() or _is_inside_function()

    def after(
        self, kept: Kept, tensors: Sequence[Tensor], *, returned: Sequence[Tensor], written: Sequence[Tensor],
        added: Sequence[Tensor],
    ) -> None:  # fmt: skip
        """Note what a call did: wrote on its arguments, and which of them are outputs that it did not return."""
        call, origins = kept.call, self._origins
        call.outputs = len(returned) + len(added)
        name, is_in_place = _calls.plain_name(call.name)
        if is_in_place and returned and tensors and returned[0] is tensors[0]:
            written = [*written, tensors[0]]  # `detach_` writes on no number, but on the tensor
        is_training = name in NORMALIZATIONS and _is_training(call)
        if not written and not is_training:
            return
        copied, updates = dict[Slot, None](), dict[Parameter, None]()
        for tensor in written:
            state = origins.belongings.behind(tensor)
            if state is not None and state.kind != "parameter":
                updates[state] = None
                continue
            copied[kept.slots[id(tensor)]] = None
            if state is not None and id(tensor) not in origins.guard.owners:
                origins.belongings.shared.add(state)
                self._own.pop(id(state.tensor), None)
        for tensor in tensors if is_training else ():
            owner = origins.guard.owners.get(id(tensor))
            if owner is not None and owner.kind == "buffer":
                updates[owner] = None
                origins.belongings.touch(tensor)
        call.written, call.updates = tuple(copied), tuple(updates)
        call.added = tuple(kept.slots[id(tensor)] for tensor in added)

    def pass_over(
        self, kept: Kept, tensors: Sequence[Tensor], *, outputs: Sequence[Tensor], written: Sequence[Tensor]
    ) -> None:
        """Note a call that made no node: what it made is a constant, of this run or of all."""
        call, origins = kept.call, self._origins
        is_random = _calls.plain_name(call.name)[0] in RANDOM or call.kwargs.get("generator") is not None
        if call.updates:
            self._aside(call)
        is_fixed = kept.is_same_in_every_run and not is_random
        if not is_fixed:
            call.key = origins.next_number()
            origins.changing |= {_calls.storage_key(tensor) for tensor in written}
        reads = [] if is_fixed else [read for tensor in tensors for read in origins.reads(tensor)]
        for index, tensor in enumerate(outputs):
            if origins.belongings.own(tensor) is not None:
                origins.pass_over(tensor)
                continue
            made = None if is_fixed else Made(call, index)
            if call.updates:
                made = Made(TorchCall(call.name, call.function, refusal=NOT_AGAIN), 0)
            origins.pass_over(tensor, made=made, reads=reads)
            if is_random:  # drawn once in each run, however often it is used
                origins.operand(tensor)

    def check(self, kept: Kept, answer: Any) -> None:
        """Note that Python read numbers: another run must find the same."""
        if not kept.is_same_in_every_run:
            self._aside(kept.call, answer=fingerprint(answer))

    def end(self, output: Any) -> Any:
        """Note which buffers the network replaced, and return its output as a template."""
        self._end_buffers()
        if self._seeds != _seeds():
            refusal = "The forward pass draws random numbers from Python or NumPy, or sets PyTorch's seed."
            self._aside(TorchCall("random", torch.clone, refusal=refusal))
        for name in self._origins.belongings.replaced():
            refusal = f"The forward pass reads the attribute `{name}` and puts another tensor in its place."
            self._aside(TorchCall("attribute", torch.clone, refusal=refusal))
        for c in self.lengths.comparisons.values():
            call = call_of("comparison of sizes", c.operator, Measured(c.left), Measured(c.right))
            self.asides.append(AsideDraft(c.position, call, fingerprint(c.answer)))
        self.asides.sort(key=lambda aside: aside.position)
        return template(output, self._returned)

    def _end_buffers(self) -> None:
        """Note which buffers the network put other tensors in the place of: they take their values, all at once."""
        guard, kept = self._origins.guard, Kept(TorchCall("buffers", _assign))
        pairs = []
        for module, key, stand_in in guard.stand_ins:
            now = module._buffers.get(key)
            if now is not None and now is not stand_in:
                pairs.append((guard.owners[id(stand_in)], self._slot(now, {}, kept)))
        if pairs:
            call = call_of("buffers", _assign, *pairs)
            call.updates, call.refusal = tuple(owner for owner, _ in pairs), kept.call.refusal
            self._aside(call)

    def settle(self) -> None:
        """Take the constants, at the end of the run."""
        for slot in self._fixed:
            slot.settle()
        self.lengths.end()

    def _returned(self, value: Any) -> Slot:
        if type(value) is Length:
            return Measured(value.form)
        return Given(_index(self._origins.operand(value)))

    def _aside(self, call: TorchCall, *, answer: Any = None) -> None:
        if not self.is_over:
            self.asides.append(AsideDraft(len(self._origins.drafts), call, answer))

    def _slot(self, value: Any, sources: Mapping[int, Draft], kept: Kept) -> Slot:
        """Return where a tensor comes from: a node, the network itself, or what was made on the way."""
        origins, call = self._origins, kept.call
        if type(value) is Length:
            kept.has_lengths = True
            return _measured(value, call)
        source = sources.get(id(value))
        own = origins.belongings.own(value)
        if source is None and own is None:
            source = origins.argument(value)
            own = origins.belongings.own(value)
        if source is not None and source.is_live and not isinstance(source.op, Constant):
            if source.torch_call is not None and origins.has_other_gradient(value, source):
                source.torch_call.hides_gradient = True
            return self._node(_index(source))
        if own is not None:
            if own in origins.belongings.shared:
                call.refusal = SHARED
            else:
                self._own[id(value)] = own
            return own
        return self._constant(value, source, call)

    def _constant(self, tensor: Tensor, source: Draft | None, call: TorchCall) -> Slot:
        if source is not None and source.index is not None and source.torch_call is not None:
            return self._node(source.index)
        made = None if source is not None and source.index is not None else self._origins.made(tensor)
        if made is not None:
            call.refusal = call.refusal or made.call.refusal
            return made
        draft = source or self._origins.constant(tensor)
        fixed = Fixed(lambda: draft.parameters["value"].tensor)
        self._fixed.append(fixed)
        return fixed

    def _node(self, index: int) -> Given:
        if index not in self._given:
            self._given[index] = Given(index)
        return self._given[index]

    def _with_leading_length(self, args: tuple[Any, ...], kept: Kept) -> tuple[Any, ...]:
        """Put a length back in the place of the plain number that `len` or `int` made of it, at the head of a shape."""
        at = next((index for index, value in enumerate(args) if not isinstance(value, Slot)), None)
        if at is None:
            return args
        first = args[at]
        if isinstance(first, tuple | list) and first:
            return (*args[:at], self._with_leading_length(tuple(first), kept), *args[at + 1 :])
        if type(first) is not int or first not in self.lengths.plain:
            return args
        length = Measured(self.lengths.plain[first])
        kept.slots[id(length)], kept.has_lengths = length, True
        return (*args[:at], length, *args[at + 1 :])


def _is_training(call: TorchCall) -> bool:
    """Whether a normalisation takes its statistics from the batch: the sixth argument in all its forms."""
    words = call.kwargs.get("training", call.kwargs.get("use_input_stats", True))
    return bool(call.args[5] if len(call.args) > 5 else words)


def _measured(length: Length, call: TorchCall) -> Measured:
    for tensor in tensors_of(length.form):
        if isinstance(tensor, Made):
            call.refusal = call.refusal or tensor.call.refusal
    return Measured(length.form)


def _index(draft: Draft) -> int:
    if draft.index is None:
        raise RuntimeError(f"a call reads `{draft.call}`, which was not recorded")
    return draft.index


def _assign(*pairs: tuple[Tensor, Tensor]) -> None:
    """Give buffers the values that the network's code puts in their place."""
    for buffer, value in pairs:
        if buffer.shape != value.shape:
            raise UsageError(
                f"Aside.run: a buffer must keep its shape {tuple(buffer.shape)}, got {tuple(value.shape)}. "
                "Run the network itself."
            )
    with torch.no_grad():
        copies = [value.clone() for _, value in pairs]  # two buffers may change places
        for (buffer, _), value in zip(pairs, copies, strict=True):
            buffer.copy_(value)


def _is_inside_function() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not APPLY:
        frame = frame.f_back
    return frame is not None


def _seeds() -> tuple[object, ...]:
    """Return what changes when Python or NumPy draw a random number, or a seed of PyTorch is set."""
    numbers: Any = np.random.get_state()  # noqa: NPY002
    parts = numbers if isinstance(numbers, tuple) else (repr(numbers),)
    numpys = [hash(part.tobytes()) if isinstance(part, np.ndarray) else part for part in parts]
    return random.getstate(), numpys, torch.initial_seed()
