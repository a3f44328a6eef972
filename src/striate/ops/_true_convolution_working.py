"""The working of true convolution: the kernel laid on the image, and who reads a pixel or uses a tap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._positions import checked, named
from striate.ops._windows import AXES, length_formula, pad
from striate.ops.op import Array, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working

if TYPE_CHECKING:
    from striate.ops.true_convolution import TrueConvolution

__all__ = ["forward", "input_gradient", "kernel_gradient", "pixels_before"]


def pixels_before(convention: str, taps: int) -> int:
    """Return how many pixels before its own one S[i] reads, in a kernel of some taps."""
    return {"previous": taps - 1, "centre": taps // 2, "succeeding": 0}[convention]


def forward(op: TrueConvolution, position: Sequence[int], image: Array, kernel: Array) -> Working:
    """Unfold one output value."""
    image, kernel = image.astype(np.float64), kernel.astype(np.float64)
    place = checked(op.name, position, op.output_shape(image.shape, kernel=kernel.shape))
    padded, laid_out = pad(image, op.pads), op.laid_out(kernel)
    window = tuple(slice(p, p + m) for p, m in zip(place, kernel.shape, strict=True))
    pixels = padded[window]
    terms = [
        Term(
            (float(pixels[tap]), float(laid_out[tap])),
            f"{_pixel(op, place, tap, image.shape)} {named('K', _entry(op, tap, kernel.shape))}",
        )
        for tap in np.ndindex(*kernel.shape)
    ]
    value = float(replace(op, pads=((0, 0),) * image.ndim).forward(pixels, kernel=kernel).item())
    rows = zip(AXES[image.ndim], image.shape, kernel.shape, op.pads, strict=True)
    label = named("S", _numbers(op, place, kernel.shape))
    is_turned = op.convention != "succeeding"
    return Working(
        title=f"{op.name} at {list(place)}",
        equation=op.equation,
        parts=(
            *(Line(length_formula(axis, size=s, kernel=m, stride=1, pads=p, dilation=1)) for axis, s, m, p in rows),
            Line(f"this output is {label}, counted from the first pixel of the image"),
            _grid("I, padded" if padded.shape != image.shape else "I", padded, window),
            _grid("K", kernel),
            *([_grid("K rotated by 180 degrees, as it lies on I", laid_out)] if is_turned else []),
            Sum(label, tuple(terms), value),
        ),
        value=value,
    )


def input_gradient(
    op: TrueConvolution, position: Sequence[int], grad_output: Array, image: Shape, kernel: Array
) -> Working:
    """Unfold dL/dI at one pixel: each output that reads it, through the kernel entry that reads it."""
    place = checked(op.name, position, image)
    grads, kernel = grad_output.astype(np.float64), kernel.astype(np.float64)
    last = [u + before for u, (before, _) in zip(place, op.pads, strict=True)]  # the output whose first tap is here
    terms = []
    for tap in np.ndindex(*kernel.shape):
        output = tuple(p - t for p, t in zip(last, tap, strict=True))
        if all(0 <= p < length for p, length in zip(output, grads.shape, strict=True)):
            entry = _entry(op, tap, kernel.shape)
            where = f"{named('dL/dS', _numbers(op, output, kernel.shape))} {named('K', entry)}"
            terms.append(Term((float(grads[output]), float(kernel[entry])), where))
    readers = tuple(slice(max(0, p - m + 1), p + 1) for p, m in zip(last, kernel.shape, strict=True))
    value = float(op.backward(grads, np.zeros(image), kernel=kernel).inputs[0][place])
    sign = "-" if op.convention == "succeeding" else "+"
    return Working(
        title=f"{op.name}, dL/dinput at {list(place)}",
        equation=f"dL/dI[{_letters('uv', place)}] = sum over {_letters('ab', place)} of "
        f"dL/dS[{_moved('uv', sign, place)}] K[{_entries(op)}]",
        parts=(_grid("dL/dS", grads, readers), _grid("K", kernel), Sum("dL/dI", tuple(terms), value)),
        value=value,
    )


def kernel_gradient(
    op: TrueConvolution, position: Sequence[int], grad_output: Array, image: Array, kernel: Shape
) -> Working:
    """Unfold dL/dK at one entry: every output position used it on one pixel."""
    entry = checked(op.name, position, kernel)
    tap = _entry(op, entry, kernel)
    grads, padded = grad_output.astype(np.float64), pad(image.astype(np.float64), op.pads)
    met = tuple(slice(t, t + length) for t, length in zip(tap, grads.shape, strict=True))
    terms = [
        Term(
            (float(grads[output]), float(padded[met][output])),
            f"{named('dL/dS', _numbers(op, output, kernel))} {_pixel(op, output, tap, image.shape)}",
        )
        for output in np.ndindex(*grads.shape)
    ]
    value = float(op.backward(grads, image, kernel=np.zeros(kernel)).parameters["kernel"][entry])
    sign = "+" if op.convention == "succeeding" else "-"
    label = "I, padded" if padded.shape != image.shape else "I"
    return Working(
        title=f"{op.name}, dL/dkernel at {list(entry)}",
        equation=f"dL/dK[{_entries(op)}] = sum over {_letters('ij', entry)} of "
        f"dL/dS[{_letters('ij', entry)}] I[{_moved('ij', sign, entry)}]",
        parts=(_grid("dL/dS", grads), _grid(label, padded, met), Sum("dL/dK", tuple(terms), value)),
        value=value,
    )


def _entry(op: TrueConvolution, tap: Sequence[int], kernel: Shape) -> tuple[int, ...]:
    """Return which kernel entry lies on a tap of the window, and the other way round: a rotation is its own inverse."""
    if op.convention == "succeeding":
        return tuple(tap)
    return tuple(m - 1 - t for t, m in zip(tap, kernel, strict=True))


def _numbers(op: TrueConvolution, output: Sequence[int], kernel: Shape) -> list[int]:
    """Return the i, j of S that an output position has in the convention, counted from the first pixel."""
    rows = zip(output, kernel, op.pads, strict=True)
    return [p - before + pixels_before(op.convention, m) for p, m, (before, _) in rows]


def _pixel(op: TrueConvolution, output: Sequence[int], tap: Sequence[int], image: Shape) -> str:
    pixel = [p + t - before for p, t, (before, _) in zip(output, tap, op.pads, strict=True)]
    is_inside = all(0 <= i < size for i, size in zip(pixel, image, strict=True))
    return named("I", pixel) if is_inside else "padding"


def _letters(letters: str, axes: Sequence[int]) -> str:
    return ",".join(letters[: len(axes)])


def _moved(letters: str, sign: str, axes: Sequence[int]) -> str:
    return ",".join(f"{i}{sign}{a}" for i, a, _ in zip(letters, "ab", axes, strict=False))


def _entries(op: TrueConvolution) -> str:
    """Write the index of the kernel in the convention's equation."""
    entries = ["m//2+a", "n//2+b"] if op.convention == "centre" else ["a", "b"]
    return ",".join(entries[: len(op.pads)])


def _grid(label: str, array: Array, window: tuple[slice, ...] | None = None) -> Grid:
    marked = None if window is None else (slice(0, 1), window[0]) if array.ndim == 1 else (window[0], window[1])
    return Grid(label, array, marked)
