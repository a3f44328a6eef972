r"""Operations that choose: the smaller or larger of two numbers, one of two by a condition, a number kept in bounds.

The chosen number passes unchanged, so the gradient goes to where it came from:

$$ y = \max(a, b): \; \frac{\partial L}{\partial a} = \delta \big( [a > b] + \tfrac12 [a = b] \big), \qquad
   y = c\, a + (1 - c)\, b: \; \frac{\partial L}{\partial a} = c\, \delta . $$

At a tie there is no slope; the halves are PyTorch's choice, as is the slope of 1 on the bounds of `clamp`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._activation import Activation, apply, apply_backward
from striate.ops._pairwise import Pairwise, apply_pairwise, apply_pairwise_backward
from striate.ops.op import Array, Shape
from striate.ops.working import Line, Term, number

__all__ = [
    "Clamp", "Maximum", "Minimum", "Where", "clamp", "clamp_backward", "maximum", "maximum_backward", "minimum",
    "minimum_backward", "where", "where_backward",
]  # fmt: skip


def maximum(x: Any, other: Any) -> Array:
    """Take the larger of two numbers, place by place, as maxout does; shapes are broadcast.

    Raises:
        UsageError: shapes that do not fit.

    Source: maxout: Goodfellow et al. 2013, arXiv:1302.4389, section 2.

    Example:
        >>> maximum([1, 5], [3, 4]).tolist()
        [3.0, 5.0]
    """
    return apply_pairwise(Maximum(), x, other)


def maximum_backward(grad_output: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `maximum`: all to the larger number, one half to each of two equal ones.

    Example:
        >>> [gradient.tolist() for gradient in maximum_backward([8.0, 8.0], [1.0, 2.0], [3.0, 2.0])]
        [[0.0, 4.0], [8.0, 4.0]]
    """
    return apply_pairwise_backward(Maximum(), grad_output, x, other)


def minimum(x: Any, other: Any) -> Array:
    """Take the smaller of two numbers, place by place; shapes are broadcast."""
    return apply_pairwise(Minimum(), x, other)


