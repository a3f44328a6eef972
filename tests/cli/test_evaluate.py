"""`striate evaluate`."""

from __future__ import annotations

import json

import pytest


def test_text(cli, digits_run):
    answer = cli("evaluate", digits_run.folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == digits_run.evaluation.text() + "\n"


def test_json_agrees_with_the_run(cli, digits_run):
    assert json.loads(cli("evaluate", digits_run.folder, "--json").out) == json.loads(
        json.dumps(digits_run.evaluation.to_dict())
    )


@pytest.mark.parametrize(("arguments", "samples"), [(("--split", "val"), 179), (("digits",), 1797)])
def test_other_data(cli, digits_run, arguments, samples):
    answer = cli("evaluate", digits_run.folder, *arguments, "--json")
    assert json.loads(answer.out)["num_samples"] == samples


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--split", "tset"), 2, "Did you mean `test`"),
        (("digitz",), 3, "Did you mean `digits`"),
        (("iris",), 2, "whose rows are vectors of 4 numbers"),
    ],
)
def test_bad_input(cli, digits_run, arguments, code, message):
    answer = cli("evaluate", digits_run.folder, *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
