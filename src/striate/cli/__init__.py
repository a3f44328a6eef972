"""The command line: one file a command, which parses, calls one public function and prints.

`main` is the entry point. It imports nothing heavy: ``striate --help`` answers without PyTorch.
"""

from __future__ import annotations

import typer

from striate.cli import (
    anatomy,
    diagnose,
    evaluate,
    filter,
    models,
    predict,
    properties,
    recipes,
    resume,
    see,
    train,
    tune,
    work,
)
from striate.cli._boundary import run_guarded

__all__ = ["app", "main"]

EPILOG = (
    "Exit codes: 0 done; 1 findings of `striate diagnose`; 2 usage or missing extra; 3 data; 4 model, weights or run "
    "folder; 6 disk, memory or device; 7 the loss diverged; 70 a bug in striate; 130 and 143 stopped by Ctrl-C and "
    "SIGTERM, after saving."
)

app = typer.Typer(
    name="striate",
    help="Train, evaluate and use convolutional networks. Begin with `striate train digits`.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (train, tune, resume, evaluate, predict, diagnose, see, anatomy, models, recipes, filter, properties)
for module in COMMANDS:
    app.command(name=module.__name__.rpartition(".")[2], epilog=module.EXAMPLES)(module.command)
app.add_typer(work.app, name="work")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True)) -> None:
    if version:
        import striate

        typer.echo(striate.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with its documented exit code."""
    run_guarded(app)
