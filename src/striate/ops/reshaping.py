r"""Operations that give the same numbers another shape or order: flatten, reshape, permute, channel shuffle.

Nothing is computed, so the gradient travels the same way back: it is reshaped to the input's shape, or permuted by the
inverse permutation. In row-major order the value at $(c, i, j)$ of a map (C, H, W) is number $(c H + i) W + j$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axis_of
from striate.ops._movement import Movement, apply_movement, apply_movement_backward, everything
from striate.ops.op import Array, Shape
from striate.ops.working import Line

__all__ = [
    "ChannelShuffle", "Flatten", "Permute", "Reshape", "channel_shuffle", "channel_shuffle_backward", "flatten",
    "flatten_backward", "permute", "permute_backward", "reshape", "reshape_backward", "transpose", "transpose_backward",
]  # fmt: skip


def flatten(x: Any, *, start_dim: int = 0, end_dim: int = -1) -> Array:
    """Write several axes as one, row by row.

    Args:
        x: Any shape; of a batch of maps (N, C, H, W) take start_dim=1.
        start_dim: First axis to merge.
        end_dim: Last axis to merge.

    Raises:
        UsageError: axes that x does not have, or the wrong way round.

    Example:
        >>> flatten([[0, 10], [0, 10]]).tolist()
        [0.0, 10.0, 0.0, 10.0]
    """
    return apply_movement(_flatten("flatten", x, start_dim, end_dim), "flatten", x)


def flatten_backward(grad_output: Any, x: Any, *, start_dim: int = 0, end_dim: int = -1) -> Array:
    """Return dL/dx of `flatten`: the gradient in the shape of x."""
    op = _flatten("flatten_backward", x, start_dim, end_dim)
    return apply_movement_backward(op, "flatten_backward", grad_output, x)


def reshape(x: Any, *, shape: Sequence[int]) -> Array:
    """Give the numbers another shape, in row-major order; one length may be -1 and is worked out.

    Raises:
        UsageError: a shape of another number of values.

    Example:
        >>> reshape([1, 2, 3, 4, 5, 6], shape=(2, -1)).tolist()
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    return apply_movement(Reshape(tuple(int(n) for n in shape)), "reshape", x)


def reshape_backward(grad_output: Any, x: Any, *, shape: Sequence[int]) -> Array:
    """Return dL/dx of `reshape`: the gradient in the shape of x."""
    return apply_movement_backward(Reshape(tuple(int(n) for n in shape)), "reshape_backward", grad_output, x)


