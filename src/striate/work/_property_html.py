"""Properties as HTML, for notebooks and pages."""

from __future__ import annotations

import html
from collections.abc import Sequence

from striate.work._property_text import blocks, summary
from striate.work.measurement import Measurement, Property

__all__ = ["block"]

CELL = "padding:1px 10px;text-align:right;border-bottom:1px solid #8886"
LABEL = "padding:1px 10px 1px 0;text-align:left;border-bottom:1px solid #8886;font-weight:normal"
WRONG = "background:#ffd0c0;color:#000"


def block(title: str, properties: Sequence[Property]) -> str:
    """Return one self-contained block; all text in it is escaped."""
    parts = [f"<p><b>{html.escape(title)}</b><br>{html.escape(summary(properties))}</p>"]
    group = ""
    for each in properties:
        if each.group != group:
            group = each.group
            parts.append(f"<h2>{html.escape(group.capitalize())}</h2>")
        parts.append(_property(each))
    return f'<div style="font-family:sans-serif;max-width:60em">{"".join(parts)}</div>'


def _property(each: Property) -> str:
    items = f" ({html.escape(', '.join(each.items))})" if each.items else ""
    tables = "".join(_table(header, rows) for header, rows in blocks(each.finding))
    return (
        f'<h3 id="{html.escape(each.name)}">{html.escape(each.name)}{items}</h3><p>{html.escape(each.claim)}</p>'
        f'<p style="opacity:0.75">{html.escape(each.finding.method)}</p>'
        f"{tables}<p><b>{html.escape(each.verdict)}</b></p>"
    )


def _table(header: tuple[str, ...], rows: Sequence[Measurement]) -> str:
    heads = "".join(f'<th scope="col" style="{CELL}">{html.escape(text)}</th>' for text in (*header, "must be"))
    body = []
    for row in rows:
        colour = "" if row.is_as_claimed else f";{WRONG}"
        cells = "".join(f'<td style="{CELL}{colour}">{html.escape(text)}</td>' for text in (*row.texts, row.must_be))
        body.append(f'<tr><th scope="row" style="{LABEL}">{html.escape(row.what)}</th>{cells}</tr>')
    return f'<table style="border-collapse:collapse"><tr><td></td>{heads}</tr>{"".join(body)}</table>'
