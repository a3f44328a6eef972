"""The working of transposed convolution: convolution's three sums, with the arrays in each other's places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from striate.ops._convolution_sums import OUT, TAP, Part, Sums
from striate.ops._convolution_working import gradient_of, pixel_value, read_text, tap_value, window_value
from striate.ops._positions import checked, named
from striate.ops._windows import AXES
from striate.ops.op import Array, Shape
from striate.ops.working import Line, Sum, Term, Working

if TYPE_CHECKING:
    from striate.ops.transposed_convolution import TransposedConvolution

__all__ = ["forward", "input_gradient", "weight_gradient"]


def forward(op: TransposedConvolution, position: Sequence[int], x: Array, weight: Array, bias: Array | None) -> Working:
    """Unfold one output value: the pixels whose stamps lie on it."""
    shapes = {"weight": weight.shape} | ({} if bias is None else {"bias": bias.shape})
    shape = op.output_shape(x.shape, **shapes)
    place = checked(op.name, position, shape)
    parts, sums = Sums(op.turned, fine="y", coarse="x").on_pixel(place, x, weight)
    value = pixel_value(op.turned, place, shape[2:], x, weight)
    terms: list[Sum | Term] = [*sums]
    if bias is not None:
        terms.append(Term((float(bias[place[1]]),), named("bias", place[1:2])))
        value += float(bias[place[1]])
    return Working(
        title=f"{op.name} at {list(place)}",
        equation=op.equation,
        parts=(
            Line(f"x {x.shape}, weight {weight.shape}: y {shape}"),
            *_shape_lines(op, x.shape, weight.shape),
            *parts,
            Sum("y", tuple(terms), value),
        ),
        value=value,
    )


def input_gradient(
    op: TransposedConvolution, position: Sequence[int], grad_output: Array, x: Shape, weight: Array
) -> Working:
    """Unfold dL/dx at one pixel: a window on the output's gradient, where the pixel's stamp lay."""
    place = checked(op.name, position, x)
    parts, sums = Sums(op.turned, fine="dL/dy").of_window(place, grad_output, weight)
    out, tap = OUT[op.dims], TAP[op.dims]
    equation = f"dL/dx[n,c,{out}] = sum over o,{tap} of weight[c,o,{tap}] dL/dy[n,o,{read_text(op.turned)}]"
    value = window_value(op.turned, place, grad_output, weight, None)
    return gradient_of(op.name, "input", "dL/dx", equation, place, parts, sums, value)


def weight_gradient(
    op: TransposedConvolution, position: Sequence[int], grad_output: Array, x: Array, weight: Shape
) -> Working:
    """Unfold dL/dweight at one tap: every pixel stamped with it once."""
    place = checked(op.name, position, weight)
    parts, sums = Sums(op.turned, fine="dL/dy", coarse="x").of_tap(place, grad_output, x)
    out = OUT[op.dims]
    equation = f"dL/dweight[c,o,{TAP[op.dims]}] = sum over n,{out} of x[n,c,{out}] dL/dy[n,o,{read_text(op.turned)}]"
    value = tap_value(op.turned, place, grad_output, x, weight[2:])
    return gradient_of(op.name, "weight", "dL/dweight", equation, place, parts, sums, value)


def _shape_lines(op: TransposedConvolution, x: Shape, weight: Shape) -> list[Part]:
    """Write the formula of each output length with its numbers."""
    lines: list[Part] = []
    for axis, length in enumerate(op.output_shape(x, weight=weight)[2:]):
        before, after = op.pads[axis]
        inner = f"({x[2 + axis]} - 1) x {op.stride[axis]} - {before} - {after}"
        span = f"{op.dilation[axis]} x ({weight[2 + axis]} - 1) + {op.output_padding[axis]} + 1"
        lines.append(Line(f"{AXES[op.dims][axis]}_out = {inner} + {span} = {length}"))
    return lines
