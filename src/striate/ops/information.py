r"""Entropy and cross-entropy of distributions that are given as they are, in any base: 2 for bits, e for nats.

$$ H(p) = -\sum_i p_i \log_b p_i, \qquad CE(t, p) = -\sum_i t_i \log_b p_i, \qquad
   \frac{\partial CE}{\partial p_i} = -\frac{t_i}{p_i \ln b} . $$

0 log 0 counts as 0, its limit. Of scores take `cross_entropy`, which includes the softmax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_grad_output, check_range
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = [
    "CategoricalCrossEntropy", "Entropy", "binary_entropy", "categorical_cross_entropy",
    "categorical_cross_entropy_backward", "differential_entropy", "entropy", "entropy_backward",
]  # fmt: skip

# Three printed digits each, for ten classes: what texts print must pass, and a misprint in the second digit must not.
ROUNDING = 5e-3


def entropy(p: Any, *, base: float = 2) -> Array:
    """Measure how uncertain a distribution is: H = -sum of p log p, from 0 (certain) to log K (all equal).

    Args:
        p: Probabilities (..., K), none negative, summing to 1 over the last axis.
        base: Of the logarithm: 2 for bits, math.e for nats.

    Returns:
        The shape of p without its last axis.

    Raises:
        UsageError: a negative value, a sum other than 1, or a base that is not above 1.

    Source: Shannon 1948, "A mathematical theory of communication", section 6.

    Example:
        >>> float(entropy([0.5, 0.5]))
        1.0
        >>> round(float(entropy([26 / 30, 4 / 30])), 4)
        0.5665
    """
    (p,) = floats("entropy", p=p)
    op = _entropy("entropy", base)
    op.output_shape(p.shape)
    return op.forward(p)


def entropy_backward(grad_output: Any, p: Any, *, base: float = 2) -> Array:
    """Return dL/dp of `entropy`: -(ln p + 1) / ln base, each p taken as free of the others."""
    grad_output, p = floats("entropy_backward", grad_output=grad_output, p=p)
    op = _entropy("entropy_backward", base)
    check_grad_output("entropy_backward", grad_output, op.output_shape(p.shape))
    return op.backward(grad_output, p).inputs[0]


def binary_entropy(p: Any, *, base: float = 2) -> Array:
    """Measure how uncertain a yes or no is: the entropy of (p, 1 - p), greatest at p = 1/2.

    Args:
        p: Probabilities of "yes", any shape.
        base: Of the logarithm.

    Raises:
        UsageError: a value outside 0 to 1.

    Example:
        >>> binary_entropy([0.0, 0.5, 1.0]).tolist()
        [0.0, 1.0, 0.0]
    """
    (p,) = floats("binary_entropy", p=p)
    outside = p[~((p >= 0) & (p <= 1))]
    if outside.size:
        raise UsageError(
            f"binary_entropy: `p` must be from 0 to 1, got {float(outside[0])}. Divide counts by their sum."
        )
    return entropy(np.stack([p, 1 - p], axis=-1), base=base)


def differential_entropy(density: Any, x: Any, *, base: float = 2) -> float:
    """Measure the entropy of a density from its values at points: -integral of p(x) log p(x) dx, by trapezoids.

    Unlike that of shares, it depends on the unit of x, and is negative where the density is narrow.

    Args:
        density: p at each point (N,).
        x: The points (N,), ascending.
        base: Of the logarithm.

    Raises:
        UsageError: a negative value, points that do not ascend, or an integral other than 1.

    Example:
        >>> differential_entropy([0.25, 0.25, 0.25], [0.0, 2.0, 4.0])
        2.0
    """
    density, x = floats("differential_entropy", density=density, x=x)
    check_range("differential_entropy", "base", base, above=1)
    if density.shape != x.shape or x.ndim != 1 or not (np.diff(x) > 0).all():
        raise UsageError(
            f"differential_entropy: `x` must be one ascending point for each value of the density {density.shape}, "
            f"got {x.shape}. Sort the points and evaluate the density there."
        )
    area = float(np.sum(np.diff(x) * (density[1:] + density[:-1])) / 2)
    if (density < 0).any() or not abs(area - 1) <= ROUNDING:
        raise UsageError(
            f"differential_entropy: `density` must be nowhere negative and have the integral 1, got {area:.6g}. "
            "Take more points, or a wider range."
        )
    heights = density * _logarithms(density, base, where=density)
    return float(-np.sum(np.diff(x) * (heights[1:] + heights[:-1])) / 2)


def categorical_cross_entropy(targets: Any, predictions: Any, *, base: float = 2) -> Array:
    """Measure predictions against targets: CE = -sum of t log p, 0 only where both are certain of the same class.

    Args:
        targets: Distribution t (..., K), one-hot or not, summing to 1 over the last axis.
        predictions: Distribution p of the same shape; p = 0 where t > 0 costs infinity.
        base: Of the logarithm.

    Returns:
        The shape of `targets` without its last axis.

    Raises:
        UsageError: shapes that differ, a negative value, or a sum other than 1.

    Example:
        >>> round(float(categorical_cross_entropy([1, 0, 0, 0], [0.775, 0.116, 0.039, 0.07])), 4)
        0.3677
        >>> float(categorical_cross_entropy([1, 0], [1, 0]))
        0.0
    """
    targets, predictions = floats("categorical_cross_entropy", targets=targets, predictions=predictions)
    op = _categorical("categorical_cross_entropy", base)
    op.output_shape(targets.shape, predictions.shape)
    return op.forward(targets, predictions)


def categorical_cross_entropy_backward(
    grad_output: Any, targets: Any, predictions: Any, *, base: float = 2
) -> tuple[Array, Array]:
    """Return the gradients of `categorical_cross_entropy`: -log p for the targets, -t / (p ln base) for predictions.

    Each p is taken as free of the others; softmax before it brings the sum of 1 into the chain.
    """
    function = "categorical_cross_entropy_backward"
    grad_output, targets, predictions = floats(
        function, grad_output=grad_output, targets=targets, predictions=predictions
    )
    op = _categorical(function, base)
    check_grad_output(function, grad_output, op.output_shape(targets.shape, predictions.shape))
    grad_targets, grad_predictions = op.backward(grad_output, targets, predictions).inputs
    return grad_targets, grad_predictions


def _entropy(function: str, base: float) -> Entropy:
    check_range(function, "base", base, above=1)
    return Entropy(float(base))


def _categorical(function: str, base: float) -> CategoricalCrossEntropy:
    check_range(function, "base", base, above=1)
    return CategoricalCrossEntropy(float(base))


def _check_distribution(function: str, argument: str, p: Array) -> None:
    if not (p >= 0).all():
        raise UsageError(
            f"{function}: `{argument}` must hold no negative number, got {float(p[~(p >= 0)][0])}. "
            "Apply softmax to scores first."
        )
    totals = p.sum(axis=-1)
    wrong = totals[~(np.abs(totals - 1) <= ROUNDING)]
    if wrong.size:
        raise UsageError(
            f"{function}: `{argument}` must sum to 1 over the last axis, got {float(wrong[0]):.6g}. "
            "Divide counts by their sum, or apply softmax to scores."
        )


def _logarithms(p: Array, base: float, *, where: Array) -> Array:
    """Return log p; 0 where `where` is 0, minus infinity where p alone is."""
    with np.errstate(divide="ignore"):
        natural = np.log(p, out=np.zeros_like(p), where=where > 0)
    return np.asarray(natural / math.log(base), dtype=p.dtype)


@dataclass(frozen=True)
class Entropy(Op):
    """Entropy over the last axis."""

    base: float = 2.0
    name: ClassVar[str] = "entropy"
    equation: ClassVar[str] = "H = -sum over i of p[i] log p[i]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape without the last axis."""
        if not inputs[0]:
            raise UsageError("entropy: `p` must have an axis of classes, got one number. Use binary_entropy.")
        return inputs[0][:-1]

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute -sum of p log p."""
        (p,) = inputs
        _check_distribution(self.name, "p", p)
        # + 0.0 turns the -0.0 of a certain distribution into 0.
        return np.asarray(-(p * _logarithms(p, self.base, where=p)).sum(axis=-1) + 0.0)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by -(ln p + 1) / ln base, infinite where p = 0."""
        (p,) = inputs
        slope = -(_logarithms(p, self.base, where=np.ones_like(p)) + 1 / math.log(self.base))
        return Gradients((grad_output[..., None] * slope,))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a logarithm, a product and an addition a value."""
        return 3 * math.prod(inputs[0])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one entropy into its terms."""
        position = checked(self.name, position, inputs[0].shape[:-1])
        p = np.asarray(inputs[0][position], dtype=np.float64)
        return _working(self.name, position, self.equation, self.base, (p, p, "p"), float(self.forward(p)))

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one probability."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        position = checked(self.name, position, inputs[0].shape)
        g, p = float(grad_output[position[:-1]]), np.asarray(inputs[0][position], dtype=np.float64)
        value = float(self.backward(np.asarray(g), p[None]).inputs[0][0])
        logarithm = float(_logarithms(p, self.base, where=np.ones_like(p)))
        terms = (Term((-g, logarithm), "-dL/dH log p"), Term((-g, 1 / math.log(self.base)), "-dL/dH / ln base"))
        parts = (Line(f"p{list(position)} = {number(p)}, base {number(self.base)}"), Sum("dL/dp", terms, value))
        return Working(
            f"entropy, dL/dinput at {list(position)}", "dL/dp[i] = -dL/dH (log p[i] + 1 / ln base)", parts, value
        )


