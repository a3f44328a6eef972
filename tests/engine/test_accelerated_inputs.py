"""Inputs and outputs of every form through `accelerate`, and networks that do unusual things with them."""

from __future__ import annotations

import copy
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate import models
from striate.engine import accelerate

pytestmark = pytest.mark.native


def test_no_images(small, images):
    # What PyTorch does with none: in evaluation an empty result.
    net, x = small().eval(), images()
    fast = accelerate(net)
    fast(x)
    assert fast(x[:0]).shape == (0, 5)
    with torch.no_grad():
        assert fast(x[:0]).shape == (0, 5)


def test_other_types_of_input(small, images):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x)
    for other in (x.double(), x.long(), x.bool(), x.half(), x.bfloat16()):
        with pytest.raises(RuntimeError, match=r"(?i)type|expected|not implemented for"):
            fast(other)


def test_no_tensor(small):
    fast = accelerate(small())
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        fast([1.0, 2.0])
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        fast()


STRIDED = {
    "non-contiguous": lambda images: torch.randn(8, 8, 2, 11).permute(3, 2, 0, 1),
    "channels last": lambda images: images().to(memory_format=torch.channels_last),
    "every other image": lambda images: images(22)[::2],
    "every other pixel": lambda images: images(size=16)[:, :, ::2, ::2],
    "expanded images": lambda images: images(1).expand(11, -1, -1, -1),
    "expanded channels": lambda images: images()[:, :1].expand(-1, 2, -1, -1),
    "a view into a larger one": lambda images: torch.randn(11, 4, 10, 10)[:, 1:3, 1:-1, 1:-1],
    "not aligned": lambda images: torch.randn(11 * 128 + 1)[1:].view(11, 2, 8, 8),
    "transposed": lambda images: images().transpose(2, 3),
    "negated": lambda images: torch._neg_view(
        images()
    ),  # as the imaginary part of a conjugate: the sign is not in memory
    "imaginary": lambda images: torch.randn(11, 2, 8, 8, dtype=torch.complex64).conj().imag,
}


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("learns", [False, True])
def test_strides(small, images, close, name, learns):
    torch.manual_seed(0)
    net, x = small(), STRIDED[name](images)
    stock = copy.deepcopy(net)
    results = []
    for call in (accelerate(net), stock):
        own = x.detach().requires_grad_(learns)
        y = call(own)
        y.square().sum().backward()
        results.append((y, own.grad))
    (mine, mine_gradient), (theirs, their_gradient) = results
    assert close(mine, theirs)
    assert all(close(p.grad, q.grad) for p, q in zip(net.parameters(), stock.parameters(), strict=True))
    assert not learns or close(mine_gradient, their_gradient)


def test_gradients_of_the_output_with_strides(small, images, close):
    net, x = small(), images()
    stock = copy.deepcopy(net)
    for call in (accelerate(net), stock):
        y = call(x)
        y.sum().backward()  # an expanded number
        call(x).t().matmul(torch.ones(11, 3)).sum().backward()  # transposed
    assert all(close(p.grad, q.grad) for p, q in zip(net.parameters(), stock.parameters(), strict=True))


def test_weights_in_channels_last(small, images, assert_same_step):
    net = small().to(memory_format=torch.channels_last)
    assert not net[0].weight.is_contiguous()
    assert_same_step(net, images().to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    fast = accelerate(net)
    for _ in range(2):
        fast(images()).sum().backward()
        optimizer.step()
    assert_same_step(net, images())


def test_weights_with_strides(images, assert_same_step):
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 5))
    net[1].weight = nn.Parameter(torch.randn(128, 5).t())
    net[1].bias = nn.Parameter(torch.randn(5, 2)[:, 1])
    assert_same_step(net, images())


def test_weights_that_are_not_aligned(images, assert_same_step):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 5))
    for layer in (net[0], net[2]):
        weight = torch.randn(layer.weight.numel() + 1)[1:].view(layer.weight.shape)
        layer.weight = nn.Parameter(weight)
    assert_same_step(net, images())


