"""Filtering against a loop over pixels, values as shades, and the gallery."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from striate.data import decode
from striate.errors import ImageError, UsageError
from striate.work.filtering import filter_image, gallery, shades
from striate.work.kernels import as_kernel, kernel, list_kernels

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"
"""427 x 640 pixels, in colour; it comes inside scikit-learn."""


def _naive(channel, weights, *, border, flip):
    """Sum by the definition: S(i, j) = sum I(i + a - p, j + b - q) K(a, b), or with I(i - a + p, j - b + q)."""
    (height, width), (k_height, k_width) = channel.shape, weights.shape
    p, q = (k_height - 1) // 2, (k_width - 1) // 2

    def pixel(y, x):
        if border == "zeros" and not (0 <= y < height and 0 <= x < width):
            return 0.0
        y, x = abs(y), abs(x)  # mirrored about the outermost pixel, which is not doubled
        return channel[min(y, 2 * (height - 1) - y), min(x, 2 * (width - 1) - x)]

    sign = -1 if flip else 1
    full = np.array(
        [
            [
                sum(
                    pixel(i + sign * (a - p), j + sign * (b - q)) * weights[a, b]
                    for a in range(k_height)
                    for b in range(k_width)
                )
                for j in range(width)
            ]
            for i in range(height)
        ]
    )
    if border != "valid":
        return full
    top, left = (k_height - 1 - p, k_width - 1 - q) if flip else (p, q)
    return full[top : top + height - k_height + 1, left : left + width - k_width + 1]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("border", ["reflect", "zeros", "valid"])
@pytest.mark.parametrize(
    "name", ["sobel-x", "box-blur", "roberts-x", "1 2 3 4", "1; -1", "1 2 3; 4 5 6; 7 8 9; 10 11 12"]
)
def test_every_pixel_is_the_sum_of_the_definition(name, border, flip):
    image = np.random.default_rng(0).integers(0, 256, size=(3, 7, 6))
    result = filter_image(image, name, border=border, flip=flip)
    weights = as_kernel(name).array()
    expected = np.stack([_naive(channel.astype(float), weights, border=border, flip=flip) for channel in image])
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


def test_kernels_are_not_flipped_unless_asked():
    image = np.zeros((5, 5))
    image[2, 2] = 1
    typed = "1 2 3; 4 5 6; 7 8 9"
    # A single bright pixel: correlation leaves the kernel turned by 180 degrees, convolution the kernel itself.
    assert filter_image(image, typed)[0, 1:4, 1:4].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert filter_image(image, typed, flip=True)[0, 1:4, 1:4].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_the_identity_changes_nothing_and_inputs_are_left_alone():
    pixels = decode(PHOTOGRAPH)
    before = pixels.copy()
    np.testing.assert_array_equal(filter_image(pixels, "identity"), pixels)
    np.testing.assert_array_equal(pixels, before)


def test_grey_is_the_brightness():
    result = filter_image(PHOTOGRAPH, "identity", mode="grey")
    np.testing.assert_array_equal(result, decode(PHOTOGRAPH, mode="L"))
    colour = np.zeros((3, 2, 2))
    colour[1] = 100
    assert filter_image(colour, "identity", mode="grey")[0, 0, 0] == pytest.approx(58.7)  # ITU-R 601
    assert filter_image(colour[:1], "identity", mode="grey").shape == (1, 2, 2)


def test_forms_of_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, size=(3, 5, 8), dtype=np.uint8)
    expected = filter_image(pixels, "sobel-y")
    for same in (pixels.transpose(1, 2, 0), pixels.astype(np.float32), pixels[:, :, ::-1][:, :, ::-1]):
        np.testing.assert_array_equal(filter_image(same, "sobel-y"), expected)
    assert filter_image(pixels[0], "sobel-y").shape == (1, 5, 8)
    assert filter_image([[1, 2, 3]], "1 1 1").tolist() == [[[5, 6, 7]]]
    assert filter_image(PHOTOGRAPH.read_bytes(), "sobel-y", border="valid").shape == (3, 425, 638)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((2, 4, 4)), {}, r"filter_image: `image` must be a file or numbers of shape .*, got float64 of shape"),
        (np.zeros((4, 4, 4, 1)), {}, r"of shape \(4, 4, 4, 1\)\. Give a path"),
        (np.zeros((0, 4)), {}, r"of shape \(0, 4\)"),
        ([[1, np.nan]], {}, "filter_image: `image` must hold finite numbers"),
        (np.eye(4), {"mode": "gray"}, "filter_image: `mode` must be one of per-channel, grey, got 'gray'"),
        (np.eye(4), {"border": "same"}, "filter_image: `border` must be one of reflect, zeros, valid, got 'same'"),
        (np.eye(2), {"border": "valid"}, r"conv2d: `kernel_size` must fit into the padded input"),
    ],
)
def test_what_cannot_be_filtered(image, options, message):
    with pytest.raises(UsageError, match=message):
        filter_image(image, "sobel-x", **options)


def test_a_missing_file():
    with pytest.raises(ImageError, match=r"nothing\.jpg cannot be read"):
        filter_image("nothing.jpg", "sobel-x")


def test_shades():
    values = np.array([[[-20.0, -10.0, 0.0, 10.0]]])
    assert shades(values, display="clip")[0].tolist() == [[[0, 0, 0, 10]]]
    pixels, note = shades(values, display="signed")
    assert pixels.tolist()[0][0][2] == 128
    assert note == "0 is grey, 20 white, -20 black"
    pixels, note = shades(values, display="absolute")
    assert pixels[0, 0, 2] == 0
    assert pixels[0, 0, 1] == pixels[0, 0, 3] > 0
    assert "sign left out" in note
    pixels, note = shades(values, display="stretch")
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert note == "-20 is black, 9.7 white"


@pytest.mark.parametrize(
    ("name", "beginning"), [("sharpen", "values as they are"), ("sobel-x", "0 is grey"), ("bonus-f1", "-")]
)
def test_the_sum_of_the_weights_decides_how_values_are_shown(name, beginning):
    values = filter_image(PHOTOGRAPH, name)
    assert shades(values, total=kernel(name).sum)[1].startswith(beginning)


def test_flat_pictures_give_flat_shades():
    for name in ("sobel-x", "ones", "bonus-f1", "0 0; 0 0"):
        pixels, _ = shades(filter_image(np.full((4, 4), 7), name), total=as_kernel(name).sum)
        assert np.unique(pixels).size == 1


def test_unknown_display():
    with pytest.raises(UsageError, match=r"shades: `display` must be one of auto, .*, got 'negative'"):
        shades(np.zeros((1, 2, 2)), display="negative")


def test_the_gallery_holds_every_kernel_with_its_label(monkeypatch):
    written = []
    write = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, xy, text, *a, **k: (written.append(text), write(self, xy, text, *a, **k)),
    )
    sheet = gallery(PHOTOGRAPH)
    drawn = sheet.image()
    words = " ".join(written).split()
    assert [panel.title for panel in sheet.panels] == [each.name for each in list_kernels()]
    for each in list_kernels():
        assert each.name in written
        assert set(each.extracts.split()) <= set(words)
        assert {cell for row in each.cells for cell in row} <= set(written)
        assert not each.factor or f"x {each.factor}" in written
    assert "china.jpg: what 25 kernels extract" in written
    # 5 columns of 322 pixels with their frames, 4 gaps of 24, 2 margins of 28.
    assert drawn.width == 5 * 322 + 4 * 24 + 2 * 28
    assert 1700 < drawn.height < 2300


def test_panels_show_what_was_filtered():
    sheet = gallery(PHOTOGRAPH, ["sobel-x", "1 0 -1"])
    original, sobel, typed = sheet.panels
    assert original.pixels.shape == sobel.pixels.shape == (3, 374, 560)
    expected, note = shades(filter_image(original.pixels, "sobel-x"))
    np.testing.assert_array_equal(sobel.pixels, expected)
    assert sobel.note == note
    assert sobel.facts["highest"] == filter_image(original.pixels, "sobel-x").max()
    assert (typed.title, typed.text) == ("1 0 -1", "Its weights sum to 0: flat areas answer 0, only changes are left.")
    assert sheet.footer == (
        "560 x 374 pixels, reduced from 640 x 427; mirrored borders; cross-correlation: kernels as printed."
    )
    json.dumps(sheet.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("-1 0 1; -2 0 2; -1 0 1", "The same as sobel-x. Vertical edges"),
        ("1/2 * 1 1", "Its weights sum to 1: flat areas keep their brightness."),
        ("1 2 3", "Its weights sum to 6: flat areas answer 6 times their brightness."),
    ],
)
def test_typed_kernels_are_described_by_what_they_are(typed, sentence):
    assert gallery(np.eye(9) * 255, [typed]).panels[1].text.startswith(sentence)


def test_options_reach_the_panels_and_the_remarks():
    sheet = gallery(PHOTOGRAPH, ["sobel-x"], mode="grey", border="valid", flip=True, display="absolute", size=100)
    original, filtered = sheet.panels
    assert original.pixels.shape == (1, 67, 100)
    assert filtered.pixels.shape == (1, 65, 98)
    assert "sign left out" in filtered.note
    assert sheet.footer == (
        "100 x 67 pixels, reduced from 640 x 427; windows within the picture only; "
        "true convolution: kernels turned by 180 degrees."
    )
    assert sheet.name == "china-sobel-x"
    assert gallery(PHOTOGRAPH, ["1 1"], size=None).panels[0].pixels.shape == (3, 427, 640)
    assert gallery(PHOTOGRAPH, ["1 1"], size=None).image().width > 2 * 640  # nothing is cut off


@pytest.mark.parametrize("size", [0, -4, 2.5, "large"])
def test_sizes_that_are_none(size):
    with pytest.raises(UsageError, match="filter: `size` must be a number of pixels from 1 on, got"):
        gallery(np.eye(9), size=size)


def test_a_gallery_of_nothing():
    with pytest.raises(UsageError, match="gallery: `kernels` must name at least one kernel, got none"):
        gallery(np.eye(9), [])


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 2), (8, 8)])
def test_odd_pictures(shape):
    sheet = gallery(np.arange(np.prod(shape)).reshape(shape) % 256)
    assert len(sheet.panels) == 25
    assert sheet.image().width >= 300


def test_pictures_that_pillow_opened():
    with Image.open(PHOTOGRAPH) as opened:
        np.testing.assert_array_equal(filter_image(opened, "identity"), decode(PHOTOGRAPH))
