"""`--config`: TOML and another run's config.json."""

from __future__ import annotations

import json

import pytest

from striate.data.augment import Augmentation
from striate.errors import UsageError
from striate.train.recipe import Recipe
from striate.train.recipes import RECIPES
from striate.train.settings import named_by_file, read_settings, to_toml


def _toml(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_toml_with_a_base_recipe(tmp_path):
    path = _toml(
        tmp_path, 'model = "lenet5"\nseed = 3\nrecipe = "cifar"\nlr = 0.5\ncutout = 8\ncolor_jitter = [0.1, 0, 0]\n'
    )
    settings = read_settings(path)
    recipe = settings.pop("recipe")
    assert settings == {"model": "lenet5", "seed": 3}
    assert (recipe.lr, recipe.smoothing) == (0.5, RECIPES["cifar"].smoothing)
    assert recipe.augmentation.cutout == 8
    assert recipe.augmentation.color_jitter == (0.1, 0.0, 0.0)
    assert recipe.augmentation.crop_padding == 4


def test_toml_with_little(tmp_path):
    assert read_settings(_toml(tmp_path, "")) == {}
    assert read_settings(_toml(tmp_path, "epochs = 3\n")) == {"recipe": Recipe(epochs=3)}
    assert read_settings(_toml(tmp_path, 'recipe = "small"\n')) == {"recipe": RECIPES["small"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = \n", r"run\.toml is not valid TOML: .*line 1, column 6"),
        ("lrr = 0.1\n", r"`lrr` is not a key. Did you mean `lr`.*in .*run\.toml"),
        ("modle = 'x'\n", r"`modle` is not a key.* Did you mean `model`"),
        ("lr = nan\n", r"`lr` must be a finite number above 0, got nan.*run\.toml"),
        ("epochs = 'x'\n", "`epochs` must be of type int"),
        ("[train]\nlr = 1\n", r"must be a flat list of keys, got the table \[train\]\. Write train\.x as x"),
        ("recipe = 'cifer'\n", "Did you mean `cifar`"),
        ("recipe = 3\n", "`recipe` '3' is not known"),
        ("model = 3\n", r"`model` must be a name, got 3 in .*run\.toml"),
        ("seed = 'x'\n", "`seed` must be a whole number, got 'x'"),
        ("seed = 1.5\n", "`seed` must be a whole number"),
    ],
)
def test_toml_errors(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_settings(_toml(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"x\.toml cannot be read \(No such file"):
        read_settings(tmp_path / "x.toml")
    with pytest.raises(UsageError, match=r"train: `config` .*x\.json` cannot be read"):
        read_settings(tmp_path / "x.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_settings(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_settings(tmp_path / "binary.toml")


def test_the_config_of_a_run(digits_run):
    settings = read_settings(digits_run.folder / "config.json")
    assert settings == {"recipe": digits_run.config.recipe, "model": digits_run.config.model.name, "seed": 0}


@pytest.mark.parametrize(
    "content",
    [[], {}, {"recipe": 3}, {"recipe": {"lrr": 1}}, {"recipe": {}, "seed": "x"}, {"recipe": {}, "model": [3]}],
)
def test_a_json_file_that_is_no_run(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"must be the config\.json of a run|is not a key|must be a"):
        read_settings(path)


@pytest.mark.parametrize("name", ["os:system", "class Mine"])
def test_code_is_never_named_by_a_file(tmp_path, name):
    with pytest.raises(UsageError, match=f"names the network `{name}`, and files are never executed"):
        named_by_file(name, path=tmp_path)
    assert named_by_file("lenet5", path=tmp_path) == "lenet5"
    assert named_by_file(None, path=None) is None


@pytest.mark.parametrize("name", list(RECIPES))
def test_toml_there_and_back(tmp_path, name):
    recipe = RECIPES[name]
    back = read_settings(_toml(tmp_path, to_toml(recipe)))["recipe"]
    assert back.to_dict() | {"name": name} == recipe.to_dict()


def test_toml_of_every_kind_of_value(tmp_path):
    recipe = Recipe(
        weight_decay=1e-5, tta="flip", patience=3, augmentation=Augmentation(color_jitter=(0.1, 0.2, 0.3), mixup=0.5)
    )
    assert read_settings(_toml(tmp_path, to_toml(recipe)))["recipe"] == recipe
