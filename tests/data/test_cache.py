"""The cache: decoded once, found by content, safe against kills, races and full disks."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.data import cache
from striate.data.cache import cached_store, open_cache
from striate.data.decoding import decode
from striate.data.resize import resize_short_side
from striate.data.store import MappedStore
from striate.errors import DataError, ResourceError

MakeImages = Callable[..., list[Path]]


def build(
    paths: list[Path], folder: Path, *, resize_size: int = 8, **options: Any
) -> tuple[MappedStore, dict[int, str]]:
    return cached_store(paths, **({"mode": "RGB", "resize_size": resize_size, "cache_dir": folder} | options))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded, in any order."""
    names: list[str] = []

    def record(content: bytes, *, mode: Any, name: str) -> Any:
        names.append(name)
        return decode(content, mode=mode, name=name)

    monkeypatch.setattr(cache, "decode", record)
    return names


def test_every_image_is_what_decode_and_resize_give(tmp_path: Path, make_images: MakeImages):
    paths = [
        make_images(tmp_path / str(i), 1, size=size)[0] for i, size in enumerate([(8, 8), (20, 10), (5, 30), (9, 12)])
    ]
    for mode in ("RGB", "L"):
        store, bad = build(paths, tmp_path / "cache", mode=mode, resize_size=6)
        assert bad == {}
        assert store.channels == (3 if mode == "RGB" else 1)
        for row, path in enumerate(paths):
            expected = resize_short_side(decode(path, mode=mode), size=6)  # type: ignore[arg-type]
            canvas = store.gather(np.array([row]))
            assert canvas.sizes.tolist() == [list(expected.shape[1:])]
            np.testing.assert_array_equal(canvas.pixels[0], expected)
        assert store.gather(np.array([1, 2])).sizes.tolist() == [[12, 6], [6, 12]]


def test_the_second_time_nothing_is_decoded_or_even_read(
    tmp_path: Path, make_images: MakeImages, decoded: list[str], monkeypatch: pytest.MonkeyPatch
):
    paths = make_images(tmp_path / "data", 40)
    build(paths, tmp_path / "cache")
    assert len(decoded) == 40
    monkeypatch.setattr(cache, "read_file", None)
    store, _ = build(paths, tmp_path / "cache")
    assert len(store) == 40
    assert len(decoded) == 40


def test_a_copied_moved_or_touched_folder_is_recognised_by_its_content(
    tmp_path: Path, make_images: MakeImages, decoded: list[str]
):
    paths = make_images(tmp_path / "data", 3)
    build(paths, tmp_path / "cache")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for path in paths:
        os.utime(path, (1, 1))
    build([tmp_path / "copy" / path.name for path in paths], tmp_path / "cache")
    build(paths, tmp_path / "cache")
    assert len(decoded) == 3


@pytest.mark.parametrize("change", ["content", "order", "fewer", "mode", "size"])
def test_what_matters_is_noticed(tmp_path: Path, make_images: MakeImages, decoded: list[str], change: str):
    paths = make_images(tmp_path / "data", 3)
    build(paths, tmp_path / "cache")
    options: dict[str, Any] = {}
    if change == "content":
        shutil.copy2(paths[1], paths[0])
    elif change == "order":
        paths.reverse()
    elif change == "fewer":
        paths.pop()
    else:
        options = {"mode": "L"} if change == "mode" else {"resize_size": 5}
    store, _ = build(paths, tmp_path / "cache", **options)
    assert len(decoded) == 3 + len(paths)
    size = options.get("resize_size", 8)
    first = resize_short_side(decode(paths[0], mode=options.get("mode", "RGB")), size=size)
    np.testing.assert_array_equal(store.gather(np.array([0])).pixels[0], first)


def test_unreadable_files_have_a_reason_and_are_remembered(tmp_path: Path, make_images: MakeImages, decoded: list[str]):
    paths = make_images(tmp_path / "data", 3)
    paths[1].write_text("hello")
    for _ in range(2):
        store, bad = build(paths, tmp_path / "cache")
        assert list(bad) == [1]
        assert "001.png is a text file" in bad[1]
        np.testing.assert_array_equal(store.gather(np.array([2])).pixels[0], decode(paths[2]))
    assert len(decoded) == 3


def test_a_missing_file_is_tried_again_when_it_is_back(tmp_path: Path, make_images: MakeImages):
    paths = make_images(tmp_path / "data", 3)
    paths[1].rename(tmp_path / "away")
    assert "No such file" in build(paths, tmp_path / "cache")[1][1]
    (tmp_path / "away").rename(paths[1])
    assert build(paths, tmp_path / "cache")[1] == {}


def test_nothing_but_unreadable_files(tmp_path: Path):
    path = tmp_path / "x.png"
    path.write_bytes(b"")
    store, bad = build([path], tmp_path / "cache")
    assert len(store) == len(bad) == 1


def test_progress_is_reported_up_to_the_end(tmp_path: Path, make_images: MakeImages):
    seen: list[tuple[int, int]] = []
    build(make_images(tmp_path / "data", 100), tmp_path / "cache", report=lambda *numbers: seen.append(numbers))
    assert seen == [(64, 100), (100, 100)]


