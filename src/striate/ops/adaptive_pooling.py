r"""Adaptive pooling: a fixed output size; the windows follow from it.

Along each axis, output position i of `out` reads the input positions from $a_i = \lfloor i H / \text{out} \rfloor$ to
before $e_i = \lceil (i+1) H / \text{out} \rceil$. Where `out` does not divide H, windows
overlap and their lengths differ by one pixel at most:

$$ y_{ij} = \frac{1}{(e_i - a_i)(e'_j - a'_j)} \sum_{u=a_i}^{e_i - 1} \sum_{v=a'_j}^{e'_j - 1} x_{uv}
   \quad\text{or}\quad \max_{u, v} x_{uv} . $$

The gradient goes back as in any average or max pooling: evenly, or to the winner; overlaps add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.ops._adaptive import AdaptivePool, parse
from striate.ops._calls import run, run_backward
from striate.ops._forms import floats
from striate.ops._positions import named
from striate.ops.max_pooling import place_at_switches
from striate.ops.op import Array, Gradients
from striate.ops.working import Line, Sum, Term, number

__all__ = [
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
]


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Array:
    """Average (N, C, L) to an output of given length; arguments as in `adaptive_avg_pool2d`.

    Example:
        >>> adaptive_avg_pool1d([[[1.0, 2.0, 3.0]]], 2).tolist()
        [[[1.5, 2.5]]]
    """
    return _pool(AdaptiveAvgPool, "adaptive_avg_pool1d", x, output_size, dims=1)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Array:
    """Average to an output of given size; output i reads rows floor(i H / H_out) to before ceil((i + 1) H / H_out).

    Args:
        x: (N, C, H, W).
        output_size: H_out and W_out, one number for both, or None for an axis that stays as it is.

    Returns:
        (N, C, H_out, W_out).

    Raises:
        UsageError: `output_size` is not a number from 1 on, or one an axis.

    Source: PyTorch, `nn.AdaptiveAvgPool2d`; the idea of a fixed number of windows: He, Zhang, Ren & Sun 2014,
        "Spatial pyramid pooling in deep convolutional networks for visual recognition", ECCV, section 2.2.

    Example:
        >>> adaptive_avg_pool2d([[[[1, 2, 3], [4, 5, 6]]]], (1, 2)).tolist()
        [[[[3.0, 4.0]]]]
    """
    return _pool(AdaptiveAvgPool, "adaptive_avg_pool2d", x, output_size, dims=2)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Array:
    """Average (N, C, D, H, W) to an output of given size; arguments as in `adaptive_avg_pool2d`.

    Example:
        >>> adaptive_avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), (2, 1, 1)).tolist()
        [[[[[1.5]], [[5.5]]]]]
    """
    return _pool(AdaptiveAvgPool, "adaptive_avg_pool3d", x, output_size, dims=3)


def adaptive_max_pool1d(x: Any, output_size: Any, *, return_switches: bool = False) -> Array | tuple[Array, Array]:
    """Take the largest values of (N, C, L) at an output of given length; arguments as in `adaptive_max_pool2d`.

    Example:
        >>> adaptive_max_pool1d([[[1.0, 2.0, 3.0]]], 2).tolist()
        [[[2.0, 3.0]]]
    """
    return _max_pool("adaptive_max_pool1d", x, output_size, return_switches, dims=1)


def adaptive_max_pool2d(x: Any, output_size: Any, *, return_switches: bool = False) -> Array | tuple[Array, Array]:
    """Take the largest value of each window, the windows as in `adaptive_avg_pool2d`.

    Args:
        x: (N, C, H, W).
        output_size: H_out and W_out, one number for both, or None for an axis that stays as it is.
        return_switches: Also return which position won, as `max_pool2d` does.

    Returns:
        (N, C, H_out, W_out), and the switches if asked for.

    Raises:
        UsageError: `output_size` is not a number from 1 on, or one an axis.

    Example:
        >>> adaptive_max_pool2d([[[[1, 2, 3], [4, 5, 6]]]], (1, 2)).tolist()
        [[[[5.0, 6.0]]]]
    """
    return _max_pool("adaptive_max_pool2d", x, output_size, return_switches, dims=2)


def adaptive_max_pool3d(x: Any, output_size: Any, *, return_switches: bool = False) -> Array | tuple[Array, Array]:
    """Take the largest values of (N, C, D, H, W); arguments as in `adaptive_max_pool2d`.

    Example:
        >>> adaptive_max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), (2, 1, 1)).tolist()
        [[[[[3.0]], [[7.0]]]]]
    """
    return _max_pool("adaptive_max_pool3d", x, output_size, return_switches, dims=3)


def adaptive_avg_pool1d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_avg_pool1d`; arguments as there. Of `x` only the shape matters."""
    return _pool_backward(AdaptiveAvgPool, "adaptive_avg_pool1d_backward", grad_output, x, output_size, dims=1)


