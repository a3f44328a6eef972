"""From a specification to a module: registry names, callables, modules, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.errors import ModelError
from striate.train.network import ModelSpec, build_network, check_output

SPEC = ModelSpec(name="lenet5", num_classes=10, in_channels=1, image_size=28)


def _spec(name, **changes) -> ModelSpec:
    return ModelSpec(**(SPEC.to_dict() | {"name": name} | changes))


def test_a_name_of_the_registry():
    assert sum(parameter.numel() for parameter in build_network(SPEC).parameters()) == 44_426  # issue text


def test_an_unknown_name_has_near_ones():
    with pytest.raises(ModelError, match="Did you mean `lenet5"):
        build_network(_spec("lenet55"))


@pytest.mark.parametrize("name", ["package.module:callable", "class Mine", "os:system"])
def test_a_stored_name_is_never_imported(name):
    assert not _spec(name).in_registry
    with pytest.raises(
        ModelError, match=r"is not one of striate's, and files are never executed\. Give it again: --model"
    ):
        build_network(_spec(name))


def test_a_module_is_taken_as_it_is():
    module = nn.Linear(1, 1)
    assert build_network(_spec("class Linear"), source=module) is module


def test_a_callable_gets_the_arguments_that_it_names():
    def make(num_classes, *, in_channels=0):
        return nn.Conv2d(in_channels, num_classes, 1)

    assert build_network(_spec("class make"), source=make).weight.shape == (10, 1, 1, 1)
    assert isinstance(build_network(_spec("class make"), source=lambda: nn.ReLU()), nn.ReLU)


def test_vectors_give_no_image_size():
    seen = {}

    def make(num_classes, image_size=None, in_channels=None):
        seen.update(image_size=image_size, in_channels=in_channels)
        return nn.Linear(4, num_classes)

    build_network(_spec("class make", image_size=None, in_channels=None), source=make)
    assert seen == {"image_size": None, "in_channels": None}


def test_package_module_callable(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(num_classes): return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
        "number = 3\n"
        "def wrong(): return 3\n"
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(build_network(_spec("mine:net"), source="mine:net"), nn.Sequential)
    for path, message in (
        ("mine:nett", r"`mine:nett` cannot be imported \(AttributeError: .*Write package.module:callable"),
        ("no_such_module:net", r"cannot be imported \(ModuleNotFoundError"),
        (":net", "cannot be imported"),
        ("broken:net", r"cannot be imported \(SyntaxError"),
        ("raises:net", r"cannot be imported \(ZeroDivisionError"),
        ("mine:number", "must be callable and return an nn.Module, got int"),
        ("mine:wrong", "`mine:wrong` must return an nn.Module, got int"),
    ):
        with pytest.raises(ModelError, match=message):
            build_network(_spec(path), source=path)


def test_what_is_no_model_at_all():
    with pytest.raises(ModelError, match="must be a name, a module or a callable that makes one, got 5"):
        build_network(_spec("class callable"), source=5)


@pytest.mark.parametrize(
    "change", [{"name": 5}, {"num_classes": "10"}, {"num_classes": None}, {"image_size": 2.5}, {"in_channels": 0}]
)
def test_a_specification_holds_a_name_and_whole_numbers(change):
    with pytest.raises(ModelError, match="`model` must be a name and whole numbers above 0, got name"):
        ModelSpec(**(SPEC.to_dict() | change))


def test_check_output_accepts_logits_and_keeps_the_mode():
    network = build_network(SPEC).train()
    check_output(network, torch.zeros(2, 1, 28, 28), spec=SPEC)
    assert network.training


class _Dictionary(nn.Module):
    def forward(self, images):
        return {"logits": images}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(784, 7)),
            r"must return logits of shape \(2, 10\), got \(2, 7\).*10 outputs",
        ),
        (nn.Identity(), r"got \(2, 1, 28, 28\)"),
        (_Dictionary(), r"must return logits of shape \(2, 10\), got dict"),
        (
            nn.Conv2d(3, 10, 3),
            r"shape \(1, 28, 28\)\. Conv2d\(in_channels=3\) received 1 channel.*set in_channels=1",
        ),
        (nn.Conv2d(1, 10, 33), r"cannot take images of shape \(1, 28, 28\)"),
        (nn.Module(), r"cannot take images of shape"),
    ],
)
def test_check_output_refuses(network, message):
    with pytest.raises(ModelError, match=message):
        check_output(network, torch.zeros(2, 1, 28, 28), spec=SPEC)
