"""Values at other places: concatenation, slices, padding, shuffles, reshaping. Tables of places serve them all.

Which value goes where is found by moving an array of numbered positions, once, by the operation's own definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.engine._builder import Builder, Value
from striate.engine._lanes import Extent, Lanes
from striate.graph.graph import Node
from striate.ops.op import Shape
from striate.ops.slicing import Pad

__all__ = ["concatenate", "extent_of", "flattened", "joined_sources", "move", "reason_against", "sources_of"]

Ints = npt.NDArray[np.int64]


def extent_of(shape: Shape) -> Extent:
    """Return channels, rows and columns of a shape without the batch: (C, H, W), (C, L) or (F,)."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], 1, 1)


def reason_against(node: Node) -> str | None:
    """Say why a movement cannot run in the engine; None: it can."""
    if isinstance(node.op, Pad) and node.op.mode == "constant" and node.op.value != 0:
        return "padding with another number than 0"
    shape = node.inputs[0].output_shape
    if math.prod(shape) > 2**31:
        return "too many values"
    return None if sources_of(node.op, shape) is not None else "images of the batch that are mixed or moved"


def sources_of(op: Any, shape: Shape) -> Ints | None:
    """Return for each value of the output of one image which value of the input it is, -1 for zero.

    None: an image's output does not come from that image alone.
    """
    size = math.prod(shape[1:])
    numbered = np.arange(1, math.prod(shape) + 1, dtype=np.int64).reshape(shape)
    moved = np.asarray(op.forward(numbered), dtype=np.int64)
    if moved.ndim < 2 or moved.shape[0] != shape[0]:
        return None
    flat = moved.reshape(shape[0], -1) - 1
    images = np.arange(shape[0])[:, None] * size
    if not np.array_equal(np.where(flat >= 0, flat - images, -1), np.broadcast_to(flat[0], flat.shape)):
        return None
    first: Ints = flat[0]
    return first


def move(b: Builder, node: Node, x: Value) -> Value:
    """Emit a movement."""
    shape = node.output_shape[1:]
    sources = sources_of(node.op, node.inputs[0].output_shape)
    if sources is None:
        raise RuntimeError(f"move: `{node.name}` mixes images")
    if len(shape) == 1 and np.array_equal(sources, np.arange(x.lanes.features)):
        return Value(x.lanes, shape, x.needs_gradient)  # flattened: the same lanes
    y = b.lanes(extent_of(shape))
    _join(b, [(x, sources, np.arange(len(sources)))], y)
    return Value(y, shape, x.needs_gradient)


def concatenate(b: Builder, node: Node, values: Sequence[Value]) -> Value:
    """Emit concatenation along any axis but that of the images."""
    y = b.lanes(extent_of(node.output_shape[1:]))
    _join(b, joined_sources(node, values), y)
    return Value(y, node.output_shape[1:], any(value.needs_gradient for value in values))


def joined_sources(node: Node, values: Sequence[Value]) -> list[tuple[Value, Ints, Ints]]:
    """Return for each part of a concatenation which of its numbers go where, in PyTorch's order."""
    op: Any = node.op
    sizes = [math.prod(value.shape) for value in values]
    starts = np.cumsum([0, *sizes])
    numbered = [
        np.arange(start, start + size).reshape(1, *value.shape)
        for start, size, value in zip(starts, sizes, values, strict=False)
    ]
    joined = np.concatenate(numbered, axis=op.axis).reshape(-1)
    parts = []
    for value, start, size in zip(values, starts, sizes, strict=False):
        targets = np.flatnonzero((joined >= start) & (joined < start + size))
        parts.append((value, joined[targets] - start, targets))
    return parts


def flattened(b: Builder, x: Value) -> Value:
    """Return a value whose lanes are one feature after the other."""
    if x.lanes.extent[1:] == (1, 1):
        return x
    y = b.lanes((x.lanes.features, 1, 1))
    everything = np.arange(x.lanes.features)
    _join(b, [(x, everything, everything)], y)
    return Value(y, x.shape, x.needs_gradient)


def _join(b: Builder, parts: Sequence[tuple[Value, Ints, Ints]], y: Lanes) -> None:
    """Emit y from values picked out of others, and the way back."""
    for value, sources, targets in parts:
        b.move(value.lanes, y, partial(_pair_of_places, value.lanes, sources, y, targets), accumulate=False)

    def backward() -> None:
        dy = b.gradient(y)
        if dy is None:
            return
        for value, sources, targets in parts:
            if value.needs_gradient:
                _back(b, dy, value.lanes, sources, targets)

    if any(value.needs_gradient for value, _, _ in parts):
        b.on_backward(backward)


def _back(b: Builder, dy: Lanes, x: Lanes, sources: Ints, targets: Ints) -> None:
    dx, accumulate = b.add_to_gradient(x)
    kept = sources >= 0
    sources, targets = sources[kept], targets[kept]
    counts = np.bincount(sources, minlength=x.features)
    if not accumulate and not (counts == 1).all():
        b.fill(dx)
        accumulate = True
    b.move(
        dy,
        dx,
        lambda: (_places(dy, targets), _places(dx, sources)),
        accumulate=accumulate,
        serial=bool((counts > 1).any()),
    )


def _pair_of_places(x: Lanes, sources: Ints, y: Lanes, targets: Ints) -> tuple[Ints, Ints]:
    return _places(x, sources), _places(y, targets)


def _places(lanes: Lanes, values: Ints) -> Ints:
    places = lanes.all_places()
    return np.where(values >= 0, places[np.maximum(values, 0)], -1)
