"""Names behind a prefix: found by the names themselves, stated, and never guessed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from striate import models
from striate.errors import ModelError

State = dict[str, Tensor]


def renamed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def within(**parts: nn.Module) -> nn.Module:
    """A network of the user's own, with others as its parts."""
    return nn.ModuleDict(parts)


@pytest.fixture
def saved() -> nn.Module:
    """A trained-looking network: its statistics are not those of a fresh one."""
    network = models.create("resnet20").eval()
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 2)
    return network


@pytest.fixture
def write(tmp_path: Path) -> Callable[[State], Path]:
    def to_file(state: State) -> Path:
        torch.save(state, tmp_path / "w.pth")
        return tmp_path / "w.pth"

    return to_file


@pytest.mark.parametrize("prefix", ["backbone.", "model.", "net.encoder.", "a.name.nobody.lists."])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module."])
def test_a_prefix_of_the_file_is_taken_off(prefix, wrapper, saved, write, caplog) -> None:
    path = write(renamed(saved.state_dict(), wrapper + prefix))
    fresh = models.create("resnet20").eval()
    with caplog.at_level(logging.INFO):
        report = models.load_weights(fresh, path)
    assert (report.prefix, report.kept, report.unused) == (f"-{prefix}", (), ())
    assert report.loaded == tuple(saved.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(fresh(images), saved(images))
    assert caplog.messages == [f"w.pth: `{prefix}` taken off the file's names"]


def test_a_wrapper_alone_is_no_prefix(saved, write) -> None:
    assert models.load_weights(models.create("resnet20"), write(renamed(saved.state_dict(), "module."))).prefix == ""


def test_a_wrapper_inside_belongs_to_the_prefix(saved, write) -> None:
    path = write(renamed(saved.state_dict(), "model.module."))
    assert models.load_weights(models.create("resnet20"), path).prefix == "-model.module."


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_a_prefix_of_the_network_is_put_before_the_names(wrapper, saved, write, caplog) -> None:
    fresh = models.create("resnet20").eval()
    outer = within(body=within(encoder=fresh))
    with caplog.at_level(logging.INFO):
        report = models.load_weights(outer, write(renamed(saved.state_dict(), wrapper)))
    assert (report.prefix, report.kept, report.unused) == ("+body.encoder.", (), ())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(fresh(images), saved(images))
    assert caplog.messages == ["w.pth: `body.encoder.` put before the file's names"]


def test_a_network_that_is_wrapped_itself_takes_both_kinds_of_file(saved, write) -> None:
    for prefix in ("", "module."):
        fresh = models.create("resnet20")
        models.load_weights(within(module=fresh), write(renamed(saved.state_dict(), prefix)))
        assert torch.equal(fresh.conv1.weight, saved.conv1.weight)


def test_head_and_input_layer_are_found_behind_a_prefix(saved, write) -> None:
    path = write(renamed(saved.state_dict(), "backbone."))
    model = models.create("resnet20", num_classes=3, in_channels=1)
    with pytest.raises(
        ModelError,
        match=r"\(conv1.weight \(16, 3, 3, 3\) for \(16, 1, 3, 3\), .*\), with `backbone.` taken off the file's names"
        r"\. Only the head and the input layer differ",
    ):
        models.load_weights(model, path)
    report = models.load_weights(model, path, new_head=True, new_input=True)
    assert (report.kept, report.adapted) == (("fc.weight", "fc.bias"), ("conv1.weight",))
    assert report.prefix == "-backbone."


def test_what_is_missing_and_surplus_behind_a_prefix_is_named(saved, write) -> None:
    state = renamed(saved.state_dict(), "backbone.")
    del state["backbone.fc.bias"]
    path = write({**state, "backbone.extra": torch.zeros(1), "queue": torch.zeros(2)})
    model = models.create("resnet20")
    with pytest.raises(
        ModelError,
        match=r"got 1 missing \(fc.bias\); 2 surplus \(backbone.extra, queue\), with `backbone.` taken off the file's",
    ):
        models.load_weights(model, path)
    report = models.load_weights(model, path, strict=False)
    assert (report.kept, report.unused, report.prefix) == (("fc.bias",), ("backbone.extra", "queue"), "-backbone.")
    assert torch.equal(model.fc.weight, saved.fc.weight)


def test_a_head_beside_the_prefix_keeps_its_name(saved, write) -> None:
    state = {(key if key.startswith("fc.") else f"backbone.{key}"): value for key, value in saved.state_dict().items()}
    fresh = models.create("resnet20")
    assert models.load_weights(fresh, write(state)).kept == ()
    assert torch.equal(fresh.fc.weight, saved.fc.weight)


def test_one_tensor_is_not_used_twice(saved, write) -> None:
    outer = within(backbone=models.create("resnet20"), fc=nn.Linear(64, 10))
    path = write(saved.state_dict())
    with pytest.raises(ModelError, match=r"got 2 missing \(fc.weight, fc.bias\), with `backbone.` put before the file"):
        models.load_weights(outer, path)
    report = models.load_weights(outer, path, strict=False)
    assert (report.kept, report.unused) == (("fc.weight", "fc.bias"), ())


def test_of_two_parts_the_one_whose_names_all_fit_is_taken(saved, write) -> None:
    whole, part = renamed(saved.state_dict(), "encoder."), renamed(saved.state_dict(), "teacher.")
    del part["teacher.fc.weight"]
    path = write({**part, **whole})
    fresh = models.create("resnet20")
    with pytest.raises(ModelError, match=r"got \d+ surplus \(teacher.conv1.weight, .*, with `encoder.` taken off"):
        models.load_weights(fresh, path)
    assert models.load_weights(fresh, path, strict=False).prefix == "-encoder."
    assert torch.equal(fresh.conv1.weight, saved.conv1.weight)


def test_of_two_parts_that_fit_none_is_guessed(saved, write) -> None:
    state = saved.state_dict()
    path = write({**renamed(state, "encoder_q."), **renamed(state, "encoder_k.")})
    fresh = models.create("resnet20")
    before = fresh.conv1.weight.clone()
    with pytest.raises(
        ModelError,
        match=r"surplus \(encoder_q.conv1.weight, .*\)\. The names fit behind each of `encoder_k.`, `encoder_q.`, and "
        r"none is guessed: keep those of one part only\.$",
    ):
        models.load_weights(fresh, path)
    report = models.load_weights(fresh, path, strict=False)
    assert (report.loaded, report.prefix) == ((), "")
    assert torch.equal(fresh.conv1.weight, before)


def test_of_two_parts_of_the_network_none_is_guessed(saved, write) -> None:
    outer = within(left=models.create("resnet20"), right=models.create("resnet20"))
    path = write({key: value for key, value in saved.state_dict().items() if not key.startswith("fc.")})
    with pytest.raises(ModelError, match=r"The names fit behind each of `left.`, `right.`, and none is guessed"):
        models.load_weights(outer, path)


def test_names_that_fit_as_they_are_stay(saved, write) -> None:
    other = models.create("resnet20").state_dict()
    path = write({**renamed(other, "ema."), **saved.state_dict()})
    fresh = models.create("resnet20")
    report = models.load_weights(fresh, path, strict=False)
    assert report.prefix == ""
    assert report.unused == tuple(renamed(other, "ema."))
    assert torch.equal(fresh.conv1.weight, saved.conv1.weight)
