r"""Softmax, its logarithm, and plain normalisation for contrast: scores become shares that sum to 1.

$$ p_i = \frac{e^{x_i}}{\sum_j e^{x_j}}, \qquad \frac{\partial p_i}{\partial x_k} = p_i ([i = k] - p_k), \qquad
   \frac{\partial L}{\partial x_k} = p_k \Big( \delta_k - \sum_i \delta_i p_i \Big) $$

with $\delta = \partial L / \partial p$. Subtracting the largest score first changes nothing, because
$e^{x_i - m} = e^{x_i} e^{-m}$ and $e^{-m}$ cancels, but no exponential then exceeds 1.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._activation import with_sign
from striate.ops._arguments import axis_of, check_axis, check_grad_output
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working, number

__all__ = [
    "LogSoftmax", "Normalize", "Softmax", "log_softmax", "log_softmax_backward", "normalize", "normalize_backward",
    "softmax", "softmax_backward",
]  # fmt: skip


def softmax(x: Any, *, axis: int = -1) -> Array:
    """Turn scores into probabilities: p[i] = exp(x[i]) / sum over j of exp(x[j]).

    Args:
        x: Scores (logits), any shape.
        axis: The axis of the classes.

    Raises:
        UsageError: there is no such axis.

    Source: Bridle 1990, NeurIPS 2, "Training stochastic model recognition algorithms as networks".

    Example:
        >>> softmax([3.2, 1.3, 0.2, 0.8]).round(3).tolist()
        [0.775, 0.116, 0.039, 0.07]
        >>> softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    return _apply(Softmax, x, axis)


def softmax_backward(grad_output: Any, x: Any, *, axis: int = -1) -> Array:
    """Return dL/dx of `softmax`: p[k] (g[k] - sum over i of g[i] p[i]), g = dL/dp.

    Example:
        >>> softmax_backward([1.0, 0.0], [0.0, 0.0]).tolist()
        [0.25, -0.25]
    """
    return _apply_backward(Softmax, grad_output, x, axis)


def log_softmax(x: Any, *, axis: int = -1) -> Array:
    """Return the logarithm of softmax without computing softmax: x[i] - ln(sum over j of exp(x[j])).

    Example:
        >>> log_softmax([0.0, -1000.0]).tolist()
        [0.0, -1000.0]
    """
    return _apply(LogSoftmax, x, axis)


def log_softmax_backward(grad_output: Any, x: Any, *, axis: int = -1) -> Array:
    """Return dL/dx of `log_softmax`: g[k] - p[k] times the sum of g."""
    return _apply_backward(LogSoftmax, grad_output, x, axis)


def normalize(x: Any, *, axis: int = -1) -> Array:
    """Divide by the sum: y[i] = x[i] / sum over j of x[j].

    Here for contrast with softmax: doubling all scores changes nothing, negative ones give negative "probabilities".

    Raises:
        UsageError: values that sum to 0.

    Example:
        >>> normalize([2.0, 4.0]).round(3).tolist(), normalize([4.0, 8.0]).round(3).tolist()
        ([0.333, 0.667], [0.333, 0.667])
        >>> normalize([-1.0, 3.0]).tolist()
        [-0.5, 1.5]
    """
    return _apply(Normalize, x, axis)


def normalize_backward(grad_output: Any, x: Any, *, axis: int = -1) -> Array:
    """Return dL/dx of `normalize`: (g[k] - sum over i of g[i] y[i]) / sum over j of x[j]."""
    return _apply_backward(Normalize, grad_output, x, axis)


def _apply(kind: type[_AlongAxis], x: Any, axis: int) -> Array:
    (x,) = floats(kind.name, x=x)
    op = kind(axis_of(kind.name, axis, dims=x.ndim))
    op.output_shape(x.shape)
    return op.forward(x)


def _apply_backward(kind: type[_AlongAxis], grad_output: Any, x: Any, axis: int) -> Array:
    function = f"{kind.name}_backward"
    grad_output, x = floats(function, grad_output=grad_output, x=x)
    op = kind(axis_of(function, axis, dims=x.ndim))
    check_grad_output(function, grad_output, op.output_shape(x.shape))
    return op.backward(grad_output, x).inputs[0]


