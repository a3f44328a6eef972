"""The topics of ``striate work``, one function each: parses, calls one public function, prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from striate.cli._options import Json
from striate.cli._work_layers import LAYER_TOPICS
from striate.cli._work_options import At, Backward, GradOutput, Input, Output, Scores, arriving, show

__all__ = ["TOPICS"]


def conv(
    input: Input,
    kernel: Annotated[
        list[str],
        typer.Option(
            "--kernel",
            "-k",
            metavar="NUMBERS|NAME",
            show_default=False,
            help="The weights, or a name such as sobel-x; repeated for several filters.",
        ),
    ],
    bias: Annotated[str | None, typer.Option(metavar="NUMBERS", help="One number a filter.")] = None,
    stride: Annotated[str, typer.Option(help="Pixels from window to window: 2, or 2x1.")] = "1",
    padding: Annotated[
        str, typer.Option(help="Zeros around the input: 1, 1x2, top bottom left right, valid, same or full.")
    ] = "0",
    dilation: Annotated[str, typer.Option(help="Pixels from tap to tap.")] = "1",
    convention: Annotated[
        str, typer.Option(help="succeeding; or previous or centre, which rotate the kernel by 180 degrees.")
    ] = "succeeding",
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Slide a kernel over typed numbers: the size, the window, each product, the sum, the map."""
    from striate import work

    answer = work.conv(
        input,
        kernel,
        bias=bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        convention=convention,
        at=at,
        backward=arriving(backward, grad_output),
    )
    show(answer, json=json, output=output)


def pool(
    input: Input,
    kind: Annotated[str, typer.Option(help="max, avg, sum, l2 or weighted.")] = "max",
    kernel_size: Annotated[str | None, typer.Option(help="Rows and columns of the window. Default: 2.")] = None,
    stride: Annotated[str | None, typer.Option(help="Pixels from window to window. Default: the window.")] = None,
    padding: Annotated[str, typer.Option(help="Pixels around the input, at most half the window.")] = "0",
    ceil_mode: Annotated[bool, typer.Option("--ceil-mode", help="Round the output's size up.")] = False,
    weights: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Of the cells, for --kind weighted.")] = None,
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Pool typed numbers: the size, the window, the winner or the sum, the map."""
    from striate import work

    answer = work.pool(
        input,
        kind=kind,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        weights=weights,
        at=at,
        backward=arriving(backward, grad_output),
    )
    show(answer, json=json, output=output)


def dense(
    input: Input,
    weight: Annotated[
        str, typer.Option("--weight", "-w", metavar="NUMBERS", help="One row an output.", show_default=False)
    ],
    bias: Annotated[str | None, typer.Option(metavar="NUMBERS", help="One number an output.")] = None,
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Multiply typed numbers by a weight matrix and add the bias, product by product."""
    from striate import work

    answer = work.dense(input, weight, bias=bias, at=at, backward=arriving(backward, grad_output))
    show(answer, json=json, output=output)


def softmax(
    input: Scores,
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Turn scores into probabilities: exponentials, their sum, the quotients."""
    from striate import work

    show(work.softmax(input, at=at, backward=arriving(backward, grad_output)), json=json, output=output)


def cross_entropy(
    input: Scores,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            metavar="NUMBERS",
            help="The class, counted from 0, or one share a class.",
            show_default=False,
        ),
    ],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="The input holds probabilities, not scores.")
    ] = False,
    base: Annotated[str, typer.Option(help="Of the logarithm: e or a number such as 2.")] = "e",
    label_smoothing: Annotated[float, typer.Option(help="Share of the target spread over all classes.")] = 0.0,
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Measure how far scores are from the target: softmax, logarithms, the loss."""
    from striate import work

    answer = work.cross_entropy(
        input,
        target,
        probabilities=probabilities,
        base=base,
        label_smoothing=label_smoothing,
        at=at,
        backward=arriving(backward, grad_output),
    )
    show(answer, json=json, output=output)


def batch_norm(
    input: Input,
    weight: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Scale of each channel. Default: 1.")] = None,
    bias: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Shift of each channel. Default: 0.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Running mean, for inference.")] = None,
    variance: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Running variance, for inference.")] = None,
    eps: Annotated[float, typer.Option(help="Added to the variance.")] = 1e-5,
    at: At = None,
    backward: Backward = False,
    grad_output: GradOutput = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Normalise typed numbers: mean, variance, the normalised value, scale and shift."""
    from striate import work

    answer = work.batch_norm(
        input,
        weight=weight,
        bias=bias,
        mean=mean,
        variance=variance,
        eps=eps,
        at=at,
        backward=arriving(backward, grad_output),
    )
    show(answer, json=json, output=output)


TOPICS: dict[str, tuple[Callable[..., None], str]] = {
    "conv": (
        conv,
        'Examples: `striate work conv --input "3 5 2 8; 9 7 5 4; 2 0 6 1" --kernel "1 0; 0 1" --padding 1 --at 2,3` · '
        "`striate work conv --input cat.png --kernel sobel-x --at 40,60` · "
        '`striate work conv -i "1 2; 3 4 | 5 6; 7 8" -k "1 0 | 0 1" --bias -5 --backward --grad-output "1; 0"`',
    ),
    "pool": (
        pool,
        'Examples: `striate work pool --input "12 20 30 0; 8 12 2 0; 34 70 37 4; 112 100 25 12"` · '
        '`striate work pool -i map.csv --kind weighted --weights "1 2 1; 2 4 2; 1 2 1" --stride 1 --backward`',
    ),
    "dense": (
        dense,
        'Example: `striate work dense --input "0 10 0 10" --weight "0.8 -0.2 0.1 -0.2; 0.5 0.3 -0.8 0.9" --bias "1 0"`',
    ),
    "softmax": (softmax, 'Example: `striate work softmax --input "3.2 1.3 0.2 0.8" --at 1 --backward`'),
    "cross-entropy": (
        cross_entropy,
        'Examples: `striate work cross-entropy --input "3.2 1.3 0.2 0.8" --target 0 --backward` · '
        '`striate work cross-entropy -i "0.775 0.116 0.039 0.07" -t "1 0 0 0" --probabilities --base 2`',
    ),
    "batch-norm": (
        batch_norm,
        'Examples: `striate work batch-norm --input "1 2 3 6" --weight 2 --bias 5 --backward` · '
        '`striate work batch-norm -i "1 2 3 6" --mean 3 --variance 4`',
    ),
    **LAYER_TOPICS,
}
"""Each topic's function, and what its help ends with."""
