"""IDX, the file format of MNIST: four magic bytes, the sizes, then the values; plain or gzip-compressed.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from striate.errors import DataError

__all__ = ["read_idx"]

# MNIST's training images are 47 MB; a header that asks for more than this is a lie or an attack.
_LARGEST_BYTES = 4 * 1024**3


def read_idx(path: Path, *, ndim: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, checking its header against its contents.

    Args:
        path: The file, plain or gzip-compressed (its first bytes decide, not its name).
        ndim: Axes expected: 3 for images (N, H, W), 1 for labels (N,).

    Returns:
        The values, uint8.

    Raises:
        DataError: The file cannot be read, is not IDX, or its header does not describe its contents.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not compressed:
                return _parse(raw, path=path, ndim=ndim)
            with gzip.open(raw) as stream:
                return _parse(stream, path=path, ndim=ndim)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"read_idx: `path` must be a readable IDX file, got {path}: {error}. Delete it and download it again."
        ) from error


def _parse(stream: BinaryIO | gzip.GzipFile, *, path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    header = stream.read(4 + 4 * ndim)
    magic = bytes([0, 0, 8, ndim])
    if header[:4] != magic:
        raise DataError(
            f"read_idx: `path` must start with the magic bytes {magic.hex(' ')} (unsigned bytes, {ndim} axes), "
            f"got {header[:4].hex(' ') or 'an empty file'} in {path}. Delete it and download it again."
        )
    if len(header) < 4 + 4 * ndim:
        raise DataError(
            f"read_idx: `path` must have a header of {4 + 4 * ndim} bytes, got {len(header)} in {path}. "
            "Delete it and download it again."
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    promised = math.prod(shape)
    asked = " x ".join(f"{size:,}" for size in shape)
    if promised > _LARGEST_BYTES:
        raise DataError(
            f"read_idx: `path` must hold at most {_LARGEST_BYTES:,} values, but the header of {path} promises "
            f"{asked} = {promised:,}. Delete it and download it again."
        )
    # One byte more than promised shows a file that is too long; reading in pieces never allocates for a lie.
    content = bytearray()
    while len(content) <= promised and (piece := stream.read(min(1 << 20, promised + 1 - len(content)))):
        content += piece
    if len(content) != promised:
        held = f"more than {promised:,}" if len(content) > promised else f"only {len(content):,}"
        raise DataError(
            f"read_idx: `path` must hold what its header promises, {asked} = {promised:,} bytes, but {path} holds "
            f"{held}. Delete it and download it again."
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
