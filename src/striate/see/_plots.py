"""Numbers as pixels, and figures of matplotlib that need no display."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.errors import MissingExtraError

__all__ = ["grid", "heat_colours", "overlay", "signed_image", "subplots", "unit_image"]

Array: TypeAlias = npt.NDArray[Any]

GAP = 1
# Dark blue, violet, orange, light yellow: brightness rises evenly, so a grey print says the same.
HEAT = np.array([[10, 8, 40], [90, 20, 110], [190, 55, 85], [245, 140, 40], [252, 250, 190]], dtype=np.float64)


def unit_image(values: Array) -> Array:
    """Stretch an array (C, H, W) to 0 ... 1, (H, W, 3): three channels are colours, of others the mean is grey."""
    array = np.nan_to_num(np.asarray(values, dtype=np.float64))
    low, high = float(array.min()), float(array.max())
    array = (array - low) / (high - low) if high > low else np.full_like(array, 0.5)
    return _in_colour(array)


def signed_image(values: Array, *, around_zero: bool = True) -> Array:
    """Return (H, W, 3) in 0 ... 1 with 0 as middle grey, so that more and less than nothing are told apart."""
    if not around_zero:
        return unit_image(values)
    array = np.nan_to_num(np.asarray(values, dtype=np.float64))
    scale = float(np.abs(array).max(initial=0.0)) or 1.0
    return _in_colour(0.5 + 0.5 * array / scale)


def heat_colours(heat: Array) -> Array:
    """Colour a map (H, W) from dark (0 or less) to light (its largest number): (H, W, 3) in 0 ... 1."""
    array = np.clip(np.nan_to_num(np.asarray(heat, dtype=np.float64)), 0, None)
    at = array / (float(array.max(initial=0.0)) or 1.0) * (len(HEAT) - 1)
    low = np.minimum(at.astype(np.int64), len(HEAT) - 2)
    share = (at - low)[..., None]
    coloured: Array = (HEAT[low] * (1 - share) + HEAT[low + 1] * share) / 255
    return coloured


def overlay(image: Array, heat: Array) -> Array:
    """Lay a map (H, W) over an image (H, W, 3) of 0 ... 1: what is cold stays visible in grey."""
    array = np.clip(np.nan_to_num(np.asarray(heat, dtype=np.float64)), 0, None)
    share = 0.75 * (array / (float(array.max(initial=0.0)) or 1.0))[..., None]
    grey = image.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    laid: Array = grey * (1 - share) + heat_colours(heat) * share
    return laid


def grid(tiles: Array, *, columns: int | None = None) -> Array:
    """Put tiles (K, H, W, 3) beside and below each other, white between them: (H', W', 3)."""
    count, height, width = tiles.shape[:3]
    columns = columns or max(1, int(np.ceil(np.sqrt(count * height / max(width, 1)))))
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3))
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def subplots(rows: int, columns: int) -> tuple[Any, Any]:
    """Make a figure of matplotlib with bare axes, without touching its state or a display.

    Returns:
        The figure, and its axes as an array (rows, columns).

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'see: figures need matplotlib, which is not installed. Run `pip install "striate[see]"`; `.values` holds '
            "the numbers without it."
        ) from error
    figure = Figure(figsize=(2.4 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    return figure, axes


def _in_colour(array: Array) -> Array:
    """Bring (C, H, W) in 0 ... 1 to (H, W, 3)."""
    if len(array) == 3:
        return np.clip(array.transpose(1, 2, 0), 0, 1)
    grey: Array = np.clip(array.mean(axis=0), 0, 1)[..., None].repeat(3, axis=-1)
    return grey
