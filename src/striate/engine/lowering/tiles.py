"""Convolutions and dense layers as products of tiles of 16 x 32 by 32 x 16 numbers of bfloat16, summed in float32.

Factors are laid out as tiles just before they are multiplied: rounded to bfloat16, or, in float32, each taken as the
sum of three numbers of it. What a layer reads and leaves, its bias and its gradients are float32, and so are the
weights that an optimizer updates. See native/tile_layout.hpp.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from striate.engine._builder import Builder
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._tables import Window, floats_of, phases
from striate.engine.lowering import _tile_costs as costs
from striate.engine.lowering import _winograd4 as winograd4
from striate.engine.lowering.activation import Epilogue
from striate.engine.lowering.folding import layer_bias
from striate.graph.graph import Parameter

if TYPE_CHECKING:
    from striate.engine.lowering.convolution import Layer

__all__ = [
    "dense_input_gradient", "dense_sums", "dense_weight_gradient", "fits_dense", "fits_dense_gradient",
    "fits_input_gradient", "fits_sums", "fits_weight_gradient", "input_gradient", "sum_taps", "weight_gradient",
]  # fmt: skip

Ints = npt.NDArray[np.int64]
TILE, DEPTH, FLOATS = 16, 32, 256
"""Rows of a tile, bfloat16 of a row, and floats that a tile fills."""
PIXELS = 4
"""That are summed together, as in native/arguments.hpp."""
BLOCK_PAIRS = 16
"""That a dense weight gradient multiplies before the next ones: 512 images."""
PIECE_BYTES = 512 * 1024
"""What the factors of a piece of a weight gradient may fill: a part of a common second-level cache."""


def fits_sums(b: Builder, layer: Layer) -> bool:
    """Whether a convolution runs as products of tiles: each output reads all channels, and it is faster."""
    windows = [(layer.rows.forward(), layer.columns.forward())]
    sizes = {"channels": layer.in_channels, "outputs": layer.out_channels}
    rate = costs.WINOGRAD_RATE if layer.is_winograd else costs.VECTOR_RATE
    if layer.is_winograd and not b.trains and winograd4.is_faster(b, layer.rows, layer.columns, **sizes):
        rate = costs.WINOGRAD4_RATE
    return _fits(b, layer, windows, rate, pixels=layer.rows.size * layer.columns.size, **sizes)


def fits_input_gradient(b: Builder, layer: Layer) -> bool:
    """Whether its input gradient does."""
    windows = [*product(phases(layer.rows), phases(layer.columns))]
    pixels = layer.rows.output * layer.columns.output
    rate = costs.WINOGRAD_RATE if layer.is_winograd else costs.VECTOR_RATE
    return _fits(b, layer, windows, rate, channels=layer.out_channels, outputs=layer.in_channels, pixels=pixels)


def _fits(b: Builder, layer: Layer, windows: Any, rate: float, **sizes: int) -> bool:
    parts = b.machine.parts
    if layer.groups != 1 or not parts:
        return False
    return costs.sums_are_faster(windows, parts=parts, vector_rate=rate, **sizes)


def fits_weight_gradient(b: Builder, layer: Layer) -> bool:
    """Whether its weight gradient does."""
    if layer.groups != 1 or not b.machine.parts:
        return False
    return costs.gradient_is_faster(layer, width=b.machine.width, parts=b.machine.parts)


def fits_dense(b: Builder, features: int, outputs: int) -> bool:
    """Whether sums over so many features do."""
    return bool(b.machine.parts) and costs.dense_is_faster(features, outputs, parts=b.machine.parts)


def fits_dense_gradient(b: Builder, features: int, outputs: int) -> bool:
    """Whether the weight gradient of a dense layer does."""
    return bool(b.machine.parts) and costs.dense_gradient_is_faster(features, outputs, parts=b.machine.parts)


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
    windows = layer.rows.forward(), layer.columns.forward()
    sums = _Sums(b, *windows, _pairs(b, x), y, channels=layer.in_channels, outputs=layer.out_channels)
    elements = lambda a, d, c: c * kernel + a * layer.columns.kernel + d  # noqa: E731
    packed = sums.pack(weight, elements, output_stride=layer.taps, coefficients=epilogue.coefficients)
    total = layer_bias(b, bias, epilogue.coefficients, layer.out_channels)
    sums.emit(packed, total, argmax, epilogue, macs=layer.macs, accumulate=False)


def input_gradient(b: Builder, layer: Layer, dy: Lanes, dx: Lanes, weight: Parameter, *, accumulate: bool) -> None:
    """Emit dL/dx: for each remainder of the position by the stride, a sum over the taps that met it."""
    kernel = layer.rows.kernel * layer.columns.kernel
    elements = lambda a, d, k: k * layer.taps + a * layer.columns.kernel + d  # noqa: E731
    pairs = _pairs(b, dy)  # whatever stride there is, once
    for rows, columns in product(phases(layer.rows), phases(layer.columns)):
        sums = _Sums(b, rows, columns, pairs, dx, channels=layer.out_channels, outputs=layer.in_channels)
        packed = sums.pack(weight, elements, output_stride=kernel)
        macs = layer.macs * len(rows.taps) * len(columns.taps) // kernel
        sums.emit(packed, None, None, Epilogue(), macs=macs, accumulate=accumulate)


def weight_gradient(b: Builder, layer: Layer, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dw into the slots' sums: products of rows of x and transposed dy, both over pairs of pixels."""
    gradient = _WeightGradient(b, layer, weight)
    gradient.emit(gradient.rows_of(x), dy, macs=layer.macs)


