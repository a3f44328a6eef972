"""What PyTorch's autograd may do with an accelerated network: twice, interleaved, without gradients, in part."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from striate.engine import accelerate

pytestmark = pytest.mark.native


def gradients(net):
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def test_gradients_of_gradients_are_refused(small, images):
    # Not where they are asked for, but before: a penalty on gradients must not be without effect in silence.
    net, x = small(), images().requires_grad_()
    y = accelerate(net)(x)
    with pytest.raises(RuntimeError, match=r"accelerate: `create_graph` must be False, got True\. "):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_backward_twice(small, images):
    net, x = small(), images().requires_grad_()
    y = accelerate(net)(x)
    y.sum().backward(retain_graph=True)
    once, input_once = gradients(net), x.grad.clone()
    net.zero_grad()
    x.grad = None
    y.sum().backward()
    assert torch.equal(x.grad, input_once)
    assert all(torch.equal(p.grad, once[name]) for name, p in net.named_parameters())
    with pytest.raises(RuntimeError, match="a second time"):
        y.sum().backward()


def test_two_passes_forward_before_two_back(small, images, close):
    net = small().eval()
    stock, fast = copy.deepcopy(net), accelerate(net)
    for call, own in ((fast, net), (stock, stock)):
        first, second, third = (call(images(batch, seed=batch)) for batch in (11, 3, 30))
        second.square().sum().backward()
        own(images(7, seed=7))
        (first.square().sum() + third.square().sum()).backward()
    assert all(close(p.grad, q.grad) for p, q in zip(net.parameters(), stock.parameters(), strict=True))


def test_a_pass_inside_a_pass(images, close):
    # The output of one call is the input of the next.
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())
    stock, fast = copy.deepcopy(net), accelerate(net)
    for call in (fast, stock):
        y = images()
        for _ in range(4):
            y = call(y)
        y.square().sum().backward()
    assert close(net[0].weight.grad, stock[0].weight.grad)


def test_without_gradients(small, images, close):
    net, x = small(), images()
    fast = accelerate(net)
    with torch.no_grad():
        y = fast(x)
    assert not y.requires_grad
    assert y.grad_fn is None
    assert fast(x).requires_grad
    assert close(y, fast(x))
    with torch.inference_mode():
        z = fast.eval()(x)
    assert z.is_inference()
    assert close(z, net(x))
    assert not fast(x.requires_grad_()).is_inference()


def test_input_of_inference_mode(small, images, close):
    net = small()
    with torch.inference_mode():
        x = images()
    fast = accelerate(net.eval())
    with torch.no_grad():
        assert close(fast(x), net(x))
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        fast(x)  # as PyTorch


def test_statistics_in_inference_mode(small, images):
    net = small()
    with torch.inference_mode():
        accelerate(net)(images())
    assert int(net[1].num_batches_tracked) == 1


def test_gradient_of_the_input_alone(small, images, close):
    net, x = small(), images().requires_grad_()
    stock, other = copy.deepcopy(net), images().requires_grad_()
    (mine,) = torch.autograd.grad(accelerate(net)(x).square().sum(), x)
    (theirs,) = torch.autograd.grad(stock(other).square().sum(), other)
    assert close(mine, theirs)
    assert all(p.grad is None for p in net.parameters())


def test_input_that_needs_a_gradient_at_times(small, images):
    net = small()
    fast = accelerate(net)
    for wanted in (False, True, False, True):
        x = images().requires_grad_(wanted)
        fast(x).sum().backward()
        assert (x.grad is not None) == wanted


def test_input_computed_by_others(small, images, close):
    net = small().eval()
    stock, before = copy.deepcopy(net), nn.Conv2d(1, 2, 1)
    twin = copy.deepcopy(before)
    x = images()[:, :1]
    accelerate(net)(before(x)).square().sum().backward()
    stock(twin(x)).square().sum().backward()
    assert close(before.weight.grad, twin.weight.grad)


def test_gradcheck_in_one_direction(images):
    # Independent of PyTorch's own gradients: the loss along a line.
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 2)), images()
    fast = accelerate(net)
    fast(x).sum().backward()
    direction = [torch.randn_like(p) for p in net.parameters()]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(net.parameters(), direction, strict=True))
    values = []
    for step in (1e-3, -2e-3):
        with torch.no_grad():
            for p, d in zip(net.parameters(), direction, strict=True):
                p.add_(d, alpha=step)
        values.append(fast(x).double().sum().item())
    assert abs((values[0] - values[1]) / 2e-3 - slope) < 1e-2 * abs(slope) + 0.1
