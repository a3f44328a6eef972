"""Weights files: formats, names of wrappers and old files, heads, misfits, published weights from download to cache."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from striate import models
from striate.data import download
from striate.errors import DataError, ModelError
from striate.files import write_tensors
from striate.models import registry
from striate.models.entry import PretrainedWeights


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def save_safetensors(state: dict[str, Tensor], path: Path) -> None:
    write_tensors(path, state)


save_legacy = partial(torch.save, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("file_name", "save"),
    [
        ("w.safetensors", save_safetensors),
        ("w.pt", torch.save),
        ("w.pth", torch.save),
        ("old.pth", save_legacy),
        ("checkpoint.pth", lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path)),
        ("checkpoint.pt", lambda state, path: torch.save({"model": state}, path)),
        ("ddp.pth", lambda state, path: torch.save({f"module.{key}": value for key, value in state.items()}, path)),
        (
            "compiled.pth",
            lambda state, path: torch.save({f"_orig_mod.module.{key}": v for key, v in state.items()}, path),
        ),
    ],
)
def test_every_kind_of_file_is_read(file_name: str, save: Callable[..., None], tmp_path: Path) -> None:
    saved, fresh = models.create("resnet20"), models.create("resnet20")
    saved.bn1.running_mean.fill_(3.0)
    save(saved.state_dict(), tmp_path / file_name)
    report = models.load_weights(fresh, tmp_path / file_name)
    assert equal(saved, fresh)
    assert report.loaded == tuple(saved.state_dict())
    assert (report.kept, report.unused) == ((), ())
    assert equal(saved, models.create("resnet20", weights=tmp_path / file_name))


def test_channels_last_weights_are_read(tmp_path: Path) -> None:
    saved = models.create("lenet5").to(memory_format=torch.channels_last)
    torch.save(saved.state_dict(), tmp_path / "w.pth")
    assert equal(saved, models.create("lenet5", weights=str(tmp_path / "w.pth")))


def test_old_densenet_names(tmp_path: Path) -> None:
    # torchvision's files of 2017: `denselayer1.norm.1.weight`, `denselayer1.conv.2.weight`, no batch counters.
    saved, fresh = (models.create("densenet121", num_classes=3) for _ in range(2))
    old = {}
    for key, value in saved.state_dict().items():
        for layer in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{layer}{number}.", f".{layer}.{number}.")
        if not key.endswith("num_batches_tracked"):
            old[key] = value
    assert any(".norm.1." in key for key in old)
    save_legacy(old, tmp_path / "densenet.pth")
    report = models.load_weights(fresh, tmp_path / "densenet.pth")
    assert equal(saved, fresh)
    assert all(key.endswith("num_batches_tracked") for key in report.kept)


def test_head_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "ten.pth"
    saved = models.create("resnet20", num_classes=10)
    torch.save(saved.state_dict(), path)
    model = models.create("resnet20", num_classes=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(
        ModelError,
        match=r"2 misshapen \(fc.weight \(10, 64\) for \(3, 64\), fc.bias \(10,\) for \(3,\)\)\. "
        r"Only the head differs: build the network with num_classes=10, or keep its own head with new_head=True",
    ):
        models.load_weights(model, path)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    report = models.load_weights(model, path, new_head=True)
    assert report.kept == ("fc.weight", "fc.bias")
    assert torch.equal(model.fc.weight, before["fc.weight"])
    assert torch.equal(model.conv1.weight, saved.conv1.weight)
    assert models.create("resnet20", num_classes=3, weights=path).fc.out_features == 3


def test_a_body_of_another_size_is_no_head(tmp_path: Path) -> None:
    path = tmp_path / "grey.pth"
    torch.save(models.create("resnet20", in_channels=1).state_dict(), path)
    with pytest.raises(
        ModelError, match=r"1 misshapen \(conv1.weight \(16, 1, 3, 3\) for \(16, 3, 3, 3\)\)\. Only the input layer"
    ):
        models.create("resnet20", num_classes=10, weights=path)


def test_missing_and_surplus_names_are_listed_up_to_eight(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = models.create("resnet20").state_dict()
    del state["conv1.weight"]
    torch.save({**state, **{f"extra{i}": torch.zeros(1) for i in range(10)}}, path)
    model = models.create("resnet20")
    with pytest.raises(
        ModelError, match=r"1 missing \(conv1.weight\); 10 surplus \(extra0, .*, extra7, \.\.\.\)\. Build"
    ):
        models.load_weights(model, path)
    report = models.load_weights(model, path, strict=False)
    assert report.kept == ("conv1.weight",)
    assert len(report.unused) == 10


def test_a_file_of_another_network(tmp_path: Path) -> None:
    torch.save(models.create("lenet5").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"missing \(layers.fc1.weight.*surplus \(features.conv1.weight"):
        models.create("mlp_mnist", weights=tmp_path / "w.pth")


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("executed",)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, "evil.pth")
    with pytest.raises(ModelError, match="holds more than tensors, or is not a PyTorch file; nothing in it was run"):
        models.create("lenet5", weights="evil.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file\n", None])
def test_damaged_files(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(models.create("lenet5").state_dict(), path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ModelError, match=r"is damaged|is not a PyTorch file"):
        models.create("lenet5", weights=path)
    path = path.with_suffix(".safetensors")
    path.write_bytes(b"short" if content is None else content)
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        models.create("lenet5", weights=path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(3)])
def test_files_without_a_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"must hold a state dict \(names and tensors\), got (list|dict|Tensor)"):
        models.create("lenet5", weights=tmp_path / "w.pth")


def test_sources_that_are_neither_file_nor_published(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").touch()
    with pytest.raises(ModelError, match=r"must end in \.safetensors, \.pt or \.pth, got"):
        models.create("lenet5", weights=tmp_path / "w.onnx")
    with pytest.raises(ModelError, match=r"got 'imagent'\. Published weights of resnet18: imagenet, .* `imagenet`"):
        models.create("resnet18", weights="imagent")
    with pytest.raises(ModelError, match="There are no published weights for lenet5"):
        models.create("lenet5", weights="imagenet")
    with pytest.raises(ModelError, match="For published weights give `name`"):
        models.load_weights(models.create("lenet5"), "imagenet")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[nn.Module, Path, list[str]]]:
    """A server on this machine with weights of resnet20 in torchvision's own format, entered into the registry."""
    served = tmp_path / "served"
    served.mkdir()
    saved = models.create("resnet20")
    torch.save(saved.state_dict(), served / "new.pth")
    digest = hashlib.sha256((served / "new.pth").read_bytes()).hexdigest()
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(served), **kwargs)  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "fetch", partial(download.fetch, _allow_loopback=True))
    file_name = f"resnet20-{digest[:8]}.pth"
    (served / "new.pth").rename(served / file_name)
    weights = PretrainedWeights(
        name="imagenet1k_v1",
        url=f"http://127.0.0.1:{server.server_port}/{file_name}",
        sha256_prefix=digest[:8],
        top1=1.0,
        top5=5.0,
    )
    entry = dataclasses.replace(registry.info("resnet20"), pretrained=(weights,))
    monkeypatch.setitem(registry._entries(), "resnet20", entry)  # type: ignore[arg-type]
    yield saved, served / file_name, requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_published_weights_are_downloaded_once_and_converted(published, tmp_path: Path) -> None:
    saved, file, requests = published
    previous = os.umask(0o027)
    try:
        assert equal(saved, models.create("resnet20", weights="imagenet"))
    finally:
        os.umask(previous)
    cached = list((tmp_path / "cache" / "weights").glob("resnet20*"))
    assert [path.name for path in cached] == [file.with_suffix(".safetensors").name]
    assert cached[0].stat().st_mode & 0o777 == 0o640
    asked = len(requests)
    assert asked >= 1
    assert equal(saved, models.create("resnet20", weights="imagenet1k_v1"))
    assert len(requests) == asked


def test_published_weights_with_a_wrong_checksum_are_refused(published, tmp_path: Path) -> None:
    _, file, _ = published
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="resnet20"):
        models.create("resnet20", weights="imagenet")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_folder_called_imagenet_does_not_hide_the_weights(published, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("imagenet").mkdir()
    assert equal(published[0], models.create("resnet20", weights="imagenet"))
