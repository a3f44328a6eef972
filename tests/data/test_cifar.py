"""CIFAR's four layouts, and archives that are damaged or hostile."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.data.cifar import CIFAR10, CIFAR100, CifarLayout, find_cifar, read_cifar
from striate.errors import DataError

LAYOUTS = pytest.mark.parametrize("layout", [CIFAR10, CIFAR100], ids=lambda layout: layout.name)
KINDS = pytest.mark.parametrize("binary", [True, False], ids=["binary", "python"])
PACKED = pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])


def make_parts(layout: CifarLayout) -> list[tuple[np.ndarray, list[int]]]:
    """Three images for each file, different everywhere."""
    random = np.random.default_rng(0)
    count = len(layout.python_train) + 1
    return [
        (random.integers(0, 256, (3, 3072), dtype=np.uint8), random.integers(0, layout.num_classes, 3).tolist())
        for _ in range(count)
    ]


def make_members(layout: CifarLayout, *, binary: bool) -> dict[str, bytes]:
    parts = make_parts(layout)
    if not binary:
        names = [*layout.python_train, layout.python_test]
        return {
            name: pickle.dumps({b"data": data, layout.label_field: labels}, protocol=2)
            for name, (data, labels) in zip(names, parts, strict=True)
        }
    members = {}
    for name, (data, labels) in zip([*layout.binary_train, layout.binary_test], parts, strict=True):
        coarse = [b"\x05"] * (layout.label_bytes - 1)
        members[name] = b"".join(
            b"".join(coarse) + bytes([label]) + row.tobytes() for row, label in zip(data, labels, strict=True)
        )
    return members


def write(root: Path, members: dict[str, bytes], *, layout: CifarLayout, binary: bool, packed: bool) -> Path:
    folder = layout.binary_folder if binary else layout.python_folder
    if not packed:
        (root / folder).mkdir()
        for name, content in members.items():
            (root / folder / name).write_bytes(content)
        return root / folder
    path = root / (layout.binary_archive if binary else layout.python_archive)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@LAYOUTS
@KINDS
@PACKED
def test_every_layout_is_found_and_read(tmp_path: Path, layout: CifarLayout, binary: bool, packed: bool):
    place = write(tmp_path, make_members(layout, binary=binary), layout=layout, binary=binary, packed=packed)
    assert find_cifar(tmp_path, layout=layout) == place
    (images, labels), (test_images, test_labels) = read_cifar(place, layout=layout)
    parts = make_parts(layout)
    np.testing.assert_array_equal(images.reshape(-1, 3072), np.concatenate([data for data, _ in parts[:-1]]))
    np.testing.assert_array_equal(labels, np.concatenate([labels for _, labels in parts[:-1]]))
    np.testing.assert_array_equal(test_images, parts[-1][0].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test_labels, parts[-1][1])
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64


def test_a_root_that_is_the_folder_itself_is_found(tmp_path: Path):
    place = write(tmp_path, make_members(CIFAR10, binary=True), layout=CIFAR10, binary=True, packed=False)
    assert find_cifar(place, layout=CIFAR10) == place


def test_an_incomplete_folder_is_not_found(tmp_path: Path):
    place = write(tmp_path, make_members(CIFAR10, binary=True), layout=CIFAR10, binary=True, packed=False)
    (place / "test_batch.bin").unlink()
    assert find_cifar(tmp_path, layout=CIFAR10) is None
    assert find_cifar(tmp_path / "missing", layout=CIFAR10) is None


def read_with(root: Path, name: str, content: bytes, *, binary: bool, packed: bool = False) -> None:
    members = make_members(CIFAR10, binary=binary) | {name: content}
    read_cifar(write(root, members, layout=CIFAR10, binary=binary, packed=packed), layout=CIFAR10)


@pytest.mark.parametrize(("content", "count"), [(b"", "0"), (bytes(3074), "3,074")])
def test_binary_files_of_a_wrong_length_are_refused(tmp_path: Path, content: bytes, count: str):
    with pytest.raises(
        DataError, match=rf"data_batch_2\.bin must hold whole records of 3,073 bytes, got {count} bytes"
    ):
        read_with(tmp_path, "data_batch_2.bin", content, binary=True)


def test_a_class_out_of_range_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"must hold classes from 0 to 9, got 10 in record 1"):
        read_with(tmp_path, "data_batch_2.bin", bytes(3073) + b"\x0a" + bytes(3072), binary=True)


ROWS = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({b"data": ROWS, b"labels": [0, 11]}, "must hold classes from 0 to 9, got 11 in record 1"),
        ({b"data": ROWS, b"labels": [-1, 0]}, "got -1 in record 0"),
        ({b"data": ROWS, b"labels": [2**80, 0]}, "got 256 in record 0"),
        ({b"data": ROWS, b"labels": [0]}, "one integer for each of the 2 images"),
        ({b"data": ROWS, b"labels": [0, "1"]}, "one integer for each of the 2 images"),
        ({b"data": ROWS[:0], b"labels": []}, "one integer for each of the 0 images"),
        ({b"data": ROWS}, "must hold a field `labels`"),
        ({b"labels": [0]}, "must hold a field `data` of uint8 rows of 3,072 pixels, got NoneType"),
        ({b"data": ROWS[:, :5], b"labels": [0, 0]}, r"rows of 3,072 pixels, got \(2, 5\)"),
        ({b"data": ROWS.astype(float), b"labels": [0, 0]}, "must hold a field `data`"),
        ([1, 2], "must hold a field `data`"),
    ],
)
def test_python_files_with_wrong_fields_are_refused(tmp_path: Path, fields: Any, message: str):
    with pytest.raises(DataError, match=message):
        read_with(tmp_path, "data_batch_2", pickle.dumps(fields), binary=False)


@dataclasses.dataclass
class Evil:
    function: Any
    argument: Any

    def __reduce__(self) -> Any:
        return self.function, (self.argument,)


@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (getattr, "builtins.getattr"), (np.load, "numpy.load")],
)
def test_a_pickle_that_asks_for_foreign_code_is_refused_by_name_and_not_run(tmp_path: Path, function: Any, named: str):
    canary = tmp_path / "canary"
    content = pickle.dumps({b"data": Evil(function, f"touch {canary}"), b"labels": [0]})
    with pytest.raises(DataError, match=rf"it asks for {named}, which no CIFAR file needs. Do not trust this file"):
        read_with(tmp_path, "data_batch_2", content, binary=False)
    assert not canary.exists()


def test_a_pickle_written_by_python_2_is_read(tmp_path: Path):
    # Protocol 2 with byte strings as str and NumPy's old module name, as in the published archive.
    label = b"labels"
    raw = ROWS.tobytes()
    content = (
        b"\x80\x02}q\x01(U\x04data"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
        b"U" + bytes([len(label)]) + label + b"](K\x03K\x04eu."
    )  # fmt: skip
    members = make_members(CIFAR10, binary=False) | {"test_batch": content}
    place = write(tmp_path, members, layout=CIFAR10, binary=False, packed=False)
    _, (images, labels) = read_cifar(place, layout=CIFAR10)
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [3, 4]


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x80\x02}q\x01(U", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f"]
)
def test_damaged_pickles_are_refused(tmp_path: Path, content: bytes):
    with pytest.raises(DataError, match="must be a CIFAR python file, but"):
        read_with(tmp_path, "data_batch_2", content, binary=False)


def test_mutants_of_a_pickle_give_data_or_a_data_error(tmp_path: Path):
    from striate.data.cifar import _parse_python

    random = np.random.default_rng(7)
    content = make_members(CIFAR10, binary=False)["test_batch"]
    for _ in range(300):
        mutant = bytearray(content)
        # The first and last bytes hold the structure; between them lie pixels.
        for _ in range(3):
            at = int(random.integers(200))
            mutant[at if random.integers(2) else -at - 1] = int(random.integers(256))
        try:
            images, labels = _parse_python(bytes(mutant), name="mutant", layout=CIFAR10)
        except DataError:
            continue
        assert len(images) == len(labels)


def test_a_truncated_archive_is_refused(tmp_path: Path):
    place = write(tmp_path, make_members(CIFAR10, binary=True), layout=CIFAR10, binary=True, packed=True)
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    with pytest.raises(DataError, match="must be a readable CIFAR folder or archive"):
        read_cifar(place, layout=CIFAR10)


def test_an_archive_without_a_member_is_refused(tmp_path: Path):
    members = make_members(CIFAR10, binary=True)
    del members["data_batch_3.bin"]
    place = write(tmp_path, members, layout=CIFAR10, binary=True, packed=True)
    with pytest.raises(DataError, match=r"but data_batch_3\.bin is missing in"):
        read_cifar(place, layout=CIFAR10)


def test_links_and_escapes_in_an_archive_are_ignored(tmp_path: Path):
    members = make_members(CIFAR10, binary=True)
    path = tmp_path / CIFAR10.binary_archive
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name, content in ({"../evil.bin": b"x"} | members).items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (images, _), _ = read_cifar(path, layout=CIFAR10)
    assert len(images) == 15
    assert [entry.name for entry in tmp_path.iterdir()] == [CIFAR10.binary_archive]


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / CIFAR10.python_archive).write_bytes(b"<html>")
    with pytest.raises(DataError, match="must be a readable CIFAR folder or archive"):
        read_cifar(tmp_path / CIFAR10.python_archive, layout=CIFAR10)
