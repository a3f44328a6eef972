r"""Tiled convolution: several kernels take turns over the positions, so neighbours do not share their weights.

$$ y_{o,i,j} = b_{r,q,o} + \sum_c \sum_{a,b} w_{r,q,o,c,a,b}\; \tilde x_{c,\; i s_H + a d_H,\; j s_W + b d_W},
   \qquad r = i \bmod t_H, \quad q = j \bmod t_W $$

One kernel (t = 1) is convolution. As many as there are positions (t = output size) is a locally connected layer, which
looks at the same windows and shares nothing. The positions of one kernel are themselves a convolution, with the stride
$s t$; so its gradients are convolution's, summed over those positions only: with $\delta = \partial L / \partial y$,

$$ \frac{\partial L}{\partial w_{rqocab}} = \sum_n \sum_{\substack{i \equiv r \\ j \equiv q}}
   \delta_{noij}\, \tilde x_{n,c,is+ad,js+bd}, \qquad
   \frac{\partial L}{\partial b_{rqo}} = \sum_n \sum_{\substack{i \equiv r \\ j \equiv q}} \delta_{noij} , $$

and a pixel gets from every window the weight of the kernel whose turn it was there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops import _tiled_working as work
from striate.ops._arguments import check_grad_output
from striate.ops._convolution_checks import check_bias, check_channels, check_weight_axes
from striate.ops._forms import Pads, check_axes, floats, pad_pairs, per_axis
from striate.ops._windows import extents, output_lengths, pad
from striate.ops.convolution import Convolution, Padding, PerAxis
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = ["TiledConvolution", "parse_tiled_convolution", "tiled_conv2d", "tiled_conv2d_backward"]

LEADING = ("t_H", "t_W", "C_out", "C_in")


def tiled_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    tiles: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> Array:
    """Convolve with kernels that take turns: position (i, j) uses the one at (i mod t_H, j mod t_W).

    Args:
        x: (N, C_in, H, W).
        weight: (t_H, t_W, C_out, C_in, kH, kW).
        bias: (t_H, t_W, C_out), each kernel has its own; or None.
        tiles: Kernels along each axis: 1 is convolution, the output's (H_out, W_out) a locally connected layer.
        stride: Pixels from one window to the next.
        padding: As in `conv2d`.
        dilation: Pixels from one tap to the next.

    Returns:
        (N, C_out, H_out, W_out), sized as in `conv2d`.

    Raises:
        UsageError: the shapes do not fit, or there are more kernels than positions.

    Source: Gregor and LeCun, "Emergence of Complex-Like Cells in a Temporal Product Network with Local Receptive
    Fields" (2010); Goodfellow, Bengio and Courville, "Deep Learning" (2016), section 9.5.

    Example:
        >>> weight = np.array([1.0, 10.0]).reshape(1, 2, 1, 1, 1, 1)  # two 1 x 1 kernels along the columns
        >>> tiled_conv2d([[[[1, 2, 3, 4]]]], weight, tiles=(1, 2)).tolist()
        [[[[1.0, 20.0, 3.0, 40.0]]]]
    """
    given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    x, weight, *rest = floats("tiled_conv2d", **given)
    op = parse_tiled_convolution(
        "tiled_conv2d", x.shape, weight.shape, tiles=tiles, stride=stride, padding=padding, dilation=dilation
    )
    return op.forward(x, weight=weight, **({"bias": rest[0]} if rest else {}))


def tiled_conv2d_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    *,
    tiles: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `tiled_conv2d` with respect to its input, weight and bias.

    Args:
        grad_output: dL/dy (N, C_out, H_out, W_out).
        x: (N, C_in, H, W).
        weight: (t_H, t_W, C_out, C_in, kH, kW).
        tiles: As in the forward pass, like the other options.
        stride: As in the forward pass.
        padding: As in the forward pass.
        dilation: As in the forward pass.

    Example:
        >>> weight = np.array([1.0, 10.0]).reshape(1, 2, 1, 1, 1, 1)
        >>> grads = tiled_conv2d_backward([[[[1, 1, 1, 1]]]], [[[[1, 2, 3, 4]]]], weight, tiles=(1, 2))
        >>> [grad.ravel().tolist() for grad in grads]
        [[1.0, 10.0, 1.0, 10.0], [4.0, 6.0], [2.0, 2.0]]
    """
    function = "tiled_conv2d_backward"
    grad_output, x, weight = floats(function, grad_output=grad_output, x=x, weight=weight)
    op = parse_tiled_convolution(
        function, x.shape, weight.shape, tiles=tiles, stride=stride, padding=padding, dilation=dilation
    )
    check_grad_output(function, grad_output, op.output_shape(x.shape, weight=weight.shape))
    gradients = op.backward(grad_output, x, weight=weight, bias=np.zeros(weight.shape[:3]))
    return gradients.inputs[0], gradients.parameters["weight"], gradients.parameters["bias"]


