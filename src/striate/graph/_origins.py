"""Which node a tensor comes from, as it is now, and what must be copied before a call writes on it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.graph import _unseen
from striate.graph._calls import storage_key, version
from striate.graph._drafts import Draft, Place
from striate.graph._untouched import Guard
from striate.graph.adapters import adapt
from striate.graph.graph import Parameter
from striate.graph.opaque import Constant, Opaque
from striate.ops.op import Op

__all__ = ["Origins"]


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


@dataclass(eq=False)
class _Written:
    """The last call that wrote on some memory, and which part of it, in order."""

    draft: Draft
    part: tuple[int, bool, int]


class Origins:
    """The drafts of a run, and the tensors that stand for them.

    Args:
        guard: The network's parameters and buffers.
        keep_values: Keep each draft's value as it was when it was produced.
        keep_edges: Remember each draft's place in autograd's graph, to ask for its gradient later.
    """

    def __init__(self, guard: Guard, *, keep_values: bool, keep_edges: bool) -> None:
        self.guard, self.keep_values, self.keep_edges = guard, keep_values, keep_edges
        self.drafts: list[Draft] = []
        self.place = Place("", None)
        """Where the next draft belongs."""
        self._numbers = 0
        self._known: dict[int, _Known] = {}
        self._written: dict[int, _Written] = {}
        self._kept: dict[int, list[Draft]] = {}
        self._functions: dict[object, Draft] = {}
        self._owned: dict[int, Draft] = {}

    def next_number(self) -> int:
        """Return the number of a new call."""
        self._numbers += 1
        return self._numbers

    def add(self, draft: Draft, tensor: Tensor) -> None:
        """Append a draft whose output a tensor holds."""
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
            self._written[key] = _Written(draft, _part(tensor))

    def pass_over(self, tensor: Tensor) -> None:
        """Note a tensor that was made during the run and depends on nothing that matters."""
        self._known[id(tensor)] = _Known(weakref.ref(tensor), None, version(tensor))

    def argument(self, tensor: Tensor) -> Draft | None:
        """Return the draft of a call's argument, as it is now; None: the network's own, or a constant."""
        draft = self.source(tensor)
        if draft is not None or self.is_known(tensor) or id(tensor) in self.guard.owners:
            return draft
        if self.is_unseen(tensor):
            return self.operand(tensor)
        self._known[id(tensor)] = _Known(weakref.ref(tensor), None, version(tensor), is_older=True)
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
            tensor = torch.tensor(tensor, dtype=None if like is None else like.dtype)
            draft = self._constant(tensor)
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

    def protect(self, tensors: Sequence[Tensor]) -> None:
        """Copy what a call is about to write on: kept values, constants, and what the network holds."""
        for tensor in tensors:
            if self.is_parameter(tensor):
                self.guard.keep(tensor)
            elif id(tensor) not in self.guard.owners and self.source(tensor) is None:
                self._before_first_write(tensor)
            key = storage_key(tensor)
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
        self._known[id(tensor)] = _Known(weakref.ref(tensor), self._constant(tensor), version(tensor))

    def _changed(self, tensor: Tensor, before: Draft) -> Draft:
        """Draft what a tensor became when a call wrote on memory that it shares."""
        key = storage_key(tensor)
        written = None if key is None else self._written.get(key)
        call, op = "changed_in_place", _opaque("changed_in_place")
        inputs: tuple[Draft, ...] = (before,)
        if written is not None and (written.draft.index or 0) > (before.index or 0):
            inputs = (before, written.draft)
            viewed = adapt("view", (tensor, tuple(tensor.shape)), {}, [tensor])[0]
            if viewed is not None and written.part == _part(tensor):
                call, op, inputs = "view", viewed.op, (written.draft,)
        number = self.next_number()
        self.place.calls.append(number)
        draft = Draft(call, op, tuple(tensor.shape), tensor.dtype, self.place, number, inputs=inputs)
        self.add(draft, tensor)
        return draft

    def _first_use(self, tensor: Tensor) -> Draft:
        owner = self.guard.owners.get(id(tensor))
        if owner is None and not self.is_unseen(tensor):
            return self._constant(tensor)
        draft = Draft("unseen", _opaque("unseen"), tuple(tensor.shape), tensor.dtype, self.place, self.next_number())
        if owner is None:
            draft.inputs = _unseen.origins(tensor, self._functions)
            return draft
        draft.call, draft.op, draft.name = owner.kind, Constant(), owner.name
        draft.parameters, draft.is_live = {"value": owner}, owner.kind == "parameter"
        self._owned[id(tensor)] = draft
        return draft

    def _constant(self, tensor: Tensor) -> Draft:
        number = self.next_number()
        draft = Draft("constant", Constant(), tuple(tensor.shape), tensor.dtype, self.place, number, is_live=False)
        draft.parameters = {"value": Parameter("", tensor.detach(), "constant")}
        if (key := storage_key(tensor)) is not None:
            self._kept.setdefault(key, []).append(draft)
        return draft

    def _keep(self, draft: Draft, tensor: Tensor) -> None:
        draft.value, key = tensor.detach(), storage_key(tensor)
        if key is None:
            draft.value = draft.value.clone()
        else:
            self._kept.setdefault(key, []).append(draft)


def _opaque(call: str) -> Op:
    return Opaque(call)


def _part(tensor: Tensor) -> tuple[int, bool, int]:
    """Return what two views of one memory have in common when both hold the same values in the same order."""
    return tensor.data_ptr(), tensor.is_contiguous(), tensor.numel()