def minimum_backward(grad_output: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `minimum`: all to the smaller number, one half to each of two equal ones."""
    return apply_pairwise_backward(Minimum(), grad_output, x, other)


def where(condition: Any, x: Any, other: Any) -> Array:
    """Take the number of `x` where a condition holds, that of `other` elsewhere; shapes are broadcast.

    Args:
        condition: True or False at each place.
        x: Any shape.
        other: Of a shape that fits.

    Raises:
        UsageError: shapes that do not fit, or a condition that holds no truth values.

    Example:
        >>> where([True, False], [1, 2], 0).tolist()
        [1.0, 0.0]
    """
    return apply_pairwise(Where(), x, other, condition=_condition("where", condition))


def where_backward(grad_output: Any, condition: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `where` for `x` and `other`: each gets it where it was taken, 0 elsewhere."""
    chosen = _condition("where_backward", condition)
    return apply_pairwise_backward(Where(), grad_output, x, other, condition=chosen)


def clamp(x: Any, *, min: float | None = None, max: float | None = None) -> Array:
    """Keep numbers within one or two bounds: y = min(max(x, lower), upper).

    Args:
        x: Any shape.
        min: The lower bound; None for none.
        max: The upper bound; None for none. Where it is below `min`, every number becomes `max`, as in PyTorch.

    Raises:
        UsageError: no bound at all.

    Example:
        >>> clamp([-3, 0, 9], min=-1, max=5).tolist(), clamp([-3, 9], max=5).tolist()
        ([-1.0, 0.0, 5.0], [-3.0, 5.0])
    """
    return apply(_clamp("clamp", min, max), x)


def clamp_backward(grad_output: Any, x: Any, *, min: float | None = None, max: float | None = None) -> Array:
    """Return dL/dx of `clamp`: a gate, open from bound to bound and on the bounds themselves.

    `hardtanh` and `relu`, which cut off at the same places, are closed there.
    """
    return apply_backward(_clamp("clamp_backward", min, max), grad_output, x)


def _condition(function: str, condition: Any) -> Array:
    array = np.asarray(condition)
    if array.dtype != np.bool_:
        raise UsageError(
            f"{function}: `condition` must hold True or False at each place, got {array.dtype}. "
            "Compare first: where(x > 0, x, other)."
        )
    return array


def _clamp(function: str, min: float | None, max: float | None) -> Clamp:
    if min is None and max is None:
        raise UsageError(f"{function}: `min` must be a number where max is None, got None. Give one bound or both.")
    return Clamp(None if min is None else float(min), None if max is None else float(max))


class _Extreme(Pairwise):
    """The smaller or the larger number."""

    @abstractmethod
    def loses(self, a: Array, b: Array) -> npt.NDArray[np.bool_]:
        """Return where a is not the one to take."""

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 for the number taken, 0 for the other, 1/2 for both where they are equal."""
        share = np.where(a == b, 0.5, 1.0).astype(np.result_type(a, b, np.float32))
        return np.where(self.loses(a, b), 0, share), np.where(self.loses(b, a), 0, share)

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the number taken."""
        which = int(self.loses(np.asarray(a), np.asarray(b)))
        return (Term(((a, b)[which],), names[which]),)

    def remarks(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Line, ...]:
        """Return both numbers."""
        tie = ", a tie: each gets half of the gradient" if a == b else ""
        return (Line(f"{names[0]} = {number(a)}, {names[1]} = {number(b)}{tie}"),)


@dataclass(frozen=True)
class Maximum(_Extreme):
    """The larger of two numbers."""

    name: ClassVar[str] = "maximum"
    equation: ClassVar[str] = "y = max(x0, x1)"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return max(a, b)."""
        return np.asarray(np.maximum(a, b))

    def loses(self, a: Array, b: Array) -> npt.NDArray[np.bool_]:
        """Return a < b."""
        return np.asarray(a < b)


@dataclass(frozen=True)
class Minimum(_Extreme):
    """The smaller of two numbers."""

    name: ClassVar[str] = "minimum"
    equation: ClassVar[str] = "y = min(x0, x1)"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return min(a, b)."""
        return np.asarray(np.minimum(a, b))

    def loses(self, a: Array, b: Array) -> npt.NDArray[np.bool_]:
        """Return a > b."""
        return np.asarray(a > b)


@dataclass(frozen=True)
class Where(Pairwise):
    """One of two numbers by a condition; parameter ``condition``, for which there is no gradient."""

    name: ClassVar[str] = "where"
    equation: ClassVar[str] = "y = x0 where the condition holds, else x1"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape that all three are brought to."""
        shapes = (*inputs, parameters["condition"])
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise UsageError(
                f"where: `condition` must have a shape that fits x {inputs[0]} and other {inputs[1]}, "
                f"got {parameters['condition']}. Bring all three to one shape, or to lengths of 1."
            ) from None

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a or b."""
        return np.where(parameters["condition"], a, b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 for the number taken, 0 for the other."""
        chosen = parameters["condition"].astype(np.result_type(a, b, np.float32))
        return chosen, 1 - chosen

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the number taken."""
        which = 0 if parameters["condition"] else 1
        return (Term(((a, b)[which],), names[which]),)

    def remarks(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Line, ...]:
        """Say whether the condition holds."""
        word = "holds" if parameters["condition"] else "does not hold"
        return (Line(f"the condition {word}; {names[0]} = {number(a)}, {names[1]} = {number(b)}"),)


@dataclass(frozen=True)
class Clamp(Activation):
    """Numbers kept within bounds."""

    min: float | None = None
    max: float | None = None
    name: ClassVar[str] = "clamp"
    equation: ClassVar[str] = "y = min(max(x, lower), upper)"
    derivative: ClassVar[str] = "y' = 1 if lower <= x <= upper, else 0"

    def value(self, x: Array) -> Array:
        """Return min(max(x, lower), upper)."""
        return np.asarray(np.clip(x, self.min, self.max))

    def slope(self, x: Array) -> Array:
        """Return [lower <= x <= upper]."""
        is_inside = np.ones(np.shape(x), dtype=bool)
        if self.min is not None:
            is_inside &= x >= self.min
        if self.max is not None:
            is_inside &= x <= self.max
        return is_inside.astype(x.dtype)

    def formula(self, x: float) -> str:
        """Write the bounds that there are."""
        text = number(x) if self.min is None else f"max({number(x)}, {number(self.min)})"
        return text if self.max is None else f"min({text}, {number(self.max)})"