def permute(x: Any, *, axes: Sequence[int]) -> Array:
    """Put the axes in another order: the output's axis k is the input's axis axes[k].

    Raises:
        UsageError: axes that do not name each axis of x once.

    Example:
        >>> permute([[1, 2], [3, 4]], axes=(1, 0)).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    return apply_movement(_permute("permute", x, axes), "permute", x)


def permute_backward(grad_output: Any, x: Any, *, axes: Sequence[int]) -> Array:
    """Return dL/dx of `permute`: the gradient with its axes put back."""
    return apply_movement_backward(_permute("permute_backward", x, axes), "permute_backward", grad_output, x)


def transpose(x: Any, *, axis0: int, axis1: int) -> Array:
    """Swap two axes."""
    return apply_movement(_transpose("transpose", x, axis0, axis1), "transpose", x)


def transpose_backward(grad_output: Any, x: Any, *, axis0: int, axis1: int) -> Array:
    """Return dL/dx of `transpose`: the gradient with the two axes swapped back."""
    op = _transpose("transpose_backward", x, axis0, axis1)
    return apply_movement_backward(op, "transpose_backward", grad_output, x)


def channel_shuffle(x: Any, *, groups: int) -> Array:
    """Deal the channels of each group out over all groups: channel g C/G + i becomes channel i G + g.

    Args:
        x: (N, C, ...).
        groups: G, a divisor of C.

    Raises:
        UsageError: C is not divisible by G.

    Source: Zhang et al. 2018, arXiv:1707.01083 (ShuffleNet), section 3.1.

    Example:
        >>> channel_shuffle([[0, 1, 2, 3, 4, 5]], groups=2).tolist()
        [[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]]
    """
    return apply_movement(ChannelShuffle(groups), "channel_shuffle", x)


def channel_shuffle_backward(grad_output: Any, x: Any, *, groups: int) -> Array:
    """Return dL/dx of `channel_shuffle`: the gradient shuffled with C / groups groups, which is the inverse."""
    return apply_movement_backward(ChannelShuffle(groups), "channel_shuffle_backward", grad_output, x)


def _flatten(function: str, x: Any, start_dim: int, end_dim: int) -> Flatten:
    dims = np.ndim(x)
    start = axis_of(function, start_dim, dims=dims, argument="start_dim")
    return Flatten(start, axis_of(function, end_dim, dims=dims, argument="end_dim"))


def _permute(function: str, x: Any, axes: Sequence[int]) -> Permute:
    return Permute(tuple(axis_of(function, axis, dims=np.ndim(x), argument="axes") for axis in axes))


def _transpose(function: str, x: Any, axis0: int, axis1: int) -> Permute:
    dims = np.ndim(x)
    first = axis_of(function, axis0, dims=dims, argument="axis0")
    second = axis_of(function, axis1, dims=dims, argument="axis1")
    axes = list(range(dims))
    axes[first], axes[second] = axes[second], axes[first]
    return Permute(tuple(axes))


@dataclass(frozen=True)
class Flatten(Movement):
    """Several axes as one."""

    start_dim: int
    """First and last axis to merge, counted from the front."""
    end_dim: int
    name: ClassVar[str] = "flatten"
    equation: ClassVar[str] = "y[(c H + i) W + j] = x[c, i, j]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape with the merged axes' lengths multiplied."""
        (x,) = inputs
        if not 0 <= self.start_dim <= self.end_dim < len(x):
            raise UsageError(
                f"flatten: `start_dim` must not come after end_dim, nor either outside the axes 0 to {len(x) - 1}, got "
                f"{self.start_dim} and {self.end_dim}. For maps (N, C, H, W) write start_dim=1."
            )
        merged = math.prod(x[self.start_dim : self.end_dim + 1])
        return (*x[: self.start_dim], merged, *x[self.end_dim + 1 :])

    def move(self, x: Array) -> Array:
        """Merge the axes."""
        return x.reshape(self.output_shape(x.shape))

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Take the merged axis apart again."""
        return grad_output.reshape(shape)

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the row-major number of the value among those merged."""
        merged = range(self.start_dim, self.end_dim + 1)
        steps = [f"{source[axis]} x {math.prod(shape[axis + 1 : self.end_dim + 1])}" for axis in merged]
        return [Line(f"{position[self.start_dim]} = {' + '.join(steps)}, row by row")]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position: flattening ends the neighbourhood."""
        return everything(size)


@dataclass(frozen=True)
class Reshape(Movement):
    """Another shape of as many values; one length may be -1."""

    shape: tuple[int, ...]
    name: ClassVar[str] = "reshape"
    equation: ClassVar[str] = "the values of x in row-major order"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape with -1 worked out."""
        count, known = math.prod(inputs[0]), math.prod(n for n in self.shape if n != -1)
        unknown = self.shape.count(-1)
        is_right = unknown < 2 and min(self.shape, default=0) >= -1
        is_right &= count == known if not unknown else known > 0 and count % known == 0
        if not is_right:
            lengths = " x ".join(map(str, inputs[0]))
            raise UsageError(
                f"reshape: `shape` must hold as many values as x, {lengths} = {count}, with at most one -1, "
                f"got {self.shape}. Write (-1, {inputs[0][-1] if inputs[0] else 1})."
            )
        return tuple(count // known if n == -1 else n for n in self.shape)

    def move(self, x: Array) -> Array:
        """Reshape."""
        return x.reshape(self.output_shape(x.shape))

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Reshape back."""
        return grad_output.reshape(shape)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position: nothing is known of neighbourhoods in another shape."""
        return everything(size)


@dataclass(frozen=True)
class Permute(Movement):
    """The axes in another order."""

    axes: tuple[int, ...]
    """The input's axis, counted from the front, of each output axis."""
    name: ClassVar[str] = "permute"
    equation: ClassVar[str] = "y's axis k is x's axis axes[k]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the lengths in their new order."""
        (x,) = inputs
        if sorted(self.axes) != list(range(len(x))):
            raise UsageError(
                f"permute: `axes` must name each of the {len(x)} axes once, got {self.axes}. "
                f"Write a permutation of {tuple(range(len(x)))}."
            )
        return tuple(x[axis] for axis in self.axes)

    def move(self, x: Array) -> Array:
        """Permute."""
        return x.transpose(self.axes)

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Permute by the inverse."""
        return grad_output.transpose(np.argsort(self.axes))

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the order of the axes."""
        return [Line(f"axes {self.axes}")]

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return the same positions along an axis that stays in its place, else every position."""
        return positions if self.axes[axis + 2 : axis + 3] == (axis + 2,) else everything(size)


@dataclass(frozen=True)
class ChannelShuffle(Movement):
    """Channels dealt out over groups."""

    groups: int
    name: ClassVar[str] = "channel_shuffle"
    equation: ClassVar[str] = "y[i G + g] = x[g C/G + i], G groups of the C channels"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,) = inputs
        if len(x) < 2 or self.groups < 1 or x[1] % self.groups:
            raise UsageError(
                f"channel_shuffle: `groups` must divide the channels, axis 1 of {x}, got {self.groups}. "
                "Take a divisor of their number."
            )
        return x

    def move(self, x: Array) -> Array:
        """Shuffle."""
        return _shuffled(x, self.groups)

    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Shuffle back."""
        return _shuffled(grad_output, shape[1] // self.groups)

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic of the channels."""
        length = shape[1] // self.groups
        i, g = divmod(position[1], self.groups)
        came = f"{g} x {length} + {i} = {source[1]}"
        return [Line(f"channel {position[1]} = {i} x {self.groups} + {g} comes from channel {came}")]


def _shuffled(x: Array, groups: int) -> Array:
    samples, channels, *rest = x.shape
    return x.reshape(samples, groups, channels // groups, *rest).swapaxes(1, 2).reshape(x.shape)
