"""Positions that people ask about, checked before anything is explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from striate.errors import UsageError

__all__ = ["checked", "named"]


def checked(function: str, position: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return a position as plain numbers.

    Negative ones are refused: a window computed from -1 lies elsewhere than the value at -1.

    Raises:
        UsageError: it has not one index an axis, or one lies outside.
    """
    is_right = len(position) == len(shape) and all(
        isinstance(i, int | np.integer) and 0 <= i < length for i, length in zip(position, shape, strict=True)
    )
    if not is_right:
        raise UsageError(
            f"{function}: `position` must be one index an axis, from 0 to less than {tuple(shape)}, "
            f"got {tuple(position)}. Count from 0."
        )
    return tuple(int(i) for i in position)


def named(letter: str, position: Sequence[int]) -> str:
    """Write the name of one value.

    Example:
        >>> named("x", (0, 2))
        'x[0, 2]'
    """
    return f"{letter}[{', '.join(str(i) for i in position)}]"
