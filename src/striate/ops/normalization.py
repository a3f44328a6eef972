r"""Batch normalisation: each channel to mean 0 and variance 1, then scaled and shifted by learned numbers.

In training, with m values a channel, $\mu = \frac1m \sum_i x_i$ and $v = \frac1m \sum_i (x_i - \mu)^2$:

$$ \hat x_i = \frac{x_i - \mu}{\sqrt{v + \epsilon}}, \qquad y_i = \gamma\, \hat x_i + \beta . $$

Every value moves the mean and the variance of its channel and so every output; the gradient has a term for each path:

$$ \frac{\partial L}{\partial x_i} = \frac{\gamma}{\sqrt{v + \epsilon}} \Bigl( \delta_i - \frac1m \sum_j \delta_j
   - \hat x_i\, \frac1m \sum_j \delta_j \hat x_j \Bigr), \qquad
   \frac{\partial L}{\partial \gamma} = \sum_i \delta_i \hat x_i, \qquad
   \frac{\partial L}{\partial \beta} = \sum_i \delta_i . $$

In inference mean and variance are given (the running ones), and only the first term is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._calls import run
from striate.ops._normalizing import Normalization, Slices, check_eps, check_parameters, given, gradients_of
from striate.ops.op import Array, Shape

__all__ = ["BatchNorm", "batch_norm", "batch_norm_backward", "batch_statistics", "updated_running_statistics"]


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """Normalise each channel over the batch and all positions: y = weight (x - mean) / sqrt(variance + eps) + bias.

    Nothing is changed in place: `updated_running_statistics` returns the running statistics after a training step.

    Args:
        x: (N, C, ...).
        running_mean: (C,), used in inference; None is allowed in training.
        running_var: (C,), likewise.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        training: Use the mean and the variance of this batch.
        momentum: As in `updated_running_statistics`; y does not depend on it.
        eps: Added to the variance.

    Raises:
        UsageError: shapes do not fit, a channel has one value in training, or no statistics are given in inference.

    Source: Ioffe & Szegedy 2015, "Batch normalization", ICML, algorithms 1 and 2.

    Example:
        >>> batch_norm([[1.0], [3.0]], None, None, [2.0], [5.0], training=True, eps=1e-12).round(6).tolist()
        [[3.0], [7.0]]
        >>> batch_norm([[1.0], [3.0]], [1.0], [4.0], eps=0.0).tolist()
        [[0.0], [1.0]]
    """
    x, parameters = given("batch_norm", x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    check_eps("batch_norm", eps, is_zero_allowed=not training)
    return run(BatchNorm(training=training, eps=eps, momentum=momentum), x, **parameters)


def batch_norm_backward(
    grad_output: Any,
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    *,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `batch_norm` with respect to x, weight and bias; arguments as there.

    Example:
        >>> gradients = batch_norm_backward([[2.0], [6.0]], [[1.0], [3.0]], [1.0], [4.0], eps=0.0)
        >>> [gradient.tolist() for gradient in gradients]
        [[[1.0], [3.0]], [6.0], [8.0]]
    """
    function = "batch_norm_backward"
    x, parameters = given(function, x, running_mean=running_mean, running_var=running_var, weight=weight)
    check_eps(function, eps, is_zero_allowed=not training)
    op = BatchNorm(training=training, eps=eps)
    return gradients_of(op, function, grad_output, x, parameters, shape=x.shape[1:2])


def batch_statistics(x: Any) -> tuple[Array, Array]:
    """Return the mean and the variance of each channel; the variance divides by the number of values.

    Args:
        x: (N, C, ...).

    Returns:
        Mean (C,) and variance (C,).

    Example:
        >>> mean, variance = batch_statistics([[1.0], [3.0]])
        >>> mean.tolist(), variance.tolist()
        ([2.0], [1.0])
    """
    op = BatchNorm(training=True)
    x, _ = given("batch_statistics", x)
    op.output_shape(x.shape)
    mean, variance = op.statistics(op.rows(x))
    return mean[:, 0], variance[:, 0]


