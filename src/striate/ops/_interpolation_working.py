"""The working of `interpolate`: where an output lies in the input, its neighbours and their weights, and back."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._positions import named
from striate.ops.op import Array, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working, number

if TYPE_CHECKING:
    from striate.ops.interpolation import Interpolate

__all__ = ["forward", "input_gradient"]

Tap = tuple[int, float]
"""A position along an axis and its weight."""


def forward(op: Interpolate, position: tuple[int, ...], x: Array, out: Shape) -> Working:
    """Unfold one output into its neighbours and their weights."""
    lead, place = position[:2], position[2:]
    lines = [Line(f"{list(x.shape)} -> {list(out)}")]
    lines += [_place(op, axis, i, x.shape[axis + 2], out[axis + 2]) for axis, i in enumerate(place)]
    along = [_read(op, axis, i, x.shape[axis + 2], out[axis + 2]) for axis, i in enumerate(place)]
    image = np.asarray(x[lead], dtype=np.float64)
    value = float(op.forward(image[None, None])[(0, 0, *place)])
    parts: tuple[Line | Grid | Sum, ...] = (
        *lines,
        *_grid(image, along),
        Sum("y", _terms(op, lead, along, x, "x"), value),
    )
    return Working(f"interpolate at {list(position)}", op.equation, parts, value)


def input_gradient(op: Interpolate, position: tuple[int, ...], grad_output: Array, x: Array) -> Working:
    """Add up what comes back from the outputs that a pixel was read for."""
    lead, along = position[:2], []
    for axis, k in enumerate(position[2:]):
        indices, weights = op.taps(axis, x.shape[axis + 2], grad_output.shape[axis + 2])
        own = np.where((indices == k) & op.counts(weights), weights, 0).sum(axis=1)
        along.append([(int(i), float(own[i])) for i in np.flatnonzero(own)])
    gradient, image = grad_output[lead].astype(np.float64), x[lead].astype(np.float64)
    value = float(op.backward(gradient[None, None], image[None, None]).inputs[0][(0, 0, *position[2:])])
    counts = " x ".join(str(len(taps)) for taps in along)
    parts = (
        Line(f"{named('x', position)} was read for {counts} outputs"),
        Sum("dL/dx", _terms(op, lead, along, grad_output, "dL/dy"), value),
    )
    equation = "dL/dx[k] = sum over the outputs i that read k of weight[i, k] dL/dy[i]"
    return Working(f"interpolate, dL/dinput at {list(position)}", equation, parts, value)


def _read(op: Interpolate, axis: int, i: int, length: int, out: int) -> list[Tap]:
    """Return the input positions of one output along an axis, those without weight left out."""
    indices, weights = op.taps(axis, length, out)
    counted = op.counts(weights[i])
    return list(zip(indices[i][counted].tolist(), weights[i][counted].tolist(), strict=True))


def _terms(
    op: Interpolate, lead: tuple[int, ...], along: list[list[Tap]], values: Array, name: str
) -> tuple[Term, ...]:
    """Return one term a combination of positions along the axes: its weights, unless all are 1, and the value there."""
    terms = []
    for taps in product(*along):
        place = (*lead, *(k for k, _ in taps))
        factors = tuple(weight for _, weight in taps) if op.is_linear else ()
        terms.append(Term((*factors, float(values[place])), named(name, place)))
    return tuple(terms)


def _grid(image: Array, along: list[list[Tap]]) -> tuple[Grid, ...]:
    """Return the image with the neighbours marked, where it has one or two dimensions."""
    windows = [slice(taps[0][0], taps[-1][0] + 1) for taps in along]
    if image.ndim > 2:
        return ()
    rows, columns = windows if image.ndim == 2 else (slice(0, 1), windows[0])
    return (Grid("x", image, (rows, columns)),)


def _place(op: Interpolate, axis: int, i: int, length: int, out: int) -> Line:
    """Return the arithmetic of one output's place along an axis."""
    scale = f"{length} / {out}" if op.scale_factor is None else f"1 / {number(op.scale_factor[axis])}"
    if op.align_corners:
        rule = f"{i} x {length - 1} / {out - 1}" if out > 1 else "0"
    elif not op.is_linear:
        rule = f"floor({i} x {scale})"
    else:
        rule = str(i) if length == out else f"max(0, ({i} + 0.5) x {scale} - 0.5)"
    return Line(f"axis {axis + 2}: place {rule} = {number(op.places(axis, length, out)[i])}")
