r"""Average and sum pooling: the values of each window added up, divided by how many they are.

$$ y_o = \frac{1}{D_o} \sum_{k} x_{o s - p + k d}, \qquad
   \frac{\partial L}{\partial x_i} = \sum_{o \text{ reads } i} \frac{1}{D_o}\, \frac{\partial L}{\partial y_o} $$

Every value of a window moves the output by 1 / D_o of its own change, so the gradient is spread evenly over the window,
and what overlapping windows give back adds up. D_o counts the cells (with the padding or without it), or is given; sum
pooling divides by 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._calls import run, run_backward
from striate.ops._forms import floats
from striate.ops._pooling import Pool, parse
from striate.ops._positions import named
from striate.ops.op import Array, Gradients, Shape
from striate.ops.working import Grid, Line, Sum, Term, number

__all__ = [
    "AvgPool",
    "SumPool",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "sum_pool2d",
    "sum_pool2d_backward",
]


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Take the mean of each window of (N, C, L); arguments as in `avg_pool2d`.

    Example:
        >>> avg_pool1d([[[1.0, 3.0, 5.0]]], 2, stride=1).tolist()
        [[[2.0, 4.0]]]
    """
    (x,) = floats("avg_pool1d", x=x)
    windows = (kernel_size, stride, padding, ceil_mode)
    return run(_averaging("avg_pool1d", x.shape, 1, *windows, count_include_pad, divisor_override), x)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Take the mean of each window: y[n, c, o] = sum over the cells k of x[n, c, o stride - padding + k] / divisor.

    Args:
        x: (N, C, H, W).
        kernel_size: Pixels, one number or one an axis; so are the next two.
        stride: Pixels from window to window; None is the kernel size.
        padding: Pixels of zeros around the image, at most half the kernel; or `same`; or (before, after) an axis.
        ceil_mode: Round the output's size up: the last window may hang over, but begins inside. What hangs over
            the padding is not counted.
        count_include_pad: Whether the zeros of the padding count as values of the window.
        divisor_override: Divide by this instead of a count.

    Returns:
        (N, C, H_out, W_out).

    Raises:
        UsageError: the window does not fit, the padding exceeds half the kernel, or the divisor is 0.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", II.B.

    Example:
        >>> avg_pool2d([[[[37, 4], [25, 12]]]], 2).tolist()
        [[[[19.5]]]]
    """
    (x,) = floats("avg_pool2d", x=x)
    windows = (kernel_size, stride, padding, ceil_mode)
    return run(_averaging("avg_pool2d", x.shape, 2, *windows, count_include_pad, divisor_override), x)


def avg_pool3d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Take the mean of each window of (N, C, D, H, W); arguments as in `avg_pool2d`.

    Example:
        >>> avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2).tolist()
        [[[[[3.5]]]]]
    """
    (x,) = floats("avg_pool3d", x=x)
    windows = (kernel_size, stride, padding, ceil_mode)
    return run(_averaging("avg_pool3d", x.shape, 3, *windows, count_include_pad, divisor_override), x)


