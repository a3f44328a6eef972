from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import striate
from striate.cli import app
from striate.errors import StriateError
from striate.train.progress import Progress


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    options = {"progress": Progress(quiet=True), "engine": "torch", "threads": 1, "device": "cpu"}
    return striate.train("digits", model="lenet5", epochs=1, output=folder, **options).folder


def test_a_run_is_tuned_and_its_folder_printed(source, tmp_path):
    command = ["tune", str(source), "digits", "--mode", "features", "--images-per-class", "10", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, [*command, "--engine", "torch", "--threads", "1", "--quiet", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["run"].startswith(str(tmp_path))
    assert found["evaluation"]["top1"] > 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["nothing", "digits"],
            "`source` must be a run folder, a weights file or the name of a network, got 'nothing'",
        ),
        (["lenet5", "digits"], "lenet5` has no published weights"),
        (["lenet5", "digits", "--compare", "--mode", "head"], "`--compare` tries modes and numbers of images itself"),
    ],
)
def test_what_is_refused(words, message):
    error = CliRunner().invoke(app, ["tune", *words]).exception
    assert isinstance(error, StriateError)
    assert message in str(error)
