"""Entries before 2012: what the papers print, and what differs."""

from __future__ import annotations

import pytest

from striate.models.catalog.early import EARLY


@pytest.mark.parametrize("entry", EARLY, ids=lambda entry: entry.name)
def test_an_entry_agrees_with_the_printed_count_or_says_so(entry) -> None:
    printed = entry.paper_num_params
    if printed is not None and not printed.agrees_with(entry.num_params):
        assert any("parameters" in deviation.paper for deviation in entry.deviations)


def test_reproductions_have_exactly_the_printed_count() -> None:
    # Sources: 1989, section on the architecture: 9760 independent parameters. 1998, section II.B: 60,000 trainable.
    exact = {entry.name: entry.num_params for entry in EARLY if entry.name in ("lecun1989", "lenet5_1998")}
    assert exact == {"lecun1989": 9_760, "lenet5_1998": 60_000}


def test_every_entry_says_what_differs() -> None:
    for entry in EARLY:
        assert entry.deviations
        assert all(part.endswith((".", "?")) for d in entry.deviations for part in (d.paper, d.here, d.why))
