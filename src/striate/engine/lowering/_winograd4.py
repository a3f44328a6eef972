"""3 x 3 convolutions by Winograd's method with tiles of 4 x 4 outputs: for large maps, weights that fit a cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.engine._builder import Builder
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._tables import Axis, floats_of
from striate.engine.lowering.activation import Epilogue
from striate.graph.graph import Parameter

__all__ = ["is_faster", "sum_tiles"]

GROUP_BYTES = 256 * 1024
"""What the transformed inputs of a group of tiles may fill: half of a common second-level cache."""
MULTIPLY_ADDS = 1.6
"""Vectors that are multiplied and added in a cycle."""
TRANSFORM_CYCLES = {2: 45, 4: 140}
"""Cycles in which a tile of one channel is transformed one way (measured, AVX2)."""
TILES_TOGETHER = {2: 12, 4: 4}
"""About as many tiles of the map as are transformed together; weights are read once for them."""


def is_faster(b: Builder, rows: Axis, columns: Axis, *, channels: int, outputs: int) -> bool:
    """Whether tiles of 4 x 4 outputs are faster than tiles of 2 x 2, by a model."""

    def cycles(size: int) -> float:
        tiles = -(-rows.output // size) * -(-columns.output // size)
        weights = (size + 2) ** 2 * channels * outputs
        reading = (
            4
            * weights
            * -(-tiles // TILES_TOGETHER[size])
            / (24 if weights < 2**16 else (12 if weights < 2**20 else 5))
        )
        return tiles * weights / MULTIPLY_ADDS + tiles * (channels + outputs) * TRANSFORM_CYCLES[size] + reading

    return cycles(4) < cycles(2)


def sum_tiles(
    b: Builder,
    weight: Parameter,
    bias: Any,
    x: Lanes,
    y: Lanes,
    epilogue: Epilogue,
    *,
    rows: Axis,
    columns: Axis,
    macs: int,
) -> None:
    """Emit the forward pass."""
    width = b.machine.width
    outputs, channels = weight.tensor.shape[:2]
    for axis, names in ((rows, ("above", "below")), (columns, ("left", "right"))):
        x.reach(**dict(zip(names, _reach(axis), strict=True)))
    lengths = (rows.output, columns.output)
    if epilogue.pools:
        lengths = (lengths[0] // 2 * 2, lengths[1] // 2 * 2)
    i, j = (table.reshape(-1) for table in np.meshgrid(*(np.arange(0, n, 4) for n in lengths), indexing="ij"))
    tile_outputs, tile_tiles = _product_tile(b, tiles=len(i), outputs=outputs)
    packed = _pack(b, weight, epilogue.coefficients, tile_outputs=tile_outputs)

    def encode() -> Encoded:
        corners = x.at(0, i - rows.before, j - columns.before)
        into = y.at(0, i // 2, j // 2) if epilogue.pools else y.at(0, i, j)
        valid = 8 * np.minimum(4, lengths[0] - i) + np.minimum(4, lengths[1] - j)
        ints = [
            *(channels, outputs, len(i), _group(b, channels, tile_tiles, len(i)), tile_outputs, tile_tiles),
            *(x.plane * width, x.row * width, y.row * width),
            *(epilogue.kind, False, epilogue.pools, 0, 0),
        ]
        planes = floats_of(np.arange(outputs) * y.plane, width)
        tables = [floats_of(corners, width), floats_of(into, width), valid.tolist(), planes, []]
        return Encoded(ints, epilogue.numbers, tables)

    b.emit("winograd4", (x, packed, bias, y, epilogue.added), encode, writes=(3,), macs=macs)


def _reach(axis: Axis) -> tuple[int, int]:
    """Return how many places before and behind the map its tiles of 6 x 6 read."""
    last = (-(-axis.output // 4) - 1) * 4 - axis.before + 5
    return max(0, axis.before), max(0, last - (axis.size - 1))


def _product_tile(b: Builder, *, tiles: int, outputs: int) -> tuple[int, int]:
    """Return how many outputs and tiles of the map are summed together, as native/winograd4.hpp has them."""
    if tiles == 1:
        return 8, 1
    options = [(6, 4), (4, 6)] if b.machine.accumulators >= 24 else [(4, 3), (3, 4)]
    return min(options, key=lambda size: -(-outputs // size[0]) * -(-tiles // size[1]))


def _group(b: Builder, channels: int, tile_tiles: int, tiles: int) -> int:
    """Return how many tiles of the map are transformed together."""
    fitting = GROUP_BYTES // (36 * channels * b.machine.width * 4)
    return min(tiles, max(1, min(16, fitting) // tile_tiles) * tile_tiles)


def _pack(b: Builder, weight: Parameter, coefficients: Shared | None, *, tile_outputs: int) -> Shared:
    outputs, channels = weight.tensor.shape[:2]
    packed = b.shared(36 * channels * -(-outputs // tile_outputs) * tile_outputs)
    b.emit(
        "winograd4_pack",
        (b.parameter(weight), packed, coefficients),
        lambda: Encoded([channels, outputs, 9 * channels, 9, False, tile_outputs]),
        scope=Scope.WHOLE,
        writes=(1,),
        packs=True,
    )
    return packed
