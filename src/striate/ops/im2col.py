r"""Convolution as one matrix product: the windows become columns, the filters become rows.

$$ Y_{o,\ell} = \sum_k W_{ok}\, X'_{k\ell}, \qquad k = (c, a, b), \quad \ell = (i, j), \quad
   X'_{(c,a,b),(i,j)} = \tilde x_{c,\; i s_H + a d_H,\; j s_W + b d_W} $$

A pixel is copied once for each window that reads it, kH kW times at stride 1. Adding the columns back to where they
came from (`col2im`) is the transpose of copying them, so it is the gradient of `im2col`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._forms import Pads, check_axes, floats, pad_pairs, per_axis
from striate.ops._windows import extents, output_lengths, pad, taps
from striate.ops.convolution import Padding, PerAxis, parse_convolution
from striate.ops.op import Array, Shape

__all__ = ["col2im", "conv2d_im2col", "im2col", "im2col_multiplies"]


def im2col(x: Any, *, kernel_size: PerAxis, stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1) -> Array:
    """Copy each window into a column.

    Args:
        x: (N, C, H, W).
        kernel_size: Taps along each axis.
        stride: Pixels from one window to the next.
        padding: As in `conv2d`.
        dilation: Pixels from one tap to the next.

    Returns:
        cols_NKL (N, C kH kW, H_out W_out): rows in the order channel, tap row, tap column, as in PyTorch's unfold.

    Raises:
        UsageError: the window is larger than the padded image.

    Example:
        >>> im2col([[[[1, 2, 3], [4, 5, 6]]]], kernel_size=2)[0].T.tolist()  # one window a row
        [[1.0, 2.0, 4.0, 5.0], [2.0, 3.0, 5.0, 6.0]]
    """
    (x,) = floats("im2col", x=x)
    check_axes("im2col", "x", x.shape, dims=2)
    geometry, pads = _parse("im2col", x.shape[2:], kernel_size, stride, padding, dilation)
    lengths = output_lengths("im2col", sizes=x.shape[2:], pads=pads, **geometry)
    cols = np.empty((*x.shape[:2], math.prod(geometry["kernel_size"]), math.prod(lengths)), x.dtype)
    for k, (_, view) in enumerate(taps(pad(x, pads), lengths=lengths, **geometry)):
        cols[:, :, k] = view.reshape(*x.shape[:2], math.prod(lengths))
    return cols.reshape(len(x), x.shape[1] * cols.shape[2], cols.shape[3])


def col2im(
    cols_NKL: Any,
    *,
    output_size: PerAxis,
    kernel_size: PerAxis,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> Array:
    """Add each column back to the pixels of its window: the transpose and the gradient of `im2col`.

    Args:
        cols_NKL: (N, C kH kW, H_out W_out).
        output_size: H and W of the image.
        kernel_size: As in `im2col`, like the other options.
        stride: As in `im2col`.
        padding: As in `im2col`.
        dilation: As in `im2col`.

    Returns:
        (N, C, H, W): a pixel that was in five windows is the sum of five values.

    Raises:
        UsageError: the columns are not those of such an image.

    Example:
        >>> col2im(im2col(np.ones((1, 1, 2, 3)), kernel_size=2), output_size=(2, 3), kernel_size=2)[0, 0].tolist()
        [[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]
    """
    (cols,) = floats("col2im", cols_NKL=cols_NKL)
    sizes = per_axis("col2im", "output_size", output_size, dims=2, smallest=1)
    geometry, pads = _parse("col2im", sizes, kernel_size, stride, padding, dilation)
    lengths = output_lengths("col2im", sizes=sizes, pads=pads, **geometry)
    window = math.prod(geometry["kernel_size"])
    if cols.ndim != 3 or cols.shape[1] % window or cols.shape[2] != math.prod(lengths):
        raise UsageError(
            f"col2im: `cols_NKL` must have shape (N, a multiple of {window}, {math.prod(lengths)}), got {cols.shape}. "
            "Give the options that im2col was called with."
        )
    channels = cols.shape[1] // window
    padded = np.zeros((len(cols), channels, *(n + sum(p) for n, p in zip(sizes, pads, strict=True))), cols.dtype)
    split = cols.reshape(len(cols), channels, window, *lengths)
    for k, (_, view) in enumerate(taps(padded, lengths=lengths, **geometry)):
        view += split[:, :, k]
    rows, columns = (slice(before, before + n) for n, (before, _) in zip(sizes, pads, strict=True))
    return np.ascontiguousarray(padded[:, :, rows, columns])


def conv2d_im2col(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Compute `conv2d` as a product of the matrix of filters with the matrix of windows.

    Arguments, result and errors are those of `conv2d`.

    Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing"
    (2006), section 2.

    Example:
        >>> conv2d_im2col([[[[1, 2, 3]]]], [[[[1, 10]]]]).tolist()
        [[[[21.0, 32.0]]]]
    """
    x, weight, *rest = floats("conv2d_im2col", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    op = parse_convolution(
        "conv2d_im2col", x.shape, weight.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    shape = op.output_shape(x.shape, weight=weight.shape, **({"bias": rest[0].shape} if rest else {}))
    cols = im2col(x, kernel_size=weight.shape[2:], stride=op.stride, padding=op.pads, dilation=op.dilation)
    cols_NGKL = cols.reshape(len(x), op.groups, cols.shape[1] // op.groups, cols.shape[2])
    filters_GOK = weight.reshape(op.groups, len(weight) // op.groups, -1)
    y: Array = (filters_GOK @ cols_NGKL).reshape(shape)
    return y + rest[0].reshape(-1, 1, 1) if rest else y


def im2col_multiplies(
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> int:
    """Count the multiplications of `conv2d_im2col`: those of the definition, N C_out H_out W_out C_in / groups kH kW.

    Example:
        >>> im2col_multiplies((1, 1, 4, 4), (1, 1, 3, 3))
        36
    """
    op = parse_convolution(
        "im2col_multiplies", x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return op.macs(x, weight=weight)


def _parse(
    function: str, sizes: Shape, kernel_size: PerAxis, stride: PerAxis, padding: Padding, dilation: PerAxis
) -> tuple[dict[str, tuple[int, ...]], Pads]:
    """Return the options in their one form."""
    geometry = {
        "kernel_size": per_axis(function, "kernel_size", kernel_size, dims=2, smallest=1),
        "stride": per_axis(function, "stride", stride, dims=2, smallest=1),
        "dilation": per_axis(function, "dilation", dilation, dims=2, smallest=1),
    }
    spans = extents(geometry["kernel_size"], geometry["dilation"])
    return geometry, pad_pairs(function, padding, sizes=sizes, extents=spans, strides=geometry["stride"])
