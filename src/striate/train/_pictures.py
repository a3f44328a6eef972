"""Arrays as PNG data URIs: pictures of mistakes and filters, inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError

__all__ = ["data_uri", "filter_tiles", "picture"]

Array: TypeAlias = npt.NDArray[Any]

PICTURE_SIZE = 160  # pixels of the longer side; shown at 132, so that dense screens have some to spare
MAX_TILES = 96


def picture(pixels: Array) -> str:
    """Turn an image into a PNG data URI of about 160 pixels: small ones upscaled to whole blocks, large ones reduced.

    Args:
        pixels: uint8, (H, W), (1, H, W) or (3, H, W).

    Raises:
        UsageError: Another shape or type.
    """
    from PIL import Image

    array = np.asarray(pixels)
    if array.ndim == 2:
        array = array[None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3) or array.size == 0:
        raise UsageError(
            "write_report: `pixels` of a mistake must be uint8 of shape (H, W), (1, H, W) or (3, H, W), "
            f"got {np.asarray(pixels).dtype} of shape {np.asarray(pixels).shape}. Pass the image before normalisation."
        )
    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    longer = max(image.size)
    if longer > PICTURE_SIZE:
        image.thumbnail((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
    else:
        factor = PICTURE_SIZE // longer
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return data_uri(image)


def filter_tiles(filters: Array) -> list[tuple[str, str]]:
    """Turn first-layer filters into (title, PNG data URI) tiles, at most 96.

    All filters share one scale, so a faint tile is a weak filter: grey is 0, white the largest magnitude of any weight,
    black its negative. Filters of three channels are shown in colour, others as one grey tile for each input channel.

    Args:
        filters: Weights, (C_out, C_in, kH, kW).

    Raises:
        UsageError: Another number of axes.
    """
    from PIL import Image

    weights = np.asarray(filters, dtype=np.float64)
    if weights.ndim != 4 or weights.size == 0:
        raise UsageError(
            f"write_report: `filters` must have shape (C_out, C_in, kH, kW), got {weights.shape}. "
            "Pass the weight of the first convolution, or None without one."
        )
    weights = np.nan_to_num(weights, nan=0.0, posinf=0.0, neginf=0.0)
    scale = float(np.abs(weights).max()) or 1.0
    shades = np.round(127.5 + 127.5 * weights / scale).astype(np.uint8)
    tiles = []
    for index, filter_ in enumerate(shades):
        channels = [filter_.transpose(1, 2, 0)] if len(filter_) == 3 else list(filter_)
        for channel, values in enumerate(channels):
            name = f"filter {index + 1}" + (f", input channel {channel + 1}" if len(channels) > 1 else "")
            largest = float(np.abs(weights[index]).max())
            image = Image.fromarray(np.ascontiguousarray(values))
            factor = max(1, 56 // max(image.size))
            image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
            tiles.append((f"{name}: largest weight {largest:.3g}", data_uri(image)))
            if len(tiles) == MAX_TILES:
                return tiles
    return tiles


def data_uri(image: Any) -> str:
    """Turn a Pillow image into a PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
