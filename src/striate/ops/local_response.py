r"""Local response normalisation: each value divided by what its neighbour channels answer at the same place.

$$ d_c = k + \frac{\alpha}{n} \sum_{j \in W(c)} x_j^2, \qquad y_c = x_c\, d_c^{-\beta}, \qquad
   W(c) = \{c - \lfloor n/2 \rfloor, \ldots, c + \lfloor (n-1)/2 \rfloor\} $$

A value acts on its own output directly, and on every output whose window it lies in through the divisor:

$$ \frac{\partial L}{\partial x_i} = \delta_i\, d_i^{-\beta} - \frac{2 \alpha \beta}{n}\, x_i
   \sum_{c\,:\, i \in W(c)} \delta_c\, x_c\, d_c^{-\beta - 1} . $$

The windows that hold i are those of the channels from $i - \lfloor (n-1)/2 \rfloor$ to $i + \lfloor n/2 \rfloor$.
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

__all__ = ["LocalResponseNorm", "local_response_norm", "local_response_norm_backward"]


def local_response_norm(x: Any, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Divide each value by (k + alpha / size x sum of the squares of `size` neighbour channels)^beta.

    As in PyTorch `alpha` is divided by `size`. AlexNet's paper writes alpha times the sum: its n = 5, k = 2,
    alpha = 1e-4, beta = 0.75 are size=5, k=2, alpha=5e-4, beta=0.75 here.

    Args:
        x: (N, C, ...) with at least one axis of positions.
        size: Channels in the window, the value's own among them; where there are no more channels, fewer.
        alpha: Weight of the mean square.
        beta: Exponent.
        k: Added to the mean square, larger than 0.

    Returns:
        The shape of x.

    Raises:
        UsageError: x has fewer than 3 axes, `size` is not from 1 on, or the divisor may become 0.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks",
        NeurIPS, section 3.3.

    Example:
        >>> local_response_norm([[[3.0], [4.0]]], 2, alpha=2.0, beta=1.0, k=7.0).tolist()
        [[[0.1875], [0.125]]]
    """
    (x,) = floats("local_response_norm", x=x)
    return run(_parsed("local_response_norm", size, alpha, beta, k), x)


