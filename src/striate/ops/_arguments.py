"""Checks of arguments that several operations share: axes, choices, classes, and the shape of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError, nearest
from striate.ops.op import Array, Shape

__all__ = ["as_classes", "axes_of", "axis_of", "check_axis", "check_choice", "check_grad_output", "check_range"]


def axis_of(function: str, axis: Any, *, dims: int, argument: str = "axis") -> int:
    """Return an axis counted from the front.

    Example:
        >>> axis_of("softmax", -1, dims=4)
        3
    """
    is_whole = isinstance(axis, int | np.integer) and not isinstance(axis, bool)
    if not is_whole or not -dims <= axis < dims:
        rule = f"be a whole number from {-dims} to {dims - 1}" if dims else "be left out for a single number"
        raise UsageError(
            f"{function}: `{argument}` must {rule}, got {axis!r}. Count the axes of the array: it has {dims}."
        )
    return int(axis) % dims


def axes_of(function: str, axis: Any, *, dims: int) -> tuple[int, ...]:
    """Return several axes counted from the front, ascending; None means all.

    Example:
        >>> axes_of("mean", (-1, 2), dims=4)
        (2, 3)
    """
    if axis is None:
        return tuple(range(dims))
    several = axis if isinstance(axis, Sequence | np.ndarray) and not isinstance(axis, str) else (axis,)
    axes = tuple(sorted(axis_of(function, one, dims=dims) for one in several))
    if len(set(axes)) != len(axes):
        raise UsageError(f"{function}: `axis` must name each axis once, got {axis!r}. Leave the repeated one out.")
    return axes


def check_axis(function: str, axis: int, *, shape: Shape) -> None:
    """Refuse an axis that an array does not have, or along which it holds nothing."""
    axis_of(function, axis, dims=len(shape))
    if shape[axis] == 0:
        raise UsageError(f"{function}: `x` must have values along axis {axis}, got shape {shape}. Give at least one.")


def check_choice(function: str, argument: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is not among those known."""
    if value not in choices:
        raise UsageError(
            f"{function}: `{argument}` must be one of {', '.join(choices)}, got {value!r}."
            f"{nearest(str(value), choices)} Write {argument}={choices[0]!r}."
        )


def check_grad_output(function: str, grad_output: Array, expected: Shape) -> None:
    """Refuse a gradient that is not of the output's shape."""
    if grad_output.shape != expected:
        raise UsageError(
            f"{function}: `grad_output` must have the output's shape {expected}, got {grad_output.shape}. "
            "Give dL/dy of the same forward pass."
        )


def check_range(
    function: str, argument: str, value: float, *, above: float, below: float = float("inf"), closed: bool = False
) -> None:
    """Refuse a number outside an interval, open at both ends; `closed` lets the lower end itself pass."""
    is_inside = (above <= value if closed else above < value) and value < below
    if not is_inside:
        lower = f"from {above:g} on" if closed else f"above {above:g}"
        upper = "" if below == float("inf") else f" and below {below:g}"
        raise UsageError(
            f"{function}: `{argument}` must be {lower}{upper}, got {value!r}. Choose {argument} in that interval."
        )


def as_classes(function: str, targets: Any, *, num_classes: int | None, argument: str = "targets") -> npt.NDArray[Any]:
    """Return class indices as whole numbers.

    Raises:
        UsageError: they are not whole, negative, or `num_classes` and more.
    """
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" and not (classes.dtype.kind == "f" and np.array_equal(classes, classes.round())):
        raise UsageError(
            f"{function}: `{argument}` must be whole numbers, the index of each sample's class, got {classes.dtype}. "
            "Turn names into numbers with integer_encoding."
        )
    classes = classes.astype(np.int64)
    last = np.inf if num_classes is None else num_classes - 1
    outside = classes[(classes < 0) | (classes > last)]
    if outside.size:
        rule = "be 0 or more" if num_classes is None else f"be from 0 to {num_classes - 1}"
        raise UsageError(
            f"{function}: `{argument}` must {rule}, got {int(outside[0])}. "
            "Count classes from 0, and give the network one output a class."
        )
    return classes
