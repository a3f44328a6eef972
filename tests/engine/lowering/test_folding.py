"""Batch norm folded into the layer before it: nothing is left of it, and the numbers are those of PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from striate.engine import accelerate

pytestmark = pytest.mark.native


def _trained(model: nn.Module) -> nn.Module:
    """Give batch norms statistics and scales that are not those of the start."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


NETWORKS = {
    "convolution": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()),
    "without bias, pooled": lambda: nn.Sequential(
        nn.Conv2d(3, 9, 3, bias=False), nn.BatchNorm2d(9), nn.ReLU(), nn.MaxPool2d(2)
    ),
    "Winograd": lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 9, 3, padding=1), nn.BatchNorm2d(9)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6), nn.Hardswish()),
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.BatchNorm1d(7), nn.Tanh()),
}


@pytest.mark.parametrize("batch", [1, 13])
@pytest.mark.parametrize("name", NETWORKS)
def test_folded(name, batch):
    model = _trained(NETWORKS[name]())
    fast, x = accelerate(model), torch.randn(batch, 3, 8, 8)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x.double())
        assert float((fast(x).double() - expected).norm() / expected.norm()) < 1e-5
    plans = fast.plans(x) if not torch.is_grad_enabled() else None
    with torch.no_grad():
        plans = fast.plans(x)
    assert "normalize" not in str(plans[0])


def test_new_statistics_are_folded_anew():
    model = _trained(NETWORKS["convolution"]())
    fast, x = accelerate(model), torch.randn(9, 3, 8, 8)
    with torch.no_grad():
        fast(x)
        model[1].running_var.mul_(4.0)
        assert torch.allclose(fast(x), model(x), rtol=1e-4, atol=1e-5)
