r"""Dropout: in training each value is silenced with probability p, and the others grow by 1 / (1 - p).

$$ y_i = \frac{m_i}{1 - p}\, x_i, \qquad \frac{\partial L}{\partial x_i} = \frac{m_i}{1 - p}\,
   \frac{\partial L}{\partial y_i}, \qquad m_i = 0 \text{ with probability } p, \text{ else } 1 . $$

The factor keeps the expectation, $E[y_i] = x_i$, so that inference has nothing to do. What was silenced gets no
gradient.

The mask is a hash of the seed and of each value's index: no generator with a state, so the same seed gives the same
mask on every machine. The hash is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
generators", OOPSLA).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._calls import run, run_backward
from striate.ops._forms import floats
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["Dropout", "dropout", "dropout_backward", "dropout_mask"]

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, odd: the step of SplitMix64
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)


def dropout(
    x: Any,
    *,
    p: float = 0.5,
    mask: Any = None,
    training: bool = True,
    seed: int = 0,
    whole_channels: bool = False,
) -> Array:
    """Silence values at random and scale up the rest: y = mask x / (1 - p); in inference y = x.

    Args:
        x: (...), or (N, C, ...) with `whole_channels`.
        p: Probability that a value is silenced, from 0 to 1.
        mask: 1 for what stays and 0 for what is silenced, of a shape that spreads over x; None draws it from `seed`.
        training: False returns x.
        seed: Any whole number. Another one for each layer and step gives independent masks.
        whole_channels: Silence channels of a sample as a whole, as PyTorch's `dropout2d`.

    Returns:
        The shape of x.

    Raises:
        UsageError: p is no probability, or the mask does not fit.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014, "Dropout", JMLR 15, section 4; whole
        channels: Tompson et al. 2015, "Efficient object localization using convolutional networks", CVPR, section 3.2.

    Example:
        >>> dropout([1.0, 2.0, 3.0], p=0.5, mask=[1, 0, 1]).tolist()
        [2.0, 0.0, 6.0]
    """
    x, parameters = _given("dropout", x, mask)
    return run(_parsed("dropout", p, training, seed, whole_channels), x, **parameters)


def dropout_backward(
    grad_output: Any,
    x: Any,
    *,
    p: float = 0.5,
    mask: Any = None,
    training: bool = True,
    seed: int = 0,
    whole_channels: bool = False,
) -> Array:
    """Return dL/dx of `dropout`: the gradient through the same mask; arguments as there. Of `x` only the shape matters.

    Example:
        >>> dropout_backward([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], p=0.5, mask=[1, 0, 1]).tolist()
        [2.0, 0.0, 2.0]
    """
    x, parameters = _given("dropout_backward", x, mask)
    op = _parsed("dropout_backward", p, training, seed, whole_channels)
    return run_backward(op, "dropout_backward", grad_output, x, **parameters).inputs[0]


def dropout_mask(shape: Shape, *, p: float = 0.5, seed: int = 0, whole_channels: bool = False) -> npt.NDArray[np.bool_]:
    """Draw a mask: True with probability 1 - p, from a hash of the seed and each value's row-major index.

    Args:
        shape: Of x.
        p: Probability of False, from 0 to 1.
        seed: Any whole number, taken modulo 2^64.
        whole_channels: One draw for each (sample, channel); the mask is then (N, C, 1, ...).

    Example:
        >>> dropout_mask((8,), p=0.5, seed=1).astype(int).tolist()
        [0, 1, 0, 1, 0, 1, 1, 0]
    """
    op = _parsed("dropout_mask", p, True, seed, whole_channels)
    return op.drawn(shape) >= p


@dataclass(frozen=True)
class Dropout(Op):
    """Dropout as an operation of a graph: parameter ``mask`` where it is given."""

    p: float = 0.5
    training: bool = True
    seed: int = 0
    whole_channels: bool = False

    name: ClassVar[str] = "dropout"
    equation: ClassVar[str] = "y = mask x / (1 - p) in training, y = x in inference"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,) = inputs
        if self.whole_channels and len(x) < 3:
            raise UsageError(
                f"dropout: `x` must have at least 3 axes (N, C, ...) with whole_channels, got shape {x}. "
                "Set whole_channels=False to silence single values."
            )
        mask = parameters.get("mask", ())
        ends = x[len(x) - len(mask) :]
        if len(mask) > len(x) or any(m not in (1, length) for m, length in zip(mask, ends, strict=True)):
            raise UsageError(
                f"dropout: `mask` must have the shape of x, {x}, or 1 along some axes, got {mask}. "
                "Give one number for each value of x, or for each channel (N, C, 1, 1)."
            )
        return x

    def drawn(self, shape: Shape) -> npt.NDArray[np.float64]:
        """Draw a number from [0, 1) for each value, or for each channel."""
        shape = (*shape[:2], *(1,) * (len(shape) - 2)) if self.whole_channels else shape
        return _uniform(math.prod(shape), seed=self.seed).reshape(shape)

    def factors(self, x: Array, **parameters: Array) -> Array:
        """Return what multiplies each value, in a shape that spreads over x."""
        if not self.training:
            return np.ones((), dtype=x.dtype)
        mask = parameters["mask"] if "mask" in parameters else self.drawn(x.shape) >= self.p
        scale = 1.0 / (1.0 - self.p) if self.p < 1 else 0.0  # with p = 1 nothing stays, whatever the mask says
        scaled: Array = mask.astype(x.dtype) * x.dtype.type(scale)
        return scaled

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Silence values, and scale up the rest."""
        (x,) = inputs
        return x * self.factors(x, **parameters)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send the gradient through the same mask."""
        return Gradients((grad_output * self.factors(inputs[0], **parameters),))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output: the number drawn, the mask, the scale."""
        (x,) = inputs
        place = checked(self.name, position, self.output_shape(x.shape))
        value = float(self.forward(x, **parameters)[place])
        return Working(
            title=f"{self.name} at {list(position)}",
            equation=self.equation,
            parts=(
                self._draw_line(place, x, **parameters),
                Sum("y", (self._term(named("x", place), x, place, x, **parameters),), value),
            ),
            value=value,
        )

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx at one position."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        place = checked(self.name, position, self.output_shape(x.shape))
        value = float(self.backward(grad_output, x, **parameters).inputs[0][place])
        return Working(
            title=f"{self.name}, dL/dx at {list(position)}",
            equation="dL/dx = dL/dy mask / (1 - p) in training, dL/dx = dL/dy in inference",
            parts=(
                self._draw_line(place, x, **parameters),
                Sum("dL/dx", (self._term(named("dL/dy", place), grad_output, place, x, **parameters),), value),
            ),
            value=value,
        )

    def _draw_line(self, place: tuple[int, ...], x: Array, **parameters: Array) -> Line:
        if not self.training:
            return Line("inference: nothing is silenced")
        stays = float(np.broadcast_to(self.factors(x, **parameters), x.shape)[place]) != 0
        word = "it stays" if stays else "it is silenced"
        if "mask" in parameters:
            return Line(f"the mask is given: {word}; 1 / (1 - p) = {self._scale_text()}")
        drawn = number(np.broadcast_to(self.drawn(x.shape), x.shape)[place])
        sign = ">=" if stays else "<"
        return Line(
            f"drawn with seed {self.seed}: {drawn} {sign} p = {number(self.p)}, so {word}; {self._scale_text()}"
        )

    def _scale_text(self) -> str:
        return "nothing stays with p = 1" if self.p == 1 else f"1 / (1 - p) = {number(1 / (1 - self.p))}"

    def _term(self, letter: str, values: Array, place: tuple[int, ...], x: Array, **parameters: Array) -> Term:
        factor = float(np.broadcast_to(self.factors(x, **parameters), x.shape)[place])
        return Term((factor, float(values[place])), f"mask / (1 - p) {letter}")

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiplication a value in training, nothing in inference."""
        return math.prod(inputs[0]) if self.training else 0


def _given(function: str, x: Any, mask: Any) -> tuple[Array, dict[str, Array]]:
    (x,) = floats(function, x=x)
    if mask is None:
        return x, {}
    (mask,) = floats(function, mask=mask)
    if not np.isin(mask, (0, 1)).all():
        raise UsageError(
            f"{function}: `mask` must hold 0 and 1 only, got values from {number(mask.min())} to {number(mask.max())}. "
            "Give 1 for what stays; the scale 1 / (1 - p) is applied here."
        )
    return x, {"mask": mask}


def _parsed(function: str, p: float, training: bool, seed: int, whole_channels: bool) -> Dropout:
    if not 0 <= p <= 1:
        raise UsageError(f"{function}: `p` must be a probability from 0 to 1, got {p}. Write p=0.5 to silence half.")
    if not isinstance(seed, int | np.integer):
        raise UsageError(f"{function}: `seed` must be a whole number, got {seed!r}. Write seed=0.")
    return Dropout(p=float(p), training=training, seed=int(seed), whole_channels=whole_channels)


def _uniform(count: int, *, seed: int) -> npt.NDArray[np.float64]:
    """Draw numbers in [0, 1), 53 random bits each; a longer draw begins with the numbers of a shorter one."""
    key = _mixed(np.array([seed % 2**64], dtype=np.uint64) + np.uint64(GOLDEN))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return (_mixed(key + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Turn each word into another one, one to one, so that every input bit reaches every output bit.

    Arrays only: NumPy wraps array products silently modulo 2^64, which is meant, and warns on scalars.
    """
    first, second, third = (np.uint64(shift) for shift in SHIFTS)
    words = (words ^ (words >> first)) * np.uint64(MULTIPLIERS[0])
    words = (words ^ (words >> second)) * np.uint64(MULTIPLIERS[1])
    return words ^ (words >> third)
