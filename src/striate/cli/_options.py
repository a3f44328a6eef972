"""Options that several commands share, stated once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from striate.train import Run

__all__ = ["Json", "OwnModel", "Quiet", "RunFolder", "Tensorboard", "write_result", "write_run", "write_text"]

RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/mnist-lenet5.", show_default=False)
]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", metavar="PACKAGE.MODULE:CALLABLE", help="For a run of your own network: what makes it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings and errors only.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write TensorBoard event files into the run folder (extra `track`).")
]


def write_result(value: object) -> None:
    """Print a JSON value to standard output."""
    import json

    write_text(json.dumps(value, indent=2))


def write_text(text: object) -> None:
    """Print to standard output, once where several processes of one training run the same command."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text)


def write_run(run: Run) -> None:
    """Print a finished run as JSON: its folder, one row an epoch, and the evaluation at the end."""
    evaluation = run.evaluation
    write_result(
        {"run": str(run.folder), "history": run.history, "evaluation": evaluation.to_dict() if evaluation else None}
    )
