"""``striate train DATA``: train a network and leave a run folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli._options import Json, Quiet, Tensorboard, write_run, write_text

EXAMPLES = (
    "Examples: `striate train digits` · `striate train mnist --model lenet5 --epochs 10` · "
    "`striate train photos/ --model resnet18 --img-size 128 --set cutout=16`"
)

TRAINING = "Recipe (each overrides the recipe's own value)"
DATA = "Data"
MACHINE = "Machine"
OUTPUT = "Output"


def command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="digits, iris, mnist, fashion-mnist, cifar10, cifar100, a folder of class folders, or a CSV file.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A name that `striate models` lists, or package.module:callable. Default: by the data.",
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe by name. Default: by the model and the data.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Take recipe, model and seed from a TOML file or another run's config.json.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(rich_help_panel=TRAINING, help="Passes over the training images.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", rich_help_panel=TRAINING, help="Images a step.")
    ] = None,
    opt: Annotated[str | None, typer.Option(rich_help_panel=TRAINING, help="sgd, adam, adamw or muon.")] = None,
    lr: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Highest learning rate.")] = None,
    momentum: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Momentum, or Adam's beta1.")] = None,
    weight_decay: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="L2 decay.")] = None,
    l1: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="L1 decay.")] = None,
    sched: Annotated[
        str | None,
        typer.Option(rich_help_panel=TRAINING, help="constant, step, plateau, cosine, one-cycle or triangle."),
    ] = None,
    warmup_epochs: Annotated[
        float | None, typer.Option(rich_help_panel=TRAINING, help="Epochs of rising rate.")
    ] = None,
    smoothing: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Label smoothing.")] = None,
    mixup: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Mix-up's alpha.")] = None,
    model_ema: Annotated[
        float | None, typer.Option(rich_help_panel=TRAINING, help="Decay of the averaged weights, such as 0.999.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="For every dropout layer.")] = None,
    clip_grad: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Largest gradient norm.")] = None,
    patience: Annotated[
        int | None, typer.Option(rich_help_panel=TRAINING, help="Stop after this many epochs without improvement.")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(rich_help_panel=TRAINING, help="`balanced`, for classes of unequal size.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(rich_help_panel=TRAINING, help="default, glorot, he, xavier/2 or oriented-edges.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=TRAINING,
            help="Any other key of the recipe or its augmentation.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Start from a weights file (.safetensors, .pth) or published ones: imagenet. Another head is fine, "
            "and RGB input where the images are grey."
        ),
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="The same as --weights imagenet.")] = False,
    img_size: Annotated[
        int | None, typer.Option(rich_help_panel=DATA, help="Side of the network's input in pixels.")
    ] = None,
    in_chans: Annotated[int | None, typer.Option(rich_help_panel=DATA, help="1 for grey, 3 for colour.")] = None,
    val_fraction: Annotated[
        float | None, typer.Option(rich_help_panel=DATA, help="Share held out for validation where the data has none.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", rich_help_panel=DATA, help="Leave unreadable images out and list them.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(rich_help_panel=DATA, help="Decides split, weights, order and augmentation. Default: 0."),
    ] = None,
    device: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(rich_help_panel=MACHINE, help="CPU threads.")] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", rich_help_panel=MACHINE, help="bfloat16 or not. Default: measured.")
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option("--channels-last/--no-channels-last", rich_help_panel=MACHINE, help="Default: measured."),
    ] = None,
    torchcompile: Annotated[
        bool | None,
        typer.Option(
            "--torchcompile/--no-torchcompile",
            rich_help_panel=MACHINE,
            help="Default: measured on a GPU, off on a CPU.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(rich_help_panel=MACHINE, help="striate, torch, or auto: the faster of the two.")
    ] = "auto",
    output: Annotated[
        Path, typer.Option("--output", "-o", rich_help_panel=OUTPUT, help="Where the run folder is made.")
    ] = Path("runs"),
    experiment: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT, help="Name of the run folder.")] = None,
    tensorboard: Tensorboard = False,
    keep_epochs: Annotated[
        bool,
        typer.Option(
            "--keep-epochs",
            rich_help_panel=OUTPUT,
            help="Keep the weights of every epoch, to see features grow (`striate see RUN --evolution`).",
        ),
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a network on images and leave a run folder with weights, metrics and a report."""
    typed = {
        "epochs": epochs,
        "batch_size": batch_size,
        "opt": opt,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "l1": l1,
        "sched": sched,
        "warmup_epochs": warmup_epochs,
        "smoothing": smoothing,
        "mixup": mixup,
        "model_ema": model_ema,
        "dropout": dropout,
        "clip_grad": clip_grad,
        "patience": patience,
        "class_weights": class_weights,
        "init": init,
        "val_fraction": val_fraction,
    }
    overrides: dict[str, Any] = {key: value for key, value in typed.items() if value is not None}
    overrides |= _assignments(set_ or [])

    # Everything typed is checked before PyTorch is imported: a wrong flag is answered at once.
    from striate.errors import UsageError
    from striate.train.progress import Progress
    from striate.train.recipes import check_overrides, get_recipe
    from striate.train.settings import named_by_file, read_settings

    settings = read_settings(config) if config else {}
    if pretrained and weights not in (None, "imagenet"):
        raise UsageError(f"train: `--pretrained` and `--weights {weights}` exclude each other. Give one of them.")
    if recipe is not None and "recipe" in settings:
        raise UsageError(
            f"train: `--recipe` and the recipe in `--config {config}` exclude each other. "
            f'Write recipe = "{recipe}" into the file, or leave one of them out.'
        )
    base = settings.get("recipe") if recipe is None else get_recipe(recipe)
    check_overrides(overrides, base=base)

    with _collection_paused():  # a tenth of what importing PyTorch takes
        from striate.train.start import train

    run = train(
        data,
        model=model or named_by_file(settings.get("model"), path=config),
        recipe=base,
        seed=seed if seed is not None else settings.get("seed", 0),
        output=output,
        experiment=experiment,
        weights="imagenet" if pretrained else weights,
        image_size=img_size,
        in_channels=in_chans,
        skip_bad=skip_bad,
        device=device,
        threads=threads,
        bf16=amp,
        channels_last=channels_last,
        compile=torchcompile,
        engine=engine,
        tracker="tensorboard" if tensorboard else None,
        keep_epochs=keep_epochs,
        progress=Progress(quiet=quiet, json=json),
        **overrides,
    )
    if json:
        write_run(run)
    elif not quiet:
        write_text(run.folder)


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Import without looking for garbage.

    Not `gc.freeze`: `striate.capture` asks who holds a tensor, and frozen holders are not found.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _assignments(pairs: list[str]) -> dict[str, str]:
    from striate.errors import UsageError

    assigned = dict[str, str]()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"train: `--set` must be KEY=VALUE, got {pair!r}. For example --set cutout=8.")
        assigned[key.strip()] = value
    return assigned
