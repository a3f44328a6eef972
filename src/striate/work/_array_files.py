"""Arrays in files: typed numbers, NumPy's own format without pickle, and images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.data.names import printable
from striate.errors import DataError

__all__ = ["read_array_file", "suffix_of"]

TEXTS = (".csv", ".tsv", ".txt")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
MOST_BYTES = 64 * 1024**2
"""Larger files of typed numbers are not meant to be read by people."""


def suffix_of(text: str | os.PathLike[str]) -> str:
    """Return the ending of a file that can hold an array, or nothing: typed numbers have no such ending."""
    ending = "." + os.fspath(text).rpartition(".")[2].lower()
    return ending if ending in (*TEXTS, *IMAGES, ".npy") else ""


def read_array_file(path: Path, *, function: str, argument: str) -> str | npt.NDArray[Any]:
    """Return the text of a file of typed numbers, or the array of any other.

    Raises:
        ImageError: it is no .npy and no text, and no image that can be read.
        DataError: it is missing, too large or not what its ending says.
    """
    problem = f"{function}: `{argument}` must be the path of a readable file"
    try:
        if suffix_of(path) in TEXTS:
            if path.stat().st_size > MOST_BYTES:
                raise DataError(
                    f"{problem} of at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}: {printable(str(path))}. "
                    "Save large arrays as .npy."
                )
            return path.read_text(encoding="utf-8-sig")
        if suffix_of(path) == ".npy":
            # Mapped, so that a header which promises more than the file holds costs no memory.
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            if isinstance(mapped, np.ndarray):
                return np.array(mapped)
            raise DataError(
                f"{problem} with one array, got the archive {printable(str(path))}. Save it with numpy.save."
            )
    except UnicodeDecodeError as error:
        raise DataError(f"{problem} in UTF-8, got {printable(str(path))}. Save it as plain text.") from error
    except OSError as error:
        raise DataError(
            f"{problem}, got {printable(str(path))} ({error.strerror or error}). Check the path."
        ) from error
    except (ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{problem}, got {printable(str(path))}, which is no array of numbers ({error}). Save it with numpy.save."
        ) from error
    return _pixels(path)


def _pixels(path: Path) -> npt.NDArray[Any]:
    """Decode an image; grey ones, whose three channels are the same, have one channel."""
    from striate.data import decode

    pixels = decode(path)
    return pixels[0] if (pixels == pixels[0]).all() else pixels
