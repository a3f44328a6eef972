"""Steps that are like the one before run by a shorter way: it must notice whatever changes between two of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.engine import TrainingStep
from striate.errors import UsageError

pytestmark = pytest.mark.native


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


def _batch(n, count=20):
    generator = torch.Generator().manual_seed(n)
    return torch.randn(count, 2, 6, 6, generator=generator), torch.randint(0, 5, (count,), generator=generator)


def _other_rate(model, optimizer):
    optimizer.param_groups[0]["lr"] = 0.02


def _other_momentum(model, optimizer):
    optimizer.param_groups[0]["momentum" if "momentum" in optimizer.param_groups[0] else "weight_decay"] = 0.5


def _no_momentum(model, optimizer):
    if "momentum" in optimizer.param_groups[0]:
        optimizer.param_groups[0].update(momentum=0.0, nesterov=False)


def _loaded_state(model, optimizer):
    state = copy.deepcopy(optimizer.state_dict())
    for own in state["state"].values():
        for value in own.values():
            value.mul_(0.5) if value.ndim else None
    optimizer.load_state_dict(state)


def _cleared_state(model, optimizer):
    optimizer.state.clear()


def _other_weights(model, optimizer):
    with torch.no_grad():
        model[0].weight.mul_(0.5)


def _other_memory(model, optimizer):
    model[0].weight.data = model[0].weight.data * 2


def _frozen(model, optimizer):
    model[0].weight.requires_grad_(False)
    model[0].weight.grad = None


def _frozen_statistics(model, optimizer):
    model[1].eval()


def _other_layer(model, optimizer):
    model[2] = nn.LeakyReLU(0.1)


CHANGES = [
    _other_rate, _other_momentum, _no_momentum, _loaded_state, _cleared_state, _other_weights, _other_memory, _frozen,
    _frozen_statistics, _other_layer,
]  # fmt: skip
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3, dampening=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__.strip("_"))
def test_changes_between_steps(name, change):
    mine, theirs = _network(), _network()
    own, stock = OPTIMIZERS[name](mine.parameters()), OPTIMIZERS[name](theirs.parameters())
    step = TrainingStep(mine, optimizer=own)
    for n in range(9):
        if n == 5:
            assert step._again is not None, "the shorter way was not taken"
            change(mine, own)
            change(theirs, stock)
        x, targets = _batch(n)
        loss, _ = step(x, targets)
        stock.zero_grad()
        wanted = F.cross_entropy(theirs(x), targets)
        wanted.backward()
        stock.step()
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-4, atol=1e-5)
    for p, q in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
        # Adam divides what is nearly 0 by its own size: there the last bits of a gradient count.
        torch.testing.assert_close(p, q, rtol=2e-3, atol=5e-4 if name == "adamw" else 1e-5)
    assert mine[1].num_batches_tracked == theirs[1].num_batches_tracked


def test_a_wrong_target_changes_nothing():
    model = _network()
    optimizer = torch.optim.Adam(model.parameters())
    step = TrainingStep(model, optimizer=optimizer)
    x, targets = _batch(0)
    for _ in range(4):
        step(x, targets)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    wrong = targets.clone()
    wrong[3] = 5
    with pytest.raises(UsageError, match="from 0 to 4"):
        step(x, wrong)
    after = model.state_dict(), optimizer.state_dict()
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert all(s["step"] == 4 for s in after[1]["state"].values())


def test_batches_of_other_sizes_in_between():
    mine, theirs = _network(), _network()
    own, stock = OPTIMIZERS["sgd"](mine.parameters()), OPTIMIZERS["sgd"](theirs.parameters())
    step = TrainingStep(mine, optimizer=own)
    for n, count in enumerate([20, 20, 20, 7, 20, 20, 20, 33, 33, 33, 20]):
        x, targets = _batch(n, count)
        loss, logits = step(x, targets)
        assert logits.shape == (count, 5)
        stock.zero_grad()
        wanted = F.cross_entropy(theirs(x), targets)
        wanted.backward()
        stock.step()
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-4, atol=1e-5)


def test_other_inputs_than_the_last():
    x, targets = _batch(0)
    losses = {}
    for name, inputs in {"plain": x, "columns": x.mT.contiguous().mT, "a view": torch.cat([x, x])[: len(x)]}.items():
        model = _network()
        step = TrainingStep(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
        for _ in range(4):
            step(x, targets)
        losses[name] = float(step(inputs, targets)[0])
    assert losses["plain"] == losses["columns"] == losses["a view"]
    with pytest.raises(UsageError, match="float32"):
        step(x.double(), targets)


def test_weights_that_a_backward_pass_kept_are_noticed():
    model = _network()
    step = TrainingStep(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
    x, targets = _batch(0)
    for _ in range(4):
        step(x, targets)
    kept = x.clone().requires_grad_()
    loss = model(kept).sum()
    step(x, targets)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_dropout_draws_as_often_as_steps_are_taken():
    def losses(again):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(72, 30), nn.Dropout(0.5), nn.Linear(30, 5))
        step = TrainingStep(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        found = []
        for n in range(6):
            if not again:
                step._last = None
            found.append(float(step(*_batch(n))[0]))
        return found, torch.random.get_rng_state()

    one, other = losses(again=True), losses(again=False)
    assert one[0] == other[0]
    assert torch.equal(one[1], other[1])
