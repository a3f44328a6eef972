"""Folders as people have them: layouts, stray files, odd names, links; and those that cannot be trained on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from striate.data.folder import find_images, scan_folder
from striate.errors import DataError

MakeImages = Callable[..., list[Path]]


def test_class_folders_are_sorted_by_name(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "dogs", 2)
    make_images(tmp_path / "cats", 1)
    files = scan_folder(tmp_path)
    assert files.class_names == ("cats", "dogs")
    assert files.paths == ("cats/000.png", "dogs/000.png", "dogs/001.png")
    assert files.labels == (0, 1, 1)
    assert files.splits == ("train", "train", "train")
    assert files.given == frozenset()
    assert files.ignored == 0


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "VAL"])
@pytest.mark.parametrize("train", ["train", "Training"])
def test_split_folders_are_kept(tmp_path: Path, make_images: MakeImages, train: str, val: str):
    for folder in (f"{train}/a", f"{train}/b", f"{val}/b", "test/a"):
        make_images(tmp_path / folder)
    files = scan_folder(tmp_path)
    assert files.given == {"train", "val", "test"}
    assert dict(zip(files.paths, zip(files.labels, files.splits, strict=True), strict=True)) == {
        f"{train}/a/000.png": (0, "train"),
        f"{train}/b/000.png": (1, "train"),
        f"{val}/b/000.png": (1, "val"),
        "test/a/000.png": (0, "test"),
    }


def test_train_may_be_a_class(tmp_path: Path, make_images: MakeImages):
    for vehicle in ("train", "plane"):
        make_images(tmp_path / vehicle)
    assert scan_folder(tmp_path).class_names == ("plane", "train")


def test_class_folders_may_have_folders(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "a" / "deep" / "deeper")
    make_images(tmp_path / "b")
    assert scan_folder(tmp_path).paths == ("a/deep/deeper/000.png", "b/000.png")


def test_stray_files_are_ignored_and_counted(tmp_path: Path, make_images: MakeImages):
    for name in ("a", "b", "__MACOSX/a", ".hidden"):
        make_images(tmp_path / name)
    for stray in (".DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/._000.png", "a/notes.txt", "a/README"):
        (tmp_path / stray).write_bytes(b"x" * 40)
    make_images(tmp_path, 1)  # an image beside the class folders
    files = scan_folder(tmp_path)
    assert files.paths == ("a/000.png", "b/000.png")
    # the 6 files, the 2 folders __MACOSX and .hidden, and the image beside the class folders
    assert files.ignored == 9


def test_extensions_are_no_obstacle(tmp_path: Path, make_images: MakeImages):
    image = make_images(tmp_path / "a")[0]
    for name in ("UPPER.JPG", "noextension", "strange.data", "wrong.gif"):
        shutil.copy(image, tmp_path / "a" / name)
    make_images(tmp_path / "b")
    assert [path.split("/")[1] for path in scan_folder(tmp_path).paths if path.startswith("a")] == [
        "000.png",
        "UPPER.JPG",
        "noextension",
        "strange.data",
        "wrong.gif",
    ]


def test_a_file_with_an_image_extension_is_listed_whatever_it_holds(tmp_path: Path, make_images: MakeImages):
    # Decoding will name it: a truncated download must not vanish silently.
    make_images(tmp_path / "a")
    make_images(tmp_path / "b")
    (tmp_path / "a" / "broken.jpg").write_text("not an image")
    assert "a/broken.jpg" in scan_folder(tmp_path).paths


def test_links_are_followed_and_loops_are_cut(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "elsewhere", 2)
    make_images(tmp_path / "root" / "a")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "loop").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    files = scan_folder(tmp_path / "root")
    assert files.class_names == ("a", "b")
    assert [path for path in files.paths if "loop" in path] == []
    # `up` leads to `b` once; below it `a` is met again and cut.
    assert files.labels.count(0) == 3
    assert files.labels.count(1) == 2


NAMES = ["with space", "ümläut", "new\nline", "-dash", "😀", os.fsdecode(b"\xff\xfe")]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_work(tmp_path: Path, make_images: MakeImages, name: str):
    make_images(tmp_path / name)
    make_images(tmp_path / "zzz")
    image = tmp_path / "zzz" / f"{name}.png"
    shutil.copy(tmp_path / "zzz" / "000.png", image)
    files = scan_folder(tmp_path)
    assert name in files.class_names
    assert f"zzz/{name}.png" in files.paths


def test_nothing_is_written(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "a")
    make_images(tmp_path / "b")
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    scan_folder(tmp_path)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_class_only_in_val_is_refused_with_both_lists(tmp_path: Path, make_images: MakeImages):
    for folder in ("train/a", "train/b", "val/a", "val/c"):
        make_images(tmp_path / folder)
    message = r"no class but those that `train` has, got `c` in .*val\. train has `a`, `b`; val has `a`, `c`"
    with pytest.raises(DataError, match=message):
        scan_folder(tmp_path)


def test_a_class_missing_in_val_is_allowed(tmp_path: Path, make_images: MakeImages):
    for folder in ("train/a", "train/b", "val/a"):
        make_images(tmp_path / folder)
    (tmp_path / "val" / "b").mkdir()
    assert scan_folder(tmp_path).splits.count("val") == 1


def test_an_empty_class_folder_is_named(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("soon")
    with pytest.raises(DataError, match=r"each class folder must hold images, but `b` in .* holds none"):
        scan_folder(tmp_path)


def test_one_class_is_refused_and_a_folder_in_a_folder_is_pointed_out(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "flat" / "a")
    with pytest.raises(DataError, match=r"at least 2 classes .* holds only the folder `a`\. Expected"):
        scan_folder(tmp_path / "flat")
    for name in ("cats", "dogs"):
        make_images(tmp_path / "archive" / "pets" / name)
    with pytest.raises(DataError, match=r"Did you mean .*archive/pets, which holds `cats`, `dogs`\?"):
        scan_folder(tmp_path / "archive")


def test_a_folder_without_class_folders_is_refused_with_the_layout(tmp_path: Path, make_images: MakeImages):
    with pytest.raises(DataError, match=r"holds nothing and no folders\. Expected: FOLDER/cats/1\.jpg"):
        scan_folder(tmp_path)
    make_images(tmp_path, 3)
    with pytest.raises(DataError, match=r"holds 3 images and no folders.*give a CSV with the columns path,label"):
        scan_folder(tmp_path)


def test_splits_without_train_are_refused(tmp_path: Path, make_images: MakeImages):
    for folder in ("val/a", "test/a"):
        make_images(tmp_path / folder)
    with pytest.raises(DataError, match="must have a `train` folder, got only `test`, `val`"):
        scan_folder(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path, make_images: MakeImages):
    for folder in ("train/a", "train/b", "val/a", "valid/a"):
        make_images(tmp_path / folder)
    with pytest.raises(DataError, match="one folder for each split, got both val and valid"):
        scan_folder(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
):
    make_images(tmp_path / "a")
    make_images(tmp_path / "b")
    scandir = os.scandir

    # As root, which tests may run as, no real folder is closed.
    def refuse(folder: str) -> Any:
        if str(folder).endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"b must be a folder that can be read: Permission denied"):
        scan_folder(tmp_path)


def test_a_folder_that_vanishes_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone must be a folder that can be read: No such file"):
        scan_folder(tmp_path / "gone")


def test_for_a_network_that_knows_its_classes_labels_follow_it(tmp_path: Path, make_images: MakeImages):
    make_images(tmp_path / "b")
    (tmp_path / "c").mkdir()
    files = scan_folder(tmp_path, class_names=["a", "b", "c"])
    assert files.class_names == ("a", "b", "c")
    assert files.labels == (1,)
    with pytest.raises(DataError, match=r"those that the network knows, got `b` in .* the network knows `a`, `c`"):
        scan_folder(tmp_path, class_names=["a", "c"])


def test_find_images_expands_files_folders_and_patterns(tmp_path: Path, make_images: MakeImages):
    first, second = make_images(tmp_path / "a", 2)
    deep = make_images(tmp_path / "a" / "deep")[0]
    (tmp_path / "a" / "notes.txt").write_text("x")
    assert find_images(first) == [first]
    assert find_images(tmp_path / "a" / "notes.txt") == [tmp_path / "a" / "notes.txt"]
    assert find_images(str(tmp_path / "a")) == [first, second, deep]
    assert find_images(str(tmp_path / "a" / "*.png")) == [first, second]
    assert find_images(str(tmp_path / "**" / "*.png")) == [first, second, deep]
    assert find_images(str(tmp_path / "?")) == [first, second, deep]
    brackets = shutil.copy(first, tmp_path / "[1].png")
    assert find_images(brackets) == [brackets]


def test_find_images_says_when_there_is_nothing(tmp_path: Path):
    with pytest.raises(DataError, match=r"`images` must exist, got .*missing\.jpg, where nothing is"):
        find_images(tmp_path / "missing.jpg")
    with pytest.raises(DataError, match=r"at least one image, got the folder .* without any"):
        find_images(tmp_path)
