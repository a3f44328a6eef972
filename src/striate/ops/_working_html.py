"""A working as HTML, for notebooks and pages: headings, tables with the window marked, sums with their totals."""

from __future__ import annotations

import html

import numpy as np

from striate.ops.working import MOST_ROWS, Grid, Line, Sum, Working

__all__ = ["render"]

MARK = "background:#ffe08a;color:#000"
CELL = "padding:1px 6px;text-align:right;border:1px solid #ccc"
MOST_COLUMNS = 24


def render(working: Working) -> str:
    """Return one self-contained block of HTML; all text in it is escaped."""
    parts = "".join(_part(part) for part in working.parts)
    equation = f"<p><code>{html.escape(working.equation)}</code></p>" if working.equation else ""
    return (
        '<div style="font-family:sans-serif;border-left:3px solid #888;padding-left:12px;margin:8px 0">'
        f"<p><b>{html.escape(working.title)}</b></p>{equation}{parts}</div>"
    )


def _part(part: Line | Grid | Sum | Working) -> str:
    match part:
        case Working():
            return render(part)
        case Grid():
            return _grid(part)
        case _:
            text = "<br>".join(html.escape(line) for line in part.lines())
            return f"<p style='font-family:monospace;white-space:pre-wrap'>{text}</p>"


def _grid(grid: Grid) -> str:
    matrix = np.atleast_2d(grid.values)
    rows, columns = grid.shown(matrix.shape, most=(MOST_ROWS, MOST_COLUMNS))
    body = []
    for i in rows:
        cells = "".join(
            f"<td style='{CELL};{MARK if grid.is_marked(i, j) else ''}'>{grid.cell(i, j)}</td>" for j in columns
        )
        body.append(f"<tr>{cells}</tr>")
    heading = html.escape(grid.lines()[0])
    return f"<p>{heading}</p><table style='border-collapse:collapse;font-family:monospace'>{''.join(body)}</table>"
