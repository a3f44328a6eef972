"""Sheets of panels: what is written, under which name, and what is never written over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.errors import ResourceError, UsageError
from striate.work.sheet import Panel, Sheet, new_path, save_png


def _panel(title="a", *, shape=(3, 40, 60), **options):
    pixels = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    return Panel(title=title, pixels=pixels, **options)


def _sheet(*panels, **options):
    return Sheet(name="cat-gallery", title="Title", panels=panels or (_panel(),), **options)


def test_a_panel_shows_its_pixels_enlarged_by_a_whole_number():
    panel = _panel()
    image = np.asarray(_sheet(panel).image())
    # One panel of at most 560 pixels: 60 x 9 = 540. It begins below the title, within its frame.
    enlarged = panel.pixels.transpose(1, 2, 0).repeat(9, axis=0).repeat(9, axis=1)
    top = next(y for y in range(200) if (image[y, 29 : 29 + 540] == enlarged[0]).all())
    np.testing.assert_array_equal(image[top : top + 360, 29 : 29 + 540], enlarged)


def test_of_a_large_picture_the_centre_is_shown_unless_a_size_is_set():
    panel = _panel(shape=(1, 700, 900))
    assert _sheet(panel).image().size[0] == 562 + 56
    assert _sheet(panel, view=900).image().size[0] == 902 + 56
    middle = np.asarray(_sheet(panel).image())
    row = panel.pixels[0, 70, 170:730]
    assert any((middle[y, 29 : 29 + 560, 0] == row).all() for y in range(150))


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 3), (9, 5), (25, 5), (26, 5)]
)
def test_rows_are_of_about_equal_length(count, columns):
    sheet = _sheet(*[_panel(shape=(1, 320, 320))] * count)
    assert sheet.image().width == columns * 322 + (columns - 1) * 24 + 56


def test_long_texts_are_wrapped_and_long_words_parted():
    short = _sheet(_panel("word")).image()
    long = _sheet(_panel("W" * 200, text="many words " * 40, note="x" * 300)).image()
    assert long.width == short.width
    assert long.height > short.height + 300
    right = np.asarray(long)[:, -28:]
    assert (right == 255).all()  # nothing is written into the margin


def test_numbers_of_a_kernel_take_room_and_large_ones_are_left_out():
    cells = (("1", "-2"), ("0", "0.25"))
    plain, numbers = _sheet(_panel()).image(), _sheet(_panel(cells=cells, factor="1/9")).image()
    assert numbers.height > plain.height
    many = _sheet(_panel(cells=(("1",) * 8,) * 8)).image()
    assert many.height == plain.height
    wide = _sheet(_panel(cells=(("-1000",) * 7,), text="below", shape=(1, 300, 300))).image()
    assert wide.height > _sheet(_panel(text="below", shape=(1, 300, 300))).image().height


def test_png_and_notebook():
    sheet = _sheet(_panel("a", text="Text.", note="note"), _panel("bc", note="only a note"), footer="foot")
    with Image.open(io.BytesIO(sheet.png())) as opened:
        assert (opened.format, opened.size) == ("PNG", sheet.image().size)
    assert sheet._repr_png_() == sheet.png()
    assert sheet.text() == "a   Text. (note)\nbc  only a note"
    assert sheet.to_dict()["panels"][1] == {
        "title": "bc", "text": "", "note": "only a note", "channels": 3, "height": 40, "width": 60,
    }  # fmt: skip


def test_a_file_is_never_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = _sheet()
    assert [str(sheet.save()) for _ in range(3)] == ["cat-gallery.png", "cat-gallery-2.png", "cat-gallery-3.png"]
    assert sheet.save("mine.png") == Path("mine.png")
    before = Path("mine.png").read_bytes()
    for attempt in (lambda: sheet.save("mine.png"), lambda: new_path("mine.png")):
        with pytest.raises(
            UsageError, match=r"save: `output` must be a new file, and mine\.png exists\. Choose another"
        ):
            attempt()
    assert Path("mine.png").read_bytes() == before


def test_names_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match=r"save: `output` must end in \.png, got 'cat\.jpg'\. Write cat\.png"):
        new_path("cat.jpg")
    with pytest.raises(ResourceError, match=r"x\.png` cannot be written \(No such file or directory\)"):
        _sheet().save(tmp_path / "nowhere" / "x.png")


def test_odd_names_of_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save_png(b"x", path=None, name="../../etc/\n pass wd") == Path("etc-pass-wd.png")
    assert save_png(b"x", path=None, name="???") == Path("picture.png")


def test_plain_is_the_last_panel_pixel_for_pixel(tmp_path):
    last = _panel(shape=(1, 5, 7))
    path = _sheet(_panel(), last).save(tmp_path / "x.png", plain=True)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(opened)[:, :, 0], last.pixels[0])
