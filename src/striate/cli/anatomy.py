"""``striate anatomy MODEL``: shapes, costs, memory and receptive fields of every operation of a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli._options import Json, write_result, write_text

if TYPE_CHECKING:
    from striate.anatomy import Anatomy

EXAMPLES = (
    "Examples: `striate anatomy resnet18` · `striate anatomy runs/mnist-lenet5 --image seven.png --html page.html` · "
    "`striate anatomy mynet.model:build --in-chans 1 --img-size 32 --time` · "
    "`striate anatomy googlenet --at inception4a.branch3.1[7,7] --effective`"
)


def command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A name, a run folder, or package.module:callable.", show_default=False),
    ],
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prepared as in evaluation. Default: random numbers.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="LAYER[i,j]", help="What this place sees of the image; without [i,j] the middle."),
    ] = None,
    effective: Annotated[
        bool, typer.Option("--effective", help="Of --at: how strongly it depends on each pixel, by gradients.")
    ] = False,
    fields: Annotated[
        bool, typer.Option("--fields", help="The table of receptive fields and connections in place of costs.")
    ] = False,
    time: Annotated[bool, typer.Option("--time", help="Measure each layer, forward and backward.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with the graph drawn.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights, or `imagenet` for the published ones.")
    ] = None,
    own: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="PACKAGE.MODULE:CALLABLE", help="For a run of your own network: what makes it."
        ),
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="For a network that is built here.")] = None,
    in_chans: Annotated[int | None, typer.Option("--in-chans", help="The same; 1 or 3.")] = None,
    img_size: Annotated[int | None, typer.Option("--img-size", help="The same, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Of random weights and of the random image.")] = 0,
    json: Json = False,
) -> None:
    """Show what a network is: shapes, parameters, multiply-adds, memory, exact receptive fields, and what follows."""
    from striate.anatomy.examine import anatomy
    from striate.anatomy.looking import parse_at
    from striate.train.subject import open_subject

    subject = open_subject(
        model,
        weights=weights,
        own=own,
        num_classes=num_classes,
        in_channels=in_chans,
        image_size=img_size,
        seed=seed,
    )
    if effective and not subject.is_trained:
        typer.echo(f"{subject.name} has random weights (seed {seed}): give --weights, or a run folder.", err=True)
    found = anatomy(subject, image=image, time=time, seed=seed)
    if Path(model).is_dir():
        found.put_in_report(model)
    layer, place = (None, None) if at is None else parse_at(at, [one.name for one in found.layers])
    if html is not None:
        path = found.save(html, at=layer, place=place, effective=effective)
        if not json:
            write_text(path)
            return
    if json:
        write_result(found.to_dict() | _looked(found, layer, place, effective=effective))
    elif layer is None:
        write_text(found.text(view="fields" if fields else "costs"))
    else:
        write_text(found.look(layer, place))
        if effective:
            write_text(found.effective(layer, place))


def _looked(found: Anatomy, layer: str | None, place: tuple[int, ...] | None, *, effective: bool) -> dict[str, object]:
    if layer is None:
        return {}
    strength: dict[str, object] = {"effective": found.effective(layer, place).to_dict()} if effective else {}
    return {"look": found.look(layer, place).to_dict()} | strength
