"""The sums behind convolutions: what a window reads, which windows lie on a pixel, what a tap meets.

Windows slide over a *fine* array and leave a *coarse* one. Convolution reads the fine array and makes the coarse,
transposed convolution the reverse, so the three sums here, told how the arrays are called, serve both ways of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from striate.ops._positions import named
from striate.ops._windows import AXES, pad
from striate.ops.op import Array
from striate.ops.working import Grid, Line, Sum, Term

if TYPE_CHECKING:
    from striate.ops.convolution import Convolution

__all__ = ["FINE", "OUT", "TAP", "Part", "Parts", "Sums", "grad_bias"]

OUT = {1: "i", 2: "i,j", 3: "h,i,j"}
TAP = {1: "a", 2: "a,b", 3: "a,b,e"}
FINE = {1: "u", 2: "u,v", 3: "t,u,v"}
"""Letters of positions, taps and pixels."""

MOST_GRIDS = 3  # channels or samples drawn as grids; the sums hold all

Part = Line | Grid
Parts = tuple[list[Part], list[Sum]]
"""What to show before a sum, and the terms of the sum."""


@dataclass(frozen=True)
class Sums:
    """The three sums of one operation.

    Attributes:
        op: Geometry of the windows.
        fine: Name of the array that windows slide over.
        coarse: Name of the array with one value a window.
        tiles: With tiled convolution, how many kernels take turns along each axis; the filters then have these axes
            before all others.
    """

    op: Convolution
    fine: str = "x"
    coarse: str = "dL/dy"
    tiles: tuple[int, ...] = ()

    def of_window(self, place: Sequence[int], fine: Array, weight: Array) -> Parts:
        """Unfold what the window at a coarse place (n, o, *position) reads: one sum for each fine channel."""
        n, o, *position = place
        tile = self._tile(position)
        filters = weight[tile]
        depth = filters.shape[1]
        first = o // (len(filters) // self.op.groups) * depth
        padded = pad(fine[n, first : first + depth].astype(np.float64), self.op.pads)
        window = self._window(position, filters.shape[2:])
        sums = []
        for c in range(depth):
            pixels, kernel = padded[c][window], filters[o, c]
            terms = [
                Term(
                    (float(pixels[tap]), float(kernel[tap])),
                    f"{self._pixel(fine, (n, first + c), position, tap)} {named('weight', (*tile, o, c, *tap))}",
                )
                for tap in np.ndindex(*kernel.shape)
            ]
            sums.append(Sum(f"channel {first + c}", tuple(terms), float((pixels * kernel).sum())))
        parts: list[Part] = [Line(f"window: {self._span_text(window)}")]
        if self.op.groups > 1:
            parts.append(Line(f"groups = {self.op.groups}: filter {o} reads {depth} channels from {first} on"))
        shown = _heaviest(sums)
        for c in shown:
            parts += _grids(
                f"{named(self.fine, (n, first + c))}{', padded' if self._is_padded else ''}", padded[c], window
            )
            parts += _grids(named("weight", (*tile, o, c)), filters[o, c])
        return [*parts, *_left_out(shown, sums, "channels")], sums

    def on_pixel(self, place: Sequence[int], coarse: Array, weight: Array) -> Parts:
        """Unfold which windows lie on a fine place (n, c, *pixel): one sum for each coarse channel of its group."""
        n, c, *pixel = place
        channels, depth, *kernel_size = weight.shape[len(self.tiles) :]
        group, local = divmod(c, depth)
        count = channels // self.op.groups
        meetings = self._meetings(pixel, coarse.shape[2:], kernel_size)
        sums = []
        for o in range(group * count, (group + 1) * count):
            terms = []
            for meeting in product(*meetings):
                position, tap = zip(*meeting, strict=True)
                at = (*self._tile(position), o, local, *tap)
                where = f"{named(self.coarse, (n, o, *position))} {named('weight', at)}"
                terms.append(Term((float(coarse[(n, o, *position)]), float(weight[at])), where))
            sums.append(Sum(f"channel {o}", tuple(terms), float(sum(term.value for term in terms))))
        parts: list[Part] = [Line(self._meeting_text(axis, pixel[axis], met)) for axis, met in enumerate(meetings)]
        if not all(meetings):
            return [*parts, Line(f"no window has a tap on this place of {self.fine}: the sum is empty")], sums
        windows, taps = (tuple(_slice([pair[i] for pair in met]) for met in meetings) for i in (0, 1))
        shown = _heaviest(sums)
        for o in (group * count + i for i in shown):
            parts += _grids(named(self.coarse, (n, o)), coarse[n, o], windows)
            if not self.tiles:
                parts += _grids(named("weight", (o, local)), weight[o, local], taps)
        return [*parts, *_left_out(shown, sums, "channels")], sums

    def of_tap(self, place: Sequence[int], fine: Array, coarse: Array) -> Parts:
        """Unfold what the tap at (*tile, o, c, *tap) meets in all windows: one sum for each sample."""
        tile, (o, local, *tap) = place[: len(self.tiles)], place[len(self.tiles) :]
        depth = fine.shape[1] // self.op.groups
        c = o // (coarse.shape[1] // self.op.groups) * depth + local
        turns = self.tiles or (1,) * self.op.dims
        ranges = [
            range(t, n, every) for t, n, every in zip(tile or (0,) * self.op.dims, coarse.shape[2:], turns, strict=True)
        ]
        windows = tuple(slice(r.start, r.stop, r.step) for r in ranges)
        met = tuple(
            slice(r.start * s + a * d, r[-1] * s + a * d + 1, r.step * s)
            for r, a, s, d in zip(ranges, tap, self.op.stride, self.op.dilation, strict=True)
        )
        parts: list[Part] = [Line(f"the tap lies on {self._span_text(met)}")]
        sums, planes = [], []
        for n in range(len(fine)):
            padded = pad(fine[n, c].astype(np.float64), self.op.pads)
            grads, pixels = coarse[n, o][windows], padded[met]
            terms = [
                Term(
                    (float(grads[index]), float(pixels[index])),
                    f"{named(self.coarse, (n, o, *position))} {self._pixel(fine, (n, c), position, tap)}",
                )
                for index, position in zip(np.ndindex(*grads.shape), product(*ranges), strict=True)
            ]
            sums.append(Sum(f"sample {n}", tuple(terms), float((grads * pixels).sum())))
            planes.append(padded)
        shown = _heaviest(sums)
        for n in shown:
            parts += _grids(named(self.coarse, (n, o)), coarse[n, o], windows if self.tiles else None)
            parts += _grids(f"{named(self.fine, (n, c))}{', padded' if self._is_padded else ''}", planes[n], met)
        return [*parts, *_left_out(shown, sums, "samples")], sums

    @property
    def _is_padded(self) -> bool:
        return any(before or after for before, after in self.op.pads)

    def _tile(self, position: Sequence[int]) -> tuple[int, ...]:
        """Return which kernel stands at a position; without tiles there is one, and no index."""
        return tuple(p % tiles for p, tiles in zip(position, self.tiles, strict=False))

    def _window(self, position: Sequence[int], kernel_size: Sequence[int]) -> tuple[slice, ...]:
        """Return where the window at a position lies on the padded fine array."""
        return tuple(
            slice(p * s, p * s + (k - 1) * d + 1, d)
            for p, k, s, d in zip(position, kernel_size, self.op.stride, self.op.dilation, strict=True)
        )

    def _span_text(self, window: tuple[slice, ...]) -> str:
        spans = []
        for letter, part in zip(AXES[self.op.dims], window, strict=True):
            has_gaps = part.step > 1 and part.stop - part.start > 1
            spans.append(f"{letter} {part.start} to {part.stop - 1}{f' by {part.step}' if has_gaps else ''}")
        return f"{', '.join(spans)} of {'the padded ' if self._is_padded else ''}{self.fine}"

    def _pixel(self, fine: Array, leading: Sequence[int], position: Sequence[int], tap: Sequence[int]) -> str:
        """Name the fine value that a tap of the window at a position reads."""
        geometry = zip(position, tap, self.op.stride, self.op.pads, self.op.dilation, strict=True)
        pixel = [p * s - before + a * d for p, a, s, (before, _), d in geometry]
        is_inside = all(0 <= i < size for i, size in zip(pixel, fine.shape[2:], strict=True))
        return named(self.fine, (*leading, *pixel)) if is_inside else "padding"

    def _meetings(
        self, pixel: Sequence[int], lengths: Sequence[int], kernel_size: Sequence[int]
    ) -> list[list[tuple[int, int]]]:
        """Return, for each axis, the (position, tap) pairs that lie on a pixel: position x stride + tap x dilation."""
        found = []
        for axis, (u, length, kernel) in enumerate(zip(pixel, lengths, kernel_size, strict=True)):
            step, before, gap = self.op.stride[axis], self.op.pads[axis][0], self.op.dilation[axis]
            pairs = [(*divmod(u + before - a * gap, step), a) for a in reversed(range(kernel))]
            found.append([(p, a) for p, rest, a in pairs if rest == 0 and 0 <= p < length])
        return found

    def _meeting_text(self, axis: int, u: int, met: list[tuple[int, int]]) -> str:
        step, before, gap = self.op.stride[axis], self.op.pads[axis][0], self.op.dilation[axis]
        i, a = OUT[self.op.dims].split(",")[axis], TAP[self.op.dims].split(",")[axis]
        rule = f"{step if step > 1 else ''}{i}{f' - {before}' if before else ''} + {gap if gap > 1 else ''}{a} = {u}"
        pairs = ", ".join(str(pair) for pair in met[:8]) + (" ..." if len(met) > 8 else "")
        return f"{AXES[self.op.dims][axis]}: {rule} for ({i}, {a}) = {pairs or 'none'}"


def _heaviest(sums: Sequence[Sum]) -> list[int]:
    """Return the few sums that weigh most, in their order."""
    return sorted(sorted(range(len(sums)), key=lambda i: -abs(sums[i].value))[:MOST_GRIDS])


def _left_out(shown: Sequence[int], sums: Sequence[Sum], word: str) -> list[Part]:
    rest = len(sums) - len(shown)
    return [Line(f"drawn are the {len(shown)} {word} that weigh most, the sum has {rest:,} more")] if rest else []


def _slice(positions: Sequence[int]) -> slice:
    """Return evenly spaced positions as a slice."""
    first, last = min(positions), max(positions)
    step = (last - first) // (len(positions) - 1) if len(positions) > 1 else 1
    return slice(first, last + 1, step)


def _grids(label: str, array: Array, window: tuple[slice, ...] | None = None) -> list[Part]:
    """Draw a map: one grid in one and two dimensions, in three one for each depth in the window."""
    if array.ndim < 3:
        marked = None if window is None else (slice(0, 1), window[-1]) if array.ndim == 1 else (window[0], window[1])
        return [Grid(label, array, marked)]
    depths = range(len(array)) if window is None else range(*window[0].indices(len(array)))
    return [grid for depth in depths for grid in _grids(f"{label}, depth {depth}", array[depth], window and window[1:])]


def grad_bias(grad_output: Array) -> Array:
    """Sum over the samples and all positions: each of them added the bias once."""
    gradient: Array = grad_output.sum(axis=(0, *range(2, grad_output.ndim)))
    return gradient
