"""`striate predict`."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import striate


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The first 12 test digits as PNG files, named by their class."""
    folder = tmp_path_factory.mktemp("digits")
    test = striate.data.load("digits").test
    images = test.images.gather(np.arange(12)).pixels[:, 0].numpy()
    for number, (image, label) in enumerate(zip(images, test.labels, strict=False)):
        Image.fromarray(image).save(folder / f"{number:02}-is-{int(label)}.png")
    return folder


def test_table_of_a_folder(cli, digits_run, digits):
    answer = cli("predict", digits_run.folder, digits)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == [str(path) for path in sorted(digits.iterdir())]
    assert all(line.count("%") == 3 for line in lines)


def test_json_and_csv_hold_the_same(cli, digits_run, digits):
    rows = json.loads(cli("predict", digits_run.folder, digits / "0*.png", "--json", "--topk", 2).out)
    table = list(
        csv.DictReader(io.StringIO(cli("predict", digits_run.folder, digits / "0*.png", "--csv", "-k", 2).out))
    )
    assert len(rows) == len(table) == 10
    for row, cells in zip(rows, table, strict=True):
        assert row["name"] == cells["name"]
        assert row["classes"] == [cells["class_1"], cells["class_2"]]
        assert row["probabilities"] == [float(cells["probability_1"]), float(cells["probability_2"])]
        assert row["error"] is None


def test_standard_input_in_a_process_of_its_own(digits_run, digits):
    path = sorted(digits.iterdir())[0]
    done = subprocess.run(
        [sys.executable, "-m", "striate", "predict", str(digits_run.folder), "-", "--json"],
        input=path.read_bytes(),
        capture_output=True,
        check=True,
    )
    (row,) = json.loads(done.stdout)
    expected = digits_run.predict(path, top=3)[0]
    assert (row["name"], tuple(row["classes"])) == ("-", expected.classes)
    assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_an_unreadable_file_is_named_and_the_others_are_answered(cli, digits_run, digits, tmp_path, form):
    good = sorted(digits.iterdir())[:2]
    for path in good:
        shutil.copy(path, tmp_path)
    (tmp_path / "half.png").write_bytes(good[0].read_bytes()[:70])
    (tmp_path / "text.jpg").write_text("not an image")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    answer = cli(
        "predict",
        digits_run.folder,
        *(tmp_path / name for name in (good[0].name, "half.png", "text.jpg", good[1].name)),
        *form,
    )
    assert answer.code == 3
    lines = answer.err.splitlines()
    assert len(lines) == 2
    assert "half.png" in lines[0]
    assert "text.jpg" in lines[1]
    assert all(path.name in answer.out for path in before)
    if form == ("--json",):
        rows = json.loads(answer.out)
        assert [bool(row["error"]) for row in rows] == [False, True, True, False]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing.png",), 3, "missing.png, where nothing is. Check the path"),
        (("*.nothing",), 3, "where nothing is"),
        (("--topk", 0, "x.png"), 2, "`top` must be at least 1, got 0"),
        (("--json", "--csv", "x.png"), 2, "exclude each other"),
    ],
)
def test_bad_input(cli, digits_run, arguments, code, message):
    answer = cli("predict", digits_run.folder, *arguments)
    assert answer.code == code
    assert message in answer.err + answer.out


def test_a_folder_without_images(cli, digits_run, tmp_path):
    answer = cli("predict", digits_run.folder, tmp_path)
    assert (answer.code, "must name at least one image" in answer.err) == (3, True)


def test_class_names_that_a_terminal_cannot_show(digits_run, digits, tmp_path):
    import os

    shutil.copytree(digits_run.folder, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["class_names"] = [f"Zahl größer {number}" for number in range(10)]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    for form in ([], ["--json"], ["--csv"]):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "striate",
                "predict",
                str(tmp_path / "run"),
                str(sorted(digits.iterdir())[0]),
                *form,
            ],
            env=os.environ
            | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert b"Zahl gr" in done.stdout