def sum_pool2d(x: Any, kernel_size: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Array:
    """Add up each window; arguments as in `avg_pool2d`.

    Example:
        >>> sum_pool2d([[[[12, 20], [8, 12]]]], 2).tolist()
        [[[[52.0]]]]
    """
    (x,) = floats("sum_pool2d", x=x)
    return run(_summing("sum_pool2d", x.shape, kernel_size, stride, padding, ceil_mode), x)


def avg_pool1d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return dL/dx of `avg_pool1d`; arguments as there. Of `x` only the shape matters."""
    windows = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(grad_output, x, 1, *windows, count_include_pad, divisor_override)


def avg_pool2d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return dL/dx of `avg_pool2d`: each window's gradient, spread evenly over its cells; arguments as there.

    Of `x` only the shape matters.

    Example:
        >>> avg_pool2d_backward([[[[1.0]]]], np.zeros((1, 1, 2, 2)), 2).tolist()
        [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    windows = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(grad_output, x, 2, *windows, count_include_pad, divisor_override)


def avg_pool3d_backward(
    grad_output: Any,
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return dL/dx of `avg_pool3d`; arguments as there. Of `x` only the shape matters."""
    windows = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(grad_output, x, 3, *windows, count_include_pad, divisor_override)


def sum_pool2d_backward(
    grad_output: Any, x: Any, kernel_size: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Array:
    """Return dL/dx of `sum_pool2d`: each cell receives its window's gradient; arguments as there."""
    function = "sum_pool2d_backward"
    (x,) = floats(function, x=x)
    op = _summing(function, x.shape, kernel_size, stride, padding, ceil_mode)
    return run_backward(op, function, grad_output, x).inputs[0]


@dataclass(frozen=True)
class AvgPool(Pool):
    """Average pooling as an operation of a graph, in one, two or three dimensions."""

    count_include_pad: bool = True
    divisor_override: int | None = None

    stem: ClassVar[str] = "avg_pool"
    forward_form: ClassVar[str] = "y[{p}] = sum over {a} of x[{read}] / divisor"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] / divisor over the windows {p} that read x[{q}]"

    def divisors(self, x: Array) -> Array:
        """Return what each window's sum is divided by, (...) as the output's spatial axes, in the input's format."""
        if self.divisor_override is not None:
            return np.full(self.lengths(x.shape[2:]), self.divisor_override, dtype=x.dtype)
        counts = self.counts(x.shape[2:], include_pad=self.count_include_pad)
        return np.maximum(counts, 1).astype(x.dtype)  # a window of nothing but padding has mean 0, as in PyTorch

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the mean of each window."""
        (x,) = inputs
        total = np.zeros(self.output_shape(x.shape), dtype=x.dtype)
        for _, met in self.met(x):
            total += met
        return total / self.divisors(x)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Spread each window's gradient evenly over its cells."""
        (x,) = inputs
        share = (grad_output / self.divisors(x)).astype(x.dtype, copy=False)
        return Gradients((self.give_back(x, lambda tap, met: share),))

    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> list[Line | Grid | Sum]:
        """Show the sum of the window and the division."""
        counts_padding = self.count_include_pad or self.divisor_override is not None
        cells = [cell for cell in self.cells(channel, output) if counts_padding or cell.place is not None]
        terms = tuple(Term((cell.value,), cell.where) for cell in cells)
        total = float(replace(self, divisor_override=1).forward(channel[None, None])[(0, 0, *output)])
        divisor = float(self.divisors(channel[None, None])[output])
        source = "the cells of the window" if self.divisor_override is None else "as given"
        division = Line(
            f"y = sum / divisor = {number(total)} / {number(divisor)} = {number(value)} (divisor: {source})"
        )
        return [Sum("sum", terms, total), division]

    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return the window's gradient divided by its divisor."""
        divisor = float(self.divisors(channel[None, None])[output])
        return Term((delta, 1.0 / divisor), f"{named('dL/dy', output)} / {number(divisor)}")

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the additions and one division a window."""
        return math.prod(self.output_shape(*inputs)) * math.prod(self.kernel_size)


@dataclass(frozen=True)
class SumPool(AvgPool):
    """Sum pooling as an operation of a graph: average pooling with divisor 1."""

    divisor_override: int | None = 1

    stem: ClassVar[str] = "sum_pool"
    forward_form: ClassVar[str] = "y[{p}] = sum over {a} of x[{read}]"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] over the windows {p} that read x[{q}]"

    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> list[Line | Grid | Sum]:
        """Show the sum of the window."""
        terms = tuple(Term((cell.value,), cell.where) for cell in self.cells(channel, output))
        return [Sum("y", terms, value)]

    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return the window's gradient."""
        return Term((delta,), named("dL/dy", output))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the additions."""
        return math.prod(self.output_shape(*inputs)) * (math.prod(self.kernel_size) - 1)


def _averaging(
    function: str,
    shape: Shape,
    dims: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> AvgPool:
    if divisor_override is not None and divisor_override == 0:
        raise UsageError(
            f"{function}: `divisor_override` must be a number other than 0, got {divisor_override}. "
            "Leave it out to divide by the number of cells."
        )
    options = parse(function, shape, dims=dims, kernel_size=kernel_size, stride=stride, padding=padding)
    return AvgPool(
        **options, ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override
    )


def _summing(function: str, shape: Shape, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> SumPool:
    options = parse(function, shape, dims=2, kernel_size=kernel_size, stride=stride, padding=padding)
    return SumPool(**options, ceil_mode=ceil_mode)


def _avg_pool_backward(grad_output: Any, x: Any, dims: int, *options: Any) -> Array:
    function = f"avg_pool{dims}d_backward"
    (x,) = floats(function, x=x)
    return run_backward(_averaging(function, x.shape, dims, *options), function, grad_output, x).inputs[0]
