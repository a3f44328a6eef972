r"""Lp pooling: the p-norm of each window; p = 2 is L2-norm pooling.

$$ y_o = \Bigl(\sum_k x_{o s + k}^{\,p}\Bigr)^{1/p}, \qquad
   \frac{\partial y_o}{\partial x_i} = x_i^{\,p-1}\, y_o^{\,1-p} $$

for each value that the window reads. p = 1 is the sum, and the larger p, the nearer comes the largest value. Where
y = 0 the norm has a kink and no derivative; 0 is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    "LpPool",
    "lp_pool1d",
    "lp_pool1d_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "lp_pool3d",
    "lp_pool3d_backward",
]


def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Any, *, stride: Any = None, ceil_mode: bool = False, absolute: bool = False
) -> Array:
    """Take the p-norm of each window of (N, C, L); arguments as in `lp_pool2d`.

    Example:
        >>> lp_pool1d([[[3.0, 4.0]]], 2, 2).tolist()
        [[[5.0]]]
    """
    (x,) = floats("lp_pool1d", x=x)
    return run(_parsed("lp_pool1d", x.shape, 1, norm_type, kernel_size, stride, ceil_mode, absolute), x)


def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Any, *, stride: Any = None, ceil_mode: bool = False, absolute: bool = False
) -> Array:
    """Take the p-norm of each window: y[n, c, o] = (sum over the cells k of x[n, c, o stride + k]^p)^(1/p).

    As in PyTorch the powers keep their sign: with an odd or fractional p and negative values the sum may be
    negative, and the root is then NaN. A window that hangs over in ceil mode is weighed up to the full kernel: its
    sum is multiplied by kH kW / (its cells inside).

    Args:
        x: (N, C, H, W).
        norm_type: p, larger than 0.
        kernel_size: Pixels, one number or one an axis.
        stride: Pixels from window to window; None is the kernel size.
        ceil_mode: Round the output's size up: the last window may hang over, but begins inside.
        absolute: Take abs(x)^p, which is the norm for every p (and what ONNX's LpPool does).

    Returns:
        (N, C, H_out, W_out).

    Raises:
        UsageError: the window does not fit, or p is not a finite number above 0.

    Source: Sermanet, Chintala & LeCun 2012, "Convolutional neural networks applied to house numbers digit
        classification", ICPR, section 2.2.

    Example:
        >>> lp_pool2d([[[[1, -5], [-1, 3]]]], 2, 2).tolist()
        [[[[6.0]]]]
    """
    (x,) = floats("lp_pool2d", x=x)
    return run(_parsed("lp_pool2d", x.shape, 2, norm_type, kernel_size, stride, ceil_mode, absolute), x)


def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Any, *, stride: Any = None, ceil_mode: bool = False, absolute: bool = False
) -> Array:
    """Take the p-norm of each window of (N, C, D, H, W); arguments as in `lp_pool2d`.

    Example:
        >>> lp_pool3d(np.full((1, 1, 2, 2, 1), 2.0), 2, (2, 2, 1)).tolist()
        [[[[[4.0]]]]]
    """
    (x,) = floats("lp_pool3d", x=x)
    return run(_parsed("lp_pool3d", x.shape, 3, norm_type, kernel_size, stride, ceil_mode, absolute), x)


def lp_pool1d_backward(
    grad_output: Any,
    x: Any,
    norm_type: float,
    kernel_size: Any,
    *,
    stride: Any = None,
    ceil_mode: bool = False,
    absolute: bool = False,
) -> Array:
    """Return dL/dx of `lp_pool1d`; arguments as there."""
    return _lp_pool_backward(grad_output, x, 1, norm_type, kernel_size, stride, ceil_mode, absolute)


def lp_pool2d_backward(
    grad_output: Any,
    x: Any,
    norm_type: float,
    kernel_size: Any,
    *,
    stride: Any = None,
    ceil_mode: bool = False,
    absolute: bool = False,
) -> Array:
    """Return dL/dx of `lp_pool2d`, 0 where the norm is 0; arguments as there.

    Example:
        >>> lp_pool2d_backward([[[[10.0]]]], [[[[3.0, 4.0]]]], 2, (1, 2)).round(12).tolist()
        [[[[6.0, 8.0]]]]
    """
    return _lp_pool_backward(grad_output, x, 2, norm_type, kernel_size, stride, ceil_mode, absolute)


def lp_pool3d_backward(
    grad_output: Any,
    x: Any,
    norm_type: float,
    kernel_size: Any,
    *,
    stride: Any = None,
    ceil_mode: bool = False,
    absolute: bool = False,
) -> Array:
    """Return dL/dx of `lp_pool3d`; arguments as there."""
    return _lp_pool_backward(grad_output, x, 3, norm_type, kernel_size, stride, ceil_mode, absolute)


@dataclass(frozen=True)
class LpPool(Pool):
    """Lp pooling as an operation of a graph; zeros in the padding add nothing to a norm."""

    norm_type: float = 2.0
    absolute: bool = False

    stem: ClassVar[str] = "lp_pool"
    forward_form: ClassVar[str] = "y[{p}] = (sum over {a} of x[{read}]^p)^(1/p)"
    backward_form: ClassVar[str] = (
        "dL/dx[{q}] = sum of dL/dy[{p}] x[{q}]^(p-1) y[{p}]^(1-p) over the windows that read it"
    )

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes, with the stride, dilation and power of this operation in it."""
        p = number(self.norm_type)
        return super().equation.replace("^p", f"^{p}").replace("1/p", f"1/{p}")

    def scales(self, x: Array) -> Array:
        """Return what each window's sum is multiplied by: 1, or more where it hangs over."""
        counts = np.maximum(self.counts(x.shape[2:], include_pad=True), 1)
        return (math.prod(self.kernel_size) / counts).astype(x.dtype)

    def power(self, x: Array, exponent: float) -> Array:
        """Return x^exponent, or abs(x)^exponent, NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            powers: Array = np.power(np.abs(x) if self.absolute else x, exponent)
        return powers

    def sums(self, x: Array) -> Array:
        """Return the sum of the powers of each window."""
        total = np.zeros(self.output_shape(x.shape), dtype=x.dtype)
        for _, met in self.met(x):
            total += self.power(met, self.norm_type)
        return total

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the norm of each window."""
        (x,) = inputs
        with np.errstate(invalid="ignore"):
            norms: Array = np.power(self.sums(x) * self.scales(x), 1 / self.norm_type)
        return norms

    def slopes(self, x: Array, y: Array, scales: Array) -> Array:
        """Return dy/dx of values that windows of norm y read, 0 where y is 0."""
        norm = np.where(y == 0, 1, y)
        slope = scales * self.power(x, self.norm_type - 1) * np.power(norm, 1 - self.norm_type)
        return np.where(y == 0, 0, np.sign(x) * slope if self.absolute else slope)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send each window's gradient to its values in proportion to their powers."""
        (x,) = inputs
        y, scales = self.forward(x), self.scales(x)
        with np.errstate(invalid="ignore"):  # with p < 1 the slope at 0 is infinite
            return Gradients((self.give_back(x, lambda tap, met: grad_output * self.slopes(met, y, scales)),))

    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> list[Line | Grid | Sum]:
        """Show the sum of the powers and its root."""
        p, one = self.norm_type, channel[None, None]
        terms = []
        for cell in self.cells(channel, output):
            base = abs(cell.value) if self.absolute else cell.value
            # Squares are shown as products.
            factors = (base, base) if p == 2 else (float(self.power(np.asarray(base), p)),)
            terms.append(Term(factors, f"{cell.where}^{number(p)}"))
        scale = float(self.scales(one)[output])
        total = float(self.sums(one)[(0, 0, *output)])
        parts: list[Line | Grid | Sum] = [Sum(f"sum of the powers {number(p)}", tuple(terms), total)]
        weighed = f"{number(total)} x {number(scale)}" if scale != 1 else number(total)
        if scale != 1:
            parts.append(Line(f"the window hangs over, so its sum counts {number(scale)} times, as in PyTorch"))
        return [*parts, Line(f"y = ({weighed})^(1/{number(p)}) = {number(value)}")]

    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return the window's gradient times the slope of its norm."""
        one = channel[None, None]
        y = self.forward(one)[(0, 0, *output)]
        slope = float(self.slopes(channel[place], y, self.scales(one)[output]))
        return Term((delta, slope), f"{named('dL/dy', output)} {named('dy', output)}/{named('dx', place)}")

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a power and an addition a cell of each window, less one addition, and the root."""
        return math.prod(self.output_shape(*inputs)) * 2 * math.prod(self.kernel_size)


def _parsed(
    function: str,
    shape: Shape,
    dims: int,
    norm_type: float,
    kernel_size: Any,
    stride: Any,
    ceil_mode: bool,
    absolute: bool,
) -> LpPool:
    if not (isinstance(norm_type, int | float | np.number) and 0 < norm_type < math.inf):
        raise UsageError(
            f"{function}: `norm_type` must be a finite number above 0, got {norm_type!r}. "
            f"Write norm_type=2, or take max_pool{dims}d of abs(x) for the limit of large ones."
        )
    options = parse(function, shape, dims=dims, kernel_size=kernel_size, stride=stride, padding=0)
    return LpPool(**options, ceil_mode=ceil_mode, norm_type=float(norm_type), absolute=absolute)


def _lp_pool_backward(grad_output: Any, x: Any, dims: int, *options: Any) -> Array:
    function = f"lp_pool{dims}d_backward"
    (x,) = floats(function, x=x)
    return run_backward(_parsed(function, x.shape, dims, *options), function, grad_output, x).inputs[0]
