"""`striate work MODEL`: the nodes of a network, and one number of it."""

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


def test_without_a_place_the_nodes_are_listed(cli):
    answer = cli("work", "lenet5")
    assert answer.code == 0
    assert "features.conv2       conv2d" in answer.out
    assert answer.out.rstrip().endswith("such as features.conv1[0,0,0].")
    assert "lenet5 has random weights (seed 0): give --weights, or a run folder." in answer.err
    listed = json.loads(cli("work", "lenet5", "--json").out)
    assert listed[1] == {"name": "features.conv1", "call": "conv2d", "output_shape": [1, 6, 24, 24]}


def test_one_number_of_a_run_on_an_image(cli, digits_run, digit):
    answer = cli("work", str(digits_run.folder), "--image", str(digit), "--at", "features.conv1[3,0,7]", "--gradient")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == f"features.conv1[3,0,7] of {digits_run.folder}"
    assert any("receptive field 3 x 3 pixels of the input: rows 0 to 1, columns 6 to 7" in line for line in lines)
    assert sum("finite difference" in line for line in lines) == 3
    assert max(len(line) for line in lines[1:]) <= 100


def test_json_and_page(cli, tmp_path):
    words = ("work", "lenet5", "--at", "classifier.head[3]", "--gradient", "--target", "7", "--tap", "3,4")
    document = json.loads(cli(*words, "--json").out)
    assert document["kind"] == "working"
    assert any(part.get("title") == "dL/dclassifier.head.weight[3,4]" for part in document["parts"])
    answer = cli(*words, "--output", str(tmp_path / "page.html"))
    assert answer.out.strip() == str(tmp_path / "page.html")
    assert "classifier.head[3] of lenet5" in (tmp_path / "page.html").read_text()


def test_a_class_by_its_name(cli, digits_run):
    words = ("work", str(digits_run.folder), "--at", "features.conv1[0,0,0]", "-g", "--target")
    name = digits_run.class_names[4]
    assert cli(*words, name).out == cli(*words, "4").out
    answer = cli(*words, "fore")
    assert answer.code == 2
    assert "`--target` must be a class, got 'fore'" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("lenett5",), 2, "Did you mean `lenet5`"),
        (("convv", "--input", "1 2"), 2, "`convv` must be a topic (conv, pool,"),
        (("lenet5", "--at", "features.conv9[0,0,0]"), 2, "must name a node of the network"),
        (("lenet5", "--at", "features.conv1"), 2, "Write layer3.conv2[17,4,9]"),
        (("lenet5", "--at", "features.conv1[0,0,0]", "-g", "--tap", "a,b"), 2, "`--tap` must be whole numbers"),
        (("lenet5", "--at", "features.conv1[0,0,0]", "-g", "--target", "cat"), 2, "Give its number."),
        (("lenet5", "--image", "no.png"), 3, "no.png"),
        (("no_such_package:make",), 4, "cannot be imported"),
    ],
)
def test_errors(cli, words, code, message):
    answer = cli("work", *words)
    assert answer.code == code
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_its_help_has_examples(cli):
    answer = cli("work", "lenet5", "--help")
    assert answer.code == 0
    assert "runs/mnist-lenet5" in answer.out.replace("\n", " ")
