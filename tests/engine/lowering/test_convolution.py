"""Convolutions in the engine on generated shapes and options, alone and with what is taken together with them.

Inputs and weights are mostly small whole numbers, so that every number must equal PyTorch's float64, ties included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate.engine import accelerate

pytestmark = [
    pytest.mark.native,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),  # PyTorch's own convolution says so
]

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LARGEST_KERNEL = {1: 9, 2: 5}
MOST_EXTRA = {1: 12, 2: 6}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
FOLLOWERS = {
    "nothing": [],
    "ReLU": [nn.ReLU()],
    "ReLU in place": [nn.ReLU(inplace=True)],
    "pooling": [nn.MaxPool2d(2)],
    "ReLU, pooling": [nn.ReLU(), nn.MaxPool2d(2)],
    "ReLU6": [nn.ReLU6()],
    "Leaky ReLU": [nn.LeakyReLU(0.25)],
    "Leaky ReLU, pooling": [nn.LeakyReLU(0.5), nn.MaxPool2d(2)],
    "pooling, ReLU": [nn.MaxPool2d(2), nn.ReLU()],
    "pooling in ceil mode": [nn.MaxPool2d(2, ceil_mode=True)],
    "pooling with another stride": [nn.MaxPool2d(2, 1)],
    "pooling with padding": [nn.ReLU(), nn.MaxPool2d(2, padding=1)],
}
SMOOTH = {
    "tanh": [nn.Tanh()],
    "sigmoid": [nn.Sigmoid()],
    "ELU": [nn.ELU(1.0)],
    "GELU": [nn.GELU()],
    "SiLU": [nn.SiLU()],
    "Softplus": [nn.Softplus()],
    "tanh, pooling": [nn.Tanh(), nn.AvgPool2d(2)],
}


@dataclass(frozen=True)
class Case:
    """One generated layer and its input."""

    x: tuple[int, ...]
    layer: dict[str, object]
    input_learns: bool
    seed: int

    def module(self):
        return CONVOLUTIONS[len(self.x) - 2](**self.layer)


def per_axis(dims, smallest, largest):
    return st.tuples(*[st.integers(smallest, largest)] * dims)


@st.composite
def convolutions(draw, dims, smallest=0):
    """Layers and inputs.

    Args:
        draw: Of Hypothesis.
        dims: Axes of the images.
        smallest: Length that the output has at least, beside 1.
    """
    kernel = draw(per_axis(dims, 1, LARGEST_KERNEL[dims]))
    dilation = draw(st.just((1,) * dims) | per_axis(dims, 1, 3))
    is_same = draw(st.sampled_from([False] * 5 + [True]))
    stride = (1,) * dims if is_same else draw(st.just((1,) * dims) | per_axis(dims, 1, 4))
    padding = "same" if is_same else draw(st.just((0,) * dims) | per_axis(dims, 0, 2) | per_axis(dims, 0, 7))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    # 1 x 1 groups are depthwise; more than 8 outputs are more than one tile.
    inputs = draw(st.sampled_from([1, 1, 2, 3, 4, 7]))
    outputs = draw(st.sampled_from([1, 1, 2, 3, 5, 8, 9, 17]))
    extra = draw(per_axis(dims, 0, MOST_EXTRA[dims]))
    sizes = []
    for axis in range(dims):
        extent = dilation[axis] * (kernel[axis] - 1) + 1
        taken = extent - 1 if is_same else 2 * padding[axis]
        sizes.append(max(1, extent + smallest * stride[axis] - taken) + extra[axis])
    layer = {
        "in_channels": inputs * groups,
        "out_channels": outputs * groups,
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    batch = draw(st.integers(1, 4) | st.integers(5, 20))
    return Case((batch, inputs * groups, *sizes), layer, draw(st.booleans()), draw(SEEDS))


def check(case, check_model, tools, *followers, exact=True):
    filled, whole, normal = tools
    model = filled(nn.Sequential(case.module(), *followers), seed=case.seed, exact=exact)
    x = (whole if exact else normal)(case.x, seed=case.seed).requires_grad_(case.input_learns)
    check_model(model, x, exact=exact, seed=case.seed)


@pytest.fixture(scope="module")
def tools(filled, whole, normal):
    return filled, whole, normal


@generated(max_examples=260)
@given(case=convolutions(2))
def test_conv2d(assert_like_pytorch, tools, case):
    check(case, assert_like_pytorch, tools)


@generated(max_examples=60)
@given(case=convolutions(1))
def test_conv1d(assert_like_pytorch, tools, case):
    check(case, assert_like_pytorch, tools)


@generated(max_examples=40)
@given(case=st.sampled_from([1, 2]).flatmap(convolutions))
def test_rounded_numbers(assert_like_pytorch, tools, case):
    check(case, assert_like_pytorch, tools, exact=False)


@generated(max_examples=130)
@given(case=convolutions(2, smallest=1), name=st.sampled_from(sorted(FOLLOWERS)))
def test_what_follows(assert_like_pytorch, tools, case, name):
    check(case, assert_like_pytorch, tools, *FOLLOWERS[name])


@generated(max_examples=50)
@given(case=convolutions(2, smallest=1), name=st.sampled_from(sorted(SMOOTH)))
def test_what_follows_smoothly(assert_like_pytorch, tools, case, name):
    check(case, assert_like_pytorch, tools, *SMOOTH[name], exact=False)


@pytest.mark.slow
@generated(max_examples=2500)
@given(case=convolutions(2, smallest=1), name=st.sampled_from(sorted(FOLLOWERS)))
def test_many_more(assert_like_pytorch, tools, case, name):
    check(case, assert_like_pytorch, tools, *FOLLOWERS[name])


@pytest.mark.slow
@generated(max_examples=1200)
@given(case=st.sampled_from([1, 2]).flatmap(convolutions), is_exact=st.booleans())
def test_many_more_alone(assert_like_pytorch, tools, case, is_exact):
    check(case, assert_like_pytorch, tools, exact=is_exact)


@pytest.mark.parametrize("batch", [*range(1, 36)])
def test_every_number_of_images(assert_like_pytorch, tools, width, batch):
    # From one image over partial blocks to two blocks and three images more, on the widest vectors.
    if batch > 2 * width + 3:
        return
    layer = {"in_channels": 2, "out_channels": 3, "kernel_size": (3, 2), "padding": (1, 0)}
    check(Case((batch, 2, 5, 5), layer, True, batch), assert_like_pytorch, tools, nn.ReLU(), nn.MaxPool2d(2))


@pytest.mark.parametrize(
    ("size", "layer"),
    [
        ((1, 1), {"kernel_size": 1}),
        ((1, 1), {"kernel_size": 3, "padding": 1}),
        ((1, 1), {"kernel_size": (2, 4), "padding": (1, 2)}),
        ((9, 9), {"kernel_size": (1, 7), "padding": (0, 3)}),
        ((9, 9), {"kernel_size": (7, 1), "padding": (3, 0), "stride": (2, 1)}),
        ((8, 8), {"kernel_size": 4, "stride": 4}),
        ((3, 3), {"kernel_size": 2, "padding": 5}),  # outputs that see nothing but padding
        ((5, 5), {"kernel_size": 1, "stride": 3}),  # inputs that nothing sees
        ((7, 4), {"kernel_size": 2, "stride": 5, "padding": 1}),
        ((6, 6), {"kernel_size": 4, "padding": "same", "dilation": 2}),
        ((33, 2), {"kernel_size": 3, "padding": 1}),
        ((2, 40), {"kernel_size": 2, "dilation": (1, 9)}),
        ((12, 12), {"kernel_size": 11, "stride": 4, "padding": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("groups", [1, 3])
def test_particular_shapes(assert_like_pytorch, tools, size, layer, groups):
    layer = {"in_channels": 3, "out_channels": 6, "groups": groups} | layer
    check(Case((5, 3, *size), layer, True, 1), assert_like_pytorch, tools)


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
@pytest.mark.parametrize("input_learns", [False, True])
def test_frozen(assert_like_pytorch, filled, whole, frozen, input_learns):
    model = filled(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 2)), seed=0, exact=True)
    for name in frozen:
        model[0].get_parameter(name).requires_grad_(False)
    assert_like_pytorch(model, whole((11, 2, 5, 6), seed=1).requires_grad_(input_learns), exact=True)


@pytest.mark.parametrize("name", sorted(FOLLOWERS))
def test_an_output_that_is_used_twice_is_not_taken_together(assert_like_pytorch, filled, whole, name):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)
            self.after = nn.Sequential(*(FOLLOWERS[name] or [nn.ReLU()]))

        def forward(self, x):
            y = self.conv(x)
            return y if "in place" in name else y * 2, self.after(y)

    assert_like_pytorch(filled(Twice(), seed=0, exact=True), whole((9, 2, 7, 7), seed=0).requires_grad_(), exact=True)


def test_other_padding_modes(assert_like_pytorch, filled, whole):
    for mode in ("reflect", "replicate", "circular"):
        model = filled(nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode), seed=0, exact=True)
        assert_like_pytorch(model, whole((9, 2, 5, 4), seed=0).requires_grad_(), exact=True)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((4, 5, 9), nn.Conv1d(5, 4, 3, stride=2, padding=1)),
        ((4, 4, 7, 6), nn.Conv2d(4, 6, (3, 2), padding=1, dilation=(2, 1), groups=2)),
        ((4, 3, 7, 6), nn.Conv2d(3, 3, 3, groups=3, bias=False)),
    ],
    ids=["conv1d", "grouped", "depthwise"],
)
def test_definition(assert_like_definition, normal, shape, layer):
    assert_like_definition(layer, normal(shape, seed=0).requires_grad_())


def test_one_image_does_not_touch_another(normal):
    # NaN and infinity stay with their image, also in the lanes of a block that is not full.
    fast = accelerate(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
    x = normal((11, 2, 6, 6), seed=0)
    with torch.no_grad():
        clean = fast(x)
        x[4, 1, 2, 3], x[9] = float("nan"), float("inf")
        marked = fast(x)
    others = [n for n in range(11) if n not in (4, 9)]
    assert torch.equal(clean[others], marked[others])
    assert bool(marked[4].isnan().any())


def test_three_axes_run_in_pytorch(assert_like_pytorch, normal):
    fast = assert_like_pytorch(nn.Conv3d(1, 2, 2), normal((3, 1, 3, 3, 3), seed=0), alone=False)
    assert "in PyTorch" in fast.report


def test_there_are_2000_cases():
    # What was promised, in the run without the slow ones; each number is a limit that Hypothesis reaches.
    text = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.parent.rglob("test_*.py"))
    quick = re.findall(r"(?<!slow\n)@generated\(max_examples=(\d+)\)", text)
    assert sum(map(int, quick)) >= 1900
    assert text.count("test_many_more") > 6
