r"""What all normalisation shares: rows of values with one mean and one variance each, and the way back through both.

With $\hat x = (x - \mu) / \sigma$, $\sigma = \sqrt{v + \epsilon}$, $y = \gamma \hat x + \beta$, m values a row and
$g = \gamma\, \partial L / \partial y$:

$$ \frac{\partial L}{\partial x_i} = \frac{1}{\sigma} \Bigl( g_i - \frac1m \sum_j g_j
   - \hat x_i\, \frac1m \sum_j g_j \hat x_j \Bigr) $$

The kinds differ in which values share a row.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops import _normalizing_working as work
from striate.ops._calls import run_backward
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = ["Normalization", "Slices", "check_eps", "check_parameters", "given", "gradients_of"]

Slices = tuple[slice, ...]


class Normalization(Op):
    """Values of one row share a mean and a variance; weight and bias scale and shift what is normalised."""

    eps: float

    @abstractmethod
    def rows(self, x: Array) -> Array:
        """Return the values that share a mean and a variance as the rows of a matrix."""

    @abstractmethod
    def unrowed(self, rows: Array, shape: Shape) -> Array:
        """Return what `rows` changed to the shape that it came from."""

    @abstractmethod
    def lined_up(self, parameter: Array, shape: Shape) -> Array:
        """Return weight or bias in a shape that multiplies x."""

    @abstractmethod
    def members(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return which values share the mean and the variance of a position."""

    @abstractmethod
    def users(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return which values one weight multiplies."""

    def statistics(self, rows: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return the mean and the variance of each row, as columns; the variance divides by the number of values."""
        return rows.mean(axis=1, keepdims=True), rows.var(axis=1, keepdims=True)

    def has_own_statistics(self) -> bool:
        """Whether mean and variance come from x, so that the gradient flows through them."""
        return True

    def normalized(self, x: Array, **parameters: Array) -> Array:
        """Return (x - mean) / sqrt(variance + eps)."""
        rows = self.rows(x)
        mean, variance = self.statistics(rows, **parameters)
        return self.unrowed((rows - mean) / np.sqrt(variance + self.eps), x.shape)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Normalise, scale and shift."""
        (x,) = inputs
        y = self.normalized(x, **parameters)
        if "weight" in parameters:
            y = y * self.lined_up(parameters["weight"], x.shape)
        return y + self.lined_up(parameters["bias"], x.shape) if "bias" in parameters else y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back through the scale, the variance and the mean."""
        (x,) = inputs
        rows = self.rows(x)
        mean, variance = self.statistics(rows, **parameters)
        deviation = np.sqrt(variance + self.eps)
        normalized = (rows - mean) / deviation
        gradients = {}
        scaled = grad_output
        if "weight" in parameters:
            weight = parameters["weight"]
            gradients["weight"] = self._collected(grad_output * self.unrowed(normalized, x.shape), weight.shape)
            scaled = grad_output * self.lined_up(weight, x.shape)
        if "bias" in parameters:
            gradients["bias"] = self._collected(grad_output, parameters["bias"].shape)
        g = self.rows(scaled)
        if self.has_own_statistics():
            g = g - g.mean(axis=1, keepdims=True) - normalized * (g * normalized).mean(axis=1, keepdims=True)
        return Gradients((self.unrowed(g / deviation, x.shape),), gradients)

    def _collected(self, gradient: Array, shape: Shape) -> Array:
        """Add up over everything that shares one weight."""
        lined_up = self.lined_up(np.empty(shape), gradient.shape).shape
        missing = (1,) * (gradient.ndim - len(lined_up)) + lined_up
        axes = tuple(axis for axis, length in enumerate(missing) if length == 1)
        total: Array = gradient.sum(axis=axes).reshape(shape)
        return total

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output: mean, variance, normalised value, scale and shift."""
        shape = self.output_shape(inputs[0].shape, **{name: array.shape for name, array in parameters.items()})
        return work.unfold(self, checked(self.name, position, shape), inputs[0], **parameters)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx into its three terms, or dL/dweight or dL/dbias into one term a value."""
        if of == "input":
            position = checked(self.name, position, inputs[0].shape)
            return work.unfold_grad_input(self, position, grad_output, inputs[0], **parameters)
        if of in ("weight", "bias") and of in parameters:
            position = checked(self.name, position, parameters[of].shape)
            return work.unfold_grad_parameter(self, of, position, grad_output, inputs[0], **parameters)
        return super().gradient_working(of, position, grad_output, *inputs, **parameters)

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count 7 steps a value: 1 for the mean, 3 for the variance, 1 to divide, 2 to scale and shift.

        With given statistics all of it is one multiplication and one addition.
        """
        return (7 if self.has_own_statistics() else 2) * math.prod(inputs[0])


def given(function: str, x: Any, **parameters: Any) -> tuple[Array, dict[str, Array]]:
    """Return x and the parameters that are not None as floating point."""
    (x,) = floats(function, x=x)
    named = {name: value for name, value in parameters.items() if value is not None}
    return x, dict(zip(named, floats(function, **named), strict=True))


def gradients_of(
    op: Normalization, function: str, grad_output: Any, x: Array, parameters: dict[str, Array], *, shape: Shape
) -> tuple[Array, Array, Array]:
    """Return dL/dx, dL/dweight and dL/dbias; weight and bias of the given shape are 1 and 0 where left out."""
    whole = {"weight": np.ones(shape, dtype=x.dtype), "bias": np.zeros(shape, dtype=x.dtype)} | parameters
    gradients = run_backward(op, function, grad_output, x, **whole)
    return gradients.inputs[0], gradients.parameters["weight"], gradients.parameters["bias"]


def check_eps(function: str, eps: float, *, is_zero_allowed: bool) -> None:
    """Refuse an eps that cannot keep the division from 0."""
    if not (eps > 0 or (is_zero_allowed and eps == 0)):
        rule = "at least 0" if is_zero_allowed else "larger than 0"
        raise UsageError(f"{function}: `eps` must be {rule}, got {eps}. Leave it out for 1e-5.")


def check_parameters(function: str, shape: Shape, what: str, parameters: dict[str, Shape]) -> None:
    """Refuse parameters of another shape."""
    for name, found in parameters.items():
        if found != shape:
            raise UsageError(
                f"{function}: `{name}` must have one value for each {what}, {shape}, got {found}. "
                f"Give {math.prod(shape)} values in that shape."
            )
