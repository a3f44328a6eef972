"""Nothing is left behind by a capture: everything is as it was, also when the forward pass raises."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as hooks_of_all

from striate.graph import capture

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _state(model):
    """Return all that a capture must leave alone, as values that compare equal."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), "history": model.history}
    modules = [dict(module.__dict__) for module in model.modules()]
    plain = (int, float, bool, str, type(None))
    return {
        "bits": {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()},
        "identity": {name: (id(tensor), tensor._version, tensor.requires_grad) for name, tensor in tensors.items()},
        "grad": {name: tensor.grad for name, tensor in tensors.items()},
        "attributes": [{key: v for key, v in own.items() if isinstance(v, plain)} for own in modules],
        "keys": [list(own) for own in modules],
        "hooks": [len(own["_forward_hooks"]) + len(own["_forward_pre_hooks"]) for own in modules],
        "hooks of all": {k: len(v) for k, v in vars(hooks_of_all).items() if k[:7] == "_global" and hasattr(v, "keys")},
        "functions": (F.relu, torch.conv2d, torch.Tensor.add, nn.Module.__call__, nn.Module.forward),
        "random": (random.getstate(), torch.get_rng_state().tolist(), str(np.random.get_state())),  # noqa: NPY002
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._len_torch_function_stack()),
    }  # fmt: skip


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("options", [{}, {"keep_values": True}, {"loss": lambda y: y.square().sum()}])
@pytest.mark.parametrize("training", [False, True])
def test_everything_is_as_it_was(model, training, options, raises):
    model.train(training)
    model.raises = raises
    model.stage[0].conv.weight.requires_grad_(False)
    x = X.clone()
    before = _state(model)
    if raises:
        with pytest.raises(KeyError, match="raised by the network"):
            capture(model, x, **options)
    else:
        capture(model, x, **options)
    assert _state(model) == before
    assert torch.equal(x, X)
    assert x._version == 0
    assert x.grad is None


def test_a_network_that_changes_itself_is_put_back():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("seen", torch.zeros(1))
            self.plain = torch.zeros(2)

        def forward(self, x):
            with torch.no_grad():
                self.weight.mul_(2)
            self.plain[0] = 5
            self.seen = self.seen + 1
            self.weight.requires_grad_(False)
            self.register_buffer("new", torch.ones(1))
            self.layer = nn.Linear(1, 1)
            self.train(not self.training)
            x.zero_()
            return x + self.weight

    model, x = Changing(), torch.ones(3)
    seen, keys = model.seen, list(vars(model))
    graph = capture(model, x)
    assert model.weight.tolist() == [1, 1, 1]
    assert (model.weight.requires_grad, model.training, model.weight._version) == (True, True, 0)
    assert model.plain.tolist() == [0, 0]
    assert model.seen is seen
    assert (list(model._buffers), list(model._modules), list(vars(model))) == (["seen"], [], keys)
    assert x.tolist() == [1, 1, 1]
    assert graph.node("mul").inputs[0].parameters["value"].tensor is model.weight


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_network_runs_in_the_grad_mode_that_is_set(network, mode):
    seen = []

    def function(x):
        seen.append(torch.is_grad_enabled())
        return x * 1

    with mode():
        expected = torch.is_grad_enabled()
        capture(network(function), X)
        capture(network(function), X, loss=lambda y: y.sum())
    assert seen == [expected, True]


def test_under_no_grad_and_inference_mode(model):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            graph = capture(model, X, keep_values=True)
            assert not torch.is_grad_enabled()
        assert not graph.value(graph.outputs[0]).requires_grad
    with torch.inference_mode():
        x = torch.ones(2, 3, 8, 8)
        assert capture(model, x, loss=lambda y: y.sum()).gradient("input").shape == x.shape


def test_hooks_of_the_user_run_and_stay(model):
    seen = []
    handle = model.fc.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    capture(model, X)
    assert seen == [(2, 12), (2, 12)]
    assert list(model.fc._forward_hooks) == [handle.id]
