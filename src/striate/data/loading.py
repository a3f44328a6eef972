"""`load`: from a name, a folder, a CSV file or arrays to training, validation and test data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from striate.data.arrays import parse_images, parse_labels, renumber
from striate.data.files import FileList, load_files
from striate.data.folder import scan_folder
from striate.data.named import NAMES, NamedData, read_named
from striate.data.resize import resize_short_side
from striate.data.sizes import check_size
from striate.data.splits import Parts, Source, Splits, make_splits
from striate.data.store import MemoryStore, VectorStore
from striate.data.table import read_table
from striate.errors import DataError, UsageError, nearest
from striate.files import cache_folder

__all__ = ["load"]

_IN_MEMORY = "arrays in memory"


def load(
    source: str | os.PathLike[str] | tuple[Any, Any],
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    skip_bad: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    report: Callable[[int, int], None] | None = None,
    resize_size: int | None = None,
    largest_size: int = 224,
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Load a data set and divide it into training, validation and test data.

    Splits that the source has are kept; missing ones are taken from its training data, class by class.

    Args:
        source: A name of `NAMES`, a folder of class folders, a CSV file of path,label, or ``(images, labels)``.
        image_size: Side of the square that the network will see, in pixels; None for what the images have (for files,
            the median short side, at most `largest_size`).
        in_channels: 1 for grey, 3 for RGB; None for what the images have (RGB for a folder).
        val_fraction: Share of the training data for validation, 0 for none.
        test_fraction: Share of the training data for test, 0 for none.
        seed: Decides the splits that are made.
        skip_bad: Leave unreadable files out, and list them in `Splits.skipped`, instead of stopping.
        cache_dir: Where decoded images are kept; ``$STRIATE_CACHE`` or ``~/.cache/striate`` by default.
        root: Where to look for a named data set first, and to download it to.
        download: Whether the network may be used.
        report: Called with how much is done and how much there is: files decoded, or bytes received.
        resize_size: Short side that files are stored with, in pixels; `default_resize_size` by default.
        largest_size: See `image_size`.
        class_names: The classes of a trained network, to evaluate it: labels are numbered as there, classes may be
            missing, and no part is split off.

    Raises:
        UsageError: An argument is out of range.
        DataError: The data cannot be found, read or trained on.
        ResourceError: The cache cannot be written.

    Example:
        >>> splits = load("digits")
        >>> len(splits.train), len(splits.val), len(splits.test), splits.train.images.image_size
        (1259, 179, 359, (8, 8))
    """
    _check_arguments(image_size=image_size, resize_size=resize_size, in_channels=in_channels)
    arguments = Source(
        source=_IN_MEMORY if isinstance(source, tuple) else os.fsdecode(source),
        image_size=image_size,
        resize_size=resize_size,
        in_channels=in_channels,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        skip_bad=skip_bad,
        root=None if root is None else str(Path(root).expanduser().absolute()),
        class_names=None if class_names is None else list(class_names),
    )
    cache = cache_folder() if cache_dir is None else Path(cache_dir).expanduser()
    if isinstance(source, tuple):
        return _load_arrays(source, arguments=arguments)
    if isinstance(source, str) and source.lower() in NAMES:
        arguments["source"] = source.lower()
        where = None if arguments["root"] is None else Path(arguments["root"])
        data = read_named(source.lower(), root=where, cache_dir=cache, download=download, report=report)
        return _in_memory(data, name=source.lower(), arguments=arguments)
    path = Path(source).expanduser()
    files = _list_files(path, given=arguments["source"], class_names=arguments["class_names"])
    arguments["source"] = str(path.absolute())
    return load_files(files, arguments=arguments, largest_size=largest_size, cache_dir=cache, report=report)


def _check_arguments(*, image_size: int | None, resize_size: int | None, in_channels: int | None) -> None:
    for name, size in (("image_size", image_size), ("resize_size", resize_size)):
        check_size(size, name=name)
    if in_channels not in (None, 1, 3):
        raise UsageError(f"load: `in_channels` must be 1 (grey) or 3 (RGB), got {in_channels}. Leave it out otherwise.")
    if image_size is not None and resize_size is not None and resize_size < image_size:
        raise UsageError(
            f"load: `resize_size` must be at least `image_size`, got {resize_size} < {image_size}. "
            "A crop cannot be larger than the image."
        )


