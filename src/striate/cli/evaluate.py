"""``striate evaluate RUN [DATA]``: how good a trained network is, with intervals."""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli._options import Json, OwnModel, RunFolder, write_result

EXAMPLES = (
    "Examples: `striate evaluate runs/mnist-lenet5` · `striate evaluate runs/photos-resnet18 other-photos/ --json`"
)


def command(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="A name, folder or CSV. Default: the run's own test split.", show_default=False
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test. Default: test, else everything.")] = None,
    model: OwnModel = None,
    json: Json = False,
) -> None:
    """Measure accuracy, confusion, precision, recall, F1 and calibration, with 95 % intervals."""
    from striate.train import Run

    evaluation = Run(run, model=model).evaluate(data, split=split)
    if json:
        write_result(evaluation.to_dict())
    else:
        typer.echo(evaluation.text())
