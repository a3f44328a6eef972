"""From PyTorch's calls to the operations of striate: one function for each name that a call may have."""

from __future__ import annotations

from striate.graph.adapters._call import Call, Operand, per_axis
from striate.graph.adapters._table import ADAPTERS, adapt

__all__ = ["ADAPTERS", "Call", "Operand", "adapt", "per_axis"]
