"""The registry as text."""

from __future__ import annotations

import pytest

from striate import models
from striate.models.listing import describe, table


def test_the_table_has_one_line_a_network():
    lines = table().splitlines()
    assert [line.split()[0] for line in lines] == ["name", *models.list()]
    assert all(len(line) <= 100 for line in lines)


def test_the_table_states_counts_and_years():
    (line,) = (line for line in table().splitlines() if line.startswith("lenet5 "))
    # 44,426 parameters for 28 x 28 images: the figure; the paper is of 1998.
    assert line.split()[1] == "44,426"
    assert "1998" in line


@pytest.mark.parametrize("name", models.list())
def test_every_network_is_described_with_its_paper_and_deviations(name):
    info, text = models.info(name), describe(models.info(name))
    assert text.startswith(f"{name}: {info.description}")
    assert f"{info.num_params:,}" in text
    assert str(info.paper.year) in text
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= 110  # web addresses are not broken
    words = " ".join(text.split())
    for deviation in info.deviations:
        for part in (deviation.paper, deviation.here, deviation.why):
            assert " ".join(part.split()) in words
    assert ("Built as in the paper." in text) == (not info.deviations)
    for weights in info.pretrained:
        assert weights.name in words
