"""`striate filter`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import decode
from striate.work.catalog import catalog, catalog_text
from striate.work.filtering import filter_image, gallery, shades

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with one photograph, which is the working folder."""
    with Image.open(PHOTOGRAPH) as opened:
        opened.resize((160, 107)).save(tmp_path / "china.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_kernels_by_name_and_typed(cli, place):
    answer = cli("filter", "china.png", "--kernel", "sobel-x", "-k", "-1 0 1; -1 0 1")
    assert (answer.code, answer.err) == (0, "")
    sheet = gallery("china.png", ["sobel-x", "-1 0 1; -1 0 1"])
    assert answer.out == f"{sheet.text()}\nchina-kernels.png\n"
    assert Path("china-kernels.png").read_bytes() == sheet.png()


def test_the_gallery_as_json(cli, place):
    answer = cli("filter", "china.png", "--gallery", "--output", "all.png", "--json")
    assert (answer.code, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert document["picture"] == "all.png"
    assert len(document["panels"]) == 25
    assert document["panels"][10]["kernel"]["weights"] == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    with Image.open("all.png") as opened:
        assert opened.format == "PNG"


def test_options_of_kernels(cli, place):
    answer = cli(
        "filter", "china.png", "-k", "roberts-x", "--grey", "--border", "valid", "--flip", "--display", "absolute",
        "--size", "80", "--output", "out.png",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    options = {"mode": "grey", "border": "valid", "flip": True, "display": "absolute", "size": 80}
    assert Path("out.png").read_bytes() == gallery("china.png", ["roberts-x"], **options).png()


def test_plain_is_the_result_alone_in_full_size(cli, place):
    assert cli("filter", "china.png", "-k", "sharpen", "--plain", "-o", "sharp.png").code == 0
    expected, _ = shades(filter_image("china.png", "sharpen"), total=1)
    np.testing.assert_array_equal(decode("sharp.png"), expected)
    assert cli("filter", "china.png", "-k", "sharpen", "--size", "0", "-o", "labelled.png").code == 0
    with Image.open("labelled.png") as opened:
        assert opened.width > 300


def test_detectors(cli, place):
    answer = cli("filter", "china.png", "--detectors")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[-1] == "china-detectors.png"
    assert len(lines) == 21
    answer = cli("filter", "china.png", "--detector", "canny", "--detector", "harris", "--json")
    assert [panel["title"] for panel in json.loads(answer.out)["panels"]] == ["china.png", "canny", "harris"]


def test_detectors_without_scikit_image(cli, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    answer = cli("filter", "china.png", "--detectors")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert 'Run `pip install "striate[vision]"`' in answer.err
    assert cli("filter", "china.png", "--gallery").code == 0


def test_blurred_and_restored(cli, place):
    document = json.loads(cli("filter", "china.png", "--blur", "2", "--deblur", "2", "--noise", "0.3", "--json").out)
    sharp, blurred, restored = document["panels"]
    assert document["picture"] == "china-deblurred.png"
    assert restored["psnr_db"] > blurred["psnr_db"] + 3
    assert (sharp["width"], sharp["height"]) == (156, 103)


def test_a_picture_given_out_of_focus(cli, place):
    assert cli("filter", "china.png", "--blur", "2", "--noise", "0", "--plain", "-o", "blurred.png").code == 0
    assert decode("blurred.png").shape == (3, 103, 156)
    answer = cli("filter", "blurred.png", "--deblur", "2", "--noise", "0.3", "--sharp", "china.png")
    assert answer.code == 0
    assert answer.out.count("PSNR") == 2
    assert cli("filter", "blurred.png", "--deblur", "2", "--plain", "-o", "restored.png").code == 0
    assert decode("restored.png").shape == (3, 103, 156)


def test_list(cli):
    answer = cli("filter", "--list")
    assert (answer.code, answer.out, answer.err) == (0, catalog_text() + "\n", "")
    assert json.loads(cli("filter", "--list", "--json").out) == catalog()


def test_names_are_numbered_and_files_never_written_over(cli, place):
    for name in ("china-edge-8.png", "china-edge-8-2.png"):
        assert cli("filter", "china.png", "-k", "edge-8").out.splitlines()[-1] == name
    before = {path: path.read_bytes() for path in place.iterdir()}
    for output in ("china.png", "china-edge-8.png"):
        answer = cli("filter", "china.png", "-k", "edge-8", "--output", output)
        assert answer.code == 2
        assert f"`output` must be a new file, and {output} exists" in answer.err
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_standard_input(place):
    done = subprocess.run(
        [sys.executable, "-m", "striate", "filter", "-", "--kernel", "edge-8"],
        input=Path("china.png").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == b"picture-edge-8.png"


TABLE = {
    "nothing": ((), 2, "one of --kernel, --gallery, --detectors, --deblur or --list must be given. Try --gallery"),
    "no task": (("china.png",), 2, "must be given. Try --gallery"),
    "no image": (("--gallery",), 2, "`IMAGE` must be given with --gallery. Name an image file, or -"),
    "two tasks": (("china.png", "--gallery", "--detectors"), 2, "`--gallery` and `--detectors` exclude each other"),
    "list and image": (("china.png", "--list"), 2, "`--list` must stand alone, got the image 'china.png'"),
    "list and output": (("--list", "-o", "x.png"), 2, "`--output` must stand with --kernel or --gallery or"),
    "stray option": (("china.png", "--gallery", "--noise", 1), 2, "`--noise` must stand with --deblur or --blur"),
    "zero is given": (("china.png", "--gallery", "--noise", 0), 2, "`--noise` must stand with --deblur or --blur"),
    "sharp of blurred": (
        ("china.png", "--blur", 2, "--deblur", 2, "--sharp", "china.png"),
        2,
        "`--sharp` and `--blur` exclude each other",
    ),
    "plain gallery": (("china.png", "--gallery", "--plain"), 2, "`--plain` must stand with --kernel or --detector or"),
    "plain of two": (
        ("china.png", "-k", "ones", "-k", "f1", "--plain"),
        2,
        "must stand with one `--kernel`, got several",
    ),
    "unknown kernel": (("china.png", "-k", "sobelx"), 2, "Did you mean `sobel-x` or `sobel-y`?"),
    "uneven rows": (("china.png", "-k", "1 0; 1"), 2, "rows of equal length, got 2, 1 numbers"),
    "no number": (("china.png", "-k", "1 a"), 2, "got 'a' in row 1"),
    "unknown border": (
        ("china.png", "--gallery", "--border", "same"),
        2,
        "`border` must be one of reflect, zeros, valid",
    ),
    "unknown display": (("china.png", "--gallery", "--display", "x"), 2, "`display` must be one of auto, signed"),
    "unknown detector": (("china.png", "--detector", "cany"), 2, "Did you mean `canny`?"),
    "not offered": (("china.png", "--detector", "susan"), 2, "got 'susan': not in scikit-image; FAST"),
    "size negative": (
        ("china.png", "--gallery", "--size", -1),
        2,
        "`size` must be a number of pixels from 1 on, got -1",
    ),
    "radius": (("china.png", "--deblur", 0.5), 2, "`radius` must be above 0.5 and at most 100 pixels, got 0.5"),
    "radius 0": (("china.png", "--deblur", 0), 2, "`radius` must be above 0.5 and at most 100 pixels, got 0"),
    "noise": (("china.png", "--deblur", 2, "--noise", -1), 2, "`noise` must be from 0 to 255 grey levels, got -1"),
    "other size": (("china.png", "--deblur", 2, "--sharp", PHOTOGRAPH), 2, "must have the reference's shape"),
    "no such image": (("nothing.jpg", "--gallery"), 3, "nothing.jpg cannot be read: No such file"),
    "no image at all": (("text.jpg", "--gallery"), 3, "text.jpg is a text file"),
    "output no PNG": (("china.png", "--gallery", "-o", "x.jpg"), 2, "`output` must end in .png, got 'x.jpg'"),
    "output nowhere": (
        ("china.png", "-k", "ones", "-o", "no/x.png"),
        6,
        "cannot be written (No such file or directory)",
    ),
}


@pytest.mark.parametrize("name", list(TABLE))
def test_one_clear_message(cli, place, monkeypatch, name):
    (place / "text.jpg").write_text("not an image")
    arguments, code, message = TABLE[name]
    before = {path: path.read_bytes() for path in place.iterdir()}
    answer = cli("filter", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert answer.err.startswith("striate: ")
    assert answer.err.count("\n") == 1
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_importing_stays_cheap():
    program = (
        "import sys; sys.argv = ['striate', 'filter', '--list']\nfrom striate.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'skimage', 'scipy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
