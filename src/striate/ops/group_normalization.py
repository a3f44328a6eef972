r"""Layer, group and instance normalisation: mean and variance of one sample, so that the batch plays no part.

$$ \hat x_i = \frac{x_i - \mu}{\sqrt{v + \epsilon}}, \qquad y_i = \gamma_i\, \hat x_i + \beta_i $$

They differ in which values share $\mu$ and $v$: layer, the last axes of a sample; group, a group of its channels;
instance, one channel. The gradient is that of batch normalisation with $g_i = \gamma_i\, \partial L / \partial y_i$,
because $\gamma$ may differ within a group:

$$ \frac{\partial L}{\partial x_i} = \frac{1}{\sqrt{v + \epsilon}} \Bigl( g_i - \frac1m \sum_j g_j
   - \hat x_i\, \frac1m \sum_j g_j \hat x_j \Bigr) . $$

Training and inference are the same computation.
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

__all__ = [
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
]


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Array:
    """Normalise over the last axes: y = weight (x - mean) / sqrt(variance + eps) + bias.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: Lengths of the last axes, one number for the last alone.
        weight: Of `normalized_shape`, or None for 1.
        bias: Of `normalized_shape`, or None for 0.
        eps: Added to the variance.

    Returns:
        The shape of x.

    Raises:
        UsageError: the last axes of x are others.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", arXiv:1607.06450, section 3.

    Example:
        >>> layer_norm([[1.0, 3.0], [10.0, 30.0]], 2).round(4).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]
    """
    x, parameters = given("layer_norm", x, weight=weight, bias=bias)
    return run(_layer("layer_norm", normalized_shape, eps), x, **parameters)


def layer_norm_backward(
    grad_output: Any, x: Any, normalized_shape: Any, weight: Any = None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients of `layer_norm` with respect to x, weight and bias; arguments as there."""
    function = "layer_norm_backward"
    x, parameters = given(function, x, weight=weight)
    op = _layer(function, normalized_shape, eps)
    return gradients_of(op, function, grad_output, x, parameters, shape=op.normalized_shape)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Array:
    """Normalise each sample over groups of channels: y = weight (x - mean) / sqrt(variance + eps) + bias.

    Args:
        x: (N, C, ...).
        num_groups: Groups; neighbouring channels form one.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        eps: Added to the variance.

    Returns:
        The shape of x.

    Raises:
        UsageError: the channels cannot be divided into groups of equal size.

    Source: Wu & He 2018, "Group normalization", ECCV, section 3.1.

    Example:
        >>> group_norm([[[1.0], [3.0], [10.0], [30.0]]], 2).round(4).tolist()
        [[[-1.0], [1.0], [-1.0], [1.0]]]
    """
    x, parameters = given("group_norm", x, weight=weight, bias=bias)
    return run(_group("group_norm", num_groups, eps), x, **parameters)


