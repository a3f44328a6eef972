"""`accelerate`: a module like any other, whose weights, modes, layers and states are the network's own."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from striate import engine
from striate.engine import Accelerated, accelerate
from striate.errors import UsageError

pytestmark = pytest.mark.native


def test_names_of_the_package():
    # A module of the package must not stand in the way of the function of the same name.
    for module in Path(engine.__file__).parent.glob("[a-z]*.py"):
        importlib.import_module(f"striate.engine.{module.stem}")
    assert engine.accelerate is accelerate
    assert callable(engine.accelerate)
    assert all(not isinstance(getattr(engine, name), ModuleType) for name in engine.__all__)


def test_names_and_states_are_the_networks_own(small):
    net = small()
    fast = accelerate(net)
    assert isinstance(fast, Accelerated)
    assert fast.model is net
    assert [*fast.state_dict()] == [*net.state_dict()]
    assert all(fast.state_dict()[name].data_ptr() == value.data_ptr() for name, value in net.state_dict().items())
    for names in ("named_parameters", "named_buffers"):
        mine, theirs = ([*getattr(module, names)()] for module in (fast, net))
        assert [name for name, _ in mine] == [name for name, _ in theirs]
        assert all(a is b for (_, a), (_, b) in zip(mine, theirs, strict=True))
    assert [name for name, _ in fast.named_children()] == [name for name, _ in net.named_children()]
    assert [name for name, module in fast.named_modules()][1:] == [name for name, module in net.named_modules()][1:]


def test_buffers_that_are_not_saved():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(1), persistent=False)
            self.register_buffer("shift", torch.zeros(1))
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(x)

    net = Net()
    assert [*accelerate(net).state_dict()] == [*net.state_dict()]


def test_load_state_dict(small, images, close):
    net, other = small(), small()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    other(images())
    fast, x = accelerate(net), images(seed=1)
    fast(x)
    assert str(fast.load_state_dict(other.state_dict())) == "<All keys matched successfully>"
    assert close(fast.eval()(x), other.eval()(x))
    assert int(net[1].num_batches_tracked) == 1
    with pytest.raises(RuntimeError, match="Missing key"):
        fast.load_state_dict({})


def test_load_state_dict_by_assignment(small, images, close, assert_same_step):
    net, other = small(), small()
    fast, x = accelerate(net), images()
    for mode in (True, False):
        fast.train(mode)(x)
    with torch.no_grad():
        for tensor in [*other.parameters(), other[1].running_mean]:
            tensor.add_(0.1)
    net.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)
    assert close(fast.eval()(x), other.eval()(x))
    assert_same_step(net.train(), x, call=fast)


def test_save_and_load_of_the_state(small):
    file = io.BytesIO()
    torch.save(accelerate(small()).state_dict(), file)
    file.seek(0)
    small().load_state_dict(torch.load(file, weights_only=True))


def test_train_and_eval_act_on_both(small, images, close):
    net = small(dropout=0.5)
    fast, x = accelerate(net), images()
    assert fast.training
    assert fast.eval() is fast
    assert not any(module.training for module in [fast, *net.modules()])
    assert torch.equal(fast(x), fast(x))
    assert close(fast(x), net(x))
    assert fast.train() is fast
    assert net[6].training
    assert not torch.equal(fast(x), fast(x))
    net.eval()  # the network itself, behind the engine's back
    assert torch.equal(fast(x), fast(x))
    assert not accelerate(net).training


def test_one_layer_in_another_mode(small, images, assert_same_step):
    net = small()
    fast = accelerate(net)
    fast(images())
    net[1].eval()
    before = net[1].running_mean.clone()
    assert_same_step(net, images(seed=1), call=fast)
    assert torch.equal(net[1].running_mean, before)


@pytest.mark.parametrize("change", ["p", "momentum", "eps", "slope", "flag"])
def test_attributes_that_change_between_calls(images, close, change):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.act, self.drop, self.twice = nn.BatchNorm2d(2), nn.LeakyReLU(0.1), nn.Dropout(0.0), False

        def forward(self, x):
            y = self.drop(self.act(self.bn(x)))
            return 2 * y if self.twice else y

    net, x = Net(), images()
    fast = accelerate(net)
    fast(x)
    match change:
        case "p":
            net.drop.p = 1.0
        case "momentum":
            net.bn.momentum = 0.7
        case "eps":
            net.bn.eps = 0.5
        case "slope":
            net.act.negative_slope = 0.9
        case "flag":
            net.twice = True
    stock = copy.deepcopy(net)
    assert close(fast(x), stock(x))
    assert close(net.bn.running_mean, stock.bn.running_mean)


def test_to_other_number_formats_and_back(small, images, close, assert_same_step):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x)
    fast.eval()(x)
    fast.to(torch.float64)
    assert fast(x.double()).dtype == torch.float64
    for mode in (True, False):
        with pytest.raises(RuntimeError, match=r"(?i)expected|type"):
            fast.train(mode)(x)  # as PyTorch: weights in another format than the images
    fast.float()
    for mode in (True, False):
        assert_same_step(net.train(mode), images(seed=1), call=fast)
    assert int(net[1].num_batches_tracked) == 2  # this run in float32; the copy of the network has its own
    stock = copy.deepcopy(net).eval()
    assert close(fast.eval()(x), stock(x))


def test_data_of_another_format(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    fast, x = accelerate(net), images()
    fast(x)
    net[1].weight.data = net[1].weight.data.double()
    with pytest.raises(RuntimeError, match=r"(?i)dtype|type"):
        fast(x)
    net[1].weight.data = torch.zeros(3, 128)
    net[1].bias.data = torch.ones(3)
    assert torch.equal(fast(x), torch.ones(11, 3))


def test_data_of_another_shape(images, assert_same_step):
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    fast, x = accelerate(net), images()
    fast(x)
    net[1].weight.data, net[1].bias.data = torch.ones(7, 128), torch.ones(7)
    assert_same_step(net, x, call=fast)


def test_float64_as_a_whole(small, images):
    net = small().double()
    x = images().double().requires_grad_()
    y = accelerate(net)(x)
    assert y.dtype == torch.float64
    y.sum().backward()
    assert x.grad is not None


def test_hooks_of_layers_are_called(small, images):
    net, seen = small(), []
    fast, x = accelerate(net), images()
    fast(x)
    handle = net[4].register_forward_hook(lambda module, given, output: seen.append(output.shape))
    fast(x)
    handle.remove()
    fast(x)
    assert len(seen) == 1


HOOKS = {
    "forward": lambda m, seen: m.register_forward_hook(lambda *_: seen.append(1)),
    "forward pre": lambda m, seen: m.register_forward_pre_hook(lambda *_: seen.append(1)),
    "backward": lambda m, seen: m.register_full_backward_hook(lambda *_: seen.append(1)),
    "changes": lambda m, seen: m.register_forward_hook(lambda module, given, output: seen.append(1) or output * 0),
}


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("place", ["", "4", "7"])
def test_every_hook_of_the_network(small, images, close, kind, place):
    net, seen = small().eval(), []
    fast, x = accelerate(net), images()
    with torch.no_grad():
        fast(x)
    handle = HOOKS[kind](net.get_submodule(place), seen)
    x.requires_grad_()  # without, PyTorch warns of hooks for the backward pass
    y = fast(x)
    y.sum().backward()
    assert close(y, net(x))
    called = len(seen)
    assert called >= 1
    handle.remove()
    fast(x).sum().backward()
    assert len(seen) == called


def test_hooks_of_the_module_itself(small, images):
    net, seen = small(), []
    fast = accelerate(net)
    fast.register_forward_hook(lambda module, given, output: seen.append(tuple(output.shape)))
    fast(images())
    assert seen == [(11, 5)]


def test_hooks_of_parameters_and_tensors(small, images):
    net, seen = small(), []
    net[0].weight.register_hook(lambda g: seen.append("hook") or g * 0)
    net[8].bias.register_post_accumulate_grad_hook(lambda p: seen.append("after"))
    accelerate(net)(images()).sum().backward()
    assert sorted(seen) == ["after", "hook"]
    assert float(net[0].weight.grad.abs().max()) == 0.0
    assert float(net[4].bias.grad.abs().max()) > 0.0


def test_part_of_a_larger_network(small, images, close):
    body, head = small(), nn.Linear(5, 3)
    stock = copy.deepcopy(nn.Sequential(body, head))
    whole = nn.Sequential(accelerate(body), head)
    assert [*whole.state_dict()] == [*stock.state_dict()]
    x = images()
    found, expected = whole(x), stock(x)
    assert close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(whole.parameters(), stock.parameters(), strict=True):
        assert close(mine.grad, theirs.grad)


def test_accelerated_twice(small, images, assert_same_step):
    net, x = small(), images()
    assert_same_step(net, x, call=accelerate(accelerate(net)))
    holder = nn.Sequential(accelerate(net[:3]), net[3:])
    assert_same_step(holder, x)


def test_copies(small, images, close, assert_same_step):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x).sum().backward()
    twin = copy.deepcopy(fast)
    assert twin.model is not net
    assert close(twin.eval()(x), fast.eval()(x))
    with torch.no_grad():
        next(iter(twin.parameters())).zero_()
    assert not close(twin(x), fast(x))
    assert close(twin(x), twin.model(x))
    assert_same_step(twin.model.train(), x, call=twin)


def test_pickling(small, images):
    net, x = small().eval(), images()
    fast = accelerate(net, independent=True)
    fast(x)
    again = pickle.loads(pickle.dumps(fast))
    assert torch.equal(again(x), fast(x))


def test_replaced_layers_and_parameters(small, images, assert_same_step):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x)
    net[8] = nn.Linear(12, 7)
    assert fast(x).shape == (11, 7)
    net[0].weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    assert_same_step(net, x, call=fast)
    net[1] = nn.Identity()
    assert_same_step(net, x, call=fast)
    fast.add_module("9", nn.ReLU())
    assert float(fast(x).detach().min()) >= 0


def test_replaced_buffers(small, images, close):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x)
    fast.eval()(x)
    net[1].running_mean = torch.full((4,), 3.0)
    stock = copy.deepcopy(net)
    assert close(fast(x), stock(x))
    fast.train()(x)
    stock.train()(x)
    assert close(net[1].running_mean, stock[1].running_mean)


def test_reset_statistics(small, images, close):
    net, x = small(), images()
    fast = accelerate(net)
    fast(x)
    net[1].reset_running_stats()
    stock = copy.deepcopy(net)
    fast(x)
    stock(x)
    assert close(net[1].running_var, stock[1].running_var)
    assert int(net[1].num_batches_tracked) == 1


@pytest.mark.parametrize("model", [None, "lenet5", torch.ones(2), nn.Linear])
def test_no_module(model):
    with pytest.raises(UsageError, match=r"accelerate: `model` must be an nn.Module, got \w+\. Give the network\."):
        accelerate(model)


@pytest.mark.parametrize("example", [3, [1.0], torch.ones(4), torch.ones(())])
def test_no_example(small, example):
    with pytest.raises(
        UsageError, match=r"accelerate: `example` must be a tensor with a batch of images, got .+\. Give"
    ):
        accelerate(small(), example)


def test_an_example_makes_the_plan(small, images):
    net = small()
    before = copy.deepcopy(net.state_dict())
    fast = accelerate(net, images())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert "taps" in fast.plan
    assert fast.report == "9 of 9 operations run in the engine"
    assert all(p.grad is None for p in net.parameters())


def test_no_plan_yet(small):
    fast = accelerate(small())
    for name in ("plan", "report"):
        with pytest.raises(UsageError, match=r"accelerate: `\w+` is there once the network was called\. Call it"):
            getattr(fast, name)


@pytest.mark.parametrize("seed", range(3))
def test_the_generator_of_random_numbers_is_left_alone(small, images, seed):
    # Making a plan draws nothing; a call without dropout neither.
    net = small()
    torch.manual_seed(seed)
    expected = torch.rand(3)
    torch.manual_seed(seed)
    accelerate(net, images())(images())
    assert torch.equal(torch.rand(3), expected)
