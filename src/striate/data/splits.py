"""A data set and its three parts, and the stratified, seeded split that makes the parts where none are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch

from striate.data.names import printable as printable
from striate.data.store import ImageStore, Indices, SubsetStore
from striate.errors import DataError, UsageError, nearest

__all__ = ["Dataset", "Parts", "Source", "Splits", "make_splits", "stratified_split"]


class Source(TypedDict):
    """The arguments that rebuild a `Splits`: plain JSON, stored with each run, given back as ``load(**source)``.

    Sizes that the user left out are filled in, so that files which are added later do not change them.
    """

    source: str
    image_size: int | None
    resize_size: int | None
    in_channels: int | None
    val_fraction: float
    test_fraction: float
    seed: int
    skip_bad: bool
    root: str | None
    class_names: list[str] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images with labels.

    Attributes:
        images: Where the N images are.
        labels: Class of each image (N,), int64, from 0 to len(class_names) - 1.
        class_names: One name a class.
        sample_ids: Index of each image in the undivided source (N,), int64; augmentation is derived from it, so an
            image is augmented alike whichever split it falls in.
        describe: Names the image with a given sample id.
    """

    images: ImageStore
    labels: torch.Tensor
    class_names: tuple[str, ...]
    sample_ids: torch.Tensor
    describe: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def identify(self, index: int) -> str:
        """Name one image for people: its path, or like ``mnist train 123``.

        Args:
            index: Position in this data set.

        Returns:
            A printable name: line breaks and bytes that are not UTF-8 are escaped.
        """
        return printable(self.describe(int(self.sample_ids[index])))

    def subset(self, indices: Sequence[int] | Indices | torch.Tensor) -> Dataset:
        """Take some of the images; pixels are not copied.

        Args:
            indices: Positions in this data set.
        """
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        return dataclasses.replace(
            self,
            images=SubsetStore(self.images, rows),
            labels=self.labels[torch.from_numpy(rows)],
            sample_ids=self.sample_ids[torch.from_numpy(rows)],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """A source divided into training, validation and test data.

    Attributes:
        name: Short name of the source.
        train: What the network learns from.
        val: What settings are chosen on, or None.
        test: What is looked at once, at the end, or None.
        class_names: One name a class, in the order of the labels.
        kind: ``"images"`` or ``"vectors"``.
        source: Arguments that rebuild these splits through `load`.
        skipped: Unreadable files that were left out, each with its reason.
        ignored: How many files were not images at all (``.DS_Store``, ``README.txt``).
    """

    name: str
    train: Dataset
    val: Dataset | None
    test: Dataset | None
    class_names: tuple[str, ...]
    kind: Literal["images", "vectors"]
    source: Source
    skipped: tuple[tuple[str, str], ...] = ()
    ignored: int = 0

    @property
    def image_size(self) -> int | None:
        """Side in pixels of the network's input that the images were loaded for; None for vectors."""
        if self.kind == "vectors":
            return None
        size = self.train.images.image_size
        return self.source["image_size"] or (None if size is None else min(size))

    def pick(self, split: str | None = None) -> Dataset:
        """Choose the part to evaluate on.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``; None for test, else val, else train.

        Raises:
            UsageError: There is no such part.
        """
        parts = {"test": self.test, "val": self.val, "train": self.train}
        filled = {name: part for name, part in parts.items() if part is not None and len(part) > 0}
        if split is None and filled:
            return next(iter(filled.values()))
        if split not in filled:
            raise UsageError(
                f"Splits.pick: `split` must be one of {', '.join(filled) or 'nothing (no data)'}, got {split!r}."
                f"{nearest(split or '', filled)} Load {self.name} with such a part, or choose another."
            )
        return filled[split]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """Which rows of a source belong to which split; None where the source does not say."""

    train: Indices
    val: Indices | None = None
    test: Indices | None = None


def stratified_split(
    labels: npt.NDArray[np.int64],
    *,
    class_names: Sequence[str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> Parts:
    """Divide rows so that each class is divided in the same proportions.

    The order within a class comes from PCG64's raw output, which NumPy keeps the same in all its versions; test rows
    are taken first, so a change of `val_fraction` leaves the test set as it was.

    Args:
        labels: Class of each row (N,).
        class_names: One name a class, for messages.
        val_fraction: Share for validation, 0 for none.
        test_fraction: Share for test, 0 for none.
        seed: Any non-negative integer.

    Returns:
        Row numbers of each part, ascending; None for a part whose share is 0.

    Raises:
        UsageError: The shares are not in 0 to 1 or leave nothing for training.
        DataError: A class has too few rows to be in every part.

    Example:
        >>> parts = stratified_split(
        ...     np.repeat([0, 1], 10), class_names=["a", "b"], val_fraction=0.1, test_fraction=0.2, seed=0
        ... )
        >>> len(parts.train), len(parts.val), len(parts.test)
        (14, 2, 4)
    """
    _check_fractions(val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    needed = 1 + (val_fraction > 0) + (test_fraction > 0)
    counts = np.bincount(labels, minlength=len(class_names))
    small = [f"`{name}` has {count}" for name, count in zip(class_names, counts, strict=True) if count < needed]
    if small and needed > 1:
        raise DataError(
            f"load: each class must have at least {needed} images to be divided into {needed} parts, but "
            f"{_shorten(small)}. Add images, remove the class, or make fewer parts (val_fraction=0, test_fraction=0)."
        )
    chosen: dict[str, list[Indices]] = {"train": [], "val": [], "test": []}
    for label in range(len(class_names)):
        rows = np.flatnonzero(labels == label)
        bits = np.random.PCG64(np.random.SeedSequence([seed, label])).random_raw(len(rows))
        rows = rows[np.argsort(bits, kind="stable")]
        test = min(_share(len(rows), test_fraction), len(rows) - needed + 1)
        val = min(_share(len(rows), val_fraction), len(rows) - test - 1)
        chosen["test"].append(rows[:test])
        chosen["val"].append(rows[test : test + val])
        chosen["train"].append(rows[test + val :])
    train, val_rows, test_rows = (np.sort(np.concatenate(rows)) for rows in chosen.values())
    return Parts(train=train, val=val_rows if val_fraction > 0 else None, test=test_rows if test_fraction > 0 else None)


def _share(count: int, fraction: float) -> int:
    return max(1, round(count * fraction)) if fraction > 0 else 0


def _check_fractions(*, val_fraction: float, test_fraction: float, seed: int) -> None:
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value < 1:
            raise UsageError(
                f"load: `{name}` must be at least 0 and less than 1, got {value}. Use 0.1 for a tenth, 0 for none."
            )
    if val_fraction + test_fraction >= 1:
        raise UsageError(
            f"load: `val_fraction` + `test_fraction` must be less than 1, got {val_fraction} + {test_fraction}. "
            "Leave something to train on."
        )
    if seed < 0:
        raise UsageError(f"load: `seed` must be 0 or more, got {seed}. Use any non-negative integer.")


def make_splits(
    images: ImageStore,
    labels: npt.NDArray[np.int64],
    *,
    name: str,
    parts: Parts,
    class_names: tuple[str, ...],
    kind: Literal["images", "vectors"],
    describe: Callable[[int], str],
    source: Source,
    skipped: tuple[tuple[str, str], ...] = (),
    ignored: int = 0,
) -> Splits:
    """Turn a source and its parts into `Splits`, dividing the training part where val or test is missing.

    Args:
        images: All images of the source.
        labels: Class of each image (N,).
        name: Short name of the source.
        parts: What the source itself says about its division; its rows index `images`.
        class_names: One name a class.
        kind: ``"images"`` or ``"vectors"``.
        describe: Names the image with a given sample id (its row).
        source: The arguments of `load`; the fractions and the seed are taken from it.
        skipped: Unreadable files with their reasons.
        ignored: How many files were not images.

    Raises:
        DataError: There are fewer than two classes, or a class is too small to be divided.
    """
    if len(class_names) < 2:
        raise DataError(
            f"load: {name} must have at least 2 classes to tell apart, got {len(class_names)} "
            f"({_shorten([f'`{printable(c)}`' for c in class_names]) or 'none'}). Add images of another class."
        )
    # Data for a network that knows its classes is there to be evaluated: nothing is taken from it.
    divide = source["class_names"] is None
    made = stratified_split(
        labels[parts.train],
        class_names=class_names,
        val_fraction=source["val_fraction"] if divide and parts.val is None else 0.0,
        # Who made train and val has said what there is to train on: only undivided data gives a test part.
        test_fraction=source["test_fraction"] if divide and parts.test is None and parts.val is None else 0.0,
        seed=source["seed"],
    )
    whole = Dataset(
        images=images,
        labels=torch.from_numpy(labels),
        class_names=class_names,
        sample_ids=torch.arange(len(labels)),
        describe=describe,
    )
    return Splits(
        name=name,
        train=whole.subset(parts.train[made.train]),
        val=_part(whole, given=parts.val, made=None if made.val is None else parts.train[made.val]),
        test=_part(whole, given=parts.test, made=None if made.test is None else parts.train[made.test]),
        class_names=class_names,
        kind=kind,
        source=source,
        skipped=skipped,
        ignored=ignored,
    )


def _part(whole: Dataset, *, given: Indices | None, made: Indices | None) -> Dataset | None:
    rows = made if given is None else given
    return None if rows is None or len(rows) == 0 else whole.subset(rows)


def _shorten(items: Sequence[str], *, limit: int = 10) -> str:
    """Join up to `limit` items and count the rest."""
    rest = f" and {len(items) - limit:,} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest
