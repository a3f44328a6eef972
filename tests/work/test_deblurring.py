"""The lens, what it blurs, and how much of it is undone on a real picture."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from striate.data import decode
from striate.errors import UsageError
from striate.work.deblurring import blur, deblur, defocus_kernel, lens_sheet, psnr
from striate.work.filtering import filter_image

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"
FLOWER = PHOTOGRAPH.with_name("flower.jpg")


@pytest.fixture(scope="module")
def pagoda():
    """A part of the photograph, 250 x 300 pixels."""
    return decode(PHOTOGRAPH)[:, 100:350, 50:350]


def _taken(picture, *, radius, noise):
    """Return a picture in focus and as a lens out of focus sees it, which knows what lies beyond the border."""
    lens = defocus_kernel(radius)
    margin = len(lens) // 2
    sharp = decode(picture) if isinstance(picture, Path) else picture
    return sharp[:, margin:-margin, margin:-margin], blur(sharp, lens, border="valid", noise=noise), lens


@pytest.mark.parametrize("radius", [0.6, 1, 1.5, 3, 7.25])
def test_the_lens_is_a_disc(radius):
    lens = defocus_kernel(radius)
    assert lens.shape == (2 * math.ceil(radius - 0.5) + 1,) * 2
    assert lens.sum() == pytest.approx(1, abs=1e-12)
    for same in (lens[::-1], lens[:, ::-1], lens.T):
        np.testing.assert_array_equal(lens, same)
    # The centre lies inside whole (for radii from sqrt(1/2) on), so its weight is 1 / area of the disc.
    if radius >= 1:
        assert lens.max() == pytest.approx(1 / (math.pi * radius**2), rel=0.02)
    assert lens.min() >= 0


@pytest.mark.parametrize("radius", [0.5, 0, -3, 101, math.nan, math.inf, "3"])
def test_radii_out_of_range(radius):
    with pytest.raises(UsageError, match=r"defocus_kernel: `radius` must be above 0\.5 and at most 100 pixels, got"):
        defocus_kernel(radius)


def test_blurring_is_convolution_rounded():
    sharp, blurred, lens = _taken(PHOTOGRAPH, radius=2, noise=0)
    exact = filter_image(decode(PHOTOGRAPH), lens, border="valid", flip=True)
    assert blurred.shape == sharp.shape
    assert float(np.abs(blurred - exact).max()) <= 0.5
    np.testing.assert_array_equal(blurred, blur(PHOTOGRAPH, lens, border="valid"))


def test_noise_has_the_asked_strength_and_repeats():
    flat = np.full((200, 200), 128)
    noisy = blur(flat, [[1]], noise=5, seed=1)
    assert noisy.std() == pytest.approx(math.hypot(5, 0.29), rel=0.02)  # rounding adds a twelfth to the variance
    np.testing.assert_array_equal(noisy, blur(flat, [[1]], noise=5, seed=1))
    assert (noisy != blur(flat, [[1]], noise=5, seed=2)).any()


# Least gain in decibels. Measured with NumPy 2.4: 7.4, 3.9, 2.9, 2.3 (china) and 3.9, 3.8, 3.4, 3.2 (flower).
@pytest.mark.parametrize(
    ("path", "radius", "noise", "gain"),
    [
        (PHOTOGRAPH, 2, 0.3, 7.0),
        (PHOTOGRAPH, 5, 0.3, 3.7),
        (PHOTOGRAPH, 5, 1, 2.6),
        (PHOTOGRAPH, 8, 1, 2.0),
        (FLOWER, 2, 0.3, 3.6),
        (FLOWER, 5, 0.3, 3.5),
        (FLOWER, 5, 1, 3.1),
        (FLOWER, 8, 1, 2.9),
    ],
)
def test_a_known_lens_is_undone(path, radius, noise, gain):
    sharp, blurred, lens = _taken(path, radius=radius, noise=noise)
    restored = deblur(blurred, lens, noise=noise)
    assert restored.shape == sharp.shape
    assert (restored.min() >= 0, restored.max() <= 255) == (True, True)
    assert psnr(restored, sharp) > psnr(blurred, sharp) + gain


def test_borders_do_not_ring():
    """What lies beyond the border is unknown: the outermost 10 pixels may be worse, by a factor below 2."""
    sharp, blurred, lens = _taken(PHOTOGRAPH, radius=3, noise=1)
    error = (deblur(blurred, lens) - sharp) ** 2
    outer = np.ones(error.shape[1:], dtype=bool)
    outer[10:-10, 10:-10] = False
    assert error[:, outer].mean() < 2 * error[:, ~outer].mean()


def test_noise_that_is_not_expected_comes_out_as_grain(pagoda):
    sharp, blurred, lens = _taken(pagoda, radius=3, noise=5)
    assert psnr(deblur(blurred, lens, noise=5), sharp) > psnr(deblur(blurred, lens, noise=0), sharp) + 5


def test_a_lens_in_focus_and_flat_pictures_stay_as_they_are():
    picture = decode(PHOTOGRAPH)[:, :50, :60]
    assert psnr(deblur(picture, [[1]], noise=0), picture) > 50
    for value in (0, 128, 255):
        np.testing.assert_allclose(deblur(np.full((9, 7), value), defocus_kernel(2)), value, atol=1e-9)
    assert deblur([[7]], defocus_kernel(2)).tolist() == [[[pytest.approx(7)]]]


def test_a_kernel_that_brightens_is_undone_too():
    sharp = decode(PHOTOGRAPH, mode="L")[:, 100:200, 100:200] // 2
    lens = 2 * defocus_kernel(1.5)
    blurred = filter_image(sharp, lens)
    assert psnr(deblur(blurred, lens, noise=0.3), sharp) > psnr(blurred / 2, sharp) + 3


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("sobel-x", r"not sum to 0, got 3 x 3 with sum 0\. Give one such as defocus_kernel\(3\)"),
        ("laplacian", "with sum 0"),
        (np.eye(3), "be the same when mirrored along either axis"),
        ("1 1; 1 1", "have odd sides, .* got 2 x 2 with sum 4"),
    ],
)
def test_kernels_that_are_no_lens(kernel, message):
    with pytest.raises(UsageError, match=f"deblur: `kernel` must .*{message}"):
        deblur(np.eye(9), kernel)


@pytest.mark.parametrize("noise", [-1, math.nan, 256, "1"])
def test_noise_out_of_range(noise):
    with pytest.raises(UsageError, match="deblur: `noise` must be from 0 to 255 grey levels, got"):
        deblur(np.eye(9), [[1]], noise=noise)
    with pytest.raises(UsageError, match="blur: `noise` must be from 0 to 255 grey levels, got"):
        blur(np.eye(9), [[1]], noise=noise)


def test_psnr():
    # 10 log10(255^2 / ((0 + 25) / 2)) = 37.16
    assert psnr([[10, 20]], [[10, 25]]) == pytest.approx(10 * math.log10(255**2 / 12.5))
    assert psnr(PHOTOGRAPH, PHOTOGRAPH) == math.inf
    with pytest.raises(UsageError, match=r"psnr: `image` must have the reference's shape \(1, 1, 3\), got \(1, 1, 2\)"):
        psnr([[1, 2]], [[1, 2, 3]])


def test_a_demonstration_shows_three_pictures_and_what_was_gained():
    sheet = lens_sheet(PHOTOGRAPH, blur_radius=3, radius=3)
    sharp, blurred, restored = sheet.panels
    assert [panel.title for panel in sheet.panels] == ["sharp", "out of focus", "restored"]
    np.testing.assert_array_equal(sharp.pixels, decode(PHOTOGRAPH)[:, 3:-3, 3:-3])
    assert blurred.note == f"PSNR {psnr(blurred.pixels, sharp.pixels):.2f} dB"
    assert restored.facts["psnr_db"] > blurred.facts["psnr_db"] + 3
    assert sheet.footer == "634 x 421 pixels, the centre shown; radii in pixels; noise of 1 of 255 grey levels."
    json.dumps(sheet.to_dict(), allow_nan=False)
    wrong = lens_sheet(PHOTOGRAPH, blur_radius=3, radius=5).panels[2]
    assert wrong.facts["psnr_db"] < restored.facts["psnr_db"] - 3


def test_a_picture_given_out_of_focus(pagoda):
    sharp, blurred, _ = _taken(pagoda, radius=3, noise=1)
    assert [panel.title for panel in lens_sheet(blurred, radius=3).panels] == ["out of focus", "restored"]
    assert lens_sheet(blurred, radius=3).panels[1].note == ""
    for original in (sharp, pagoda):  # one with the border that the lens cut off
        panels = lens_sheet(blurred, radius=3, sharp=original).panels
        np.testing.assert_array_equal(panels[0].pixels, sharp)
        assert panels[2].facts["psnr_db"] > panels[1].facts["psnr_db"] + 3
    assert lens_sheet(sharp, radius=3, sharp=sharp).panels[1].facts["psnr_db"] is None  # infinite


def test_a_picture_only_blurred():
    sheet = lens_sheet(PHOTOGRAPH, blur_radius=2, noise=0)
    assert [panel.title for panel in sheet.panels] == ["sharp", "out of focus"]
    assert (sheet.name, sheet.title) == ("china-blurred", "china.jpg: out of focus")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "lens_sheet: `radius` or `blur_radius` must be given, got neither"),
        ({"blur_radius": 2, "sharp": np.eye(9)}, "`sharp` and `blur_radius` exclude each other"),
        ({"radius": 2, "sharp": np.eye(4)}, "psnr: `image` must have the reference's shape"),
        ({"blur_radius": 9}, "`kernel_size` must fit into the padded input"),
    ],
)
def test_what_has_no_sense(options, message):
    with pytest.raises(UsageError, match=message):
        lens_sheet(np.eye(9), **options)
