"""Entries: printed counts and derived properties."""

from __future__ import annotations

import dataclasses

import pytest

from striate import models
from striate.models.entry import PrintedCount


@pytest.mark.parametrize(
    ("num_params", "agrees"), [(264_999, False), (265_000, True), (269_722, True), (275_000, True), (275_001, False)]
)
def test_printed_count_agrees_within_half_its_step(num_params: int, agrees: bool) -> None:
    assert PrintedCount(value=270_000, unit=10_000, where="table 6").agrees_with(num_params) is agrees


def test_kind_and_sizes_follow_from_the_input() -> None:
    images, vectors = models.info("lenet5"), models.info("mlp_boston")
    assert (images.kind, images.in_channels, images.image_size) == ("images", 1, 28)
    assert (vectors.kind, vectors.in_channels, vectors.image_size) == ("vectors", 13, None)


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="num_params"):
        models.info("lenet5").num_params = 1  # type: ignore[misc]
