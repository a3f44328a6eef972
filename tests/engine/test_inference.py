"""Forward passes without gradients, in lanes and one by one, beside PyTorch's float64; and what makes them outdated."""

from __future__ import annotations

import copy
import threading
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from striate import models
from striate.engine import Accelerated, accelerate
from striate.engine._machine import machine
from striate.engine._partition import CAPTURED_BATCH, example_of, partition
from striate.engine.inference import Inference
from striate.graph import capture

pytestmark = pytest.mark.native

LIMIT = 1e-5
"""Length of the error over the length of the output."""


def _filled(model: nn.Module) -> nn.Module:
    """Give batch norms statistics and factors of their own, and return the network in evaluation."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):
                if tensor is not None:
                    tensor.uniform_(low, high)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else next(iter(output))


def _error(found: Any, model: nn.Module, x: Tensor) -> float:
    """Return the error of an output, beside a copy of the network in float64."""
    with torch.no_grad():
        truth = _first(copy.deepcopy(model).double()(x.double()))
    found = _first(found)
    assert found.shape == truth.shape
    return float((found.double() - truth).norm() / truth.norm())


def _both(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Return the errors of both plans for the same images."""
    graph = capture(model, example_of(x))
    parts, _ = partition(graph, batch=CAPTURED_BATCH)
    assert len(parts) == 1
    assert parts[0].in_engine
    inference = Inference(graph, parts[0], machine())
    with torch.no_grad():
        plans = {"lanes": inference.lanes.forward, "single": inference.single.forward}
        return {name: _error(forward([x])[0], model, x) for name, forward in plans.items()}


SMALL = [
    name for name in models.list() if models.info(name).num_params < 5e6 and models.info(name).input_size[-1] < 100
]
LARGE = [name for name in models.list() if name not in SMALL]


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name, width):
    torch.manual_seed(0)
    model = _filled(models.create(name))
    x = torch.randn(width + 3, *models.info(name).input_size)
    fast = accelerate(model)
    with torch.no_grad():
        assert _error(fast(x), model, x) < LIMIT
        assert _error(fast(x[:1]), model, x[:1]) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks(name):
    torch.manual_seed(0)
    model = _filled(models.create(name))
    errors = _both(model, torch.randn(1, *models.info(name).input_size))
    assert max(errors.values()) < LIMIT, errors


