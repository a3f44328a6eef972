"""CIFAR-10 and CIFAR-100 in the layouts people have: binary or python, unpacked or in the published archive.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the data set's web page.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import DataError

__all__ = ["CIFAR10", "CIFAR100", "CifarLayout", "find_cifar", "read_cifar"]

_PIXELS = 3 * 32 * 32
# The largest published member (CIFAR-100 training data) has 155 MB.
_LARGEST_MEMBER_BYTES = 512 * 1024**2

# All that the published archives need, written by Python 2, and what NumPy 1 and 2 write today for the same arrays.
_ADMITTED = frozenset(
    [
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CifarLayout:
    """The names of one data set's files and fields.

    Attributes:
        name: Name in `load`.
        num_classes: Classes.
        binary_folder: Folder of the binary version.
        binary_archive: Archive of the binary version, as published.
        binary_train: Training files of the binary version.
        binary_test: Test file of the binary version.
        python_folder: Folder of the python version.
        python_archive: Archive of the python version, as published.
        python_train: Training files of the python version.
        python_test: Test file of the python version.
        label_bytes: Bytes before the pixels of a binary record; the last one is the class.
        label_field: Field with the classes in the python version.
    """

    name: str
    num_classes: int
    binary_folder: str
    binary_archive: str
    binary_train: tuple[str, ...]
    binary_test: str
    python_folder: str
    python_archive: str
    python_train: tuple[str, ...]
    python_test: str
    label_bytes: int
    label_field: bytes


CIFAR10 = CifarLayout(
    name="cifar10",
    num_classes=10,
    binary_folder="cifar-10-batches-bin",
    binary_archive="cifar-10-binary.tar.gz",
    binary_train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    binary_test="test_batch.bin",
    python_folder="cifar-10-batches-py",
    python_archive="cifar-10-python.tar.gz",
    python_train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    python_test="test_batch",
    label_bytes=1,
    label_field=b"labels",
)
CIFAR100 = CifarLayout(
    name="cifar100",
    num_classes=100,
    binary_folder="cifar-100-binary",
    binary_archive="cifar-100-binary.tar.gz",
    binary_train=("train.bin",),
    binary_test="test.bin",
    python_folder="cifar-100-python",
    python_archive="cifar-100-python.tar.gz",
    python_train=("train",),
    python_test="test",
    label_bytes=2,  # first the coarse class, then the fine one
    label_field=b"fine_labels",
)

ImagesAndLabels = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def find_cifar(root: Path, *, layout: CifarLayout) -> Path | None:
    """Find a folder or an archive of the data set in `root`: binary before python, unpacked before packed.

    Args:
        root: A folder that may hold it, or may be it.
        layout: Which data set.
    """
    folders = (
        (layout.binary_folder, (*layout.binary_train, layout.binary_test)),
        (layout.python_folder, (*layout.python_train, layout.python_test)),
    )
    for folder, members in folders:
        for place in (root / folder, root):
            if place.name == folder and all((place / member).is_file() for member in members):
                return place
    archives = (root / layout.binary_archive, root / layout.python_archive)
    return next((archive for archive in archives if archive.is_file()), None)


def read_cifar(place: Path, *, layout: CifarLayout) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Read the training and the test images.

    Args:
        place: A folder or an archive, as `find_cifar` returns it.
        layout: Which data set.

    Returns:
        Training and test data: images (N, 3, 32, 32), uint8, and classes (N,), int64.

    Raises:
        DataError: A file is missing, cut off, holds a class out of range, or asks for foreign code.
    """
    binary = place.name in (layout.binary_folder, layout.binary_archive)
    train_names = layout.binary_train if binary else layout.python_train
    test_name = layout.binary_test if binary else layout.python_test
    folder = layout.binary_folder if binary else layout.python_folder
    contents = _read_members(place, folder=folder, names=(*train_names, test_name))
    parse = _parse_binary if binary else _parse_python
    parts = [parse(contents[name], name=f"{place}: {name}", layout=layout) for name in (*train_names, test_name)]
    images = np.concatenate([part[0] for part in parts[:-1]])
    labels = np.concatenate([part[1] for part in parts[:-1]])
    return (images, labels), parts[-1]