def parse_tiled_convolution(
    function: str,
    x: Shape,
    weight: Shape,
    *,
    tiles: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> TiledConvolution:
    """Return the operation with its options in their one form.

    Args:
        function: Name for messages.
        x: Shape of the input.
        weight: Shape of the filters.
        tiles: As in `tiled_conv2d`, like the other options.
        stride: As in `tiled_conv2d`.
        padding: As in `tiled_conv2d`.
        dilation: As in `tiled_conv2d`.
    """
    check_axes(function, "x", x, dims=2)
    check_weight_axes(function, weight, dims=2, leading=LEADING)
    stride = per_axis(function, "stride", stride, dims=2, smallest=1)
    dilation = per_axis(function, "dilation", dilation, dims=2, smallest=1)
    pads = pad_pairs(function, padding, sizes=x[2:], extents=extents(weight[4:], dilation), strides=stride)
    return TiledConvolution(per_axis(function, "tiles", tiles, dims=2, smallest=1), stride, pads, dilation)


@dataclass(frozen=True)
class TiledConvolution(Op):
    """Tiled convolution as an operation of a graph: parameters ``weight`` and, where there is one, ``bias``."""

    name: ClassVar[str] = "tiled_conv2d"

    tiles: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes, with the numbers of this operation in it."""
        r, q = (f"{i}%{t}" for i, t in zip("ij", self.tiles, strict=True))
        pixel = work.read_text(self.windows)
        return f"y[o,i,j] = bias[{r},{q},o] + sum over c,a,b of weight[{r},{q},o,c,a,b] x[c,{pixel}]"

    @property
    def windows(self) -> Convolution:
        """The windows of all positions, which are those of a convolution."""
        return Convolution(2, self.stride, self.pads, self.dilation)

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C_out, H_out, W_out)."""
        (x,), weight = inputs, parameters["weight"]
        check_axes(self.name, "x", x, dims=2)
        check_weight_axes(self.name, weight, dims=2, leading=LEADING)
        if tuple(weight[:2]) != self.tiles:
            raise UsageError(
                f"{self.name}: `weight` must have the tiles {self.tiles} as its first two axes, got {tuple(weight)}. "
                f"Set tiles={tuple(weight[:2])}."
            )
        check_channels(self.name, x, weight[2:], groups=1)
        if "bias" in parameters:
            check_bias(self.name, parameters["bias"], tuple(weight[:3]))
        lengths = output_lengths(
            self.name,
            sizes=x[2:],
            kernel_size=weight[4:],
            stride=self.stride,
            pads=self.pads,
            dilation=self.dilation,
        )
        if any(t > length for t, length in zip(self.tiles, lengths, strict=True)):
            most = tuple(min(t, length) for t, length in zip(self.tiles, lengths, strict=True))
            raise UsageError(
                f"{self.name}: `tiles` must be at most the output's {lengths}, got {self.tiles}: some kernels would "
                f"never be used. Set tiles={most}."
            )
        return (x[0], weight[2], *lengths)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Let each kernel fill in its own positions, one product over the channels for each of its taps."""
        (x,), weight = inputs, parameters["weight"]
        shape = self.output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
        y = np.zeros(shape, np.result_type(x, weight))
        for tile, tap, turn, view in self._turns(pad(x, self.pads), shape, weight.shape[4:]):
            y[turn] += np.moveaxis(np.tensordot(weight[(*tile, ..., *tap)], view, axes=(1, 1)), 1, 0)
        return y + self._spread(parameters["bias"], shape) if "bias" in parameters else y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back through the kernel that was used; sum a kernel's over the positions it had."""
        (x,), weight = inputs, parameters["weight"]
        padded = pad(x, self.pads)
        grad_padded = np.zeros(padded.shape, np.result_type(grad_output, weight))
        grad_weight = np.empty(weight.shape, np.result_type(grad_output, x))
        turns = self._turns(padded, grad_output.shape, weight.shape[4:])
        written = self._turns(grad_padded, grad_output.shape, weight.shape[4:])
        for (tile, tap, turn, view), (*_, grad_view) in zip(turns, written, strict=True):
            grad = grad_output[turn]
            grad_weight[(*tile, ..., *tap)] = np.tensordot(grad, view, axes=((0, 2, 3), (0, 2, 3)))
            grad_view += np.moveaxis(np.tensordot(weight[(*tile, ..., *tap)], grad, axes=(0, 1)), 1, 0)
        rows, columns = (slice(before, before + n) for n, (before, _) in zip(x.shape[2:], self.pads, strict=True))
        gradients = {"weight": grad_weight}
        if "bias" in parameters:
            gradients["bias"] = self._gathered(grad_output)
        return Gradients((np.ascontiguousarray(grad_padded[:, :, rows, columns]),), gradients)

    def _turns(self, padded: Array, shape: Shape, kernel_size: Shape) -> Iterator[tuple[Any, Any, Any, Array]]:
        """Yield (tile, tap, its output positions, the pixels met there) for each kernel and tap."""
        for tile in np.ndindex(*self.tiles):
            turn = (slice(None), slice(None), *(slice(r, None, t) for r, t in zip(tile, self.tiles, strict=True)))
            for tap in product(*(range(k) for k in kernel_size)):
                rows, columns = (
                    slice(r * s + a * d, (length - 1) * s + a * d + 1, s * t)
                    for r, t, a, s, d, length in zip(
                        tile, self.tiles, tap, self.stride, self.dilation, shape[2:], strict=True
                    )
                )
                yield tile, tap, turn, padded[:, :, rows, columns]

    def _spread(self, bias: Array, shape: Shape) -> Array:
        """Lay the biases (t_H, t_W, C_out) out over the positions, as (C_out, H_out, W_out)."""
        rows, columns = (np.arange(length) % t for length, t in zip(shape[2:], self.tiles, strict=True))
        return np.moveaxis(bias[rows[:, None], columns], -1, 0)

    def _gathered(self, grad_output: Array) -> Array:
        """Sum over the samples and over the positions of each kernel."""
        gradient = np.empty((*self.tiles, grad_output.shape[1]), grad_output.dtype)
        for r, q in np.ndindex(*self.tiles):
            gradient[r, q] = grad_output[:, :, r :: self.tiles[0], q :: self.tiles[1]].sum(axis=(0, 2, 3))
        return gradient

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count as many as in convolution: sharing weights saves memory, not work."""
        samples, _, *lengths = self.output_shape(*inputs, **parameters)
        return samples * math.prod(lengths) * math.prod(parameters["weight"][2:])

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return what the windows of some output positions read along one axis."""
        return self.windows.reads(positions, axis=axis, size=size, weight=parameters["weight"][2:])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output value into the products with the kernel whose turn it is."""
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
            return work.bias_gradient(self, position, grad_output)
        return super().gradient_working(of, position, grad_output, *inputs, **parameters)
