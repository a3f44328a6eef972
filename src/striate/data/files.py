"""From a list of image files with classes to `Splits`: decoded once into the cache, unreadable files named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from striate.data.cache import cached_store
from striate.data.decoding import probe
from striate.data.names import printable
from striate.data.sizes import default_resize_size
from striate.data.splits import Parts, Source, Splits, make_splits
from striate.errors import DataError, ImageError

__all__ = ["FileList", "SplitName", "load_files"]

SplitName = Literal["train", "val", "test"]

# Headers of this many files, evenly spread, decide the size of images where the user has not.
_PROBED = 64
_LISTED = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileList:
    """Image files with their classes, before any is decoded.

    Attributes:
        root: The folder that `paths` are relative to.
        paths: Path of each file (N,), relative to `root`, as the system gave it.
        labels: Class of each file (N,).
        splits: Split of each file (N,).
        given: The splits that the source itself has.
        class_names: One name a class.
        ignored: How many other files there were.
        noun: What a user would change: "folder" or "CSV file".
    """

    root: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[SplitName, ...]
    given: frozenset[SplitName]
    class_names: tuple[str, ...]
    ignored: int = 0
    noun: str = "folder"


def load_files(
    files: FileList,
    *,
    arguments: Source,
    largest_size: int,
    cache_dir: Path,
    report: Callable[[int, int], None] | None,
) -> Splits:
    """Decode every file once, and divide them.

    Args:
        files: The files.
        arguments: The arguments of `load`; sizes that were left out are filled in.
        largest_size: What an image size that was left out is at most, in pixels.
        cache_dir: Where decoded images are kept.
        report: Called with the files decoded and the files there are.

    Raises:
        DataError: Files are unreadable, or a class is left without files.
        ResourceError: The cache cannot be written.
    """
    absolute = [files.root / path for path in files.paths]
    arguments = _fill_in_sizes(arguments, absolute, largest_size=largest_size)
    store, bad = cached_store(
        absolute,
        mode="L" if arguments["in_channels"] == 1 else "RGB",
        resize_size=arguments["resize_size"] or largest_size,
        cache_dir=cache_dir,
        report=report,
    )
    skipped = tuple((printable(files.paths[row]), reason) for row, reason in bad.items())
    if bad and not arguments["skip_bad"]:
        raise _unreadable(files, skipped)
    labels = np.array(files.labels, dtype=np.int64)
    readable = np.ones(len(absolute), dtype=bool)
    readable[list(bad)] = False
    rows = {name: np.flatnonzero((np.array(files.splits) == name) & readable) for name in ("train", "val", "test")}
    counts = np.bincount(labels[rows["train"]], minlength=len(files.class_names))
    empty = [name for name, count in zip(files.class_names, counts, strict=True) if count == 0]
    if empty and arguments["class_names"] is None:
        raise DataError(
            f"load: each class must have training images that can be read, but "
            f"{', '.join(f'`{printable(name)}`' for name in empty[:_LISTED])} has none in {files.root}. "
            f"Add images, or remove the class from the {files.noun}."
        )
    return make_splits(
        store,
        labels,
        name=printable(files.root.resolve().name),
        parts=Parts(
            train=rows["train"],
            val=rows["val"] if "val" in files.given else None,
            test=rows["test"] if "test" in files.given else None,
        ),
        class_names=tuple(printable(name) for name in files.class_names),
        kind="images",
        describe=lambda sample_id: files.paths[sample_id],
        source=arguments,
        skipped=skipped,
        ignored=files.ignored,
    )


def _unreadable(files: FileList, skipped: Sequence[tuple[str, str]]) -> DataError:
    listed = "; ".join(reason for _, reason in skipped[:_LISTED])
    rest = f"; and {len(skipped) - _LISTED:,} more" if len(skipped) > _LISTED else ""
    return DataError(
        f"load: {len(skipped):,} of {len(files.paths):,} files in {files.root} cannot be read: {listed}{rest}. "
        "Repair or remove them, or leave them out with skip_bad=True (--skip-bad); no file was changed."
    )


def _fill_in_sizes(arguments: Source, paths: list[Path], *, largest_size: int) -> Source:
    """Choose sizes where the user has not, so that the same ones are used when the data is loaded again."""
    image_size = arguments["image_size"]
    resize_size = arguments["resize_size"]
    if image_size is None:
        typical = _median_short_side(paths) or largest_size
        image_size = min(resize_size or largest_size, typical)
        if typical <= largest_size:
            # The images are kept as they are, without the margin of `default_resize_size`.
            resize_size = resize_size or image_size
    filled = arguments.copy()
    filled["image_size"] = image_size
    filled["resize_size"] = resize_size or default_resize_size(image_size)
    return filled


def _median_short_side(paths: list[Path]) -> int | None:
    sides = []
    for row in np.linspace(0, len(paths) - 1, num=min(_PROBED, len(paths))).round().astype(int):
        try:
            sides.append(min(probe(paths[row])))
        except ImageError:
            continue  # decoding will name it, with all other unreadable files
    return int(np.median(sides)) if sides else None
