"""Sizes and places as people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops.op import Shape
from striate.work._answer import times

__all__ = ["parse_place", "parse_sizes", "place_in"]

_PLACE = re.compile(r"(?:([a-z]+)\s*\[)?\s*(\d+(?:\s*,\s*\d+)*)?\s*\]?", flags=re.ASCII)


def parse_sizes(function: str, argument: str, value: Any, *, dims: int = 2) -> Any:
    """Return whole numbers from text such as ``2``, ``3x3`` or ``1,2``; anything but text, and words, as they are.

    Four numbers for two axes are what stands before and after each: top, bottom, left, right.

    Raises:
        UsageError: the text is neither a word nor whole numbers.

    Example:
        >>> parse_sizes("conv", "stride", "2"), parse_sizes("conv", "stride", "2x1")
        (2, (2, 1))
        >>> parse_sizes("conv", "padding", "0 1 0 1"), parse_sizes("conv", "padding", "same")
        (((0, 1), (0, 1)), 'same')
    """
    if not isinstance(value, str) or re.fullmatch(r"[a-z]+", value):
        return value
    words = re.split(r"\s*[x×,]\s*|\s+", value.strip())
    if not all(re.fullmatch(r"\d{1,9}", word, flags=re.ASCII) for word in words) or len(words) not in (
        1,
        dims,
        2 * dims,
    ):
        raise UsageError(
            f"{function}: `{argument}` must be whole numbers such as 2 or {'x'.join('2' * dims)}, got {value!r}. "
            "Write one number for all axes, or one for each."
        )
    numbers = tuple(int(word) for word in words)
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == dims:
        return numbers
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def parse_place(function: str, value: Any, *, names: Sequence[str], default: str) -> tuple[str, tuple[int, ...] | None]:
    """Return which array a place is in and its indices, from ``1,2``, ``input[1,2]`` or a tuple; None without indices.

    Example:
        >>> parse_place("conv", "kernel[0,2]", names=["output", "input", "kernel"], default="output")
        ('kernel', (0, 2))
        >>> parse_place("conv", (1, 2), names=["output"], default="output")
        ('output', (1, 2))
    """
    if value is None:
        return default, None
    if isinstance(value, int | np.integer):
        return default, (int(value),)
    if not isinstance(value, str):
        return default, tuple(value)
    found = _PLACE.fullmatch(value.strip())
    if found is None or (found[1] or default) not in names or (found[2] is None and found[1] is not None):
        others = [name for name in names if name != default]
        where = f" or, in {', '.join(others)}, such as {others[0]}[1,2]" if others else ""
        raise UsageError(
            f"{function}: `at` must be a place such as 1,2{where}, got {value!r}. Count rows and columns from 0."
        )
    return found[1] or default, tuple(int(word) for word in found[2].split(",")) if found[2] else None


def place_in(function: str, place: Sequence[int] | None, shape: Shape) -> tuple[int, ...]:
    """Return one index an axis: leading axes that were left out at 0, and all at 0 for None.

    Raises:
        UsageError: an index lies outside, or there are more than axes.

    Example:
        >>> place_in("conv", (1, 2), (1, 1, 3, 3))
        (0, 0, 1, 2)
    """
    whole = (0,) * (len(shape) - len(place or ())) + tuple(place or ())
    is_right = len(whole) == len(shape) and all(
        isinstance(i, int | np.integer) and 0 <= i < length for i, length in zip(whole, shape, strict=True)
    )
    if not is_right:
        lengths = [length for i, length in enumerate(shape) if length > 1 or i >= len(shape) - len(place or ())]
        raise UsageError(
            f"{function}: `at` must lie inside {times(lengths or shape)}, got {','.join(map(str, place or ()))}. "
            "Give one index an axis, counted from 0."
        )
    return tuple(int(i) for i in whole)
