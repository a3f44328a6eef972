"""Where the boxes of a graph stand: in layers from top to bottom, ordered so that few edges cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Drawing", "lay_out"]

THIN = 0.12
"""Width of an edge that passes between boxes, in columns."""
SWEEPS = 8
"""How often the boxes of each row are ordered by their neighbours, down and up."""


@dataclass(frozen=True)
class Drawing:
    """Places of boxes and edges, in columns and rows."""

    places: Mapping[int, tuple[float, int]]
    """Column and row of each box."""
    edges: Sequence[tuple[tuple[float, int], ...]]
    """The places that each edge runs through, from its source."""
    columns: float
    rows: int


def lay_out(sources: Mapping[int, Sequence[int]]) -> Drawing:
    """Place the boxes of a graph without cycles.

    A box stands one row below the lowest of its sources; an edge that skips rows takes a place in each. Rows are
    ordered by the mean place of neighbours (Sugiyama, Tagawa and Toda 1981), and moved to where their sources stand.

    Args:
        sources: For each box the boxes that it reads, in an order in which sources come first.

    Example:
        >>> drawing = lay_out({0: [], 1: [0], 2: [0], 3: [1, 2]})
        >>> [drawing.places[box][1] for box in range(4)], drawing.columns
        ([0, 1, 1, 2], 2.0)
    """
    row: dict[int, int] = {}
    for box, read in sources.items():
        row[box] = 1 + max((row[source] for source in read), default=-1)
    rows: list[list[int]] = [[] for _ in range(max(row.values(), default=-1) + 1)]
    for box in sources:
        rows[row[box]].append(box)
    chains = _chains(sources, row, rows)
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for chain in chains:
        for first, second in pairwise(chain):
            above.setdefault(second, []).append(first)
            below.setdefault(first, []).append(second)
    for sweep in range(SWEEPS):
        _order(rows if sweep % 2 == 0 else rows[::-1], above if sweep % 2 == 0 else below)
    column = _columns(rows, above)
    level = {box: number for number, boxes in enumerate(rows) for box in boxes}
    edges = [tuple((column[box], level[box]) for box in chain) for chain in chains]
    widest = max(column.values(), default=0) - min(column.values(), default=0) + 1
    return Drawing({box: (column[box], row[box]) for box in sources}, edges, widest, len(rows))


def _chains(sources: Mapping[int, Sequence[int]], row: Mapping[int, int], rows: list[list[int]]) -> list[list[int]]:
    """Return each edge as the places that it runs through; places between boxes have negative numbers."""
    chains, next_place = [], -1
    for box, read in sources.items():
        for source in dict.fromkeys(read):
            between = []
            for number in range(row[source] + 1, row[box]):
                rows[number].append(next_place)
                between.append(next_place)
                next_place -= 1
            chains.append([source, *between, box])
    return chains


def _order(rows: Sequence[list[int]], neighbours: Mapping[int, Sequence[int]]) -> None:
    """Order each row by the mean place of its neighbours in the row before."""
    place: dict[int, float] = {}
    for boxes in rows:
        own = {box: float(number) for number, box in enumerate(boxes)}
        means = {}
        for box in boxes:
            near = [place[other] for other in neighbours.get(box, ()) if other in place]
            means[box] = sum(near) / len(near) if near else own[box]
        boxes.sort(key=lambda box: (means[box], own[box]))
        place |= {box: float(number) for number, box in enumerate(boxes)}


def _columns(rows: Sequence[list[int]], above: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """Put each box below its sources as far as its neighbours in the row leave room; the leftmost column is 0."""
    column: dict[int, float] = {}
    for boxes in rows:
        wanted = []
        for number, box in enumerate(boxes):
            near = [column[other] for other in above.get(box, ())]
            wanted.append(sum(near) / len(near) if near else number - (len(boxes) - 1) / 2)
        widths = [1.0 if box >= 0 else THIN for box in boxes]
        placed: list[float] = []
        for number, want in enumerate(wanted):
            apart = (widths[number - 1] + widths[number]) / 2
            placed.append(max(want, placed[-1] + apart) if placed else want)
        shift = sum(w - p for w, p in zip(wanted, placed, strict=True)) / max(1, len(boxes))
        column |= {box: place + shift for box, place in zip(boxes, placed, strict=True)}
    left = min(column.values(), default=0)
    return {box: place - left for box, place in column.items()}
