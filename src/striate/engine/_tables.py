"""Tables of offsets behind `taps`: which place each tap of a convolution reads, forward and for the input's gradient.

Taps that lie in the padding are skipped: pixels come in segments that meet the same taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "Segment", "Window", "cheapest_tile", "floats_of", "phases", "segments_of"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """A convolution along one axis."""

    size: int
    output: int
    kernel: int
    stride: int
    before: int
    """Padding before the first value."""
    dilation: int

    def forward(self) -> Window:
        """Return how outputs read inputs: output i meets, with tap a, input i stride + a dilation - before."""
        taps = np.arange(self.kernel, dtype=np.int64)
        return Window(taps, taps * self.dilation - self.before, self.stride, self.size, np.arange(self.output))

    def backward(self, phase: int) -> Window:
        """Return how the gradients of the inputs phase, phase + stride ... read gradients of outputs.

        Input q = phase + stride m was met, with tap a, by output m + (phase + before - a dilation) / stride, for the
        taps for which that is a whole number.
        """
        taps = np.array(
            [a for a in range(self.kernel) if (phase + self.before - a * self.dilation) % self.stride == 0],
            dtype=np.int64,
        )
        offsets = (phase + self.before - taps * self.dilation) // self.stride
        return Window(taps, offsets, 1, self.output, np.arange(phase, self.size, self.stride))


@dataclass(frozen=True, eq=False)
class Window:
    """Which places one axis of a sum reads: target number m meets, with its n-th tap, source m step + offsets[n]."""

    taps: Ints
    """Indices of the taps in the kernel."""
    offsets: Ints
    step: int
    size: int
    """Length of the source."""
    targets: Ints
    """Where the results go."""

    def reach(self) -> tuple[int, int]:
        """Return how many places before and behind the source are read."""
        if not len(self.taps) or not len(self.targets):
            return 0, 0
        last = (len(self.targets) - 1) * self.step
        return max(0, -int(self.offsets.min())), max(0, last + int(self.offsets.max()) - (self.size - 1))

    def runs(self) -> list[Ints]:
        """Return the taps in the order of their offsets, divided where an offset does not follow the one before it."""
        order = np.argsort(self.offsets)
        ends = np.flatnonzero(np.diff(self.offsets[order]) != 1) + 1
        return [run for run in np.split(order, ends) if len(run)]

    def meeting(self, number: int) -> tuple[int, int]:
        """Return which taps (half open) of a target meet the source and not its padding."""
        met = np.flatnonzero((number * self.step + self.offsets >= 0) & (number * self.step + self.offsets < self.size))
        return (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)


def phases(axis: Axis) -> list[Window]:
    """Return the windows of the input's gradient, one for each remainder of the position by the stride."""
    return [axis.backward(phase) for phase in range(min(axis.stride, axis.size))]


@dataclass(frozen=True)
class Segment:
    """Targets that meet the same taps: all pairs of some rows and some columns."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    row_taps: tuple[int, int]
    """First row of taps and the one behind the last."""
    column_taps: tuple[int, int]


def segments_of(
    rows: Window, columns: Window, *, together: int, tile_pixels: int, rows_a_piece: int
) -> tuple[list[Segment], list[int]]:
    """Divide targets into segments, so that taps which lie in the padding cost nothing.

    Near the edges every row and every column meets taps of its own; where a tile has room for more pixels, neighbours
    share what any of them meets.

    Args:
        rows: Of the targets.
        columns: Of the targets.
        together: Rows and columns that must stay together: 2 where windows of 2 x 2 are pooled; then they are counted
            in windows.
        tile_pixels: Pixels of a tile.
        rows_a_piece: Rows after which a new piece begins, so that what a piece reads stays in the cache.

    Returns:
        The segments, and the number of the first segment of each piece, with the number of all at the end.
    """
    row_ranges, column_ranges = _ranges(rows, together), _ranges(columns, together)
    segments: list[Segment] = []
    pieces: list[int] = []
    step = max(1, rows_a_piece // together)
    for start in range(0, len(row_ranges), step):
        pieces.append(len(segments))
        for group, row_taps in _alike(row_ranges, start, min(start + step, len(row_ranges))):
            at_once = 1 if len(group) >= tile_pixels else tile_pixels
            for run, column_taps in _merged(column_ranges, at_once):
                segments.append(Segment(group, run, row_taps, column_taps))
    return segments, [*pieces, len(segments)]


def _ranges(window: Window, together: int) -> list[tuple[int, int]]:
    """Return the taps that each target meets, or each few neighbouring ones together."""
    met = [window.meeting(number) for number in range(len(window.targets) // together * together)]
    return [_union(met[n : n + together]) for n in range(0, len(met), together)]


def _union(ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    full = [r for r in ranges if r[1] > r[0]]
    return (min(r[0] for r in full), max(r[1] for r in full)) if full else (0, 0)


def _alike(ranges: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[tuple[int, ...], tuple[int, int]]]:
    """Return runs of neighbours with the same range, and the range."""
    runs: list[tuple[tuple[int, ...], tuple[int, int]]] = []
    for number in range(start, end):
        if runs and runs[-1][1] == ranges[number]:
            runs[-1] = ((*runs[-1][0], number), ranges[number])
        else:
            runs.append(((number,), ranges[number]))
    return runs


def _merged(ranges: Sequence[tuple[int, int]], at_once: int) -> list[tuple[tuple[int, ...], tuple[int, int]]]:
    """Return runs of neighbours, short ones joined up to `at_once` of them, and what any of them meets."""
    merged: list[tuple[tuple[int, ...], tuple[int, int]]] = []
    for run, taps in _alike(ranges, 0, len(ranges)):
        if merged and len(merged[-1][0]) + len(run) <= at_once:
            merged[-1] = ((*merged[-1][0], *run), _union([merged[-1][1], taps]))
        else:
            merged.append((run, taps))
    return merged


@cache
def cheapest_tile(outputs: int, pixels: int, accumulators: int, *, fixed_pixels: int | None = None) -> tuple[int, int]:
    """Return how many outputs x pixels a tile of sums should hold, by a model of the processor.

    A tap of a tile of k x p costs k p / 2 cycles of multiply-adds or (k + p) / 2 of loads, whichever is more. Fewer
    than 12 sums wait for their additions to be ready (measured: 8 take 5.2 cycles, not 4); more than 4 pixels take half
    as long again, since their addresses do not fit into registers. What is left over at the edges makes smaller tiles.
    """

    def cycles(k: int, p: int) -> float:
        return max(k * p / 2 + 0.3 * max(0, 12 - k * p), (k + p) / 2) * (1.5 if p > 4 else 1.0)

    def total(k: int, p: int) -> float:
        full, rest = divmod(pixels, p)
        widths = [*([k] * (outputs // k)), *([outputs % k] if outputs % k else [])]
        counted = {width: widths.count(width) for width in set(widths)}
        return sum(n * (full * cycles(width, p) + (cycles(width, rest) if rest else 0)) for width, n in counted.items())

    sizes = [(k, p) for k in range(1, 9) for p in ([fixed_pixels] if fixed_pixels else range(1, 13))]
    fitting = [(k, p) for k, p in sizes if k * p <= accumulators and (k <= outputs or k == 1)]
    return min(fitting, key=lambda tile: (total(*tile), -tile[0] * tile[1]))


def floats_of(places: Ints | Sequence[int], width: int) -> list[int]:
    """Return places as offsets in floats."""
    return (np.asarray(places, dtype=np.int64).reshape(-1) * width).tolist()
