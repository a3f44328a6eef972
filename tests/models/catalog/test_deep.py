"""Entries of 2012 to 2014: what the papers print, and what differs."""

from __future__ import annotations

import pytest

from striate.models.catalog.deep import DEEP


@pytest.mark.parametrize("entry", DEEP, ids=lambda entry: entry.name)
def test_an_entry_agrees_with_the_printed_count_or_says_so(entry) -> None:
    printed = entry.paper_num_params
    if printed is not None and not printed.agrees_with(entry.num_params):
        assert any("parameters" in deviation.paper for deviation in entry.deviations)


def test_one_tower_has_two_per_mille_more_parameters() -> None:
    # Source: Krizhevsky 2014, section 2: the one-tower network has 0.2 % more parameters than the two-tower one.
    count = {entry.name: entry.num_params for entry in DEEP}
    assert round(count["alexnet"] / count["alexnet_2012"] - 1, 3) == 0.002


def test_the_sum_of_googlenet_table_1() -> None:
    # Source: arXiv:1409.4842, table 1, column "params", in thousands.
    rows = (2.7, 112, 159, 380, 364, 437, 463, 580, 840, 1072, 1388, 1000)
    printed = next(entry.paper_num_params for entry in DEEP if entry.name == "googlenet_2014")
    assert printed is not None
    assert printed.value == round(sum(rows) * 1000)


def test_every_entry_says_what_differs() -> None:
    for entry in DEEP:
        assert entry.deviations
        assert all(part.endswith((".", "?")) for d in entry.deviations for part in (d.paper, d.here, d.why))
