"""The working: an operation's arithmetic as a plain object, which prints as text and renders as HTML in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "Line", "Sum", "Term", "Working", "number"]

WIDTH = 100
MARGIN = 8  # a working may lie in a working, which lies in a working
MOST_TERMS = 27  # what is printed of one sum: a 3 x 3 kernel on three channels; the object holds all
MOST_GROUPS = 6
MOST_ROWS = 16
GRID_DIGITS = 4


def number(value: Any, *, digits: int = 6) -> str:
    """Write a number as people do: whole ones without a point, others with so many digits that count.

    Example:
        >>> number(3.0), number(0.1234567), number(-1e-9)
        ('3', '0.123457', '-1e-09')
    """
    value = float(value)
    if math.isfinite(value) and value == round(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.{digits}g}"


@dataclass(frozen=True)
class Line:
    """One line of the working, such as a formula with its numbers in it."""

    text: str

    def lines(self) -> list[str]:
        """Return it as text."""
        return [self.text]


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix with a heading; `window` marks some rows and columns of it."""

    label: str
    values: npt.NDArray[Any]
    """(H, W), or (W,) for a row."""
    window: tuple[slice, slice] | None = None

    def is_marked(self, row: int, column: int) -> bool:
        """Whether a cell belongs to the window; a window may have steps (dilation)."""
        if self.window is None:
            return False
        height, width = np.atleast_2d(self.values).shape
        rows, columns = self.window
        return row in range(*rows.indices(height)) and column in range(*columns.indices(width))

    def cell(self, row: int, column: int) -> str:
        """Write one number of the matrix, with fewer digits than in a sum."""
        return number(np.atleast_2d(self.values)[row, column], digits=GRID_DIGITS)

    def lines(self) -> list[str]:
        """Return it as text, marked cells in brackets; of a large matrix the part around the window."""
        matrix = np.atleast_2d(self.values)
        rows, columns = self.shown(matrix.shape, most=(MOST_ROWS, (WIDTH - MARGIN) // 3))
        widest = max((len(self.cell(i, j)) for i in rows for j in columns), default=1) + 2
        rows, columns = self.shown(matrix.shape, most=(MOST_ROWS, (WIDTH - MARGIN) // widest))
        cells = [
            [f"[{self.cell(i, j)}]" if self.is_marked(i, j) else f" {self.cell(i, j)} " for j in columns] for i in rows
        ]
        width = max((len(cell) for row in cells for cell in row), default=0)
        is_cut = (len(rows), len(columns)) != matrix.shape
        cut = f", rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}" if is_cut else ""
        size = " x ".join(str(length) for length in matrix.shape)
        text = ("".join(cell.rjust(width) for cell in row).rstrip() for row in cells)
        return [f"{self.label} ({size}{cut})", *(f"  {row}" for row in text)]

    def shown(self, shape: tuple[int, ...], *, most: tuple[int, int]) -> tuple[range, range]:
        """Return the rows and columns to show when there is room for `most`: the window stays in sight."""
        ranges = []
        for axis, length in enumerate(shape):
            first = 0
            if length > most[axis] and self.window is not None:
                marked = range(*self.window[axis].indices(length))
                middle = (marked[0] + marked[-1]) // 2 if len(marked) else 0
                first = min(max(0, middle - most[axis] // 2), length - most[axis])
            ranges.append(range(first, min(length, first + most[axis])))
        return ranges[0], ranges[1]


@dataclass(frozen=True)
class Term:
    """One product of a sum: its factors, where they come from, and their product."""

    factors: tuple[float, ...]
    where: str
    """Names of the factors, such as ``x[0, 1, 2] w[0, 0, 1]``."""

    @property
    def value(self) -> float:
        """The product of the factors."""
        return math.prod(self.factors)

    def text(self, *, alone: bool = False) -> str:
        """Return the factors as text, negative ones in parentheses; a single factor that stands `alone` needs none."""
        if alone and len(self.factors) == 1:
            return number(self.factors[0])
        return " x ".join(f"({number(factor)})" if factor < 0 else number(factor) for factor in self.factors)


@dataclass(frozen=True)
class Sum:
    """A sum with each of its terms; a term may be a sum of its own, as one channel is."""

    label: str
    terms: tuple[Term | Sum, ...]
    value: float
    """The total, computed by the operation itself."""

    def flat(self) -> list[Term]:
        """Return all the products, from first to last."""
        return [leaf for term in self.terms for leaf in (term.flat() if isinstance(term, Sum) else [term])]

    def lines(self) -> list[str]:
        """Return it as text; of a long sum the terms that weigh most."""
        if any(isinstance(term, Sum) for term in self.terms):
            return self._lines_of_groups()
        shown = _heaviest(self.terms, most=MOST_TERMS)
        words = [term.text() for term in shown if isinstance(term, Term)]
        others = [term for term in self.terms if not any(term is one for one in shown)]
        if others:
            rest = math.fsum(term.value for term in others)
            which = "that are 0" if all(term.value == 0 for term in others) else "smaller ones together"
            words.append(f"{_signed(rest)} (the {len(others):,} {which})")
        return _wrapped(f"{self.label} = ", words, f"= {number(self.value)}")

    def _lines_of_groups(self) -> list[str]:
        heaviest = _heaviest([term for term in self.terms if isinstance(term, Sum)], most=MOST_GROUPS)
        shown = [term for term in self.terms if isinstance(term, Term) or any(term is one for one in heaviest)]
        lines = []
        for term in shown:
            lines += term.lines() if isinstance(term, Sum) else [f"{term.where} = {term.text(alone=True)}"]
        words = [_signed(term.value) for term in shown]
        others = [term for term in self.terms if not any(term is one for one in shown)]
        if others:
            rest = math.fsum(term.value for term in others)
            lines.append(f"and {len(others):,} smaller ones, together {number(rest)}")
            words.append(_signed(rest))
        if len(self.terms) == 1:
            return [*lines, f"{self.label} = {number(self.value)}"]
        return [*lines, *_wrapped(f"{self.label} = ", words, f"= {number(self.value)}")]


@dataclass(frozen=True)
class Working:
    """How one number came about: a formula, its parts in the order of the arithmetic, and the value."""

    title: str
    equation: str
    parts: tuple[Line | Grid | Sum | Working, ...]
    value: Any
    """The number, or the array, that the working arrives at."""

    def lines(self) -> list[str]:
        """Return it as text."""
        lines = [self.title, f"  {self.equation}"] if self.equation else [self.title]
        for part in self.parts:
            lines += [f"  {line}" for line in part.lines()]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from striate.ops._working_html import render

        return render(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: every part, every term, every number."""
        from striate.ops._working_json import plain

        return plain(self)

    def sums(self) -> list[Sum]:
        """Return every sum of the working, from first to last."""
        found = []
        for part in self.parts:
            if isinstance(part, Working):
                found += part.sums()
            elif isinstance(part, Sum):
                found.append(part)
        return found


def _heaviest(terms: Sequence[Term | Sum], *, most: int) -> list[Term | Sum]:
    """Return the terms to print, in their order: all of a short sum; of a long one the largest, none that is 0."""
    if len(terms) <= most:
        return list(terms)
    order = sorted(range(len(terms)), key=lambda i: -abs(terms[i].value))[:most]
    return [terms[i] for i in sorted(order) if terms[i].value != 0]


def _signed(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


def _wrapped(start: str, words: Sequence[str], end: str) -> list[str]:
    """Join words with plus signs into lines no wider than the screen, continued under the first word."""
    lines, line = [], start
    for i, word in enumerate(words):
        piece = word if i == 0 else f" + {word}"
        if len(line) + len(piece) > WIDTH - MARGIN and line.strip():
            lines.append(line)
            line = " " * min(len(start), 12) + piece.strip()
        else:
            line += piece
    if len(line) + 1 + len(end) > WIDTH - MARGIN:
        return [*lines, line, " " * min(len(start), 12) + end]
    return [*lines, f"{line} {end}"]
