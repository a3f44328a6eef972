"""The working of normalisation: mean, variance, normalised value, scale and shift; the gradient as three terms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._positions import named
from striate.ops.op import Array
from striate.ops.working import Line, Sum, Term, Working, number

if TYPE_CHECKING:
    from striate.ops._normalizing import Normalization, Slices

__all__ = ["unfold", "unfold_grad_input", "unfold_grad_parameter"]


def unfold(op: Normalization, position: tuple[int, ...], x: Array, **parameters: Array) -> Working:
    """Unfold one output."""
    value = float(op.forward(x, **parameters)[position])
    mean, variance = _statistics(op, position, x, **parameters)
    parts: list[Line | Sum] = []
    if op.has_own_statistics():
        where = op.members(position, x.shape)
        places = list(_places(where, x.shape))
        size = len(places)
        total, squares = float(x[where].sum()), float(np.square(x[where] - mean).sum())
        differences = [(place, float(x[place]) - mean) for place in places]
        parts += [
            Line(f"values with one mean and variance: x[{_text(where, x.shape)}], {size:,} of them"),
            Sum("sum of x", tuple(Term((float(x[place]),), named("x", place)) for place in places), total),
            Line(f"mean = {number(total)} / {size} = {number(mean)}"),
            Sum(
                "sum of (x - mean)^2",
                tuple(Term((d, d), f"({named('x', place)} - mean)^2") for place, d in differences),
                squares,
            ),
            Line(f"variance = {number(squares)} / {size} = {number(variance)}"),
        ]
    else:
        parts.append(Line(f"running mean {number(mean)}, running variance {number(variance)}"))
    normalized = (float(x[position]) - mean) / math.sqrt(variance + op.eps)
    difference = f"({number(x[position])} - {_signed(mean)})"
    scale, shift = (float(_spread(op, name, x, **parameters)[position]) for name in ("weight", "bias"))
    parts += [
        Line(f"x_hat = {difference} / sqrt({number(variance)} + {number(op.eps)}) = {number(normalized)}"),
        Sum("y", (Term((scale, normalized), "weight x_hat"), Term((shift,), "bias")), value),
    ]
    return Working(title=f"{op.name} at {list(position)}", equation=op.equation, parts=tuple(parts), value=value)


def unfold_grad_input(
    op: Normalization, position: tuple[int, ...], grad_output: Array, x: Array, **parameters: Array
) -> Working:
    """Unfold dL/dx at one position."""
    value = float(op.backward(grad_output, x, **parameters).inputs[0][position])
    _, variance = _statistics(op, position, x, **parameters)
    scale = float(_spread(op, "weight", x, **parameters)[position])
    slope = 1.0 / math.sqrt(variance + op.eps)
    parts: list[Line | Sum] = [Line(f"1 / sigma = 1 / sqrt(variance + eps) = {number(slope)}")]
    terms = [Term((float(grad_output[position]), scale, slope), f"{named('dL/dy', position)} weight / sigma")]
    equation = "dL/dx = g / sigma, g = dL/dy weight, with the running variance"
    if op.has_own_statistics():
        equation = "dL/dx = (g - (sum of g) / m - x_hat (sum of g x_hat) / m) / sigma, g = dL/dy weight"
        normalized = op.normalized(x, **parameters)
        own = float(normalized[position])
        sums = _paths(op, position, grad_output, normalized, x, **parameters)
        share = -slope / len(sums[0].terms)
        parts += [
            Line(f"m = {len(sums[0].terms):,} values share the mean and the variance; x_hat = {number(own)}"),
            *sums,
        ]
        terms += [
            Term((share, sums[0].value), "-sum of g / (m sigma): through the mean"),
            Term((share, own, sums[1].value), "-x_hat sum of g x_hat / (m sigma): through the variance"),
        ]
    return Working(
        title=f"{op.name}, dL/dx at {list(position)}",
        equation=equation,
        parts=(*parts, Sum("dL/dx", tuple(terms), value)),
        value=value,
    )


def _paths(
    op: Normalization, position: tuple[int, ...], grad_output: Array, normalized: Array, x: Array, **parameters: Array
) -> tuple[Sum, Sum]:
    """Return the sums that flow back through the mean and through the variance."""
    scale = _spread(op, "weight", x, **parameters)
    mean, variance = [], []
    where = op.members(position, x.shape)
    for place in _places(where, x.shape):
        factors = (float(grad_output[place]), float(scale[place]))
        mean.append(Term(factors, f"{named('dL/dy', place)} weight"))
        variance.append(Term((*factors, float(normalized[place])), f"{named('dL/dy', place)} weight x_hat"))
    g = (grad_output * scale)[where]
    return (
        Sum("sum of g", tuple(mean), float(g.sum())),
        Sum("sum of g x_hat", tuple(variance), float((g * normalized[where]).sum())),
    )


def unfold_grad_parameter(
    op: Normalization, of: str, position: tuple[int, ...], grad_output: Array, x: Array, **parameters: Array
) -> Working:
    """Unfold dL/dweight or dL/dbias at one position: one term for each value that it touched."""
    value = float(op.backward(grad_output, x, **parameters).parameters[of][position])
    normalized = op.normalized(x, **parameters)
    terms = []
    for place in _places(op.users(position, x.shape), x.shape):
        delta = float(grad_output[place])
        if of == "weight":
            terms.append(Term((delta, float(normalized[place])), f"{named('dL/dy', place)} {named('x_hat', place)}"))
        else:
            terms.append(Term((delta,), named("dL/dy", place)))
    return Working(
        title=f"{op.name}, dL/d{of} at {list(position)}",
        equation=f"dL/d{of} = sum of dL/dy{' x_hat' if of == 'weight' else ''} over all values with this {of}",
        parts=(Sum(f"dL/d{of}", tuple(terms), value),),
        value=value,
    )


def _statistics(op: Normalization, position: tuple[int, ...], x: Array, **parameters: Array) -> tuple[float, float]:
    """Return mean and variance at one position."""
    rows = op.rows(x)
    columns = (np.broadcast_to(column, rows.shape) for column in op.statistics(rows, **parameters))
    mean, variance = (float(op.unrowed(column, x.shape)[position]) for column in columns)
    return mean, variance


def _spread(op: Normalization, name: str, x: Array, **parameters: Array) -> Array:
    """Return weight or bias in the shape of x, 1 or 0 where there is none."""
    absent = np.asarray(1.0 if name == "weight" else 0.0)
    lined_up = op.lined_up(parameters[name], x.shape) if name in parameters else absent
    return np.broadcast_to(lined_up, x.shape)


def _places(where: Slices, shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the positions inside some slices in row-major order."""
    ranges = [range(*s.indices(length)) for s, length in zip(where, shape, strict=True)]
    for index in np.ndindex(*(len(r) for r in ranges)):
        yield tuple(r[i] for r, i in zip(ranges, index, strict=True))


def _text(where: Slices, shape: tuple[int, ...]) -> str:
    """Write slices as people do: all, one index, or first:end."""
    texts = []
    for s, length in zip(where, shape, strict=True):
        first, end, _ = s.indices(length)
        texts.append(":" if end - first == length else str(first) if end - first == 1 else f"{first}:{end}")
    return ", ".join(texts)


def _signed(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)
