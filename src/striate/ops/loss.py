r"""Losses of classification: negative log likelihood, and cross-entropy of softmax.

With the targets as a distribution $t$ over the classes, class weights $w$ and smoothing $\varepsilon$,

$$ L_n = -\sum_k q_{nk} \ln p_{nk}, \qquad q_{nk} = w_k \big( (1 - \varepsilon)\, t_{nk} + \varepsilon / K \big), \qquad
   p = \mathrm{softmax}(z) . $$

The logarithm undoes the exponential, which leaves a difference for the gradient:

$$ \frac{\partial L_n}{\partial z_{nk}} = p_{nk} \sum_j q_{nj} - q_{nk} \quad (= p - t \text{ without weights}) . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._arguments import as_classes, check_choice, check_grad_output, check_range
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops._reduction import REDUCTIONS, reduced, spread
from striate.ops.encoding import one_hot
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.softmax import LogSoftmax, Softmax
from striate.ops.working import Grid, Line, Sum, Term, Working, number

__all__ = ["CrossEntropy", "NLLLoss", "cross_entropy", "cross_entropy_backward", "nll_loss", "nll_loss_backward"]

IGNORED = -100  # PyTorch's class index of samples that do not count
MOST_LINES = 8  # samples whose probability is printed before the sum


def cross_entropy(
    logits: Any,
    targets: Any,
    *,
    label_smoothing: float = 0.0,
    weight: Any = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
) -> Array:
    """Measure how far the softmax of scores is from the targets, in nats.

    Args:
        logits: Scores (N, K), (K,) or (N, K, d1, ...).
        targets: Class indices, the shape of `logits` without the axis of classes; or probabilities, of its shape.
        label_smoothing: Share of each target that is spread evenly over the classes, from 0 to below 1.
        weight: Weight of each class (K,).
        ignore_index: Class index of samples that do not count: their loss is 0, and the mean is over the others; where
            none is left, it is nan.
        reduction: ``"mean"`` (of class indices with weights: divided by the sum of the samples' weights), ``"sum"``
            or ``"none"``.

    Raises:
        UsageError: shapes that do not fit, or a class outside 0 to K - 1.

    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.

    Example:
        >>> round(float(cross_entropy([[3.2, 1.3, 0.2, 0.8]], [0])), 4)
        0.2547
    """
    op = _cross_entropy("cross_entropy", label_smoothing, reduction, ignore_index)
    return _apply("cross_entropy", op, logits, targets, weight)


def cross_entropy_backward(
    grad_output: Any,
    logits: Any,
    targets: Any,
    *,
    label_smoothing: float = 0.0,
    weight: Any = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
) -> Array:
    """Return dL/dlogits of `cross_entropy`: p - t, over N for the mean.

    Example:
        >>> cross_entropy_backward(1.0, [[0.0, 0.0]], [1]).tolist()
        [[0.5, -0.5]]
    """
    op = _cross_entropy("cross_entropy_backward", label_smoothing, reduction, ignore_index)
    return _apply_backward("cross_entropy_backward", op, grad_output, logits, targets, weight)


def nll_loss(
    log_probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
) -> Array:
    """Return minus the logarithm of the right class's probability: `cross_entropy` after `log_softmax`.

    Args:
        log_probabilities: (N, K), (K,) or (N, K, d1, ...).
        targets: As for `cross_entropy`.
        weight: Weight of each class (K,).
        ignore_index: As for `cross_entropy`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        UsageError: shapes that do not fit, or a class outside 0 to K - 1.

    Example:
        >>> float(nll_loss([[-0.5, -1.0]], [0]))
        0.5
    """
    check_choice("nll_loss", "reduction", reduction, REDUCTIONS)
    op = NLLLoss(reduction, ignore_index=int(ignore_index))
    return _apply("nll_loss", op, log_probabilities, targets, weight)


def nll_loss_backward(
    grad_output: Any,
    log_probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
) -> Array:
    """Return dL/dlog_probabilities of `nll_loss`: minus the target distribution, over N for the mean."""
    function = "nll_loss_backward"
    check_choice(function, "reduction", reduction, REDUCTIONS)
    op = NLLLoss(reduction, ignore_index=int(ignore_index))
    return _apply_backward(function, op, grad_output, log_probabilities, targets, weight)


def _cross_entropy(function: str, label_smoothing: float, reduction: str, ignore_index: int) -> CrossEntropy:
    check_choice(function, "reduction", reduction, REDUCTIONS)
    check_range(function, "label_smoothing", label_smoothing, above=0, below=1, closed=True)
    return CrossEntropy(reduction, float(label_smoothing), int(ignore_index))


def _arrays(
    function: str, op: NLLLoss, scores: Any, targets: Any, weight: Any
) -> tuple[Array, Array, dict[str, Array]]:
    (scores,) = floats(function, logits=scores)
    parameters = {} if weight is None else {"weight": floats(function, weight=weight)[0]}
    targets = np.asarray(targets)
    op.output_shape(scores.shape, targets.shape, **{name: array.shape for name, array in parameters.items()})
    return scores, targets, parameters


def _apply(function: str, op: NLLLoss, scores: Any, targets: Any, weight: Any) -> Array:
    scores, targets, parameters = _arrays(function, op, scores, targets, weight)
    return op.forward(scores, targets, **parameters)


def _apply_backward(function: str, op: NLLLoss, grad_output: Any, scores: Any, targets: Any, weight: Any) -> Array:
    scores, targets, parameters = _arrays(function, op, scores, targets, weight)
    (grad_output,) = floats(function, grad_output=grad_output)
    check_grad_output(function, grad_output, op.output_shape(scores.shape, targets.shape))
    return op.backward(grad_output, scores, targets, **parameters).inputs[0]


def _class_axis(dims: int) -> int:
    return min(1, dims - 1)


@dataclass(frozen=True)
class NLLLoss(Op):
    """Negative log likelihood: inputs log probabilities y and targets, parameter ``weight`` where there is one."""

    reduction: str = "mean"
    label_smoothing: float = 0.0
    ignore_index: int = IGNORED
    """Class index of samples that do not count; probabilities all count."""
    name: ClassVar[str] = "nll_loss"
    equation: ClassVar[str] = "L = -sum over k of q[k] y[k], q the target distribution"
    gradient_equation: ClassVar[str] = "dL/dy[k] = -c q[k]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return () for a mean or sum, else the shape of the scores without the axis of classes."""
        scores, targets = inputs
        if not scores:
            raise UsageError(f"{self.name}: `logits` must have an axis of classes, got one number. Give (N, K).")
        axis = _class_axis(len(scores))
        num_classes, samples = scores[axis], scores[:axis] + scores[axis + 1 :]
        if targets not in (samples, scores):
            raise UsageError(
                f"{self.name}: `targets` must be class indices {samples} or probabilities {scores}, got {targets}. "
                f"The classes are axis {axis} of logits {scores}."
            )
        if parameters.get("weight", (num_classes,)) != (num_classes,):
            raise UsageError(
                f"{self.name}: `weight` must have one number a class, ({num_classes},), got {parameters['weight']}. "
                "Count the network's outputs."
            )
        return samples if self.reduction == "none" else ()

    def logarithms(self, scores: Array) -> Array:
        """Return the logarithms of the probabilities."""
        return scores

    def class_weights(self, scores: Array, **parameters: Array) -> Array:
        """Return w, shaped so that it multiplies the scores."""
        axis = _class_axis(scores.ndim)
        weights = parameters.get("weight", np.ones(scores.shape[axis], dtype=scores.dtype))
        return weights.reshape(-1, *[1] * (scores.ndim - axis - 1))

    def ignored(self, targets: Array) -> npt.NDArray[np.bool_]:
        """Return which class indices do not count."""
        if targets.dtype.kind not in "iuf":
            return np.zeros(targets.shape, dtype=bool)
        return np.asarray(targets == self.ignore_index)

    def target_weights(self, scores: Array, targets: Array, **parameters: Array) -> tuple[Array, float]:
        """Return q, of the shape of the scores, and what the mean divides by."""
        axis = _class_axis(scores.ndim)
        num_classes, w = scores.shape[axis], self.class_weights(scores, **parameters)
        is_classes = targets.ndim < scores.ndim
        counted: Any = 1
        if is_classes:
            ignored = self.ignored(targets)
            classes = as_classes(self.name, np.where(ignored, 0, targets), num_classes=num_classes)
            counted = 1 - np.expand_dims(ignored, axis).astype(scores.dtype)
            targets = np.moveaxis(one_hot(classes, num_classes=num_classes), -1, axis) * counted
        targets = targets.astype(scores.dtype)
        # PyTorch's mean is over the samples' weights for indices, and over the samples for probabilities.
        divisor = float((w * targets).sum()) if is_classes else scores.size / num_classes
        return w * ((1 - self.label_smoothing) * targets + self.label_smoothing / num_classes) * counted, divisor

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Weigh the logarithms by the targets, sum over the classes, and reduce."""
        scores, targets = inputs
        q, divisor = self.target_weights(scores, targets, **parameters)
        # Where the target is 0 the logarithm does not count, not even minus infinity.
        products = np.multiply(q, self.logarithms(scores), out=np.zeros_like(scores), where=q != 0)
        return reduced(-products.sum(axis=_class_axis(scores.ndim)), divisor, self.reduction)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Return the gradient of the scores, and of the targets where they are probabilities (else zeros)."""
        scores, targets = inputs
        q, divisor = self.target_weights(scores, targets, **parameters)
        # Where no sample counts the mean is nan; its gradient is 0, as in PyTorch.
        scale = spread(grad_output, divisor or 1.0, self.reduction, axis=_class_axis(scores.ndim))
        grad_targets = np.zeros(targets.shape, dtype=scores.dtype)
        if targets.ndim == scores.ndim:
            slope = (1 - self.label_smoothing) * self.class_weights(scores, **parameters)
            grad_targets = -scale * slope * self.logarithms(scores)
        return Gradients((self.grad_scores(-scale * q, scores), grad_targets))

    def grad_scores(self, grad_logarithms: Array, scores: Array) -> Array:
        """Return the gradient of the scores from that of the logarithms."""
        return grad_logarithms

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a product and an addition a score."""
        return 2 * math.prod(inputs[0])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold the loss into one product a sample and class that counts."""
        scores, targets = (np.asarray(array, dtype=np.float64) for array in inputs)
        position = checked(self.name, position, self.output_shape(scores.shape, targets.shape))
        q, divisor = self.target_weights(scores, targets, **parameters)
        axis, logarithms = _class_axis(scores.ndim), self.logarithms(scores)
        counts = q != 0
        if self.reduction == "none":
            here: Any = (*position[:axis], slice(None), *position[axis:])
            counts = np.zeros_like(counts)
            counts[here] = q[here] != 0
        scale = 1 / divisor if self.reduction == "mean" and divisor else 1.0
        cells = [tuple(map(int, cell)) for cell in np.argwhere(counts)]
        terms = [
            Term((scale * float(q[cell]), -float(logarithms[cell])), f"q{list(cell)} (-ln p{list(cell)})")
            for cell in cells
        ]
        value = float(np.asarray(self.forward(scores, targets, **parameters))[position])
        lines = [
            Line(f"p{list(cell)} = {number(np.exp(logarithms[cell]))}, -ln p = {number(-logarithms[cell])}")
            for cell in cells[:MOST_LINES]
        ]
        if self.reduction == "mean":
            lines.append(Line(f"mean: each weight q is divided by {number(divisor)}"))
        if targets.ndim < scores.ndim and (ignored := int(self.ignored(targets).sum())):
            lines.append(Line(f"{ignored} of {targets.size} targets are {self.ignore_index} and do not count"))
        return Working(
            f"{self.name} at {list(position)}", self.equation, (*lines, Sum("L", tuple(terms), value)), value
        )

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one score."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        scores, targets = (np.asarray(array, dtype=np.float64) for array in inputs)
        position = checked(self.name, position, scores.shape)
        q, divisor = self.target_weights(scores, targets, **parameters)
        axis = _class_axis(scores.ndim)
        scale = spread(np.asarray(grad_output, dtype=np.float64), divisor or 1.0, self.reduction, axis=axis)
        c = float(np.broadcast_to(scale, scores.shape)[position])
        value = float(self.backward(grad_output, scores, targets, **parameters).inputs[0][position])
        line: Any = (*position[:axis], slice(None), *position[axis + 1 :])
        terms = self.gradient_terms(c, scores[line], q[line], position[axis])
        parts = (
            Line(f"c = dL/dloss{' / ' + number(divisor) if self.reduction == 'mean' else ''} = {number(c)}"),
            Grid("q of this sample", q[line]),
            Sum("dL/dinput", terms, value),
        )
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, parts, value)

    def gradient_terms(self, c: float, scores: Array, q: Array, k: int) -> tuple[Term, ...]:
        """Return the terms of the gradient of score k of one sample."""
        return (Term((-c, float(q[k])), f"-c q[{k}]"),)


