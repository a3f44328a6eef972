"""``striate resume RUN``: go on with an interrupted training."""

from __future__ import annotations

from striate.cli._options import Json, OwnModel, Quiet, RunFolder, Tensorboard, write_run, write_text

EXAMPLES = "Example: `striate resume runs/mnist-lenet5`"


def command(
    run: RunFolder,
    model: OwnModel = None,
    tensorboard: Tensorboard = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Go on with an interrupted training where it stopped, with the same steps as if it never had."""
    from striate.train import Progress, resume

    progress = Progress(quiet=quiet, json=json)
    done = resume(run, model=model, tracker="tensorboard" if tensorboard else None, progress=progress)
    if json:
        write_run(done)
    elif not quiet:
        write_text(done.folder)
