"""3 x 3 convolutions of one image by Winograd's method, where that is faster."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded, Scope
from striate.engine._tables import Axis
from striate.engine.images._layout import Image, vectors_of
from striate.engine.images._sums import IMAGES_TOGETHER, Epilogue, output_of, scope_of, tile_of
from striate.engine.lowering.convolution import Layer
from striate.engine.lowering.folding import folded_bias
from striate.graph.graph import Node

__all__ = ["best_size", "convolve"]

SIZES = (2, 4)
"""Outputs of a tile along each axis that there are kernels for."""
TRANSFORM_CYCLES = {2: 60, 4: 200}
"""Cycles in which a vector of channels of a tile is transformed one way (measured, AVX2)."""
MULTIPLY_ADDS = 1.75
"""Vectors that are multiplied and added in a cycle."""
SUFFICIENT_CHANNELS = 8
GROUP_BYTES = 192 * 1024
"""What the transformed inputs of a group of tiles may fill: a part of a common second-level cache."""
MOST_GROUP = 64


def best_size(b: Builder, layer: Layer) -> int:
    """Return the size of tile with which a convolution is fastest, by a model; 0: without Winograd's method."""
    axes = (layer.rows, layer.columns)
    is_kind = all((a.kernel, a.stride, a.dilation) == (3, 1, 1) for a in axes) and layer.groups == 1
    if not is_kind or layer.in_channels < SUFFICIENT_CHANNELS:
        return 0
    inputs, outputs = (vectors_of(c, b.machine.width) for c in (layer.in_channels, layer.out_channels))
    pixels = layer.rows.output * layer.columns.output
    plain = layer.taps * outputs
    costs = {0: pixels * plain / MULTIPLY_ADDS + _reading(plain * b.machine.width)}
    for size in SIZES:
        tiles = -(-layer.rows.output // size) * -(-layer.columns.output // size)
        weights = (size + 2) ** 2 * layer.in_channels * outputs
        transforms = tiles * (inputs + outputs) * TRANSFORM_CYCLES[size]
        costs[size] = tiles * weights / MULTIPLY_ADDS + transforms + _reading(weights * b.machine.width)
    return min(costs, key=lambda size: costs[size])


def _reading(floats: int) -> float:
    """Return the cycles in which weights are read from the cache that holds them, or from memory."""
    size = 4 * floats
    return size / (24 if size < 2**18 else (12 if size < 2**22 else 5))


def convolve(b: Builder, node: Node, layer: Layer, x: Image, epilogue: Epilogue, *, size: int) -> Value:
    """Emit a convolution with what follows it."""
    for axis, names in ((layer.rows, ("above", "below")), (layer.columns, ("left", "right"))):
        x.reach(**dict(zip(names, _reach(axis, size), strict=True)))
    rows, columns = layer.rows.output, layer.columns.output
    if epilogue.pools:
        rows, columns = rows // 2, columns // 2
    y = output_of(b, (layer.out_channels, rows, columns), epilogue)
    map_tiles = -(-layer.rows.output // size) * -(-layer.columns.output // size)
    width = b.machine.width
    floats = (size + 2) ** 2 * layer.in_channels * vectors_of(layer.out_channels, width) * width
    scope = scope_of(x, y, floats=floats)
    group = _group(x, map_tiles * IMAGES_TOGETHER if scope is Scope.CHUNK else map_tiles, size=size)
    vectors, tile_pixels = tile_of(vectors_of(layer.out_channels, width), group, b.machine.accumulators)
    tiles = _tiles(layer, vectors, width, size=size)
    packed = _pack(b, node, layer, tiles, epilogue, size=size, floats=floats)
    bias = folded_bias(b, node.parameters.get("bias"), epilogue.coefficients, layer.out_channels)

    def encode() -> Encoded:
        tables = [tiles, *_map_tiles(layer, x, y, size=size, pools=epilogue.pools), [*range(layer.in_channels)]]
        sizes = [size, layer.in_channels, x.pitch, len(tiles) // 5, tile_pixels, len(tables[1]), group]
        return Encoded([*sizes, x.row, y.row, y.pitch, epilogue.kind, epilogue.pools], epilogue.numbers, tables)

    b.emit(
        "image_winograd",
        (x, packed, bias, y, epilogue.added),
        encode,
        scope=scope,
        writes=(3,),
        macs=layer.macs,
        scratch=4 * (size + 2) ** 2 * group * (x.pitch + vectors * width),
    )
    return Value(y, y.extent, False)


def _reach(axis: Axis, size: int) -> tuple[int, int]:
    """Return how many places before and behind the map its tiles read."""
    last = (-(-axis.output // size) - 1) * size - axis.before + size + 1
    return max(0, axis.before), max(0, last - (axis.size - 1))


def _group(x: Image, map_tiles: int, *, size: int) -> int:
    """Return how many tiles of the map are transformed together: two groups at least, for as many threads."""
    most = min(MOST_GROUP, max(4, GROUP_BYTES // (4 * (size + 2) ** 2 * x.pitch)))
    groups = max(2 if map_tiles >= 8 else 1, -(-map_tiles // most))
    return -(-map_tiles // groups)


def _tiles(layer: Layer, vectors: int, width: int, *, size: int) -> list[int]:
    """Return the table of tiles of outputs: first output, vectors, first tap, end, place of the weights."""
    table: list[int] = []
    floats = 0
    for first in range(0, layer.out_channels, vectors * width):
        own = vectors_of(min(vectors * width, layer.out_channels - first), width)
        table += [first, own, 0, layer.in_channels, floats]
        floats += (size + 2) ** 2 * layer.in_channels * own * width
    return table


def _pack(b: Builder, node: Node, layer: Layer, tiles: list[int], epilogue: Epilogue, *, size: int, floats: int) -> Any:
    packed = b.shared(floats)
    ints = [size, layer.in_channels, layer.out_channels, len(tiles) // 5]
    b.emit(
        "image_winograd_pack",
        (b.parameter(node.parameters["weight"]), packed, epilogue.coefficients),
        lambda: Encoded(ints, tables=[tiles]),
        scope=Scope.WHOLE,
        writes=(1,),
        packs=True,
    )
    return packed


def _map_tiles(layer: Layer, x: Image, y: Image, *, size: int, pools: bool) -> list[list[int]]:
    """Return for each tile of the map its corner in x and in y, and 8 x its rows + its columns within the map."""
    rows, columns = layer.rows.output, layer.columns.output
    if pools:
        rows, columns = rows // 2 * 2, columns // 2 * 2
    i, j = np.meshgrid(np.arange(0, rows, size), np.arange(0, columns, size), indexing="ij")
    corners = x.at(0, i - layer.rows.before, j - layer.columns.before)
    into = y.at(0, i // 2, j // 2) if pools else y.at(0, i, j)
    valid = 8 * np.minimum(size, rows - i) + np.minimum(size, columns - j)
    return [table.reshape(-1).tolist() for table in (corners, into, valid)]
