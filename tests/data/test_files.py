"""From lists of files to splits: unreadable files, sizes that are chosen, classes that run empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from striate.data.files import FileList, load_files
from striate.data.splits import Source, Splits
from striate.errors import DataError

MakeImages = Callable[..., list[Path]]


@pytest.fixture
def run(tmp_path: Path, make_images: MakeImages) -> Callable[..., Splits]:
    """Load 10 + 10 images of two classes, of which some are made unreadable."""

    def load(*, size: tuple[int, int] = (8, 8), broken: tuple[str, ...] = (), **changes: Any) -> Splits:
        for name in ("a", "b"):
            make_images(tmp_path / "pets" / name, 10, size=size)
        for path in broken:
            (tmp_path / "pets" / path).write_text("broken")
        files = FileList(
            root=tmp_path / "pets",
            paths=tuple(f"{name}/{number:03}.png" for name in ("a", "b") for number in range(10)),
            labels=(0,) * 10 + (1,) * 10,
            splits=("train",) * 20,
            given=frozenset(),
            class_names=("a", "b"),
            ignored=4,
        )
        source = Source(
            source="x", image_size=None, resize_size=None, in_channels=None, val_fraction=0.1, test_fraction=0.2,
            seed=0, skip_bad=False, root=None, class_names=None,
        )  # fmt: skip
        arguments = source | changes
        return load_files(files, arguments=arguments, largest_size=224, cache_dir=tmp_path / "cache", report=None)  # type: ignore[arg-type]

    return load


def test_files_become_splits(run: Callable[..., Splits]):
    splits = run()
    assert (len(splits.train), len(splits.val or ()), len(splits.test or ())) == (14, 2, 4)
    assert (splits.name, splits.kind, splits.class_names) == ("pets", "images", ("a", "b"))
    assert (splits.skipped, splits.ignored) == ((), 4)
    sample_id = int(splits.train.sample_ids[0])
    assert splits.train.identify(0) == f"{'ab'[sample_id // 10]}/{sample_id % 10:03}.png"


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [
        ((8, 12), {}, (8, 8)),
        ((300, 400), {}, (224, 256)),
        ((8, 12), {"image_size": 5}, (5, 5)),
        ((80, 80), {"image_size": 70}, (70, 80)),
        ((8, 12), {"resize_size": 6}, (6, 6)),
        ((8, 12), {"image_size": 5, "resize_size": 7}, (5, 7)),
    ],
)
def test_sizes_are_filled_in(run: Callable[..., Splits], size: tuple[int, int], given: Any, expected: tuple[int, int]):
    splits = run(size=size, **given)
    assert (splits.source["image_size"], splits.source["resize_size"]) == expected
    image_size = splits.train.images.image_size
    assert image_size is not None
    assert min(image_size) == expected[1]


@pytest.mark.parametrize(("in_channels", "channels"), [(None, 3), (1, 1), (3, 3)])
def test_channels(run: Callable[..., Splits], in_channels: int | None, channels: int):
    assert run(in_channels=in_channels).train.images.channels == channels


def test_unreadable_files_stop_with_their_names(run: Callable[..., Splits]):
    message = (
        r"2 of 20 files in .*pets cannot be read: .*002\.png is a text file.*; .*005\.png.* skip_bad=True.*no file was"
    )
    with pytest.raises(DataError, match=message):
        run(broken=("a/002.png", "b/005.png"))


def test_many_unreadable_files_are_counted(run: Callable[..., Splits]):
    with pytest.raises(DataError, match=r"12 of 20 files .*; and 2 more"):
        run(broken=tuple(f"{name}/{number:03}.png" for name in "ab" for number in range(6)))


def test_unreadable_files_are_left_out_and_listed(run: Callable[..., Splits]):
    splits = run(broken=("a/002.png",), skip_bad=True)
    assert [name for name, _ in splits.skipped] == ["a/002.png"]
    assert "is a text file" in splits.skipped[0][1]
    parts = [part for part in (splits.train, splits.val, splits.test) if part is not None]
    names = {part.identify(index) for part in parts for index in range(len(part))}
    assert len(names) == 19
    assert "a/002.png" not in names


def test_a_class_that_runs_empty_is_named(run: Callable[..., Splits]):
    with pytest.raises(DataError, match=r"training images that can be read, but `b` has none in .*pets"):
        run(broken=tuple(f"b/{number:03}.png" for number in range(10)), skip_bad=True)
