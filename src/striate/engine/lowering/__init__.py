"""From operations of a graph to instructions of the engine: one file for each family, forward and backward together."""

from __future__ import annotations

from striate.engine.lowering._table import lower, reason_against

__all__ = ["lower", "reason_against"]
