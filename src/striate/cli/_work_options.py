"""What the topics of ``striate work`` share: options, and how an answer is shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli._options import write_result

if TYPE_CHECKING:
    from striate.ops.working import Working

__all__ = ["SIZE", "At", "Backward", "GradOutput", "Input", "Layers", "Output", "Scores", "Size", "arriving", "show"]

NUMBERS = (
    "Rows parted by ; values by spaces or commas, channels by |, fractions as 1/9; or a .csv, .txt, .npy or image."
)
Input = Annotated[str, typer.Option("--input", "-i", metavar="NUMBERS", help=NUMBERS, show_default=False)]
Scores = Annotated[
    str, typer.Option("--input", "-i", metavar="NUMBERS", help="Scores, one a class.", show_default=False)
]
At = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE", help="The value to unfold, such as 1,2; with --backward also input[1,2]. Default: the first."
    ),
]
Backward = Annotated[bool, typer.Option("--backward", "-b", help="Also the gradients, for dL/doutput = 1.")]
GradOutput = Annotated[
    str | None, typer.Option(metavar="NUMBERS", help="dL/doutput for the gradients, in the shape of the output.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write the working as a page, a new file.")
]
Layers = Annotated[
    str,
    typer.Argument(
        metavar="LAYERS",
        show_default=False,
        help='From the input on, such as "5x5 f6 p2, pool 2x2, dense 10": s stride, p padding, d dilation, f filters.',
    ),
]
SIZE = "Of the input, such as 28x28 or, with channels, 1x28x28."
Size = Annotated[str | None, typer.Option(help=SIZE)]


def show(working: Working, *, json: bool, output: Path | None) -> None:
    """Print a working as text or JSON, or write it as a page and print where."""
    if output is not None:
        from striate.work.page import save_page

        written = save_page(working, output)
    if json:
        page = {} if output is None else {"page": str(written)}
        write_result(_finite(working.to_dict()) | page)
    else:
        typer.echo(working if output is None else written)


def arriving(backward: bool, grad_output: str | None) -> str | bool | None:
    """Return dL/doutput as the topics take it: True for ones, None for no gradients."""
    return grad_output if grad_output is not None else backward or None


def _finite(value: Any) -> Any:
    """Replace what JSON has not, infinity (a maximum's padding) and NaN, by null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
