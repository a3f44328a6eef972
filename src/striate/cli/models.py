"""``striate models [NAME]``: the networks striate brings, and how each differs from its paper."""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli._options import Json, write_result

EXAMPLES = "Examples: `striate models` · `striate models resnet18`"


def command(
    name: Annotated[
        str | None, typer.Argument(help="One network, for its paper, counts and deviations.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List the networks, or print the paper, counts, published weights and deviations of one."""
    import dataclasses

    from striate import models
    from striate.models.listing import describe, table

    if json:
        chosen = [models.info(name)] if name else [models.info(each) for each in models.list()]
        described = [dataclasses.asdict(info) for info in chosen]
        write_result(described[0] if name else described)
    else:
        typer.echo(describe(models.info(name)) if name else table())
