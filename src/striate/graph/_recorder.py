"""The recorder: sees every call of PyTorch that the network makes, and drafts a node for each that computes something.

It is a `TorchFunctionMode`: PyTorch itself hands it the outermost call (`F.relu`, ``+``, ``torch.cat``), so nothing is
replaced. Which layer a call belongs to is known from hooks on all modules, registered for the time of one run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from striate.graph import _calls, _masks
from striate.graph._drafts import Draft, Place
from striate.graph._lengths import SIZES
from striate.graph._origins import Origins
from striate.graph._repeats import Kept, Repeats
from striate.graph._templates import without_lengths
from striate.graph.adapters import Call, Operand, adapt
from striate.graph.graph import Parameter
from striate.graph.opaque import Input, Opaque

__all__ = ["Failure", "Recorder"]

WATCHED = SIZES | {"register_hook"}
"""Calls about a tensor, not its numbers, that matter when a call runs again."""


@dataclass(eq=False)
class Failure:
    """A call that raised: what `striate.check_shapes` explains."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: Place
    error: Exception
    sources: dict[int, Draft]
    """By the identity of the arguments that the network computed."""


@dataclass(eq=False, slots=True)
class _Ran:
    """A call that has run."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sources: dict[int, Draft]
    """What made its arguments, by their identity."""
    outputs: Sequence[Tensor]
    written: Mapping[int, int]
    """How often each tensor that it wrote on had been written on before, by its identity."""
    kept: Kept


class Recorder(TorchFunctionMode):
    """Draft the nodes of what runs while it is active.

    Args:
        origins: Where the drafts go.
    """

    def __init__(self, origins: Origins) -> None:
        super().__init__()
        self.origins = origins
        self.repeats = Repeats(origins)
        self.read: list[Draft] = []
        self.failure: Failure | None = None
        self.entered: tuple[Place, Any] | None = None
        """The module that was called last, and with what."""
        self._paths = {id(module): path for path, module in origins.guard.modules}
        self._stack = [origins.place]
        self._thread = threading.get_ident()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call of PyTorch and record it."""
        kwargs = kwargs or {}
        name = _calls.call_name(func)
        if name in _calls.FREE:
            answer = func(*args, **kwargs)
            return self.repeats.free(name, answer, args, kwargs) if name in WATCHED else answer
        origins, tensors = self.origins, _calls.tensors_in((args, kwargs))
        origins.protect(_calls.may_write(func, name, args, kwargs))
        sources = {id(t): draft for t in tensors if (draft := origins.argument(t)) is not None}
        kept = self.repeats.keep(func, name, args, kwargs, sources)
        if kept.has_lengths:
            args, kwargs = without_lengths(args), without_lengths(kwargs)
        versions = [_calls.version(t) for t in tensors]
        may_draw = name in _masks.DROPOUTS and (origins.keep_values or origins.keep_edges)
        before = _masks.generator_state(tensors[0]) if may_draw else None
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            self.failure = Failure(name, args, kwargs, self._stack[-1], error, sources)
            raise
        written = {id(t): count for t, count in zip(tensors, versions, strict=True) if _calls.version(t) != count}
        if before is not None and (mask := _masks.drawn_mask(func, args, kwargs, before)) is not None:
            kwargs = {**kwargs, "mask": mask}
        self._after(_Ran(name, args, kwargs, sources, _calls.tensors_in(result), written, kept), tensors, result)
        return result

    @contextmanager
    def modules(self) -> Iterator[None]:
        """Follow which module is running, for the time of a block."""
        handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def begin_loss(self) -> None:
        """Put what follows under the name `loss`."""
        self.repeats.is_over = True
        self._stack = [Place("loss", None, has_children=True)]
        self.origins.place = self._stack[-1]

    def add_input(self, tensor: Tensor, name: str) -> Draft:
        """Make a tensor of the example known."""
        shape, number = tuple(tensor.shape), self.origins.next_number()
        draft = Draft("input", Input(shape), shape, tensor.dtype, self._stack[0], number, name=name, varies=True)
        self.origins.add(draft, tensor)
        return draft

    def _enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        self._stack[-1].has_children = True
        path = self._paths.get(id(module))
        # A module that is not the network's own, as that of a loss, carries no name here.
        self._push(Place(self._stack[-1].path if path is None else path, module, has_children=path is None))
        self.entered = (self._stack[-1], args)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        while len(self._stack) > 1 and self._stack[-1].module is not module:
            self._pop()
        if any(self.origins.is_unseen(t) for t in _calls.tensors_in(output)):
            with torch._C.DisableTorchFunction():  # what follows is no part of the network
                self._record_hidden(module, args, output)
        self._pop()

    def _record_hidden(self, module: nn.Module, args: Any, output: Any) -> None:
        """Record a scripted module, whose inside PyTorch does not show."""
        name = type(module).__name__
        live = {id(t): draft for t in _calls.tensors_in(args) if (draft := self.origins.source(t)) is not None}
        if not live:
            return
        kept = self.repeats.keep(module, name, args, {}, live)
        outputs = [t for t in _calls.tensors_in(output) if self.origins.is_unseen(t)]
        if not _is_all_of_a_script(module, args) or len(outputs) < len(_calls.tensors_in(output)):
            kept.call.refusal = "PyTorch does not show what happens in it."
        kept.call.outputs = len(outputs)
        self._record(_Ran(name, args, {}, live, outputs, {}, kept))

    def _push(self, place: Place) -> None:
        self._stack.append(place)
        self.origins.place = place

    def _pop(self) -> None:
        if len(self._stack) > 1:
            self._stack.pop()
            self.origins.place = self._stack[-1]

    def _after(self, ran: _Ran, tensors: Sequence[Tensor], result: Any) -> None:
        """Record a call, if it computed something from the input or from a parameter."""
        is_live = any(draft.is_live for draft in ran.sources.values()) or any(map(self.origins.is_parameter, tensors))
        written = [t for t in tensors if id(t) in ran.written] if ran.written else []
        added = self._written_only(ran, written)
        self.repeats.after(ran.kept, tensors, returned=ran.outputs, written=written, added=added)
        ran.outputs = [*ran.outputs, *added] if added else ran.outputs
        if ran.name in _calls.READS:
            self.read += [draft for draft in ran.sources.values() if draft.is_live or draft.torch_call]
        if ran.name in _calls.READS or isinstance(result, int | float | complex):
            self.repeats.check(ran.kept, result)
        if not is_live or ran.name in _calls.VALUELESS:
            self.repeats.pass_over(ran.kept, tensors, outputs=ran.outputs, written=written)
        elif ran.outputs:
            self._record(ran)

    def _written_only(self, ran: _Ran, written: Sequence[Tensor]) -> list[Tensor]:
        """Return what a call wrote on and did not return, as ``x[i] = y`` does; of each memory the first tensor.

        Running statistics are written on the way by calls that return something else.
        """
        if not written:
            return []
        returned = {id(t) for t in ran.outputs}
        covered = {_calls.storage_key(t) for t in ran.outputs}
        found = []
        for tensor in written:
            key = _calls.storage_key(tensor)
            is_statistic = bool(returned) and id(tensor) in self.origins.guard.owners
            if id(tensor) not in returned and key not in covered and not is_statistic:
                found.append(tensor)
            covered.add(key)
        return found

    def _record(self, ran: _Ran) -> None:
        """Draft one node for each output of a call."""
        origins, name = self.origins, _calls.plain_name(ran.name)[0]
        first, owners = id(ran.outputs[0]), origins.guard.owners
        if name in _calls.MAY_DO_NOTHING and not ran.written and (first in ran.sources or first in owners):
            return  # `contiguous` on a contiguous tensor hands it back
        number = ran.kept.call.key = origins.next_number()
        varies = any(source.varies for source in ran.sources.values())
        drafts = []
        for index, call in enumerate(adapt(name, ran.args, ran.kwargs, ran.outputs)):
            tensor, output = ran.outputs[index], index if len(ran.outputs) > 1 else None
            call = call or self._opaque_call(name, ran, output=output)
            draft = Draft(name, call.op, tuple(tensor.shape), tensor.dtype, self._stack[-1], number, output=output)
            draft.in_place, draft.varies = id(tensor) in ran.written, varies
            draft.torch_call, draft.part = ran.kept.call, index
            draft.inputs = tuple(self._input(operand, tensor, ran) for operand in call.inputs)
            for key, parameter in call.parameters.items():
                self._bind(draft, key, parameter, ran.sources)
            drafts.append(draft)
        self._stack[-1].calls.append(number)
        for draft, tensor in zip(drafts, ran.outputs, strict=True):
            origins.add(draft, tensor, before=ran.written.get(id(tensor), 0))

    def _input(self, operand: Operand, output: Tensor, ran: _Ran) -> Draft:
        draft = ran.sources.get(id(operand))
        if not isinstance(operand, Tensor):
            lengths = ran.kept.lengths or {}
            return self.origins.operand(lengths.get(operand, operand), like=output)
        if draft is None:
            return self.origins.operand(operand, like=output)
        if draft.index is None:  # a constant that is used for the first time, and may have been written on by now
            self.origins.add(draft, operand)
        return draft

    def _bind(self, draft: Draft, key: str, tensor: Tensor, sources: dict[int, Draft]) -> None:
        """Give a draft a parameter: the network's own, a constant, or what another node computed."""
        source = sources.get(id(tensor))
        if source is not None and source.is_live:
            draft.computed[key] = source
        else:
            owner = self.origins.guard.owners.get(id(tensor))
            draft.parameters[key] = owner or Parameter("", tensor, "constant")

    def _opaque_call(self, name: str, ran: _Ran, *, output: int | None) -> Call:
        """Describe a call that no adapter knows: the network's own tensors are parameters, by the end of their name."""
        inputs: list[Tensor] = []
        parameters: dict[str, Tensor] = {}
        for tensor in _calls.tensors_in((ran.args, ran.kwargs)):
            owner = self.origins.guard.owners.get(id(tensor))
            if owner is None or id(tensor) in ran.sources:
                inputs.append(tensor)
                continue
            short = owner.name.rpartition(".")[2]
            taken = parameters.get(short)
            parameters[short if taken is None or taken is tensor else owner.name] = tensor
        return Call(Opaque(name, _calls.scalars(ran.args, ran.kwargs), output), tuple(inputs), parameters)


def _is_all_of_a_script(module: nn.Module, args: tuple[Any, ...]) -> bool:
    """Whether a module is scripted and was called with these arguments alone; of keywords a hook knows nothing."""
    if not isinstance(module, torch.jit.ScriptModule):
        return False
    schema: Any = getattr(module.forward, "schema", None)
    return schema is not None and len(schema.arguments) == 1 + len(args)  # one more for `self`