def _read_members(place: Path, *, folder: str, names: Sequence[str]) -> dict[str, bytes]:
    try:
        if place.is_dir():
            return {name: (place / name).read_bytes() for name in names}
        contents = {}
        # Members are read by name into memory; nothing is ever extracted, so no path in the archive matters.
        with tarfile.open(place, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./").removeprefix(f"{folder}/")
                if name not in names or not member.isfile() or member.size > _LARGEST_MEMBER_BYTES:
                    continue
                stream = archive.extractfile(member)
                contents[name] = stream.read() if stream is not None else b""
                if len(contents) == len(names):
                    break
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(
            f"read_cifar: `place` must be a readable CIFAR folder or archive, got {place}: {error}. "
            "Delete it and download it again."
        ) from error
    if missing := [name for name in names if name not in contents]:
        raise DataError(
            f"read_cifar: `place` must hold {', '.join(names)}, but {', '.join(missing)} is missing in {place}. "
            "Delete it and download it again."
        )
    return contents


def _parse_binary(content: bytes, *, name: str, layout: CifarLayout) -> ImagesAndLabels:
    record = layout.label_bytes + _PIXELS
    if len(content) == 0 or len(content) % record:
        raise DataError(
            f"read_cifar: {name} must hold whole records of {record:,} bytes, got {len(content):,} bytes, which is "
            f"{len(content) / record:.3f} records. Delete it and download it again."
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    images = rows[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return images, _check_labels(rows[:, layout.label_bytes - 1].astype(np.int64), name=name, layout=layout)


def _parse_python(content: bytes, *, name: str, layout: CifarLayout) -> ImagesAndLabels:
    fields = _unpickle(content, name=name)
    fields = {k.encode() if isinstance(k, str) else k: v for k, v in fields.items()} if isinstance(fields, dict) else {}
    data, labels = fields.get(b"data"), fields.get(layout.label_field)
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == _PIXELS):
        raise DataError(
            f"read_cifar: {name} must hold a field `data` of uint8 rows of {_PIXELS:,} pixels, got "
            f"{getattr(data, 'shape', type(data).__name__)}. Delete it and download it again."
        )
    if not (
        isinstance(labels, list) and len(labels) == len(data) > 0 and all(isinstance(value, int) for value in labels)
    ):
        raise DataError(
            f"read_cifar: {name} must hold a field `{layout.label_field.decode()}` with one integer for each of the "
            f"{len(data):,} images. Delete it and download it again."
        )
    # Clipping keeps a huge integer from overflowing; the range check then refuses it by its sign.
    values = np.array([min(max(value, -1), 256) for value in labels], dtype=np.int64)
    return data.reshape(-1, 3, 32, 32), _check_labels(values, name=name, layout=layout)


def _check_labels(labels: npt.NDArray[np.int64], *, name: str, layout: CifarLayout) -> npt.NDArray[np.int64]:
    wrong = np.flatnonzero((labels < 0) | (labels >= layout.num_classes))
    if len(wrong):
        raise DataError(
            f"read_cifar: {name} must hold classes from 0 to {layout.num_classes - 1}, got {labels[wrong[0]]} in "
            f"record {wrong[0]}. Delete it and download it again."
        )
    return labels


class _Unpickler(pickle.Unpickler):
    """Reads arrays, numbers, strings, lists and dictionaries, and refuses every other name before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        # NumPy moved the function in version 2 and warns about the old place, which the published files name.
        moved = name == "_reconstruct" and np.lib.NumpyVersion(np.__version__) >= "2.0.0"
        return super().find_class("numpy._core.multiarray" if moved else module, name)


def _unpickle(content: bytes, *, name: str) -> Any:
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle fails in as many ways as it has opcodes; these are the ones its machine can raise.
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ImportError,
        OverflowError,
        MemoryError,
        RuntimeError,
        SystemError,
        LookupError,
        AssertionError,
    ) as error:
        raise DataError(
            f"read_cifar: {name} must be a CIFAR python file, but {error or type(error).__name__}. "
            "Do not trust this file: delete it and download it again."
        ) from error
