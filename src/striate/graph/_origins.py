"""Which node a tensor comes from, as it is now, and what must be copied before a call writes on it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.graph import _unseen, _writes
from striate.graph._belongings import Belongings
from striate.graph._calls import storage_key, version
from striate.graph._drafts import Draft, Place
from striate.graph._layouts import Layout
from striate.graph._lengths import Length
from striate.graph._templates import Made, Measured
from striate.graph._torch_calls import TorchCall, call_of
from striate.graph._untouched import Guard
from striate.graph._writes import Write, Writes
from striate.graph.adapters import adapt
from striate.graph.graph import Parameter
from striate.graph.opaque import Constant, Opaque
from striate.ops.op import Op

__all__ = ["Origins"]

SHARED = "Another call wrote on its memory through another tensor."
EARLIER = "Since it was made, a call wrote on a buffer that it was made from."


@dataclass(eq=False, slots=True)
class _Known:
    """A tensor that Python can see: the draft that made it, and how often it had been written on then.

    Without a draft it depends on nothing that matters.
    """

    tensor: weakref.ref[Tensor]
    draft: Draft | None
    version: int
    is_older: bool = False
    """Whether it was there before the run."""
    made: Made | None = None
    """The call that makes it again, where it is no node and not the same in every run."""
    reads: Sequence[tuple[Tensor, int]] = ()
    """Tensors of the network from which it was made, and how often they had been written on."""


class Origins:
    """The drafts of a run, and the tensors that stand for them.

    Args:
        guard: The network's parameters and buffers.
        keep_values: Keep each draft's value as it was when it was produced.
        keep_edges: Remember each draft's place in autograd's graph, to ask for its gradient later.
    """

    def __init__(self, guard: Guard, *, keep_values: bool, keep_edges: bool) -> None:
        self.guard, self.keep_values, self.keep_edges = guard, keep_values, keep_edges
        self.belongings = Belongings(guard)
        self.drafts: list[Draft] = []
        self.place = Place("", None)
        """Where the next draft belongs."""
        self._numbers = 0
        self._known: dict[int, _Known] = {}
        self._writes = Writes()
        self._kept: dict[int, list[Draft]] = {}
        self._functions: dict[object, Draft] = {}
        self._owned: dict[int, Draft] = {}
        self.changing: set[int | None] = set()
        """Memory of constants on which something was written that is not the same in every run."""

    def next_number(self) -> int:
        """Return the number of a new call."""
        self._numbers += 1
        return self._numbers

    def add(self, draft: Draft, tensor: Tensor, *, before: int = 0) -> None:
        """Append a draft whose output a tensor holds; `before` counts the writes on it before an in-place call."""
        draft.index = len(self.drafts)
        self.drafts.append(draft)
        self._known[id(tensor)] = _Known(weakref.ref(tensor), draft, version(tensor))
        if self.keep_values:
            self._keep(draft, draft.parameters["value"].tensor if isinstance(draft.op, Constant) else tensor)
        if tensor.requires_grad:
            if tensor.grad_fn is not None:
                self._functions[tensor.grad_fn] = draft
            if self.keep_edges:
                draft.edge = torch.autograd.graph.get_gradient_edge(tensor)
        if draft.in_place and (key := storage_key(tensor)) is not None:
            self._writes.note(draft, tensor, key=key, before=before)
            self.changing.add(key)

    def pass_over(self, tensor: Tensor, *, made: Made | None = None, reads: Sequence[tuple[Tensor, int]] = ()) -> None:
        """Note a tensor that was made during the run and depends on no input and no parameter."""
        before = self._known.get(id(tensor))
        is_older = before is not None and before.is_older and before.tensor() is tensor
        self._known[id(tensor)] = _Known(weakref.ref(tensor), None, version(tensor), is_older, made, reads)

    def argument(self, tensor: Tensor) -> Draft | None:
        """Return the draft of a call's argument, as it is now; None: the network's own, or a constant."""
        draft = self.source(tensor)
        if draft is not None or self.is_known(tensor) or id(tensor) in self.guard.owners:
            return draft
        if self.is_unseen(tensor):
            return self.operand(tensor)
        self._note_older(tensor)
        return None

    def source(self, tensor: Tensor) -> Draft | None:
        """Return the draft that made a tensor, as it is now; None: no call of this run did."""
        known = self._known.get(id(tensor))
        if known is None or known.tensor() is not tensor or known.draft is None:
            return None
        return known.draft if known.version == version(tensor) else self._changed(tensor, known.draft)

    def operand(self, tensor: Tensor | float, *, like: Tensor | None = None) -> Draft:
        """Return the draft of an operand; parameters, buffers and constants become nodes when first used as one."""
        if not isinstance(tensor, Tensor):
            number, plain = tensor, int.__index__(tensor) if isinstance(tensor, Length) else tensor
            tensor = torch.tensor(plain, dtype=None if like is None else like.dtype)
            draft = self.constant(tensor)
            draft.torch_call = _number_again(number, tensor.dtype) if isinstance(number, Length) else None
        else:
            draft = self.source(tensor) or self._owned.get(id(tensor)) or self._first_use(tensor)
        if draft.index is None:
            self.add(draft, tensor)
        return draft

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter of the network."""
        owner = self.guard.owners.get(id(tensor))
        return owner is not None and owner.kind == "parameter"

    def is_unseen(self, tensor: Tensor) -> bool:
        """Whether a tensor came to be during the run in a way that PyTorch did not show."""
        if self.is_known(tensor) or id(tensor) in self.guard.owners or id(tensor) in self.guard.attributes:
            return False
        return not _unseen.is_older(tensor)

    def is_known(self, tensor: Tensor) -> bool:
        """Whether a tensor was made during the run, or met in it before."""
        known = self._known.get(id(tensor))
        return known is not None and known.tensor() is tensor

    def varying(self, tensor: Tensor) -> int | Made | None:
        """Return the node that a tensor holds, or what makes it, if its shape may differ in another run."""
        known = self._known.get(id(tensor))
        if known is None or known.tensor() is not tensor:
            return None
        if known.draft is None:
            return known.made
        return known.draft.index if known.draft.varies else None

    def has_other_gradient(self, tensor: Tensor, draft: Draft) -> bool:
        """Whether autograd knows a tensor by another function than when a draft was made."""
        return tensor.grad_fn is not None and self._functions.get(tensor.grad_fn) is not draft

    def made(self, tensor: Tensor) -> Made | None:
        """Return the call that makes a tensor again that is no node; None: it is the same in every run."""
        known = self._known.get(id(tensor))
        if known is None or known.tensor() is not tensor:
            return None
        if known.is_older:
            own = self.belongings.own(tensor) if self.belongings.is_written(tensor) else None
            return None if own is None else Made(_writes.read_again(own), 0)
        if known.version != version(tensor) and (known.made is not None or storage_key(tensor) in self.changing):
            return Made(_writes.refused("constant", SHARED), 0)
        if any(self.belongings.state(state) != count for state, count in known.reads):
            return Made(_writes.refused("constant", EARLIER), 0)
        return known.made

    def reads(self, tensor: Tensor) -> Sequence[tuple[Tensor, int]]:
        """Return the network's own tensors that a tensor was made from, each with the count of writes on it then."""
        if self.belongings.own(tensor) is not None:
            return ((tensor, self.belongings.state(tensor)),)
        known = self._known.get(id(tensor))
        return () if known is None else known.reads

    def _note_older(self, tensor: Tensor) -> _Known:
        self.belongings.add_older(tensor)
        known = self._known[id(tensor)] = _Known(weakref.ref(tensor), None, version(tensor), is_older=True)
        return known

    def protect(self, tensors: Sequence[Tensor]) -> None:
        """Copy what a call is about to write on: kept values, constants, and what the network holds."""
        for tensor in tensors:
            key = storage_key(tensor)
            self.belongings.protect(tensor, key)
            if id(tensor) not in self.guard.owners and self.source(tensor) is None:
                self._before_first_write(tensor)
            for draft in self._kept.pop(key, []) if key is not None else []:
                if draft.value is not None:
                    draft.value = draft.value.clone()
                if (held := draft.parameters.get("value")) is not None and held.kind == "constant":
                    draft.parameters["value"] = Parameter("", held.tensor.clone(), "constant")

    def _before_first_write(self, tensor: Tensor) -> None:
        """Remember a tensor that no node made: what it held may become an operand."""
        if self.is_unseen(tensor):
            self.operand(tensor)
            return
        known = self._known.get(id(tensor))
        if known is None or known.is_older or known.tensor() is not tensor:
            self.guard.keep(tensor)
            known = self._note_older(tensor)
        known.draft, known.version = self.constant(tensor), version(tensor)

    def _changed(self, tensor: Tensor, before: Draft) -> Draft:
        """Draft what a tensor became when a call wrote on memory that it shares."""
        call, op = "changed_in_place", _opaque("changed_in_place")
        inputs: tuple[Draft, ...] = (before,)
        writes = self._writes.since(tensor, before)
        count = self._known[id(tensor)].version
        if writes:
            inputs = (before, writes[-1].draft)
            viewed = adapt("view", (tensor, tuple(tensor.shape)), {}, [tensor])[0]
            if viewed is not None and _is_whole(writes[-1], tensor):
                call, op, inputs = "view", viewed.op, (writes[-1].draft,)
        number = self.next_number()
        self.place.calls.append(number)
        draft = Draft(call, op, tuple(tensor.shape), tensor.dtype, self.place, number, inputs=inputs)
        draft.varies = any(source.varies for source in inputs)
        if (own := self.belongings.own(tensor)) is not None:
            draft.torch_call = _writes.read_again(own)
        elif call == "view":
            draft.torch_call = _writes.view_again(tensor, writes[-1], before)
        else:
            draft.torch_call = _writes.patch_again(tensor, writes, before, count=count)
        draft.torch_call.key = number
        self.add(draft, tensor)
        return draft

    def _first_use(self, tensor: Tensor) -> Draft:
        owner = self.guard.owners.get(id(tensor))
        if owner is None and not self.is_unseen(tensor):
            return self.constant(tensor)
        draft = Draft("unseen", _opaque("unseen"), tuple(tensor.shape), tensor.dtype, self.place, self.next_number())
        if owner is None:
            draft.inputs, draft.varies = _unseen.origins(tensor, self._functions), True
            return draft
        draft.call, draft.op, draft.name = owner.kind, Constant(), owner.name
        draft.parameters, draft.is_live = {"value": owner}, owner.kind == "parameter"
        self._owned[id(tensor)] = draft
        return draft

    def constant(self, tensor: Tensor) -> Draft:
        """Return a draft of what a tensor holds now, not yet among the nodes."""
        number = self.next_number()
        draft = Draft("constant", Constant(), tuple(tensor.shape), tensor.dtype, self.place, number, is_live=False)
        draft.parameters = {"value": Parameter("", tensor.detach(), "constant")}
        if (key := storage_key(tensor)) is not None:
            self._kept.setdefault(key, []).append(draft)
        if (made := self.made(tensor)) is not None:
            draft.torch_call, draft.part, draft.varies = made.call, made.output, True
        return draft

    def _keep(self, draft: Draft, tensor: Tensor) -> None:
        draft.value, key = tensor.detach(), storage_key(tensor)
        if key is None:
            draft.value = draft.value.clone()
        else:
            self._kept.setdefault(key, []).append(draft)


def _opaque(call: str) -> Op:
    return Opaque(call)


def _is_whole(write: Write, tensor: Tensor) -> bool:
    """Whether a write was the last one and left what a tensor holds, in the same order."""
    return write.after == version(tensor) and write.layout.holds_what(Layout.of(tensor))


def _number_again(number: Length, dtype: torch.dtype) -> TorchCall:
    return call_of("number", _tensor, Measured(number.form), dtype)


def _tensor(number: int, dtype: torch.dtype) -> Tensor:
    return torch.tensor(number, dtype=dtype)
