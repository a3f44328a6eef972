r"""Transposed convolution: every pixel stamps the kernel, times its value, onto a larger image; stamps add up.

$$ \tilde y_{o,u,v} = \sum_c \sum_{\substack{a,b,i,j:\; i s_H + a d_H = u \\ j s_W + b d_W = v}}
   x_{c,i,j}\, w_{c,o,a,b} $$

and $y$ is $\tilde y$ without `padding` pixels at each side, plus the bias. This is the gradient that a convolution
sends back to its input, so the forward pass here is that gradient, and the gradient here is that forward pass: with
$\delta = \partial L / \partial y$, padded to $\tilde\delta$,

$$ \frac{\partial L}{\partial x_{cij}} = \sum_o \sum_{a,b} w_{coab}\, \tilde\delta_{o,\,is+ad,\,js+bd}, \qquad
   \frac{\partial L}{\partial w_{coab}} = \sum_n \sum_{i,j} x_{ncij}\, \tilde\delta_{n,o,\,is+ad,\,js+bd}, \qquad
   \frac{\partial L}{\partial b_o} = \sum_n \sum_{u,v} \delta_{nouv} . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops import _transposed_working as work
from striate.ops._arguments import check_grad_output
from striate.ops._convolution_checks import check_bias, check_weight_axes
from striate.ops._convolution_sums import FINE, OUT, TAP
from striate.ops._convolution_working import bias_gradient
from striate.ops._forms import Pads, check_axes, floats, pad_pairs, per_axis
from striate.ops._windows import AXES, extents
from striate.ops.convolution import Convolution, Padding, PerAxis
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = [
    "TransposedConvolution",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "parse_transposed_convolution",
]


LEADING = ("C_in", "C_out / groups")
"""Channel axes of the filters, the other way round than in convolution."""


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> Array:
    """Stamp the kernel, times each pixel, onto a larger image and add up what overlaps.

    Args:
        x: (N, C_in, H, W).
        weight: (C_in, C_out / groups, kH, kW).
        bias: (C_out,), or None.
        stride: Pixels from one stamp to the next.
        padding: Pixels cut off around the result: the padding of the convolution that this one turns around.
        output_padding: More rows and columns at the end, below stride or dilation, to tell apart the inputs of that
            convolution that have the same output size.
        groups: Channels are split into this many groups, each makes its own share of the output's channels.
        dilation: Pixels from one tap to the next.

    Returns:
        (N, C_out, H_out, W_out) with H_out = (H - 1) stride - before - after + dilation (kH - 1) + output_padding + 1.

    Raises:
        UsageError: the shapes do not fit.

    Example:
        >>> conv_transpose2d([[[[1, 2]]]], [[[[1, 10]]]], stride=2).tolist()
        [[[[1.0, 10.0, 2.0, 20.0]]]]
    """
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _convolve(2, x, weight, bias, **options, groups=groups, dilation=dilation)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> Array:
    """Stamp the kernel (C_in, C_out / groups, kL) along sequences (N, C_in, L), as in `conv_transpose2d`."""
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _convolve(1, x, weight, bias, **options, groups=groups, dilation=dilation)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> Array:
    """Stamp the kernel (C_in, C_out / groups, kD, kH, kW) into volumes (N, C_in, D, H, W), as in `conv_transpose2d`."""
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _convolve(3, x, weight, bias, **options, groups=groups, dilation=dilation)


def conv_transpose2d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv_transpose2d` with respect to its input, weight and bias.

    Args:
        grad_output: dL/dy (N, C_out, H_out, W_out).
        x: (N, C_in, H, W).
        weight: (C_in, C_out / groups, kH, kW).
        stride: As in the forward pass, like the other options.
        padding: As in the forward pass.
        output_padding: As in the forward pass.
        groups: As in the forward pass.
        dilation: As in the forward pass.

    Example:
        >>> grads = conv_transpose2d_backward([[[[1.0, 0.0, 0.0, 2.0]]]], [[[[1, 2]]]], [[[[1, 10]]]], stride=2)
        >>> [grad.tolist() for grad in grads]
        [[[[[1.0, 20.0]]]], [[[[1.0, 4.0]]]], [3.0]]
    """
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _backward(2, grad_output, x, weight, **options, groups=groups, dilation=dilation)