def adaptive_avg_pool2d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_avg_pool2d`; arguments as there. Of `x` only the shape matters.

    Example:
        >>> adaptive_avg_pool2d_backward([[[[2.0, 4.0]]]], np.zeros((1, 1, 1, 3)), (1, 2)).tolist()
        [[[[1.0, 3.0, 2.0]]]]
    """
    return _pool_backward(AdaptiveAvgPool, "adaptive_avg_pool2d_backward", grad_output, x, output_size, dims=2)


def adaptive_avg_pool3d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_avg_pool3d`; arguments as there. Of `x` only the shape matters."""
    return _pool_backward(AdaptiveAvgPool, "adaptive_avg_pool3d_backward", grad_output, x, output_size, dims=3)


def adaptive_max_pool1d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_max_pool1d`; arguments as there."""
    return _pool_backward(AdaptiveMaxPool, "adaptive_max_pool1d_backward", grad_output, x, output_size, dims=1)


def adaptive_max_pool2d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_max_pool2d`; arguments as there.

    Example:
        >>> adaptive_max_pool2d_backward([[[[2.0, 4.0]]]], [[[[1.0, 7.0, 3.0]]]], (1, 2)).tolist()
        [[[[0.0, 6.0, 0.0]]]]
    """
    return _pool_backward(AdaptiveMaxPool, "adaptive_max_pool2d_backward", grad_output, x, output_size, dims=2)


def adaptive_max_pool3d_backward(grad_output: Any, x: Any, output_size: Any) -> Array:
    """Return dL/dx of `adaptive_max_pool3d`; arguments as there."""
    return _pool_backward(AdaptiveMaxPool, "adaptive_max_pool3d_backward", grad_output, x, output_size, dims=3)


@dataclass(frozen=True)
class AdaptiveAvgPool(AdaptivePool):
    """Adaptive average pooling as an operation of a graph, in one, two or three dimensions."""

    stem: ClassVar[str] = "adaptive_avg_pool"
    forward_form: ClassVar[str] = "y[{p}] = sum of x[{q}] over the window of {p} / its number of cells"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] / cells of {p} over the windows {p} that read x[{q}]"

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Average axis by axis, which gives the mean of each rectangle."""
        (y,) = inputs
        for axis, windows in self.windows(y.shape[2:]):
            means = [np.take(y, range(*window), axis=axis).mean(axis=axis) for window in windows]
            y = np.stack(means, axis=axis)
        return y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Spread each window's gradient evenly over its cells, axis by axis."""
        (x,), gradient = inputs, grad_output
        for axis, windows in self.windows(x.shape[2:]):
            spread = np.zeros((*gradient.shape[:axis], x.shape[axis], *gradient.shape[axis + 1 :]), dtype=x.dtype)
            to, start = np.moveaxis(spread, axis, 0), np.moveaxis(gradient, axis, 0)
            for i, (begin, end) in enumerate(windows):
                to[begin:end] += start[i] / (end - begin)
            gradient = spread
        return Gradients((gradient,))

    def arithmetic(self, channel: Array, output: tuple[int, ...], value: float) -> list[Line | Sum]:
        """Show the sum of the window and the division."""
        places = self.cells(output, channel.shape)
        terms = tuple(Term((float(channel[place]),), named("x", place)) for place in places)
        total = float(channel[self.window(output, channel.shape)].sum())
        return [
            Sum("sum", terms, total),
            Line(f"y = sum / cells = {number(total)} / {len(places)} = {number(value)}"),
        ]

    def gradient_term(self, delta: float, channel: Array, output: tuple[int, ...], place: tuple[int, ...]) -> Term:
        """Return the window's gradient divided by its number of cells."""
        cells = len(self.cells(output, channel.shape))
        return Term((delta, 1.0 / cells), f"{named('dL/dy', output)} / {cells}")


@dataclass(frozen=True)
class AdaptiveMaxPool(AdaptivePool):
    """Adaptive max pooling as an operation of a graph, in one, two or three dimensions."""

    stem: ClassVar[str] = "adaptive_max_pool"
    forward_form: ClassVar[str] = "y[{p}] = max of x[{q}] over the window of {p}"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] over the windows {p} that x[{q}] won"

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the largest value of each window."""
        return self.forward_with_switches(inputs[0])[0]

    def forward_with_switches(self, x: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Compute the largest value of each window, and where it came from."""
        sizes = x.shape[2:]
        values, switches = x, np.broadcast_to(np.arange(int(np.prod(sizes))).reshape(sizes), x.shape)
        # The last axis first: of equal values the first in each row wins, then the first row.
        for axis, windows in reversed(self.windows(sizes)):
            firsts = [np.take(values, range(*window), axis=axis).argmax(axis=axis) + window[0] for window in windows]
            winners = np.stack(firsts, axis=axis)
            values = np.take_along_axis(values, winners, axis=axis)
            switches = np.take_along_axis(switches, winners, axis=axis)
        return values, switches.astype(np.int64, copy=False)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send each window's gradient to the position that won it."""
        (x,) = inputs
        _, switches = self.forward_with_switches(x)
        return Gradients((place_at_switches(grad_output, switches, sizes=x.shape[2:]),))

    def arithmetic(self, channel: Array, output: tuple[int, ...], value: float) -> list[Line | Sum]:
        """Name the winner."""
        equal = int((channel[self.window(output, channel.shape)] == value).sum())
        first = f", the first of {equal} equal values in row-major order" if equal > 1 else ""
        return [Line(f"y = max = {named('x', self._winner(channel, output))} = {number(value)}{first}")]

    def _winner(self, channel: Array, output: tuple[int, ...]) -> tuple[int, ...]:
        switch = self.forward_with_switches(channel[None, None])[1][(0, 0, *output)]
        return tuple(int(i) for i in np.unravel_index(int(switch), channel.shape))

    def gradient_term(self, delta: float, channel: Array, output: tuple[int, ...], place: tuple[int, ...]) -> Term:
        """Return the window's gradient times 1 if the position won it, times 0 otherwise."""
        won = self._winner(channel, output) == place
        return Term((delta, float(won)), f"{named('dL/dy', output)} [{named('x', place)} won]")


def _pool(kind: type[AdaptivePool], function: str, x: Any, output_size: Any, *, dims: int) -> Array:
    (x,) = floats(function, x=x)
    return run(kind(parse(function, x.shape, output_size, dims=dims)), x)


def _max_pool(
    function: str, x: Any, output_size: Any, return_switches: bool, *, dims: int
) -> Array | tuple[Array, Array]:
    (x,) = floats(function, x=x)
    op = AdaptiveMaxPool(parse(function, x.shape, output_size, dims=dims))
    return op.forward_with_switches(x) if return_switches else op.forward(x)


def _pool_backward(
    kind: type[AdaptivePool], function: str, grad_output: Any, x: Any, output_size: Any, *, dims: int
) -> Array:
    (x,) = floats(function, x=x)
    op = kind(parse(function, x.shape, output_size, dims=dims))
    return run_backward(op, function, grad_output, x).inputs[0]
