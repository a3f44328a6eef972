"""What a file is by its first bytes: an image format that striate reads, or something else with a name people know."""

from __future__ import annotations

from typing import Final

__all__ = ["EXTENSIONS", "FORMATS", "SNIFF_BYTES", "describe_content", "is_image"]

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
EXTENSIONS: Final = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"]
)
SNIFF_BYTES: Final = 512

_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")
_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF, little endian
    b"MM\x00*",
    b"II+\x00",  # BigTIFF
    b"MM\x00+",
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm")

# First bytes and the words for them; the words finish the sentence "cat.jpg ...".
_FOREIGN: Final = (
    (b"%PDF", "is a PDF document"),
    (b"%!PS", "is a PostScript document"),
    (b"PK\x03\x04", "is a ZIP archive"),
    (b"\x1f\x8b", "is a gzip archive"),
    (b"7z\xbc\xaf", "is a 7z archive"),
    (b"8BPS", "is a Photoshop document"),
    (b"\x89HDF", "is an HDF5 file"),
    (b"\x93NUMPY", "is a NumPy array"),
    (b"\x7fELF", "is a program"),
    (b"SIMPLE  =", "is a FITS image"),
    (b"\xff\x4f\xff\x51", "is a JPEG 2000 image"),
    (b"\x00\x00\x00\x0cjP  ", "is a JPEG 2000 image"),
    (b"\xff\x0a", "is a JPEG XL image"),
)


def is_image(start: bytes) -> bool:
    """Tell whether a file begins like an image that striate reads.

    Args:
        start: The first bytes of the file, 16 or more.

    Example:
        >>> is_image(bytes([255, 216, 255, 224])), is_image(b"hello")
        (True, False)
    """
    return (
        start.startswith(_MAGIC)
        or (start.startswith(b"BM") and start[6:10] == bytes(4))
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[4:8] == b"ftyp" and start[8:12] in _AVIF_BRANDS)
    )


def describe_content(content: bytes) -> str:
    """Say in words what a file that is no image is.

    Args:
        content: The file, or at least its first `SNIFF_BYTES` bytes.

    Returns:
        The end of a sentence: ``"is empty"``, ``"is a text file"``.

    Example:
        >>> describe_content(b"<!DOCTYPE html><title>404</title>")
        'is a web page (HTML)'
    """
    start = content[:SNIFF_BYTES]
    if not start:
        return "is empty"
    if not any(start):
        return "holds only zero bytes"
    for magic, words in _FOREIGN:
        if start.startswith(magic):
            return words
    if start[4:8] == b"ftyp":
        return "is a HEIC photograph" if start[8:12] in _HEIC_BRANDS else "is a video"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page (HTML)"
    if b"<svg" in text:
        return "is an SVG drawing"
    if text.startswith(b"<?xml"):
        return "is an XML file"
    if _is_text(start):
        return "is a JSON file" if text.startswith((b"{", b"[")) else "is a text file"
    return "is not an image"


def _is_text(start: bytes) -> bool:
    try:
        # The cut at SNIFF_BYTES may fall inside a character of up to four bytes.
        text = start[:-3].decode("utf-8") if len(start) == SNIFF_BYTES else start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(start) < SNIFF_BYTES or error.start < SNIFF_BYTES - 6:
            return False
        text = start[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
