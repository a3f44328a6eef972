"""Layers as products of tiles: whole numbers of three bits are exact in bfloat16, and so are their sums.

Numbers that are rounded are compared with float64 too, and allowed what PyTorch's own bfloat16 is off; in float32,
where each factor is a sum of three, as much as any other sum of float32.
"""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.engine import TrainingStep, accelerate, has_bf16, is_available
from striate.engine._machine import machine
from striate.engine.lowering import _tile_costs as costs
from striate.errors import UsageError

needs_bf16 = pytest.mark.skipif(not (is_available() and has_bf16()), reason="the instruction set has no bfloat16")
pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
FOLLOWERS = {
    "nothing": [],
    "ReLU": [nn.ReLU()],
    "pooling": [nn.MaxPool2d(2)],
    "ReLU, pooling": [nn.ReLU(), nn.MaxPool2d(2)],
    "Leaky ReLU": [nn.LeakyReLU(0.25)],
    "pooling in ceil mode": [nn.MaxPool2d(2, ceil_mode=True)],
}


@pytest.fixture(autouse=True, scope="module")
def _always():
    """Let layers run as tiles that are too small to gain by it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "LEAST_DEPTH", 1)
        for rate in ("VECTOR_RATE", "WINOGRAD_RATE", "WINOGRAD4_RATE", "OUTER_RATE"):
            patch.setattr(costs, rate, 1e-6)
        yield


DENSE = {
    "batch": st.integers(1, 4) | st.integers(5, 100),
    "features": st.integers(1, 70) | st.sampled_from([255, 256, 257, 600]),
    "outputs": st.integers(1, 40),
}


@st.composite
def convolutions(draw):
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel, dilation = draw(pair(1, 5)), draw(st.just((1, 1)) | pair(1, 3))
    stride, padding = draw(st.just((1, 1)) | pair(1, 3)), draw(st.just((0, 0)) | pair(0, 4))
    layer = {
        # Up to more than one tile of 32 inputs and of 16 outputs, and odd numbers of both.
        "in_channels": draw(st.sampled_from([1, 2, 3, 7, 16, 31, 32, 33, 40])),
        "out_channels": draw(st.sampled_from([1, 3, 8, 15, 16, 17, 33, 40])),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "bias": draw(st.booleans()),
    }
    sizes = [
        max(1, d * (k - 1) + 1 + s - 2 * p) + draw(st.integers(0, 5))
        for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
    ]
    return layer, (draw(st.integers(1, 35)), layer["in_channels"], *sizes)


def _check(assert_like_pytorch, filled, whole, case, name, *, learns, seed):
    layer, shape = case
    model = filled(nn.Sequential(nn.Conv2d(**layer), *FOLLOWERS[name]), seed=seed, exact=True)
    x = whole(shape, seed=seed).requires_grad_(learns)
    assert_like_pytorch(model, x, exact=True, seed=seed, precision="bf16")


@needs_bf16
@generated(max_examples=150)
@given(case=convolutions(), name=st.sampled_from(sorted(FOLLOWERS)), learns=st.booleans(), seed=SEEDS)
def test_convolutions(assert_like_pytorch, filled, whole, case, name, learns, seed):
    _check(assert_like_pytorch, filled, whole, case, name, learns=learns, seed=seed)


has_amx = pytest.mark.skipif(not (is_available() and machine().isa == "amx"), reason="the processor has no AMX")


def _kernels(fast, x):
    return {i.name for plan in fast.train().plans(x) for stage in plan.stages for i in stage.instructions}


@has_amx
@generated(max_examples=120)
@given(
    case=convolutions(),
    name=st.sampled_from(sorted(FOLLOWERS)),
    learns=st.booleans(),
    is_exact=st.booleans(),
    seed=SEEDS,
)
def test_convolutions_in_float32(assert_like_pytorch, filled, whole, normal, case, name, learns, is_exact, seed):
    layer, shape = case
    model = filled(
        nn.Sequential(nn.Conv2d(**layer), *FOLLOWERS[name if is_exact else "nothing"]), seed=seed, exact=is_exact
    )
    x = (whole if is_exact else normal)(shape, seed=seed).requires_grad_(learns)
    fast = assert_like_pytorch(model, x, exact=is_exact, limit=2e-6, seed=seed)
    assert {"tile_sums", "tile_outer"} <= _kernels(fast, x)


@has_amx
@generated(max_examples=80)
@given(
    **DENSE,
    learns=st.booleans(),
    is_exact=st.booleans(),
    seed=SEEDS,
)
def test_dense_layers_in_float32(
    assert_like_pytorch, filled, whole, normal, batch, features, outputs, learns, is_exact, seed
):
    model = filled(nn.Linear(features, outputs), seed=seed, exact=is_exact)
    x = (whole if is_exact else normal)((batch, features), seed=seed).requires_grad_(learns)
    fast = assert_like_pytorch(model, x, exact=is_exact, limit=2e-6, seed=seed)
    assert {"tile_sums", "tile_dense_gradient"} <= _kernels(fast, x)


@has_amx
def test_weight_gradients_of_large_and_small_numbers():
    # Each number is a sum of three of bfloat16: from huge to tiny. Infinity becomes NaN; PyTorch has one of the two.
    torch.manual_seed(0)
    model = nn.Conv2d(9, 17, 3, bias=False)
    x = torch.randn(20, 9, 6, 5) * 10.0 ** torch.randint(-12, 12, (20, 9, 1, 1))
    for marked in (None, float("inf"), float("nan")):
        if marked is not None:
            x[3, 4, 2, 2] = marked
        results = []
        for net in (copy.deepcopy(model).double(), model):
            call = accelerate(net) if net is model else net
            net.zero_grad()
            call(x.to(net.weight.dtype)).sum().backward()
            results.append(net.weight.grad.double())
        truth, found = results
        is_finite = truth.isfinite()
        assert torch.equal(found.isfinite(), is_finite)
        size = x.abs().nan_to_num(0, 0, 0).double().sum((0, 2, 3))[None, :, None, None].expand_as(truth)
        assert bool(((found - truth).abs() <= 1e-6 * size)[is_finite].all())


@needs_bf16
@pytest.mark.slow
@generated(max_examples=2000)
@given(case=convolutions(), name=st.sampled_from(sorted(FOLLOWERS)), learns=st.booleans(), seed=SEEDS)
def test_many_more_convolutions(assert_like_pytorch, filled, whole, case, name, learns, seed):
    _check(assert_like_pytorch, filled, whole, case, name, learns=learns, seed=seed)


@needs_bf16
@generated(max_examples=80)
@given(
    **DENSE,
    bias=st.booleans(),
    learns=st.booleans(),
    seed=SEEDS,
)
def test_dense_layers(assert_like_pytorch, filled, whole, batch, features, outputs, bias, learns, seed):
    model = filled(nn.Sequential(nn.Linear(features, outputs, bias=bias), nn.ReLU()), seed=seed, exact=True)
    x = whole((batch, features), seed=seed).requires_grad_(learns)
    assert_like_pytorch(model, x, exact=True, seed=seed, precision="bf16")


@needs_bf16
@pytest.mark.parametrize("batch", [1, 16, 31, 33, 64])
def test_weights_that_two_layers_share(assert_like_pytorch, network, filled, whole, batch):
    layers = {"conv": nn.Conv2d(3, 3, 3, padding=1), "dense": nn.Linear(48, 48)}

    def forward(net, x):
        y = net.conv(x) + F.conv2d(x, net.conv.weight, stride=1, padding=1)
        z = net.dense(x.flatten(1)) - F.linear(x.flatten(1), net.dense.weight)
        return y, z

    model = filled(network(forward, **layers), seed=0, exact=True)
    x = whole((batch, 3, 4, 4), seed=0).requires_grad_()
    assert_like_pytorch(model, x, exact=True, precision="bf16", alone=False)


@needs_bf16
def test_frozen(assert_like_pytorch, filled, whole):
    for frozen in ("weight", "bias"):
        model = filled(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2)), seed=0, exact=True)
        model[0].get_parameter(frozen).requires_grad_(False)
        assert_like_pytorch(model, whole((11, 2, 6, 6), seed=1).requires_grad_(), exact=True, precision="bf16")


# Rounded numbers ------------------------------------------------------------------------------------------------------


def _gradients(call, model, x, targets, *, dtype=torch.float32, cast=False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
        loss = F.cross_entropy(call(x.to(dtype)), targets)
    loss.backward()
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


@needs_bf16
@pytest.mark.parametrize("name", ["mlp_mnist", "lenet5", "cnn_cifar", "resnet20", "mobilenet_v2_cifar", "lenet5_1998"])
def test_networks(name):
    torch.manual_seed(0)
    model = models.create(name).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    count = 48 if models.info(name).num_params > 1e6 or "resnet" in name else 160
    x, targets = torch.randn(count, *models.info(name).input_size), torch.arange(count) % 10
    double, stock = copy.deepcopy(model).double(), copy.deepcopy(model)
    truth = _gradients(double, double, x, targets, dtype=torch.float64)
    usual = _gradients(stock, stock, x, targets, cast=True)
    found = _gradients(accelerate(model, precision="bf16"), model, x, targets)
    error, theirs = (float((g - truth).norm() / truth.norm()) for g in (found, usual))
    # Values that are nearly 0 before a ReLU, or nearly equal in a window, fall to the other side, here as there.
    assert error <= max(2e-2, 1.5 * theirs), (error, theirs)


@needs_bf16
@pytest.mark.parametrize("count", [1, 21])
def test_inference_with_folded_batch_norms(count):
    torch.manual_seed(0)
    model = models.create("resnet20")
    x = torch.randn(count, 3, 32, 32)
    model.train()(torch.randn(32, 3, 32, 32))
    model.eval()
    with torch.no_grad():
        truth = copy.deepcopy(model).double()(x.double())
        found = accelerate(model, precision="bf16")(x)
    assert float((found - truth).norm() / truth.norm()) < 2e-2


@needs_bf16
def test_the_bits_do_not_depend_on_threads_where_asked():
    torch.manual_seed(0)
    model, x, targets = models.create("cnn_cifar"), torch.randn(70, 3, 32, 32), torch.arange(70) % 10
    results = []
    for threads in (1, 2, 3, 3):
        torch.set_num_threads(threads)
        results.append(_gradients(accelerate(model, precision="bf16", independent=True), model, x, targets))
    assert all(torch.equal(results[0], other) for other in results[1:])


@needs_bf16
@generated(max_examples=60)
@given(
    batch=st.integers(1, 70) | st.sampled_from([512, 513, 540]),
    features=DENSE["features"],
    outputs=DENSE["outputs"],
    precision=st.sampled_from(["float32", "bf16"]),
    seed=SEEDS,
)
def test_images_go_straight_into_a_dense_layer(filled, whole, batch, features, outputs, precision, seed):
    assume(machine(precision).parts)
    mine = filled(nn.Sequential(nn.Flatten(), nn.Linear(features, outputs)), seed=seed, exact=True)
    theirs = copy.deepcopy(mine)
    x, targets = whole((batch, 1, 1, features), seed=seed), torch.arange(batch) % outputs
    step = TrainingStep(mine, optimizer=torch.optim.SGD(mine.parameters(), lr=1.0), precision=precision)
    names = [i.name for stage in step.plan(x).stages for i in stage.instructions]
    assert "pair_images" in names
    assert "load" not in names
    before = [p.detach().clone() for p in mine.parameters()]
    loss, logits = step(x, targets)
    expected = theirs(x)
    F.cross_entropy(expected, targets).backward()
    assert torch.equal(logits, expected)  # whole numbers are exact
    assert float(loss) == pytest.approx(float(F.cross_entropy(expected, targets).detach()), rel=1e-5, abs=1e-6)
    for new, old, p in zip(mine.parameters(), before, theirs.parameters(), strict=True):
        limit = (2e-2 if precision == "bf16" else 1e-5) * float(p.grad.norm()) + 1e-6
        assert float((old - new.detach() - p.grad).norm()) <= limit


@needs_bf16
def test_training_follows_pytorch():
    # 200 steps of the fused step beside PyTorch's float32: the losses stay together.
    torch.manual_seed(0)
    mine = models.create("lenet5")
    theirs = copy.deepcopy(mine)
    prototypes = torch.randn(10, 1, 28, 28)
    losses = []
    step = TrainingStep(mine, optimizer=torch.optim.SGD(mine.parameters(), lr=0.02, momentum=0.9), precision="bf16")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=0.9)
    for n in range(200):
        targets = torch.randint(0, 10, (32,), generator=torch.Generator().manual_seed(n))
        x = prototypes[targets] + 2 * torch.randn(32, 1, 28, 28, generator=torch.Generator().manual_seed(1000 + n))
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(x), targets)
        loss.backward()
        optimizer.step()
        losses.append((float(step(x, targets)[0]), float(loss.detach())))
    smooth = torch.tensor(losses).unfold(0, 20, 20).mean(-1)
    assert float(smooth[-1, 0]) < 0.5 * float(smooth[0, 0])
    # Two roundings part in the course of training; they go the same way together, and arrive.
    assert torch.allclose(smooth[:5, 0], smooth[:5, 1], rtol=0.06), smooth
    assert torch.allclose(smooth.mean(0)[0], smooth.mean(0)[1], rtol=0.12), smooth


@needs_bf16
def test_parameters_and_outputs_are_float32():
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(16 * 9, 4))
    fast = accelerate(model, precision="bf16")
    y = fast(torch.randn(5, 8, 5, 5))
    y.sum().backward()
    assert y.dtype == model[0].weight.dtype == model[0].weight.grad.dtype == torch.float32
    assert "tile_sums" in fast.plan
    assert "tile_outer" in fast.plan


def test_precisions_that_are_not_there(monkeypatch):
    with pytest.raises(UsageError, match=r'`precision` must be "float32" or "bf16", got .bfloat16.'):
        accelerate(nn.Linear(2, 2), precision="bfloat16")
    monkeypatch.setattr("striate.engine._machine.BF16_ISAS", ())
    with pytest.raises(UsageError, match=r"needs a processor with avx512_bf16. Leave it out"):
        machine("bf16")
