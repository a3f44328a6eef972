"""The arguments of a call with slots in the place of tensors, to be filled again with other tensors."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from striate.graph._calls import PLAIN
from striate.graph._lengths import Form, Length
from striate.graph.graph import Parameter

if TYPE_CHECKING:
    from striate.graph._torch_calls import TorchCall

__all__ = ["SLOTS", "Fixed", "Given", "Made", "Measured", "Slot", "arguments", "filled", "template", "without_lengths"]


class Given:
    """The value of a node."""

    __slots__ = ("node",)

    def __init__(self, node: int) -> None:
        self.node = node


class Fixed:
    """A tensor that was made in the run and would be the same in every run.

    Args:
        held: Gives the tensor once the run is over; until then a later call may write on it, and a copy take its place.
    """

    __slots__ = ("_held", "tensor")

    def __init__(self, held: Callable[[], Tensor]) -> None:
        self._held: Callable[[], Tensor] | None = held
        self.tensor: Tensor | None = None

    def settle(self) -> None:
        """Take the tensor, at the end of the run."""
        if self._held is not None:
            self.tensor, self._held = self._held(), None


class Made:
    """What a call made that is no node, and that must be made again: zeros in the shape of a node, a sum of buffers."""

    __slots__ = ("call", "output")

    def __init__(self, call: TorchCall, output: int) -> None:
        self.call, self.output = call, output


class Measured:
    """A number read off the shapes of nodes."""

    __slots__ = ("form",)

    def __init__(self, form: Form) -> None:
        self.form = form


Slot = Given | Fixed | Made | Measured | Parameter
"""A place in a template. A `Parameter` stands for the tensor of the network that it holds."""
SLOTS = (Given, Fixed, Made, Measured, Parameter)


@dataclasses.dataclass(frozen=True, slots=True)
class _Fields:
    """A dataclass, or another class that is made from named parts."""

    kind: type
    fields: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Sequence:
    """A tuple with names that is made from one sequence."""

    kind: type
    items: list[Any]


NONE: dict[str, Any] = {}


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any], slot: Callable[[Any], Slot]) -> tuple[Any, Any]:
    """Return the arguments of a call as a template."""
    # Most calls take tensors and numbers: they need no second call of a function here, which is for speed.
    positional = [
        value if type(value) in PLAIN else slot(value) if isinstance(value, Tensor) else template(value, slot)
        for value in args
    ]
    return tuple(positional), template(kwargs, slot) if kwargs else NONE


def template(value: Any, slot: Callable[[Any], Slot]) -> Any:
    """Return a value with slots for its tensors and lengths; sequences, mappings and dataclasses are looked into."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is tuple:
        for item in value:
            if type(item) not in PLAIN:
                return tuple([template(item, slot) for item in value])
        return value
    if kind is Length or isinstance(value, Tensor):
        return slot(value)
    if kind is list:
        return [template(item, slot) for item in value]
    if isinstance(value, tuple):
        items = [template(item, slot) for item in value]
        if hasattr(value, "n_sequence_fields"):  # what `topk` and `max` return
            return _Sequence(kind, items)
        return kind(*items) if hasattr(value, "_fields") else tuple(items)
    if kind is slice:
        return slice(template(value.start, slot), template(value.stop, slot), template(value.step, slot))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value) if entry.init}
        return _Fields(kind, {name: template(part, slot) for name, part in fields.items()})
    if isinstance(value, dict):
        items_of = ((key, template(item, slot)) for key, item in value.items())
        return OrderedDict(items_of) if kind is OrderedDict else dict(items_of)
    return value.copy() if isinstance(value, np.ndarray) else value


def filled(value: Any, fill: Callable[[Slot], Any]) -> Any:
    """Return what a template stands for; `fill` answers for each slot."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, SLOTS):
        return fill(value)
    if kind is tuple:
        return tuple([filled(item, fill) for item in value])
    if kind is list:
        return [filled(item, fill) for item in value]
    if kind is slice:
        return slice(filled(value.start, fill), filled(value.stop, fill), filled(value.step, fill))
    if isinstance(value, _Fields):
        return value.kind(**{name: filled(part, fill) for name, part in value.fields.items()})
    if isinstance(value, _Sequence):
        return value.kind([filled(item, fill) for item in value.items])
    if isinstance(value, dict):
        return kind((key, filled(item, fill)) for key, item in value.items())
    if isinstance(value, tuple):
        return kind(*[filled(item, fill) for item in value])
    return value


def without_lengths(value: Any) -> Any:
    """Return a value with plain numbers in the place of lengths, for PyTorch and for the adapters.

    Example:
        >>> from striate.graph._lengths import Lengths, Size
        >>> (number,) = without_lengths([Length(3, Size(0, 0), Lengths([]))])
        >>> type(number)
        <class 'int'>
    """
    kind = type(value)
    if kind is Length:
        return int.__index__(value)
    if kind is tuple or kind is list or kind is torch.Size:
        return kind([without_lengths(item) for item in value])
    if kind is slice:
        return slice(without_lengths(value.start), without_lengths(value.stop), without_lengths(value.step))
    if kind is dict:
        return {key: without_lengths(item) for key, item in value.items()}
    return value