def _list_files(path: Path, *, given: str, class_names: list[str] | None) -> FileList:
    if path.is_dir():
        return scan_folder(path, class_names=class_names)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_table(path, class_names=class_names)
    if given == _IN_MEMORY:
        raise DataError(
            "load: `source` must be on disk to be found again, and this data was given as arrays. "
            "Give the arrays (images, labels) again."
        )
    known = ", ".join(NAMES)
    if path.is_file():
        raise DataError(
            f"load: `source` must be one of {known}, or a folder of class folders, or a CSV file that exists, got the "
            f"file {path}. Give the folder that holds it, or a .csv with the columns path,label."
        )
    siblings = _siblings(path)
    raise DataError(
        f"load: `source` must be one of {known}, or a folder of class folders, or a CSV file that exists, got "
        f"`{given}`.{nearest(given, NAMES) or nearest(path.name, siblings)} Nothing is at {path.absolute()}."
    )


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return []


def _load_arrays(pair: tuple[Any, Any], *, arguments: Source) -> Splits:
    if len(pair) != 2:
        raise UsageError(f"load: `source` must be (images, labels), got {len(pair)} items. Pass exactly two arrays.")
    values = parse_images(pair[0])
    labels, class_names = parse_labels(pair[1], count=len(values))
    data = NamedData(
        values=values,
        labels=labels,
        class_names=class_names,
        kind="vectors" if values.ndim == 2 else "images",
        num_train=len(values),
    )
    return _in_memory(data, name="arrays", arguments=arguments)


def _in_memory(data: NamedData, *, name: str, arguments: Source) -> Splits:
    """Turn arrays into splits; the publishers' test set is kept."""
    store: MemoryStore | VectorStore
    if data.kind == "vectors":
        for argument in ("image_size", "in_channels", "resize_size"):
            if arguments[argument] is not None:
                raise UsageError(
                    f"load: `{argument}` must be left out for {name}, whose rows are vectors of "
                    f"{data.values.shape[1]} numbers, got {arguments[argument]}. Use a network for vectors."
                )
        store = VectorStore(torch.from_numpy(data.values))
    else:
        images = _convert(data.values, in_channels=arguments["in_channels"], size=arguments["image_size"])
        store = MemoryStore(torch.from_numpy(images))
    class_names = tuple(arguments["class_names"] or data.class_names)
    labels = renumber(data.labels, data.class_names, class_names)
    count, divided = len(labels), data.num_train < len(labels)

    def describe(sample_id: int) -> str:
        if not divided:
            return f"{name} {sample_id}"
        in_train = sample_id < data.num_train
        return f"{name} train {sample_id}" if in_train else f"{name} test {sample_id - data.num_train}"

    return make_splits(
        store,
        labels,
        name=name,
        parts=Parts(
            train=np.arange(data.num_train, dtype=np.int64),
            test=np.arange(data.num_train, count, dtype=np.int64) if divided else None,
        ),
        class_names=class_names,
        kind=data.kind,
        describe=describe,
        source=arguments,
    )


def _convert(images: npt.NDArray[Any], *, in_channels: int | None, size: int | None) -> npt.NDArray[np.uint8]:
    """Bring images in memory to the wanted channels and short side."""
    if in_channels == 3 and images.shape[1] == 1:
        images = np.repeat(images, 3, axis=1)
    elif in_channels == 1 and images.shape[1] == 3:
        # Luma of ITU-R 601 in 16-bit fixed point: the very numbers of Pillow's convert("L"), which files go through.
        red, green, blue = images.astype(np.uint32).transpose(1, 0, 2, 3)
        images = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[:, None]
    if size is not None and min(images.shape[2:]) != size:
        images = np.stack([resize_short_side(image, size=size) for image in images])
    return np.ascontiguousarray(images)
