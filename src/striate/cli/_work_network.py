"""``striate work MODEL``: the arithmetic behind one number of a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli._options import Json, write_result
from striate.cli._work_options import Output, show

if TYPE_CHECKING:
    from striate.graph import Graph
    from striate.train.subject import Subject

__all__ = ["EXAMPLES", "network"]

EXAMPLES = (
    "Examples: `striate work runs/mnist-lenet5 --image seven.png` lists the nodes · "
    "`striate work resnet50 --weights imagenet --image cat.jpg --at layer3.1.conv2[17,4,9]` · "
    "`striate work mynet.model:build --at conv1[0,3,3] --gradient`"
)


def network(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A name, a run folder, or package.module:callable.", show_default=False),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="NODE[c,i,j]", help="The number to unfold: node, channel, row, column. Default: list nodes."
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prepared as in evaluation. Default: random numbers.")
    ] = None,
    gradient: Annotated[
        bool,
        typer.Option("--gradient", "-g", help="Also dL/d of it and of its weight, term by term; L: cross-entropy."),
    ] = False,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class of the loss, name or number. Default: the predicted one.")
    ] = None,
    tap: Annotated[
        str | None, typer.Option(metavar="o,c,a,b", help="Weight for --gradient. Default: the one that matters most.")
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE|imagenet", help="Weights to load.")] = None,
    own: Annotated[
        str | None, typer.Option("--model", metavar="PACKAGE.MODULE:CALLABLE", help="For a run of your own network.")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="For a network that is built here.")] = None,
    in_chans: Annotated[int | None, typer.Option("--in-chans", help="The same: 1 for grey, 3 for colour.")] = None,
    img_size: Annotated[int | None, typer.Option("--img-size", help="The same, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Of random weights and of a random input.")] = 0,
    json: Json = False,
    output: Output = None,
) -> None:
    """Unfold one number of a network: what it sees, each product, and what followed; with --gradient the way back."""
    from striate.graph import check_shapes
    from striate.train.subject import open_subject
    from striate.work import unfold

    subject = open_subject(
        model,
        weights=weights,
        own=own,
        num_classes=num_classes,
        in_channels=in_chans,
        image_size=img_size,
        seed=seed,
    )
    if not subject.is_trained:
        typer.echo(f"{subject.name} has random weights (seed {seed}): give --weights, or a run folder.", err=True)
    inputs = subject.prepare(image, seed=seed)
    graph = check_shapes(subject.network, inputs)
    if at is None:
        _list(graph, json=json)
        return
    working = unfold(
        subject.network,
        inputs,
        at,
        gradient=gradient,
        target=_class_index(subject, target),
        tap=None if tap is None else _whole_numbers(tap),
        name=subject.name,
    )
    show(working, json=json, output=output)


def _list(graph: Graph, *, json: bool) -> None:
    if json:
        write_result(
            [{"name": node.name, "call": node.call, "output_shape": list(node.output_shape)} for node in graph.nodes]
        )
    else:
        typer.echo(f"{graph}\n\nGive --at and a node with a place in it, such as {_example(graph)}.")


def _example(graph: Graph) -> str:
    node = next((node for node in graph.nodes if node.parameters), graph.nodes[-1])
    return f"{node.name}[{','.join('0' * (len(node.output_shape) - 1))}]"


def _class_index(subject: Subject, target: str | None) -> int | None:
    from striate.errors import UsageError, nearest

    if target is None or target.isdigit():
        return None if target is None else int(target)
    names = subject.class_names or ()
    if target not in names:
        hint = f"There are {len(names)}: {', '.join(names[:12])}." if names else "Give its number."
        raise UsageError(f"work: `--target` must be a class, got {target!r}.{nearest(target, names)} {hint}")
    return names.index(target)


def _whole_numbers(text: str) -> tuple[int, ...]:
    from striate.errors import UsageError

    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() for word in words):
        raise UsageError(f"work: `--tap` must be whole numbers such as 17,3,0,2, got {text!r}.")
    return tuple(int(word) for word in words)
