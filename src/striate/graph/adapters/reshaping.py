"""PyTorch's calls that move numbers: reshaping, permuting, indexing, cutting apart, padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from striate.graph.adapters._call import Call, shape_of
from striate.graph.moves import Moves
from striate.graph.placing import IndexPut
from striate.ops._movement import Movement
from striate.ops.activation import Identity
from striate.ops.op import Op, Shape
from striate.ops.reshaping import ChannelShuffle, Flatten, Permute, Reshape
from striate.ops.slicing import Pad, Slice, chunk_slices

__all__ = ["ADAPTERS"]


def _reshape(input: Tensor, *args: Any, outputs: Sequence[Tensor], **kwargs: Any) -> Call | None:
    """Adapt every call that only changes the shape; merging neighbouring axes is a `Flatten`, whatever its name."""
    before, after = shape_of(input), shape_of(outputs[0])
    if input.dtype != outputs[0].dtype or math.prod(before) != math.prod(after):
        return None  # `view` of the same bytes as another type
    return Call(_reshaped(before, after), (input,))


def _reshaped(before: Shape, after: Shape) -> Op:
    merged = len(before) - len(after)
    for start in (*range(1, len(after)), 0):  # the batch axis is merged last
        end = start + merged
        if merged > 0 and after == (*before[:start], math.prod(before[start : end + 1]), *before[end + 1 :]):
            return Flatten(start, end)
    return Reshape(after)


def _flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Call:
    dims = input.ndim
    return Call(Flatten(start_dim % dims, end_dim % dims) if dims else Reshape((1,)), (input,))


def _permute(input: Tensor, *dims: Any) -> Call:
    axes = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return Call(Permute(tuple(axis % input.ndim for axis in axes)), (input,))


def _transpose(input: Tensor, dim0: int = 0, dim1: int = 1) -> Call:
    axes = list(range(input.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return Call(Permute(tuple(axes)), (input,))


def _reversed_axes(input: Tensor) -> Call:
    return Call(Permute(tuple(reversed(range(input.ndim)))), (input,))


def _last_two(input: Tensor) -> Call:
    return _transpose(input, -2, -1)


def _getitem(input: Tensor, index: Any) -> Call | None:
    """Adapt indexing by slices, numbers, None and dots; tensors and lists pick values by number and stay opaque."""
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, bool) or not (i is None or i is ... or isinstance(i, int | slice)) for i in index):
        return None
    named = sum(1 for i in index if i is not None and i is not ...)
    rest = [slice(None)] * (input.ndim - named)
    dots = index.index(...) if ... in index else len(index)
    full = (*index[:dots], *rest, *index[dots + 1 :])
    return Call(_moves(_index_steps(shape_of(input), full)), (input,))


def _index_steps(shape: Shape, index: tuple[int | slice | None, ...]) -> list[Movement]:
    steps: list[Movement] = []
    after: list[int] = []
    axis = 0
    for i in index:
        if i is None:
            after.append(1)
            continue
        length = shape[axis]
        picked = i if isinstance(i, slice) else slice(i % length, i % length + 1)
        start, stop, step = picked.indices(length)
        if (start, stop, step) != (0, length, 1):
            steps.append(Slice(axis, min(start, length), max(start, stop), step))
        if isinstance(i, slice):
            after.append(len(range(start, stop, step)))
        axis += 1
    if len(after) != len(shape) or None in index:
        steps.append(Reshape(tuple(after)))
    return steps


def _moves(steps: list[Movement]) -> Op:
    if not steps:
        return Identity()
    return steps[0] if len(steps) == 1 else Moves(tuple(steps))


def _select(input: Tensor, dim: int, index: int) -> Call | None:
    return _getitem(input, (*[slice(None)] * (dim % input.ndim), index))


def _narrow(input: Tensor, dim: int, start: Any, length: int) -> Call | None:
    if isinstance(start, Tensor):
        return None
    start = start % input.shape[dim] if start < 0 else start
    return Call(Slice(dim % input.ndim, start, start + length), (input,))


def _chunk(input: Tensor, chunks: int, dim: int = 0) -> list[Call]:
    parts = chunk_slices("chunk", shape_of(input), chunks=chunks, axis=dim)
    return [Call(part, (input,)) for part in parts]


def _split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0, **kwargs: Any) -> list[Call]:
    axis, sizes = dim % tensor.ndim, split_size_or_sections
    length = tensor.shape[axis]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, max(1, sizes))]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [Call(Slice(axis, start, start + size), (tensor,)) for start, size in zip(starts, sizes, strict=True)]


def _unbind(input: Tensor, dim: int = 0) -> list[Call | None]:
    return [_select(input, dim, index) for index in range(input.shape[dim])]


def _channel_shuffle(input: Tensor, groups: int) -> Call:
    return Call(ChannelShuffle(int(groups)), (input,))


def _pixel_shuffle(input: Tensor, upscale_factor: int) -> Call | None:
    if input.ndim != 4:
        return None
    (n, channels, height, width), r = shape_of(input), int(upscale_factor)
    c = channels // (r * r)
    steps = (Reshape((n, c, r, r, height, width)), Permute((0, 1, 4, 2, 5, 3)), Reshape((n, c, height * r, width * r)))
    return Call(Moves(steps), (input,))


def _index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Call | None:
    places = [index for index in indices if index is not None and not index.is_floating_point()]
    if accumulate or len(places) != len(indices) or any(index.dtype == torch.bool for index in places):
        return None
    return Call(IndexPut(), (input, values, *places))


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Call | None:
    # PyTorch lists the borders flat, from the last axis on; `Pad` has a pair for every axis, from the first on.
    pairs = [(int(before), int(after)) for before, after in zip(pad[::2], pad[1::2], strict=True)]
    if any(before < 0 or after < 0 for before, after in pairs):
        return None
    pads = (*[(0, 0)] * (input.ndim - len(pairs)), *reversed(pairs))
    return Call(Pad(pads, mode, float(value or 0.0)), (input,))


ADAPTERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ("view", "reshape", "squeeze", "unsqueeze", "unflatten", "ravel", "view_as", "reshape_as"), _reshape
    ),
    "flatten": _flatten,
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "t"), _transpose),
    "T": _reversed_axes,
    "mT": _last_two,
    "getitem": _getitem,
    "select": _select,
    "narrow": _narrow,
    "chunk": _chunk,
    "split": _split,
    "unbind": _unbind,
    "channel_shuffle": _channel_shuffle,
    "pixel_shuffle": _pixel_shuffle,
    "index_put": _index_put,
    "pad": _pad,
}
