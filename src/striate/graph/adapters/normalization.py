"""PyTorch's normalisations, and dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, named
from striate.ops.dropout import Dropout
from striate.ops.group_normalization import GroupNorm, InstanceNorm, LayerNorm
from striate.ops.local_response import LocalResponseNorm
from striate.ops.normalization import BatchNorm

__all__ = ["ADAPTERS"]


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Call:
    op = BatchNorm(training=training, eps=float(eps), momentum=float(momentum))
    parameters = named(running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    return Call(op, (input,), parameters)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Call:
    if not use_input_stats:
        return _batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return Call(InstanceNorm(eps=float(eps)), (input,), named(weight=weight, bias=bias))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Call:
    op = LayerNorm(tuple(int(length) for length in normalized_shape), eps=float(eps))
    return Call(op, (input,), named(weight=weight, bias=bias))


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Call:
    return Call(GroupNorm(int(num_groups), eps=float(eps)), (input,), named(weight=weight, bias=bias))


def _local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Call:
    return Call(LocalResponseNorm(int(size), float(alpha), float(beta), float(k)), (input,))


def _dropout(*, whole_channels: bool) -> Callable[..., Call]:
    def adapt(
        input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, mask: Tensor | None = None
    ) -> Call:
        op = Dropout(p=float(p), training=training, whole_channels=whole_channels)
        return Call(op, (input,), named(mask=mask))

    return adapt


ADAPTERS: dict[str, Callable[..., Any]] = {
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "local_response_norm": _local_response_norm,
    "dropout": _dropout(whole_channels=False),
    **dict.fromkeys(("dropout1d", "dropout2d", "dropout3d", "feature_dropout"), _dropout(whole_channels=True)),
}
