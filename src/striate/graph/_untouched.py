"""Run a network and leave it, the random generators and PyTorch as they were."""

from __future__ import annotations

import operator
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph.graph import Parameter

__all__ = ["Guard", "untouched"]


Table = dict[str, Any]

INTERNAL = frozenset(vars(nn.Module()))
"""Attributes that every module has, and that hold no tensor themselves: there are many modules, this is for speed."""


@dataclass(eq=False)
class Guard:
    """What a run needs to know of the network, and what must be put back after it."""

    modules: list[tuple[str, nn.Module]]
    """With their dotted paths."""
    owners: dict[int, Parameter] = field(default_factory=dict)
    """By the identity of the tensor that the run sees: parameters, and the stand-ins of buffers."""
    attributes: set[int] = field(default_factory=set)
    """Identities of tensors that are plain attributes of modules."""
    stand_ins: list[tuple[nn.Module, str, Tensor]] = field(default_factory=list)
    """What took the place of buffers, with the module and the name there."""
    tables: list[tuple[Table, Table]] = field(default_factory=list)
    """Attributes, parameters, buffers and children of each module as they are now and as they were."""
    copies: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)
    """Tensors that were about to be written on, what they held, and their version counter."""

    def keep(self, tensor: Tensor) -> None:
        """Remember what a tensor holds, to be put back."""
        if all(kept is not tensor for kept, _, _ in self.copies):
            self.copies.append((tensor, tensor.detach().clone(), tensor._version))


@contextmanager
def untouched(model: nn.Module) -> Iterator[Guard]:
    """Give a block the network to run; put everything back when it ends, also by an exception.

    Buffers are replaced by copies while the block runs, so the network's own are never written on, and neither their
    values nor their version counters change. Attributes that the forward pass sets are put back, as are training flags
    and `requires_grad`. Of parameters, which may be large, a copy is made only when a call is about to write on one.
    """
    guard, has_gradients = Guard([*model.named_modules()]), torch.is_grad_enabled()
    with ExitStack() as stack:
        stack.enter_context(_random_state())
        stack.enter_context(torch.inference_mode(False))  # its tensors count no writes
        stack.enter_context(torch.set_grad_enabled(has_gradients))  # leaving inference mode has switched them on
        if "torch._dynamo" in sys.modules:  # only then can part of the network be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        _own_parameters(guard)
        stack.callback(_put_back, guard.copies)
        stack.callback(_restore_requires_grad, [(p.tensor, p.tensor.requires_grad) for p in guard.owners.values()])
        guard.tables = _attributes(guard)
        stack.callback(_restore_attributes, guard.tables)
        _stand_in_for_buffers(guard)
        yield guard


def _own_parameters(guard: Guard) -> None:
    for path, module in guard.modules:
        for key, parameter in module._parameters.items():
            name = f"{path}.{key}" if path else key
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise UsageError(
                    f"capture: `model` must have all its parameters, got `{name}` whose shape is not known yet. "
                    "Run the model once on an example, then capture it."
                )
            if parameter is not None:
                guard.owners.setdefault(id(parameter), Parameter(name, parameter))


def _attributes(guard: Guard) -> list[tuple[Table, Table]]:
    """Return the tables of attributes, parameters, buffers and children of each module, and copies of them."""
    tables: list[Table] = []
    for _, module in guard.modules:
        own = vars(module)
        guard.attributes.update(id(v) for key, v in own.items() if key not in INTERNAL and isinstance(v, Tensor))
        if not isinstance(module, torch.jit.ScriptModule):
            tables += [own, own["_parameters"], own["_buffers"], own["_modules"]]
    return [(table, table.copy()) for table in tables]


def _restore_attributes(tables: list[tuple[Table, Table]]) -> None:
    for now, then in tables:
        if now.keys() != then.keys() or not all(map(operator.is_, now.values(), then.values())):
            now.clear()
            now.update(then)


def _restore_requires_grad(parameters: list[tuple[Tensor, bool]]) -> None:
    for tensor, requires_grad in parameters:
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)


def _stand_in_for_buffers(guard: Guard) -> None:
    copies: dict[int, Tensor] = {}
    for path, module in guard.modules:
        for key, buffer in module._buffers.items():
            if buffer is None:
                continue
            name = f"{path}.{key}" if path else key
            if isinstance(module, torch.jit.ScriptModule):  # its buffers live in C++ and cannot be replaced
                guard.keep(buffer)
                guard.owners.setdefault(id(buffer), Parameter(name, buffer, "buffer"))
                continue
            if id(buffer) not in copies:
                copies[id(buffer)] = buffer.detach().clone()
                guard.owners[id(copies[id(buffer)])] = Parameter(name, buffer, "buffer")
            module._buffers[key] = copies[id(buffer)]
            guard.stand_ins.append((module, key, copies[id(buffer)]))


def _put_back(copies: list[tuple[Tensor, Tensor, int]]) -> None:
    with torch.no_grad():
        for tensor, copy, version in copies:
            tensor.copy_(copy)
            # The bits are those of before, so a backward pass that saved them may go on.
            torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))


@contextmanager
def _random_state() -> Iterator[None]:
    """Keep the generators of Python, NumPy and PyTorch, on the CPU and on devices that are in use."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)
