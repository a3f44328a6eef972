"""Parameter groups, updates written out by hand, and the gradient terms."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from striate.train.optimizer import add_gradient_terms, build_optimizer, set_learning_rate, without_compiler
from striate.train.recipe import Recipe


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def _backward(network: nn.Module) -> None:
    torch.manual_seed(1)
    network(torch.randn(5, 1, 4, 4)).square().sum().backward()


def _names(network: nn.Module, group) -> set[str]:
    wanted = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


def test_only_weights_decay():
    network = _network()
    groups = build_optimizer(network, recipe=Recipe(weight_decay=0.01, bias_lr_scale=8)).param_groups
    assert [_names(network, group) for group in groups] == [
        {"0.weight"},
        {"3.weight"},
        {"0.bias", "1.weight", "1.bias", "3.bias"},
    ]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.01, 0.0]
    assert [group["lr_scale"] for group in groups] == [1.0, 1.0, 8]


def test_muon_gives_the_rest_a_rate_of_its_own_and_orthogonal_updates_to_hidden_weights():
    recipe = Recipe(opt="muon", lr=0.2, rest_lr=0.05, bias_lr_scale=2, normalize_weights=True, rest_momentum=0.8)
    groups = build_optimizer(_network(), recipe=recipe).param_groups
    assert [group["orthogonal"] for group in groups] == [True, False, False]
    assert [group["lr_scale"] for group in groups] == pytest.approx([1.0, 0.25, 0.5])
    assert [group["momentum"] for group in groups] == [0.9, 0.8, 0.8]
    assert all(group["normalize"] for group in groups)
    others = build_optimizer(_network(), recipe=Recipe(opt="sgd", lr=0.2, rest_lr=0.05)).param_groups
    assert [group["lr_scale"] for group in others] == [1.0, 1.0, 1.0]


def test_decay_all_decays_all():
    groups = build_optimizer(_network(), recipe=Recipe(weight_decay=0.01, decay_all=True)).param_groups
    assert {group["weight_decay"] for group in groups} == {0.01}


def test_frozen_parameters_are_left_out():
    network = _network()
    network[0].requires_grad_(False)
    groups = build_optimizer(network, recipe=Recipe()).param_groups
    assert set().union(*(_names(network, group) for group in groups)) == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_learning_rate_is_scaled_by_group():
    optimizer = build_optimizer(_network(), recipe=Recipe(bias_lr_scale=64))
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5, 32.0]


@pytest.mark.parametrize("fused", [False, True])
def test_two_steps_of_nesterov_sgd_by_hand(fused):
    network = nn.Linear(2, 1, bias=False)
    recipe = Recipe(opt="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    optimizer = build_optimizer(network, recipe=recipe, fused=fused)
    weight, velocity = network.weight.detach().clone().double(), torch.zeros(1, 2, dtype=torch.float64)
    for gradient in (torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.25]])):
        network.weight.grad = gradient.clone()
        optimizer.step()
        decayed = gradient.double() + 0.01 * weight
        velocity = 0.9 * velocity + decayed
        weight = weight - 0.1 * (decayed + 0.9 * velocity)
    torch.testing.assert_close(network.weight.double(), weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fused", [False, True])
def test_one_step_of_adamw_by_hand(fused):
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    optimizer = build_optimizer(
        network, recipe=Recipe(opt="adamw", lr=0.1, momentum=0.8, weight_decay=0.5), fused=fused
    )
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    network.weight.grad = torch.tensor([[3.0, -4.0]])
    optimizer.step()
    # In the first step the bias-corrected moments are g and g^2: the update is the sign of the gradient.
    expected = before * (1 - 0.1 * 0.5) - 0.1 * torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(network.weight.detach(), expected, rtol=1e-5, atol=1e-6)


def test_adam_adds_its_decay_to_the_gradient():
    optimizer = build_optimizer(_network(), recipe=Recipe(opt="adam", weight_decay=0.1))
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_sgd_without_momentum_has_no_nesterov():
    assert build_optimizer(_network(), recipe=Recipe(momentum=0.0)).param_groups[0]["nesterov"] is False


def test_muon_is_built():
    assert type(build_optimizer(_network(), recipe=Recipe(opt="muon"))).__name__ == "Muon"


def _gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_l1_adds_the_sign_of_decayed_weights():
    network, recipe = _network(), Recipe(l1=0.25)
    optimizer = build_optimizer(network, recipe=recipe)
    _backward(network)
    before = _gradients(network)
    add_gradient_terms(optimizer, recipe=recipe, step=0)
    for name, parameter in network.named_parameters():
        sign = parameter.detach().sign() if name in ("0.weight", "3.weight") else torch.zeros_like(parameter)
        torch.testing.assert_close(parameter.grad, before[name] + 0.25 * sign)


@pytest.mark.parametrize("step", [0, 99])
def test_gradient_noise_has_the_published_deviation(step):
    # Neelakantan et al. 2015: variance eta / (1 + t)^0.55, so the standard deviation falls as (1 + t)^-0.275.
    network = nn.Linear(200, 200, bias=False)
    recipe = Recipe(grad_noise=0.5)
    optimizer = build_optimizer(network, recipe=recipe)
    network.weight.grad = torch.zeros_like(network.weight)
    torch.manual_seed(0)
    add_gradient_terms(optimizer, recipe=recipe, step=step)
    # 40,000 draws: the standard error of a deviation is 0.35 %, five of them are 1.8 %.
    assert network.weight.grad.std().item() == pytest.approx(0.5 * (1 + step) ** -0.275, rel=0.018)


def test_clipping_limits_the_norm_of_the_whole_gradient():
    network, recipe = _network(), Recipe(clip_grad=0.5)
    optimizer = build_optimizer(network, recipe=recipe)
    _backward(network)
    before = _gradients(network)
    norm = torch.cat([gradient.flatten() for gradient in before.values()]).norm()
    assert norm > 0.5
    add_gradient_terms(optimizer, recipe=recipe, step=0)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, before[name] * 0.5 / norm, rtol=1e-5, atol=1e-7)


def test_nothing_is_added_by_default():
    network, recipe = _network(), Recipe()
    optimizer = build_optimizer(network, recipe=recipe)
    _backward(network)
    before = _gradients(network)
    add_gradient_terms(optimizer, recipe=recipe, step=0)
    assert all(torch.equal(parameter.grad, before[name]) for name, parameter in network.named_parameters())


def test_pytorchs_compiler_is_not_imported():
    program = """
import sys
from torch import nn, optim
from striate.train.optimizer import build_optimizer, without_compiler
from striate.train.recipe import Recipe
for name in ("sgd", "adamw", "muon"):
    optimizer = build_optimizer(nn.Linear(3, 2), recipe=Recipe(opt=name))
    with without_compiler():
        optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
optim.SGD(nn.Linear(3, 2).parameters())
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]  # PyTorch does what it always does, once it is asked directly


def test_pytorchs_methods_are_as_they_were():
    method = torch.optim.Optimizer.add_param_group.__wrapped__
    before = dict(vars(method))
    with without_compiler():
        pass
    assert vars(method) == before