class _WeightGradient:
    """Products of tiles over pairs of pixels, and the slot that sums them."""

    def __init__(self, b: Builder, layer: Layer, weight: Parameter) -> None:
        self.b, self.layer = b, layer
        self.outputs, self.pairs = -(-layer.out_channels // TILE), -(-layer.columns.output // 2)
        self.kernel = layer.rows.kernel * layer.columns.kernel
        self.chunks = -(-layer.in_channels // TILE)
        self.gathers = costs.gathers_pixels(layer, parts=b.machine.parts)
        self.inputs = -(-layer.taps // TILE) if self.gathers else self.kernel * self.chunks
        self.planes = layer.in_channels if self.gathers else self.chunks * TILE
        self.piece = self._piece()
        self.slot = b.tile_slot(weight, self._tap_rows, inputs=self.inputs)

    def _piece(self) -> int:
        """Return for how many steps all tiles are multiplied before the next ones."""
        step_bytes = self.b.machine.parts * 4 * FLOATS * (self.outputs + (2 if self.gathers else self.chunks))
        return min(self.layer.rows.output * self.pairs, max(1, PIECE_BYTES // step_bytes))

    def rows_of(self, x: Lanes) -> Lanes:
        """Emit x as rows of tiles."""
        b, width, layer, parts = self.b, self.b.machine.width, self.layer, self.b.machine.parts
        y = b.lanes((parts * self.planes, *x.extent[1:]), lane_bytes=2, name=f"{x.name} in bfloat16")
        above, below = layer.rows.forward().reach()
        columns = layer.columns.forward()
        # The last pair of an odd row reads one pixel more, and multiplies it by 0.
        last = (2 * self.pairs - 1) * columns.step + int(columns.offsets.max()) - (columns.size - 1)
        y.reach(above=above, below=below, left=columns.reach()[0], right=max(0, last))

        def encode() -> Encoded:
            return Encoded([*x.extent, *x.placement(width), *y.placement(width), parts, self.planes])

        b.emit("half_images", (x, y), encode)
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
            ints = [*dy.extent, *dy.placement(self.b.machine.width), self.inputs, x.plane * TILE]
            ints += [layer.columns.stride * TILE, self.gathers, self.piece]
            ints += [self.b.machine.parts, self.planes * x.plane * TILE]
            return Encoded(ints, tables=[table.tolist(), steps.tolist()])

        scratch = 4 * FLOATS * self.b.machine.parts * self.piece * (self.outputs + (2 if self.gathers else 0))
        self.b.emit("tile_outer", (x, dy, self.slot), encode, macs=macs, scratch=scratch)


def _pairs(b: Builder, x: Lanes) -> Lanes:
    """Emit x as pairs of channels: in the place of each pixel all of its pairs, one after the other."""
    width, parts, pairs = b.machine.width, b.machine.parts, -(-x.extent[0] // 2)
    y = b.lanes((parts, *x.extent[1:]), lane_bytes=4 * pairs, name=f"{x.name} in pairs")

    def encode() -> Encoded:
        return Encoded([*x.extent, *x.placement(width), *y.placement(width * pairs), parts])

    b.emit("pair_channels", (x, y), encode)
    return y


class _Sums:
    """One `tile_sums` instruction and the packing of its weights.

    A tile is 16 of the vectors that follow each other from the first place of a row of the kernel to its last. What a
    last tile holds beyond is multiplied by 0.
    """

    def __init__(
        self, b: Builder, rows: Window, columns: Window, x: Lanes, y: Lanes, *, channels: int, outputs: int
    ) -> None:
        self.b, self.rows, self.columns, self.x, self.y = b, rows, columns, x, y
        self.channels, self.outputs, self.pairs = channels, outputs, -(-channels // 2)
        (above, below), (left, right) = rows.reach(), columns.reach()
        beyond = max((-(-(-len(run) * self.pairs % TILE) // self.pairs) for run in columns.runs()), default=0)
        x.reach(above=above, below=below, left=left, right=right + beyond)
        self.steps = costs.steps_of_pixel(rows, columns, channels=channels)

    def _order(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return of each vector of all steps' tiles row and column of the kernel and pair of channels, -1: beyond.

        The fourth is where each step's tile begins: row and column of the kernel, vectors behind their place.
        """
        vectors: list[tuple[int, int, int]] = []
        begins: list[tuple[int, int, int]] = []
        for a, run in product(range(len(self.rows.taps)), self.columns.runs()):
            own = [(a, int(d), q) for d in run for q in range(self.pairs)]
            own += [(0, 0, -1)] * (-len(own) % TILE)
            begins += [(a, int(run[0]), first) for first in range(0, len(own), TILE)]
            vectors += own
        tables = np.array(vectors, dtype=np.int64).reshape(-1, 3).T
        return tables[0], tables[1], tables[2], np.array(begins, dtype=np.int64).reshape(-1, 3)

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
            a, d, q, _ = self._order()
            table = np.full(self.steps * DEPTH, -1, dtype=np.int64)
            for part in (0, 1):
                channel = 2 * q + part
                found = element(self.rows.taps[a], self.columns.taps[d], channel) if len(q) else channel
                table[part::2] = np.where((q >= 0) & (channel < self.channels), found, -1)
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
            scratch=4 * FLOATS * 2 * PIXELS,
        )

    def _encoded(self, argmax: Lanes | None, epilogue: Epilogue, *, accumulate: bool) -> Encoded:
        width, x, y = self.b.machine.width, self.x, self.y
        a, d, vectors = self._order()[3].T
        places = x.first + (self.rows.offsets[a] * x.row + self.columns.offsets[d] if len(a) else a)
        tiles = (places * self.pairs + vectors) * width
        outputs = np.arange(self.outputs) * y.plane
        into, out = self._pixels(pools=epilogue.pools)
        maxima: list[int] = []
        if argmax is not None:
            i, j = np.meshgrid(*(np.arange(n) for n in y.extent[1:]), indexing="ij")
            maxima = floats_of(argmax.at(0, i, j), width)
        ints = [self.outputs, self.steps, epilogue.kind, accumulate, False, epilogue.pools]
        ints += [0 if argmax is None else argmax.plane, self.b.machine.parts, x.plane * width * self.pairs]
        tables = [
            floats_of(tiles, 1),
            floats_of(into, width * self.pairs),
            *(floats_of(t, width) for t in (out, outputs)),
        ]
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
    packed = b.shared(b.machine.parts * max(1, -(-outputs // TILE) * steps) * FLOATS)
    b.emit(
        "tile_pack",
        (b.parameter(weight), packed, coefficients),
        lambda: Encoded([outputs, steps, output_stride, b.machine.parts], tables=[elements()]),
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
    features, outputs, width, parts = x.features, y.features, b.machine.width, b.machine.parts
    steps = -(-features // DEPTH)
    pairs = b.lanes((parts * steps * TILE, 1, 1), name=f"{x.name} in pairs")

    def filled(values: Any) -> list[int]:
        table = np.full(steps * DEPTH, -1, dtype=np.int64)
        table[:features] = values
        return table.tolist()

    if x.source is not None:
        b.emit("pair_images", (x.source, pairs), lambda: Encoded([features, parts]))
    else:
        b.emit("pair_features", (x, pairs), lambda: Encoded([parts], tables=[filled(np.array(x.all_places()) * width)]))
    elements = lambda: filled(np.arange(features) * feature_stride)  # noqa: E731
    packed = _packed(b, weight, elements, outputs, steps, output_stride, epilogue.coefficients)

    def encode() -> Encoded:
        tables = [(np.arange(steps) * FLOATS).tolist(), [], [], floats_of(y.all_places(), width), []]
        ints = [outputs, steps, epilogue.kind, accumulate, True, False, 0, parts, steps * FLOATS]
        return Encoded(ints, epilogue.numbers, tables)

    operands = (pairs, packed, bias, y, None)
    scratch = 4 * FLOATS * 2 * PIXELS
    b.emit("tile_sums", operands, encode, scope=Scope.CHUNK, writes=(3,), macs=outputs * features, scratch=scratch)


def dense_weight_gradient(b: Builder, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    """Emit dL/dw, one product of matrices over the whole batch."""
    outputs, features = weight.tensor.shape
    parts, width = b.machine.parts, b.machine.width
    gradient, accumulate = b.gradient_of(weight)
    tiles = -(-outputs // TILE)
    count = parts * tiles
    rows = b.shared(count * FLOATS, image_floats=count * FLOATS // DEPTH)
    encode_rows = lambda: Encoded([outputs, parts], tables=[floats_of(dy.all_places(), width)])  # noqa: E731
    b.emit("dense_rows", (dy, rows), encode_rows, scope=Scope.WHOLE)
    # The backward pass alone may begin when the images are no longer what they were.
    images = x.source if b.updates else None

    def encode() -> Encoded:
        ints = [outputs, features, accumulate, parts, BLOCK_PAIRS, images is not None]
        return Encoded(ints, tables=[[] if images else floats_of(x.all_places(), width)])

    scratch = 4 * FLOATS * 2 * (parts * BLOCK_PAIRS + tiles)
    operands = (rows, images or x, gradient)
    b.emit("tile_dense_gradient", operands, encode, scope=Scope.WHOLE, macs=outputs * features, scratch=scratch)
