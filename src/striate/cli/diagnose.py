"""``striate diagnose MODEL [DATA]``: why a network does not learn."""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli._options import Json, OwnModel, write_result, write_text

EXAMPLES = (
    "Examples: `striate diagnose runs/mnist-lenet5` · `striate diagnose lenet5 mnist` · "
    "`striate diagnose mynet:make photos/ --lr 0.1 --opt sgd --json`. "
    "Exit codes: 0 healthy, 1 findings, 2 could not run."
)


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", show_default=False, help="A run folder, a network's name, or PACKAGE.MODULE:CALLABLE."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", show_default=False, help="As for `striate train`. Of a run: default its own."),
    ] = None,
    lr: Annotated[float, typer.Option(help="Learning rate of the training that is planned.")] = 1e-3,
    opt: Annotated[str, typer.Option(help="Its optimizer: adam, adamw, sgd or rmsprop.")] = "adam",
    own: OwnModel = None,
    seconds: Annotated[float, typer.Option(help="What brief trainings may take together, about.")] = 60.0,
    json: Json = False,
) -> None:
    """Name what keeps a network from learning, with the evidence, the edit, and what was tested to be sure."""
    from striate.diagnose.command import diagnose_named
    from striate.errors import StriateError, UsageError

    try:
        diagnosis = diagnose_named(model, data, lr=lr, opt=opt, own=own, seconds=seconds)
    except UsageError:
        raise
    except StriateError as error:  # whatever the reason: the diagnosis could not run
        raise UsageError(str(error)) from error
    if json:
        write_result(diagnosis.to_dict())
    else:
        write_text(diagnosis)
    if not diagnosis.is_healthy:
        raise typer.Exit(code=1)
