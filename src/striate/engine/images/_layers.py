"""Convolutions and dense layers of one image: outputs in vectors, what follows folded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Shared
from striate.engine._tables import Window
from striate.engine.images import _winograd as winograd
from striate.engine.images._layout import Image, image_of, vectors_of
from striate.engine.images._sums import IMAGES_TOGETHER, MOST_VECTORS, Epilogue, output_of, scope_of, tile_of
from striate.engine.lowering.convolution import Layer, layer_of
from striate.engine.lowering.folding import folded_bias
from striate.graph.graph import Node
from striate.ops.convolution import Convolution

__all__ = ["connect", "convolve", "is_depthwise", "may_pool"]


SHARED_BYTES, SHARED_VECTORS = 256 * 1024, 4
"""Weights of a dense layer from which on it is divided into tiles of so many vectors, for several threads."""


@dataclass(frozen=True)
class _Tile:
    """Vectors of outputs that are summed together, and the input channels that they read."""

    output: int
    vectors: int
    channels: tuple[int, int]


def is_depthwise(layer: Layer) -> bool:
    """Whether each channel has one filter, and one output."""
    return layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1


def may_pool(node: Node, x: Value) -> bool:
    """Whether a layer can do 2 x 2 max pooling too."""
    if not isinstance(node.op, Convolution):
        return False
    return not is_depthwise(layer_of(node.op, x.lanes, tuple(node.parameters["weight"].tensor.shape)))


def convolve(b: Builder, node: Node, x: Value, epilogue: Epilogue) -> Value:
    """Emit a convolution with what follows it."""
    op: Any = node.op
    source, weight = image_of(x), node.parameters["weight"]
    layer = layer_of(op, source, tuple(weight.tensor.shape))
    is_whole = source.pitch % b.machine.width == 0  # an input that is read as numbers has no whole vectors
    if is_whole and (size := winograd.best_size(b, layer)):
        return winograd.convolve(b, node, layer, source, epilogue, size=size)
    rows, columns = layer.rows.forward(), layer.columns.forward()
    if not (is_depthwise(layer) and has_neighbours(layer)):
        rows, columns = _met(rows), _met(columns)
    (above, below), (left, right) = rows.reach(), columns.reach()
    source.reach(above=above, below=below, left=left, right=right)
    lengths = layer.rows.output, layer.columns.output
    rows_out, columns_out = (n // 2 if epilogue.pools else n for n in lengths)
    y = output_of(b, (layer.out_channels, rows_out, columns_out), epilogue)
    emit = _depthwise if is_depthwise(layer) else _dense_taps
    emit(b, node, layer, rows, columns, source, y, epilogue)
    return Value(y, y.extent if op.dims == 2 else (y.extent[0], y.extent[2]), False)


def _met(window: Window) -> Window:
    """Return a window without the taps that no output meets with anything but padding; one tap remains at least."""
    last = (len(window.targets) - 1) * window.step
    firsts = np.arange(0, last + 1, window.step)[:, None] + window.offsets
    keep = np.flatnonzero(((firsts >= 0) & (firsts < window.size)).any(axis=0))
    keep = keep if len(keep) else np.zeros(1, np.int64)
    return Window(window.taps[keep], window.offsets[keep], window.step, window.size, window.targets)


def _dense_taps(
    b: Builder, node: Node, layer: Layer, rows: Window, columns: Window, x: Image, y: Image, epilogue: Epilogue
) -> None:
    pixels = layer.rows.output * layer.columns.output
    count = vectors_of(layer.out_channels, b.machine.width)
    scope = scope_of(x, y, floats=layer.taps * count * b.machine.width)
    together = pixels * IMAGES_TOGETHER if scope is Scope.CHUNK else pixels
    vectors, tile_pixels = tile_of(count, together, b.machine.accumulators, pools=epilogue.pools)
    tiles = _tiles(layer, vectors, b.machine.width)
    width = layer.columns.kernel

    def taps_of(tile: _Tile) -> Any:
        a, d, c = np.meshgrid(rows.taps, columns.taps, np.arange(*tile.channels), indexing="ij")
        return np.stack([c.reshape(-1), (a * width + d).reshape(-1)], axis=1)

    def places_of(tile: _Tile) -> Any:
        a, d, c = np.meshgrid(rows.offsets, columns.offsets, np.arange(*tile.channels), indexing="ij")
        return (a * x.row + d * x.pitch + c).reshape(-1)

    sizes = [layer.out_channels, layer.group_outputs, layer.group_inputs, layer.rows.kernel * width]
    sums = _Sums(b, node, tiles, sizes, epilogue, scope)
    sums.pack(taps_of)
    pixels_of = lambda: _pixels(layer, x, y, pools=epilogue.pools)  # noqa: E731
    sums.emit(x, y, places_of, pixels_of, tile_pixels=tile_pixels, macs=layer.macs)


def _tiles(layer: Layer, vectors: int, width: int) -> list[_Tile]:
    """Divide outputs into tiles; a tile reads the channels of all groups that it has outputs of."""
    inputs, outputs = layer.group_inputs, layer.group_outputs
    if layer.groups == 1 or outputs % width:
        # Where groups end within vectors, a tile of one vector reads the fewest channels of other groups.
        size, spans = (vectors if layer.groups == 1 else 1), [(0, layer.out_channels)]
    else:
        size, spans = vectors, [(g * outputs, (g + 1) * outputs) for g in range(layer.groups)]
    tiles = []
    for start, end in spans:
        for first in range(start, end, size * width):
            last = min(first + size * width, end)
            channels = first // outputs * inputs, ((last - 1) // outputs + 1) * inputs
            tiles.append(_Tile(first, vectors_of(last - first, width), channels))
    return tiles


def _pixels(layer: Layer, x: Image, y: Image, *, pools: bool = False) -> tuple[list[int], list[int]]:
    """Return the places of the pixels in x, of a pooled one those of its four, and in y."""
    i, j = np.arange(y.extent[1])[:, None], np.arange(y.extent[2])
    steps = layer.rows.stride, layer.columns.stride
    into = x.at(0, i * steps[0], j * steps[1])
    if pools:
        down, right = steps[0] * x.row, steps[1] * x.pitch
        into = x.at(0, 2 * i * steps[0], 2 * j * steps[1])[:, :, None] + np.array([0, right, down, down + right])
    return into.reshape(-1).tolist(), y.at(0, i, j).reshape(-1).tolist()


class _Sums:
    """One `image_taps` instruction, the packing of its weights, and its bias."""

    def __init__(
        self, b: Builder, node: Node, tiles: Sequence[_Tile], sizes: list[int], epilogue: Epilogue, scope: Scope
    ) -> None:
        self.b, self.node, self.tiles, self.sizes, self.epilogue = b, node, tiles, sizes, epilogue
        self.scope = scope
        self.packed: Shared | None = None
        self._weights: list[int] = []

    def pack(self, taps_of: Any) -> None:
        """Emit the packing; `taps_of` returns channel and element of the kernel of each tap of a tile."""
        b, width = self.b, self.b.machine.width
        table, taps, places = [], [], {}
        count = floats = 0
        for tile in self.tiles:
            if tile.channels not in places:
                own = taps_of(tile)
                places[tile.channels] = (count, count + len(own))
                taps += own.reshape(-1).tolist()
                count += len(own)
            first, end = places[tile.channels]
            table += [tile.output, tile.vectors, first, end, floats]
            self._weights.append(floats)
            floats += (end - first) * tile.vectors * width
        self.packed = b.shared(max(1, floats))
        ints = [*self.sizes, len(self.tiles)]
        b.emit(
            "image_pack",
            (b.parameter(self.node.parameters["weight"]), self.packed, self.epilogue.coefficients),
            lambda: Encoded(ints, tables=[table, taps]),
            scope=Scope.WHOLE,
            writes=(1,),
            packs=True,
        )

    def emit(self, x: Image, y: Image, places_of: Any, pixels_of: Any, *, tile_pixels: int, macs: int) -> None:
        """Emit the sums; `places_of` returns the places of the taps of a tile, `pixels_of` of pixels in x and y."""
        b, epilogue = self.b, self.epilogue
        bias = folded_bias(b, self.node.parameters.get("bias"), epilogue.coefficients, y.extent[0])

        def encode() -> Encoded:
            table: list[int] = []
            taps: list[int] = []
            known: dict[tuple[int, int], tuple[int, int]] = {}
            for tile, weights in zip(self.tiles, self._weights, strict=True):
                if tile.channels not in known:
                    own = places_of(tile).tolist()
                    known[tile.channels] = (len(taps), len(taps) + len(own))
                    taps += own
                table += [tile.output, tile.vectors, *known[tile.channels], weights]
            into, out = pixels_of()
            ints = [len(self.tiles), len(out), tile_pixels, epilogue.kind, epilogue.pools]
            return Encoded(ints, epilogue.numbers, [table, taps, into, out])

        operands = (x, self.packed, bias, y, epilogue.added)
        b.emit("image_taps", operands, encode, scope=self.scope, writes=(3,), macs=macs)


def _depthwise(
    b: Builder, node: Node, layer: Layer, rows: Window, columns: Window, x: Image, y: Image, epilogue: Epilogue
) -> None:
    a, d = np.meshgrid(rows.taps, columns.taps, indexing="ij")
    elements = (a * layer.columns.kernel + d).reshape(-1)
    width, vectors = b.machine.width, vectors_of(layer.out_channels, b.machine.width)
    packed = b.shared(max(1, vectors * width * len(elements)))
    taps = np.stack([np.full_like(elements, -1), elements], axis=1).reshape(-1).tolist()
    table = [n for v in range(vectors) for n in (v * width, 1, 0, len(elements), v * width * len(elements))]
    sizes = [layer.out_channels, 1, 1, layer.rows.kernel * layer.columns.kernel, vectors]
    b.emit(
        "image_pack",
        (b.parameter(node.parameters["weight"]), packed, epilogue.coefficients),
        lambda: Encoded(sizes, tables=[table, taps]),
        scope=Scope.WHOLE,
        writes=(1,),
        packs=True,
    )
    bias = folded_bias(b, node.parameters.get("bias"), epilogue.coefficients, layer.out_channels)
    operands = (x, packed, bias, y, epilogue.added)
    if has_neighbours(layer):
        encode = lambda: _neighbours(b, layer, x, y, epilogue)  # noqa: E731
        b.emit("image_depthwise3", operands, encode, writes=(3,), macs=layer.macs)
        return

    def encode_taps() -> Encoded:
        places = (rows.offsets[:, None] * x.row + columns.offsets * x.pitch).reshape(-1).tolist()
        into, out = _pixels(layer, x, y)
        return Encoded([vectors, len(into), len(places), epilogue.kind], epilogue.numbers, [places, into, out])

    b.emit("image_depthwise", operands, encode_taps, writes=(3,), macs=layer.macs)


def has_neighbours(layer: Layer) -> bool:
    """Whether neighbouring outputs of a depthwise convolution meet the same values under a row of three taps."""
    columns = layer.columns
    return layer.rows.kernel == columns.kernel == 3 and columns.dilation == 1 and columns.stride <= 2


def _neighbours(b: Builder, layer: Layer, x: Image, y: Image, epilogue: Epilogue) -> Encoded:
    rows, columns = layer.rows, layer.columns
    first = x.at(0, -rows.before, -columns.before)
    ints = [
        *(vectors_of(layer.out_channels, b.machine.width), rows.output, columns.output, columns.stride),
        *(first, rows.stride * x.row, rows.dilation * x.row, x.pitch),
        *(y.first, y.row, y.pitch, epilogue.kind),
    ]
    return Encoded(ints, epilogue.numbers)


def connect(b: Builder, node: Node, x: Value, epilogue: Epilogue) -> Value:
    """Emit a dense layer with what follows it: one pixel, whose taps are all features in the order of x's memory."""
    outputs, features = node.parameters["weight"].tensor.shape
    y = output_of(b, (outputs, 1, 1), epilogue)
    count = vectors_of(outputs, b.machine.width)
    source = image_of(x)
    scope = scope_of(source, y, floats=features * count * b.machine.width)
    # As even as can be: the widest tiles keep most sums of one image in flight; many weights want several threads.
    most = MOST_VECTORS if 4 * features * count * b.machine.width < SHARED_BYTES else SHARED_VECTORS
    vectors, tile_pixels = -(-count // -(-count // most)), 1
    if scope is Scope.CHUNK:
        vectors, tile_pixels = tile_of(count, IMAGES_TOGETHER, b.machine.accumulators)
    whole = (0, features)
    tiles = [_Tile(v * b.machine.width, min(vectors, count - v), whole) for v in range(0, count, vectors)]
    sums = _Sums(b, node, tiles, [outputs, outputs, features, 1], epilogue, scope)

    def order() -> Any:
        # Borders move places, and never change which of two comes first.
        return np.argsort(source.all_places(), kind="stable")

    sums.pack(lambda tile: np.stack([order(), np.zeros(features, dtype=np.int64)], axis=1))
    sums.emit(
        source,
        y,
        lambda tile: source.all_places()[order()],
        lambda: ([0], [y.first]),
        tile_pixels=tile_pixels,
        macs=outputs * features,
    )
    return Value(y, (outputs,), False)
