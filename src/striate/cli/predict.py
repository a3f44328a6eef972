"""``striate predict RUN PATH...``: classify images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from striate.cli._options import Json, OwnModel, RunFolder, write_result

EXAMPLES = (
    "Examples: `striate predict runs/mnist-lenet5 seven.png` · `striate predict runs/pets photos/ 'new/*.jpg' --csv` · "
    "`cat x.jpg | striate predict runs/pets -`"
)


def command(
    run: RunFolder,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Image files, folders, patterns, or - for one image on standard input.",
            show_default=False,
        ),
    ],
    topk: Annotated[int, typer.Option("--topk", "-k", help="Classes to name for each image.")] = 3,
    model: OwnModel = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> None:
    """Name the most probable classes of images, prepared as in training."""
    from striate.errors import UsageError
    from striate.train import Run
    from striate.train.predict import predict_images, to_csv, to_table

    if json and csv:
        raise UsageError("predict: `--json` and `--csv` exclude each other. Give one of them.")
    predictions = list(predict_images(Run(run, model=model), list(paths), top=topk, skip_bad=True))
    if json:
        write_result([prediction.to_dict() for prediction in predictions])
    else:
        typer.echo(to_csv(predictions, top=topk) if csv else to_table(predictions), nl=False)
    unread = [prediction.error for prediction in predictions if prediction.error]
    for error in unread:
        print(f"striate: {error}", file=sys.stderr)
    if unread:
        raise typer.Exit(code=3)
