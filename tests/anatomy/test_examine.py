"""The table as a whole: layers, totals, what is left as it was."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

import striate
from striate import models
from striate.anatomy.examine import anatomy
from striate.errors import ModelError, UsageError
from striate.train import subject


class Small(nn.Module):
    """Skips, a concatenation, batch norm, dropout, an in-place call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.branch = nn.Conv2d(4, 4, 5, padding=2)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.norm(self.stem(x)))
        x = torch.cat((x, self.branch(x) + x), dim=1)
        return self.head(self.drop(x.mean(dim=(2, 3))))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_package_is_the_function():
    found = striate.anatomy(Small().eval(), torch.zeros(2, 3, 8, 8))
    assert [layer.name for layer in found.layers][:4] == ["stem", "norm", "relu", "branch"]
    stem = found.layer("stem")
    assert (stem.op, stem.output_shape, stem.parameters.count) == ("conv2d", (2, 4, 8, 8), 108)
    assert stem.macs == 2 * 64 * 108
    assert (stem.receptive_field.size, stem.receptive_field.jump, stem.receptive_field.start) == (
        (3, 3),
        (1, 1),
        (-1, -1),
    )
    assert found.layer("cat").receptive_field.size == (7, 7)
    assert found.total.parameters.count == sum(p.numel() for p in Small().parameters())
    assert found.total.macs == sum(layer.macs for layer in found.layers)
    assert found.total.time_ms is None


@pytest.mark.parametrize("is_training", [True, False])
def test_the_network_is_left_as_it_was(is_training):
    model = Small().train(is_training)
    model.stem.weight.requires_grad_(False)
    before, grads = _state(model), {name: p.requires_grad for name, p in model.named_parameters()}
    x, generator = torch.rand(2, 3, 8, 8), torch.get_rng_state()
    found = anatomy(model, x, time=True)
    found.effective("branch", samples=2)
    str(found), found.html(effective=True)
    assert found.is_training is is_training
    assert found.total.time_ms.forward > 0
    assert model.training is is_training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == grads
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_left_as_it_was_after_an_error():
    model = Small().train()
    before = _state(model)
    with pytest.raises(ModelError, match=r"stem.*in_channels"):
        anatomy(model, torch.zeros(2, 5, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_opaque_operations_are_named():
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.behind = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.behind(torch.cumsum(self.before(x), dim=2))

    found = anatomy(Unknown(), torch.zeros(1, 1, 8, 8))
    assert found.total.unknown == ("cumsum",)
    assert not found.total.is_complete
    assert found.layer("cumsum").macs is None
    assert found.layer("behind").receptive_field is None
    assert found.layer("behind").blocked_by == "cumsum"
    text = str(found)
    assert "at least 1.22 k multiply-adds" in text  # 6 x 6 x 18 + 4 x 4 x 36
    assert "without 1 operation that striate does not know: unknown is not zero" in text


def test_names_runs_and_images(digits_run, tmp_path):
    assert anatomy("lenet5").name == "lenet5"
    found = anatomy(digits_run)
    assert found.total.parameters.count == sum(p.numel() for p in digits_run.model().parameters())
    opened = subject.open_subject("lenet5")
    assert anatomy(opened, torch.zeros(3, 1, 28, 28)).input_shapes == ((3, 1, 28, 28),)


def test_a_module_needs_an_example():
    with pytest.raises(UsageError, match="`example` must be given for a module, and `image` left out, got no example"):
        anatomy(nn.Linear(2, 2))


def test_a_layer_must_be_there():
    found = anatomy(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2))
    with pytest.raises(UsageError, match=r"`layer` must be one of the 1 layers, got 'fc'"):
        found.layer("fc")


def test_vectors_and_several_inputs():
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.mean(dim=(2, 3)) + y

    found = anatomy(Two(), (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2)))
    assert found.sizes is None
    assert found.layers[0].receptive_field.size == (4, 4)
    assert anatomy(nn.Linear(3, 2), torch.zeros(5, 3)).layers[0].receptive_field is None


def test_everything_as_json():
    found = anatomy(Small(), torch.zeros(1, 3, 8, 8), time=True)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["kind"] == "anatomy"
    assert document["layers"][0]["receptive_field"]["size"] == [3, 3]
    assert document["total"]["macs"] == found.total.macs
    assert "two a MAC" in document["convention"]


def test_parameters_that_are_not_used():
    model = Small()
    model.extra = nn.Linear(3, 3)
    assert anatomy(model, torch.zeros(1, 3, 8, 8)).total.unused_parameters == 12


QUICK = ("mlp_boston", "lenet5", "resnet20")


def _check(name: str) -> None:
    found = anatomy(name)
    info = models.info(name)
    used = found.total.parameters.count + found.total.unused_parameters
    assert used == info.num_params
    assert found.total.is_complete, found.total.unknown
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, found.text(view="fields").splitlines())) <= 100


@pytest.mark.parametrize("name", QUICK)
def test_networks_of_striate(name):
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.list() if name not in QUICK])
def test_every_network_of_striate(name):
    _check(name)


def test_batch_statistics_see_the_whole_image():
    found = anatomy(Small().train(), torch.zeros(2, 3, 8, 8))
    assert found.layer("stem").receptive_field.size == (3, 3)
    assert found.layer("norm").receptive_field.size == (10, 10)  # 8 units and a window of 3


def test_the_copy_that_was_made_before_is_the_same():
    model = Small()
    twin = copy.deepcopy(model)
    anatomy(model, torch.zeros(1, 3, 8, 8))
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(model.eval()(x), twin.eval()(x))
