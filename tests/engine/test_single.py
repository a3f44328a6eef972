"""One image with its channels in the lanes: every layer it has, odd numbers of channels, what it leaves to others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.engine import accelerate
from striate.engine.single import SinglePlan

CASES = {
    "convolution": nn.Conv2d(3, 5, 3, padding=1),
    "stride and dilation": nn.Conv2d(3, 17, (3, 2), stride=2, padding=2, dilation=(1, 2)),
    "depthwise": nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "groups": nn.Conv2d(6, 10, 3, groups=2),
    "max pooling": nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
    "average pooling": nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "global pooling": nn.AdaptiveAvgPool2d(1),
    "adaptive pooling": nn.AdaptiveMaxPool2d((2, 3)),
    "local response": nn.LocalResponseNorm(5),
    "batch norm": nn.BatchNorm2d(6),
    "GELU": nn.GELU(),
    "dense": nn.Sequential(nn.Conv2d(6, 3, 1), nn.Flatten(), nn.Linear(147, 11), nn.ReLU(), nn.Linear(11, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_layers(name):
    torch.manual_seed(0)
    layer = CASES[name]
    channels = layer.in_channels if isinstance(layer, nn.Conv2d) else 6
    model = nn.Sequential(layer).eval()
    fast, x = accelerate(model), torch.randn(1, channels, 7, 7)
    with torch.no_grad():
        truth = copy.deepcopy(model).double()(x.double())
        assert float((fast(x).double() - truth).norm() / truth.norm()) < 1e-5
        assert isinstance(fast.plans(x)[0], SinglePlan)


class Skip(nn.Module):
    """A sum, a product, a concatenation, and halves of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv(x)) + x
        return torch.cat([y[:, :2], y * x, 2 * x - 1], dim=1)


def test_combinations():
    torch.manual_seed(0)
    model = Skip().eval()
    fast, x = accelerate(model), torch.randn(1, 5, 6, 7)
    with torch.no_grad():
        assert torch.allclose(fast(x), model(x), rtol=1e-5, atol=1e-6)


def test_the_plan_is_printed():
    fast, x = accelerate(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).eval()), torch.zeros(1, 3, 7, 7)
    with torch.no_grad():
        fast(x)
        text = str(fast.plans(x)[0])
    assert "image_taps" in text
    assert max(map(len, text.splitlines())) <= 100
