"""Pictures as arrays: read from what people have, brought to grey, reduced, and handed to Pillow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from striate.data import decode
from striate.data.names import printable
from striate.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Floats", "Pixels", "Size", "name_of", "pillow", "read_pixels", "reduce", "stem_of", "to_bytes", "view_size"]

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

Size = int | Literal["fit"] | None
"""Pixels of the longer side; None leaves a picture as it is."""

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R 601, as in `striate.data.decode`."""


def read_pixels(function: str, image: Any, *, grey: bool = False) -> Floats:
    """Return a picture (C, H, W) with C = 1 or 3 from a path, ``-``, encoded bytes, or an array with values 0 to 255.

    Args:
        function: Name for messages.
        image: Arrays may be (H, W), (H, W, 3), (3, H, W) or (1, H, W).
        grey: Return one channel.

    Raises:
        ImageError: a file cannot be read.
        UsageError: an array is no picture.
    """
    if isinstance(image, str) and image == "-":
        image = sys.stdin.buffer.read()
    if isinstance(image, str | bytes | os.PathLike):
        return decode(image, mode="L" if grey else "RGB").astype(np.float64)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] not in (1, 3) and array.shape[2] == 3:
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or array.size == 0 or array.dtype.kind not in "fiub":
        raise UsageError(
            f"{function}: `image` must be a file or numbers of shape (H, W), (H, W, 3) or (3, H, W), got "
            f"{array.dtype} of shape {np.asarray(image).shape}. Give a path, or the pixels as such an array."
        )
    values = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UsageError(f"{function}: `image` must hold finite numbers, got NaN or infinity. Replace them.")
    return np.tensordot(LUMA, values, axes=1)[None] if grey and len(values) == 3 else values


def to_bytes(values: Floats) -> Pixels:
    """Round to the 256 levels of a file; what lies outside ends at black or white."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def view_size(panels: int) -> int:
    """Return how long the longer side of a picture may be among so many panels."""
    return 560 if panels <= 3 else 420 if panels <= 8 else 320


def reduce(pixels: Pixels, *, size: Size, panels: int) -> Pixels:
    """Shrink a picture (C, H, W) so that its longer side has at most `size` pixels, or as many as fit the panels.

    Raises:
        UsageError: the size is no number of pixels.
    """
    from PIL import Image

    if size == "fit":
        size = view_size(panels)
    if size is not None and (not isinstance(size, int) or size < 1):
        raise UsageError(f"filter: `size` must be a number of pixels from 1 on, got {size!r}. Leave it out to fit.")
    longer = max(pixels.shape[1:])
    if size is None or longer <= size:
        return pixels
    height, width = (max(1, round(length * size / longer)) for length in pixels.shape[1:])
    channels = [Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS) for channel in pixels]
    return np.stack([np.asarray(channel) for channel in channels])


def pillow(pixels: Pixels) -> Image.Image:
    """Return a picture (C, H, W) as an RGB image of Pillow."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)))


def name_of(image: Any) -> str:
    """Return what to call a picture in titles: its file's name, or ``picture``."""
    is_file = isinstance(image, str | os.PathLike) and image != "-"
    return printable(Path(image).name) if is_file else "picture"


def stem_of(image: Any) -> str:
    """Return what files made from a picture begin with."""
    return Path(name_of(image)).stem