def test_only_finished_folders_are_in_the_cache(tmp_path: Path, make_images: MakeImages):
    build(make_images(tmp_path / "data", 3), tmp_path / "cache")
    (folder,) = (tmp_path / "cache" / "images").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["index.npy", "meta.json", "pixels.bin"]
    assert len(folder.name) == 32


def only_folder(cache_dir: Path) -> Path:
    (folder,) = (path for path in (cache_dir / "images").iterdir() if not path.name.startswith("."))
    return folder


@pytest.mark.parametrize("damage", ["short", "missing", "meta", "index", "foreign"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, make_images: MakeImages, damage: str):
    paths = make_images(tmp_path / "data", 3)
    build(paths, tmp_path / "cache")
    folder = only_folder(tmp_path / "cache")
    if damage == "short":
        (folder / "pixels.bin").write_bytes(b"123")
    elif damage == "missing":
        (folder / "index.npy").unlink()
    elif damage == "meta":
        (folder / "meta.json").write_text("[]")
    elif damage == "index":
        index = np.load(folder / "index.npy")
        index[2, 0] = 10**12
        np.save(folder / "index.npy", index)
    else:
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(meta | {"count": 7}))
    assert open_cache(folder) is None
    store, _ = build(paths, tmp_path / "cache")
    np.testing.assert_array_equal(store.gather(np.array([2])).pixels[0], decode(paths[2]))


def test_a_pickle_in_place_of_the_index_is_not_run(tmp_path: Path, make_images: MakeImages):
    build(make_images(tmp_path / "data", 3), tmp_path / "cache")
    folder = only_folder(tmp_path / "cache")
    np.save(folder / "index.npy", np.array([object()]), allow_pickle=True)
    assert open_cache(folder) is None


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, make_images: MakeImages):
    paths = make_images(tmp_path / "data", 100)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(paths, tmp_path / "cache", report=interrupt)
    assert list((tmp_path / "cache" / "images").iterdir()) == []


def test_what_a_kill_left_behind_is_removed_a_day_later(tmp_path: Path, make_images: MakeImages):
    for name, age_s in (("old", 2 * 24 * 3600), ("new", 60)):
        leftover = tmp_path / "cache" / "images" / f".making-{name}"
        leftover.mkdir(parents=True)
        os.utime(leftover, (time.time() - age_s,) * 2)
    build(make_images(tmp_path / "data", 3), tmp_path / "cache")
    names = {path.name for path in (tmp_path / "cache" / "images").iterdir()}
    assert ".making-old" not in names
    assert ".making-new" in names


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_is_a_resource_error_and_leaves_nothing(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, number: int
):
    def fail(stream: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "_sync", fail)
    message = rf"must have room and be writable, got .*: {os.strerror(number)}; [\d,]+ MB are free\. .* STRIATE_CACHE"
    with pytest.raises(ResourceError, match=message):
        build(make_images(tmp_path / "data", 3), tmp_path / "cache")
    assert list((tmp_path / "cache" / "images").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_a_resource_error(tmp_path: Path, make_images: MakeImages):
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(ResourceError, match="the cache folder must have room and be writable"):
        build(make_images(tmp_path / "data", 3), tmp_path / "cache")


def test_a_cache_that_vanishes_is_a_resource_error(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "open_cache", lambda folder: None)
    with pytest.raises(ResourceError, match="must stay while it is used, and was removed or damaged"):
        build(make_images(tmp_path / "data", 3), tmp_path / "cache")


def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
):
    paths = make_images(tmp_path / "data", 2)
    hashed = cache._hash_file

    def hash_and_change(path: Path) -> bytes:
        digest = hashed(path)
        path.write_bytes(path.read_bytes() + b"more")
        return digest

    monkeypatch.setattr(cache, "_hash_file", hash_and_change)
    with pytest.raises(DataError, match=r"000\.png must not change while it is read, and did"):
        build(paths, tmp_path / "cache")


def build_in_process(paths: list[Path], folder: Path) -> None:
    store, _ = build(paths, folder)
    if len(store) != len(paths):
        raise SystemExit(5)


def test_two_processes_at_once_are_safe(tmp_path: Path, make_images: MakeImages):
    paths = make_images(tmp_path / "data", 60)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=build_in_process, args=(paths, tmp_path / "cache")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    only_folder(tmp_path / "cache")


def test_another_process_that_was_faster_is_respected(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
):
    paths = make_images(tmp_path / "data", 3)
    build(paths, tmp_path / "first")
    finished = only_folder(tmp_path / "first")
    publish = cache._publish

    def overtaken(making: Path, folder: Path) -> None:
        shutil.copytree(finished, folder)
        publish(making, folder)

    monkeypatch.setattr(cache, "_publish", overtaken)
    store, _ = build(paths, tmp_path / "cache")
    assert len(store) == 3
    assert only_folder(tmp_path / "cache").name == finished.name
