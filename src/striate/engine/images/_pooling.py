"""Pooling of one image: the same tables of rows and columns as in `lowering.pooling`."""

from __future__ import annotations

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded
from striate.engine.images._layout import image, image_of
from striate.engine.lowering.movement import extent_of
from striate.engine.lowering.pooling import cells_of, flat, pairs, ranges_of
from striate.graph.graph import Node

__all__ = ["average", "maximize"]


def maximize(b: Builder, node: Node, x: Value) -> Value:
    """Emit max pooling."""
    shape = node.output_shape[1:]
    source, y = image_of(x), image(b, extent_of(shape))
    rows, columns = cells_of(node.op, node.inputs[0].output_shape, node.output_shape)
    heights, widths = max(map(len, rows)), max(map(len, columns))

    def encode() -> Encoded:
        ints = [*y.padded, *source.pixels, *y.pixels, heights, widths]
        return Encoded(ints, tables=[flat(rows, heights), flat(columns, widths)])

    b.emit("image_max_pool", (source, y), encode)
    return Value(y, shape, False)


def average(b: Builder, node: Node, x: Value) -> Value:
    """Emit average pooling, fixed or adaptive, or the mean over all positions."""
    shape = node.output_shape[1:]
    source, y = image_of(x), image(b, extent_of(shape))
    rows, columns, factors = ranges_of(node, source)
    b.emit(
        "image_avg_pool",
        (source, y),
        lambda: Encoded([*y.padded, *source.pixels, *y.pixels], factors, [pairs(rows), pairs(columns)]),
    )
    return Value(y, shape, False)
