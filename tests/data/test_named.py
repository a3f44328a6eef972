"""Where named data sets are looked for, and what is said when they are nowhere."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.data import named
from striate.data.named import NAMES, read_named
from striate.data.published import PUBLISHED
from striate.errors import DataError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it: empty working folder, environment and cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    monkeypatch.delenv("STRIATE_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST replaced by a set that is there when a file `toy` is, and says which one was read."""

    def read(path: Path) -> Any:
        images = np.zeros((2, 1, 2, 2), dtype=np.uint8)
        images[:] = int(path.read_text())
        labels = np.array([0, 1])
        return (images, labels), (images[:1], labels[:1])

    entry = dataclasses.replace(
        PUBLISHED["mnist"],
        find=lambda place: place / "toy" if (place / "toy").is_file() else None,
        read=read,
    )
    monkeypatch.setitem(PUBLISHED, "mnist", entry)


def read(places: Path, **options: Any) -> named.NamedData:
    return read_named("mnist", **({"root": None, "cache_dir": places / "cache", "download": False} | options))


@pytest.mark.usefixtures("toy")
def test_root_comes_before_the_environment_and_the_usual_folders(places: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STRIATE_DATA", str(places / "environment"))
    folders = ["cache/data", "data", "environment", "root"]
    for number, folder in enumerate(folders):
        (places / folder).mkdir(parents=True)
        (places / folder / "toy").write_text(str(number))
        data = read(places, root=places / "root" if folder == "root" else None)
        assert data.values.max() == number
    assert data.num_train == 2
    assert len(data.labels) == 3


def test_without_network_the_message_says_which_file_goes_where(places: Path):
    with pytest.raises(DataError, match="mnist must be on this machine when download=False, and is not") as caught:
        read(places)
    message = str(caught.value)
    assert "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images" in message
    assert f"into {places / 'cache' / 'data' / 'MNIST' / 'raw'}" in message
    assert "set STRIATE_DATA to the folder that holds MNIST/raw" in message


def test_a_failed_download_says_which_file_goes_where(places: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(urls: list[str], target: Path, **_: Any) -> None:
        raise DataError(f"fetch: {len(urls)} mirrors failed for {target.name}.")

    monkeypatch.setattr(named, "fetch", fail)
    with pytest.raises(DataError, match=r"2 mirrors failed for train-images-idx3-ubyte\.gz\. Put train-images"):
        read(places, download=True)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz\. Put cifar-10-python\.tar\.gz into .*root, or set"):
        read_named("cifar10", root=places / "root", cache_dir=places, download=True)


@pytest.mark.usefixtures("toy")
def test_a_download_goes_to_the_cache_and_is_read(places: Path, monkeypatch: pytest.MonkeyPatch):
    fetched: list[tuple[str, Path]] = []

    def fetch(urls: list[str], target: Path, *, unpacked_sha256: str, **_: Any) -> None:
        assert len(unpacked_sha256) == 64
        fetched.append((urls[0], target))
        (places / "cache" / "data").mkdir(parents=True, exist_ok=True)
        (places / "cache" / "data" / "toy").write_text("9")

    monkeypatch.setattr(named, "fetch", fetch)
    assert read(places, download=True).values.max() == 9
    assert len(fetched) == 4
    first_url, first_target = fetched[0]
    assert first_url == "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz"
    assert first_target == places / "cache" / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"


@pytest.mark.usefixtures("toy")
def test_a_download_that_is_not_complete_is_an_error(places: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(named, "fetch", lambda *_, **__: None)
    with pytest.raises(DataError, match=r"must be complete in .* after its download"):
        read(places, download=True)


def test_the_embedded_sets_need_no_folder(places: Path):
    digits = read_named("digits", root=None, cache_dir=places, download=False)
    iris = read_named("iris", root=None, cache_dir=places, download=False)
    assert (len(digits.labels), digits.kind, digits.num_train) == (1797, "images", 1797)
    assert (iris.values.shape, iris.kind, iris.class_names[0]) == ((150, 4), "vectors", "setosa")
    assert not any(places.iterdir())


def test_names():
    assert NAMES == ("digits", "iris", "mnist", "fashion-mnist", "cifar10", "cifar100")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [
        # Counts of each digit: Y. LeCun's page of the data set.
        ("mnist", (70_000, 1, 28, 28), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("cifar10", (60_000, 3, 32, 32), [5000] * 10),
    ],
)
def test_real_files_are_read(name: str, shape: tuple[int, ...], counts: list[int], tmp_path: Path):
    if not os.environ.get("STRIATE_DATA"):
        pytest.skip("STRIATE_DATA is not set")
    data = read_named(name, root=None, cache_dir=tmp_path, download=False)
    assert data.values.shape == shape
    assert np.bincount(data.labels[: data.num_train]).tolist() == counts
