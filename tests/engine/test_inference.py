"""Forward passes without gradients: few images one by one, many in lanes, and always the network as it is now."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from striate import models
from striate.engine import accelerate
from striate.engine.single import SinglePlan

SMALL = ("mlp_mnist", "lenet5", "cnn_cifar", "resnet20", "mobilenet_v2_cifar", "lecun1989")


def _error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("name", SMALL)
def test_networks_in_evaluation(name, width):
    torch.manual_seed(0)
    model = models.create(name).eval()
    fast, double = accelerate(model), copy.deepcopy(model).double()
    for batch in (1, 2, width - 1, width, 2 * width + 1):
        x = torch.randn(batch, *models.info(name).input_size)
        with torch.no_grad():
            assert _error(fast(x), double(x.double())) < 1e-5, batch


def test_one_image_has_a_plan_of_its_own():
    fast = accelerate(models.create("lenet5").eval())
    with torch.no_grad():
        one, many = (fast.plans(torch.zeros(n, 1, 28, 28))[0] for n in (1, 64))
    assert isinstance(one, SinglePlan)
    assert not isinstance(many, SinglePlan)


@pytest.mark.parametrize("batch", [1, 20])
def test_training_and_evaluation_in_turn(batch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 9, 3), nn.BatchNorm2d(9), nn.ReLU(), nn.Flatten(), nn.Linear(324, 3))
    fast, x = accelerate(model), torch.randn(batch, 1, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        fast.train()
        fast(torch.randn(12, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        fast.eval()
        with torch.no_grad():
            assert torch.allclose(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_other_weights_are_seen():
    model, other = models.create("lenet5").eval(), models.create("lenet5")
    fast, x = accelerate(model), torch.randn(1, 1, 28, 28)
    with torch.no_grad():
        before = fast(x)
        model.load_state_dict(other.state_dict())
        assert not torch.allclose(fast(x), before)
        assert torch.allclose(fast(x), model(x), rtol=1e-4, atol=1e-5)
