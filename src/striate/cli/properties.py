"""``striate properties [IMAGE]``: what texts claim about convolutional networks, each claim with what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli._options import Json, write_result
from striate.cli._work_options import show

EXAMPLES = (
    "Examples: `striate properties` · `striate properties cat.jpg` · `striate properties cat.jpg --only translation "
    "--only pooling-change` · `striate properties --only gradients --seed 7` · `striate properties --list`"
)


def command(
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE",
            help="An image file to measure on, or - for standard input. Default: random pixels.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A property or a group that --list prints. May be repeated. Default: all."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. Default: 0.")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print the claims with their items of the course list, and measure nothing.")
    ] = False,
    json: Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write a page, a new file.")
    ] = None,
) -> None:
    """Measure what texts claim about convolution, pooling, gradients and scores, on a picture or on random pixels."""
    if list_:
        _check_alone(image=image, only=only, seed=seed, output=output)
        from striate.work.properties import list_properties, properties_text

        if json:
            claims = [claim for group in list_properties().values() for claim in group]
            write_result([claim.to_dict() for claim in claims])
        else:
            typer.echo(properties_text())
        return
    from striate.work.properties import measure_properties

    # A report has what `show` asks of a working: a title, text, HTML and plain JSON types.
    report: Any = measure_properties(image, only=only or None, seed=0 if seed is None else seed)
    show(report, json=json, output=output)


def _check_alone(**others: Any) -> None:
    """Refuse options that would have no effect beside --list."""
    from striate.errors import UsageError

    for name, value in others.items():
        if value is not None and value != []:
            flag = "IMAGE" if name == "image" else f"--{name}"
            raise UsageError(f"properties: `--list` must stand alone, got {flag} too. Leave one of them out.")
