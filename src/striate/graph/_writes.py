"""The writes on memory that several tensors share, and how what a tensor became is computed again from their values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from striate.graph._calls import storage_key, version
from striate.graph._drafts import Draft
from striate.graph._layouts import Layout, patched
from striate.graph._lengths import Size
from striate.graph._templates import Given, Measured
from striate.graph._torch_calls import TorchCall, call_of
from striate.graph.graph import Parameter

__all__ = ["Write", "Writes", "read_again", "refused"]


@dataclass(eq=False, slots=True)
class Write:
    """A call that wrote on some memory: through which view, and the count of writes before and after."""

    draft: Draft
    stride: tuple[int, ...]
    offset: int
    before: int
    after: int

    @property
    def layout(self) -> Layout:
        """How the view lay in memory."""
        return Layout(self.draft.shape, self.stride, self.offset, self.draft.dtype)


class Writes:
    """All writes of a run whose results are nodes."""

    def __init__(self) -> None:
        self._by_memory: dict[int, list[Write]] = {}

    def note(self, draft: Draft, tensor: Tensor, *, key: int, before: int) -> None:
        """Note that a draft was written into a tensor with memory `key`, which had been written on `before` times."""
        write = Write(draft, tensor.stride(), int(tensor.storage_offset()), before, version(tensor))
        self._by_memory.setdefault(key, []).append(write)

    def since(self, tensor: Tensor, draft: Draft) -> list[Write]:
        """Return what was written after a draft on the memory of a tensor that holds it, from first to last."""
        key = storage_key(tensor)
        found = [] if key is None else self._by_memory.get(key, [])
        return [write for write in found if (write.draft.index or 0) > (draft.index or 0)]


def view_again(tensor: Tensor, write: Write, before: Draft) -> TorchCall:
    """Return a call that views what was written in the shape of a tensor that shares all of its memory."""
    sizes = tuple(Measured(Size(_index(before), axis)) for axis in range(tensor.ndim))
    written = Given(_index(write.draft))
    return call_of("view", torch.reshape, written, sizes)


def patch_again(tensor: Tensor, writes: list[Write], before: Draft, *, count: int) -> TorchCall:
    """Return a call that puts together what a tensor became from what it was and what was written.

    Args:
        tensor: As it is now.
        writes: All since it was `before`.
        before: What it was.
        count: Of writes on its memory, when it was that.
    """
    counts = [count, *(write.after for write in writes)]
    layout = Layout.of(tensor)
    is_complete = counts[-1] == version(tensor) and [write.before for write in writes] == counts[:-1]
    if not is_complete or any(write.layout.dtype != layout.dtype for write in writes):
        return refused("changed_in_place", "A hidden call wrote on a part of its memory.")
    pairs = [(Given(_index(write.draft)), write.layout) for write in writes]
    return call_of("changed_in_place", patched, Given(_index(before)), layout, *pairs)


def read_again(parameter: Parameter) -> TorchCall:
    """Return a call that reads what a tensor of the network holds."""
    return call_of("read", torch.clone, parameter)


def refused(name: str, reason: str) -> TorchCall:
    """Return a call that cannot be run again."""
    return TorchCall(name, torch.clone, refusal=reason)


def _index(draft: Draft) -> int:
    if draft.index is None:
        raise RuntimeError(f"a call reads `{draft.call}`, which was not recorded")
    return draft.index