@dataclass(frozen=True)
class _AlongAxis(Op):
    """Each output depends on all inputs along one axis."""

    axis: int
    """Counted from the front."""
    flops_per_value: ClassVar[int]
    gradient_equation: ClassVar[str]

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        check_axis(self.name, self.axis, shape=inputs[0])
        return inputs[0]

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the arithmetic steps: a fixed number a value."""
        return self.flops_per_value * int(np.prod(inputs[0]))

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position along the axis of the classes, the same position along the others."""
        return np.arange(size, dtype=np.int64) if axis + 2 == self.axis else positions

    @abstractmethod
    def jacobian_column(self, x: Array, k: int) -> list[Term]:
        """Return dy[i]/dx[k] of one line of values, for each i."""

    @abstractmethod
    def parts(self, x: Array, i: int, value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the working of output i of one line of values."""

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into the terms along the axis and the quotient or difference."""
        position = checked(self.name, position, inputs[0].shape)
        x, i = _line(inputs[0], position, self.axis), position[self.axis]
        value = float(type(self)(0).forward(x)[i])
        values = Grid(f"x along axis {self.axis}, index {i} marked", x, (slice(0, 1), slice(i, i + 1)))
        parts = (values, *self.parts(x, i, value))
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx at one position into a column of the Jacobian times dL/dy."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        position = checked(self.name, position, inputs[0].shape)
        x, k = _line(inputs[0], position, self.axis), position[self.axis]
        gradient = _line(grad_output, position, self.axis)
        value = float(type(self)(0).backward(gradient, x).inputs[0][k])
        terms = [
            Term((float(g), *term.factors), f"dL/dy[{i}] {term.where}")
            for i, (g, term) in enumerate(zip(gradient, self.jacobian_column(x, k), strict=True))
        ]
        outputs = Grid("y along the axis", type(self)(0).forward(x))
        parts = (outputs, Sum(f"dL/dx[{k}]", tuple(terms), value))
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, parts, value)


def _line(x: Array, position: tuple[int, ...], axis: int) -> Array:
    """Return the values along one axis through a position, in float64."""
    index: Any = (*position[:axis], slice(None), *position[axis + 1 :])
    return np.asarray(x[index], dtype=np.float64)


def _sum_of_exponentials(x: Array) -> Sum:
    exponentials = np.exp(x - x.max())
    terms = tuple(Term((float(e),), f"exp(x[{j}] - max)") for j, e in enumerate(exponentials))
    return Sum("sum of exp(x - max)", terms, float(exponentials.sum()))


