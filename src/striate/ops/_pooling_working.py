"""The frame of a pooling's working: shape, window and picture; the kind of pooling adds its own arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from striate.ops._forms import Pads
from striate.ops._positions import checked, named
from striate.ops._windows import AXES, extents, length_formula, pad
from striate.ops.op import Array, Shape
from striate.ops.working import Grid, Line, Sum, Working

if TYPE_CHECKING:
    from striate.ops._pooling import Pool

__all__ = ["grids", "unfold", "unfold_gradient", "with_letters"]

WORDS = {1: ("position",), 2: ("row", "column"), 3: ("depth", "row", "column")}
WINDOW = {1: "i", 2: "i,j", 3: "h,i,j"}
CELL = {1: "a", 2: "a,b", 3: "e,a,b"}
INPUT = {1: "u", 2: "u,v", 3: "t,u,v"}


def with_letters(op: Pool, form: str) -> str:
    """Fill an equation's form in with the letters of its axes and the numbers of its options.

    What cell a,b of window i,j reads is written as ``2i-1+a,2j-1+b``.
    """
    dims = len(op.kernel_size)
    words = []
    letters = zip(WINDOW[dims].split(","), CELL[dims].split(","), strict=True)
    for (i, a), step, (before, _), gap in zip(letters, op.stride, op.pads, op.dilation, strict=True):
        words.append(f"{step if step > 1 else ''}{i}{f'-{before}' if before else ''}+{gap if gap > 1 else ''}{a}")
    return form.format(p=WINDOW[dims], a=CELL[dims], q=INPUT[dims], read=",".join(words))


def unfold(op: Pool, position: tuple[int, ...], x: Array, **parameters: Array) -> Working:
    """Unfold one output of a pooling."""
    n, c, *rest = checked(op.name, position, op.output_shape(x.shape))
    output, channel, pads = tuple(rest), x[n, c], op.reach(x.shape[2:])
    value = float(op.forward(x[n : n + 1, c : c + 1], **parameters)[(0, 0, *output)])
    spans = zip(output, op.stride, extents(op.kernel_size, op.dilation), op.dilation, strict=True)
    window = tuple(slice(o * s, o * s + span, d) for o, s, span, d in spans)
    label = f"x[{n}, {c}]{_surroundings(op, pads)}"
    return Working(
        title=f"{op.name} at {list(position)}",
        equation=op.equation,
        parts=(
            *_lengths(op, x.shape[2:]),
            _beginning(op, output),
            *grids(label, pad(channel, pads, value=op.padding_value), window),
            *op.arithmetic(channel, output, value, **parameters),
        ),
        value=value,
    )


def unfold_gradient(op: Pool, position: tuple[int, ...], grad_output: Array, x: Array, **parameters: Array) -> Working:
    """Unfold dL/dx of a pooling at one position: one term for each window that reads it."""
    n, c, *rest = checked(op.name, position, x.shape)
    place, channel, deltas = tuple(rest), x[n, c], grad_output[n, c]
    one = (slice(n, n + 1), slice(c, c + 1))
    value = float(op.backward(grad_output[one], x[one], **parameters).inputs[0][(0, 0, *place)])
    covering = op.covering(place, x.shape[2:])
    parts: list[Line | Grid | Sum] = [Line(f"windows that read {named('x', place)}: {len(covering)}")]
    if covering:
        terms = (op.gradient_term(float(deltas[o]), channel, o, cell, place, **parameters) for o, cell in covering)
        parts += grids(f"dL/dy[{n}, {c}]", deltas, _slices([output for output, _ in covering]))
        parts.append(Sum("dL/dx", tuple(terms), value))
    else:
        parts.append(Line("no window reads it, so its gradient is 0"))
    return Working(
        title=f"{op.name}, dL/dx at {list(position)}",
        equation=op.gradient_equation,
        parts=tuple(parts),
        value=value,
    )


def grids(label: str, values: Array, window: tuple[slice, ...]) -> list[Grid]:
    """Return a grid of one channel with the window marked; of three dimensions one for each depth in the window."""
    if values.ndim == 1:
        return [Grid(label, values, (slice(0, 1), window[0]))]
    if values.ndim == 2:
        return [Grid(label, values, (window[0], window[1]))]
    depths = range(*window[0].indices(len(values)))
    return [Grid(f"{label}, depth {d}", values[d], (window[1], window[2])) for d in depths]


def _lengths(op: Pool, sizes: Shape) -> Iterator[Line]:
    """Yield the formula of each output length; ceil mode may leave out the last window that it counts."""
    for axis, (size, kernel, length) in enumerate(zip(sizes, op.kernel_size, op.lengths(sizes), strict=True)):
        letter, pads, stride, dilation = AXES[len(sizes)][axis], op.pads[axis], op.stride[axis], op.dilation[axis]
        if not op.ceil_mode:
            yield Line(length_formula(letter, size=size, kernel=kernel, stride=stride, pads=pads, dilation=dilation))
            continue
        counted, begin = op.counted_windows(sizes)[axis]
        inner = f"{size} + {pads[0]} + {pads[1]} - {dilation} x ({kernel} - 1) - 1"
        yield Line(f"{letter}_out = ceil(({inner}) / {stride}) + 1 = {counted}")
        if counted > length:
            yield Line(
                f"  less 1: the last window would begin behind the input, at {begin} of {size}, which leaves {length}"
            )


def _surroundings(op: Pool, reach: Pads) -> str:
    """Say what the picture shows around the input."""
    padding = ["its padding"] if any(before or after for before, after in op.pads) else []
    hangs_over = any(after > own for (_, after), (_, own) in zip(reach, op.pads, strict=True))
    words = [*padding, *(["overhang"] if hangs_over else [])]
    return f" with {' and '.join(words)}" if words else ""


def _beginning(op: Pool, output: tuple[int, ...]) -> Line:
    words = [
        f"{word} {o} x {stride} - {before} = {o * stride - before}"
        for word, o, stride, (before, _) in zip(WORDS[len(output)], output, op.stride, op.pads, strict=True)
    ]
    return Line(f"window from {', '.join(words)} of the input")


def _slices(positions: list[tuple[int, ...]]) -> tuple[slice, ...]:
    """Return the slices that cover a grid of positions with equal steps."""
    slices = []
    for axis in range(len(positions[0])):
        along = sorted({position[axis] for position in positions})
        slices.append(slice(along[0], along[-1] + 1, along[1] - along[0] if len(along) > 1 else 1))
    return tuple(slices)
