"""Everything of one image that is neither layer nor pooling: activations, pairs, normalisation, movement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.engine._builder import Builder, Value
from striate.engine._codes import Code
from striate.engine._instructions import Encoded
from striate.engine.images._layout import Image, image, image_of
from striate.engine.images._sums import Epilogue
from striate.engine.lowering.combination import KINDS, affine_of
from striate.engine.lowering.movement import extent_of, joined_sources, sources_of
from striate.graph.graph import Node

__all__ = ["activate", "combine", "concatenate", "flattened", "move", "normalize", "normalize_locally"]

Ints = npt.NDArray[np.int64]


def activate(b: Builder, x: Value, code: Code) -> Value:
    """Emit an activation of its own."""
    source = image_of(x)
    y = image(b, source.extent)
    ints = lambda: Encoded([*y.padded, *source.pixels, *y.pixels, code.kind], code.numbers)  # noqa: E731
    b.emit("image_activate", (source, y), ints)
    return Value(y, x.shape, False)


def combine(b: Builder, node: Node, values: Sequence[Value | None]) -> Value:
    """Emit a combination; of a number, which has no value, the other operand is scaled and shifted."""
    first, second = values[0], values[1]
    if first is None or second is None:
        x = second if first is None else first
        if x is None:
            raise RuntimeError(f"combine: `{node.name}` has no tensor")
        return activate(b, x, affine_of(node))
    is_gate = node.inputs[0].output_shape != node.inputs[1].output_shape
    if not is_gate and first.lanes.extent != second.lanes.extent:
        first, second = flattened(b, first), flattened(b, second)
    one, two = image_of(first), image_of(second)
    y = image(b, one.extent)

    def encode() -> Encoded:
        other = [0, 0, two.first] if is_gate else two.pixels
        return Encoded([*y.padded, *one.pixels, *other, *y.pixels, KINDS[type(node.op)]])

    b.emit("image_combine", (one, two, y), encode)
    return Value(y, first.shape, False)


def normalize(b: Builder, x: Value, epilogue: Epilogue) -> Value:
    """Emit batch normalisation with fixed statistics, and what follows it."""
    source, added = image_of(x), epilogue.added
    y = image(b, source.extent)

    def encode() -> Encoded:
        others = [0, 0, 0] if added is None else added.pixels
        ints = [*y.padded, *source.pixels, *y.pixels, *others, y.extent[0], epilogue.code.kind]
        return Encoded(ints, epilogue.code.numbers)

    b.emit("image_normalize", (source, epilogue.coefficients, y, added), encode, writes=(2,))
    return Value(y, x.shape, False)


def normalize_locally(b: Builder, node: Node, x: Value) -> Value:
    """Emit local response normalisation."""
    op: Any = node.op
    source = image_of(x)
    y = image(b, source.extent)
    b.emit(
        "image_local_response",
        (source, y),
        lambda: Encoded([*y.padded, *source.pixels, *y.pixels, y.extent[0], op.size], [op.alpha, op.beta, op.k]),
    )
    return Value(y, x.shape, False)


def move(b: Builder, node: Node, x: Value) -> Value:
    """Emit a movement."""
    shape = node.output_shape[1:]
    sources = sources_of(node.op, node.inputs[0].output_shape)
    if sources is None:
        raise RuntimeError(f"move: `{node.name}` mixes images")
    # All of it in the same order, and not only the first so many.
    if len(shape) == 1 and np.array_equal(sources, np.arange(x.lanes.features)):
        return Value(x.lanes, shape, False)  # flattened: the same places
    y = image(b, extent_of(shape))
    _copy(b, x, y, sources, np.arange(len(sources)))
    return Value(y, shape, False)


def concatenate(b: Builder, node: Node, values: Sequence[Value]) -> Value:
    """Emit concatenation along any axis but that of the images."""
    y = image(b, extent_of(node.output_shape[1:]))
    for value, sources, targets in joined_sources(node, values):
        _copy(b, value, y, sources, targets)
    return Value(y, node.output_shape[1:], False)


def flattened(b: Builder, x: Value) -> Value:
    """Return a value that is one feature after the other in PyTorch's order."""
    if x.lanes.extent[1:] == (1, 1):
        return x
    y = image(b, (x.lanes.features, 1, 1))
    everything = np.arange(x.lanes.features)
    _copy(b, x, y, everything, everything)
    return Value(y, x.shape, False)


def _copy(b: Builder, x: Value, y: Image, sources: Ints, targets: Ints) -> None:
    """Emit y[targets] = x[sources], both in PyTorch's order; source -1: zero."""

    def encode() -> Encoded:
        into = y.all_places()[targets]
        places = x.lanes.all_places()
        out = np.where(sources >= 0, places[np.maximum(sources, 0)], -1)
        order = np.argsort(into, kind="stable")
        into, out = into[order], out[order]
        # A run goes on where both places do, or where zeros follow zeros.
        steps = np.diff(out, prepend=out[:1])
        goes_on = (np.diff(into, prepend=into[:1] - 2) == 1) & np.where(out < 0, steps == 0, (steps == 1) & (out > 0))
        starts = np.flatnonzero(~goes_on)
        lengths = np.diff(starts, append=len(into))
        return Encoded(tables=[np.stack([out[starts], into[starts], lengths], axis=1).reshape(-1).tolist()])

    b.emit("image_move", (x.lanes, y), encode)
