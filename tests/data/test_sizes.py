"""Sizes that are stored for crops, and sizes that are refused."""

from __future__ import annotations

import pytest

from striate.data.sizes import check_size, default_resize_size
from striate.errors import UsageError


@pytest.mark.parametrize(("image_size", "expected"), [(28, 28), (64, 64), (128, 146), (224, 256)])
def test_large_crops_come_from_an_image_8_7_as_large(image_size: int, expected: int):
    assert default_resize_size(image_size) == expected


@pytest.mark.parametrize("size", [0, -1, 4097, 2.5, "32", True])
def test_sizes_that_are_none_are_refused(size: object):
    with pytest.raises(UsageError, match="`image_size` must be a whole number from 1 to 4096 pixels, got"):
        check_size(size, name="image_size")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [None, 1, 4096])
def test_sizes_in_range_pass(size: int | None):
    check_size(size, name="image_size")
