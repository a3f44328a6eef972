"""3 x 3 convolutions of stride 1 by Winograd's method: 16 multiply-adds where the sum over taps has 36."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.engine._builder import Builder
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._tables import Axis, Window, floats_of
from striate.engine.lowering import _winograd4 as winograd4
from striate.engine.lowering.activation import Epilogue
from striate.graph.graph import Parameter

__all__ = ["fits", "input_gradient", "sum_tiles"]

FEWEST_CHANNELS = 8
"""Below, the transforms cost more than the multiply-adds they save."""
GROUP_BYTES = 128 * 1024
"""What the transformed inputs of a group of tiles may fill: a part of a common second-level cache."""


def fits(rows: Axis, columns: Axis, *, groups: int, in_channels: int, out_channels: int) -> bool:
    """Whether a convolution is of the kind, and large enough to gain by it."""
    is_kind = all((a.kernel, a.stride, a.dilation) == (3, 1, 1) and 0 <= a.before <= 2 for a in (rows, columns))
    return (
        is_kind
        and groups == 1
        and min(in_channels, out_channels) >= FEWEST_CHANNELS
        and rows.output * columns.output >= 4
    )


def sum_tiles(
    b: Builder,
    weight: Parameter,
    bias: Any,
    x: Lanes,
    y: Lanes,
    argmax: Lanes | None,
    epilogue: Epilogue,
    *,
    rows: Axis,
    columns: Axis,
    macs: int,
) -> None:
    """Emit the forward pass."""
    outputs, channels = weight.tensor.shape[:2]
    if not b.trains and winograd4.is_faster(b, rows, columns, channels=channels, outputs=outputs):
        winograd4.sum_tiles(b, weight, bias, x, y, epilogue, rows=rows, columns=columns, macs=macs)
        return
    packed = _pack(b, weight, outputs=outputs, channels=channels, flipped=False, scales=epilogue.coefficients)
    _emit(b, x, packed, bias, y, argmax, epilogue, rows.forward(), columns.forward(), accumulate=False, macs=macs)


def input_gradient(
    b: Builder, weight: Parameter, dy: Lanes, dx: Lanes, *, rows: Axis, columns: Axis, accumulate: bool, macs: int
) -> None:
    """Emit dL/dx: the same with the filters turned round, inputs and outputs exchanged."""
    channels, outputs = weight.tensor.shape[:2]
    packed = _pack(b, weight, outputs=outputs, channels=channels, flipped=True, scales=None)
    windows = rows.backward(0), columns.backward(0)
    _emit(b, dy, packed, None, dx, None, Epilogue(), *windows, accumulate=accumulate, macs=macs)


def _pack(
    b: Builder, weight: Parameter, *, outputs: int, channels: int, flipped: bool, scales: Shared | None
) -> Shared:
    tile = 6 if b.machine.accumulators >= 24 else 4  # WINOGRAD_OUTPUTS in native/winograd.hpp
    packed = b.shared(16 * channels * tile * -(-outputs // tile))
    strides = (9, 9 * outputs) if flipped else (9 * channels, 9)
    ints = [channels, outputs, *strides, flipped]
    b.emit(
        "winograd_pack",
        (b.parameter(weight), packed, scales),
        lambda: Encoded(ints),
        scope=Scope.WHOLE,
        writes=(1,),
        packs=True,
    )
    return packed


def _emit(
    b: Builder,
    x: Lanes,
    packed: Shared,
    bias: Any,
    y: Lanes,
    argmax: Lanes | None,
    epilogue: Epilogue,
    rows: Window,
    columns: Window,
    *,
    accumulate: bool,
    macs: int,
) -> None:
    width = b.machine.width
    channels, outputs = x.extent[0], y.extent[0]
    _reach(x, rows, columns)
    lengths = len(rows.targets), len(columns.targets)

    def encode() -> Encoded:
        i, j, valid = _tiles(*lengths, drops_rest=epilogue.pools)
        corners = x.first + (i + _offset(rows)) * x.row + j + _offset(columns)
        into = y.first + (i // 2 * y.row + j // 2 if epilogue.pools else i * y.row + j)
        places = [] if argmax is None else floats_of(argmax.at(0, i // 2, j // 2), width)
        argmax_plane = 0 if argmax is None else argmax.plane
        ints = [
            *(channels, outputs, len(i), min(_group(b, channels), len(i))),
            *(x.plane * width, x.row * width, y.row * width),
            *(epilogue.kind, accumulate, epilogue.pools, argmax_plane),
        ]
        tables = [floats_of(corners, width), floats_of(into, width), valid.tolist()]
        return Encoded(ints, epilogue.numbers, [*tables, floats_of(np.arange(outputs) * y.plane, width), places])

    writes = (3,) if argmax is None else (3, 4)
    b.emit("winograd", (x, packed, bias, y, argmax or epilogue.added), encode, writes=writes, macs=macs)


def _group(b: Builder, channels: int) -> int:
    """Return how many tiles are transformed together."""
    tiles = 4 if b.machine.accumulators >= 24 else 3  # WINOGRAD_TILES
    fitting = GROUP_BYTES // (16 * channels * b.machine.width * 4)
    return max(tiles, min(12, fitting) // tiles * tiles)


def _offset(window: Window) -> int:
    """Return where the first target's first tap lies."""
    return int(window.offsets.min())


def _reach(x: Lanes, rows: Window, columns: Window) -> None:
    """Let tiles of 4 x 4 that begin at every second target lie inside the borders."""
    (above, below), (left, right) = (_tile_reach(window) for window in (rows, columns))
    x.reach(above=above, below=below, left=left, right=right)


def _tile_reach(window: Window) -> tuple[int, int]:
    first = _offset(window)
    last = first + (len(window.targets) - 1) // 2 * 2 + 3
    return max(0, -first), max(0, last - (window.size - 1))


def _tiles(rows: int, columns: int, *, drops_rest: bool) -> tuple[Any, Any, Any]:
    """Return first row and first column of each tile of 2 x 2, and its valid second column (1) and row (2) as bits."""
    ends = (rows // 2 * 2, columns // 2 * 2) if drops_rest else (rows, columns)
    i, j = np.meshgrid(np.arange(0, ends[0], 2), np.arange(0, ends[1], 2), indexing="ij")
    valid = (j + 1 < columns) * 1 + (i + 1 < rows) * 2
    return i.reshape(-1), j.reshape(-1), valid.reshape(-1)