def local_response_norm_backward(
    grad_output: Any, x: Any, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """Return dL/dx of `local_response_norm`; arguments as there."""
    function = "local_response_norm_backward"
    (x,) = floats(function, x=x)
    return run_backward(_parsed(function, size, alpha, beta, k), function, grad_output, x).inputs[0]


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """Local response normalisation as an operation of a graph."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    name: ClassVar[str] = "local_response_norm"
    equation: ClassVar[str] = (
        "y[c] = x[c] / d[c]^beta, d[c] = k + alpha / size (sum of x[j]^2 over the channels j near c)"
    )

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        if len(inputs[0]) < 3:
            raise UsageError(
                f"local_response_norm: `x` must have at least 3 axes (N, C, ...), got shape {inputs[0]}. "
                "Add an axis of positions with x[..., None]."
            )
        return inputs[0]

    def window_sums(self, x: Array, *, before: int, after: int) -> Array:
        """Add up at each channel the channels from `before` lower to `after` higher."""
        padded = np.pad(x, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
        total = np.zeros_like(x)
        for offset in range(before + after + 1):
            total += padded[:, offset : offset + x.shape[1]]
        return total

    def divisors(self, x: Array) -> Array:
        """Return d, of which a power divides x."""
        squares = self.window_sums(x * x, before=self.size // 2, after=(self.size - 1) // 2)
        return self.k + self.alpha / self.size * squares

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Divide each value by the power of its divisor."""
        (x,) = inputs
        return x / self.divisors(x) ** self.beta

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient back directly, and through the divisors of the neighbours."""
        (x,) = inputs
        d = self.divisors(x)
        through = self.window_sums(
            grad_output * x * d ** (-self.beta - 1), before=(self.size - 1) // 2, after=self.size // 2
        )
        return Gradients((grad_output * d**-self.beta - 2 * self.alpha * self.beta / self.size * x * through,))

    def neighbours(self, channel: int, channels: int, *, readers: bool = False) -> range:
        """Return the channels in the window of one, or those in whose windows it lies."""
        before, after = self.size // 2, (self.size - 1) // 2
        if readers:
            before, after = after, before
        return range(max(0, channel - before), min(channels, channel + after + 1))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output: the squares of its neighbours, the divisor, the quotient."""
        (x,) = inputs
        n, c, *place = checked(self.name, position, self.output_shape(x.shape))
        fiber = x[(slice(n, n + 1), slice(None), *(slice(i, i + 1) for i in place))]
        values, origin = fiber.reshape(-1), (0,) * len(place)
        near = self.neighbours(c, len(values))
        terms = tuple(Term((float(values[j]), float(values[j])), f"x[{j}]^2") for j in near)
        squares = self.window_sums(fiber * fiber, before=self.size // 2, after=(self.size - 1) // 2)
        total, d = float(squares[(0, c, *origin)]), float(self.divisors(fiber)[(0, c, *origin)])
        value = float(self.forward(fiber)[(0, c, *origin)])
        outside = self.size - len(near)
        return Working(
            title=f"{self.name} at {list(position)}",
            equation=self.equation,
            parts=(
                Line(
                    f"window of {self.size}: channels {near.start} to {near.stop - 1} of {len(values)}"
                    + (f", {outside} more would lie outside and count as 0" if outside else "")
                ),
                Sum("sum of squares", terms, total),
                Line(
                    f"d = {number(self.k)} + {number(self.alpha)} / {self.size} x {number(total)} = {number(d)}, "
                    f"d^{number(self.beta)} = {number(d**self.beta)}"
                ),
                Line(f"y = {number(values[c])} / {number(d**self.beta)} = {number(value)}"),
            ),
            value=value,
        )

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx at one position: the direct term and one for each neighbour whose divisor it is part of."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        n, i, *place = checked(self.name, position, self.output_shape(x.shape))
        one = (slice(n, n + 1), slice(None), *(slice(p, p + 1) for p in place))
        values, deltas = x[one].reshape(-1), grad_output[one].reshape(-1)
        d = self.divisors(x[one]).reshape(-1)
        value = float(self.backward(grad_output[one], x[one]).inputs[0].reshape(-1)[i])
        terms = [Term((float(deltas[i]), float(d[i] ** -self.beta)), f"{named('dL/dy', (i,))} d[{i}]^-beta")]
        for c in self.neighbours(i, len(values), readers=True):
            slope = -2 * self.alpha * self.beta / self.size * float(values[i])
            factors = (slope, float(deltas[c]), float(values[c]), float(d[c] ** (-self.beta - 1)))
            terms.append(Term(factors, f"-2 alpha beta / size x[{i}] dL/dy[{c}] x[{c}] d[{c}]^(-beta-1)"))
        return Working(
            title=f"{self.name}, dL/dx at {list(position)}",
            equation="dL/dx[i] = dL/dy[i] d[i]^-beta - 2 alpha beta / size x[i] (sum of dL/dy[c] x[c] d[c]^(-beta-1))",
            parts=(
                Line(f"its own output, then those of the channels c whose window holds channel {i}"),
                Sum("dL/dx", tuple(terms), value),
            ),
            value=value,
        )

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a square, the additions of the window, scale and shift, the power and the division."""
        return (self.size + 4) * math.prod(inputs[0])


def _parsed(function: str, size: int, alpha: float, beta: float, k: float) -> LocalResponseNorm:
    if not (isinstance(size, int | np.integer) and size >= 1):
        raise UsageError(
            f"{function}: `size` must be a whole number of channels from 1 on, got {size!r}. AlexNet has size=5."
        )
    if not (k > 0 and alpha >= 0):
        raise UsageError(
            f"{function}: `k` must be above 0 and `alpha` at least 0, so that the divisor is never 0, "
            f"got k={k}, alpha={alpha}. Leave them out for k=1, alpha=1e-4."
        )
    return LocalResponseNorm(int(size), alpha=alpha, beta=beta, k=k)
