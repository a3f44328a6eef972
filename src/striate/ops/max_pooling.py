r"""Max pooling: the largest value of each window.

$$ y_o = \max_{k} x_{o s - p + k d}, \qquad
   \frac{\partial L}{\partial x_i} = \sum_{o\,:\, i^\star(o) = i} \frac{\partial L}{\partial y_o} $$

The switch $i^\star(o)$ is the position that won window o. A small change of the winner changes the output by as much, a
small change of any other value changes nothing, so the whole gradient goes to the winner. Where windows overlap, one
value may win several; what they give back adds up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.ops._calls import run, run_backward
from striate.ops._forms import floats
from striate.ops._pooling import Pool, parse
from striate.ops._pooling_working import grids
from striate.ops._positions import named
from striate.ops.op import Array, Gradients, Shape
from striate.ops.working import Grid, Line, Sum, Term

__all__ = [
    "MaxPool",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "place_at_switches",
]


def max_pool1d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_switches: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the largest value of each window of (N, C, L); arguments as in `max_pool2d`.

    Example:
        >>> max_pool1d([[[1.0, 4.0, 2.0, 3.0, 0.0]]], 2).tolist()
        [[[4.0, 3.0]]]
    """
    return _max_pool("max_pool1d", x, 1, return_switches, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_switches: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the largest value of each window and, if asked, where it came from.

    y[n, c, o] = max over the cells k of the window of x[n, c, o stride - padding + k dilation].

    Args:
        x: (N, C, H, W).
        kernel_size: Pixels, one number or one an axis; so are the next three.
        stride: Pixels from window to window; None is the kernel size.
        padding: Pixels of minus infinity around the image, at most half the kernel; or `same`; or pairs.
        dilation: Pixels from cell to cell of the window.
        ceil_mode: Round the output's size up: the last window may hang over, but begins inside.
        return_switches: Also return which position won.

    Returns:
        (N, C, H_out, W_out); with `return_switches` also the switches, of the same shape: the winner's position
        row W + column in its channel, -1 where a window met nothing but padding. Of equal values the first in
        row-major order wins.

    Raises:
        UsageError: the window does not fit, or the padding exceeds half the kernel.

    Source: Ranzato, Huang, Boureau & LeCun 2007, "Unsupervised learning of invariant feature hierarchies", CVPR;
        the switches: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1.

    Example:
        >>> values, switches = max_pool2d([[[[1, 5, 2], [3, 5, 9]]]], 2, stride=1, return_switches=True)
        >>> values.tolist(), switches.tolist()
        ([[[[5.0, 9.0]]]], [[[[1, 5]]]])
    """
    return _max_pool("max_pool2d", x, 2, return_switches, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_switches: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the largest value of each window of (N, C, D, H, W); arguments as in `max_pool2d`.

    Example:
        >>> max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2).tolist()
        [[[[[7.0]]]]]
    """
    return _max_pool("max_pool3d", x, 3, return_switches, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Array:
    """Return dL/dx of `max_pool1d`; arguments as there."""
    return _max_pool_backward(grad_output, x, 1, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Array:
    """Return dL/dx of `max_pool2d`: each window's gradient goes to its winner; arguments as there.

    Example:
        >>> max_pool2d_backward([[[[10.0, 1.0]]]], [[[[1, 7, 2], [3, 5, 6]]]], 2, stride=1).tolist()
        [[[[0.0, 11.0, 0.0], [0.0, 0.0, 0.0]]]]
    """
    return _max_pool_backward(grad_output, x, 2, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Array:
    """Return dL/dx of `max_pool3d`; arguments as there."""
    return _max_pool_backward(grad_output, x, 3, kernel_size, stride, padding, dilation, ceil_mode)


def place_at_switches(values: Any, switches: npt.NDArray[np.int64], *, sizes: Sequence[int]) -> Array:
    """Put each value back where its window's maximum came from; values that meet are added, the rest is 0.

    It is the backward of max pooling and, with a feature map in place of a gradient, the unpooling of a deconvnet.
    `torch.nn.functional.max_unpool2d` agrees where windows do not overlap; where they do, it keeps one value.

    Args:
        values: (N, C, ...).
        switches: From `max_pool2d`, of the same shape.
        sizes: Spatial shape of the result, (H, W) in two dimensions.

    Example:
        >>> place_at_switches([[[[5.0, 2.0]]]], np.array([[[[3, 3]]]]), sizes=(2, 2)).tolist()
        [[[[0.0, 0.0], [0.0, 7.0]]]]
    """
    (values,) = floats("place_at_switches", values=values)
    planes = math.prod(values.shape[:2])
    placed = np.zeros((planes, math.prod(sizes)), dtype=values.dtype)
    plane = np.broadcast_to(np.arange(planes)[:, None], (planes, math.prod(values.shape[2:])))
    columns = switches.reshape(plane.shape)
    won = columns >= 0
    np.add.at(placed, (plane[won], columns[won]), values.reshape(plane.shape)[won])
    return placed.reshape(*values.shape[:2], *sizes)


@dataclass(frozen=True)
class MaxPool(Pool):
    """Max pooling as an operation of a graph, in one, two or three dimensions."""

    stem: ClassVar[str] = "max_pool"
    forward_form: ClassVar[str] = "y[{p}] = max over {a} of x[{read}]"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] over the windows {p} that x[{q}] won"
    padding_value: ClassVar[float] = -math.inf

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the largest value of each window."""
        (x,) = inputs
        largest = np.full(self.output_shape(x.shape), -np.inf, dtype=x.dtype)
        for _, met in self.met(x):
            np.maximum(largest, met, out=largest)
        return largest

    def forward_with_switches(self, x: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Compute the largest value of each window, and where it came from."""
        sizes = x.shape[2:]
        largest = np.full(self.output_shape(x.shape), -np.inf, dtype=x.dtype)
        switches = np.full(largest.shape, -1, dtype=np.int64)
        for tap, met in self.met(x):
            index, inside = self._index(tap, sizes)
            # A later equal value does not win; NaN does, as in PyTorch; minus infinity wins where it is the first.
            wins = inside & ((met > largest) | np.isnan(met) | (switches < 0))
            np.copyto(largest, met, where=wins)
            np.copyto(switches, index, where=wins)
        return largest, switches

    def _index(self, tap: tuple[int, ...], sizes: Shape) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the flat position that one cell meets at all places, and whether it lies in the input."""
        index, inside = np.zeros((), dtype=np.int64), np.ones((), dtype=np.bool_)
        for axis, (size, length) in enumerate(zip(sizes, self.lengths(sizes), strict=True)):
            place = self.places(axis, np.arange(length))[:, tap[axis]]
            index = index[..., None] * size + place
            inside = inside[..., None] & (place >= 0) & (place < size)
        return index, inside

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send each window's gradient to the position that won it."""
        (x,) = inputs
        _, switches = self.forward_with_switches(x)
        return Gradients((place_at_switches(grad_output, switches, sizes=x.shape[2:]),))

    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> list[Line | Grid | Sum]:
        """Show the window's values, the winner marked."""
        winner = self._winner(channel, output)
        if winner is None:
            return [Line("the window met nothing but padding: y = -inf")]
        window = np.full(self.kernel_size, self.padding_value)
        for cell in self.cells(channel, output):
            window[cell.tap] = cell.value
        tap = next(cell.tap for cell in self.cells(channel, output) if cell.place == winner)
        equal = int((window == value).sum())
        first = f", the first of {equal} equal values in row-major order" if equal > 1 else ""
        marked = grids("the window, its winner marked", window, tuple(slice(k, k + 1) for k in tap))
        return [*marked, Line(f"y = max = {named('x', winner)} = {value:.6g}{first}")]

    def _winner(self, channel: Array, output: tuple[int, ...]) -> tuple[int, ...] | None:
        _, switches = self.forward_with_switches(channel[None, None])
        switch = int(switches[(0, 0, *output)])
        return None if switch < 0 else tuple(int(i) for i in np.unravel_index(switch, channel.shape))

    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return the window's gradient times 1 if the position won it, times 0 otherwise."""
        won = self._winner(channel, output) == place
        return Term((delta, float(won)), f"{named('dL/dy', output)} [{named('x', place)} won]")

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the comparisons: one less than the window has cells."""
        return math.prod(self.output_shape(*inputs)) * (math.prod(self.kernel_size) - 1)


def _max_pool(
    function: str, x: Any, dims: int, return_switches: bool, kernel_size: Any, *rest: Any
) -> Array | tuple[Array, Array]:
    (x,) = floats(function, x=x)
    op = _parsed(function, x.shape, dims, kernel_size, *rest)
    op.output_shape(x.shape)
    return op.forward_with_switches(x) if return_switches else run(op, x)


def _max_pool_backward(grad_output: Any, x: Any, dims: int, *options: Any) -> Array:
    function = f"max_pool{dims}d_backward"
    (x,) = floats(function, x=x)
    return run_backward(_parsed(function, x.shape, dims, *options), function, grad_output, x).inputs[0]


def _parsed(
    function: str,
    shape: Shape,
    dims: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> MaxPool:
    options = parse(
        function, shape, dims=dims, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    return MaxPool(**options, ceil_mode=ceil_mode)
