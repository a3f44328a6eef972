r"""Convolution as networks compute it: a window of weights slides over the image, one sum of products a position.

$$ y_{o,i,j} = b_o + \sum_{c} \sum_{a,b} w_{o,c,a,b}\; \tilde x_{c,\; i s_H + a d_H,\; j s_W + b d_W} $$

with $\tilde x$ the padded input, stride $s$ and dilation $d$. The kernel is not flipped (cross-correlation);
`striate.ops.true_convolution` flips it. The sum is taken tap by tap: for one $(a, b)$ the pixels that all windows meet
are a strided view of the input, and all products with them are one matrix product over the channels.

Each $\tilde x$ and each $w$ is read in many places, so its gradient is a sum over the places that read it: with
$\delta = \partial L / \partial y$,

$$ \frac{\partial L}{\partial \tilde x_{c,u,v}} = \sum_o \sum_{\substack{a,b,i,j:\; i s + a d = u \\ j s + b d = v}}
   \delta_{oij}\, w_{ocab}, \qquad
   \frac{\partial L}{\partial w_{ocab}} = \sum_n \sum_{i,j} \delta_{noij}\, \tilde x_{n,c,is+ad,js+bd}, \qquad
   \frac{\partial L}{\partial b_o} = \sum_n \sum_{i,j} \delta_{noij} . $$

`docs/ops/convolution.md` derives them line by line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.ops import _convolution_working as work
from striate.ops._arguments import check_grad_output
from striate.ops._convolution_checks import check_bias, check_channels, check_weight_axes
from striate.ops._convolution_sums import OUT, TAP, grad_bias
from striate.ops._forms import Pads, check_axes, floats, pad_pairs, per_axis
from striate.ops._windows import extents, output_lengths, pad, positions_read, taps
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = [
    "Convolution",
    "Padding",
    "PerAxis",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "parse_convolution",
]

PerAxis = int | Sequence[int]
"""One whole number for all axes, or one for each."""
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
"""``valid``, ``same``, ``full``, pixels, pixels for each axis, or (before, after) for each axis."""


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Slide each filter over the image and sum the products with the pixels under it (cross-correlation).

    Args:
        x: (N, C_in, H, W).
        weight: (C_out, C_in / groups, kH, kW).
        bias: (C_out,), or None.
        stride: Pixels from one window to the next.
        padding: Zeros around the image. ``valid`` is none, ``same`` makes the output ceil(size / stride) long, ``full``
            lets every tap meet every pixel.
        dilation: Pixels from one tap to the next.
        groups: Output channels are split into this many groups, each reads its own share of the input's channels.

    Returns:
        (N, C_out, H_out, W_out) with H_out = floor((H + before + after - dilation (kH - 1) - 1) / stride) + 1.

    Raises:
        UsageError: the shapes do not fit.

    Example:
        >>> image = [[[[3, 5, 2, 8], [9, 7, 5, 4], [2, 0, 6, 1]]]]
        >>> conv2d(image, [[[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]]).tolist()
        [[[[25.0, 18.0]]]]
    """
    return _convolve(2, x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Convolve sequences (N, C_in, L) with filters (C_out, C_in / groups, kL); everything else as in `conv2d`.

    Example:
        >>> conv1d([[[1, 2, 3, 4]]], [[[1, 0, -1]]]).tolist()
        [[[-2.0, -2.0]]]
    """
    return _convolve(1, x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Convolve volumes (N, C_in, D, H, W) with filters (C_out, C_in / groups, kD, kH, kW); else as in `conv2d`.

    Example:
        >>> conv3d(np.ones((1, 1, 4, 4, 4)), np.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 2, 2, 2)
    """
    return _convolve(3, x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv2d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv2d` with respect to its input, weight and bias.

    Args:
        grad_output: dL/dy (N, C_out, H_out, W_out).
        x: (N, C_in, H, W).
        weight: (C_out, C_in / groups, kH, kW).
        stride: As in the forward pass, like the other options.
        padding: As in the forward pass.
        dilation: As in the forward pass.
        groups: As in the forward pass.

    Example:
        >>> grad_input, grad_weight, grad_bias = conv2d_backward([[[[1.0]]]], [[[[2.0, 3.0]]]], [[[[4.0, 5.0]]]])
        >>> grad_input.tolist(), grad_weight.tolist(), grad_bias.tolist()
        ([[[[4.0, 5.0]]]], [[[[2.0, 3.0]]]], [1.0])
    """
    return _backward(2, grad_output, x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv1d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv1d`, as `conv2d_backward` does."""
    return _backward(1, grad_output, x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv3d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `conv3d`, as `conv2d_backward` does."""
    return _backward(3, grad_output, x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


def parse_convolution(
    function: str,
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    dims: int = 2,
) -> Convolution:
    """Return the operation with its options in their one form, from the ways in which people write them.

    Args:
        function: Name for messages.
        x: Shape of the input.
        weight: Shape of the filters.
        stride: As in `conv2d`, like the other options.
        padding: As in `conv2d`.
        dilation: As in `conv2d`.
        groups: As in `conv2d`.
        dims: Spatial axes.

    Example:
        >>> parse_convolution("conv2d", (1, 3, 8, 8), (4, 3, 5, 5), padding="same").pads
        ((2, 2), (2, 2))
    """
    check_axes(function, "x", x, dims=dims)
    check_weight_axes(function, weight, dims=dims)
    stride = per_axis(function, "stride", stride, dims=dims, smallest=1)
    dilation = per_axis(function, "dilation", dilation, dims=dims, smallest=1)
    spans = extents(weight[2:], dilation)
    pads = pad_pairs(function, padding, sizes=x[2:], extents=spans, strides=stride)
    check_channels(function, x, weight, groups=groups)
    return Convolution(dims, stride, pads, dilation, int(groups))


def _convolve(dims: int, x: Any, weight: Any, bias: Any, **options: Any) -> Array:
    given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    x, weight, *rest = floats(f"conv{dims}d", **given)
    op = parse_convolution(f"conv{dims}d", x.shape, weight.shape, dims=dims, **options)
    return op.forward(x, weight=weight, **({"bias": rest[0]} if rest else {}))


def _backward(dims: int, grad_output: Any, x: Any, weight: Any, **options: Any) -> tuple[Array, Array, Array]:
    function = f"conv{dims}d_backward"
    grad_output, x, weight = floats(function, grad_output=grad_output, x=x, weight=weight)
    op = parse_convolution(function, x.shape, weight.shape, dims=dims, **options)
    check_grad_output(function, grad_output, op.output_shape(x.shape, weight=weight.shape))
    return (
        op.grad_input(grad_output, weight, x.shape[2:]),
        op.grad_weight(grad_output, x, weight.shape[2:]),
        grad_bias(grad_output),
    )


@dataclass(frozen=True)
class Convolution(Op):
    """Convolution as an operation of a graph: parameters ``weight`` and, where there is one, ``bias``.

    Its windows slide over a fine array (the input) and leave a coarse one (the output). `grad_input` runs them the
    other way, which is all that a transposed convolution does.
    """

    dims: int
    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name in PyTorch: conv1d, conv2d or conv3d."""
        return f"conv{self.dims}d"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes, with the stride, padding and dilation of this operation in it."""
        out, tap = OUT[self.dims], TAP[self.dims]
        return f"y[o,{out}] = bias[o] + sum over c,{tap} of weight[o,c,{tap}] x[c,{work.read_text(self)}]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C_out, *lengths)."""
        (x,), weight = inputs, parameters["weight"]
        check_axes(self.name, "x", x, dims=self.dims)
        check_weight_axes(self.name, weight, dims=self.dims)
        check_channels(self.name, x, weight, groups=self.groups)
        if "bias" in parameters:
            check_bias(self.name, parameters["bias"], (weight[0],))
        lengths = output_lengths(
            self.name,
            sizes=x[2:],
            kernel_size=weight[2:],
            stride=self.stride,
            pads=self.pads,
            dilation=self.dilation,
        )
        return (x[0], weight[0], *lengths)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Add up one matrix product for each tap of the window."""
        (x,), weight = inputs, parameters["weight"]
        shape = self.output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
        weight_GOC = self._split_filters(weight)
        total = np.zeros((*self._split(shape[:2]), math.prod(shape[2:])), np.result_type(x, weight))
        for tap, view in self._taps(pad(x, self.pads), kernel_size=weight.shape[2:], lengths=shape[2:]):
            total += weight_GOC[(..., *tap)] @ view.reshape(*self._split(x.shape[:2]), total.shape[-1])
        y = total.reshape(shape)
        return y + parameters["bias"].reshape(-1, *(1,) * self.dims) if "bias" in parameters else y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back through every tap that read a pixel, used a weight or added the bias."""
        (x,), weight = inputs, parameters["weight"]
        gradients = {"weight": self.grad_weight(grad_output, x, weight.shape[2:])}
        if "bias" in parameters:
            gradients["bias"] = grad_bias(grad_output)
        return Gradients((self.grad_input(grad_output, weight, x.shape[2:]),), gradients)

    def grad_input(self, grad_output: Array, weight: Array, sizes: Sequence[int]) -> Array:
        """Write back: each tap adds weight x gradient to the pixels it read.

        Args:
            grad_output: (N, C_out, *lengths).
            weight: (C_out, C_in / groups, *kernel_size).
            sizes: Lengths of the input, which the output's do not tell when the stride is above 1.

        Returns:
            (N, C_in, *sizes).
        """
        samples, lengths = len(grad_output), grad_output.shape[2:]
        channels = weight.shape[1] * self.groups
        grad_NGOL = grad_output.reshape(*self._split(grad_output.shape[:2]), math.prod(lengths))
        weight_GCO = self._split_filters(weight).swapaxes(1, 2)
        padded = [size + before + after for size, (before, after) in zip(sizes, self.pads, strict=True)]
        gradient = np.zeros((samples, channels, *padded), np.result_type(grad_output, weight))
        for tap, view in self._taps(gradient, kernel_size=weight.shape[2:], lengths=lengths):
            view += (weight_GCO[(..., *tap)] @ grad_NGOL).reshape(view.shape)
        inside: tuple[Any, ...] = tuple(
            slice(before, before + size) for size, (before, _) in zip(sizes, self.pads, strict=True)
        )
        return np.ascontiguousarray(gradient[(..., *inside)])

    def grad_weight(self, grad_output: Array, x: Array, kernel_size: Sequence[int]) -> Array:
        """Correlate the input with the gradient: for each tap the pixels it met, times the gradient there, summed.

        Args:
            grad_output: (N, C_out, *lengths).
            x: (N, C_in, *sizes).
            kernel_size: Taps along each axis.

        Returns:
            (C_out, C_in / groups, *kernel_size).
        """
        grad_GOM = self._positions_last(grad_output)
        shape = (grad_output.shape[1], x.shape[1] // self.groups, *kernel_size)
        gradient = np.empty(shape, np.result_type(grad_output, x))
        for tap, view in self._taps(pad(x, self.pads), kernel_size=kernel_size, lengths=grad_output.shape[2:]):
            product = grad_GOM @ self._positions_last(view).swapaxes(1, 2)
            gradient[(..., *tap)] = product.reshape(shape[:2])
        return gradient

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a weight and output position; those that meet padding count too."""
        samples, _, *lengths = self.output_shape(*inputs, **parameters)
        return samples * math.prod(lengths) * math.prod(parameters["weight"])

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return what the windows of some output positions read along one axis."""
        return positions_read(
            positions,
            kernel=parameters["weight"][2 + axis],
            stride=self.stride[axis],
            before=self.pads[axis][0],
            dilation=self.dilation[axis],
        )

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output value (n, o, *place) into its products, channel by channel, and the bias."""
        return work.forward(self, position, inputs[0], parameters["weight"], parameters.get("bias"))

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx, dL/dweight or dL/dbias at one position into the places that read it."""
        if of == "input":
            return work.input_gradient(self, position, grad_output, inputs[0].shape, parameters["weight"])
        if of == "weight":
            return work.weight_gradient(self, position, grad_output, inputs[0], parameters["weight"].shape)
        if of == "bias" and "bias" in parameters:
            return work.bias_gradient(self.name, self.dims, position, grad_output)
        return super().gradient_working(of, position, grad_output, *inputs, **parameters)

    def _split(self, leading: Sequence[int]) -> tuple[int, int, int]:
        """Split (N, C) into (N, groups, C / groups)."""
        return leading[0], self.groups, leading[1] // self.groups

    def _split_filters(self, weight: Array) -> Array:
        """Split (C_out, C_in / groups, *kernel) into (groups, C_out / groups, C_in / groups, *kernel)."""
        return weight.reshape(self.groups, weight.shape[0] // self.groups, *weight.shape[1:])

    def _positions_last(self, x: Array) -> Array:
        """Lay (N, C, *lengths) out as (groups, C / groups, all samples and positions), which is a copy."""
        split = x.reshape(*self._split(x.shape[:2]), math.prod(x.shape[2:]))
        return np.moveaxis(split, 0, 2).reshape(*split.shape[1:3], -1)

    def _taps(
        self, padded: Array, *, kernel_size: Sequence[int], lengths: Sequence[int]
    ) -> Iterator[tuple[Any, Array]]:
        return taps(padded, kernel_size=kernel_size, lengths=lengths, stride=self.stride, dilation=self.dilation)
