"""What the topics of `striate work` answer with: a working and its numbers by name; tables and relabelled parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from striate.ops.op import Array
from striate.ops.working import Grid, Line, Sum, Term, Working

__all__ = ["Answer", "Part", "Table", "Wording", "Written", "grid", "reword", "reworded", "times"]

Part = Line | Grid | Sum | Working
Wording = Sequence[tuple[str, str]]
"""Regular expressions, and the words that stand for what they find."""


@dataclass(frozen=True)
class Answer(Working):
    """The working of a topic, with the arrays and numbers that it arrives at."""

    numbers: Mapping[str, Any] = field(default_factory=dict)
    """By name: ``output``, ``grad_input`` ..., as arrays or plain numbers."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: every part, every term, every number."""
        return super().to_dict() | {"numbers": {name: _plain(value) for name, value in self.numbers.items()}}


@dataclass(frozen=True)
class Table(Line):
    """Several lines that belong together, in columns."""

    def lines(self) -> list[str]:
        """Return one string a row."""
        return self.text.split("\n")

    @classmethod
    def of(cls, header: Sequence[str], rows: Sequence[Sequence[Any]], *, left: int = 1) -> Table:
        """Lay out a header and rows of text, the first `left` columns to the left, the others to the right."""
        cells = [[str(cell) for cell in row] for row in (header, *rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        return cls("\n".join(line.rstrip() for line in lines))


@dataclass(frozen=True)
class Written(Term):
    """A product that is written in its own way, such as ``(3 - 1) x 2``."""

    written: str = ""

    def text(self, *, alone: bool = False) -> str:
        """Return what is written."""
        return self.written


def grid(label: str, values: Array, place: Sequence[int] | None = None) -> Grid:
    """Return a matrix or row, one value of it marked."""
    if place is None:
        return Grid(label, values)
    rows, columns = (0, *place) if values.ndim == 1 else place
    return Grid(label, values, (slice(rows, rows + 1), slice(columns, columns + 1)))


def merged(total: Sum) -> Sum:
    """Return a sum of one sum (and a bias) as one sum: one channel needs no heading of its own."""
    inner = [term for term in total.terms if isinstance(term, Sum)]
    if len(inner) != 1:
        return total
    terms = tuple(leaf for term in total.terms for leaf in (term.terms if isinstance(term, Sum) else (term,)))
    return replace(total, terms=terms)


def reworded(parts: Sequence[Part], wording: Wording) -> list[Part]:
    """Return parts with other words in their lines and labels, and sums of one sum merged."""
    changed: list[Part] = []
    for part in parts:
        match part:
            case Grid():
                changed.append(replace(part, label=reword(part.label, wording)))
            case Sum():
                changed.append(replace(merged(part), label=reword(part.label, wording)))
            case Line():
                changed.append(replace(part, text=reword(part.text, wording)))
            case _:
                changed.append(part)
    return changed


def reword(text: str, wording: Wording) -> str:
    """Replace each pattern by its words, in their order.

    Example:
        >>> reword("dL/dx[n,c,u,v]", [("dL/dx", "dL/dinput"), ("n,c,", "")])
        'dL/dinput[u,v]'
    """
    for pattern, words in wording:
        text = re.sub(pattern, words, text)
    return text


def times(shape: Sequence[int]) -> str:
    """Write a shape as people do.

    Example:
        >>> times((3, 28, 28))
        '3 x 28 x 28'
    """
    return " x ".join(str(length) for length in shape)


def _plain(value: Any) -> Any:
    """Return arrays as nested lists, inside mappings and sequences too."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return np.asarray(value).tolist()
