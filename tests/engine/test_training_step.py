"""The fused step beside PyTorch's: losses, logits, weights, the optimizer's own state, and what it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.engine import TrainingStep
from striate.engine._optimizers import reason_against
from striate.engine.extension import extension, isa
from striate.errors import UsageError

pytestmark = pytest.mark.native


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def _batch(step: int, size: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(step)
    return torch.randn(size, 1, 8, 8), torch.randint(0, 3, (size,))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2, betas=(0.8, 0.99)),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, eps=1e-6),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_are_those_of_pytorch(name, smoothing):
    ours, theirs = _network(), _network()
    own, other = OPTIMIZERS[name](ours.parameters()), OPTIMIZERS[name](theirs.parameters())
    schedules = [torch.optim.lr_scheduler.StepLR(o, step_size=4, gamma=0.3) for o in (own, other)]
    step = TrainingStep(ours, optimizer=own, smoothing=smoothing)
    for number in range(10):
        inputs, targets = _batch(number)
        loss, logits = step(inputs, targets)
        expected = theirs(inputs)
        value = F.cross_entropy(expected, targets, label_smoothing=smoothing)
        other.zero_grad()
        value.backward()
        other.step()
        for schedule in schedules:
            schedule.step()
        torch.testing.assert_close(loss, value.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(logits, expected.detach(), rtol=1e-4, atol=1e-5)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["momentum", "adam", "adamw"])
def test_the_state_is_the_optimizers_own(name):
    """Saved after engine steps, loaded into a fresh optimizer, PyTorch goes on as the engine would have."""
    ours = _network()
    own = OPTIMIZERS[name](ours.parameters())
    step = TrainingStep(ours, optimizer=own)
    for number in range(3):
        step(*_batch(number))
    theirs = copy.deepcopy(ours)
    other = OPTIMIZERS[name](theirs.parameters())
    other.load_state_dict(copy.deepcopy(own.state_dict()))  # loading shares the tensors
    inputs, targets = _batch(7)
    step(inputs, targets)
    F.cross_entropy(theirs(inputs), targets).backward()
    other.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=2e-5)
    # And back: what PyTorch saved is taken up by the engine.
    own.load_state_dict(other.state_dict())
    step(*_batch(8))


def test_groups_have_rates_and_decays_of_their_own():
    ours, theirs = _network(), _network()

    def groups(network):
        weights = [p for p in network.parameters() if p.ndim > 1]
        biases = [p for p in network.parameters() if p.ndim == 1]
        return [{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.5, "momentum": 0.0}]

    own, other = (torch.optim.SGD(groups(n), lr=0.01, momentum=0.9) for n in (ours, theirs))
    step = TrainingStep(ours, optimizer=own)
    for number in range(3):
        inputs, targets = _batch(number)
        step(inputs, targets)
        other.zero_grad()
        F.cross_entropy(theirs(inputs), targets).backward()
        other.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_frozen_and_foreign_parameters_stay():
    network = _network()
    network[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([p for n, p in network.named_parameters() if n != "6.bias"], lr=0.1, momentum=0.9)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    TrainingStep(network, optimizer=optimizer)(*_batch(0))
    same = {name for name, value in network.state_dict().items() if torch.equal(value, before[name])}
    assert same == {"0.weight", "6.bias"}


def test_batch_norm_moves_its_statistics():
    ours = nn.Sequential(nn.Conv2d(1, 9, 3, padding=1), nn.BatchNorm2d(9), nn.ReLU(), nn.Flatten(), nn.Linear(576, 3))
    theirs = copy.deepcopy(ours)
    inputs, targets = _batch(0)
    TrainingStep(ours, optimizer=torch.optim.SGD(ours.parameters(), lr=0.1))(inputs, targets)
    theirs(inputs)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours[1], key), getattr(theirs[1], key), rtol=1e-5, atol=1e-6)


def test_dropout_follows_pytorchs_seed():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))
    step = TrainingStep(network, optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    inputs, targets = _batch(0)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(step(inputs, targets)[1])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("independent", [False, True])
def test_the_same_bits_run_after_run(independent):
    weights = []
    for threads in (2, 2) if not independent else (1, 2, 3):
        torch.set_num_threads(threads)
        network = _network()
        step = TrainingStep(network, optimizer=OPTIMIZERS["momentum"](network.parameters()), independent=independent)
        for number in range(3):
            step(*_batch(number, size=61))
        weights.append(torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone())
    assert all(torch.equal(weights[0], other) for other in weights[1:])


def test_a_backward_pass_notices_that_the_weights_have_changed():
    network = _network()
    inputs, targets = _batch(0)
    loss = F.cross_entropy(network(inputs), targets)
    TrainingStep(network, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))(inputs, targets)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_lenet_learns():
    torch.manual_seed(0)
    network = models.create("lenet5")
    step = TrainingStep(network, optimizer=torch.optim.Adam(network.parameters(), lr=2e-3))
    images, targets = torch.randn(64, 1, 28, 28), torch.arange(64) % 10
    losses = [float(step(images, targets)[0]) for _ in range(80)]
    assert losses[-1] < 0.1 < losses[0]


REFUSED = {
    "RMSprop is none of": lambda p: torch.optim.RMSprop(p),
    "amsgrad=True": lambda p: torch.optim.Adam(p, amsgrad=True),
    "maximize=True": lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_optimizers_that_it_does_not_have(reason):
    network = _network()
    optimizer = REFUSED[reason](network.parameters())
    assert reason in str(reason_against(optimizer))
    with pytest.raises(UsageError, match=rf"`optimizer` must be .*{reason}.* Use striate\.accelerate"):
        TrainingStep(network, optimizer=optimizer)


def _step(network: nn.Module) -> TrainingStep:
    return TrainingStep(network, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


def test_networks_that_it_cannot_run_whole():
    inputs, targets = _batch(0)
    odd = nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 3))
    with pytest.raises(UsageError, match=r"got 1 \(layer_norm\): no kernel for it. Use striate.accelerate"):
        _step(odd)(inputs, targets)
    maps = nn.Sequential(nn.Conv2d(1, 3, 3))
    with pytest.raises(UsageError, match=r"`model` must return logits \(N, num_classes\), got outputs of shape"):
        _step(maps)(inputs, targets)


@pytest.mark.parametrize(
    ("inputs", "targets", "match"),
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1]), "`inputs` must be a float32 tensor"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(2, 1, 8, 8), torch.tensor([0.0, 1.0]), "`targets` must be int64 classes"),
        (torch.zeros(2, 1, 8, 8), torch.tensor([0, 1, 2]), "one for each of the 2 images"),
        (torch.zeros(2, 1, 8, 8), torch.tensor([0, 3]), "`targets` must be from 0 to 2"),
        (torch.zeros(2, 1, 8, 8), torch.tensor([-1, 0]), "got -1 to 0"),
    ],
)
def test_bad_batches(inputs, targets, match):
    with pytest.raises(UsageError, match=match):
        _step(_network())(inputs, targets)


def test_bad_arguments():
    network = _network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"`model` must be an nn\.Module, got str"):
        TrainingStep("lenet5", optimizer=optimizer)
    with pytest.raises(UsageError, match="`smoothing` must be from 0"):
        TrainingStep(network, optimizer=optimizer, smoothing=1.0)


def test_one_image_is_too_few_for_statistics_of_one_value():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3))
    with pytest.raises(UsageError, match="`inputs` must hold more than one image"):
        _step(network)(torch.zeros(1, 1, 8, 8), torch.tensor([0]))


def test_targets_that_fit_no_class():
    block, chunk, whole, external = 0, 1, 2, 6
    width = extension().width(isa())[0]
    program = extension().Program(
        isa(),
        [(external, 0, 0), (0, 3 * width * 4, 0), (external, 0, 1), (0, 3 * width * 4, 0), (5, 8, 0), (external, 0, 2)],
        [
            ("load", block, [3, 1, 1, width, width, 0, 0], [], [0, 1], []),
            ("cross_entropy", chunk, [3, width, 0, width, 0], [0.0], [1, 2, 3, 4], []),
            ("sum_losses", whole, [], [], [4, 5], []),
        ],
        [(False, 0, 2), (True, 2, 3)],
        *(2, 3, 0),
    )
    assert program.external_bytes(1) == (0, 8)
    x, targets, loss = torch.zeros(50, 3), torch.zeros(50, dtype=torch.int64), torch.zeros(())
    workspace = extension().Workspace()
    workspace.prepare(program, 50, 3, False)
    addresses = [x.data_ptr(), targets.data_ptr(), loss.data_ptr()]
    for wrong in (-1, 3, 2**62):
        targets[40] = wrong
        with pytest.raises(IndexError, match=f"`targets` must be 0 to 2, got {wrong}"):
            workspace.run(program, 0, 2, addresses, [], 0)
    targets[40] = 2
    workspace.run(program, 0, 2, addresses, [], 0)
    assert loss.item() == pytest.approx(math.log(3.0))