def test_statistics_with_strides(small, images, close):
    net, x = small(), images()
    net[1].running_mean = torch.zeros(4, 2)[:, 0]
    stock = copy.deepcopy(net)
    accelerate(net)(x)
    stock(x)
    assert close(net[1].running_mean, stock[1].running_mean)


def test_images_of_different_sizes_in_turn(assert_same_step):
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )
    fast = accelerate(net)
    for batch, rows, columns in ((3, 8, 8), (20, 5, 9), (1, 2, 2), (3, 8, 8), (11, 16, 3), (2, 1, 1), (20, 5, 9)):
        assert_same_step(net, torch.randn(batch, 2, rows, columns), call=fast)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 8, 8), "to have 2 channels, but got 3 channels"),
        ((4, 2, 2, 2), "Kernel size can't be greater than actual input size"),
        ((4, 2, 9, 20), "shapes cannot be multiplied"),
        ((4, 2), "Expected 3D .unbatched. or 4D .batched. input"),
        ((4,), "Expected 3D .unbatched. or 4D .batched. input"),
        ((), "Expected 3D .unbatched. or 4D .batched. input"),
    ],
)
def test_shapes_that_do_not_fit(small, images, shape, message):
    fast = accelerate(small())
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            fast(torch.randn(shape))
    fast(images())
    with pytest.raises(RuntimeError, match=message):
        fast(torch.randn(shape))


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("outputs", [2, 3])
def test_one_image_without_an_axis_of_images(assert_same_step, channels, outputs):
    # (C, H, W): PyTorch takes it for one image, not for C of them.
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    assert_same_step(net, torch.randn(channels, 6, 6))
    net = nn.Sequential(nn.Conv1d(channels, outputs, 3, padding=1), nn.Tanh())
    assert_same_step(net, torch.randn(channels, 6))
    net = nn.Sequential(nn.MaxPool2d(2))
    assert torch.equal(accelerate(net)(x := torch.randn(channels, 6, 6)), net(x))


def test_several_inputs_and_outputs(images, close, network):
    net = network(
        lambda self, x, y: {"a": self.conv(x).relu(), "rest": [self.fc(y), (x.mean((2, 3)) * 2,)]},
        conv=nn.Conv2d(2, 3, 3),
        fc=nn.Linear(4, 2),
    )
    x, y = images(), torch.randn(11, 4, requires_grad=True)
    found, expected = accelerate(net)(x, y), net(x, y)
    assert [*found] == ["a", "rest"]
    assert isinstance(found["rest"], list)
    assert isinstance(found["rest"][1], tuple)
    assert close(found["a"], expected["a"])
    assert close(found["rest"][0], expected["rest"][0])
    found["rest"][0].sum().backward()
    assert y.grad is not None


def test_inputs_by_name(close):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x, scale=None, *, twice=False):
            y = self.fc(x) if scale is None else self.fc(x) * scale
            return 2 * y if twice else y

    net, x = Net(), torch.randn(5, 4)
    fast = accelerate(net)
    assert close(fast(x), net(x))
    assert close(fast(x, twice=True), net(x, twice=True))
    assert close(fast(x, scale=torch.tensor(3.0)), net(x, scale=torch.tensor(3.0)))
    assert close(fast(x=x), net(x=x))
    assert close(fast(x, None), net(x, None))


def test_inputs_with_different_numbers_of_images(close, network):
    net = network(lambda self, x, y: self.fc(x) + self.fc(y), fc=nn.Linear(4, 3))
    x, y = torch.randn(5, 4), torch.randn(1, 4)
    assert close(accelerate(net)(x, y), net(x, y))


def test_outputs_that_are_inputs(images, close, network):
    x = images()
    net = network(lambda self, x: (x, self.conv(x), x * 1), conv=nn.Conv2d(2, 3, 3))
    same, mapped, _ = accelerate(net)(x)
    assert same is x
    assert close(mapped, net.conv(x))
    assert accelerate(nn.Identity())(x) is x
    twice = network(lambda self, x: (y := self.conv(x), y), conv=nn.Conv2d(2, 3, 3))
    first, second = accelerate(twice)(x)
    assert torch.equal(first, second)
    (first.sum() + 2 * second.sum()).backward()
    assert twice.conv.weight.grad is not None


