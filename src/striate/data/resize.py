"""Resizing, in one place: the same code fills the cache, prepares an image for `predict` and resizes sets in memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Interpolation", "resize_short_side"]

Interpolation = Literal["bilinear", "bicubic"]


def resize_short_side(
    pixels: npt.NDArray[np.uint8], *, size: int, interpolation: Interpolation = "bilinear"
) -> npt.NDArray[np.uint8]:
    """Resize one image, up or down, so that its short side is `size`; its long side ends at most twice as long.

    What lies beyond 2:1 is cropped evenly from both ends first, so a strip of 60,000 x 1 pixels costs no more than any
    other image, and no crop of the centre ever looks there. Pillow averages over all pixels when it shrinks.

    Args:
        pixels: Image (C, H, W), C is 1 or 3, uint8.
        size: The short side afterwards, in pixels.
        interpolation: ``"bilinear"`` or ``"bicubic"``.

    Returns:
        Image (C, H', W'), uint8, contiguous.

    Example:
        >>> resize_short_side(np.zeros((3, 100, 1000), dtype=np.uint8), size=50).shape
        (3, 50, 100)
    """
    from PIL import Image

    height, width = pixels.shape[1:]
    short = min(height, width)
    top, left = max(0, height - 2 * short) // 2, max(0, width - 2 * short) // 2
    pixels = pixels[:, top : top + 2 * short, left : left + 2 * short]
    if short == size:
        return np.ascontiguousarray(pixels)
    height, width = pixels.shape[1:]
    target = (round(width * size / short), round(height * size / short))
    resample = Image.Resampling[interpolation.upper()]
    grey = len(pixels) == 1
    image = Image.fromarray(np.ascontiguousarray(pixels[0] if grey else pixels.transpose(1, 2, 0)))
    resized = np.asarray(image.resize(target, resample))
    return np.ascontiguousarray(resized[None] if grey else resized.transpose(2, 0, 1))