def group_norm_backward(
    grad_output: Any, x: Any, num_groups: int, weight: Any = None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients of `group_norm` with respect to x, weight and bias; arguments as there."""
    function = "group_norm_backward"
    x, parameters = given(function, x, weight=weight)
    return gradients_of(_group(function, num_groups, eps), function, grad_output, x, parameters, shape=x.shape[1:2])


def instance_norm(x: Any, *, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """Normalise each channel of each sample: group normalisation with one channel a group.

    With running statistics in inference it is `batch_norm`.

    Args:
        x: (N, C, ...) with more than one position.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        eps: Added to the variance.

    Raises:
        UsageError: a channel has one value.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization", arXiv:1607.08022, section 2.

    Example:
        >>> instance_norm([[[1.0, 3.0], [10.0, 30.0]]]).round(4).tolist()
        [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    x, parameters = given("instance_norm", x, weight=weight, bias=bias)
    check_eps("instance_norm", eps, is_zero_allowed=True)
    return run(InstanceNorm(eps=eps), x, **parameters)


def instance_norm_backward(
    grad_output: Any, x: Any, *, weight: Any = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients of `instance_norm` with respect to x, weight and bias; arguments as there."""
    function = "instance_norm_backward"
    x, parameters = given(function, x, weight=weight)
    check_eps(function, eps, is_zero_allowed=True)
    return gradients_of(InstanceNorm(eps=eps), function, grad_output, x, parameters, shape=x.shape[1:2])


@dataclass(frozen=True)
class LayerNorm(Normalization):
    """Layer normalisation as an operation of a graph: parameters ``weight`` and ``bias`` where there are any."""

    normalized_shape: Shape
    eps: float = 1e-5

    name: ClassVar[str] = "layer_norm"
    equation: ClassVar[str] = "y = weight x_hat + bias, x_hat = (x - mean) / sqrt(variance + eps), over the last axes"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,), last = inputs, self.normalized_shape
        if x[len(x) - len(last) :] != last or len(x) < len(last):
            raise UsageError(
                f"layer_norm: `x` must end in the axes {last} of `normalized_shape`, got shape {x}. "
                f"Set normalized_shape={x[-len(last) :]}, or move the axes to the end."
            )
        check_parameters("layer_norm", last, "position of normalized_shape", dict(parameters))
        return x

    def rows(self, x: Array) -> Array:
        """Return (all leading axes, all normalised values)."""
        return x.reshape(-1, math.prod(self.normalized_shape))

    def unrowed(self, rows: Array, shape: Shape) -> Array:
        """Return rows in the shape of x."""
        return rows.reshape(shape)

    def lined_up(self, parameter: Array, shape: Shape) -> Array:
        """Return the parameter as it is."""
        return parameter

    def members(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the last axes at the same leading position."""
        last = len(self.normalized_shape)
        return (*(slice(i, i + 1) for i in position[: len(shape) - last]), *(slice(None),) * last)

    def users(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the same place in the last axes, at all leading positions."""
        return (*(slice(None),) * (len(shape) - len(position)), *(slice(i, i + 1) for i in position))


@dataclass(frozen=True)
class GroupNorm(Normalization):
    """Group normalisation as an operation of a graph: parameters ``weight`` and ``bias`` where there are any."""

    num_groups: int
    eps: float = 1e-5

    name: ClassVar[str] = "group_norm"
    equation: ClassVar[str] = "y = weight x_hat + bias, x_hat = (x - mean) / sqrt(variance + eps), by group of channels"

    def groups(self, shape: Shape) -> int:
        """Return the number of groups."""
        return self.num_groups

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,) = inputs
        if len(x) < 2:
            raise UsageError(
                f"{self.name}: `x` must have at least 2 axes (N, C, ...), got shape {x}. "
                "Add the batch axis with x[None]."
            )
        if x[1] % self.groups(x):
            divisors = [n for n in range(1, x[1] + 1) if x[1] % n == 0]
            raise UsageError(
                f"{self.name}: `num_groups` must divide the {x[1]} channels, got {self.num_groups}. "
                f"Take one of {', '.join(str(n) for n in divisors[-8:])}."
            )
        # PyTorch's rule: with several groups of one value it goes on, and every output is the bias.
        if x[1] and math.prod(x) // self.groups(x) == 1:
            raise UsageError(
                f"{self.name}: `x` must have more than one value a group, got shape {x}: the variance of one "
                "value is 0. Take fewer groups or larger images."
            )
        check_parameters(self.name, x[1:2], "channel", dict(parameters))
        return x

    def rows(self, x: Array) -> Array:
        """Return (N groups, all values of a group)."""
        return x.reshape(x.shape[0] * self.groups(x.shape), -1)

    def unrowed(self, rows: Array, shape: Shape) -> Array:
        """Return rows in the shape of x."""
        return rows.reshape(shape)

    def lined_up(self, parameter: Array, shape: Shape) -> Array:
        """Return (C, 1, ...)."""
        return parameter.reshape(-1, *(1,) * (len(shape) - 2))

    def members(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the channels of the group in the same sample."""
        channels = shape[1] // self.groups(shape)
        first = position[1] // channels * channels
        one = (slice(position[0], position[0] + 1), slice(first, first + channels))
        return (*one, *(slice(None),) * (len(shape) - 2))

    def users(self, position: tuple[int, ...], shape: Shape) -> Slices:
        """Return the channel in all samples."""
        return (slice(None), slice(position[0], position[0] + 1), *(slice(None),) * (len(shape) - 2))


@dataclass(frozen=True)
class InstanceNorm(GroupNorm):
    """Instance normalisation as an operation of a graph: parameters ``weight`` and ``bias`` where there are any."""

    num_groups: int = 0  # as many as channels

    name: ClassVar[str] = "instance_norm"
    equation: ClassVar[str] = (
        "y = weight x_hat + bias, x_hat = (x - mean) / sqrt(variance + eps), by sample and channel"
    )

    def groups(self, shape: Shape) -> int:
        """Return the number of channels."""
        return shape[1]

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        (x,) = inputs
        if len(x) >= 2 and math.prod(x[2:]) == 1:
            raise UsageError(
                f"instance_norm: `x` must have more than one position a channel, got shape {x}: the variance of one "
                "value is 0. Take larger images, or layer_norm over the channels."
            )
        return super().output_shape(*inputs, **parameters)


def _layer(function: str, normalized_shape: Any, eps: float) -> LayerNorm:
    check_eps(function, eps, is_zero_allowed=True)
    lengths = (normalized_shape,) if isinstance(normalized_shape, int | np.integer) else tuple(normalized_shape)
    if not lengths or not all(isinstance(length, int | np.integer) and length > 0 for length in lengths):
        raise UsageError(
            f"{function}: `normalized_shape` must be a whole number from 1 on, or one for each of the last axes, "
            f"got {normalized_shape!r}. Write normalized_shape=x.shape[-1]."
        )
    return LayerNorm(tuple(int(length) for length in lengths), eps=eps)


def _group(function: str, num_groups: int, eps: float) -> GroupNorm:
    check_eps(function, eps, is_zero_allowed=True)
    if not (isinstance(num_groups, int | np.integer) and num_groups >= 1):
        raise UsageError(
            f"{function}: `num_groups` must be a whole number from 1 on, got {num_groups!r}. "
            "1 takes all channels together."
        )
    return GroupNorm(int(num_groups), eps=eps)
