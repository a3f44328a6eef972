"""The tables of published data sets, and IDX sets in the folders people have."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from striate.data.published import PUBLISHED
from striate.errors import DataError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_mnist(folder: Path, *, train_labels: list[int] | None = None, suffix: str = "") -> None:
    """Four files with 3 training and 2 test images of 2 x 2 pixels, all of one value: 1 for training, 2 for test."""
    folder.mkdir(parents=True)
    contents = []
    for count, labels in ((3, train_labels or [5, 0, 4]), (2, [7, 2])):
        pixels = bytes([1 if count == 3 else 2]) * (count * 4)
        contents.append(struct.pack(">4I", 0x803, count, 2, 2) + pixels)
        contents.append(struct.pack(">2I", 0x801, len(labels)) + bytes(labels))
    for name, content in zip(NAMES, contents, strict=True):
        packed = gzip.compress(content) if suffix == ".gz" else content
        (folder / f"{name}{suffix}").write_bytes(packed)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("mnist", "mnist"), ("fashion-mnist", "FashionMNIST/raw"), ("fashion-mnist", "fashion")],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_sets_are_found_where_people_have_them(tmp_path: Path, name: str, folder: str, suffix: str):
    entry = PUBLISHED[name]
    assert entry.find(tmp_path) is None
    write_mnist(tmp_path / folder, suffix=suffix)
    found = entry.find(tmp_path)
    assert found == tmp_path / folder
    (images, labels), (test_images, test_labels) = entry.read(found)
    assert images.shape == (3, 1, 2, 2)
    assert (images == 1).all()
    assert (test_images == 2).all()
    assert (labels.tolist(), test_labels.tolist()) == ([5, 0, 4], [7, 2])
    assert labels.dtype == np.int64


def test_names_with_a_dot_are_found(tmp_path: Path):
    write_mnist(tmp_path / "mnist")
    for path in list((tmp_path / "mnist").iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert PUBLISHED["mnist"].find(tmp_path) == tmp_path / "mnist"


def test_one_missing_file_means_not_found(tmp_path: Path):
    write_mnist(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / NAMES[3]).unlink()
    assert PUBLISHED["mnist"].find(tmp_path) is None


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path: Path):
    write_mnist(tmp_path / "mnist", train_labels=[1, 2])
    with pytest.raises(DataError, match=r"as many labels as images, got 3 images in .* and 2 labels in"):
        PUBLISHED["mnist"].read(tmp_path / "mnist")


def test_labels_out_of_range_are_refused(tmp_path: Path):
    write_mnist(tmp_path / "mnist", train_labels=[1, 10, 2])
    with pytest.raises(DataError, match="classes from 0 to 9, got 10 in row 1"):
        PUBLISHED["mnist"].read(tmp_path / "mnist")


@pytest.mark.parametrize(
    ("name", "classes"), [("mnist", 10), ("fashion-mnist", 10), ("cifar10", 10), ("cifar100", 100)]
)
def test_tables_are_complete(name: str, classes: int):
    entry = PUBLISHED[name]
    assert entry.name == name
    assert len(set(entry.class_names)) == len(entry.class_names) == classes
    assert all(mirror.startswith("https://") for mirror in entry.mirrors)
    for file in entry.files:
        digests = {"sha256": file.sha256, "unpacked": file.unpacked_sha256, "md5": file.md5}
        assert any(digests.values())
        for kind, digest in digests.items():
            assert digest is None or (len(digest) == (32 if kind == "md5" else 64) and int(digest, 16) >= 0)


def test_cifar100_classes_are_in_the_published_order():
    # The published order is alphabetical; these indices are from the archive's `meta` file.
    names = PUBLISHED["cifar100"].class_names
    assert list(names) == sorted(names)
    assert (names[0], names[11], names[99]) == ("apple", "boy", "worm")
