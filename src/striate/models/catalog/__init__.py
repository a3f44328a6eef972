"""The entries of the registry, as data: one table a period, families in the order of their papers."""

from __future__ import annotations

from striate.models.catalog.deep import DEEP
from striate.models.catalog.early import EARLY
from striate.models.catalog.residual import RESIDUAL

ENTRIES = (*EARLY, *DEEP, *RESIDUAL)
