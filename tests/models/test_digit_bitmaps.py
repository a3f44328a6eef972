"""Output codes of LeNet-5 of 1998."""

from __future__ import annotations

from itertools import combinations

from striate.models.digit_bitmaps import BITMAPS, class_codes


def test_ten_bitmaps_of_12_rows_and_7_columns() -> None:
    assert len(BITMAPS) == 10
    assert all(len(bitmap) == 12 and {len(row) for row in bitmap} == {7} for bitmap in BITMAPS)
    assert {pixel for bitmap in BITMAPS for row in bitmap for pixel in row} == {"#", "."}


def test_codes_differ_in_many_pixels() -> None:
    codes = class_codes(40)
    assert min(sum(a != b for a, b in zip(x, y, strict=True)) for x, y in combinations(codes, 2)) >= 5


def test_codes_are_the_same_every_time_and_extend_one_another() -> None:
    assert class_codes(30)[:20] == class_codes(20)
    assert class_codes(3)[2][:7] == [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0]  # first row of the 2: .#####.