def conv_transpose1d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv_transpose1d`, as `conv_transpose2d_backward` does."""
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _backward(1, grad_output, x, weight, **options, groups=groups, dilation=dilation)


def conv_transpose3d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv_transpose3d`, as `conv_transpose2d_backward` does."""
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return _backward(3, grad_output, x, weight, **options, groups=groups, dilation=dilation)


def parse_transposed_convolution(
    function: str,
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    dims: int = 2,
) -> TransposedConvolution:
    """Return the operation with its options in their one form.

    Args:
        function: Name for messages.
        x: Shape of the input.
        weight: Shape of the filters.
        stride: As in `conv_transpose2d`, like the other options.
        padding: As in `conv_transpose2d`.
        output_padding: As in `conv_transpose2d`.
        groups: As in `conv_transpose2d`.
        dilation: As in `conv_transpose2d`.
        dims: Spatial axes.
    """
    check_axes(function, "x", x, dims=dims)
    check_weight_axes(function, weight, dims=dims, leading=LEADING)
    if isinstance(padding, str):
        raise UsageError(
            f"{function}: `padding` must be a number of pixels to cut off, got {padding!r}. "
            "Write padding=(kernel_size - 1) // 2 to keep the size at stride 1."
        )
    stride = per_axis(function, "stride", stride, dims=dims, smallest=1)
    dilation = per_axis(function, "dilation", dilation, dims=dims, smallest=1)
    pads = pad_pairs(function, padding, sizes=x[2:], extents=extents(weight[2:], dilation), strides=stride)
    extra = per_axis(function, "output_padding", output_padding, dims=dims, smallest=0)
    _check_channels(function, x, weight, groups=groups)
    _check_output_padding(function, extra, stride, dilation)
    return TransposedConvolution(dims, stride, pads, extra, int(groups), dilation)


def _check_channels(function: str, x: Shape, weight: Shape, *, groups: Any) -> None:
    if weight[0] != x[1]:
        raise UsageError(
            f"{function}: `weight` must have C_in = {x[1]} channels in its first axis, got {weight[0]}: "
            f"{tuple(weight)}. Set in_channels={x[1]}, or give x with {weight[0]} channels."
        )
    if not isinstance(groups, int | np.integer) or isinstance(groups, bool) or groups < 1 or x[1] % groups:
        divisors = " or ".join(str(number) for number in range(1, x[1] + 1) if x[1] % number == 0)
        raise UsageError(
            f"{function}: `groups` must divide C_in = {x[1]}, got {groups!r}. Set groups={divisors}, or change C_in."
        )


def _check_output_padding(function: str, extra: Shape, stride: Shape, dilation: Shape) -> None:
    for more, step, gap in zip(extra, stride, dilation, strict=True):
        if more >= max(step, gap):
            raise UsageError(
                f"{function}: `output_padding` must be below the stride or the dilation, got {more} with stride {step} "
                f"and dilation {gap}. Set output_padding={max(step, gap) - 1} or less."
            )


def _convolve(dims: int, x: Any, weight: Any, bias: Any, **options: Any) -> Array:
    function = f"conv_transpose{dims}d"
    x, weight, *rest = floats(function, x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    op = parse_transposed_convolution(function, x.shape, weight.shape, dims=dims, **options)
    return op.forward(x, weight=weight, **({"bias": rest[0]} if rest else {}))


def _backward(dims: int, grad_output: Any, x: Any, weight: Any, **options: Any) -> tuple[Array, Array, Array]:
    function = f"conv_transpose{dims}d_backward"
    grad_output, x, weight = floats(function, grad_output=grad_output, x=x, weight=weight)
    op = parse_transposed_convolution(function, x.shape, weight.shape, dims=dims, **options)
    expected = op.output_shape(x.shape, weight=weight.shape)
    check_grad_output(function, grad_output, expected)
    gradients = op.backward(grad_output, x, weight=weight, bias=np.zeros(expected[1]))
    return gradients.inputs[0], gradients.parameters["weight"], gradients.parameters["bias"]


@dataclass(frozen=True)
class TransposedConvolution(Op):
    """Transposed convolution as an operation of a graph: parameters ``weight`` and, where there is one, ``bias``."""

    dims: int
    stride: tuple[int, ...]
    pads: Pads
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name in PyTorch: conv_transpose1d, conv_transpose2d or conv_transpose3d."""
        return f"conv_transpose{self.dims}d"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes."""
        out, tap, fine = OUT[self.dims], TAP[self.dims], FINE[self.dims]
        return f"y[o,{fine}] = bias[o] + sum of x[c,{out}] weight[c,o,{tap}] over c and all taps on {fine}"

    @property
    def turned(self) -> Convolution:
        """The convolution that this one turns around: from images as large as the output to ones like the input."""
        return Convolution(self.dims, self.stride, self.pads, self.dilation, self.groups)

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C_out, *lengths)."""
        (x,), weight = inputs, parameters["weight"]
        check_axes(self.name, "x", x, dims=self.dims)
        check_weight_axes(self.name, weight, dims=self.dims, leading=LEADING)
        _check_channels(self.name, x, weight, groups=self.groups)
        channels = weight[1] * self.groups
        if "bias" in parameters:
            check_bias(self.name, parameters["bias"], (channels,))
        spans = extents(weight[2:], self.dilation)
        lengths = []
        for axis, (size, span) in enumerate(zip(x[2:], spans, strict=True)):
            stamped = (size - 1) * self.stride[axis] + span + self.output_padding[axis]
            lengths.append(stamped - sum(self.pads[axis]))
            if lengths[-1] < 1:
                raise UsageError(
                    f"{self.name}: `padding` must leave at least one pixel, got {self.pads[axis]} cut off "
                    f"{AXES[self.dims][axis]} = {stamped}. Cut off {1 - lengths[-1]} less."
                )
        return (x[0], channels, *lengths)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Take the gradient that a convolution sends back, with the input in the place of its output's gradient."""
        (x,), weight = inputs, parameters["weight"]
        shape = self.output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
        y = self.turned.grad_input(x, weight, shape[2:])
        return y + parameters["bias"].reshape(-1, *(1,) * self.dims) if "bias" in parameters else y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Convolve the gradient; where output_padding made room for one window more, that one is nobody's."""
        (x,), weight = inputs, parameters["weight"]
        inside: tuple[Any, ...] = (slice(None), slice(None), *(slice(size) for size in x.shape[2:]))
        grad_input = self.turned.forward(grad_output, weight=weight)[inside]
        gradients = {"weight": self.turned.grad_weight(x, grad_output, weight.shape[2:])}
        if "bias" in parameters:
            gradients["bias"] = grad_output.sum(axis=(0, *range(2, grad_output.ndim)))
        return Gradients((grad_input,), gradients)

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a weight and input position; those that are cut off count too."""
        x = inputs[0]
        return x[0] * math.prod(x[2:]) * math.prod(parameters["weight"])

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return the input positions whose stamps lie on some output positions; there is no padding to read."""
        taps = np.arange(parameters["weight"][2 + axis]) * self.dilation[axis]
        starts = positions[:, None] + self.pads[axis][0] - taps
        found = np.unique(starts[starts % self.stride[axis] == 0] // self.stride[axis])
        return found[(found >= 0) & (found < size)]

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output value (n, o, *place): the pixels that stamped it, channel by channel, and the bias."""
        return work.forward(self, position, inputs[0], parameters["weight"], parameters.get("bias"))

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx, dL/dweight or dL/dbias at one position."""
        if of == "input":
            return work.input_gradient(self, position, grad_output, inputs[0].shape, parameters["weight"])
        if of == "weight":
            return work.weight_gradient(self, position, grad_output, inputs[0], parameters["weight"].shape)
        if of == "bias" and "bias" in parameters:
            return bias_gradient(self.name, self.dims, position, grad_output)
        return super().gradient_working(of, position, grad_output, *inputs, **parameters)
