"""`striate properties`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from striate.work.properties import list_properties, measure_properties, properties_text

PHOTOGRAPH = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images" / "china.jpg"


def test_text(cli):
    answer = cli("properties", PHOTOGRAPH, "--only", "flip", "--only", "scores", "--seed", 3)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{measure_properties(PHOTOGRAPH, only=['flip', 'scores'], seed=3)}\n"


def test_random_pixels(cli):
    answer = cli("properties", "--only", "translation")
    assert answer.out.startswith("Properties, measured on 64 x 64 random pixels; seed 0.\n")
    assert answer.out.endswith("\n\nAs claimed.\n")


def test_json(cli):
    answer = cli("properties", "--only", "movement", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out) == measure_properties(only=["movement"]).to_dict()


def test_page(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli("properties", "--only", "zero", "--output", "zero.html")
    assert (answer.code, answer.out, answer.err) == (0, "zero.html\n", "")
    page = Path("zero.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<title>Properties, measured on 64 x 64 random pixels; seed 0</title>" in page
    assert measure_properties(only=["zero"])._repr_html_() in page
    answer = cli("properties", "--only", "zero", "--output", "zero.html")
    assert answer.code == 2
    assert "`output` must be a new file, and zero.html exists" in answer.err


def test_list(cli):
    answer = cli("properties", "--list")
    assert (answer.code, answer.out, answer.err) == (0, properties_text() + "\n", "")
    document = json.loads(cli("properties", "--list", "--json").out)
    assert [row["name"] for row in document] == [claim.name for group in list_properties().values() for claim in group]
    assert document[0]["items"] == ["B1"]


def test_standard_input():
    done = subprocess.run(
        [sys.executable, "-m", "striate", "properties", "-", "--only", "zero"],
        input=PHOTOGRAPH.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"Properties, measured on picture of 427 x 640")


TABLE = {
    "unknown name": (("--only", "dead-unit"), 2, "got 'dead-unit'. Did you mean `dead-units`?"),
    "seed": (("--seed", -3), 2, "`seed` must be a whole number from 0 on, got -3"),
    "list and image": (("--list", "x.png"), 2, "`--list` must stand alone, got IMAGE too"),
    "list and only": (("--list", "--only", "flip"), 2, "`--list` must stand alone, got --only too"),
    "list and seed": (("--list", "--seed", 0), 2, "`--list` must stand alone, got --seed too"),
    "list and output": (("--list", "-o", "x.html"), 2, "`--list` must stand alone, got --output too"),
    "no file": (("nothing.png",), 3, "nothing.png cannot be read: No such file"),
    "no picture": (("text.png",), 3, "text.png is a text file"),
    "no page": (("--only", "zero", "-o", "x.txt"), 2, "`output` must end in .html, got 'x.txt'"),
}


@pytest.mark.parametrize("name", list(TABLE))
def test_one_clear_message(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("not an image")
    arguments, code, message = TABLE[name]
    answer = cli("properties", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert answer.err.startswith("striate: ")
    assert answer.err.count("\n") == 1


def test_importing_stays_cheap():
    program = (
        "import sys; sys.argv = ['striate', 'properties', '--only', 'algebra']\nfrom striate.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'scipy', 'sklearn', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
