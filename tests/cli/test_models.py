"""`striate models`."""

from __future__ import annotations

import json

from striate import models
from striate.models.listing import describe, table


def test_the_table(cli):
    answer = cli("models")
    assert (answer.code, answer.out, answer.err) == (0, table() + "\n", "")


def test_one_network(cli):
    assert cli("models", "googlenet").out == describe(models.info("googlenet")) + "\n"


def test_json(cli):
    document = json.loads(cli("models", "--json").out)
    assert [entry["name"] for entry in document] == models.list()
    one = json.loads(cli("models", "lenet5", "--json").out)
    assert (one["name"], one["num_params"]) == ("lenet5", 44_426)  # the figure of the issue


def test_an_unknown_network(cli):
    answer = cli("models", "resnet81")
    assert (answer.code, answer.out) == (4, "")
    assert "Did you mean `resnet18`" in answer.err
    as_json = cli("models", "resnet81", "--json")
    assert json.loads(as_json.out)["error"]["kind"] == "ModelError"
    assert as_json.err == ""