class Softmax(_AlongAxis):
    """Scores as probabilities."""

    name: ClassVar[str] = "softmax"
    equation: ClassVar[str] = "p[i] = exp(x[i] - max) / sum over j of exp(x[j] - max)"
    gradient_equation: ClassVar[str] = "dL/dx[k] = sum over i of dL/dp[i] p[i] ([i = k] - p[k])"
    flops_per_value: ClassVar[int] = 5

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the exponentials of the scores below the largest, over their sum."""
        (x,) = inputs
        exponentials = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=self.axis, keepdims=True))

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the Jacobian diag(p) - p p^T, without forming it."""
        p = self.forward(*inputs)
        mean = (grad_output * p).sum(axis=self.axis, keepdims=True)
        return Gradients((p * (grad_output - mean),))

    def jacobian_column(self, x: Array, k: int) -> list[Term]:
        """Return p[i] ([i = k] - p[k]) for each i."""
        p = Softmax(0).forward(x).tolist()
        return [Term((share, (i == k) - p[k]), f"p[{i}] ({int(i == k)} - p[{k}])") for i, share in enumerate(p)]

    def parts(self, x: Array, i: int, value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the largest score, the exponentials, their sum and the quotient."""
        exponential, total = float(np.exp(x[i] - x.max())), _sum_of_exponentials(x)
        quotient = f"{number(exponential)} / {number(total.value)}"
        return (
            Line(f"max = {number(x.max())}, subtracted so that no exponential overflows"),
            total,
            Line(f"exp({with_sign(float(x[i]))} - {with_sign(float(x.max()))}) = {number(exponential)}"),
            Line(f"p[{i}] = {quotient} = {number(value)}"),
        )


class LogSoftmax(_AlongAxis):
    """Logarithms of the probabilities."""

    name: ClassVar[str] = "log_softmax"
    equation: ClassVar[str] = "y[i] = x[i] - max - ln(sum over j of exp(x[j] - max))"
    gradient_equation: ClassVar[str] = "dL/dx[k] = sum over i of dL/dy[i] ([i = k] - p[k]), p = softmax(x)"
    flops_per_value: ClassVar[int] = 5

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the scores below the largest, less the logarithm of the sum of their exponentials."""
        (x,) = inputs
        below = x - x.max(axis=self.axis, keepdims=True)
        return np.asarray(below - np.log(np.exp(below).sum(axis=self.axis, keepdims=True)))

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Subtract from each gradient the share p of the gradients' sum."""
        p = Softmax(self.axis).forward(*inputs)
        return Gradients((grad_output - p * grad_output.sum(axis=self.axis, keepdims=True),))

    def jacobian_column(self, x: Array, k: int) -> list[Term]:
        """Return [i = k] - p[k] for each i."""
        share = float(Softmax(0).forward(x)[k])
        return [Term(((i == k) - share,), f"({int(i == k)} - p[{k}])") for i in range(len(x))]

    def parts(self, x: Array, i: int, value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the sum of the exponentials, its logarithm and the difference."""
        total = _sum_of_exponentials(x)
        logarithm = float(np.log(total.value))
        pieces = ((x[i], f"x[{i}]"), (-x.max(), "-max"), (-logarithm, "-ln(sum)"))
        return (
            Line(f"max = {number(x.max())}"),
            total,
            Line(f"ln({number(total.value)}) = {number(logarithm)}"),
            Sum(f"y[{i}]", tuple(Term((float(piece),), where) for piece, where in pieces), value),
        )


class Normalize(_AlongAxis):
    """Shares of the sum."""

    name: ClassVar[str] = "normalize"
    equation: ClassVar[str] = "y[i] = x[i] / sum over j of x[j]"
    gradient_equation: ClassVar[str] = "dL/dx[k] = sum over i of dL/dy[i] ([i = k] - y[i]) / sum of x"
    flops_per_value: ClassVar[int] = 2

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Divide by the sum.

        Raises:
            UsageError: the sum is 0, or all that is left of it is rounding.
        """
        (x,) = inputs
        return np.asarray(x / self.total(x))

    def total(self, x: Array) -> Array:
        """Return the sum along the axis, which must not be 0."""
        total = x.sum(axis=self.axis, keepdims=True)
        if (np.abs(total) <= 4 * np.finfo(x.dtype).eps * np.abs(x).sum(axis=self.axis, keepdims=True)).any():
            raise UsageError(
                "normalize: `x` must not sum to 0 along the axis, got values that do. "
                "Use softmax, which is defined for all scores."
            )
        return np.asarray(total)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Apply the quotient rule."""
        (x,) = inputs
        total = self.total(x)
        mean = (grad_output * x).sum(axis=self.axis, keepdims=True) / total
        return Gradients(((grad_output - mean) / total,))

    def jacobian_column(self, x: Array, k: int) -> list[Term]:
        """Return ([i = k] - y[i]) / sum for each i."""
        total, values = float(x.sum()), x.tolist()
        return [
            Term(((i == k) - v / total, 1 / total), f"({int(i == k)} - y[{i}]) / sum") for i, v in enumerate(values)
        ]

    def parts(self, x: Array, i: int, value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the sum and the quotient."""
        total = float(x.sum())
        terms = tuple(Term((float(v),), f"x[{j}]") for j, v in enumerate(x))
        quotient = f"{with_sign(float(x[i]))} / {with_sign(total)}"
        return (Sum("sum", terms, total), Line(f"y[{i}] = {quotient} = {number(value)}"))
