"""Checkpoints: there and back, and every kind of damage passed over by name."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from striate.errors import ModelError, ResourceError
from striate.train.checkpoint import Checkpoint, load_newest, save


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


def _checkpoint(network: nn.Module, optimizer: torch.optim.Optimizer, **state) -> Checkpoint:
    return Checkpoint(
        model=network.state_dict(), optimizer=optimizer.state_dict(), ema=network.state_dict(), state=state
    )


def _plain(optimizer: torch.optim.Optimizer) -> dict:
    return {
        index: {name: value.tolist() for name, value in values.items() if value is not None}
        for index, values in optimizer.state_dict()["state"].items()
        if any(value is not None for value in values.values())
    }


def _saved(folder, steps=(1, 2)) -> None:
    network = _network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step in steps:
        network(torch.randn(2, 2, 5, 5)).sum().backward()
        optimizer.step()
        save(folder, _checkpoint(network, optimizer, epoch=step), step=step)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.8, 0.99), fused=True),
        lambda p: torch.optim.Adam(p, lr=0.1),
    ],
)
def test_there_and_back(tmp_path, make):
    network = _network()
    optimizer = make(network.parameters())
    network(torch.randn(2, 2, 5, 5)).sum().backward()
    optimizer.step()
    path = save(tmp_path, _checkpoint(network, optimizer, epoch=3, best=None), step=7)
    assert path.name == "step-000000007"
    back, faults = load_newest(tmp_path)
    assert faults == []
    assert back.state == {"epoch": 3, "best": None}
    for stored in (back.model, back.ema):
        assert {name: tensor.tolist() for name, tensor in stored.items()} == {
            name: tensor.tolist() for name, tensor in network.state_dict().items()
        }
    fresh = make(_network().parameters())
    fresh.load_state_dict(back.optimizer)
    assert fresh.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    assert _plain(fresh) == _plain(optimizer)


def test_a_checkpoint_without_average(tmp_path):
    network = _network()
    state = torch.optim.SGD(network.parameters(), lr=0.1).state_dict()
    save(tmp_path, Checkpoint(model=network.state_dict(), optimizer=state, ema=None, state={}), step=1)
    assert load_newest(tmp_path)[0].ema is None


def test_the_newest_two_are_kept(tmp_path):
    _saved(tmp_path, steps=(9, 10, 11, 100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000011", "step-000000100"]
    assert load_newest(tmp_path)[0].state["epoch"] == 100


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "ema.safetensors", "state.json"])
def test_one_flipped_bit_anywhere_is_noticed(tmp_path, name):
    _saved(tmp_path)
    path = tmp_path / "step-000000002" / name
    whole = path.read_bytes()
    for position in (0, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        checkpoint, faults = load_newest(tmp_path)
        assert checkpoint.state["epoch"] == 1
        assert faults == [f"`step-000000002/{name}` is damaged (its checksum differs)."]
    path.write_bytes(whole)
    assert load_newest(tmp_path)[0].state["epoch"] == 2


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def _lose_file(folder):
    (folder / "ema.safetensors").unlink()


def _lose_manifest(folder):
    (folder / "manifest.json").unlink()


def _cut_manifest(folder):
    (folder / "manifest.json").write_text('{"model.safetensors": "')


def _empty_manifest(folder):
    (folder / "manifest.json").write_text("{}")


def _list_manifest(folder):
    (folder / "manifest.json").write_text("[[], {}]")


def _thin_manifest(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["model.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _swap(folder):
    older = folder.parent / "step-000000001" / "model.safetensors"
    (folder / "model.safetensors").write_bytes(older.read_bytes())


DAMAGE = [
    _cut,
    _empty,
    _lose_file,
    _lose_manifest,
    _cut_manifest,
    _empty_manifest,
    _list_manifest,
    _thin_manifest,
    _swap,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_passed_over_and_named(tmp_path, damage):
    _saved(tmp_path)
    damage(tmp_path / "step-000000002")
    checkpoint, faults = load_newest(tmp_path)
    assert checkpoint.state["epoch"] == 1
    assert len(faults) == 1
    assert faults[0].startswith("`step-000000002")


def test_all_damaged_is_an_error_that_names_each(tmp_path):
    _saved(tmp_path)
    _cut(tmp_path / "step-000000001")
    _lose_manifest(tmp_path / "step-000000002")
    with pytest.raises(ModelError, match=r"no usable checkpoint .*000002. is incomplete .*000001/model.* is damaged"):
        load_newest(tmp_path)


def test_none_at_all(tmp_path):
    with pytest.raises(
        ModelError, match=r"no usable checkpoint .*The folder holds none\. Start again with `striate tr"
    ):
        load_newest(tmp_path / "missing")


def test_another_format(tmp_path):
    from striate.files import sha256

    _saved(tmp_path)
    for folder in tmp_path.iterdir():
        state = folder / "state.json"
        state.write_text(state.read_text().replace('"format": 1', '"format": 2'))
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"state.json": sha256(state)}))
    with pytest.raises(ModelError, match=r"has another format than 1\. Use the striate version that wrote it"):
        load_newest(tmp_path)


def test_a_name_in_the_manifest_cannot_leave_the_folder(tmp_path):
    _saved(tmp_path, steps=(1,))
    (tmp_path / "secret").write_text("x")
    manifest = tmp_path / "step-000000001" / "manifest.json"
    manifest.write_text(json.dumps({"../secret": "0"}))
    with pytest.raises(ModelError, match="is incomplete"):
        load_newest(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    import errno
    import os

    _saved(tmp_path, steps=(1,))

    def fail(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match=r"bytes and .* are free\. Nothing saved before was changed"):
        _saved(tmp_path, steps=(2,))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    assert load_newest(tmp_path)[0].state["epoch"] == 1