def test_numbers_of_the_batch_in_the_network(close, network):
    # What the captured run, of three images, computed with its own number of images must not be kept.
    net = network(lambda self, x: self.fc(x) * x.shape[0], fc=nn.Linear(4, 3))
    fast = accelerate(net)
    for batch in (3, 1, 8, 2):
        x = torch.randn(batch, 4)
        assert close(fast(x), net(x))


def test_decisions_on_values(close, network):
    net = network(lambda self, x: self.fc(x) if float(x.detach().sum()) > 0 else -self.fc(x), fc=nn.Linear(4, 3))
    fast = accelerate(net)
    for sign in (1, -1, 1):
        x = sign * torch.rand(5, 4)
        assert close(fast(x), net(x))


def test_decisions_on_the_batch(close, network):
    net = network(lambda self, x: self.fc(x) if len(x) > 4 else -self.fc(x), fc=nn.Linear(4, 3))
    fast = accelerate(net)
    for batch in (3, 8, 4, 5):
        x = torch.randn(batch, 4)
        assert close(fast(x), net(x))


def test_random_numbers_of_the_network(network):
    # Noise of its own is drawn anew at each call, from PyTorch's generator.
    net = network(lambda self, x: x + torch.randn_like(x))
    fast, x = accelerate(net), torch.zeros(5, 4)
    assert not torch.equal(fast(x), fast(x))
    torch.manual_seed(3)
    first = fast(x)
    torch.manual_seed(3)
    assert torch.equal(fast(x), first)


def test_a_network_without_anything_for_the_engine(close, network):
    net = network(lambda self, x: torch.fft.rfft(x).abs())
    fast, x = accelerate(net), torch.randn(5, 8)
    assert close(fast(x), net(x))
    assert "in PyTorch" in fast.report
    fast.plan  # noqa: B018  # an empty plan can be printed


def test_parts_in_pytorch_and_their_report(assert_like_pytorch, network, filled, normal):
    net = network(
        lambda self, x: (
            self.fc(F.softmax(self.a(x).relu().flatten(1), 1)) * torch.special.erf(x.mean((1, 2, 3)))[:, None]
        ),
        a=nn.Conv2d(2, 3, 3),
        fc=nn.Linear(108, 4),
    )
    fast = assert_like_pytorch(filled(net, seed=0, exact=False), normal((11, 2, 8, 8), seed=0), alone=False)
    lines = fast.report.splitlines()
    assert "of 8 operations run in the engine" in lines[0] or "operations run in the engine" in lines[0]
    assert any("softmax" in line for line in lines[1:])
    assert any("erf" in line for line in lines[1:])
    assert all("conv" not in line and "relu" not in line for line in lines[1:])


Pair = namedtuple("Pair", ["logits", "features"])


def test_structures_of_outputs(network):
    net = network(lambda self, x: Pair(self.fc(x), [x * 2, None, "text", 3]), fc=nn.Linear(4, 3))
    x = torch.randn(11, 4)
    found, expected = accelerate(net)(x), net(x)
    assert type(found) is Pair
    assert torch.allclose(found.logits, expected.logits)
    assert torch.equal(found.features[0], expected.features[0])
    assert found.features[1:] == expected.features[1:]


@pytest.mark.slow
def test_googlenet_returns_three_outputs_in_training():
    torch.manual_seed(0)
    net = models.create("googlenet", image_size=64)
    outputs = accelerate(net)(torch.randn(2, 3, 64, 64))
    assert len(outputs) == 3
    assert type(outputs) is type(net(torch.randn(2, 3, 64, 64)))
    assert isinstance(accelerate(net).eval()(torch.randn(2, 3, 64, 64)), torch.Tensor)
