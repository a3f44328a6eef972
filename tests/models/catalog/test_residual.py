"""Entries since 2015: what the papers print, and what differs."""

from __future__ import annotations

import pytest

from striate.models.catalog.residual import RESIDUAL


@pytest.mark.parametrize("entry", RESIDUAL, ids=lambda entry: entry.name)
def test_an_entry_agrees_with_the_printed_count_or_says_so(entry) -> None:
    printed = entry.paper_num_params
    if printed is not None and not printed.agrees_with(entry.num_params):
        assert any("parameters" in deviation.paper for deviation in entry.deviations)


def test_cifar_networks_round_to_table_6() -> None:
    # Source: arXiv:1512.03385, table 6, column "# params", in millions.
    table = {"resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85, "resnet110": 1.7}
    entries = {entry.name: entry for entry in RESIDUAL}
    for name, millions in table.items():
        printed = entries[name].paper_num_params
        assert printed is not None
        assert printed.value == round(millions * 1_000_000)
        assert printed.agrees_with(entries[name].num_params)


def test_bottlenecks_alone_mention_their_stride() -> None:
    mention = {e.name for e in RESIDUAL if any("3 x 3 convolution (known as" in d.here for d in e.deviations)}
    assert mention == {"resnet50", "resnet101", "resnet152", "resnet50_cifar"}


def test_every_entry_says_what_differs() -> None:
    for entry in RESIDUAL:
        assert entry.deviations
        assert all(part.endswith((".", "?")) for d in entry.deviations for part in (d.paper, d.here, d.why))
