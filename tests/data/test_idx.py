"""IDX files that are right, and headers that lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from striate.data.idx import read_idx
from striate.errors import DataError

PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray, *, shape: tuple[int, ...] | None = None, magic: bytes | None = None) -> bytes:
    shape = shape or array.shape
    return (magic or bytes([0, 0, 8, len(shape)])) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "images"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_compressed_files_are_read_whatever_their_name(tmp_path: Path, pack: object):
    np.testing.assert_array_equal(read_idx(write(tmp_path, pack(idx(PIXELS))), ndim=3), PIXELS)  # type: ignore[operator]
    labels = np.array([7, 0], dtype=np.uint8)
    np.testing.assert_array_equal(read_idx(write(tmp_path, pack(idx(labels))), ndim=1), labels)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must start with the magic bytes 00 00 08 03 .*got an empty file"),
        (idx(PIXELS[0, 0]), r"magic bytes 00 00 08 03 \(unsigned bytes, 3 axes\), got 00 00 08 01"),
        (idx(PIXELS, magic=b"\0\0\x0d\x03"), "got 00 00 0d 03"),
        (b"<html><body>log in", "got 3c 68 74 6d"),
        (idx(PIXELS)[:9], "must have a header of 16 bytes, got 9"),
        (idx(PIXELS, shape=(3, 3, 4)), r"3 x 3 x 4 = 36 bytes, but .* holds only 24"),
        (idx(PIXELS, shape=(1, 3, 4)), r"1 x 3 x 4 = 12 bytes, but .* holds more than 12"),
        (idx(PIXELS, shape=(2**31, 2**31, 2**31)), r"promises 2,147,483,648 x 2,147,483,648 x"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_that_lie_are_refused_with_the_numbers(tmp_path: Path, content: bytes, message: str, pack: object):
    with pytest.raises(DataError, match=message):
        read_idx(write(tmp_path, pack(content)), ndim=3)  # type: ignore[operator]


def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    content = gzip.compress(idx(noise))
    with pytest.raises(DataError, match=r"must be a readable IDX file, got .*: Compressed file ended"):
        read_idx(write(tmp_path, content[: len(content) // 2]), ndim=3)


def test_damaged_compression_is_refused(tmp_path: Path):
    content = bytearray(gzip.compress(idx(PIXELS)))
    content[12] ^= 0xFF
    with pytest.raises(DataError, match="must be a readable IDX file"):
        read_idx(write(tmp_path, bytes(content)), ndim=3)


def test_a_gzip_bomb_is_read_no_further_than_its_header_promises(tmp_path: Path):
    content = gzip.compress(idx(PIXELS) + bytes(50_000_000))
    with pytest.raises(DataError, match="holds more than 24"):
        read_idx(write(tmp_path, content), ndim=3)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"images: .*No such file"):
        read_idx(tmp_path / "images", ndim=3)