@dataclass(frozen=True)
class CrossEntropy(NLLLoss):
    """Softmax and negative log likelihood in one: inputs logits and targets, parameter ``weight``."""

    name: ClassVar[str] = "cross_entropy"
    equation: ClassVar[str] = "L = -sum over k of q[k] ln p[k], p = softmax(logits)"
    gradient_equation: ClassVar[str] = "dL/dz[k] = c (p[k] sum over j of q[j] - q[k])"

    def logarithms(self, scores: Array) -> Array:
        """Return the logarithms of softmax."""
        return LogSoftmax(_class_axis(scores.ndim)).forward(scores)

    def grad_scores(self, grad_logarithms: Array, scores: Array) -> Array:
        """Take the gradient through softmax's logarithm: p times the sum of q, less q."""
        return LogSoftmax(_class_axis(scores.ndim)).backward(grad_logarithms, scores).inputs[0]

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count softmax's logarithm, a product and an addition a score."""
        return (LogSoftmax.flops_per_value + 2) * math.prod(inputs[0])

    def gradient_terms(self, c: float, scores: Array, q: Array, k: int) -> tuple[Term, ...]:
        """Return c p[k] sum(q) and -c q[k]."""
        share, total = float(Softmax(0).forward(scores)[k]), float(q.sum())
        return (Term((c, share, total), f"c p[{k}] sum(q)"), Term((-c, float(q[k])), f"-c q[{k}]"))
