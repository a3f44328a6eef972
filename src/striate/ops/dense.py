r"""The dense (fully connected) layer: every output is a weighted sum of all inputs.

$$ y_o = b_o + \sum_i w_{oi}\, x_i $$

Each weight is met once per sample, so its gradient is a sum over the samples and the input's gradient one over the
outputs: with $\delta = \partial L / \partial y$,

$$ \frac{\partial L}{\partial x_i} = \sum_o \delta_o\, w_{oi}, \qquad
   \frac{\partial L}{\partial w_{oi}} = \sum_n \delta_{no}\, x_{ni}, \qquad
   \frac{\partial L}{\partial b_o} = \sum_n \delta_{no} . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._forms import floats
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = ["Linear", "linear", "linear_backward"]


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    """Multiply by a weight matrix and add a bias: y = x W^T + b.

    Args:
        x: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,), or None.

    Returns:
        (..., out_features).

    Raises:
        UsageError: the shapes do not fit.

    Example:
        >>> linear([[1.0, 2.0]], [[3.0, 4.0], [0.0, -1.0]], [0.5, 0.0]).tolist()
        [[11.5, -2.0]]
    """
    x, weight, *rest = floats("linear", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    parameters = {"weight": weight} | ({"bias": rest[0]} if rest else {})
    Linear().output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
    return Linear().forward(x, **parameters)


def linear_backward(grad_output: Any, x: Any, weight: Any) -> tuple[Array, Array, Array]:
    """Return the gradients of `linear` with respect to its input, weight and bias.

    Args:
        grad_output: dL/dy (..., out_features).
        x: (..., in_features).
        weight: (out_features, in_features).

    Example:
        >>> grad_input, grad_weight, grad_bias = linear_backward([[1.0]], [[2.0, 3.0]], [[4.0, 5.0]])
        >>> grad_input.tolist(), grad_weight.tolist(), grad_bias.tolist()
        ([[4.0, 5.0]], [[2.0, 3.0]], [1.0])
    """
    grad_output, x, weight = floats("linear_backward", grad_output=grad_output, x=x, weight=weight)
    expected = Linear().output_shape(x.shape, weight=weight.shape)
    if grad_output.shape != expected:
        raise UsageError(
            f"linear_backward: `grad_output` must have the output's shape {expected}, got {grad_output.shape}. "
            "Give dL/dy of the same forward pass."
        )
    gradients = Linear().backward(grad_output, x, weight=weight, bias=np.zeros(len(weight)))
    return gradients.inputs[0], gradients.parameters["weight"], gradients.parameters["bias"]


@dataclass(frozen=True)
class Linear(Op):
    """The dense layer as an operation of a graph: parameters ``weight`` and, where there is one, ``bias``."""

    name: ClassVar[str] = "linear"
    equation: ClassVar[str] = "y[o] = bias[o] + sum over i of weight[o, i] x[i]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (..., out_features)."""
        (x,), weight = inputs, parameters["weight"]
        if len(weight) != 2:
            raise UsageError(
                f"linear: `weight` must have 2 axes (out_features, in_features), got {weight}. Reshape it."
            )
        if not x or x[-1] != weight[1]:
            raise UsageError(
                f"linear: `x` must have in_features = {weight[1]} values in its last axis, got shape {x}. "
                f"Set in_features={x[-1] if x else 1}, or flatten x first."
            )
        if "bias" in parameters and parameters["bias"] != (weight[0],):
            raise UsageError(
                f"linear: `bias` must have one value an output, ({weight[0]},), got {parameters['bias']}. "
                f"Give out_features = {weight[0]} values."
            )
        return (*x[:-1], weight[0])

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute x W^T + b."""
        product = inputs[0] @ parameters["weight"].T
        return product + parameters["bias"] if "bias" in parameters else product

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back through each weight; sum over samples where weights are shared between them."""
        (x,), weight = inputs, parameters["weight"]
        rows_x, rows_grad = x.reshape(-1, x.shape[-1]), grad_output.reshape(-1, grad_output.shape[-1])
        gradients = {"weight": rows_grad.T @ rows_x}
        if "bias" in parameters:
            gradients["bias"] = rows_grad.sum(axis=0)
        return Gradients((grad_output @ weight,), gradients)

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a weight and sample."""
        return math.prod(inputs[0][:-1]) * math.prod(parameters["weight"])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into its products and the bias."""
        *sample, output = position
        x, weight = inputs[0][tuple(sample)], parameters["weight"][output]
        terms = [
            Term((float(w), float(v)), f"weight[{output}, {i}] x[{i}]")
            for i, (w, v) in enumerate(zip(weight, x, strict=True))
        ]
        if "bias" in parameters:
            terms.append(Term((float(parameters["bias"][output]),), f"bias[{output}]"))
        value = float(self.forward(x[None], **parameters)[0, output])
        return Working(
            title=f"linear at {list(position)}",
            equation=self.equation,
            parts=(Line(f"{len(x)} inputs, {len(parameters['weight'])} outputs"), Sum("y", tuple(terms), value)),
            value=value,
        )

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx, dL/dweight or dL/dbias at one position."""
        (x,), weight = inputs, parameters["weight"]
        rows_x, rows_grad = x.reshape(-1, x.shape[-1]), grad_output.reshape(-1, grad_output.shape[-1])
        if of == "input":
            *sample, i = position
            equation = "dL/dx[i] = sum over o of dL/dy[o] weight[o, i]"
            pairs = zip(grad_output[tuple(sample)], weight[:, i], strict=True)
            terms = [Term((float(g), float(w)), f"dL/dy[{o}] weight[{o}, {i}]") for o, (g, w) in enumerate(pairs)]
        elif of == "weight":
            o, i = position
            equation = "dL/dweight[o, i] = sum over samples n of dL/dy[n, o] x[n, i]"
            pairs = zip(rows_grad[:, o], rows_x[:, i], strict=True)
            terms = [Term((float(g), float(v)), f"dL/dy[{n}, {o}] x[{n}, {i}]") for n, (g, v) in enumerate(pairs)]
        elif of == "bias":
            (o,) = position
            equation = "dL/dbias[o] = sum over samples n of dL/dy[n, o]"
            terms = [Term((float(g),), f"dL/dy[{n}, {o}]") for n, g in enumerate(rows_grad[:, o])]
        else:
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        gradients = self.backward(grad_output, *inputs, **parameters)
        array = gradients.inputs[0] if of == "input" else gradients.parameters[of]
        value = float(array[position])
        return Working(
            title=f"linear, dL/d{of} at {list(position)}",
            equation=equation,
            parts=(Sum(f"dL/d{of}", tuple(terms), value),),
            value=value,
        )

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position: a dense layer has no neighbourhood."""
        return np.arange(size, dtype=np.int64)
