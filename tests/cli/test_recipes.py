"""`striate recipes`."""

from __future__ import annotations

import json

import pytest

from striate.train import RECIPES
from striate.train.settings import read_settings


def test_every_recipe_has_a_line(cli):
    answer = cli("recipes")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == list(RECIPES)


@pytest.mark.parametrize("name", list(RECIPES))
def test_what_is_printed_can_be_given_back(cli, tmp_path, name):
    path = tmp_path / "mine.toml"
    path.write_text(cli("recipes", name).out)
    assert read_settings(path)["recipe"].to_dict() | {"name": name} == RECIPES[name].to_dict()


def test_json(cli):
    assert json.loads(cli("recipes", "cifar", "--json").out) == json.loads(json.dumps(RECIPES["cifar"].to_dict()))
    assert [recipe["name"] for recipe in json.loads(cli("recipes", "--json").out)] == list(RECIPES)


def test_an_unknown_recipe(cli):
    answer = cli("recipes", "cifer")
    assert (answer.code, "Did you mean `cifar`" in answer.err) == (2, True)
