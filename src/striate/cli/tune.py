"""``striate tune SOURCE DATA``: what a network knows, for data that is small."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli._options import Json, Quiet, write_result, write_run, write_text

EXAMPLES = (
    "Examples: `striate tune runs/mnist-lenet5 digits` · `striate tune resnet18 photos/ --mode features` · "
    "`striate tune weights.pth photos/ --compare`"
)

CHOICE = "What learns"
DATA = "Data"
MACHINE = "Machine"


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="A run folder, a weights file, a network with published weights, timm:NAME or torchvision:NAME.",
        ),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", show_default=False, help="As for `striate train`: a name, a folder, a CSV.")
    ],
    mode: Annotated[
        str,
        typer.Option(
            rich_help_panel=CHOICE,
            help="features (base runs once), head, full, or gradual (the head, then stage by stage).",
        ),
    ] = "gradual",
    unfreeze: Annotated[
        int | None,
        typer.Option(rich_help_panel=CHOICE, help="Stages that learn, the head included. Default: chosen."),
    ] = None,
    head: Annotated[
        str | None, typer.Option(rich_help_panel=CHOICE, help="Path of the head, where it is not found.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(rich_help_panel=CHOICE, help="Of each alternative.")] = None,
    lr: Annotated[float | None, typer.Option(rich_help_panel=CHOICE, help="Highest learning rate of the head.")] = None,
    pull: Annotated[
        float, typer.Option(rich_help_panel=CHOICE, help="Factor of the L2 term toward the source weights.")
    ] = 0.0,
    minutes: Annotated[
        float, typer.Option(rich_help_panel=CHOICE, help="To be spent on choosing what learns, and at which rate.")
    ] = 5.0,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            rich_help_panel=CHOICE,
            help="Learning curves: from scratch, features, head and gradual on 5, 10, 50, 200 and all images a class.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(rich_help_panel=CHOICE, help="Of --compare: how many.")] = 1,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Of a weights file: the network's name. Of a run of your own network: what makes it."
        ),
    ] = None,
    images_per_class: Annotated[
        int | None, typer.Option(rich_help_panel=DATA, help="Learn from so many images of each class.")
    ] = None,
    img_size: Annotated[
        int | None, typer.Option("--img-size", rich_help_panel=DATA, help="Default: the source's.")
    ] = None,
    in_chans: Annotated[
        int | None, typer.Option("--in-chans", rich_help_panel=DATA, help="1 or 3. Default: the source's.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", rich_help_panel=DATA, help="Leave unreadable images out.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides split, head, order and augmentation.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the run folder.")] = Path("runs"),
    experiment: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    device: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(rich_help_panel=MACHINE, help="CPU threads.")] = None,
    engine: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="auto, striate or torch.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tune a trained network to new data: a new head, and as much of the base as held-out images say."""
    from striate.errors import UsageError
    from striate.train.progress import Progress
    from striate.tune.comparison import compare as compare_modes
    from striate.tune.tuning import tune

    shared: dict[str, Any] = {
        "model": model,
        "head": head,
        "image_size": img_size,
        "in_channels": in_chans,
        "unfreeze": unfreeze,
        "epochs": epochs,
        "lr": lr,
        "pull": pull,
        "minutes": minutes,
        "output": output,
        "skip_bad": skip_bad,
        "device": device,
        "threads": threads,
        "engine": engine,
        "progress": Progress(quiet=quiet, json=json),
    }
    if compare:
        if mode != "gradual" or images_per_class is not None or experiment is not None:
            raise UsageError(
                "tune: `--compare` tries modes and numbers of images itself. Leave --mode, "
                "--images-per-class and --experiment out."
            )
        found = compare_modes(source, data, seeds=range(seed, seed + seeds), **shared)
        if json:
            write_result(found.to_dict())
        else:
            write_text(found)
        return
    run = tune(source, data, mode=mode, images_per_class=images_per_class, experiment=experiment, seed=seed, **shared)
    if json:
        write_run(run)
    elif not quiet:
        write_text(run.folder)
