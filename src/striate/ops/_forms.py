"""The forms in which people write arguments, each parsed once: below this file nothing branches on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError

__all__ = ["Pads", "check_axes", "floats", "pad_pairs", "per_axis"]

Pads = tuple[tuple[int, int], ...]
"""Padding (before, after) of each spatial axis."""

LETTERS = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}


def floats(function: str, **arrays: Any) -> list[npt.NDArray[Any]]:
    """Return arrays as floating point: float32 and float64 stay what they are, everything else becomes float64.

    Raises:
        UsageError: something holds no real numbers.
    """
    converted = []
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise UsageError(
                f"{function}: `{name}` must hold real numbers, got {array.dtype}. "
                f"Give nested lists of equal lengths or a NumPy array."
            )
        converted.append(array if array.dtype in (np.float32, np.float64) else array.astype(np.float64))
    return converted


def per_axis(function: str, argument: str, value: Any, *, dims: int, smallest: int) -> tuple[int, ...]:
    """Return one whole number for each spatial axis from one number or one for each.

    Example:
        >>> per_axis("conv2d", "stride", 2, dims=2, smallest=1)
        (2, 2)
    """
    values = (value,) * dims if isinstance(value, int | np.integer) else value
    is_right = (
        isinstance(values, Sequence | np.ndarray)
        and not isinstance(values, str)
        and len(values) == dims
        and all(isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= smallest for v in values)
    )
    if not is_right:
        raise UsageError(
            f"{function}: `{argument}` must be a whole number from {smallest} on, or {dims} of them, got {value!r}. "
            f"Write {argument}={max(1, smallest)} or {argument}={(max(1, smallest),) * dims}."
        )
    return tuple(int(v) for v in values)


def pad_pairs(
    function: str,
    value: Any,
    *,
    sizes: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int],
) -> Pads:
    """Return (before, after) for each axis from any way of writing padding.

    `valid` is none; `same` makes the output ceil(size / stride) long, an odd number's larger half goes after the
    image; `full` is extent - 1 on both sides, so that the window meets every pixel with every tap. One number pads all
    sides, one number an axis both sides of it, and a pair (before, after) an axis is taken as it is.

    Args:
        function: Name for the message.
        value: ``"valid"``, ``"same"``, ``"full"``, a number, one number an axis, or one pair an axis.
        sizes: Length of the input along each axis.
        extents: Pixels that the window spans along each axis, (kernel - 1) x dilation + 1.
        strides: Step along each axis.

    Example:
        >>> pad_pairs("conv2d", "same", sizes=(5, 6), extents=(3, 4), strides=(1, 1))
        ((1, 1), (1, 2))
    """
    if isinstance(value, str):
        return _named_pads(function, value, sizes=sizes, extents=extents, strides=strides)
    dims = len(sizes)
    is_pairs = isinstance(value, Sequence | np.ndarray) and len(value) == dims and all(np.ndim(v) == 1 for v in value)
    if is_pairs:
        pairs = [per_axis(function, "padding", tuple(pair), dims=2, smallest=0) for pair in value]
        return tuple((before, after) for before, after in pairs)
    return tuple((pad, pad) for pad in per_axis(function, "padding", value, dims=dims, smallest=0))


def _named_pads(
    function: str, name: str, *, sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> Pads:
    match name:
        case "valid":
            return tuple((0, 0) for _ in sizes)
        case "full":
            return tuple((extent - 1, extent - 1) for extent in extents)
        case "same":
            pads = []
            for size, extent, stride in zip(sizes, extents, strides, strict=True):
                total = max(0, (-(-size // stride) - 1) * stride + extent - size)
                pads.append((total // 2, total - total // 2))
            return tuple(pads)
        case _:
            raise UsageError(
                f"{function}: `padding` must be valid, same, full or a number of pixels, got {name!r}. "
                "Write padding='same' to keep the size."
            )


def check_axes(function: str, argument: str, shape: Sequence[int], *, dims: int) -> None:
    """Refuse a batch that has not two axes more than the operation has dimensions."""
    if len(shape) != dims + 2:
        raise UsageError(
            f"{function}: `{argument}` must have {dims + 2} axes {LETTERS[dims]}, got {len(shape)}: {tuple(shape)}. "
            f"Add what is missing with {argument}[None] or reshape."
        )