class Residual(nn.Module):
    """A network with what is folded, and what only looks as if it could be."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(12)
        self.shortcut = nn.Conv2d(12, 20, 1, stride=2)
        self.conv3 = nn.Conv2d(12, 20, 3, stride=2, padding=1)
        self.norm3 = nn.BatchNorm2d(20, affine=False)
        self.before = nn.BatchNorm2d(20)
        self.hidden = nn.Linear(20, 17, bias=False)
        self.norm4 = nn.BatchNorm1d(17)
        self.head = nn.Linear(17, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.stem(x)))
        x = torch.relu(x + self.norm2(self.conv2(x)))
        x = nn.functional.hardtanh(self.norm3(self.conv3(x)) + self.shortcut(x), -1.0, 2.0)
        x = nn.functional.silu(self.before(x) + x)
        x = x.mean((2, 3))
        return self.head(nn.functional.elu(self.norm4(self.hidden(x))))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return _filled(Residual())


def test_batch_norms_with_fixed_statistics_leave_nothing_to_do(network):
    fast = accelerate(network)
    with torch.no_grad():
        for count in (1, 20):
            x = torch.randn(count, 3, 9, 9)
            assert _error(fast(x), network, x) < LIMIT
    for plan in fast._last().plans:  # type: ignore[attr-defined]
        names = [i.name for stage in plan.stages for i in stage.instructions]
        assert sum("normalize" in name for name in names) == 1, names  # `before`, which no layer comes before
        packing = [i for stage in plan.stages[: plan.packing_stages] for i in stage.instructions]
        assert [i.name for i in packing].count("batch_coefficients") == 5
        assert all("pack" not in i.name for stage in plan.stages[plan.packing_stages :] for i in stage.instructions)


def test_every_number_of_images(network, width):
    fast = accelerate(network)
    with torch.no_grad():
        for count in range(1, 2 * width + 2):
            x = torch.randn(count, 3, 8, 8)
            assert _error(fast(x), network, x) < LIMIT, count


def test_every_number_of_images_with_every_number_of_threads(network, width):
    x = torch.randn(2 * width + 1, 3, 8, 8)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        fast = accelerate(network)
        with torch.no_grad():
            for count in (1, 2, 3, width - 1, width, 2 * width + 1):
                assert _error(fast(x[:count]), network, x[:count]) < LIMIT, (threads, count)


def test_sizes_of_images_have_plans_of_their_own(network):
    fast = accelerate(network)
    with torch.no_grad():
        for size in ((8, 8), (9, 7), (12, 5), (8, 8)):
            for count in (1, 11):
                x = torch.randn(count, 3, *size)
                assert _error(fast(x), network, x) < LIMIT


COUNTS = pytest.mark.parametrize("count", [1, 20])


def _unlike(fast: Accelerated, network: nn.Module, x: Tensor, before: Tensor) -> None:
    """Assert that an output is right, and not what it was before."""
    with torch.no_grad():
        after = fast(x)
        assert _error(after, network, x) < LIMIT
        assert not torch.allclose(after, before, atol=1e-4)
        assert torch.equal(fast(x), after)


def _warm(network: nn.Module, count: int, *, size: tuple[int, ...] = (3, 8, 8)) -> tuple[Accelerated, Tensor, Tensor]:
    x = torch.randn(count, *size)
    fast = accelerate(network)
    with torch.no_grad():
        fast(x)
        return fast, x, fast(x)


@COUNTS
def test_a_training_step_in_between(network, count):
    fast, x, before = _warm(network, count)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    fast.train()
    images = torch.randn(6, 3, 8, 8)
    for _ in range(2):
        optimizer.zero_grad()
        fast(images).square().sum().backward()
        optimizer.step()
    fast.eval()
    _unlike(fast, network, x, before)


@COUNTS
def test_a_fused_step_in_between(network, count):
    from striate.engine import TrainingStep

    fast, x, before = _warm(network, count)
    step = TrainingStep(network.train(), optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    step(torch.randn(6, 3, 8, 8), torch.arange(6) % 5)
    fast.eval()
    _unlike(fast, network, x, before)


@COUNTS
def test_other_weights_loaded(network, count):
    fast, x, before = _warm(network, count)
    torch.manual_seed(2)
    network.load_state_dict(_filled(Residual()).state_dict())
    _unlike(fast, network, x, before)


@COUNTS
@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.head.weight.detach().mul_(2),
        lambda n: n.head.weight.data.mul_(2),
        lambda n: setattr(n.head.weight, "data", n.head.weight.data * 2),
        lambda n: setattr(n.head, "weight", nn.Parameter(n.head.weight.detach() * 2)),
        lambda n: setattr(n, "head", nn.Linear(17, 5)),
        lambda n: n.norm1.running_mean.add_(1),
        lambda n: setattr(n.norm1, "running_var", n.norm1.running_var * 3),
        lambda n: setattr(n.norm1, "eps", 1.0),
        lambda n: n.to(memory_format=torch.channels_last) and n.stem.weight.data.neg_(),
    ],
    ids=[
        "in place",
        "data in place",
        "data",
        "parameter",
        "module",
        "statistics in place",
        "statistics",
        "eps",
        "layout",
    ],
)
def test_changes(network, count, change):
    fast, x, before = _warm(network, count)
    with torch.no_grad():
        change(network)
    network.eval()
    _unlike(fast, network, x, before)


@COUNTS
def test_modes(network, count):
    fast, x, before = _warm(network, count)
    network.train()
    with torch.no_grad():
        expected = copy.deepcopy(network)(torch.cat([x, x + 1]))
        assert torch.allclose(fast(torch.cat([x, x + 1])), expected, atol=1e-4)  # statistics of the batch
    network.eval()
    _unlike(fast, network, x, before)  # which have moved those of evaluation


@COUNTS
def test_inference_mode(network, count):
    x = torch.randn(count, 3, 8, 8)
    with torch.inference_mode():
        made_here = copy.deepcopy(network)
        for model in (network, made_here):
            fast = accelerate(model)
            assert _error(fast(x), model, x) < LIMIT
            before = fast(x)
            model.head.weight.mul_(2)
            _unlike(fast, model, x, before)


def test_strides_and_negative_bits(network):
    fast, x, _ = _warm(network, 1)
    with torch.no_grad():
        for y in (x.transpose(2, 3), x.expand(1, 3, 8, 8), torch._neg_view(x), x.to(memory_format=torch.channels_last)):
            assert _error(fast(y), network, y.contiguous().resolve_neg()) < LIMIT


def test_hooks_on_the_accelerated_network_are_called(network):
    fast, x, _ = _warm(network, 1)
    seen: list[str] = []
    handles = [
        fast.register_forward_hook(lambda module, inputs, output: seen.append("own")),
        nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append("global")),
    ]
    with torch.no_grad():
        fast(x)
    for handle in handles:
        handle.remove()
    assert {"own", "global"} <= set(seen)


@COUNTS
def test_gradients_are_there_where_they_are_wanted(network, count):
    fast, x, _ = _warm(network, count)
    output = fast(x)
    assert output.requires_grad
    output.sum().backward()
    assert network.stem.weight.grad is not None


def test_calls_at_the_same_time(network):
    from concurrent.futures import ThreadPoolExecutor

    fast, x, before = _warm(network, 1)

    def call(_: int) -> bool:
        with torch.no_grad():
            return torch.equal(fast(x), before)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(200)))


def test_a_call_in_the_midst_of_another_goes_the_long_way(network, monkeypatch):
    found = ["warming up"]

    def empty(like: Tensor) -> Tensor:  # as another thread may, that Python lets go on here
        if not found:
            found.append("nothing yet")
            found.append(ready.run(x))
        return torch.zeros_like(like)

    monkeypatch.setattr(torch, "empty_like", empty)
    fast, x, before = _warm(network, 1)
    (ready,) = fast.__dict__["_ready"].values()
    found.clear()
    with torch.no_grad():
        assert torch.equal(ready.run(x), before)
    assert found == ["nothing yet", None]


def test_a_change_while_another_thread_computes_is_not_forgotten():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(48, 48, 3, padding=1, bias=False) for _ in range(12))).eval()
    fast, x, _ = _warm(model, 1, size=(48, 48, 48))
    (ready,) = fast.__dict__["_ready"].values()
    with torch.no_grad():
        for _ in range(5):
            fast(x)
            thread = threading.Thread(target=torch.no_grad()(ready.run), args=(x,))
            thread.start()
            time.sleep(0.001)  # it is computing
            model[0].weight[0, 0, 0, 1] += 100.0  # not one of the numbers that are looked at before each call
            ready.native.renew()
            thread.join()
            assert _error(fast(x), model, x) < LIMIT


def test_the_plan_shows_both(network):
    fast = accelerate(network)
    with torch.no_grad():
        fast(torch.randn(1, 3, 8, 8))
        fast(torch.randn(20, 3, 8, 8))
    assert "image_taps" in fast.plan
    assert "one image after the other" in fast.plan
    assert "blocks of" in fast.plan
    assert max(map(len, fast.plan.splitlines())) <= 100
