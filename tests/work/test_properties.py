"""All claims together: each is measured and as claimed, numbers do not depend on company, and the text fits."""

from __future__ import annotations

import html.parser
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import striate.work
from striate.data import decode
from striate.errors import ImageError, UsageError
from striate.work._scene import LONGEST, read_scene
from striate.work.properties import list_properties, measure_properties, properties_text

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"
NAMES = [claim.name for claims in list_properties().values() for claim in claims]
# What group B of the course list claims and no measurement here can show: see docs/work/properties.md.
NOT_MEASURED = {18, 25, 34, 37, 38, 39, 40, 46}


@pytest.fixture(scope="module")
def report():
    return measure_properties()


@pytest.fixture(scope="module")
def of_photograph():
    return measure_properties(PHOTOGRAPH)


def test_everything_is_as_claimed_on_random_pixels(report):
    assert [each.name for each in report.properties] == NAMES
    assert [(each.name, each.verdict) for each in report.properties if not each.is_as_claimed] == []


def test_everything_is_as_claimed_on_a_photograph(of_photograph):
    assert [(each.name, each.verdict) for each in of_photograph.properties if not each.is_as_claimed] == []
    assert of_photograph.data == "china.jpg of 427 x 640, its central square, reduced to 96 x 96, in grey"


def test_claims_of_the_course_list_are_measured_or_named():
    items = {item for claims in list_properties().values() for claim in claims for item in claim.items}
    measured = {int(item[1:]) for item in items if item.startswith("B")}
    assert measured | NOT_MEASURED == set(range(1, 47))
    assert not measured & NOT_MEASURED


@pytest.mark.parametrize("which", ["report", "of_photograph"])
def test_every_property_is_measured_and_said_in_one_form(which, request):
    for each in request.getfixturevalue(which).properties:
        assert each.claim.endswith(".")
        assert each.finding.method.endswith((".", "?")), each.name
        assert each.verdict.endswith("."), each.name
        # Something must be able to come out otherwise.
        assert any(row.must_be for row in each.finding.rows), each.name
        for row in each.finding.rows:
            assert len(row.values) in (1, len(each.finding.columns)), (each.name, row.what)
        assert len({row.what for row in each.finding.rows}) == len(each.finding.rows), each.name


@pytest.mark.parametrize(
    "image",
    [None, PHOTOGRAPH, np.zeros((28, 28)), np.full((40, 64), 90)],
    ids=["random", "photograph", "black", "flat"],
)
def test_text_fits_100_columns(image, report, of_photograph):
    measured = report if image is None else of_photograph if image is PHOTOGRAPH else measure_properties(image)
    lines = str(measured).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("Properties, measured on ")
    assert "nan" not in str(measured)


def test_what_is_not_so_is_marked():
    flat = measure_properties(np.full((40, 40), 90), only=["scale", "flip", "zero"])
    text = str(flat)
    assert "at least 1 %: NOT SO" in text
    assert "  Not as claimed on this data: the kernel as it is: 0, 0, 0, not at least 1 %." in text
    assert text.endswith("\n1 of 3 are as claimed on this data, but not flip, scale.")
    assert flat.to_dict()["all_as_claimed"] is False


def test_a_property_alone_measures_the_same(report):
    for name in ("translation", "vanishing-gradients", "entropy", "stacked-kernels"):
        alone = measure_properties(only=[name])
        assert alone.properties == (report[name],)


def test_groups_and_repetitions(report):
    chosen = measure_properties(only=["Scores", "flip", "entropy", "flip"])
    assert [each.name for each in chosen.properties] == ["flip", "softmax", "entropy", "cross-entropy"]
    with pytest.raises(KeyError):
        chosen["zero"]


def test_the_seed_changes_what_is_random():
    one, same, other = (measure_properties(only=["flip"], seed=seed)["flip"] for seed in (0, 0, 1))
    assert one == same != other


def test_json(report):
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (document["data"], document["seed"]) == ("64 x 64 random pixels", 0)
    assert document["all_as_claimed"] is True
    stride = next(each for each in document["properties"] if each["name"] == "stride")
    assert stride["columns"] == ["convolution", "max pooling", "average"]
    assert stride["measurements"][1] == {
        "what": "2 px, output moved by 1",
        "values": [0.0, 0.0, 0.0],
        "unit": "share",
        "least": None,
        "most": 1e-12,
        "is_as_claimed": True,
    }


def test_html_is_balanced_and_escaped(report):
    open_tags = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag != "br":
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    page = measure_properties(np.eye(32) * 255, only=["flip", "entropy"])._repr_html_()
    Parser().feed(page)
    assert open_tags == []
    assert "0.2108 &lt; 0.5665" in page
    assert report._repr_html_().count("<h3") == len(NAMES)


@pytest.mark.parametrize("form", ["path", "bytes", "H W 3", "3 H W"])
def test_pictures_in_any_form(form, of_photograph):
    pixels = decode(PHOTOGRAPH)
    image = {
        "path": str(PHOTOGRAPH),
        "bytes": PHOTOGRAPH.read_bytes(),
        "H W 3": pixels.transpose(1, 2, 0),
        "3 H W": pixels,
    }[form]
    scene, expected = read_scene(image, seed=0), read_scene(PHOTOGRAPH, seed=0)
    # A file becomes grey in bytes, an array in floats.
    np.testing.assert_allclose(scene.pixels, expected.pixels, atol=1.1 / 255)
    assert scene.pixels.shape == (LONGEST, LONGEST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["translatoin"]}, "`only` must name a property or a group, got 'translatoin'. Did you mean `transla"),
        ({"only": ["gradient"]}, "Did you mean `gradients`"),
        ({"only": ["x"]}, "got 'x'. `striate properties --list` prints them all"),
        ({"only": []}, r"`only` must be a list of names, got \[\]. Leave it out for all"),
        ({"only": "flip"}, "`only` must be a list of names, got 'flip'"),
        ({"seed": -1}, "`seed` must be a whole number from 0 on, got -1. Write seed=0"),
        ({"seed": 1.5}, "`seed` must be a whole number from 0 on, got 1.5"),
        ({"image": np.zeros((8, 8))}, "`image` must have at least 28 x 28 pixels, got 8 x 8. Take a larger picture"),
        ({"image": np.zeros((3, 4, 5, 6))}, "`image` must be a file or numbers of shape"),
        ({"image": np.full((40, 40), np.nan)}, "`image` must hold finite numbers"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=rf"^properties: .*{message}"):
        measure_properties(**options)


def test_no_such_file():
    with pytest.raises(ImageError, match=r"nothing\.jpg cannot be read"):
        measure_properties("nothing.jpg")


def test_list():
    lines = properties_text().splitlines()
    assert max(map(len, lines)) <= 110
    assert [line.split()[0] for line in lines if line.startswith("  ")] == NAMES
    assert len(set(NAMES)) == len(NAMES)


def test_names_of_the_room():
    assert striate.work.measure_properties is measure_properties
    assert striate.work.list_properties is list_properties


def test_no_torch_is_imported():
    program = (
        "import sys; from striate.work import measure_properties; measure_properties(only=['algebra', 'learning'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program + "; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert out.stdout == "False\n"
