"""Topics of ``striate work`` on layers that the user types: receptive field, output size, parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from striate.cli._options import Json
from striate.cli._work_options import SIZE, Layers, Output, Size, show

__all__ = ["LAYER_TOPICS"]


def receptive_field(layers: Layers, size: Size = None, json: Json = False, output: Output = None) -> None:
    """Say how many pixels of the input one value after some layers sees, layer by layer."""
    from striate import work

    show(work.receptive_field(layers, size=size), json=json, output=output)


def output_size(
    layers: Layers,
    size: Annotated[str, typer.Option(help=SIZE, show_default=False)],
    json: Json = False,
    output: Output = None,
) -> None:
    """Work out the size of the map after each layer, the formula with its numbers."""
    from striate import work

    show(work.output_size(size, layers), json=json, output=output)


def parameters(layers: Layers, size: Size = None, json: Json = False, output: Output = None) -> None:
    """Count weights and biases of each layer, the formula with its numbers."""
    from striate import work

    show(work.parameters(layers, size=size), json=json, output=output)


LAYER_TOPICS: dict[str, tuple[Callable[..., None], str]] = {
    "receptive-field": (
        receptive_field,
        'Examples: `striate work receptive-field "3x3, 3x3, 3x3"` · '
        '`striate work receptive-field "7x7 s2 p3, pool 3x3 s2 p1, 4 * 3x3 p1"`',
    ),
    "output-size": (
        output_size,
        'Example: `striate work output-size "5x5 f6, pool 2x2, 5x5 f16, pool 2x2, flatten" --size 1x28x28`',
    ),
    "parameters": (
        parameters,
        'Examples: `striate work parameters "dense 784->128->64->10"` · '
        '`striate work parameters "5x5 f6, pool 2x2, 5x5 f16, pool 2x2, dense 120, dense 10" --size 1x28x28`',
    ),
}
"""Each topic's function, and what its help ends with."""
