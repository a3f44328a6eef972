"""Where products of tiles are faster than sums of vectors: a model, in cycles for a block of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from striate.engine._tables import Window

if TYPE_CHECKING:
    from striate.engine.lowering.convolution import Layer

__all__ = [
    "VECTOR_RATE",
    "WINOGRAD4_RATE",
    "WINOGRAD_RATE",
    "dense_gradient_is_faster",
    "dense_is_faster",
    "gathers_pixels",
    "gradient_is_faster",
    "steps_of_pixel",
    "sums_are_faster",
]

TILE = 16
PRODUCTS = {1: 1, 3: 6}
"""Products of tiles that make one, for factors of so many parts."""
PRODUCT_CYCLES, DENSE_CYCLES = 26, 45
"""Of two tiles that are loaded from a cache; in dense layers, whose weights come from farther away."""
COPY_CYCLES = 9
"""Of a row of a tile that is gathered."""
LAYOUT_CYCLES = 8
"""In which a vector is taken apart, and its parts are put into tiles."""
TRANSPOSE_CYCLES = 8
"""The same, where tiles are transposed."""
VECTOR_RATE, WINOGRAD_RATE, WINOGRAD4_RATE, OUTER_RATE = 1.5, 2.0, 4.0, 1.2
"""Multiply-adds of vectors in a cycle: of sums over taps, of those by Winograd's method for 2 x 2 and 4 x 4 outputs, of
weight gradients."""
LEAST_DEPTH = 64
"""Factors of a sum in bfloat16 below which laying them out takes longer than float32 does."""

Windows = Iterable[tuple[Window, Window]]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


# Sums of pixels: forward, and back to inputs -------------------------------------------------------------------------


def steps_of_pixel(rows: Window, columns: Window, *, channels: int) -> int:
    """Return how many tiles of 16 pairs a pixel meets: those of a row of the kernel follow each other."""
    return len(rows.taps) * sum(_ceil(len(run) * _ceil(channels, 2), TILE) for run in columns.runs())


def sums_are_faster(
    windows: Windows, *, channels: int, outputs: int, pixels: int, parts: int, vector_rate: float
) -> bool:
    """Whether sums over windows run faster as products of tiles.

    Args:
        windows: Of rows and columns.
        channels: That are summed.
        outputs: Channels of sums.
        pixels: Of a channel that is summed.
        parts: Of a factor; see `Machine`.
        vector_rate: Multiply-adds of vectors in a cycle, of the other choice.
    """
    tiles = macs = taps = 0
    for rows, columns in windows:
        targets, own = len(rows.targets) * len(columns.targets), len(rows.taps) * len(columns.taps)
        tiles += targets * steps_of_pixel(rows, columns, channels=channels)
        macs += targets * own * channels * outputs
        taps += own
    if parts == 1:
        return channels * taps >= LEAST_DEPTH
    products = tiles * _ceil(outputs, TILE) * PRODUCTS[parts] * PRODUCT_CYCLES
    return products + LAYOUT_CYCLES * channels * pixels < macs / vector_rate


def dense_is_faster(features: int, outputs: int, *, parts: int) -> bool:
    """Whether the sums of a dense layer do."""
    if parts == 1:
        return True
    products = _ceil(features, 2 * TILE) * _ceil(outputs, TILE) * PRODUCTS[parts]
    return products * DENSE_CYCLES + features * LAYOUT_CYCLES < features * outputs / VECTOR_RATE


# Weight gradients ----------------------------------------------------------------------------------------------------


def _pair_cycles(layer: Layer, parts: int) -> tuple[int, int]:
    """Return what a pair of pixels costs where rows are gathered, and where they are read where they are."""
    products = _ceil(layer.out_channels, TILE) * PRODUCTS[parts] * PRODUCT_CYCLES
    kernel = layer.rows.kernel * layer.columns.kernel
    gathered = _ceil(layer.taps, TILE) * (products + TILE * COPY_CYCLES * parts)
    return gathered, kernel * _ceil(layer.in_channels, TILE) * products


def gathers_pixels(layer: Layer, *, parts: int) -> bool:
    """Whether rows of x are gathered for the weight gradient; beside each other they are only where the stride is 1."""
    gathered, direct = _pair_cycles(layer, parts)
    return layer.columns.stride != 1 or gathered < direct


def gradient_is_faster(layer: Layer, *, width: int, parts: int) -> bool:
    """Whether the weight gradient of a convolution is faster as products of tiles."""
    pixels = layer.rows.output * layer.columns.output
    if parts == 1:
        return pixels * width >= LEAST_DEPTH
    gathered, direct = _pair_cycles(layer, parts)
    products = gathered if gathers_pixels(layer, parts=parts) else direct
    inputs = layer.rows.size * layer.columns.size * layer.in_channels
    layout = inputs * LAYOUT_CYCLES + pixels * layer.out_channels * TRANSPOSE_CYCLES
    return layer.rows.output * _ceil(layer.columns.output, 2) * products + layout < layer.macs / OUTER_RATE


def dense_gradient_is_faster(features: int, outputs: int, *, parts: int) -> bool:
    """Whether the weight gradient of a dense layer is, in two blocks of images."""
    if parts == 1:
        return True
    products = _ceil(features, TILE) * _ceil(outputs, TILE) * PRODUCTS[parts]
    layout = 2 * (features * TRANSPOSE_CYCLES + outputs * LAYOUT_CYCLES)
    return products * DENSE_CYCLES + layout < 2 * features * outputs / OUTER_RATE
