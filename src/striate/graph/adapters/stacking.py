"""PyTorch's calls that copy, stack and turn round: `stack`, `expand`, `repeat`, `tile`, `flip`, `roll`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, shape_of
from striate.graph.moves import Moves
from striate.ops.flipping import Flip, Roll
from striate.ops.reshaping import Reshape
from striate.ops.stacking import Expand, Repeat, Stack

__all__ = ["ADAPTERS"]


def _numbers(given: Sequence[Any]) -> tuple[int, ...]:
    """Return numbers that were given one by one or as one sequence."""
    values = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    return tuple(int(value) for value in values)


def _stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Any = None) -> Call:
    return Call(Stack(dim % (tensors[0].ndim + 1)), tuple(tensors))


def _expand(input: Tensor, *args: Any, outputs: Sequence[Tensor], **kwargs: Any) -> Call:
    """Adapt every call that repeats a tensor to the shape of its output."""
    return Call(Expand(shape_of(outputs[0])), (input,))


def _broadcast(*tensors: Any, outputs: Sequence[Tensor]) -> list[Call]:
    given = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    return [Call(Expand(shape_of(output)), (tensor,)) for tensor, output in zip(given, outputs, strict=True)]


def _repeat(input: Tensor, *args: Any, repeats: Any = None) -> Call:
    return Call(Repeat(_numbers(args if repeats is None else (repeats,))), (input,))


def _tile(input: Tensor, *args: Any, dims: Any = None) -> Call:
    repeats = _numbers(args if dims is None else (dims,))
    return Call(Repeat((*[1] * (input.ndim - len(repeats)), *repeats)), (input,))


def _repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, *, output_size: Any = None) -> Call | None:
    if isinstance(repeats, Tensor) or dim is None:
        return None
    shape, axis = shape_of(input), dim % input.ndim
    before, after = shape[: axis + 1], shape[axis + 1 :]
    longer = (*shape[:axis], shape[axis] * repeats, *after)
    steps = (Reshape((*before, 1, *after)), Expand((*before, repeats, *after)), Reshape(longer))
    return Call(Moves(steps), (input,))


def _flip(input: Tensor, *args: Any, dims: Any = None) -> Call:
    axes = _numbers(args if dims is None else (dims,))
    return Call(Flip(tuple(sorted(axis % input.ndim for axis in axes))), (input,))


def _roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Call:
    axes = None if dims is None or dims == () else tuple(axis % input.ndim for axis in _numbers((dims,)))
    return Call(Roll(_numbers((shifts,)), axes), (input,))


ADAPTERS: dict[str, Callable[..., Any]] = {
    "stack": _stack,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expand),
    "broadcast_tensors": _broadcast,
    "repeat": _repeat,
    "tile": _tile,
    "repeat_interleave": _repeat_interleave,
    "flip": _flip,
    "flipud": lambda input: _flip(input, 0),
    "fliplr": lambda input: _flip(input, 1),
    "roll": _roll,
}
