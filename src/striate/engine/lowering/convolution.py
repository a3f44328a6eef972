"""Convolutions: sums over taps, their input gradients as sums over taps, their weight gradients as outer products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._tables import Axis, Window, cheapest_tile, floats_of, phases, segments_of
from striate.engine.lowering import tiles, winograd
from striate.engine.lowering.activation import Epilogue, before_activation, output_of
from striate.engine.lowering.folding import layer_bias
from striate.graph.graph import Node, Parameter
from striate.ops.convolution import Convolution

__all__ = ["Layer", "convolve", "layer_of", "reason_against"]

CACHE_BYTES = 256 * 1024
"""What the rows that a piece reads may fill: half of a common second-level cache."""
LONG_VECTORS = 24
"""Accumulators of instruction sets with 32 registers of 64 bytes."""
PIECE_BYTES = 2 * 1024
"""What the output gradients of a piece of a weight gradient may fill for each lane: half of a common first-level cache,
where longer vectors come with larger ones."""


def reason_against(node: Node) -> str | None:
    """Say why a convolution cannot run in the engine; None: it can."""
    op = node.op
    if isinstance(op, Convolution) and op.dims > 2:
        return "three spatial axes"
    return None


@dataclass(eq=False)
class Layer:
    """A convolution with its two axes; of one dimension, the rows are one."""

    rows: Axis
    columns: Axis
    groups: int
    in_channels: int
    out_channels: int

    @property
    def group_inputs(self) -> int:
        """Channels that an output reads."""
        return self.in_channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Outputs that read the same channels."""
        return self.out_channels // self.groups

    @property
    def taps(self) -> int:
        """Taps of one output: the length of one filter."""
        return self.group_inputs * self.rows.kernel * self.columns.kernel

    @property
    def is_winograd(self) -> bool:
        """Whether it runs by Winograd's method."""
        return winograd.fits(
            self.rows,
            self.columns,
            groups=self.groups,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
        )

    @property
    def macs(self) -> int:
        """Multiply-adds of an image."""
        return self.out_channels * self.taps * self.rows.output * self.columns.output


def layer_of(op: Convolution, x: Lanes, weight: tuple[int, ...]) -> Layer:
    """Return a convolution of x; `weight` is the shape of its weights."""
    kernel, stride, dilation, pads = list(weight[2:]), list(op.stride), list(op.dilation), list(op.pads)
    if op.dims == 1:
        kernel, stride, dilation, pads = [1, *kernel], [1, *stride], [1, *dilation], [(0, 0), *pads]
    axes = []
    for n, size in enumerate(x.extent[1:]):
        before, after = pads[n]
        output = (size + before + after - dilation[n] * (kernel[n] - 1) - 1) // stride[n] + 1
        axes.append(Axis(size, output, kernel[n], stride[n], before, dilation[n]))
    return Layer(axes[0], axes[1], op.groups, x.extent[0], weight[0])


def convolve(b: Builder, node: Node, x: Value, epilogue: Epilogue) -> Value:
    """Emit a convolution with what follows it: an activation, and 2 x 2 max pooling where that comes next."""
    op: Any = node.op
    weight, bias = node.parameters["weight"], node.parameters.get("bias")
    layer = layer_of(op, x.lanes, tuple(weight.tensor.shape))
    rows, columns = layer.rows.output, layer.columns.output
    if epilogue.pools:
        rows, columns = rows // 2, columns // 2
    y = output_of(b, (layer.out_channels, rows, columns), epilogue)
    argmax = b.lanes(y.extent, lane_bytes=1) if epilogue.pools and b.trains else None
    sum_taps(b, layer, x.lanes, weight, bias, y, epilogue, argmax)
    needs = x.needs_gradient or _learns(weight) or _learns(bias)

    def backward() -> None:
        dy = before_activation(b, y, epilogue, argmax, (layer.out_channels, layer.rows.output, layer.columns.output))
        if dy is None:
            return
        if _learns(weight):
            weight_gradient(b, layer, x.lanes, dy, weight)
        if bias is not None and _learns(bias):
            bias_gradient(b, dy, bias)
        if x.needs_gradient:
            input_gradient(b, layer, x.lanes, dy, weight)

    if needs:
        b.on_backward(backward)
    logical = y.extent if op.dims == 2 else (y.extent[0], y.extent[2])
    return Value(y, logical, needs)


