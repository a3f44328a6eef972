"""Data sets by name: looked for where people already have the files, downloaded otherwise."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from striate.data.download import Report, fetch
from striate.data.embedded import read_digits, read_iris
from striate.data.published import PUBLISHED, Published
from striate.errors import DataError

__all__ = ["NAMES", "NamedData", "read_named"]

NAMES = ("digits", "iris", *PUBLISHED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedData:
    """A data set as its publishers divide it.

    Attributes:
        values: Images (N, C, H, W), uint8, or vectors (N, D), float32; training data first.
        labels: Class of each (N,), int64.
        class_names: One name a class.
        kind: ``"images"`` or ``"vectors"``.
        num_train: How many of them are training data; N where the publishers do not divide.
    """

    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    kind: Literal["images", "vectors"]
    num_train: int


def read_named(
    name: str, *, root: Path | None, cache_dir: Path, download: bool, report: Report | None = None
) -> NamedData:
    """Read one of `NAMES`, downloading it where none of the usual places holds it.

    Args:
        name: One of `NAMES`.
        root: The folder to look in first, and to download to.
        cache_dir: The folder to download to without `root`.
        download: Whether the network may be used.
        report: Called with the bytes received and the bytes expected.

    Raises:
        DataError: The files are missing or damaged.
    """
    if name == "digits":
        images, labels = read_digits()
        names = tuple("0123456789")
        return NamedData(values=images, labels=labels, class_names=names, kind="images", num_train=len(labels))
    if name == "iris":
        vectors, labels, names = read_iris()
        return NamedData(values=vectors, labels=labels, class_names=names, kind="vectors", num_train=len(labels))
    entry = PUBLISHED[name]
    downloads = root if root is not None else cache_dir / "data"
    places = list(_places(root, downloads))
    found = next((path for place in places if (path := entry.find(place)) is not None), None)
    if found is None:
        found = _download(entry, downloads, places=places, download=download, report=report)
    (images, labels), (test_images, test_labels) = entry.read(found)
    return NamedData(
        values=np.concatenate([images, test_images]),
        labels=np.concatenate([labels, test_labels]),
        class_names=entry.class_names,
        kind="images",
        num_train=len(images),
    )


def _places(root: Path | None, downloads: Path) -> Iterator[Path]:
    """The folders that may hold data sets, the most particular first."""
    if root is not None:
        yield root
    if from_environment := os.environ.get("STRIATE_DATA"):
        yield Path(from_environment).expanduser()
    yield Path("data")
    yield downloads


def _download(
    entry: Published, downloads: Path, *, places: Sequence[Path], download: bool, report: Report | None
) -> Path:
    folder = downloads / entry.folder
    names = ", ".join(file.name for file in entry.files)
    advice = (
        f"Put {names} into {folder}, or set STRIATE_DATA to the folder that holds {entry.folder or 'the archive'} "
        f"(looked in {', '.join(str(place) for place in places)})."
    )
    if not download:
        raise DataError(f"load: {entry.name} must be on this machine when download=False, and is not. {advice}")
    for file in entry.files:
        try:
            fetch(
                [f"{mirror}/{file.name}" for mirror in entry.mirrors],
                folder / file.name,
                description=file.description,
                sha256=file.sha256,
                md5=file.md5,
                unpacked_sha256=file.unpacked_sha256,
                report=report,
            )
        except DataError as error:
            raise DataError(f"{error} {advice}") from error
    found = entry.find(downloads)
    if found is None:
        raise DataError(f"load: {entry.name} must be complete in {downloads} after its download, and is not. {advice}")
    return found
