"""3 x 3 convolutions by Winograd's method: which those are, and that they round no more than plain sums."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate.engine._tables import Axis
from striate.engine.lowering.winograd import fits

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
AXIS = Axis(size=8, output=8, kernel=3, stride=1, before=1, dilation=1)
OTHER = {
    "kernel": Axis(8, 8, 5, 1, 2, 1),
    "stride": Axis(8, 4, 3, 2, 1, 1),
    "dilation": Axis(8, 8, 3, 1, 2, 2),
    "more padding than the kernel reaches": Axis(8, 12, 3, 1, 3, 1),
}


def test_which_convolutions_it_is_for():
    assert fits(AXIS, AXIS, groups=1, in_channels=8, out_channels=8)
    assert not fits(AXIS, AXIS, groups=2, in_channels=16, out_channels=16)
    assert not fits(AXIS, AXIS, groups=1, in_channels=3, out_channels=64)


@pytest.mark.parametrize("axis", OTHER.values(), ids=OTHER)
def test_which_it_is_not_for(axis):
    assert not fits(AXIS, axis, groups=1, in_channels=8, out_channels=8)
    assert not fits(axis, AXIS, groups=1, in_channels=8, out_channels=8)


@generated(max_examples=80)
@given(
    batch=st.integers(1, 35),
    channels=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    size=st.tuples(st.integers(3, 17), st.integers(3, 17)),
    padding=st.integers(0, 2),
    bias=st.booleans(),
    follower=st.sampled_from(["nothing", "ReLU", "pooling", "ReLU and pooling"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_generated(assert_like_pytorch, filled, whole, batch, channels, size, padding, bias, follower, seed):
    layers: list[nn.Module] = [nn.Conv2d(*channels, 3, padding=padding, bias=bias)]
    outputs = [length + 2 * padding - 2 for length in size]
    layers += [nn.ReLU()] if "ReLU" in follower else []
    layers += [nn.MaxPool2d(2)] if "pooling" in follower and min(outputs) > 1 else []
    x = whole((batch, channels[0], *size), seed=seed, largest=2).requires_grad_()
    # Whole numbers: ties are ties on both sides. Tiles of 4 x 4, in evaluation, divide by more than powers of 2.
    fast = assert_like_pytorch(filled(nn.Sequential(*layers), seed=seed, exact=True), x, limit=2e-6, seed=seed)
    kernels = {i.name for plan in fast.plans(x) for stage in plan.stages for i in stage.instructions}
    assert ("winograd" in kernels) == (outputs[0] * outputs[1] >= 4)


def test_rounding_is_no_larger_than_that_of_the_plain_sum(assert_like_pytorch, filled, normal):
    model = filled(nn.Conv2d(64, 64, 3, padding=1), seed=0, exact=False)
    assert_like_pytorch(model, normal((9, 64, 8, 8), seed=0).requires_grad_(), limit=1e-6)
