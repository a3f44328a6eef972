"""From operations of a graph to instructions on one image whose channels lie side by side: forward passes alone."""

from __future__ import annotations

from striate.engine.images._table import lower, reason_against

__all__ = ["lower", "reason_against"]
