"""`decode`, the one function that turns an image file into pixels, and lets out one kind of error.

Every part of striate reads images through it, so training, `evaluate` and `predict` see the same pixels, and what is
refused here is refused everywhere. It reads what Pillow reads of `sniff.FORMATS`, decided by content.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
import zlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from striate.data.names import printable
from striate.data.sniff import FORMATS, describe_content, is_image
from striate.errors import ImageError, UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_PIXELS", "Mode", "decode", "probe", "read_file"]

Mode = Literal["RGB", "L"]

MAX_PIXELS = 50_000_000
# An uncompressed 50-megapixel image with 16-bit RGBA has 400 MB.
_MAX_BYTES = 512 * 1024**2
_ORIENTATION_TAG = 0x0112

_ADVICE = "Replace the file, or leave it out."
_SHRINK = "Make it smaller, or leave it out."

# What Pillow raises for broken files, found by feeding it half a million mutants; none of them may reach the user.
_PILLOW_FAILURES = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, RuntimeError,
    MemoryError, AssertionError, BufferError, struct.error, zlib.error, Warning,
)  # fmt: skip


def decode(
    source: str | os.PathLike[str] | bytes, *, mode: Mode = "RGB", name: str | None = None
) -> npt.NDArray[np.uint8]:
    """Decode one image.

    The picture is turned upright (EXIF orientation); of an animation or a stack of pages the first is taken; what is
    transparent shows white paper; of 16 bits the upper 8 count; CMYK becomes RGB without a colour profile.

    Args:
        source: A path, or the contents of a file.
        mode: ``"RGB"``, or ``"L"`` for grey (luma of ITU-R 601).
        name: What to call the image in messages; its path by default.

    Returns:
        Pixels (C, H, W), uint8, contiguous; C is 3 for RGB and 1 for grey.

    Raises:
        ImageError: The file is missing, is no image, is damaged, or has more than `MAX_PIXELS` pixels.

    Example:
        >>> bitmap = bytes.fromhex("424d3a000000000000003600000028000000010000000100000001001800") + bytes(24)
        >>> decode(bitmap + bytes([0, 128, 255, 0])).ravel()
        array([255, 128,   0], dtype=uint8)
    """
    if mode not in ("RGB", "L"):
        raise UsageError(f'decode: `mode` must be "RGB" or "L", got {mode!r}. Use "L" for grey images.')
    name, content = _contents(source, name=name)
    with _quiet():
        image = _open(content, name=name)
        try:
            image.load()
            grey_or_rgb = _flatten(image, mode=mode)
        except _PILLOW_FAILURES as error:
            raise ImageError(f"decode: {name} {_reason(error, content)}. {_ADVICE}") from error
        pixels = np.asarray(grey_or_rgb)
        pixels = _upright(pixels[:, :, None] if pixels.ndim == 2 else pixels, orientation=_orientation(image))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def probe(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> tuple[int, int]:
    """Read height and width from an image's header, without decoding it.

    Args:
        source: A path, or the contents of a file.
        name: What to call the image in messages; its path by default.

    Returns:
        Height and width in pixels, as `decode` will return them.

    Raises:
        ImageError: As in `decode`, as far as the header shows it.
    """
    name, content = _contents(source, name=name)
    with _quiet():
        image = _open(content, name=name)
        width, height = image.size
        # Pillow turns the size of a TIFF while it reads the header, and that of other formats never.
        turned = image.format != "TIFF" and _orientation(image) >= 5
        return (width, height) if turned else (height, width)


def read_file(path: str | os.PathLike[str], *, name: str | None = None) -> bytes:
    """Read an image file's bytes.

    Args:
        path: The file.
        name: What to call it in messages; its path by default.

    Raises:
        ImageError: It is missing, is not a regular file, is too large, or may not be read.
    """
    name = name or printable(os.fsdecode(path))
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"decode: {name} is not a regular file. {_ADVICE}")
            if status.st_size > _MAX_BYTES:
                raise ImageError(
                    f"decode: {name} has {status.st_size:,} bytes, more than the {_MAX_BYTES:,} that are read. "
                    f"{_ADVICE}"
                )
            return stream.read()
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ImageError(f"decode: {name} cannot be read: {reason}. {_ADVICE}") from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as usual, but return at once for a pipe, which would otherwise block until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _contents(source: str | os.PathLike[str] | bytes, *, name: str | None) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return printable(name or "the image"), source
    return printable(name or os.fsdecode(source)), read_file(source, name=name)


def _open(content: bytes, *, name: str) -> Image.Image:
    """Read the header and check what it promises, before any pixel is decoded."""
    if not is_image(content[:32]):
        what = describe_content(content)
        raise ImageError(f"decode: {name} {what}; it must be one of {', '.join(FORMATS)}. {_ADVICE}")
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f"decode: {name} has more than {MAX_PIXELS:,} pixels. {_SHRINK}") from error
    except _PILLOW_FAILURES as error:
        raise ImageError(f"decode: {name} {_reason(error, content)}. {_ADVICE}") from error
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"decode: {name} has {width:,} x {height:,} = {width * height:,} pixels, more than the {MAX_PIXELS:,} that "
            f"are read. {_SHRINK}"
        )
    return image


def _flatten(image: Image.Image, *, mode: Mode) -> Image.Image:
    """Bring any of Pillow's modes to 8-bit grey or RGB."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_8_bit(image)
    # A PNG may name one colour, or a level for each palette entry, as transparent without an alpha channel.
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, image)
    return image if image.mode == mode else image.convert(mode)


def _to_8_bit(image: Image.Image) -> Image.Image:
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise _RangeError(
                f"holds floating-point values from {low:g} to {high:g}, and only 0 to 1 has a meaning as grey: "
                "save it with 8 or 16 bits"
            )
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise _RangeError(f"holds integers from {low:,} to {high:,}, more than 16 bits: save it with 8 or 16 bits")
    # The upper byte, as Pillow takes it for 16-bit colour: a grey image and its colour copy come out alike.
    return Image.fromarray((values >> 8).astype(np.uint8))


class _RangeError(ValueError):
    """The text is the reason to give to the user."""


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; a block of EXIF that cannot be read says nothing about the picture and counts as 1."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _PILLOW_FAILURES:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: npt.NDArray[np.uint8], *, orientation: int) -> npt.NDArray[np.uint8]:
    """Undo an EXIF orientation of pixels (H, W, C).

    Source: CIPA DC-008, Exif 2.32, tag Orientation: which edges row 0 and column 0 of the stored pixels stand for.
    """
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _reason(error: BaseException, content: bytes) -> str:
    """Say what is wrong in words people understand."""
    if isinstance(error, _RangeError):
        return str(error)
    text = str(error).lower()
    if isinstance(error, MemoryError):
        return "does not fit in memory"
    if isinstance(error, EOFError) or "truncated" in text or "premature" in text or "end of file" in text:
        return f"is cut off after {len(content):,} bytes"
    if "too large" in text or "max_text" in text or "decompressed data" in text:
        return f"holds a text or profile that unpacks to far more than itself ({printable(str(error))})"
    return f"is damaged ({printable(str(error)) or type(error).__name__})"


class _Quiet:
    """Silence Pillow's warnings about odd but readable files while any thread decodes.

    `warnings` keeps one list of filters for all threads, so the first thread in sets the filter and the last one out
    restores what was there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\b")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._saved.__exit__(None, None, None)


_QUIET = _Quiet()


def _quiet() -> _Quiet:
    return _QUIET
