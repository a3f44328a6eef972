"""Batch norms with fixed statistics, folded into the layers before them: all that depends on parameters alone."""

from __future__ import annotations

from typing import Any

from striate.engine._builder import Builder
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Operand, Shared
from striate.graph.graph import Node, Parameter

__all__ = ["fixed_coefficients", "folded_bias", "layer_bias"]


def fixed_coefficients(b: Builder, node: Node) -> Shared:
    """Emit, into what is packed, mean, 1 / deviation, scale and shift of each channel of a batch norm."""
    op: Any = node.op
    channels = node.parameters["running_mean"].tensor.numel()
    statistics = [b.parameter(node.parameters.get(name)) for name in ("weight", "bias", "running_mean", "running_var")]
    # Vectors that begin at the last shift end in it.
    coefficients = b.shared(4 * channels + b.machine.width)
    b.emit(
        "batch_coefficients",
        (None, *statistics, coefficients),
        lambda: Encoded([channels, 1, False], [op.eps, op.momentum]),
        scope=Scope.WHOLE,
        writes=(5,),
        packs=True,
    )
    return coefficients


def layer_bias(b: Builder, bias: Parameter | None, coefficients: Shared | None, channels: int) -> Operand | None:
    """Return the bias of a layer: PyTorch's own, or what a batch norm makes of it."""
    return b.parameter(bias) if coefficients is None else folded_bias(b, bias, coefficients, channels)


def folded_bias(b: Builder, bias: Parameter | None, coefficients: Shared | None, channels: int) -> Operand | None:
    """Emit, into what is packed, the bias of a layer: its own, or what a batch norm makes of it.

    Returns:
        The bias, filled up with 0 to whole vectors; None where there is none.
    """
    if bias is None and coefficients is None:
        return None
    width = b.machine.width
    folded = b.shared(-(-channels // width) * width)
    b.emit(
        "fold_bias",
        (b.parameter(bias), coefficients, folded),
        lambda: Encoded([channels]),
        scope=Scope.WHOLE,
        packs=True,
    )
    return folded
