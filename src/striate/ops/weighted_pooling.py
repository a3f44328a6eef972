r"""Weighted average pooling: one weight for each cell of the window, the same in all channels.

$$ y_o = \sum_k v_k\, x_{o s - p + k}, \qquad v_k = \frac{w_k}{\sum_j w_j} $$

or $v = w$ as given, without the division. With $\delta = \partial L / \partial y$ and $S = \sum_j w_j$,

$$ \frac{\partial L}{\partial x_i} = \sum_{o \text{ reads } i} v_{k(o, i)}\, \delta_o, \qquad
   \frac{\partial L}{\partial w_k} = \frac{1}{S} \sum_o \delta_o\, (x_{o s - p + k} - y_o) : $$

more weight on a cell pulls the mean towards what lies there. As given, the last is $\sum_o \delta_o\, x_{o s - p + k}$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._calls import run, run_backward
from striate.ops._forms import check_axes, floats
from striate.ops._pooling import Pool, parse
from striate.ops._pooling_working import grids
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working, number

__all__ = ["WeightedAvgPool", "weighted_avg_pool2d", "weighted_avg_pool2d_backward"]


def weighted_avg_pool2d(
    x: Any,
    weights: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    normalize: bool = True,
) -> Array:
    """Take the weighted mean of each window.

    y[n, c, o] = sum over the cells k of v[k] x[n, c, o stride - padding + k] with v = weights / sum(weights).

    Args:
        x: (N, C, H, W).
        weights: (kH, kW), one for each cell of the window; their shape is the kernel size.
        stride: Pixels from window to window; None is the kernel size.
        padding: Pixels of zeros around the image, at most half the kernel; or `same`; or (before, after) an axis.
            The zeros count with their weights, and so does what hangs over in ceil mode.
        ceil_mode: Round the output's size up: the last window may hang over, but begins inside.
        normalize: Divide the weights by their sum; otherwise take them as they are.

    Returns:
        (N, C, H_out, W_out).

    Raises:
        UsageError: the window does not fit, the padding exceeds half the kernel, or weights to be normalised sum to 0.

    Example:
        >>> weighted_avg_pool2d([[[[1, 2], [3, 4]]]], [[3, 1], [1, 3]]).tolist()
        [[[[2.5]]]]
    """
    x, weights = floats("weighted_avg_pool2d", x=x, weights=weights)
    op = _parsed("weighted_avg_pool2d", x.shape, weights.shape, stride, padding, ceil_mode, normalize)
    _check_sum("weighted_avg_pool2d", weights, normalize)
    return run(op, x, weight=weights)


def weighted_avg_pool2d_backward(
    grad_output: Any,
    x: Any,
    weights: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    normalize: bool = True,
) -> tuple[Array, Array]:
    """Return dL/dx and dL/dweights of `weighted_avg_pool2d`; arguments as there.

    Example:
        >>> grad_input, grad_weights = weighted_avg_pool2d_backward([[[[8.0]]]], [[[[1, 2], [3, 4]]]], [[3, 1], [1, 3]])
        >>> grad_input.tolist(), grad_weights.tolist()
        ([[[[3.0, 1.0], [1.0, 3.0]]]], [[-1.5, -0.5], [0.5, 1.5]])
    """
    function = "weighted_avg_pool2d_backward"
    x, weights = floats(function, x=x, weights=weights)
    op = _parsed(function, x.shape, weights.shape, stride, padding, ceil_mode, normalize)
    _check_sum(function, weights, normalize)
    gradients = run_backward(op, function, grad_output, x, weight=weights)
    return gradients.inputs[0], gradients.parameters["weight"]


@dataclass(frozen=True)
class WeightedAvgPool(Pool):
    """Weighted average pooling as an operation of a graph: parameter ``weight``, one number for each cell."""

    normalize: bool = True

    stem: ClassVar[str] = "weighted_avg_pool"
    forward_form: ClassVar[str] = "y[{p}] = sum over {a} of v[{a}] x[{read}]"
    backward_form: ClassVar[str] = "dL/dx[{q}] = sum of dL/dy[{p}] v[{a}] over the windows {p} that read x[{q}]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C, lengths of the output)."""
        if parameters.get("weight", self.kernel_size) != self.kernel_size:
            raise UsageError(
                f"{self.name}: `weights` must have one number for each cell of the window, {self.kernel_size}, "
                f"got {parameters['weight']}. Give weights of the kernel's shape."
            )
        return super().output_shape(*inputs)

    def shares(self, weight: Array) -> Array:
        """Return v: the weights divided by their sum, or as given."""
        return weight / weight.sum() if self.normalize else weight

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the weighted mean of each window."""
        (x,), shares = inputs, self.shares(parameters["weight"])
        total = np.zeros(self.output_shape(x.shape), dtype=np.result_type(x, shares))
        for tap, met in self.met(x):
            total += shares[tap] * met
        return total

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back through each weight, and collect it for each weight over all windows."""
        (x,), weight = inputs, parameters["weight"]
        shares = self.shares(weight)
        grad_input = self.give_back(x, lambda tap, met: shares[tap] * grad_output)
        grad_weight = np.zeros_like(weight)
        for tap, met in self.met(x):
            grad_weight[tap] = np.vdot(grad_output, met)
        if self.normalize:
            # sum over o of dL/dy[o] y[o] is what all shares would gain together.
            grad_weight = (grad_weight - (shares * grad_weight).sum()) / weight.sum()
        return Gradients((grad_input,), {"weight": grad_weight})

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a cell of each window."""
        return math.prod(self.output_shape(*inputs)) * math.prod(self.kernel_size)

    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> list[Line | Grid | Sum]:
        """Show the weights and each product."""
        weight = parameters["weight"]
        shares = self.shares(weight)
        whole = tuple(slice(0, 0) for _ in self.kernel_size)
        parts: list[Line | Grid | Sum] = [*grids("weights", weight, whole)]
        if self.normalize:
            parts.append(Line(f"v = weights / {number(weight.sum())}"))
        terms = [
            Term((float(shares[cell.tap]), cell.value), f"{named('v', cell.tap)} {cell.where}")
            for cell in self.cells(channel, output)
        ]
        return [*parts, Sum("y", tuple(terms), value)]

    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return the window's gradient times the weight of the cell."""
        share = float(self.shares(parameters["weight"])[cell])
        return Term((delta, share), f"{named('dL/dy', output)} {named('v', cell)}")

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx or dL/dweight at one position."""
        if of != "weight":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,), weight = inputs, parameters["weight"]
        tap = checked(self.name, position, weight.shape)
        met = next(view for cell, view in self.met(x) if cell == tap)
        y = self.forward(x, **parameters)
        total = float(weight.sum())
        terms = []
        for where in np.ndindex(*y.shape):
            if self.normalize:
                factors = (float(grad_output[where]), float(met[where] - y[where]), 1.0 / total)
                terms.append(Term(factors, f"{named('dL/dy', where)} (x - {named('y', where)}) / {number(total)}"))
            else:
                terms.append(Term((float(grad_output[where]), float(met[where])), f"{named('dL/dy', where)} x"))
        value = float(self.backward(grad_output, x, **parameters).parameters["weight"][tap])
        change = "(x - y[o]) / sum of weights" if self.normalize else "x"
        return Working(
            title=f"{self.name}, dL/dweight at {list(position)}",
            equation=f"dL/dw[k] = sum over windows o of dL/dy[o] {change}; x is what cell k reads",
            parts=(Sum("dL/dw", tuple(terms), value),),
            value=value,
        )


def _parsed(
    function: str, shape: Shape, kernel_size: Shape, stride: Any, padding: Any, ceil_mode: bool, normalize: bool
) -> WeightedAvgPool:
    check_axes(function, "x", shape, dims=2)
    if len(kernel_size) != 2 or 0 in kernel_size:
        raise UsageError(
            f"{function}: `weights` must have 2 axes (kH, kW), got shape {kernel_size}. "
            "Give one weight for each cell of the window."
        )
    options = parse(function, shape, dims=2, kernel_size=kernel_size, stride=stride, padding=padding)
    return WeightedAvgPool(**options, ceil_mode=ceil_mode, normalize=normalize)


def _check_sum(function: str, weights: Array, normalize: bool) -> None:
    if normalize and weights.sum() == 0:
        raise UsageError(
            f"{function}: `weights` must have a sum other than 0 to be divided by it, got a sum of 0. "
            "Set normalize=False to take them as they are."
        )
