"""Training through `accelerate` with PyTorch's optimizers: weights, gradients, shared, frozen and edited parameters."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate import models
from striate.engine import accelerate

pytestmark = pytest.mark.native


def gradients(net):
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_give_the_weights_of_pytorch(small, images, classes, name):
    net = small()
    runs = []
    for wrap, dtype in (
        (accelerate, torch.float32),
        (lambda net: net, torch.float32),
        (lambda net: net, torch.float64),
    ):
        own = copy.deepcopy(net).to(dtype)
        call, optimizer = wrap(own), OPTIMIZERS[name](own.parameters())
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        for step in range(20):
            optimizer.zero_grad()
            F.cross_entropy(call(images(seed=step).to(dtype)), classes(seed=step)).backward()
            optimizer.step()
            scheduler.step()
        runs.append(own)
    mine, stock, truth = runs
    for (key, value), other, right in zip(
        mine.state_dict().items(), stock.state_dict().values(), truth.state_dict().values(), strict=True
    ):
        error, usual = (float((numbers.double() - right).norm()) for numbers in (value, other))
        # Rounding grows from step to step, in PyTorch's float32 as much as here.
        assert error <= max(1e-5 * float(right.double().norm()), 10 * usual), (key, error, usual)


def test_lenet_follows_the_loss_curve_of_pytorch():
    # Ten patterns and noise: learnable, and different at every step.
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 1, 28, 28, generator=generator)
    torch.manual_seed(0)
    net = models.create("lenet5")
    stock, fast = copy.deepcopy(net), accelerate(net)
    curves = []
    for call, own in ((fast, net), (stock, stock)):
        batches, losses = torch.Generator().manual_seed(1), []
        optimizer = torch.optim.SGD(own.parameters(), lr=0.02, momentum=0.9)
        for _ in range(200):
            targets = torch.randint(10, (32,), generator=batches)
            x = patterns[targets] + 0.2 * torch.randn(32, 1, 28, 28, generator=batches)
            optimizer.zero_grad()
            loss = F.cross_entropy(call(x), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    assert "in PyTorch" not in fast.report
    mine, theirs = curves
    assert float(theirs[-20:].mean()) < 0.1 * float(theirs[:5].mean())  # it does learn
    assert torch.allclose(mine[:100], theirs[:100], rtol=1e-4)
    # Later they part where rounding decides which of two pixels is the maximum: single losses by 0.2, with AVX2 after
    # step 71. PyTorch parts from its float64 in the same way.
    smooth = [curve.unfold(0, 20, 20).mean(1) for curve in curves]
    assert torch.allclose(*smooth, rtol=0.25)


@pytest.mark.parametrize(
    "frozen", [["0.weight"], ["1.weight", "1.bias"], ["8.bias"], ["0.weight", "4.bias", "4.weight"]]
)
def test_frozen_parameters_get_no_gradient(small, images, assert_same_step, frozen):
    net = small()
    for name in frozen:
        net.get_parameter(name).requires_grad_(False)
    assert_same_step(net, images())
    assert all(net.get_parameter(name).grad is None for name in frozen)


def test_frozen_and_freed_between_steps(small, images, assert_same_step):
    net, x = small(), images()
    fast = accelerate(net)
    for frozen in (False, True, False):
        net[:3].requires_grad_(not frozen)
        assert_same_step(net, x, call=fast)


def test_nothing_learns(small, images):
    net = small().requires_grad_(False)
    fast, x = accelerate(net), images().requires_grad_()
    y = fast(images())
    assert not y.requires_grad
    fast(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in net.parameters())


SHARED = {
    "dense and dense": lambda self, x: self.fc(self.fc(x.flatten(1)).relu()),
    "convolution and convolution": lambda self, x: self.conv(self.conv(x).tanh()),
    "batch norm and batch norm": lambda self, x: self.bn(self.conv(self.bn(x))),
    "a bias of both": lambda self, x: (
        self.conv(x).flatten(1),
        F.linear(x.flatten(1), self.fc.weight[:2], self.conv.bias),
    ),
    "a scale and a bias": lambda self, x: F.conv2d(self.bn(x), self.conv.weight, self.bn.weight, padding=1),
    "1 x 1 and dense": lambda self, x: (F.conv2d(x, self.small.weight[:, :, None, None]), self.small(x.mean((2, 3)))),
    "tied, transposed": lambda self, x: F.linear(self.fc(x.flatten(1)).tanh(), self.fc.weight.t()),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_parameters(assert_like_pytorch, network, filled, normal, name):
    layers = {
        "fc": nn.Linear(2 * 16, 2 * 16),
        "conv": nn.Conv2d(2, 2, 3, padding=1),
        "bn": nn.BatchNorm2d(2),
        "small": nn.Linear(2, 2),
    }
    model = filled(network(SHARED[name], **layers), seed=0, exact=False)
    alone = name in ("dense and dense", "convolution and convolution", "batch norm and batch norm")
    assert_like_pytorch(model, normal((11, 2, 4, 4), seed=0).requires_grad_(), alone=alone)


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_one_tensor_in_two_layers(assert_like_pytorch, filled, normal, kind):
    layer = (lambda: nn.Linear(4, 4)) if kind == "dense" else (lambda: nn.Conv2d(4, 4, 3, padding=1))
    net = nn.Sequential(layer(), nn.Tanh(), layer())
    net[2].weight, net[2].bias = net[0].weight, net[0].bias
    assert_like_pytorch(filled(net, seed=0, exact=False), normal((11, 4, *[5, 5][: 2 * (kind != "dense")]), seed=0))


def test_a_bias_of_a_convolution_and_a_dense_layer(assert_like_pytorch, filled, normal):
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    net[4].bias = net[0].bias
    assert_like_pytorch(filled(net, seed=0, exact=False), normal((11, 2, 6, 6), seed=0).requires_grad_())


def test_weights_edited_in_place_between_steps_are_seen(small, images, assert_same_step):
    net, x = small(), images()
    fast = accelerate(net)
    for _ in range(2):
        assert_same_step(net, x, call=fast)
        with torch.no_grad():
            net[0].weight.mul_(-1.5)
            net[8].bias.fill_(2.0)
            net[4].weight.data[0] = 0.25


EDITS = {
    "in place": lambda p: p.mul_(-1.5),
    "through data": lambda p: p.data.mul_(-1.5),
    "through a detached tensor": lambda p: p.detach().mul_(-1.5),
    "through NumPy": lambda p: p.detach().numpy().__imul__(-1.5),
    "new data": lambda p: setattr(p, "data", p.data * -1.5),
    "swapped data": lambda p: setattr(
        p, "data", (p.data * -1.5).t().contiguous().t() if p.ndim == 2 else p.data * -1.5
    ),
    "copied": lambda p: p.copy_(p * -1.5),
}


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("name", EDITS)
def test_edits_are_seen_without_gradients_too(small, images, close, name, batch):
    # There the weights are packed once; PyTorch counts edits in place, but not those through `data` or NumPy.
    net, x = small().eval(), images(batch)
    fast = accelerate(net)
    with torch.no_grad():
        for parameter in ("0.weight", "1.weight", "4.weight", "4.bias", "8.weight"):
            assert close(fast(x), net(x))
            EDITS[name](net.get_parameter(parameter))
            assert close(fast(x), net(x)), parameter
        net[1].running_var.fill_(0.3)
        assert close(fast(x), net(x))


@pytest.mark.parametrize("batch", [1, 40])
def test_statistics_edited_through_data(small, images, close, batch):
    net, x = small().eval(), images(batch)
    fast = accelerate(net)
    with torch.no_grad():
        assert close(fast(x), net(x))
        net[1].running_mean.data.add_(2)
        assert close(fast(x), net(x))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_steps_and_evaluation_in_turn(small, images, classes, close, kind):
    net = small()
    fast, optimizer = accelerate(net), kind(net.parameters(), lr=0.05)
    for step in range(4):
        optimizer.zero_grad()
        F.cross_entropy(fast.train()(images(seed=step)), classes(seed=step)).backward()
        optimizer.step()
        with torch.no_grad():
            for batch in (1, 40):
                assert close(fast.eval()(images(batch)), net(images(batch)))


@pytest.mark.parametrize("name", ["0.weight", "8.weight"])
def test_weights_edited_between_forward_and_backward(small, images, name):
    net = small()
    y = accelerate(net)(images())
    with torch.no_grad():
        net.get_parameter(name).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_inputs_edited_between_forward_and_backward(small, images):
    net, x = small(), images()
    y = accelerate(net)(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_outputs_may_be_edited(small, images, assert_same_step):
    net = small()
    assert_same_step(nn.Sequential(net, network_that_writes()), images())


def network_that_writes():
    class Writes(nn.Module):
        def forward(self, x):
            return x.mul_(2).add_(1)

    return Writes()


def test_an_output_edited_by_the_caller(small, images, close):
    net, x = small(), images()
    stock = copy.deepcopy(net)
    for call in (accelerate(net), stock):
        y = call(x)
        y.mul_(3)
        y.square().sum().backward()
    assert close(net[0].weight.grad, stock[0].weight.grad)


def test_gradients_are_added_to_what_is_there(small, images, close):
    net = small()
    fast = accelerate(net)
    fast(images()).sum().backward()
    once = gradients(net)
    fast(images()).sum().backward()
    assert all(close(p.grad, 2 * once[name]) for name, p in net.named_parameters())


def test_outputs_that_no_loss_uses_leave_no_gradient():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x):
            y = self.body(x).relu()
            return self.a(y), self.b(y)

    net = Two()
    accelerate(net)(torch.randn(5, 4))[0].sum().backward()
    assert net.a.weight.grad is not None
    assert net.b.weight.grad is None  # so that weight decay leaves it alone
    assert net.b.bias.grad is None


def test_parameters_that_nothing_uses(assert_same_step):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return self.used(x)

    net = Net()
    assert_same_step(net, torch.randn(5, 4))
    assert net.spare.weight.grad is None
