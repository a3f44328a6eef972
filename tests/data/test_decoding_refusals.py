"""One clear error for every kind of file that is no image, and for those that would take too much of the machine."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.decoding import MAX_PIXELS, decode, read_file
from striate.errors import ImageError, UsageError

UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encode(Image.fromarray(noise), "JPEG")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(data, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (bytes(1000), "holds only zero bytes"),
        (b"hello, world\n" * 100, "is a text file"),
        ("Größe\n".encode() * 200, "is a text file"),
        (b"<!DOCTYPE html><html><title>404 Not Found", r"is a web page \(HTML\)"),
        (b'{"error": "not found"}', "is a JSON file"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        (b"<?xml version='1.0'?><x/>", "is an XML file"),
        (b"%PDF-1.7\n%\xff", "is a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is a PostScript document"),
        (b"8BPS\0\x01" + bytes(40), "is a Photoshop document"),
        (b"PK\x03\x04" + bytes(40), "is a ZIP archive"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC photograph"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "is a video"),
        (b"\x00\xfe\x81\x05garbage" + bytes(40), "is not an image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "cat.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=rf"cat\.jpg {reason}; it must be one of JPEG, PNG"):
        decode(tmp_path / "cat.jpg")


def test_a_cut_off_file_is_named_with_its_length(tmp_path: Path):
    whole = jpeg()
    for content in (whole[: len(whole) // 2], whole[:-2], encode(Image.open(io.BytesIO(whole)), "PNG")[:2000]):
        (tmp_path / "half.jpg").write_bytes(content)
        with pytest.raises(ImageError, match=rf"half\.jpg is cut off after {len(content):,} bytes"):
            decode(tmp_path / "half.jpg")


def test_a_png_with_a_wrong_checksum_is_damaged():
    content = bytearray(encode(Image.fromarray(UPRIGHT)))
    content[content.index(b"IDAT") + 5] ^= 1
    with pytest.raises(ImageError, match="the image is damaged"):
        decode(bytes(content))


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (
        ("missing.jpg", "cannot be read: No such file or directory"),
        ("", "cannot be read: Is a directory"),
        ("pipe.jpg", "is not a regular file"),
    ):
        with pytest.raises(ImageError, match=reason):
            decode(tmp_path / name)
    with pytest.raises(ImageError, match=r"cannot be read: .*null"):
        decode("a\0b")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path):
    with (tmp_path / "huge.bmp").open("wb") as stream:
        stream.truncate(513 * 1024**2)  # sparse: takes no disk
    with pytest.raises(ImageError, match=r"huge\.bmp has 537,919,488 bytes, more than the 536,870,912"):
        read_file(tmp_path / "huge.bmp")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_from_its_header(width: int, height: int):
    # 10,000 zero rows compress to 97 KB, which a decoder would turn into seconds and gigabytes.
    content = png(width, height, data=bytes(100_000_000) if width == 10_000 else b"")
    assert len(content) < 100_000
    start = time.perf_counter()
    with pytest.raises(ImageError, match=r"pixels"):
        decode(content)
    assert time.perf_counter() - start < 0.1


def test_the_size_limit_is_in_the_message():
    assert MAX_PIXELS == 50_000_000
    with pytest.raises(ImageError, match=r"has 10,000 x 5,001 = 50,010,000 pixels, more than the 50,000,000"):
        decode(png(10_000, 5_001))


def test_text_bombs_are_refused():
    bomb = b"Comment\0\0" + zlib.compress(bytes(64 * 1024**2), 9)
    content = png(1, 1, data=b"\0\0", extra=png_chunk(b"zTXt", bomb))
    with pytest.raises(ImageError, match="unpacks to far more than itself"):
        decode(content)


def test_colour_profile_bombs_are_refused():
    bomb = b"icc\0\0" + zlib.compress(bytes(64 * 1024**2), 9)
    content = png(1, 1, data=b"\0\x07", extra=png_chunk(b"iCCP", bomb))
    with pytest.raises(ImageError, match="unpacks to far more than itself"):
        decode(content)


def test_a_strip_of_60000_pixels_is_read():
    assert decode(encode(Image.new("L", (60_000, 1))), mode="L").shape == (1, 1, 60_000)


def test_an_image_that_does_not_fit_in_memory_is_an_image_error(monkeypatch: pytest.MonkeyPatch):
    def fail(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageError, match="the image does not fit in memory"):
        decode(encode(Image.fromarray(UPRIGHT)))


def test_unknown_modes_are_refused():
    with pytest.raises(UsageError, match=r"decode: `mode` must be \"RGB\" or \"L\", got 'rgb'"):
        decode(b"", mode="rgb")  # type: ignore[arg-type]
