"""A working as plain JSON types."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.ops.working import Grid, Line, Sum, Term, Working

__all__ = ["plain"]


def plain(part: Working | Line | Grid | Sum | Term) -> dict[str, Any]:
    """Return a part of a working with everything inside it; `kind` says what it is."""
    match part:
        case Working():
            return {
                "kind": "working",
                "title": part.title,
                "equation": part.equation,
                "parts": [plain(inner) for inner in part.parts],
                "value": np.asarray(part.value).tolist(),
            }
        case Line():
            return {"kind": "line", "text": part.text}
        case Grid():
            window = None if part.window is None else [[s.start, s.stop, s.step] for s in part.window]
            return {"kind": "grid", "label": part.label, "values": part.values.tolist(), "window": window}
        case Sum():
            terms = [plain(term) for term in part.terms]
            return {"kind": "sum", "label": part.label, "terms": terms, "value": part.value}
        case Term():
            return {"kind": "term", "factors": list(part.factors), "where": part.where, "value": part.value}
