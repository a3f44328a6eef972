"""``--config``: a TOML file of recipe keys, or another run's ``config.json``, as arguments of `train`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from striate.errors import ModelError, UsageError, nearest
from striate.files import read_json
from striate.train.recipe import Recipe
from striate.train.recipes import get_recipe

__all__ = ["named_by_file", "read_settings", "to_toml"]

# What a TOML file may say besides the keys of a recipe.
OWN_KEYS = ("model", "recipe", "seed")


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings; each becomes the default that a flag overrides.

    Args:
        path: ``*.toml`` with recipe keys, ``model``, ``seed``, and ``recipe`` as the name of the recipe to start from;
            or the ``config.json`` of a run, whose recipe, model and seed are taken.

    Returns:
        ``recipe`` (a `Recipe`, or absent), ``model`` and ``seed`` where the file has them.

    Raises:
        UsageError: the file cannot be read (line and column are named), or holds an unknown key (the nearest are).
    """
    if path.suffix == ".json":
        return _own_settings(_read_config(path), path=path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"train: `config` {path} cannot be read ({error.strerror}). Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"train: `config` {path} is not valid TOML: {error}.") from error
    for key, value in values.items():
        if isinstance(value, dict):
            raise UsageError(
                f"train: `config` {path} must be a flat list of keys, got the table [{key}]. Write {key}.x as x."
            )
    own = {key: values.pop(key) for key in OWN_KEYS if key in values}
    base = get_recipe(str(own.pop("recipe"))) if "recipe" in own else None
    if values:
        try:
            own["recipe"] = (base or Recipe()).with_overrides(values)
        except UsageError as error:
            near = "".join(nearest(key, OWN_KEYS) for key in values)
            raise UsageError(f"{error} (in {path}){near}") from error
    elif base is not None:
        own["recipe"] = base
    return _own_settings(own, path=path)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = read_json(path)
    except ModelError as error:
        raise UsageError(str(error).replace("read_json:", "train: `config`", 1)) from error
    if not isinstance(config, dict) or not isinstance(config.get("recipe"), dict):
        raise UsageError(f"train: `config` must be the config.json of a run, got {path}. It has no `recipe`.")
    model = config.get("model")
    return {
        "recipe": Recipe.from_dict(config["recipe"]),
        "model": model.get("name") if isinstance(model, dict) else model,
        "seed": config.get("seed", 0),
    }


def _own_settings(own: dict[str, Any], *, path: Path) -> dict[str, Any]:
    """Check the types of model and seed."""
    name, seed = own.get("model"), own.get("seed", 0)
    if name is not None and not isinstance(name, str):
        raise UsageError(f"train: `model` must be a name, got {name!r} in {path}. `striate models` lists them.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError(f"train: `seed` must be a whole number, got {seed!r} in {path}.")
    return own


def named_by_file(name: str | None, *, path: Path | None) -> str | None:
    """Return a file's name of a network of striate's; code is imported only when the command line names it.

    Raises:
        UsageError: the file names a network of the user's own.
    """
    if name is not None and (":" in name or name.startswith("class ")):
        raise UsageError(
            f"train: `config` {path} names the network `{name}`, and files are never executed. "
            "Name it on the command line: --model package.module:callable."
        )
    return name


def to_toml(recipe: Recipe) -> str:
    """Return every value of a recipe as TOML that `read_settings` takes back; what is off is a comment.

    Example:
        >>> "lr = 0.05" in to_toml(Recipe(lr=0.05)).splitlines()
        True
    """
    values = recipe.to_dict()
    values |= values.pop("augmentation")
    lines = [f"# the recipe {values.pop('name')!r}"]
    for key, value in values.items():
        lines.append(f"# {key} is off" if value is None else f"{key} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    # TOML writes text, lists and numbers as JSON does, and true and false too.
    return json.dumps(list(value) if isinstance(value, tuple) else value)
