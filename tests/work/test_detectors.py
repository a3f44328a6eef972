"""Detectors on pictures whose edges, corners, blobs and lines are known; names, omissions and the extra."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from striate.errors import MissingExtraError, UsageError
from striate.work._detector_maps import MARK
from striate.work.detectors import NOT_OFFERED, detect, detector_sheet, list_detectors

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"
NAMES = [detector.name for detector in list_detectors()]


@pytest.fixture(scope="module")
def square():
    """A white square of 60 x 60 on black, its corners at 30 and 89."""
    image = np.zeros((120, 120), dtype=np.uint8)
    image[30:90, 30:90] = 255
    return image


def _marked(panel):
    """Return where something was drawn on the picture."""
    return (panel.pixels == np.array(MARK)[:, None, None]).all(axis=0)


@pytest.mark.parametrize("name", NAMES)
def test_every_detector_runs_on_a_photograph(name):
    panel = detect(np.asarray(Image.open(PHOTOGRAPH).resize((160, 107))), name)
    assert panel.pixels.dtype == np.uint8
    assert panel.pixels.shape[0] in (1, 3)
    assert panel.pixels.std() > 5
    assert panel.note
    assert panel.text.endswith(".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 128])
def test_a_flat_picture_has_no_features(name, value):
    panel = detect(np.full((40, 50), value), name)
    assert not _marked(panel).any() if len(panel.pixels) == 3 else True
    if name in ("canny", "harris", "fast", "laplacian-of-gaussian", "determinant-of-hessian", "hough-lines"):
        assert panel.note.startswith("0 ")
    if name in ("sobel", "prewitt", "roberts", "structure-tensor"):
        assert panel.pixels.max() == 0


def test_canny_follows_the_outline(square):
    rows, columns = np.nonzero(detect(square, "canny").pixels[0])
    nearest = np.minimum.reduce([abs(rows - 29.5), abs(rows - 89.5), abs(columns - 29.5), abs(columns - 89.5)])
    assert nearest.max() <= 1.5
    # On a perfect step the pixels of both sides are equal maxima: the outline of 60 pixels a side may be doubled.
    assert 200 < len(rows) < 500
    assert set(range(32, 88)) <= set(rows) & set(columns)


@pytest.mark.parametrize("name", ["sobel", "prewitt", "roberts"])
def test_gradients_answer_at_the_outline_only(square, name):
    found = detect(square, name).pixels[0]
    assert (found[40:80, 29:31].max(axis=1) > 200).all()
    assert found[:25].max() == found[40:80, 40:80].max() == 0


@pytest.mark.parametrize("name", ["harris", "shi-tomasi", "level-curve-curvature"])
def test_corners_are_found_at_corners(square, name):
    panel = detect(square, name)
    assert panel.note == "4 corners"
    rows, columns = np.nonzero(_marked(panel))
    for y, x in ((30, 30), (30, 89), (89, 30), (89, 89)):
        near = np.hypot(rows - y, columns - x)
        assert (near < 8).any()
    assert np.minimum.reduce([np.hypot(rows - y, columns - x) for y in (30, 89) for x in (30, 89)]).max() < 9


@pytest.mark.parametrize("name", ["laplacian-of-gaussian", "difference-of-gaussians", "determinant-of-hessian"])
@pytest.mark.parametrize("colours", [(0, 255), (255, 0)])
def test_a_disc_is_one_blob_of_its_size(name, colours):
    image = Image.new("L", (140, 140), colours[0])
    ImageDraw.Draw(image).ellipse((70 - 16, 70 - 16, 70 + 16, 70 + 16), fill=colours[1])
    panel = detect(np.asarray(image), name)
    rows, columns = np.nonzero(_marked(panel))
    radii = np.hypot(rows - 70, columns - 70)
    # The circle drawn about the centre has the disc's radius of 16.5 within a sixth (scales are sampled).
    on_disc = radii[(radii > 16.5 * 5 / 6) & (radii < 16.5 * 7 / 6)]
    assert len(on_disc) > 60


def test_hough_finds_the_four_sides(square):
    panel = detect(square, "hough-lines")
    assert panel.note == "4 lines with most votes"
    marked = _marked(panel)
    for side in (30, 89):
        assert marked[side - 2 : side + 3].any(axis=0).mean() > 0.9
        assert marked[:, side - 2 : side + 3].any(axis=1).mean() > 0.9


def test_the_structure_tensor_colours_directions_apart(square):
    pixels = detect(square, "structure-tensor").pixels
    upper, left = pixels[:, 30, 60].astype(int), pixels[:, 60, 30].astype(int)
    assert upper.max() > 200 < left.max()
    assert np.abs(upper - left).max() > 200
    np.testing.assert_array_equal(pixels[:, 30, 60], pixels[:, 89, 60])


def test_pyramids_halve(square):
    assert detect(square, "gaussian-pyramid").note == "5 levels, each half of the one before"
    assert detect(square, "laplacian-pyramid").note.endswith("0 is grey")
    assert detect(square, "scale-space").pixels.shape == (1, 120, 120)


def test_the_sheet_holds_all_and_says_what_is_missing():
    sheet = detector_sheet(PHOTOGRAPH, size=96)
    assert [panel.title for panel in sheet.panels] == ["china.jpg", *NAMES]
    assert sheet.panels[0].pixels.shape == (3, 64, 96)
    assert all(each.name in sheet.footer for each in NOT_OFFERED)
    assert sheet.title == "china.jpg: what 19 detectors find"
    json.dumps(sheet.to_dict(), allow_nan=False)
    one = detector_sheet(PHOTOGRAPH, ["Shi Tomasi"])
    assert (one.name, one.footer) == (
        "china-shi-tomasi",
        "560 x 374 pixels, reduced from 640 x 427; in grey, by scikit-image.",
    )


def test_every_detector_of_the_list_is_offered_or_excused():
    items = {each.item for each in list_detectors()} | {each.item for each in NOT_OFFERED}
    assert items == {f"E{number}" for number in range(1, 9)}
    named = " ".join([*NAMES, *(each.name.lower().replace(" ", "-") for each in NOT_OFFERED)])
    course = """
        canny deriche differential sobel prewitt roberts
        harris shi-tomasi level-curve-curvature hessian-strength susan fast
        laplacian-of-gaussian difference-of-gaussians determinant-of-hessian mser pcbr
        hough generalised-hough-transform
        structure-tensor generalised-structure-tensor
        affine-shape-adaptation harris-affine hessian-affine
        sift surf gloh hog
        scale-space pyramid
    """  # group e of the course list, one line an item
    assert [name for name in course.split() if name not in named] == []
    assert all(each.reason for each in NOT_OFFERED)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cany", r"detectors: `name` must be the name of a detector, got 'cany'\. Did you mean `canny`\?"),
        ("MSER", r"must be a detector that scikit-image has, got 'MSER': not in scikit-image; OpenCV has it\."),
        ("harris affine", r"got 'harris affine': needs affine shape adaptation; Harris at one scale is offered"),
    ],
)
def test_names_that_are_not_offered(name, message):
    with pytest.raises(UsageError, match=message):
        detector_sheet(PHOTOGRAPH, [name])


def test_what_cannot_be_searched():
    with pytest.raises(UsageError, match="detectors: `image` must be at least 32 pixels wide and high, got 50 x 31"):
        detect(np.zeros((31, 50)), "canny")
    with pytest.raises(UsageError, match="detectors: `names` must name at least one detector, got none"):
        detector_sheet(PHOTOGRAPH, [])


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    message = r'detectors: .* need scikit-image, which is not installed\. Run `pip install "striate\[vision\]"`\.'
    for call in (lambda: detector_sheet("nothing.jpg"), lambda: detect(np.eye(40), "canny")):
        with pytest.raises(MissingExtraError, match=message):
            call()
    assert len(list_detectors()) == 19  # the list needs nothing
