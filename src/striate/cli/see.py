"""``striate see MODEL --image X``: pictures of what a network sees, on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli._options import Json, OwnModel, write_result, write_text

EXAMPLES = (
    "Examples: `striate see runs/mnist-lenet5 --image seven.png` · `striate see runs/cifar --patches` · "
    "`striate see resnet18 --weights imagenet --image dog.jpg --of 'layer3.0.relu[17]'`"
)


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            show_default=False,
            help="A run folder, a name of `striate models`, or package.module:callable.",
        ),
    ],
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", help="A file. Default for a run: the first image of its test data."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(help="What the maps are about: a class by name or number, or conv2[17] or conv2[17,4,9]."),
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="Layer whose feature maps are shown; may be repeated.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="gradient, smoothgrad, integrated_gradients, guided_backprop, deconvnet, grad_cam; may be repeated."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="For --patches and --mistake: as for `striate train`. Default: the run's own.")
    ] = None,
    patches: Annotated[
        bool, typer.Option("--patches", help="Also the places in the data that the strongest channels answer to most.")
    ] = False,
    mistake: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="TRUE PREDICTED", help="Also explain images of one class that were taken for another."),
    ] = None,
    evolution: Annotated[
        bool, typer.Option("--evolution", help="Also the layers epoch by epoch (of a run with --keep-epochs).")
    ] = False,
    weights: Annotated[
        str | None, typer.Option(help="A weights file, or imagenet, for a network that is built here.")
    ] = None,
    own: OwnModel = None,
    img_size: Annotated[int | None, typer.Option(help="Side of the image in pixels, for such a network.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the page. Default: see in the run folder, or in this one."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of noise, shuffles, and the weights of an untrained network.")] = 0,
    json: Json = False,
) -> None:
    """Show what in an image made a network answer, its filters and feature maps, on one page that loads nothing."""
    from striate.see.gallery import USUAL, see

    options: dict[str, Any] = {"methods": USUAL if not method else tuple(method)}
    found = see(
        model,
        image,
        output=output,
        of=int(of) if of is not None and of.isdecimal() else of,
        nodes=node or None,
        data=data,
        patches=patches,
        mistake=mistake,
        grow=evolution,
        progress=sys.stderr.isatty(),
        weights=weights,
        own=own,
        image_size=img_size,
        seed=seed,
        **options,
    )
    if json:
        write_result(found.to_dict())
        return
    for name, reason in found.refused.items():
        typer.echo(f"{name}: {reason}", err=True)
    write_text(found.page)
