"""Convolutions and dense layers in bfloat16: products of tiles of 16 x 32 by 32 x 16 numbers, summed in float32.

Factors are rounded to bfloat16 and laid out as tiles just before they are multiplied. What a layer reads and leaves,
its bias and its gradients are float32, and so are the weights that an optimizer updates. See native/bfloat.hpp.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from striate.engine._builder import Builder
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._machine import BF16_ISAS
from striate.engine._tables import Window, floats_of, phases
from striate.engine.lowering.activation import Epilogue
from striate.engine.lowering.folding import layer_bias
from striate.graph.graph import Parameter

if TYPE_CHECKING:
    from striate.engine.lowering.convolution import Layer

__all__ = [
    "dense_input_gradient", "dense_sums", "dense_weight_gradient", "fits", "fits_weight_gradient", "input_gradient",
    "sum_taps", "weight_gradient",
]  # fmt: skip

Ints = npt.NDArray[np.int64]
TILE, DEPTH, FLOATS = 16, 32, 256
"""Rows of a tile, bfloat16 of a row, and floats that a tile fills."""
GATHERED_BYTES = 32 * 1024
"""What gathered rows of a weight gradient may fill: most of a common first-level cache."""
LEAST_DEPTH = 64
"""Factors of a sum below which laying them out takes longer than float32 does."""
LEAST_CHANNELS = 8
"""Of inputs and outputs, for a weight gradient in float32: with fewer, most of a tile would be zeros."""
COPY_CYCLES, PRODUCT_CYCLES = 2, 16
"""What it costs to copy a row, and to multiply two tiles."""


def fits(b: Builder, layer: Layer, *, depth: int) -> bool:
    """Whether a sum over so many factors runs as products of tiles: each output reads all channels, and not too few."""
    return b.machine.has_tiles and layer.groups == 1 and depth >= LEAST_DEPTH


def fits_weight_gradient(b: Builder, layer: Layer) -> bool:
    """Whether a weight gradient runs as products of tiles: in float32 where six of them are faster than one sum."""
    if layer.groups != 1 or b.machine.isa not in BF16_ISAS:
        return False
    if b.machine.precision == "bf16":
        return layer.rows.output * layer.columns.output * b.machine.width >= LEAST_DEPTH
    return b.machine.isa == "amx" and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS


# Convolutions --------------------------------------------------------------------------------------------------------


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
    kernel = layer.rows.kernel * layer.columns.kernel
    sums = _Sums(b, layer.rows.forward(), layer.columns.forward(), x, y, outputs=layer.out_channels)
    elements = lambda a, d, c: c * kernel + a * layer.columns.kernel + d  # noqa: E731
    packed = sums.pack(weight, elements, output_stride=layer.taps, coefficients=epilogue.coefficients)
    total = layer_bias(b, bias, epilogue.coefficients, layer.out_channels)
    sums.emit(packed, total, argmax, epilogue, macs=layer.macs, accumulate=False)


def input_gradient(b: Builder, layer: Layer, dy: Lanes, dx: Lanes, weight: Parameter, *, accumulate: bool) -> None:
    """Emit dL/dx: for each remainder of the position by the stride, a sum over the taps that met it."""
    kernel = layer.rows.kernel * layer.columns.kernel
    elements = lambda a, d, k: k * layer.taps + a * layer.columns.kernel + d  # noqa: E731
    windows = [(rows, columns) for rows in phases(layer.rows) for columns in phases(layer.columns)]
    # Whatever stride there is, the gradients of the outputs are laid out once.
    source = _pairs(b, dy, padded=any(not _gathers(r, c, dy, layer.in_channels) for r, c in windows))
    for rows, columns in windows:
        sums = _Sums(b, rows, columns, dy, dx, outputs=layer.in_channels, source=source)
        packed = sums.pack(weight, elements, output_stride=kernel)
        macs = layer.macs * len(rows.taps) * len(columns.taps) // kernel
        sums.emit(packed, None, None, Epilogue(), macs=macs, accumulate=accumulate)


def weight_gradient(b: Builder, layer: Layer, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dw into the slots' sums: products of rows of x and transposed dy, both over pairs of pixels.

    In float32 each factor is taken as the sum of three numbers of bfloat16, and of their nine products those six that
    are larger than the rounding of float32. Infinity, times a part that is 0, becomes NaN.
    """
    gradient = _WeightGradient(b, layer, weight)
    parts = (0,) if b.machine.precision == "bf16" else (1, 2, 3)
    rows = {part: gradient.rows_of(x, part) for part in parts}
    columns = {part: gradient.columns_of(dy, part) for part in parts}
    for one, other in product(parts, parts):
        if one + other <= max(parts) + 1:
            gradient.emit(rows[one], columns[other], macs=layer.macs if one == other == parts[0] else 0)


