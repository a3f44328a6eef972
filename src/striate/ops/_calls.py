"""How the public functions call an operation: shapes first, so that a wrong one is answered by its rule."""

from __future__ import annotations

from typing import Any

from striate.errors import UsageError
from striate.ops._forms import floats
from striate.ops.op import Array, Gradients, Op

__all__ = ["run", "run_backward"]


def run(op: Op, x: Array, **parameters: Array) -> Array:
    """Check the shapes and compute the output."""
    op.output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
    return op.forward(x, **parameters)


def run_backward(op: Op, function: str, grad_output: Any, x: Array, **parameters: Array) -> Gradients:
    """Check the shapes and send the gradient back."""
    (grad_output,) = floats(function, grad_output=grad_output)
    expected = op.output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
    if grad_output.shape != expected:
        raise UsageError(
            f"{function}: `grad_output` must have the output's shape {expected}, got {grad_output.shape}. "
            "Give dL/dy of the same forward pass."
        )
    return op.backward(grad_output, x, **parameters)
