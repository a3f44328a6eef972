"""Activations in the engine: every one at every kind of number, alone and as the last step of other operations."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate.engine import accelerate

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LAYERS = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "leaky relu": nn.LeakyReLU(),
    "steep leaky relu": nn.LeakyReLU(2.5),
    "hardtanh": nn.Hardtanh(),
    "hardtanh, other limits": nn.Hardtanh(-0.25, 3.5),
    "hardtanh, positive limits": nn.Hardtanh(0.5, 0.75),
    "elu": nn.ELU(),
    "elu, another factor": nn.ELU(0.3),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "softplus": nn.Softplus(),
    "softplus, other numbers": nn.Softplus(beta=2.0, threshold=5.0),
}
NAN, INFINITY = float("nan"), float("inf")
LARGEST = torch.finfo(torch.float32).max
NUMBERS = {
    "normal": [*np.linspace(-4, 4, 97)],
    "at the edges": [-6.0, -3.0, -1.0, -0.25, 0.0, -0.0, 0.5, 0.625, 0.75, 1.0, 3.0, 3.5, 6.0, 20.0],
    "beside the edges": [s * (e + d) for e in (0.0, 1.0, 3.0, 6.0) for d in (1e-6, -1e-6) for s in (1, -1)],
    "small": [s * 10.0**-n for n in range(1, 12) for s in (1, -1)],
    "tiny": [1e-30, -1e-30, 1.2e-38, -1.2e-38, 1e-40, -1e-40, 1e-45, -1e-45],
    "large": [s * v for v in (8.0, 9.0, 10.0, 15.0, 25.0, 50.0, 87.0, 88.2, 88.5, 90.0, 103.0, 105.0) for s in (1, -1)],
    "huge": [1e3, -1e3, 1e10, -1e10, 1e19, -1e19, 1e30, -1e30, LARGEST, -LARGEST],
    "infinite": [INFINITY, -INFINITY],
    "no number": [NAN, 1.0, NAN],
}
RELATIVE, ABSOLUTE = 2e-6, 1e-7
"""Of each number by itself; the second where terms of about 1 cancel, as in 1 - tanh(x)^2."""


def _there_and_back(call, x, grad_output):
    x = x.clone().requires_grad_()
    y = call(x * 1)  # layers in place cannot write on a leaf
    y.backward(grad_output.to(x.dtype))
    return y.detach(), x.grad


def _assert_alike(found, truth, stock):
    """Compare number by number with the truth, and in NaN and infinity with it or PyTorch's float32.

    The two differ in gelu, which PyTorch lets overflow on the way on processors with AVX-512.
    """
    for test in (torch.isnan, torch.isinf):
        is_alike = (test(found) == test(stock)) | (test(found) == test(truth.float()))
        assert bool(is_alike.all()), (found, stock, truth)
    is_finite = found.isfinite() & stock.isfinite() & truth.isfinite()
    found, truth, stock = (values[is_finite].double() for values in (found, truth, stock))
    allowed = torch.maximum(RELATIVE * truth.abs() + ABSOLUTE, 5 * (stock - truth).abs())
    assert bool(((found - truth).abs() <= allowed).all()), torch.stack([found, truth, stock])


def _assert_everywhere(model, numbers, *, report=""):
    values = torch.tensor(numbers, dtype=torch.float32)
    # Each image has other numbers in front, so that every one is met in several lanes.
    x = torch.stack([values.roll(n) for n in range(11)])[:, None, :, None]
    grad_output = torch.linspace(0.5, 1.5, x.numel()).reshape(x.shape)
    stock = _there_and_back(model, x, grad_output)
    truth = _there_and_back(model.double(), x.double(), grad_output)
    fast = accelerate(model.float())
    found = _there_and_back(fast, x, grad_output)
    assert ("in PyTorch" in fast.report) == bool(report), fast.report
    for mine, right, theirs in zip(found, truth, stock, strict=True):
        _assert_alike(mine, right, theirs)


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", [name for name in LAYERS if "in place" not in name])
def test_alone(name, kind):
    _assert_everywhere(LAYERS[name], NUMBERS[kind])


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", LAYERS)
def test_after_a_convolution(name, kind):
    conv = nn.Conv2d(1, 1, 1)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    _assert_everywhere(nn.Sequential(conv, LAYERS[name]).requires_grad_(False), NUMBERS[kind])


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", LAYERS)
def test_after_a_batch_norm(name, kind):
    model = nn.Sequential(nn.BatchNorm2d(1, eps=0.0), LAYERS[name]).eval().requires_grad_(False)
    _assert_everywhere(model, NUMBERS[kind])


FUNCTIONS = {
    "relu": lambda self, x: F.relu(x),
    "method": lambda self, x: x.relu(),
    "in place": lambda self, x: (x * 1).relu_(),
    "torch": lambda self, x: torch.sigmoid(torch.tanh(x)),
    "relu6": lambda self, x: F.relu6(x),
    "clamp": lambda self, x: x.clamp(-0.5, 0.75),
    "hardtanh": lambda self, x: F.hardtanh(x, -2.0, 0.5),
    "leaky": lambda self, x: F.leaky_relu(x, 0.3),
    "gelu": lambda self, x: F.gelu(x, approximate="tanh"),
    "own silu": lambda self, x: x * torch.sigmoid(x),
    "own softsign": lambda self, x: F.relu(x) - F.relu(-x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(assert_like_pytorch, network, normal, name):
    alone = name != "clamp"  # a comparison with numbers in general, for which there may be no kernel
    assert_like_pytorch(network(FUNCTIONS[name]), normal((7, 3, 4, 5), seed=0).requires_grad_(), alone=alone)


OTHER = {
    "selu": nn.SELU(),
    "celu": nn.CELU(0.5),
    "mish": nn.Mish(),
    "prelu": nn.PReLU(3),
    "flat leaky relu": nn.LeakyReLU(0.0),
    "falling leaky relu": nn.LeakyReLU(-0.5),
    "threshold": nn.Threshold(0.1, 20.0),
    "softmax": nn.Softmax(1),
    "softsign": nn.Softsign(),
    "logsigmoid": nn.LogSigmoid(),
    "falling elu": nn.ELU(-1.0),
}


@pytest.mark.parametrize("name", OTHER)
def test_others_run_in_pytorch(assert_like_pytorch, filled, normal, name):
    model = nn.Sequential(nn.Conv2d(3, 3, 3), OTHER[name], nn.Conv2d(3, 2, 2))
    x = normal((9, 3, 6, 6), seed=0).requires_grad_()
    fast = assert_like_pytorch(filled(model, seed=0, exact=False), x, alone=False)
    assert "in PyTorch" in fast.report


@generated(max_examples=60)
@given(
    shape=st.one_of(*[st.tuples(st.integers(1, 20), *[st.integers(1, 7)] * axes) for axes in (1, 2, 3)]),
    names=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=3),
    seed=SEEDS,
)
def test_shapes_and_chains(assert_like_pytorch, normal, shape, names, seed):
    # Not in place on the input itself, which PyTorch refuses where it wants a gradient.
    model = nn.Sequential(nn.Identity(), *(LAYERS[name.removesuffix(" in place")] for name in names))
    assert_like_pytorch(model, normal(shape, seed=seed).requires_grad_(), seed=seed)


def test_in_place_on_a_branch(assert_like_pytorch, network, whole):
    def branches(self, x):
        y = x * 2
        z = F.relu(y, inplace=True)
        return y + 3 * z  # both are what the ReLU left

    assert_like_pytorch(network(branches), whole((9, 2, 3, 3), seed=0).requires_grad_(), exact=True)


def test_in_place_on_the_input(whole):
    # The network writes on what it is given; so must the engine.
    mine, theirs = whole((9, 2, 3, 3), seed=0), whole((9, 2, 3, 3), seed=0)
    model = nn.ReLU(inplace=True)
    assert torch.equal(accelerate(model)(mine), model(theirs))
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("identity", "relu in place")])
def test_definition(assert_like_definition, normal, name):
    assert_like_definition(LAYERS[name], normal((5, 3, 4), seed=0).requires_grad_())
