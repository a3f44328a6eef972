"""What a call says of tensors that do not fit each other, or the shape they should take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph._failed import Failed, shape_of
from striate.graph._table import by

__all__ = ["JOINS"]


def _concatenate(failed: Failed, tensors: Sequence[Tensor], dim: int = 0, **kwargs: Any) -> str | None:
    first = tensors[0]
    for other in tensors[1:]:
        if other.ndim != first.ndim:
            return f"{failed.layer} received {failed.named(first)} and {failed.named(other)}: give both the same axes."
        along = dim % first.ndim
        for axis in range(first.ndim):
            if axis != along and other.shape[axis] != first.shape[axis]:
                return (
                    f"{failed.layer} joins along axis {along} {failed.named(first)} and {failed.named(other)}: axis "
                    f"{axis} differs, {first.shape[axis]} and {other.shape[axis]}. "
                    "Bring them together by padding or stride."
                )
    return None


def _pairwise(failed: Failed, input: Any, other: Any, **kwargs: Any) -> str | None:
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        return None
    pairs = zip(reversed(input.shape), reversed(other.shape), strict=False)
    differs = [(a, b) for a, b in pairs if a != b and 1 not in (a, b)]
    if not differs:
        return None
    edit = "give both the same length"
    if input.ndim > 2:
        edit = "bring the shortcut to the same channels and stride by a 1 x 1 convolution"
    return f"{failed.layer} received {failed.named(input)} and {failed.named(other)}, which do not fit: {edit}."


def _matmul(failed: Failed, input: Tensor, other: Tensor, **kwargs: Any) -> str | None:
    rows = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] == rows:
        return None
    return (
        f"{failed.layer} received {failed.named(input)} and {failed.named(other)}: the last axis of the first must be "
        f"as long as the rows of the second, got {input.shape[-1]} and {rows}. Transpose one, or change its layer."
    )


def _view(failed: Failed, input: Tensor, *shape: Any) -> str | None:
    wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    count, known = input.numel(), math.prod(length for length in wanted if length != -1)
    if known and (count % known == 0 if -1 in wanted else count == known):
        return None
    edit = "change one of the lengths"
    if len(wanted) == 2 and input.ndim > 2:
        edit = f"write x.flatten(1), {by(shape_of(input)[1:])} = {math.prod(input.shape[1:])} values an image"
    return f"{failed.layer}{wanted} received {failed.named(input)}, {count} values: {edit}."


JOINS: dict[str, Callable[..., str | None]] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    **dict.fromkeys(("add", "sub", "mul", "div", "radd", "rsub", "rmul"), _pairwise),
    **dict.fromkeys(("matmul", "mm", "bmm"), _matmul),
    **dict.fromkeys(("view", "reshape"), _view),
}
"""By the name of the call; None is the answer where the shapes fit."""
