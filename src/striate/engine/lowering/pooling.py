"""Pooling: windows as tables of rows and columns, so that padding, dilation, ceil mode and adaptive sizes are alike."""

from __future__ import annotations

import itertools
from typing import Any

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded
from striate.engine._lanes import Lanes
from striate.graph.graph import Node
from striate.ops._adaptive import AdaptivePool
from striate.ops.adaptive_pooling import AdaptiveMaxPool
from striate.ops.average_pooling import AvgPool
from striate.ops.max_pooling import MaxPool
from striate.ops.reduction import Mean

__all__ = ["average", "cells_of", "flat", "maximize", "pairs", "ranges_of", "reason_against"]

MOST_CELLS = 255
"""Cells of a window of max pooling: which was the largest is kept in one byte."""


def reason_against(node: Node) -> str | None:
    """Say why a pooling cannot run in the engine; None: it can."""
    op: Any = node.op
    if isinstance(op, Mean):
        rank = len(node.inputs[0].output_shape)
        is_global = tuple(op.axes) in ((2, 3), (2,)) and max(op.axes) == rank - 1
        return None if is_global else "a mean over other axes than the spatial ones"
    dims = len(op.output_size if isinstance(op, AdaptivePool) else op.kernel_size)
    if dims > 2:
        return "three spatial axes"
    if isinstance(op, MaxPool | AdaptiveMaxPool):
        rows, columns = cells_of(op, node.inputs[0].output_shape, node.output_shape)
        if max(map(len, rows)) * max(map(len, columns)) > MOST_CELLS:
            return f"a window of more than {MOST_CELLS} cells"
    return None


def maximize(b: Builder, node: Node, x: Value) -> Value:
    """Emit max pooling."""
    shape = node.output_shape[1:]
    y = b.lanes(_extent(shape))
    argmax = b.lanes(y.extent, lane_bytes=1) if b.trains and x.needs_gradient else None
    rows, columns = cells_of(node.op, node.inputs[0].output_shape, node.output_shape)

    def encode(source: Lanes, target: Lanes, *, accumulate: bool) -> Encoded:
        heights, widths = max(map(len, rows)), max(map(len, columns))
        ints = [*y.extent, heights, widths, *b.pointwise_ints((0, 0, 0), source, target)[3:]]
        argmax_plane = 0 if argmax is None else argmax.plane * b.machine.width
        tables = [flat(rows, heights), flat(columns, widths)]
        return Encoded([*ints, argmax_plane, *x.lanes.extent[1:], accumulate], tables=tables)

    b.emit("max_pool", (x.lanes, y, argmax), lambda: encode(x.lanes, y, accumulate=False), writes=(1, 2))

    def backward() -> None:
        dy = b.gradient(y)
        if dy is not None:
            dx, accumulate = b.add_to_gradient(x.lanes)
            b.emit("max_pool_backward", (dy, argmax, dx), lambda: encode(dx, dy, accumulate=accumulate))

    if x.needs_gradient:
        b.on_backward(backward)
    return Value(y, shape, x.needs_gradient)


def average(b: Builder, node: Node, x: Value) -> Value:
    """Emit average pooling, fixed or adaptive, or the mean over all positions."""
    shape = node.output_shape[1:]
    y = b.lanes(_extent(shape))
    rows, columns, factors = ranges_of(node, x.lanes)

    def encode(source: Lanes, target: Lanes, *, accumulate: bool) -> Encoded:
        ints = [*y.extent, *b.pointwise_ints((0, 0, 0), source, target)[3:], *x.lanes.extent[1:], accumulate]
        return Encoded(ints, [0.0, 0.0, *factors], [pairs(rows), pairs(columns)])

    b.emit("avg_pool", (x.lanes, y), lambda: encode(x.lanes, y, accumulate=False))

    def backward() -> None:
        dy = b.gradient(y)
        if dy is not None:
            dx, accumulate = b.add_to_gradient(x.lanes)
            b.emit("avg_pool_backward", (dy, dx), lambda: encode(dx, dy, accumulate=accumulate))

    if x.needs_gradient:
        b.on_backward(backward)
    return Value(y, shape, x.needs_gradient)


def _extent(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, rows and columns of a shape without the batch."""
    if len(shape) == 3:
        return shape
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], 1, 1)


def _both(values: Any, *, one: Any) -> list[Any]:
    """Return the option of rows and of columns; of one dimension, the rows have `one`."""
    return [one, *values] if len(values) == 1 else list(values)


def cells_of(op: Any, before: tuple[int, ...], after: tuple[int, ...]) -> list[list[list[int]]]:
    """Return for rows and columns, for each output, the inputs of its window; -1 in the padding."""
    sizes, outputs = _extent(before[1:])[1:], _extent(after[1:])[1:]
    if isinstance(op, AdaptiveMaxPool):
        return [
            [[*range(i * size // out, -(-(i + 1) * size // out))] for i in range(out)]
            for size, out in zip(sizes, outputs, strict=True)
        ]
    windows = zip(
        sizes,
        outputs,
        _both(op.kernel_size, one=1),
        _both(op.stride, one=1),
        _both(op.pads, one=(0, 0)),
        _both(op.dilation, one=1),
        strict=True,
    )
    return [
        [
            [p if 0 <= (p := i * stride - pads[0] + a * dilation) < size else -1 for a in range(kernel)]
            for i in range(out)
        ]
        for size, out, kernel, stride, pads, dilation in windows
    ]


def flat(windows: list[list[int]], length: int) -> list[int]:
    """Return windows one after the other, each filled up with -1."""
    return [place for window in windows for place in (*window, *[-1] * (length - len(window)))]


def pairs(ranges: list[tuple[int, int]]) -> list[int]:
    """Return the numbers of pairs one after the other."""
    return [number for pair in ranges for number in pair]


def ranges_of(node: Node, x: Lanes) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[float]]:
    """Return the rows and the columns of each window (half open), and the factor of each window."""
    op: Any = node.op
    sizes = x.extent[1:]
    if isinstance(op, Mean):
        return [(0, sizes[0])], [(0, sizes[1])], [1.0 / (sizes[0] * sizes[1])]
    outputs = _extent(node.output_shape[1:])[1:]
    if not isinstance(op, AvgPool):
        axes = [
            [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
            for size, out in zip(sizes, outputs, strict=True)
        ]
        return axes[0], axes[1], [1.0 / ((r[1] - r[0]) * (c[1] - c[0])) for r, c in itertools.product(*axes)]
    inside, counted = [], []
    options = (_both(op.kernel_size, one=1), _both(op.stride, one=1), _both(op.pads, one=(0, 0)))
    for size, out, kernel, stride, (before, after) in zip(sizes, outputs, *options, strict=True):
        starts = [i * stride - before for i in range(out)]
        inside.append([(max(0, s), min(size, s + kernel)) for s in starts])
        # What hangs over the padding, in ceil mode, does not count.
        counted.append([min(s + kernel, size + after) - s for s in starts])
    factors = []
    for i, j in itertools.product(*map(range, outputs)):
        (r0, r1), (c0, c1) = inside[0][i], inside[1][j]
        present = (r1 - r0) * (c1 - c0)
        divisor = op.divisor_override or (counted[0][i] * counted[1][j] if op.count_include_pad else present)
        factors.append(1.0 / divisor if divisor else 0.0)
    return inside[0], inside[1], factors
