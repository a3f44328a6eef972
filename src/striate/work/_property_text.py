"""Properties as text of at most 100 columns: claim, method, the rows measured, and what they say."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence

from striate.work.measurement import Finding, Measurement, Property

__all__ = ["WIDTH", "blocks", "describe", "summary", "wrapped"]

WIDTH = 100


def describe(each: Property) -> str:
    """Return one property as text."""
    lines = [*wrapped(f"{each.name}: {each.claim}", indent=0), *wrapped(each.finding.method, indent=2)]
    for header, rows in blocks(each.finding):
        lines += _table(header, rows)
    return "\n".join([*lines, *wrapped(each.verdict, indent=2)])


def summary(properties: Sequence[Property]) -> str:
    """Return one sentence about all of them.

    Example:
        >>> summary([])
        'No property was measured.'
    """
    others = [each.name for each in properties if not each.is_as_claimed]
    if not properties:
        return "No property was measured."
    if not others:
        return f"All {len(properties)} are as claimed." if len(properties) > 1 else "As claimed."
    right = len(properties) - len(others)
    text = f"{right} of {len(properties)} are as claimed on this data, but not {', '.join(others)}."
    return "\n".join(wrapped(text, indent=0))


def blocks(finding: Finding) -> Iterator[tuple[tuple[str, ...], list[Measurement]]]:
    """Yield runs of rows with one value, or with one a column, and the headings above them."""
    for is_single, rows in itertools.groupby(finding.rows, key=lambda row: len(row.values) == 1):
        yield (("measured",) if is_single else finding.columns), list(rows)


def _table(header: tuple[str, ...], rows: Sequence[Measurement]) -> list[str]:
    has_bounds = any(row.must_be for row in rows)
    cells = [["", *header, "must be" if has_bounds else ""]]
    for row in rows:
        bound = row.must_be if row.is_as_claimed else f"{row.must_be}: NOT SO"
        cells.append([row.what, *row.texts, bound])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return [
        "    "
        + "  ".join(
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def wrapped(text: str, *, indent: int) -> list[str]:
    """Wrap a sentence, and leave numbers with their units and formulas in one piece."""
    tied = re.sub(r" (?=%|px)| (?=[*=<x] )|(?<= [*=<x]) ", "\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(
        tied, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * max(2, indent), break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
