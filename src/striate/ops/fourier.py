r"""Convolution by the Fourier transform: a shift becomes a phase, so a sum over shifts becomes one product a frequency.

$$ \hat y_{o}(f) = \sum_c \hat x_c(f)\, \overline{\hat w_{oc}(f)}, \qquad
   \hat x(f) = \sum_{u,v} x_{uv}\, e^{-2 \pi i (f_1 u / P + f_2 v / Q)} $$

over the padded input's P x Q pixels. The conjugate makes it a correlation. The transform wraps around at the borders,
and only the outputs that `valid` drops see that. The cost does not grow with the kernel, which is why it pays for large
kernels only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from striate.ops._forms import floats
from striate.ops._windows import extents, pad
from striate.ops.convolution import Padding, PerAxis, parse_convolution
from striate.ops.op import Array, Shape

__all__ = ["conv2d_fft", "fft_multiplies"]


def conv2d_fft(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Compute `conv2d` by products of Fourier transforms; with a stride, all positions and then every s-th of them.

    Arguments, result and errors are those of `conv2d`. The result is real and agrees to rounding: some 1e-15 of the
    largest sum of absolute products in float64.

    Source: Mathieu, Henaff and LeCun, "Fast Training of Convolutional Networks through FFTs" (2014), section 3.

    Example:
        >>> conv2d_fft([[[[1, 2, 3]]]], [[[[1, 10]]]]).round(9).tolist()
        [[[[21.0, 32.0]]]]
    """
    x, weight, *rest = floats("conv2d_fft", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    op = parse_convolution(
        "conv2d_fft", x.shape, weight.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    shape = op.output_shape(x.shape, weight=weight.shape, **({"bias": rest[0].shape} if rest else {}))
    padded = pad(x, op.pads)
    spread = np.zeros((*weight.shape[:2], *extents(weight.shape[2:], op.dilation)), weight.dtype)
    spread[:, :, :: op.dilation[0], :: op.dilation[1]] = weight
    size = padded.shape[2:]
    x_hat = np.fft.rfft2(padded).reshape(len(x), op.groups, weight.shape[1], size[0], size[1] // 2 + 1)
    weight_hat = np.fft.rfft2(spread, s=size).conj().reshape(op.groups, len(weight) // op.groups, *x_hat.shape[2:])
    y_hat = np.einsum("ngcpq,gocpq->ngopq", x_hat, weight_hat, optimize=True)
    everywhere = np.fft.irfft2(y_hat, s=size).reshape(*shape[:2], *size)
    rows, columns = (slice(0, (length - 1) * s + 1, s) for length, s in zip(shape[2:], op.stride, strict=True))
    y = np.ascontiguousarray(everywhere[:, :, rows, columns], dtype=np.result_type(x, weight))
    return y + rest[0].reshape(-1, 1, 1) if rest else y


def fft_multiplies(
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> int:
    """Estimate the real multiplications of `conv2d_fft`.

    A transform of M = P Q real numbers is taken as M log2(M) of them: a radix-2 transform has M / 2 log2(M) complex
    products, real input saves half, and a complex product is four real ones. There are N C_in transforms of the
    input, C_out C_in / groups of the filters and N C_out back, and between them N C_out C_in / groups complex products
    for each of the P (Q / 2 + 1) frequencies.

    Example:
        >>> fft_multiplies((1, 1, 4, 4), (1, 1, 3, 3))
        240
    """
    op = parse_convolution(
        "fft_multiplies", x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    op.output_shape(x, weight=weight)
    height, width = (n + sum(pads) for n, pads in zip(x[2:], op.pads, strict=True))
    transforms = x[0] * x[1] + weight[0] * weight[1] + x[0] * weight[0]
    one = math.ceil(height * width * math.log2(height * width))
    return transforms * one + 4 * x[0] * weight[0] * weight[1] * height * (width // 2 + 1)