@dataclass(frozen=True)
class CategoricalCrossEntropy(Op):
    """Cross-entropy over the last axis; inputs: targets, predictions."""

    base: float = 2.0
    name: ClassVar[str] = "categorical_cross_entropy"
    equation: ClassVar[str] = "CE = -sum over i of t[i] log p[i]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape without the last axis."""
        targets, predictions = inputs
        if targets != predictions or not targets:
            raise UsageError(
                f"categorical_cross_entropy: `targets` must have the shape of the predictions {predictions}, an axis "
                f"of classes last, got {targets}. Turn class indices into rows with one_hot."
            )
        return targets[:-1]

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute -sum of t log p over the classes with t > 0."""
        targets, predictions = inputs
        _check_distribution(self.name, "targets", targets)
        _check_distribution(self.name, "predictions", predictions)
        return np.asarray(-(targets * _logarithms(predictions, self.base, where=targets)).sum(axis=-1) + 0.0)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Return -log p for the targets and -t / (p ln base) for the predictions."""
        targets, predictions = inputs
        g = grad_output[..., None]
        with np.errstate(divide="ignore"):
            slope = np.divide(targets, predictions, out=np.zeros_like(predictions), where=targets > 0)
        everywhere = np.ones_like(targets)
        grad_targets = -g * _logarithms(predictions, self.base, where=everywhere)
        return Gradients((grad_targets, -g * slope / math.log(self.base)))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a logarithm, a product and an addition a value."""
        return 3 * math.prod(inputs[0])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one cross-entropy into its terms."""
        position = checked(self.name, position, inputs[0].shape[:-1])
        targets, predictions = (np.asarray(array[position], dtype=np.float64) for array in inputs)
        value = float(self.forward(targets, predictions))
        return _working(self.name, position, self.equation, self.base, (targets, predictions, "t"), value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one prediction (``input1``)."""
        if of != "input1":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        position = checked(self.name, position, inputs[0].shape)
        g = float(grad_output[position[:-1]])
        t, p = (np.asarray(array[position], dtype=np.float64) for array in inputs)
        value = float(self.backward(np.asarray(g), t[None], p[None]).inputs[1][0])
        factors = (-g, float(t), 1 / float(p) if p > 0 else math.inf, 1 / math.log(self.base)) if t > 0 else (0.0,)
        parts = (
            Line(f"t = {number(t)}, p = {number(p)}, ln {number(self.base)} = {number(math.log(self.base))}"),
            Sum("dL/dp", (Term(factors, "-dL/dCE t / p / ln base"),), value),
        )
        title = f"categorical_cross_entropy, dL/dinput1 at {list(position)}"
        return Working(title, "dL/dp[i] = -dL/dCE t[i] / (p[i] ln base)", parts, value)


def _working(
    name: str, position: tuple[int, ...], equation: str, base: float, factors: tuple[Array, Array, str], value: float
) -> Working:
    """Return the working of a sum of weight times -log p over the classes whose weight is not 0."""
    weights, p, letter = factors
    logarithms = _logarithms(p, base, where=weights)
    counting = [i for i, weight in enumerate(weights) if weight > 0]
    terms = tuple(Term((float(weights[i]), -float(logarithms[i])), f"{letter}[{i}] (-log p[{i}])") for i in counting)
    lines = [
        Line(f"-log p[{i}] = -log({number(p[i])}) = {number(-logarithms[i])}, base {number(base)}")
        for i in counting[:8]
    ]
    left_out = len(weights) - len(counting)
    if left_out:
        lines.append(Line(f"{left_out} of {len(weights)} terms have the weight 0 and count 0"))
    return Working(f"{name} at {list(position)}", equation, (*lines, Sum("total", terms, value)), value)
