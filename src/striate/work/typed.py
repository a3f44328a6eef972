"""Arrays as people type them, read once and never executed."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.work._array_files import read_array_file, suffix_of

__all__ = ["as_array", "as_kernels", "parse_array"]

Floats = npt.NDArray[np.float64]

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?", flags=re.ASCII)
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
LARGEST = 1e100
"""Squares and sums of larger numbers leave the range of float64, and would be no working."""
_EXAMPLE = 'For example "3 5 2; 9 7 5"'


def parse_array(text: str | os.PathLike[str], *, function: str = "parse_array", argument: str = "text") -> Floats:
    """Read an array from typed text, or from the file that the text names.

    Rows are parted by semicolons or new lines, values by spaces or commas, channels by ``|``. Values may be fractions
    such as 1/9; a factor may stand before ``*``, and the brackets of a Python list may stay.

    Args:
        text: The numbers; or a path to a text file of such numbers (.csv, .tsv, .txt), to a .npy file, or to an image,
            whose pixels are taken as 0 to 255.
        function: Name for messages.
        argument: What the user calls these numbers.

    Returns:
        (W,) of one row, (H, W) of several, (C, H, W) where channels are parted. Of an image (3, H, W), or (H, W) where
        its three channels are the same.

    Raises:
        UsageError: a word is no number, or rows or channels differ in size; the message names the place.
        DataError: the file cannot be read.

    Example:
        >>> parse_array("3 5 2; 9 7 5").tolist()
        [[3.0, 5.0, 2.0], [9.0, 7.0, 5.0]]
        >>> parse_array("1/4 * 1 2, -1").tolist()
        [0.25, 0.5, -0.25]
        >>> parse_array("1 2; 3 4 | 5 6; 7 8").shape
        (2, 2, 2)
    """
    if isinstance(text, os.PathLike) or suffix_of(text) or _is_other_file(text):
        content = read_array_file(Path(text), function=function, argument=argument)
        if isinstance(content, np.ndarray):
            return as_array(content, function=function, argument=argument)
        text = content
    plain = _without_brackets(text.replace("\N{MINUS SIGN}", "-"))  # as copied from a PDF
    factor_text, star, rest = plain.rpartition("*")
    factor = _value(factor_text.strip(), "the factor before *", function=function, argument=argument) if star else 1.0
    names = [f"channel {c}, " for c in range(rest.count("|") + 1)] if "|" in rest else [""]
    channels = [
        _rows(part, name, function=function, argument=argument)
        for part, name in zip(rest.split("|"), names, strict=True)
    ]
    shapes = {(len(rows), len(rows[0])) for rows in channels}
    if len(shapes) > 1:
        found = ", ".join(f"{len(rows)} x {len(rows[0])}" for rows in channels)
        raise UsageError(
            f"{function}: `{argument}` must have channels of one size, got {found}. "
            "Part rows with ; and channels with |."
        )
    values: Floats = factor * np.array(channels)
    if not (np.abs(values) <= LARGEST).all():
        raise UsageError(f"{function}: `{argument}` must hold numbers up to {LARGEST:g}. Take a smaller factor.")
    if len(channels) > 1:
        return values
    image: Floats = values[0]
    return image.reshape(-1) if len(image) == 1 else image


def as_array(value: Any, *, function: str, argument: str) -> Floats:
    """Return an array of finite float64 from text as in `parse_array`, nested lists or an array.

    Raises:
        UsageError: it holds no real numbers, none at all, or NaN or infinity.
    """
    if isinstance(value, str | os.PathLike):
        return parse_array(value, function=function, argument=argument)
    try:
        array = np.asarray(value)
    except ValueError:  # nested lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise UsageError(
            f"{function}: `{argument}` must be typed numbers or an array of them, got {_short(value)}. {_EXAMPLE}."
        )
    array = array.astype(np.float64)
    if not (np.abs(array) <= LARGEST).all():
        raise UsageError(
            f"{function}: `{argument}` must hold finite numbers up to {LARGEST:g}, got NaN, infinity or larger ones. "
            "Replace them."
        )
    return array


def as_kernels(value: Any, *, function: str, argument: str = "kernel") -> Floats:
    """Return a filter, or several of one size stacked, from text, names such as ``sobel-x``, or arrays.

    Example:
        >>> as_kernels("prewitt-x", function="conv").tolist()
        [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]
        >>> as_kernels(["1 0; 0 1", "0 1; 1 0"], function="conv").shape
        (2, 1, 2, 2)
    """
    if isinstance(value, Sequence) and value and all(isinstance(each, str) for each in value):
        several = [value] if isinstance(value, str) else list(value)
        filters = [_kernel(each, function=function, argument=argument) for each in several]
        if len(filters) == 1:
            return filters[0]
        if len({each.shape for each in filters}) > 1:
            found = ", ".join(" x ".join(map(str, each.shape)) for each in filters)
            raise UsageError(f"{function}: `{argument}`s must be of one size, got {found}. Fill up with zeros.")
        # One channel is an axis of its own, so that the axis before it counts the filters.
        return np.stack([each if each.ndim == 3 else each[None] for each in filters])
    return as_array(value, function=function, argument=argument)


def _kernel(text: str, *, function: str, argument: str) -> Floats:
    """Return one filter from its name or its numbers."""
    if re.fullmatch(r"[A-Za-z][\w\s-]*", text.strip()) and not Path(text).is_file():
        from striate.work.kernels import kernel

        return kernel(text).array()
    return parse_array(text, function=function, argument=argument)


def _is_other_file(text: str) -> bool:
    """Whether text that cannot be numbers names a file: ``12`` is a number even where a file is called so."""
    has_letters = re.search(r"[^\W\d_eE]", text) is not None
    try:
        return has_letters and "\n" not in text and Path(text).is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False


def _without_brackets(text: str) -> str:
    """Turn ``[[1, 2], [3, 4]]`` into ``1, 2; 3, 4``, and a third level of brackets into channels."""
    text = re.sub(r"\]\s*\]\s*,?\s*\[\s*\[", "|", text)
    text = re.sub(r"\]\s*,?\s*\[", ";", text)
    return re.sub(r"[\[\]]", " ", text)


def _rows(text: str, name: str, *, function: str, argument: str) -> list[list[float]]:
    """Read the rows of one channel, all of one length."""
    rows = []
    for number, line in enumerate(re.split(r"[;\n]", text.strip().removesuffix(";")), start=1):
        words = _SEPARATOR.split(line.strip())
        where = f"{name}row {number}"
        rows.append([_value(word, where, function=function, argument=argument) for word in words])
    odd = next((number for number, row in enumerate(rows, start=1) if len(row) != len(rows[0])), None)
    if odd is not None:
        first, other = (f"{len(row)} value{'s' if len(row) > 1 else ''}" for row in (rows[0], rows[odd - 1]))
        raise UsageError(
            f"{function}: `{argument}` must have rows of equal length, got {first} in {name}row 1 and {other} in "
            f"{name}row {odd}. Part rows with ; and values with spaces or commas."
        )
    return rows


def _value(word: str, where: str, *, function: str, argument: str) -> float:
    """Read one number or fraction."""
    found = _NUMBER.fullmatch(word)
    value = math.nan
    if found is not None:
        below = float(found[2] or 1)
        value = float(found[1]) / below if below else math.nan
    if not abs(value) <= LARGEST:
        shown = repr(word) if word else "nothing"
        raise UsageError(
            f"{function}: `{argument}` must hold numbers such as 2, -0.5 or 1/9, got {shown} in {where}. "
            f"{_EXAMPLE}, or the path of a file."
        )
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
