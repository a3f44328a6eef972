"""The table of adapters, and how a call finds its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters import (
    activation,
    arithmetic,
    comparison,
    convolution,
    dense,
    interpolation,
    loss,
    normalization,
    pooling,
    reduction,
    reshaping,
    stacking,
)
from striate.graph.adapters._call import Call, shape_of

__all__ = ["ADAPTERS", "adapt"]

ADAPTERS: dict[str, Callable[..., Any]] = {
    **activation.ADAPTERS,
    **arithmetic.ADAPTERS,
    **comparison.ADAPTERS,
    **convolution.ADAPTERS,
    **dense.ADAPTERS,
    **interpolation.ADAPTERS,
    **loss.ADAPTERS,
    **normalization.ADAPTERS,
    **pooling.ADAPTERS,
    **reduction.ADAPTERS,
    **reshaping.ADAPTERS,
    **stacking.ADAPTERS,
}
"""By the plain name of the call. An adapter has the signature of the call and returns a `Call`, one for each output,
or None where the call uses options that no operation has."""

BY_OUTPUT = {name for name, adapter in ADAPTERS.items() if "outputs" in inspect.signature(adapter).parameters}
"""Calls that are described by the shape of their output: their adapters are given it."""


def adapt(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Sequence[Tensor]) -> list[Call | None]:
    """Return a call in striate's words, one `Call` for each output; None: striate does not know it.

    What an adapter says is believed if the operation finds the shape that PyTorch found. Whatever form of a call an
    adapter was not written for, the network has run, so the call is unknown and not an error.
    """
    unknown: list[Call | None] = [None] * len(outputs)
    if name not in ADAPTERS:
        return unknown
    if name in BY_OUTPUT:
        kwargs = {**kwargs, "outputs": outputs}
    try:
        adapted = ADAPTERS[name](*args, **kwargs)
        calls = adapted if isinstance(adapted, list) else [adapted]
        if len(calls) != len(outputs):
            return unknown
        return [call if _fits(call, output) else None for call, output in zip(calls, outputs, strict=True)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return unknown


def _fits(call: Call | None, output: Tensor) -> bool:
    if call is None:
        return False
    tensors = [operand for operand in call.inputs if isinstance(operand, Tensor)]
    if any(tensor.is_floating_point() for tensor in tensors) and not output.is_floating_point():
        return False  # rounded, or counted: no operation of striate does that
    inputs = (shape_of(operand) if isinstance(operand, Tensor) else () for operand in call.inputs)
    parameters = {name: shape_of(tensor) for name, tensor in call.parameters.items()}
    return call.op.output_shape(*inputs, **parameters) == shape_of(output)
