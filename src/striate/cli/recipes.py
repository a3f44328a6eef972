"""``striate recipes [NAME]``: how striate trains, as numbers that can be edited and given back."""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli._options import Json, write_result

EXAMPLES = (
    "Examples: `striate recipes` · `striate recipes cifar > mine.toml`, then `striate train cifar10 --config mine.toml`"
)


def command(
    name: Annotated[str | None, typer.Argument(help="One recipe, as TOML for --config.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the recipes, or print every number of one."""
    from striate.train.recipes import RECIPES, get_recipe
    from striate.train.settings import to_toml

    if json:
        write_result(get_recipe(name).to_dict() if name else [recipe.to_dict() for recipe in RECIPES.values()])
    elif name:
        typer.echo(to_toml(get_recipe(name)), nl=False)
    else:
        for recipe in RECIPES.values():
            typer.echo(f"{recipe.name:<19}{recipe.summary()}")
