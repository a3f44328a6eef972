"""The network's own tensors, as a run meets them: parameters, stand-ins of buffers, constants from before the run."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from striate.graph._calls import storage_key, version
from striate.graph._untouched import Guard
from striate.graph.graph import Parameter

__all__ = ["Belongings"]


class Belongings:
    """What belongs to the network, and what was written on it.

    Args:
        guard: The network's parameters and buffers.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._older: dict[int, Parameter] = {}
        self._touched: dict[int, int] = {}
        self.shared: set[Parameter] = set()
        """Parameters that were written on through another tensor."""

    def own(self, tensor: Tensor) -> Parameter | None:
        """Return the network's own tensor that a tensor of the run stands for; None: it was made in the run."""
        return self._guard.owners.get(id(tensor)) or self._older.get(id(tensor))

    def behind(self, tensor: Tensor) -> Parameter | None:
        """Return the network's own tensor on whose memory one writes through a tensor."""
        key = storage_key(tensor)
        return self.own(tensor) or (None if key is None else self._by_memory.get(key))

    def add_older(self, tensor: Tensor) -> None:
        """Add a tensor that was there before the run and is neither parameter nor buffer."""
        own = self._older.setdefault(id(tensor), Parameter("", tensor, "constant"))
        if (key := storage_key(tensor)) is not None:
            self._by_memory.setdefault(key, own)

    def state(self, tensor: Tensor) -> int:
        """Return how often one of the network's own tensors has been written on."""
        return version(tensor) + self._touched.get(id(tensor), 0)

    def touch(self, tensor: Tensor) -> None:
        """Note a write that PyTorch does not count."""
        self._touched[id(tensor)] = self._touched.get(id(tensor), 0) + 1

    def is_written(self, tensor: Tensor) -> bool:
        """Whether something may have written on a tensor from before the run."""
        return any(kept is tensor for kept, _, _ in self._guard.copies)

    def protect(self, tensor: Tensor, key: int | None) -> None:
        """Copy what belongs to the network, and is no buffer, before a call writes on its memory, known by `key`."""
        own = self.own(tensor) or (None if key is None else self._by_memory.get(key))
        if own is not None and own.kind != "buffer":
            self._guard.keep(own.tensor)

    def replaced(self) -> list[str]:
        """Return the attributes of modules whose tensors were read and then replaced."""
        tables = self._guard.tables if self._older else ()
        changed = ((name, now.get(name), was) for now, then in tables for name, was in then.items())
        return [name for name, now, was in changed if id(was) in self._older and now is not was]

    @cached_property
    def _by_memory(self) -> dict[int, Parameter]:
        """The network's own tensors by what identifies their memory."""
        tensors = [owner.tensor for owner in self._guard.owners.values() if owner.kind == "parameter"]
        tensors += [stand_in for _, _, stand_in in self._guard.stand_ins]
        keys = ((storage_key(tensor), self.own(tensor)) for tensor in tensors)
        return {key: own for key, own in keys if key is not None and own is not None}