def updated_running_statistics(
    x: Any, running_mean: Any, running_var: Any, *, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Return the running mean and variance after a training step on x.

    new = (1 - momentum) old + momentum batch, where the batch's variance is the unbiased one, divided by m - 1: the
    step itself normalises with the one divided by m. PyTorch does the same.

    Args:
        x: (N, C, ...).
        running_mean: (C,).
        running_var: (C,).
        momentum: Share of the batch, from 0 to 1.

    Example:
        >>> mean, variance = updated_running_statistics([[1.0], [3.0]], [0.0], [1.0], momentum=0.1)
        >>> mean.round(6).tolist(), variance.round(6).tolist()
        ([0.2], [1.1])
    """
    function = "updated_running_statistics"
    if not 0 <= momentum <= 1:
        raise UsageError(f"{function}: `momentum` must be from 0 to 1, got {momentum}. Leave it out for 0.1.")
    x, parameters = given(function, x, running_mean=running_mean, running_var=running_var)
    BatchNorm(training=True).output_shape(x.shape, **{name: array.shape for name, array in parameters.items()})
    mean, variance = batch_statistics(x)
    values = x.size // x.shape[1]
    unbiased = variance * (values / (values - 1))
    return (
        (1 - momentum) * parameters["running_mean"] + momentum * mean,
        (1 - momentum) * parameters["running_var"] + momentum * unbiased,
    )


@dataclass(frozen=True)
class BatchNorm(Normalization):
    """Batch normalisation as an operation of a graph.

    Parameters ``running_mean`` and ``running_var`` (needed in inference), ``weight`` and ``bias`` where there are any.
    """

    training: bool = False
    eps: float = 1e-5
    momentum: float = 0.1

    name: ClassVar[str] = "batch_norm"
    equation: ClassVar[str] = "y = weight x_hat + bias, x_hat = (x - mean) / sqrt(variance + eps), by channel"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,) = inputs
        if len(x) < 2:
            raise UsageError(
                f"batch_norm: `x` must have at least 2 axes (N, C, ...), got shape {x}. "
                "Add the batch axis with x[None]."
            )
        check_parameters("batch_norm", x[1:2], "channel", dict(parameters))
        missing = [name for name in ("running_mean", "running_var") if name not in parameters]
        if missing and not self.training:
            raise UsageError(
                f"batch_norm: `{missing[0]}` must be given in inference, got None. "
                "Give the running statistics, or set training=True to use those of the batch."
            )
        if self.training and x[1] and math.prod(x) // x[1] == 1:
            raise UsageError(
                f"batch_norm: `x` must have more than one value a channel in training, got shape {x}: the variance of "
                "one value is 0. Take a larger batch (drop a last one of one sample), or set training=False."
            )
        return x

    def has_own_statistics(self) -> bool:
        """Whether mean and variance are the batch's."""
        return self.training

    def statistics(self, rows: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return mean and variance of each channel as columns: the batch's in training, else the running ones."""
        if self.training:
            return super().statistics(rows)
        return parameters["running_mean"][:, None], parameters["running_var"][:, None]

    def rows(self, x: Array) -> Array:
        """Return (C, all values of a channel)."""
        return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)

    def unrowed(self, rows: Array, shape: Shape) -> Array:
        """Return rows as (N, C, ...)."""
        return np.moveaxis(rows.reshape(shape[1], shape[0], *shape[2:]), 0, 1)

    def lined_up(self, parameter: Array, shape: Shape) -> Array:
        """Return (C, 1, ...)."""
        return parameter.reshape(-1, *(1,) * (len(shape) - 2))

    def members(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the channel, in all samples."""
        return (slice(None), slice(position[1], position[1] + 1), *(slice(None),) * (len(shape) - 2))

    def users(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the channel, in all samples."""
        return self.members((0, *position), shape)
