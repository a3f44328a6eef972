"""Numbers read off a tensor's shape: whole numbers that remember where they come from, to be read again.

``x.view(x.size(0), -1)`` hands PyTorch the number 3. Run again on five images it must hand over 5. So in a capture
`shape` and `size` answer with a `Length`: an `int` that knows its tensor and axis, and keeps that in sums.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from striate.ops.op import Shape

__all__ = ["SIZES", "Combined", "Comparison", "Form", "Length", "Lengths", "Size", "measured", "tensors_of"]

SIZES = {"shape", "size", "numel", "nelement", "__len__"}
"""Calls that answer with lengths."""


@dataclass(frozen=True, slots=True)
class Size:
    """The length of a tensor along an axis, or how many numbers it holds."""

    tensor: Hashable
    """The index of its node, or the call that makes it."""
    axis: int | None


@dataclass(frozen=True, slots=True)
class Combined:
    """Two numbers joined by an operator."""

    operator: Callable[[int, int], int]
    left: Form
    right: Form


Form = Size | Combined | int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A question that Python asked about a length, and the answer on which the way it went depends."""

    left: Form
    operator: Callable[[int, int], bool]
    right: Form
    answer: bool
    position: int
    """How many nodes there were."""


def measured(form: Form, shape_of: Callable[[Any], Shape]) -> int:
    """Return what a form comes to; `shape_of` answers for the tensors in it.

    Example:
        >>> measured(Combined(operator.mul, Size(0, 1), 2), {0: (3, 4)}.__getitem__)
        8
    """
    if isinstance(form, int):
        return form
    if isinstance(form, Combined):
        return form.operator(measured(form.left, shape_of), measured(form.right, shape_of))
    shape = shape_of(form.tensor)
    return math.prod(shape) if form.axis is None else shape[form.axis]


def tensors_of(form: Form) -> Iterator[Any]:
    """Yield the tensors of which a form takes the size."""
    if isinstance(form, Combined):
        yield from tensors_of(form.left)
        yield from tensors_of(form.right)
    elif isinstance(form, Size):
        yield form.tensor


class Length(int):
    """A whole number that knows how it was read. Sums, products and quotients of lengths are lengths."""

    form: Form
    lengths: Lengths

    def __new__(cls, value: int, form: Form, lengths: Lengths) -> Length:
        """Return a number with what it remembers."""
        length = super().__new__(cls, value)
        length.form, length.lengths = form, lengths
        return length

    __hash__ = int.__hash__

    def __bool__(self) -> bool:
        return self.lengths.compare(self, operator.ne, 0, answer=int.__ne__(self, 0))

    def __int__(self) -> int:
        self.lengths.plain[value := int.__index__(self)] = self.form
        return value


def _form(value: int) -> Form:
    return value.form if isinstance(value, Length) else value


def _arithmetic(name: str, *, is_reflected: bool) -> Callable[[Length, Any], Any]:
    function = getattr(operator, name)

    def combine(self: Length, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        left, right = (other, self) if is_reflected else (self, other)
        value = function(int.__index__(left), int.__index__(right))
        return Length(value, Combined(function, _form(left), _form(right)), self.lengths)

    return combine


def _comparison(name: str) -> Callable[[Length, Any], Any]:
    function, plain = getattr(operator, name), getattr(int, f"__{name}__")

    def compare(self: Length, other: Any) -> Any:
        answer = plain(self, other)
        if answer is NotImplemented:
            return answer
        return self.lengths.compare(self, function, other, answer=answer)

    return compare


def _leaving(name: str) -> Callable[..., Any]:
    """Return arithmetic whose result is no whole number: from here on only the number is known, so it must stay."""
    plain = getattr(int, name)

    def leave(self: Length, *args: Any) -> Any:
        self.lengths.compare(self, operator.eq, int.__index__(self), answer=True)
        return plain(self, *args)

    return leave


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Length, f"__{_name}__", _arithmetic(_name, is_reflected=False))
    setattr(Length, f"__r{_name}__", _arithmetic(_name, is_reflected=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Length, f"__{_name}__", _comparison(_name))
for _name in (
    "__truediv__",
    "__rtruediv__",
    "__pow__",
    "__rpow__",
    "__divmod__",
    "__rdivmod__",
    "__float__",
    "__neg__",
):
    setattr(Length, _name, _leaving(_name))


class Lengths:
    """The lengths of one run, and what Python did with them.

    Args:
        drafts: Of the run, to know where in it a comparison stands.
    """

    def __init__(self, drafts: Sequence[Any]) -> None:
        self._drafts: Sequence[Any] = drafts
        self.comparisons: dict[tuple[Form, object, Form], Comparison] = {}
        """Each question once, when it was first asked."""
        self.plain: dict[int, Form] = {}
        """Lengths that Python turned into plain numbers, by ``len(x)`` and ``int(n)``; the newest of each value."""

    def end(self) -> None:
        """Let the run go, which lengths that the network's code stored would keep alive."""
        self._drafts = ()

    def compare(self, left: int, function: Callable[[int, int], bool], right: int, *, answer: bool) -> bool:
        """Note a comparison and return its answer."""
        sides = _form(left), _form(right)
        asked = Comparison(sides[0], function, sides[1], answer, len(self._drafts))
        self.comparisons.setdefault((sides[0], function, sides[1]), asked)
        return answer

    def read(self, name: str, answer: Any, *, tensor: Hashable, arguments: tuple[Any, ...]) -> Any:
        """Return what a call about a tensor's shape answered, as lengths."""
        if isinstance(answer, torch.Size):
            return torch.Size([Length(length, Size(tensor, axis), self) for axis, length in enumerate(answer)])
        if name == "__len__":  # Python makes a plain number of it
            self.plain[answer] = Size(tensor, 0)
        elif name in {"numel", "nelement"}:
            return Length(answer, Size(tensor, None), self)
        elif len(arguments) == 1 and isinstance(arguments[0], int):  # `size(dim)`
            return Length(answer, Size(tensor, int.__index__(arguments[0])), self)
        return answer
