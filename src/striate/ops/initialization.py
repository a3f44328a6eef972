r"""Random starting weights whose spread keeps signals of one size from layer to layer: Glorot's and He's.

An output sums $n_\text{in}$ independent products, so its variance is $n_\text{in}$ times that of one product; a
gradient going back is a sum of $n_\text{out}$. Glorot takes the mean of both demands, He makes up for ReLU, which
silences half of the inputs:

$$ \mathrm{Var}(w) = \frac{2}{n_\text{in} + n_\text{out}} \; \text{(Glorot)}, \qquad
   \mathrm{Var}(w) = \frac{2}{n_\text{in}} \; \text{(He)} . $$

A uniform distribution on $(-a, a)$ has the variance $a^2 / 3$, so $a = \sqrt{3 \mathrm{Var}(w)}$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError

__all__ = ["fans", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform"]

Weights = npt.NDArray[np.float64]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return how many numbers one output sums, and how many outputs one input enters.

    Args:
        shape: Of the weight: (out, in) of a dense layer, (C_out, C_in, kH, kW) of a convolution. With groups,
            C_in is that of one group, and the outputs are counted over all groups, as PyTorch does.

    Returns:
        fan_in and fan_out.

    Raises:
        UsageError: fewer than 2 axes, or an axis without length.

    Example:
        >>> fans((6, 3, 5, 5))
        (75, 150)
    """
    shape = tuple(shape)
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(
            f"fans: `shape` must have 2 axes or more, none of length 0, got {shape}. "
            "Biases have no fans: start them at 0."
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def glorot_uniform(shape: Sequence[int], *, generator: np.random.Generator, gain: float = 1.0) -> Weights:
    """Draw weights evenly from -a to a, a = gain sqrt(6 / (fan_in + fan_out)).

    Args:
        shape: Of the weight, as for `fans`.
        generator: NumPy's, such as numpy.random.default_rng(0).
        gain: Factor of the spread, for what the activation takes away.

    Raises:
        UsageError: a shape without fans.

    Source: Glorot and Bengio 2010, AISTATS, equation 16.

    Example:
        >>> weight = glorot_uniform((100, 200), generator=np.random.default_rng(0))
        >>> bool(abs(weight).max() <= (6 / 300) ** 0.5)
        True
    """
    return _uniform(shape, 2 / sum(fans(shape)), gain, generator)


def glorot_normal(shape: Sequence[int], *, generator: np.random.Generator, gain: float = 1.0) -> Weights:
    """Draw weights from a normal distribution of variance gain^2 2 / (fan_in + fan_out); arguments as above."""
    return _normal(shape, 2 / sum(fans(shape)), gain, generator)


def he_uniform(shape: Sequence[int], *, generator: np.random.Generator, negative_slope: float = 0.0) -> Weights:
    """Draw weights evenly from -a to a, a = sqrt(6 / fan_in), for layers that ReLU follows.

    Args:
        shape: Of the weight, as for `fans`.
        generator: NumPy's.
        negative_slope: Of a Leaky ReLU that follows; the variance is then 2 / ((1 + slope^2) fan_in).

    Raises:
        UsageError: a shape without fans.

    Source: He et al. 2015, arXiv:1502.01852, equations 10 and 15.
    """
    return _uniform(shape, 2 / ((1 + negative_slope**2) * fans(shape)[0]), 1.0, generator)


def he_normal(shape: Sequence[int], *, generator: np.random.Generator, negative_slope: float = 0.0) -> Weights:
    """Draw weights from a normal distribution of variance 2 / fan_in; arguments as for `he_uniform`.

    Example:
        >>> weight = he_normal((500, 400), generator=np.random.default_rng(0))
        >>> round(float(weight.var()) * 400, 1)
        2.0
    """
    return _normal(shape, 2 / ((1 + negative_slope**2) * fans(shape)[0]), 1.0, generator)


def _uniform(shape: Sequence[int], variance: float, gain: float, generator: np.random.Generator) -> Weights:
    bound = gain * math.sqrt(3 * variance)
    return generator.uniform(-bound, bound, size=tuple(shape))


def _normal(shape: Sequence[int], variance: float, gain: float, generator: np.random.Generator) -> Weights:
    return generator.normal(0.0, gain * math.sqrt(variance), size=tuple(shape))
