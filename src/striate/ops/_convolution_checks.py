"""Checks of filters against inputs that all convolutions share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._windows import AXES
from striate.ops.op import Shape

__all__ = ["check_bias", "check_channels", "check_groups", "check_weight_axes"]


def check_weight_axes(
    function: str, weight: Shape, *, dims: int, leading: Sequence[str] = ("C_out", "C_in / groups")
) -> None:
    """Refuse filters that have not the channel axes and one axis a dimension, or no taps."""
    axes = [*leading, *(f"k{letter}" for letter in AXES[dims])]
    if len(weight) != len(axes):
        raise UsageError(
            f"{function}: `weight` must have {len(axes)} axes ({', '.join(axes)}), got {len(weight)}: {tuple(weight)}. "
            "Add what is missing with weight[None] or reshape."
        )
    if 0 in weight:
        raise UsageError(
            f"{function}: `weight` must have at least one value along each axis, got {tuple(weight)}. "
            "Give kernel sizes and channels from 1 on."
        )


def check_groups(function: str, groups: Any, *, in_channels: int, out_channels: int) -> None:
    """Refuse groups that do not divide the channels on both sides."""
    is_whole = isinstance(groups, int | np.integer) and not isinstance(groups, bool) and groups >= 1
    if not is_whole or in_channels % groups or out_channels % groups:
        common = math.gcd(in_channels, out_channels)
        choices = [str(number) for number in range(1, common + 1) if common % number == 0]
        raise UsageError(
            f"{function}: `groups` must divide C_in = {in_channels} and C_out = {out_channels}, got {groups!r}. "
            f"Set groups={' or '.join(choices)}, or change the channels."
        )


def check_channels(function: str, x: Shape, weight: Shape, *, groups: Any) -> None:
    """Refuse filters that are not as deep as the share of the input they read."""
    check_groups(function, groups, in_channels=x[1], out_channels=weight[0])
    if weight[1] * groups != x[1]:
        depth = x[1] // groups
        raise UsageError(
            f"{function}: `weight` must have C_in / groups = {x[1]} / {groups} = {depth} channels in its second axis, "
            f"got {weight[1]}: {tuple(weight)}. Set in_channels={x[1]}, which makes it "
            f"{(weight[0], depth, *weight[2:])}, or give x with {weight[1] * groups} channels."
        )


def check_bias(function: str, bias: Shape, expected: Shape) -> None:
    """Refuse a bias that has not one value a filter."""
    if tuple(bias) != expected:
        raise UsageError(
            f"{function}: `bias` must have one value a filter, shape {expected}, got {tuple(bias)}. "
            f"Give {math.prod(expected)} values in that shape, or None."
        )
