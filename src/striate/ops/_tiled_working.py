"""The working of tiled convolution: convolution's sums, each place with the kernel whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._convolution_sums import Sums
from striate.ops._convolution_working import gradient_of, read_text, shape_lines, window_value
from striate.ops._positions import checked, named
from striate.ops.op import Array, Shape
from striate.ops.working import Line, Sum, Term, Working

if TYPE_CHECKING:
    from striate.ops.tiled_convolution import TiledConvolution

__all__ = ["bias_gradient", "forward", "input_gradient", "read_text", "weight_gradient"]


def forward(op: TiledConvolution, position: Sequence[int], x: Array, weight: Array, bias: Array | None) -> Working:
    """Unfold one output value."""
    shapes = {"weight": weight.shape} | ({} if bias is None else {"bias": bias.shape})
    shape = op.output_shape(x.shape, **shapes)
    place = checked(op.name, position, shape)
    r, q = tile = (place[2] % op.tiles[0], place[3] % op.tiles[1])
    parts, sums = Sums(op.windows, tiles=op.tiles).of_window(place, x, weight)
    terms: list[Sum | Term] = [*sums]
    if bias is not None:
        terms.append(Term((float(bias[(*tile, place[1])]),), named("bias", (*tile, place[1]))))
    value = window_value(op.windows, place, x, weight[tile], None if bias is None else bias[tile])
    turn = f"kernel [{r}, {q}]: {place[2]} mod {op.tiles[0]} = {r}, {place[3]} mod {op.tiles[1]} = {q}"
    return Working(
        title=f"{op.name} at {list(place)}",
        equation=op.equation,
        parts=(
            Line(f"x {x.shape}, weight {weight.shape}: y {shape}"),
            *shape_lines(op.windows, x.shape[2:], weight.shape[4:]),
            Line(turn),
            *parts,
            Sum("y", tuple(terms), value),
        ),
        value=value,
    )


def input_gradient(
    op: TiledConvolution, position: Sequence[int], grad_output: Array, x: Shape, weight: Array
) -> Working:
    """Unfold dL/dx at one pixel: every window on it sends its gradient back through its own kernel."""
    n, c, *pixel = place = checked(op.name, position, x)
    parts, sums = Sums(op.windows, tiles=op.tiles).on_pixel(place, grad_output, weight)
    one_map = np.zeros((1, 1, *x[2:]))
    gradients = op.backward(grad_output[n : n + 1].astype(np.float64), one_map, weight=weight[:, :, :, c : c + 1])
    value = float(gradients.inputs[0][(0, 0, *pixel)])
    r, q = (f"{i}%{t}" for i, t in zip("ij", op.tiles, strict=True))
    equation = f"dL/dx[n,c,u,v] = sum of dL/dy[n,o,i,j] weight[{r},{q},o,c,a,b] over o and all taps on u,v"
    return gradient_of(op.name, "input", "dL/dx", equation, place, parts, sums, value)


def weight_gradient(
    op: TiledConvolution, position: Sequence[int], grad_output: Array, x: Array, weight: Shape
) -> Working:
    """Unfold dL/dweight at one tap of one kernel: it was used at that kernel's positions."""
    r, q, o, c, *tap = place = checked(op.name, position, weight)
    parts, sums = Sums(op.windows, tiles=op.tiles).of_tap(place, x, grad_output)
    one_kernel = np.zeros((*op.tiles, 1, 1, *weight[4:]))
    gradients = op.backward(grad_output[:, o : o + 1].astype(np.float64), x[:, c : c + 1], weight=one_kernel)
    value = float(gradients.parameters["weight"][(r, q, 0, 0, *tap)])
    equation = f"dL/dweight[r,q,o,c,a,b] = sum over n and its own i,j of dL/dy[n,o,i,j] x[n,c,{read_text(op.windows)}]"
    return gradient_of(op.name, "weight", "dL/dweight", equation, place, parts, sums, value)


def bias_gradient(op: TiledConvolution, position: Sequence[int], grad_output: Array) -> Working:
    """Unfold dL/dbias of one kernel: it was added at that kernel's positions."""
    r, q, o = place = checked(op.name, position, (*op.tiles, grad_output.shape[1]))
    rows, columns = (range(first, n, t) for first, n, t in zip((r, q), grad_output.shape[2:], op.tiles, strict=True))
    sums = []
    for n in range(len(grad_output)):
        terms = [Term((float(grad_output[n, o, i, j]),), named("dL/dy", (n, o, i, j))) for i in rows for j in columns]
        sums.append(Sum(f"sample {n}", tuple(terms), float(sum(term.value for term in terms))))
    own = grad_output[:, o, r :: op.tiles[0], q :: op.tiles[1]].astype(np.float64)
    equation = "dL/dbias[r,q,o] = sum over n and its own i,j of dL/dy[n,o,i,j]"
    return gradient_of(op.name, "bias", "dL/dbias", equation, place, [], sums, float(own.sum()))
