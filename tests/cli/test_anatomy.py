"""`striate anatomy MODEL`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def digit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def test_the_table(cli):
    answer = cli("anatomy", "lenet5")
    assert (answer.code, answer.err) == (0, "")
    assert "44,426 parameters" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100
    assert "inputs/unit" in cli("anatomy", "lenet5", "--fields").out


def test_a_place(cli):
    answer = cli("anatomy", "lenet5", "--at", "features.conv2[0,7]", "--effective")
    assert answer.out.splitlines()[0] == "features.conv2[0,7] sees 14 x 14 pixels: rows 0 to 13, columns 14 to 27"
    assert "depends noticeably on" in answer.out
    assert "lenet5 has random weights (seed 0)" in answer.err


def test_json(cli):
    document = json.loads(cli("anatomy", "lenet5", "--json", "--time", "--at", "features.conv1", "--effective").out)
    assert document["total"]["parameters"]["count"] == 44_426
    assert document["layers"][0]["time_ms"]["forward"] > 0
    assert document["look"]["reach"] == [5, 5]
    assert document["effective"]["samples"] == 9


def test_a_page_of_a_run_on_an_image(cli, digits_run, digit, tmp_path):
    page = tmp_path / "page.html"
    answer = cli("anatomy", str(digits_run.folder), "--image", str(digit), "--html", str(page))
    assert (answer.code, answer.out.strip()) == (0, str(page))
    assert "<image" in page.read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nothing",), 4, "nothing"),
        (("lenet5", "--at", "features.conv3"), 2, "`layer` must be one of the 14 layers, got 'features.conv3'"),
        (("lenet5", "--at", "features.conv1[99,0]"), 2, "`place` must be a position in `features.conv1`"),
    ],
)
def test_errors(cli, words, code, message):
    answer = cli("anatomy", *words)
    assert answer.code == code
    assert message in answer.err


def test_a_runs_report_holds_it_once(cli, tmp_path):
    assert cli("train", "digits", "--epochs", "1", "-o", str(tmp_path), "--experiment", "d", "--quiet").code == 0
    run, report = str(tmp_path / "d"), tmp_path / "d" / "report.html"
    before = report.read_text(encoding="utf-8")
    for _ in range(2):
        assert cli("anatomy", run).code == 0
    text = report.read_text(encoding="utf-8")
    assert text.count('id="anatomy"') == 1
    assert "multiply-adds" in text
    assert text.count("<footer>") == before.count("<footer>") == 1
