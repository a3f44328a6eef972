"""How PyTorch's calls look: their names, the tensors in their arguments, whether they write on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

__all__ = [
    "FREE",
    "MAY_DO_NOTHING",
    "PLAIN",
    "READS",
    "VALUELESS",
    "call_name",
    "may_write",
    "scalars",
    "storage_key",
    "tensors_in",
    "version",
]

FREE = {
    "shape", "size", "dim", "ndim", "numel", "nelement", "dtype", "device", "layout", "requires_grad", "is_leaf",
    "grad_fn", "is_cuda", "is_cpu", "is_sparse", "is_quantized", "is_meta", "is_mkldnn", "is_floating_point",
    "is_complex", "is_contiguous", "stride", "storage_offset", "element_size", "data_ptr", "untyped_storage", "names",
    "__len__", "__hash__", "requires_grad_", "retain_grad", "register_hook", "_version",
}  # fmt: skip
"""Calls about a tensor, not about its numbers: no node."""

READS = {
    "item", "tolist", "numpy", "is_nonzero", "equal", "allclose", "__array__", "__bool__", "__float__", "__int__",
    "__index__", "__contains__",
}  # fmt: skip
"""Calls that hand a tensor's numbers to Python."""

VALUELESS = {
    "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "zeros_like", "ones_like", "full_like",
    "empty_like", "rand_like", "randn_like", "randint_like",
}  # fmt: skip
"""Calls whose result has the tensor's type and no more: a constant."""

MAY_DO_NOTHING = {
    "contiguous", "to", "type", "float", "double", "half", "bfloat16", "cpu", "cuda", "expand", "expand_as",
}  # fmt: skip
"""Calls that hand back the very tensor they were given where there is nothing to do: then they are no node."""

PLAIN = frozenset({int, float, bool, str, complex, type(None), torch.dtype, torch.device, torch.layout, type(...)})
"""Types of arguments in which no tensor hides."""
SEQUENCES = (tuple, list)


def call_name(func: Any) -> str:
    """Return the name of a call: of a function, a method, an attribute or a registered operation.

    Example:
        >>> import torch
        >>> call_name(torch.relu_), call_name(torch.Tensor.__rsub__), call_name(torch.Tensor.T.__get__)
        ('relu_', '__rsub__', 'T')
    """
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        name = getattr(func.__self__, "__name__", name)
    if isinstance(func, OpOverload):
        name = name.partition(".")[0]
    return name


@cache
def plain_name(name: str) -> tuple[str, bool]:
    """Return a call's name without the marks of operators and of in-place calls, and whether it had the latter.

    Example:
        >>> plain_name("__iadd__"), plain_name("relu_"), plain_name("__rsub__"), plain_name("cat")
        (('add', True), ('relu', True), ('rsub', False), ('cat', False))
    """
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        if name in {"iadd", "isub", "imul", "idiv", "itruediv", "ipow", "iand", "ior", "ixor"}:
            return name[1:], True
        return name, name == "setitem"
    return (name[:-1], True) if name.endswith("_") and not name.startswith("_") else (name, False)


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in a value, from first to last: itself, or in sequences, mappings and dataclasses."""
    found: list[Tensor] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Tensor]) -> None:
    # The order is that of frequency: this runs several times for every call of the network.
    kind = type(value)
    if kind in PLAIN:
        return
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, SEQUENCES):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, found)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            _collect(getattr(value, entry.name), found)


def may_write(func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that a call may write on; too many rather than too few.

    In-place calls write on their first argument, as functions with ``inplace=True`` do (by position too: ``F.relu(x,
    True)``), others on ``out``; of a registered operation one would have to read the schema, so all are taken.
    """
    if isinstance(func, OpOverload | OpOverloadPacket):
        return tensors_in((args, kwargs))
    out = tensors_in(kwargs.get("out"))
    if plain_name(name)[1] or kwargs.get("inplace") or any(value is True for value in args):
        return [*tensors_in((args, kwargs))[:1], *out]
    return out


def version(tensor: Tensor) -> int:
    """Return how often a tensor's memory was written on, through it or through a view."""
    try:
        return tensor._version
    except RuntimeError:  # tensors of inference mode have no counter
        return 0


def storage_key(tensor: Tensor) -> int | None:
    """Return what identifies a tensor's memory while it lives; None where it has none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
        return None


def scalars(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the arguments of a call that hold no tensor, each with its position or keyword.

    Example:
        >>> scalars((3, [1, 2]), {"dim": 0})
        (('0', 3), ('1', (1, 2)), ('dim', 0))
    """
    named = [*((str(index), value) for index, value in enumerate(args)), *kwargs.items()]
    plain = ((key, _plain(value)) for key, value in named)
    return tuple((key, value) for key, value in plain if value is not NotImplemented)


def _plain(value: Any) -> Any:
    """Return numbers, words, None, slices and sequences of them as they can be compared; else `NotImplemented`."""
    if value is None or value is Ellipsis or isinstance(value, int | float | complex | str):
        return value
    if isinstance(value, slice):
        return ("slice", _plain(value.start), _plain(value.stop), _plain(value.step))
    if isinstance(value, list | tuple):
        items = tuple(_plain(item) for item in value)
        return NotImplemented if any(item is NotImplemented for item in items) else items
    return str(value) if type(value).__module__ == "torch" and not hasattr(value, "shape") else NotImplemented