def _learns(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.tensor.requires_grad


def sum_taps(
    b: Builder,
    layer: Layer,
    x: Lanes,
    weight: Parameter,
    bias: Parameter | None,
    y: Lanes,
    epilogue: Epilogue,
    argmax: Lanes | None,
) -> None:
    """Emit the forward pass of a convolution."""
    if tiles.fits_sums(b, layer):
        tiles.sum_taps(b, layer, x, weight, bias, y, epilogue, argmax)
        return
    if layer.is_winograd:
        winograd.sum_tiles(
            b,
            weight,
            layer_bias(b, bias, epilogue.coefficients, layer.out_channels),
            x,
            y,
            argmax,
            epilogue,
            rows=layer.rows,
            columns=layer.columns,
            macs=layer.macs,
        )
        return
    rows, columns = layer.rows.forward(), layer.columns.forward()
    if b.trains and weight.tensor.requires_grad:
        _reach(x, rows, columns)  # the weight gradient reads all of the border
    else:
        _reach(x, rows, columns, skips_rows=not epilogue.pools)
    sums = _Sums(b, layer.groups, layer.group_inputs, layer.group_outputs, rows, columns, x, y, epilogue.pools)
    kernel = layer.rows.kernel * layer.columns.kernel
    elements = lambda a, d, c: c * kernel + a * layer.columns.kernel + d  # noqa: E731
    strides = {"output_stride": layer.taps, "group_stride": layer.group_outputs * layer.taps}
    packed = sums.pack(weight, elements, **strides, coefficients=epilogue.coefficients)
    sums.emit(
        packed,
        layer_bias(b, bias, epilogue.coefficients, layer.out_channels),
        argmax,
        epilogue,
        macs=layer.macs,
        accumulate=False,
    )


def _reach(x: Lanes, rows: Window, columns: Window, *, skips_rows: bool = False) -> None:
    above, below = (0, 0) if skips_rows else rows.reach()
    left, right = columns.reach()
    x.reach(above=above, below=below, left=left, right=right)


def input_gradient(b: Builder, layer: Layer, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dx: for each remainder of the position by the stride, a sum over the taps that met it."""
    dx, accumulate = b.add_to_gradient(x)
    if tiles.fits_input_gradient(b, layer):
        tiles.input_gradient(b, layer, dy, dx, weight, accumulate=accumulate)
        return
    if layer.is_winograd:
        axes = {"rows": layer.rows, "columns": layer.columns}
        winograd.input_gradient(b, weight, dy, dx, **axes, accumulate=accumulate, macs=layer.macs)
        return
    kernel = layer.rows.kernel * layer.columns.kernel
    for rows, columns in product(phases(layer.rows), phases(layer.columns)):
        _reach(dy, rows, columns, skips_rows=True)
        sums = _Sums(b, layer.groups, layer.group_outputs, layer.group_inputs, rows, columns, dy, dx, pools=False)
        elements = lambda a, d, k: k * layer.taps + a * layer.columns.kernel + d  # noqa: E731
        packed = sums.pack(weight, elements, output_stride=kernel, group_stride=layer.group_outputs * layer.taps)
        macs = layer.macs * len(rows.taps) * len(columns.taps) // kernel
        sums.emit(packed, None, None, Epilogue(), macs=macs, accumulate=accumulate)


def weight_gradient(b: Builder, layer: Layer, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dw into the slots' sums."""
    if tiles.fits_weight_gradient(b, layer):
        tiles.weight_gradient(b, layer, x, dy, weight)
        return
    _reach(x, layer.rows.forward(), layer.columns.forward())
    width = b.machine.width
    outputs, taps = layer.group_outputs, layer.taps
    tile_outputs, tile_taps = _outer_tile(outputs, taps, b.machine.accumulators)

    def encode() -> Encoded:
        c, u, v = np.meshgrid(
            np.arange(layer.group_inputs), np.arange(layer.rows.kernel), np.arange(layer.columns.kernel), indexing="ij"
        )
        places = x.at(c, u * layer.rows.dilation - layer.rows.before, v * layer.columns.dilation - layer.columns.before)
        row_bytes = tile_outputs * layer.columns.output * width * 4
        return Encoded(
            [
                *(layer.groups, outputs, taps, tile_outputs, tile_taps),
                *(layer.group_inputs * x.plane * width, dy.plane * width),
                *(layer.rows.output, layer.columns.output),
                *(x.row * layer.rows.stride * width, layer.columns.stride * width, dy.row * width),
                *(max(1, PIECE_BYTES * width // row_bytes), dy.first * width),
            ],
            tables=[floats_of(places, width)],
        )

    b.emit("outer", (x, dy, b.slot_of(weight)), encode, macs=layer.macs)


def _outer_tile(outputs: int, taps: int, accumulators: int) -> tuple[int, int]:
    """Return how many outputs and taps of a weight gradient are summed together.

    With long vectors, the gradients of more than four outputs leave no place for x in a first-level cache.
    """
    if accumulators < LONG_VECTORS:
        tile_outputs, tile_taps = cheapest_tile(outputs, taps, accumulators)
        return tile_outputs, min(tile_taps, 9)
    tile_outputs = min(outputs, 4)
    most = min(accumulators // tile_outputs, 9)
    return tile_outputs, -(-taps // -(-taps // most))


def bias_gradient(b: Builder, dy: Lanes, bias: Parameter) -> None:
    """Emit dL/db into the slots' sums."""
    width = b.machine.width

    def encode() -> Encoded:
        channels, rows, columns = dy.extent
        return Encoded([channels, dy.plane * width, rows, columns, dy.row * width, dy.first * width])

    b.emit("channel_sums", (dy, b.slot_of(bias)), encode)


class _Sums:
    """One `taps` instruction and the packing of its weights."""

    def __init__(
        self,
        b: Builder,
        groups: int,
        group_inputs: int,
        group_outputs: int,
        rows: Window,
        columns: Window,
        x: Lanes,
        y: Lanes,
        pools: bool,
    ) -> None:
        self.b, self.groups, self.inputs, self.outputs = b, groups, group_inputs, group_outputs
        self.rows, self.columns, self.x, self.y, self.pools = rows, columns, x, y, pools
        self.row_taps = group_inputs * len(columns.taps)
        self.taps = len(rows.taps) * self.row_taps
        self.is_empty = not self.taps
        pixels = len(rows.targets) * len(columns.targets)
        fixed = 4 if pools else None
        self.tile = cheapest_tile(group_outputs, max(1, pixels), b.machine.accumulators, fixed_pixels=fixed)

    def pack(
        self,
        weight: Parameter,
        element: Callable[[Any, Any, Any], Any],
        *,
        output_stride: int,
        group_stride: int,
        coefficients: Shared | None = None,
    ) -> Shared:
        """Emit the packing; `element` says where a tap's weight is, from row and column of the kernel and channel."""
        tile_outputs = self.tile[0]
        tiles = -(-self.outputs // tile_outputs)
        packed = self.b.shared(max(1, self.groups * tiles * self.taps * tile_outputs))
        row, column, channel = np.meshgrid(self.rows.taps, self.columns.taps, np.arange(self.inputs), indexing="ij")
        table = np.asarray(element(row, column, channel)).reshape(-1).tolist()
        ints = [self.groups, self.outputs, self.taps, tile_outputs, output_stride, group_stride]
        self.b.emit(
            "pack",
            (self.b.parameter(weight), packed, coefficients),
            lambda: Encoded(ints, tables=[table]),
            scope=Scope.WHOLE,
            writes=(1,),
            packs=True,
        )
        return packed

    def emit(
        self, packed: Shared, bias: Any, argmax: Lanes | None, epilogue: Epilogue, *, macs: int, accumulate: bool
    ) -> None:
        """Emit the sums."""
        self.b.emit(
            "taps",
            (self.x, packed, bias, self.y, argmax or epilogue.added),
            lambda: self._encoded(argmax, epilogue, accumulate=accumulate),
            writes=(3, 4) if argmax else (3,),
            macs=macs,
        )

    def _encoded(self, argmax: Lanes | None, epilogue: Epilogue, *, accumulate: bool) -> Encoded:
        width, x, y = self.b.machine.width, self.x, self.y
        a, d, c = np.meshgrid(self.rows.offsets, self.columns.offsets, np.arange(self.inputs), indexing="ij")
        taps = c * x.plane + a * x.row + d
        step = self.rows.step
        row_bytes = self.groups * self.inputs * x.row * width * 4 * step
        segments, pieces = segments_of(
            self.rows,
            self.columns,
            together=2 if self.pools else 1,
            tile_pixels=self.tile[1],
            rows_a_piece=max(2, CACHE_BYTES // max(1, row_bytes)),
        )
        table: list[int] = []
        rows: list[int] = []
        columns: list[int] = []
        for segment in segments:
            first = len(rows)
            i, j = np.meshgrid(segment.rows, segment.columns, indexing="ij")
            rows += i.reshape(-1).tolist()
            columns += j.reshape(-1).tolist()
            table += [first, len(rows), *self._runs(segment.row_taps, segment.column_taps)]
        pixels_in, pixels_out = self._pixels(np.array(rows), np.array(columns))
        tile_outputs, tile_pixels = self.tile
        outputs = np.arange(self.groups * self.outputs) * y.plane
        argmax_plane = 0 if argmax is None else argmax.plane
        argmax_pixels = [] if argmax is None else floats_of(argmax.at(0, np.array(rows), np.array(columns)), width)
        return Encoded(
            [
                *(self.groups, self.outputs, self.taps, tile_outputs, tile_pixels),
                *(tile_outputs, self.taps * tile_outputs, -(-self.outputs // tile_outputs) * self.taps * tile_outputs),
                self.inputs * x.plane * width,
                *(epilogue.kind, accumulate, False, self.pools, argmax_plane, max(1, self.taps)),
            ],
            epilogue.numbers,
            [
                floats_of(taps, width),
                floats_of(pixels_in, width),
                floats_of(pixels_out, width),
                table,
                floats_of(outputs, width),
                pieces,
                argmax_pixels or [0] * pixels_out.size,
            ],
        )

    def _runs(self, row_taps: tuple[int, int], column_taps: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return first tap, taps of a run, runs, and taps from run to run, for a rectangle of the kernel."""
        height, width = row_taps[1] - row_taps[0], column_taps[1] - column_taps[0]
        first = row_taps[0] * self.row_taps + column_taps[0] * self.inputs
        if width == len(self.columns.taps):
            return first, height * self.row_taps, 1, 0
        return first, width * self.inputs, height, self.row_taps

    def _pixels(self, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Return the places in x and in y of targets; of a pooled window, its four places in x."""
        x, y, step = self.x, self.y, (self.rows.step, self.columns.step)
        if not self.pools:
            into = y.first + self.rows.targets[rows] * y.row + self.columns.targets[columns]
            return x.first + rows * step[0] * x.row + columns * step[1], into
        corner = x.first + 2 * rows * step[0] * x.row + 2 * columns * step[1]
        window = np.array([0, step[1], step[0] * x.row, step[0] * x.row + step[1]])
        return corner[:, None] + window, y.first + rows * y.row + columns
