"""The working of `conv1d`, `conv2d` and `conv3d`: formulas, grids and sums, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._convolution_sums import FINE, OUT, TAP, Part, Sums
from striate.ops._positions import checked, named
from striate.ops._windows import AXES, length_formula, pad
from striate.ops.op import Array, Shape
from striate.ops.working import Line, Sum, Term, Working

if TYPE_CHECKING:
    from striate.ops.convolution import Convolution

__all__ = [
    "bias_gradient",
    "forward",
    "gradient_of",
    "input_gradient",
    "pixel_value",
    "read_text",
    "shape_lines",
    "tap_value",
    "weight_gradient",
    "window_value",
]


def read_text(op: Convolution) -> str:
    """Write which pixel tap a,b of window i,j reads, with the numbers in it, such as ``2i-1+a,2j-1+b``."""
    letters = zip(OUT[op.dims].split(","), TAP[op.dims].split(","), strict=True)
    return ",".join(
        f"{step if step > 1 else ''}{i}{f'-{before}' if before else ''}+{gap if gap > 1 else ''}{a}"
        for (i, a), step, (before, _), gap in zip(letters, op.stride, op.pads, op.dilation, strict=True)
    )


def shape_lines(op: Convolution, sizes: Sequence[int], kernel_size: Sequence[int]) -> list[Part]:
    """Write the formula of each output length with its numbers."""
    rows = zip(AXES[op.dims], sizes, kernel_size, op.stride, op.pads, op.dilation, strict=True)
    return [
        Line(length_formula(letter, size=size, kernel=kernel, stride=step, pads=pads, dilation=gap))
        for letter, size, kernel, step, pads, gap in rows
    ]


def window_value(op: Convolution, place: Sequence[int], fine: Array, weight: Array, bias: Array | None) -> float:
    """Compute one coarse value (n, o, *position) by the operation, on the pixels it needs, in float64."""
    n, o, *position = place
    depth = weight.shape[1]
    first = o // (len(weight) // op.groups) * depth
    padded = pad(fine[n, first : first + depth].astype(np.float64), op.pads)
    region = tuple(
        slice(p * s, p * s + (k - 1) * d + 1)
        for p, s, k, d in zip(position, op.stride, weight.shape[2:], op.dilation, strict=True)
    )
    alone = replace(op, pads=((0, 0),) * op.dims, groups=1)
    parameters = {"weight": weight[o : o + 1]} | ({} if bias is None else {"bias": bias[o : o + 1]})
    return float(alone.forward(padded[(None, slice(None), *region)], **parameters).item())


def pixel_value(op: Convolution, place: Sequence[int], sizes: Sequence[int], coarse: Array, weight: Array) -> float:
    """Compute one fine value (n, c, *pixel) from the coarse array by the operation, in float64."""
    n, c, *pixel = place
    group, local = divmod(c, weight.shape[1])
    count = len(weight) // op.groups
    sources = slice(group * count, (group + 1) * count)
    alone = replace(op, groups=1)
    maps = alone.grad_input(coarse[n : n + 1, sources].astype(np.float64), weight[sources, local : local + 1], sizes)
    return float(maps[(0, 0, *pixel)])


def tap_value(op: Convolution, place: Sequence[int], fine: Array, coarse: Array, kernel_size: Sequence[int]) -> float:
    """Compute the sum over all windows of fine x coarse for one weight (o, c, *tap), in float64."""
    o, local, *tap = place
    c = o // (coarse.shape[1] // op.groups) * (fine.shape[1] // op.groups) + local
    alone = replace(op, groups=1)
    taps = alone.grad_weight(coarse[:, o : o + 1].astype(np.float64), fine[:, c : c + 1], kernel_size)
    return float(taps[(0, 0, *tap)])


def forward(op: Convolution, position: Sequence[int], x: Array, weight: Array, bias: Array | None) -> Working:
    """Unfold one output value."""
    shapes = {"weight": weight.shape} | ({} if bias is None else {"bias": bias.shape})
    shape = op.output_shape(x.shape, **shapes)
    place = checked(op.name, position, shape)
    parts, sums = Sums(op).of_window(place, x, weight)
    terms: list[Sum | Term] = [*sums]
    if bias is not None:
        terms.append(Term((float(bias[place[1]]),), named("bias", place[1:2])))
    value = window_value(op, place, x, weight, bias)
    return Working(
        title=f"{op.name} at {list(place)}",
        equation=op.equation,
        parts=(
            Line(f"x {x.shape}, weight {weight.shape}: y {shape}"),
            *shape_lines(op, x.shape[2:], weight.shape[2:]),
            *parts,
            Sum("y", tuple(terms), value),
        ),
        value=value,
    )


def input_gradient(op: Convolution, position: Sequence[int], grad_output: Array, x: Shape, weight: Array) -> Working:
    """Unfold dL/dx at one pixel: every window that lies on it sends its gradient back through the tap that read it."""
    place = checked(op.name, position, x)
    parts, sums = Sums(op).on_pixel(place, grad_output, weight)
    out, tap, fine = OUT[op.dims], TAP[op.dims], FINE[op.dims]
    equation = f"dL/dx[n,c,{fine}] = sum of dL/dy[n,o,{out}] weight[o,c,{tap}] over o and all taps on {fine}"
    value = pixel_value(op, place, x[2:], grad_output, weight)
    return gradient_of(op.name, "input", "dL/dx", equation, place, parts, sums, value)


def weight_gradient(op: Convolution, position: Sequence[int], grad_output: Array, x: Array, weight: Shape) -> Working:
    """Unfold dL/dweight at one tap: it was used at every position of every sample."""
    place = checked(op.name, position, weight)
    parts, sums = Sums(op).of_tap(place, x, grad_output)
    out = OUT[op.dims]
    equation = f"dL/dweight[o,c,{TAP[op.dims]}] = sum over n,{out} of dL/dy[n,o,{out}] x[n,c,{read_text(op)}]"
    value = tap_value(op, place, x, grad_output, weight[2:])
    return gradient_of(op.name, "weight", "dL/dweight", equation, place, parts, sums, value)


def bias_gradient(name: str, dims: int, position: Sequence[int], grad_output: Array) -> Working:
    """Unfold dL/dbias for one filter: it was added at every position of every sample."""
    (o,) = place = checked(name, position, grad_output.shape[1:2])
    maps = grad_output[:, o].astype(np.float64)
    sums = [
        Sum(
            f"sample {n}",
            tuple(Term((float(grads[at]),), named("dL/dy", (n, o, *at))) for at in np.ndindex(*grads.shape)),
            float(grads.sum()),
        )
        for n, grads in enumerate(maps)
    ]
    out = OUT[dims]
    equation = f"dL/dbias[o] = sum over n,{out} of dL/dy[n,o,{out}]"
    return gradient_of(name, "bias", "dL/dbias", equation, place, [], sums, float(maps.sum()))


def gradient_of(
    name: str,
    of: str,
    label: str,
    equation: str,
    place: Sequence[int],
    parts: Sequence[Part],
    sums: Sequence[Sum],
    value: float,
) -> Working:
    """Put the working of a gradient together."""
    return Working(
        title=f"{name}, dL/d{of} at {list(place)}",
        equation=equation,
        parts=(*parts, Sum(label, tuple(sums), value)),
        value=value,
    )
