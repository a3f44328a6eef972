r"""Winograd's minimal filtering: 2 x 2 outputs of a 3 x 3 convolution from 16 multiplications instead of 36.

$$ Y = A^T \big[ (G\, g\, G^T) \odot (B^T d\, B) \big] A $$

for each 4 x 4 tile d of the padded input (tiles overlap by two pixels) and 3 x 3 kernel g. In one dimension, F(2, 3),
$y_0 = m_1 + m_2 + m_3$ and $y_1 = m_2 - m_3 - m_4$ with

$$ m_1 = (d_0 - d_2)\, g_0, \quad m_2 = (d_1 + d_2) \tfrac{g_0 + g_1 + g_2}{2}, \quad
   m_3 = (d_2 - d_1) \tfrac{g_0 - g_1 + g_2}{2}, \quad m_4 = (d_1 - d_3)\, g_2 : $$

four products for two outputs of three taps. Channels are added before $A$ turns the sum into outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._forms import floats
from striate.ops._windows import pad
from striate.ops.convolution import Convolution, Padding, PerAxis, parse_convolution
from striate.ops.op import Array, Shape

__all__ = ["conv2d_winograd", "winograd_multiplies"]

INPUT_TRANSFORM = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], dtype=np.float32)
"""B^T."""
KERNEL_TRANSFORM = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=np.float32)
"""G."""
OUTPUT_TRANSFORM = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], dtype=np.float32)
"""A^T. All entries are exact in float32, so they do not widen float32 data."""


def conv2d_winograd(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Compute `conv2d` for 3 x 3 kernels by Winograd's F(2 x 2, 3 x 3).

    Arguments, result and errors are those of `conv2d`; stride and dilation are there to be 1. Where the output is odd,
    the last tile is filled up with zeros and its surplus dropped.

    Raises:
        UsageError: kernel, stride or dilation is another.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.1.

    Example:
        >>> conv2d_winograd(np.ones((1, 1, 3, 4)), np.ones((1, 1, 3, 3))).tolist()
        [[[[9.0, 9.0]]]]
    """
    x, weight, *rest = floats("conv2d_winograd", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    op = _parse("conv2d_winograd", x.shape, weight.shape, stride, padding, dilation, groups)
    shape = op.output_shape(x.shape, weight=weight.shape, **({"bias": rest[0].shape} if rest else {}))
    odd = tuple((0, length % 2) for length in shape[2:])
    padded = pad(pad(x, op.pads), odd)
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    high, wide = tiles.shape[2:4]
    inputs = INPUT_TRANSFORM @ tiles @ INPUT_TRANSFORM.T
    kernels = KERNEL_TRANSFORM @ weight @ KERNEL_TRANSFORM.T
    # Channels are summed by one matrix product for each of the 16 places of a tile: (4, 4, N, G, C, tiles).
    inputs_44NGCT = np.moveaxis(inputs, (4, 5), (0, 1)).reshape(4, 4, len(x), op.groups, weight.shape[1], high * wide)
    kernels_44GOC = np.moveaxis(kernels, (2, 3), (0, 1)).reshape(4, 4, 1, op.groups, -1, weight.shape[1])
    products = np.moveaxis((kernels_44GOC @ inputs_44NGCT).reshape(4, 4, *shape[:2], high, wide), (0, 1), (4, 5))
    outputs = OUTPUT_TRANSFORM @ products @ OUTPUT_TRANSFORM.T
    y = np.swapaxes(outputs, 3, 4).reshape(*shape[:2], 2 * high, 2 * wide)[:, :, : shape[2], : shape[3]]
    return y + rest[0].reshape(-1, 1, 1) if rest else np.ascontiguousarray(y)


def winograd_multiplies(
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> int:
    """Count the multiplications of `conv2d_winograd`: 16 for each tile, filter and input channel.

    The transforms add and subtract; those of the kernels also halve, once for all images, which is not counted.

    Example:
        >>> winograd_multiplies((1, 1, 4, 4), (1, 1, 3, 3))
        16
    """
    op = _parse("winograd_multiplies", x, weight, stride, padding, dilation, groups)
    samples, filters, *lengths = op.output_shape(x, weight=weight)
    high, wide = (-(-length // 2) for length in lengths)
    return samples * filters * weight[1] * high * wide * 16


def _parse(
    function: str, x: Shape, weight: Shape, stride: PerAxis, padding: Padding, dilation: PerAxis, groups: int
) -> Convolution:
    """Return the operation, which must be one that F(2 x 2, 3 x 3) can do."""
    op = parse_convolution(function, x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if tuple(weight[2:]) != (3, 3):
        raise UsageError(
            f"{function}: `weight` must have 3 x 3 taps, got {weight[2]} x {weight[3]}. "
            "Use conv2d_im2col, or conv2d_fft for large kernels."
        )
    for argument, value in (("stride", op.stride), ("dilation", op.dilation)):
        if value != (1, 1):
            raise UsageError(f"{function}: `{argument}` must be 1, got {value}. Use conv2d_im2col.")
    return op
