"""Resizing to a short side: sizes, the crop beyond 2:1, and averages."""

from __future__ import annotations

import numpy as np
import pytest

from striate.data.resize import resize_short_side


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (100, 100, 32, (32, 32)),
        (160, 240, 80, (80, 120)),
        (240, 160, 80, (120, 80)),
        (10, 15, 20, (20, 30)),  # enlarged, so that a crop of 20 x 20 fits
        (10, 100, 10, (10, 20)),  # cropped only
        (60_000, 1, 8, (16, 8)),
        (3, 3, 1, (1, 1)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_short_side_is_exact_and_the_long_side_at_most_twice_as_long(
    height: int, width: int, size: int, expected: tuple[int, int], channels: int
):
    pixels = np.full((channels, height, width), 77, dtype=np.uint8)
    resized = resize_short_side(pixels, size=size)
    assert resized.shape == (channels, *expected)
    assert resized.flags.c_contiguous
    assert (resized == 77).all()


def test_the_middle_is_kept_beyond_2_to_1():
    pixels = np.arange(60, dtype=np.uint8).reshape(1, 6, 10).repeat(2, axis=2)[:, :, :20]
    pixels[:] = np.arange(20, dtype=np.uint8)
    # 12 of 20 columns stay: 4 are cut on each side.
    np.testing.assert_array_equal(resize_short_side(pixels, size=6)[0, 0], np.arange(4, 16))


def test_an_image_of_the_right_size_is_not_touched():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 12), dtype=np.uint8)
    np.testing.assert_array_equal(resize_short_side(pixels, size=8), pixels)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shrinking_averages_over_all_pixels(interpolation: str):
    # A checkerboard of 0 and 255 is grey from afar; picking single pixels would give 0 or 255.
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[None]
    shrunk = resize_short_side(board, size=8, interpolation=interpolation)  # type: ignore[arg-type]
    np.testing.assert_allclose(shrunk, 127.5, atol=8)


def test_channels_keep_apart():
    pixels = np.stack([np.full((10, 10), value, dtype=np.uint8) for value in (1, 2, 3)])
    np.testing.assert_array_equal(resize_short_side(pixels, size=5)[:, 0, 0], [1, 2, 3])
