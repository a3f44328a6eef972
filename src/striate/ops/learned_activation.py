r"""PReLU: a leaky ReLU whose slope on the negative side is learned, one for all channels or one for each.

$$ y = \max(0, x) + a \min(0, x), \qquad \frac{\partial L}{\partial x} = \delta \begin{cases} 1 & x > 0 \\ a & x \le 0
   \end{cases}, \qquad \frac{\partial L}{\partial a_c} = \sum_{n, i, j} \delta_{ncij} \min(0, x_{ncij}) . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._calls import run, run_backward
from striate.ops._forms import floats
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["PReLU", "prelu", "prelu_backward"]


def prelu(x: Any, weight: Any) -> Array:
    """Keep positive numbers, multiply the others by a learned slope: y = x if x > 0, else weight x.

    Args:
        x: (N, C, ...), or any shape where there is one slope.
        weight: The slopes: (1,) for all channels, or (C,), one for each.

    Raises:
        UsageError: neither one slope nor one a channel.

    Source: He et al. 2015, arXiv:1502.01852, section 2.1.

    Example:
        >>> prelu([[-4.0, -4.0], [1.0, 2.0]], [0.25, 0.5]).tolist()
        [[-1.0, -2.0], [1.0, 2.0]]
    """
    x, weight = floats("prelu", x=x, weight=weight)
    return run(PReLU(), x, weight=weight)


def prelu_backward(grad_output: Any, x: Any, weight: Any) -> tuple[Array, Array]:
    """Return (grad_input, grad_weight) of `prelu`: the slope times g, and g x summed over the negative x.

    Example:
        >>> [gradient.tolist() for gradient in prelu_backward([[1.0, 1.0]], [[-4.0, 3.0]], [0.25])]
        [[[0.25, 1.0]], [-4.0]]
    """
    x, weight = floats("prelu_backward", x=x, weight=weight)
    gradients = run_backward(PReLU(), "prelu_backward", grad_output, x, weight=weight)
    return gradients.inputs[0], gradients.parameters["weight"]


@dataclass(frozen=True)
class PReLU(Op):
    """Leaky ReLU with learned slopes; parameter ``weight``, (1,) or (C,)."""

    name: ClassVar[str] = "prelu"
    equation: ClassVar[str] = "y = x if x > 0, else a x"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,), weight = inputs, parameters["weight"]
        channels = x[1] if len(x) > 1 else 1
        if math.prod(weight) != 1 and weight != (channels,):
            raise UsageError(
                f"prelu: `weight` must have one slope, (1,), or one a channel, ({channels},) for x {x}, got {weight}. "
                f"Write nn.PReLU(num_parameters={channels})."
            )
        return x

    def spread(self, x: Array, weight: Array) -> Array:
        """Return the slopes shaped so that they multiply x."""
        return weight.reshape(-1, *[1] * (x.ndim - 2)) if weight.size > 1 else weight.reshape(())

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Return x or a x."""
        (x,) = inputs
        return np.where(x > 0, x, self.spread(x, parameters["weight"]) * x)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by 1 or a; for a add up g x over the values that it multiplied."""
        (x,), weight = inputs, parameters["weight"]
        grad_input = np.where(x > 0, grad_output, grad_output * self.spread(x, weight))
        products = np.where(x > 0, 0, grad_output * x)
        others = tuple(axis for axis in range(x.ndim) if axis != 1 or weight.size == 1)
        return Gradients((grad_input,), {"weight": np.asarray(products.sum(axis=others)).reshape(weight.shape)})

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a comparison and a product a value."""
        return 2 * math.prod(inputs[0])

    def _slope_at(self, position: tuple[int, ...], weight: Array) -> tuple[float, str]:
        """Return the slope for one value, and its name."""
        place = (position[1],) if weight.size > 1 else (0,)
        return float(weight.reshape(-1)[place]), named("a", place)

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Write the number, the slope, and their product where the number is negative."""
        (x,), weight = inputs, parameters["weight"]
        position = checked(self.name, position, self.output_shape(x.shape, weight=weight.shape))
        own, (a, name) = float(x[position]), self._slope_at(position, weight)
        value = float(self.forward(np.asarray(own), weight=np.asarray(a)))
        term = Term((own,), named("x", position)) if own > 0 else Term((a, own), f"{name} {named('x', position)}")
        slope = "1" if own > 0 else f"{name} = {number(a)}"
        parts = (
            Line(f"{named('x', position)} = {number(own)}, {name} = {number(a)}"),
            Sum("y", (term,), value),
            Line(f"slope there: {slope}"),
        )
        return Working(f"prelu at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one input, or of one slope into the values that it multiplied."""
        (x,), weight = inputs, parameters["weight"]
        gradients = self.backward(grad_output, x, weight=weight)
        if of == "input":
            position = checked(self.name, position, x.shape)
            a, name = self._slope_at(position, weight)
            slope = 1.0 if x[position] > 0 else a
            value = float(gradients.inputs[0][position])
            term = Term((float(grad_output[position]), slope), f"{named('dL/dy', position)} y'")
            sign = "positive: the slope is 1" if x[position] > 0 else f"not positive: the slope is {name}"
            parts = (Line(f"{named('x', position)} = {number(x[position])} is {sign}"), Sum("dL/dx", (term,), value))
            return Working(f"prelu, dL/dinput at {list(position)}", "dL/dx = dL/dy y'(x)", parts, value)
        if of != "weight":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        position = checked(self.name, position, weight.shape)
        is_own = x <= 0
        if weight.size > 1:
            is_own &= (np.arange(weight.size) == position[0]).reshape(-1, *[1] * (x.ndim - 2))
        cells = [tuple(map(int, cell)) for cell in np.argwhere(is_own)]
        terms = tuple(Term((float(grad_output[c]), float(x[c])), f"{named('dL/dy', c)} {named('x', c)}") for c in cells)
        value = float(gradients.parameters["weight"][position])
        parts = (Line(f"{len(cells)} values that are not positive"), Sum("dL/da", terms, value))
        equation = "dL/da = sum of dL/dy x over the x that a multiplies, x <= 0"
        return Working(f"prelu, dL/dweight at {list(position)}", equation, parts, value)