class _WeightGradient:
    """Products of tiles over pairs of pixels, and the slot that sums them."""

    def __init__(self, b: Builder, layer: Layer, weight: Parameter) -> None:
        self.b, self.layer = b, layer
        self.outputs, self.pairs = -(-layer.out_channels // TILE), -(-layer.columns.output // 2)
        self.kernel = layer.rows.kernel * layer.columns.kernel
        self.chunks, gathered = -(-layer.in_channels // TILE), -(-layer.taps // TILE)
        direct = self.kernel * self.chunks
        self.gathers = layer.columns.stride != 1 or gathered * (PRODUCT_CYCLES * self.outputs + TILE * COPY_CYCLES) < (
            direct * PRODUCT_CYCLES * self.outputs
        )
        self.inputs = gathered if self.gathers else direct
        steps = layer.rows.output * self.pairs
        self.piece = min(max(1, GATHERED_BYTES // (2 * 4 * FLOATS)), steps) if self.gathers else steps
        self.slot = b.tile_slot(weight, self._tap_rows, inputs=self.inputs)

    def rows_of(self, x: Lanes, part: int) -> Lanes:
        """Emit x, or a part of its numbers, as rows of tiles."""
        b, width, layer = self.b, self.b.machine.width, self.layer
        channels = layer.in_channels if self.gathers else self.chunks * TILE
        y = b.lanes((channels, *x.extent[1:]), lane_bytes=2, name=f"{x.name} in bfloat16")
        above, below = layer.rows.forward().reach()
        columns = layer.columns.forward()
        # The last pair of an odd row reads one pixel more, and multiplies it by 0.
        last = (2 * self.pairs - 1) * columns.step + int(columns.offsets.max()) - (columns.size - 1)
        y.reach(above=above, below=below, left=columns.reach()[0], right=max(0, last))
        b.emit("half_images", (x, y), lambda: Encoded([*x.extent, *x.placement(width), *y.placement(width), part]))
        return y

    def columns_of(self, dy: Lanes, part: int) -> Lanes:
        """Emit dy, or a part of its numbers, as columns of tiles."""
        b, width = self.b, self.b.machine.width
        y = b.lanes((self.outputs, dy.extent[1], self.pairs * TILE), name=f"{dy.name} transposed")
        ints = lambda: Encoded([*dy.extent, *dy.placement(width), y.plane * width, part])  # noqa: E731
        b.emit("transpose_outputs", (dy, y), ints)
        return y

    def _tap_rows(self) -> list[int]:
        if self.gathers:
            return list(range(self.layer.taps))
        c, t = np.meshgrid(np.arange(self.layer.in_channels), np.arange(self.kernel), indexing="ij")
        return ((t * self.chunks + c // TILE) * TILE + c % TILE).reshape(-1).tolist()

    def emit(self, x: Lanes, dy: Lanes, *, macs: int) -> None:
        """Emit the products."""
        layer = self.layer
        rows, columns = layer.rows.forward(), layer.columns.forward()

        def encode() -> Encoded:
            c, a, d = np.meshgrid(np.arange(layer.in_channels), rows.offsets, columns.offsets, indexing="ij")
            places = (c * x.plane + a * x.row + d).reshape(layer.in_channels, self.kernel) + x.first
            if self.gathers:
                table = np.full(self.inputs * TILE, -1, dtype=np.int64)
                table[: layer.taps] = places.reshape(-1) * TILE
            else:
                table = places[::TILE].T.reshape(-1) * TILE
            i, q = np.meshgrid(np.arange(layer.rows.output), np.arange(self.pairs), indexing="ij")
            steps = (i * layer.rows.stride * x.row + 2 * q * layer.columns.stride).reshape(-1) * TILE
            ints = [self.inputs, self.outputs, len(steps), x.plane * TILE, layer.columns.stride * TILE, self.gathers]
            return Encoded([*ints, self.piece, dy.plane * TILE], tables=[table.tolist(), steps.tolist()])

        scratch = 4 * FLOATS * (4 + (2 * self.piece if self.gathers else 0))
        self.b.emit("tile_outer", (x, dy, self.slot), encode, macs=macs, scratch=scratch)


def _pairs(b: Builder, x: Lanes, *, padded: bool) -> Lanes:
    """Emit x as pairs of channels; padded to whole tiles of 16 pairs where tiles are read where they are."""
    width, (channels, rows, columns) = b.machine.width, x.extent
    pairs = -(-channels // 2)
    y = b.lanes((-(-pairs // TILE) * TILE if padded else pairs, rows, columns), name=f"{x.name} in pairs")
    b.emit("pair_channels", (x, y), lambda: Encoded([*x.extent, *x.placement(width), *y.placement(width)]))
    return y


def _gathers(rows: Window, columns: Window, x: Lanes, outputs: int) -> bool:
    """Whether it is faster to gather what a pixel meets than to multiply tiles that are filled up with zeros."""
    places, pairs, tiles = len(rows.taps) * len(columns.taps), -(-x.extent[0] // 2), -(-outputs // TILE)
    gathered = -(-places * pairs // TILE) * tiles * PRODUCT_CYCLES + places * pairs * COPY_CYCLES
    return gathered < places * -(-pairs // TILE) * tiles * PRODUCT_CYCLES


class _Sums:
    """One `tile_sums` instruction and the packing of its weights."""

    def __init__(
        self,
        b: Builder,
        rows: Window,
        columns: Window,
        x: Lanes,
        y: Lanes,
        *,
        outputs: int,
        source: Lanes | None = None,
    ) -> None:
        self.b, self.rows, self.columns, self.y, self.outputs = b, rows, columns, y, outputs
        self.channels = x.extent[0]
        self.gathers = _gathers(rows, columns, x, outputs)
        self.x = source or _pairs(b, x, padded=not self.gathers)
        (above, below), (left, right) = rows.reach(), columns.reach()
        self.x.reach(above=above, below=below, left=left, right=right)
        places, pairs = len(rows.taps) * len(columns.taps), -(-self.channels // 2)
        self.steps = -(-places * pairs // TILE) if self.gathers else places * -(-pairs // TILE)

    def _order(self) -> tuple[Ints, Ints, Ints]:
        """Return row and column of the kernel, and pair of channels, of each row of all steps' tiles."""
        if self.gathers:
            pairs = np.arange(-(-self.channels // 2))
        else:
            pairs = np.arange(-(-self.channels // DEPTH) * TILE)
        a, d, q = np.meshgrid(np.arange(len(self.rows.taps)), np.arange(len(self.columns.taps)), pairs, indexing="ij")
        return a.reshape(-1), d.reshape(-1), q.reshape(-1)

    def pack(
        self,
        weight: Parameter,
        element: Callable[[Any, Any, Any], Any],
        *,
        output_stride: int,
        coefficients: Shared | None = None,
    ) -> Shared:
        """Emit the packing; `element` says where a tap's weight is, from row and column of the kernel and channel."""

        def elements() -> list[int]:
            a, d, q = self._order()
            table = np.full(self.steps * DEPTH, -1, dtype=np.int64)
            for part in (0, 1):
                channel = 2 * q + part
                found = element(self.rows.taps[a], self.columns.taps[d], channel)
                table[part : 2 * len(q) : 2] = np.where(channel < self.channels, found, -1)
            return table.tolist()

        return _packed(self.b, weight, elements, self.outputs, self.steps, output_stride, coefficients)

    def emit(
        self, packed: Shared, bias: Any, argmax: Lanes | None, epilogue: Epilogue, *, macs: int, accumulate: bool
    ) -> None:
        """Emit the sums."""
        self.b.emit(
            "tile_sums",
            (self.x, packed, bias, self.y, argmax or epilogue.added),
            lambda: self._encoded(argmax, epilogue, accumulate=accumulate),
            writes=(3, 4) if argmax else (3,),
            macs=macs,
            scratch=4 * FLOATS * (4 + (4 * self.steps if self.gathers else 0)),
        )

    def _encoded(self, argmax: Lanes | None, epilogue: Epilogue, *, accumulate: bool) -> Encoded:
        width, x, y = self.b.machine.width, self.x, self.y
        a, d, q = self._order()
        places = self.rows.offsets[a] * x.row + self.columns.offsets[d] + q * x.plane + x.first
        rows = places if self.gathers else places[::TILE]
        outputs = np.arange(self.outputs) * y.plane
        into, out = self._pixels(pools=epilogue.pools)
        maxima: list[int] = []
        if argmax is not None:
            i, j = np.meshgrid(*(np.arange(n) for n in y.extent[1:]), indexing="ij")
            maxima = floats_of(argmax.at(0, i, j), width)
        ints = [self.outputs, self.steps, x.plane * width, len(rows) if self.gathers else 0]
        ints += [epilogue.kind, accumulate, False, epilogue.pools, 0 if argmax is None else argmax.plane]
        tables = [floats_of(t, width) for t in (rows, into, out, outputs)]
        return Encoded(ints, epilogue.numbers, [*tables, maxima])

    def _pixels(self, *, pools: bool) -> tuple[Any, Any]:
        """Return the places in x, from its first, and in y of targets; of a pooled window, its four places in x."""
        x, y, step = self.x, self.y, (self.rows.step, self.columns.step)
        if not pools:
            i, j = np.meshgrid(np.arange(len(self.rows.targets)), np.arange(len(self.columns.targets)), indexing="ij")
            out = y.first + self.rows.targets[i] * y.row + self.columns.targets[j]
            return i * step[0] * x.row + j * step[1], out
        i, j = np.meshgrid(*(np.arange(n) for n in y.extent[1:]), indexing="ij")
        corner = (2 * i * step[0] * x.row + 2 * j * step[1]).reshape(-1)
        window = np.array([0, step[1], step[0] * x.row, step[0] * x.row + step[1]])
        return corner[:, None] + window, y.first + i * y.row + j


def _packed(
    b: Builder,
    weight: Parameter,
    elements: Callable[[], list[int]],
    outputs: int,
    steps: int,
    output_stride: int,
    coefficients: Shared | None,
) -> Shared:
    packed = b.shared(max(1, -(-outputs // TILE) * steps) * FLOATS)
    b.emit(
        "tile_pack",
        (b.parameter(weight), packed, coefficients),
        lambda: Encoded([outputs, steps, output_stride], tables=[elements()]),
        scope=Scope.WHOLE,
        writes=(1,),
        packs=True,
    )
    return packed


# Dense layers --------------------------------------------------------------------------------------------------------


def dense_sums(b: Builder, weight: Parameter, bias: Parameter | None, x: Lanes, y: Lanes, epilogue: Epilogue) -> None:
    """Emit the forward pass of a dense layer, for all blocks of a chunk at once."""
    outputs, features = weight.tensor.shape
    total = layer_bias(b, bias, epilogue.coefficients, outputs)
    strides = {"output_stride": features, "feature_stride": 1}
    _dense(b, weight, total, x, y, epilogue, accumulate=False, **strides)


def dense_input_gradient(b: Builder, weight: Parameter, dy: Lanes, dx: Lanes, *, accumulate: bool) -> None:
    """Emit dL/dx."""
    strides = {"output_stride": 1, "feature_stride": weight.tensor.shape[1]}
    _dense(b, weight, None, dy, dx, Epilogue(), accumulate=accumulate, **strides)


def _dense(
    b: Builder,
    weight: Parameter,
    bias: Any,
    x: Lanes,
    y: Lanes,
    epilogue: Epilogue,
    *,
    output_stride: int,
    feature_stride: int,
    accumulate: bool,
) -> None:
    features, outputs, width = x.features, y.features, b.machine.width
    steps = -(-features // DEPTH)
    pairs = b.lanes((steps * TILE, 1, 1), name=f"{x.name} in pairs")

    def filled(values: Any) -> list[int]:
        table = np.full(steps * DEPTH, -1, dtype=np.int64)
        table[:features] = values
        return table.tolist()

    b.emit("pair_features", (x, pairs), lambda: Encoded(tables=[filled(np.array(x.all_places()) * width)]))
    elements = lambda: filled(np.arange(features) * feature_stride)  # noqa: E731
    packed = _packed(b, weight, elements, outputs, steps, output_stride, epilogue.coefficients)

    def encode() -> Encoded:
        tables = [(np.arange(steps) * FLOATS).tolist(), [], [], floats_of(y.all_places(), width), []]
        return Encoded([outputs, steps, width, 0, epilogue.kind, accumulate, True, False, 0], epilogue.numbers, tables)

    operands = (pairs, packed, bias, y, None)
    b.emit("tile_sums", operands, encode, scope=Scope.CHUNK, writes=(3,), macs=outputs * features)


def dense_weight_gradient(b: Builder, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dw, one product of matrices over the whole batch."""
    outputs, features = weight.tensor.shape
    gradient, accumulate = b.gradient_of(weight)
    tiles = []
    for name, lanes in (("dense_rows", dy), ("dense_columns", x)):
        count = -(-lanes.features // TILE)
        made = b.shared(count * FLOATS, image_floats=count * FLOATS // DEPTH)
        b.emit(name, (lanes, made), partial(_features, lanes, b.machine.width), scope=Scope.WHOLE)
        tiles.append(made)
    ints = [outputs, features, accumulate]
    operands = (*tiles, gradient)
    b.emit("tile_dense_gradient", operands, lambda: Encoded(ints), scope=Scope.WHOLE, macs=outputs * features)


def _features(lanes: Lanes, width: int) -> Encoded:
    return Encoded([lanes.features], tables=[floats_of(lanes.all_places(), width)])
