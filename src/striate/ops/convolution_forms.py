r"""One convolution, four algorithms: the definition in loops, a matrix product, Fourier transforms, Winograd's tiles.

All give the numbers of `conv2d` up to rounding, and differ in how many multiplications they need:

| form | function | multiplications |
|---|---|---|
| direct | `conv2d_direct` | $N C_{out} H_{out} W_{out} \, C_{in}/g \, k_H k_W$ |
| matrix | `striate.ops.im2col.conv2d_im2col` | the same, in one matrix product |
| Fourier | `striate.ops.fourier.conv2d_fft` | independent of the kernel's size |
| Winograd | `striate.ops.winograd.conv2d_winograd` | 16/36 of the direct ones, 3 x 3 only |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from striate.ops._forms import floats
from striate.ops._windows import pad
from striate.ops.convolution import Padding, PerAxis, parse_convolution
from striate.ops.fourier import conv2d_fft, fft_multiplies
from striate.ops.im2col import conv2d_im2col, im2col_multiplies
from striate.ops.op import Array, Shape
from striate.ops.winograd import conv2d_winograd, winograd_multiplies

__all__ = ["FORMS", "conv2d_direct", "direct_multiplies", "multiplies"]


def conv2d_direct(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Compute `conv2d` as the definition says: for every output value, every product, one after the other.

    Arguments, result and errors are those of `conv2d`. About a million products a second: for small inputs.

    Example:
        >>> conv2d_direct([[[[1, 2, 3]]]], [[[[1, 10]]]]).tolist()
        [[[[21.0, 32.0]]]]
    """
    x, weight, *rest = floats("conv2d_direct", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    op = parse_convolution(
        "conv2d_direct", x.shape, weight.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    shape = op.output_shape(x.shape, weight=weight.shape, **({"bias": rest[0].shape} if rest else {}))
    padded = pad(x, op.pads)
    depth, filters_a_group = weight.shape[1], len(weight) // op.groups
    y = np.zeros(shape, np.result_type(x, weight, *rest))
    for n, o, i, j in np.ndindex(*shape):
        first = o // filters_a_group * depth
        total = rest[0][o] if rest else y.dtype.type(0)
        for c, a, b in product(*map(range, weight.shape[1:])):
            row, column = i * op.stride[0] + a * op.dilation[0], j * op.stride[1] + b * op.dilation[1]
            total += weight[o, c, a, b] * padded[n, first + c, row, column]
        y[n, o, i, j] = total
    return y


def direct_multiplies(
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> int:
    """Count the multiplications of `conv2d_direct`, those with padding included.

    Example:
        >>> direct_multiplies((1, 1, 4, 4), (1, 1, 3, 3))
        36
    """
    op = parse_convolution(
        "direct_multiplies", x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return op.macs(x, weight=weight)


FORMS: Mapping[str, tuple[Callable[..., Array], Callable[..., int]]] = {
    "direct": (conv2d_direct, direct_multiplies),
    "im2col": (conv2d_im2col, im2col_multiplies),
    "fft": (conv2d_fft, fft_multiplies),
    "winograd": (conv2d_winograd, winograd_multiplies),
}
"""Each form by name: the convolution, and how many multiplications it takes."""


def multiplies(
    x: Shape,
    weight: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> dict[str, int]:
    """Count the multiplications of each form that can do a convolution.

    Args:
        x: Shape (N, C_in, H, W).
        weight: Shape (C_out, C_in / groups, kH, kW).
        stride: As in `conv2d`, like the other options.
        padding: As in `conv2d`.
        dilation: As in `conv2d`.
        groups: As in `conv2d`.

    Example:
        >>> multiplies((1, 8, 16, 16), (8, 8, 3, 3), padding=1)
        {'direct': 147456, 'im2col': 147456, 'fft': 262320, 'winograd': 65536}
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    counts = {}
    for name, (_, count) in FORMS.items():
        is_winograds = tuple(weight[2:]) == (3, 3) and np.all(np.equal(stride, 1)) and np.all(np.equal(dilation, 1))
        if name != "winograd" or is_winograds:
            counts[name] = count(x, weight, **options)
    return counts
