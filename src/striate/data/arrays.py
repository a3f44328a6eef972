"""Images or vectors given as arrays: brought to (N, C, H, W) bytes and class numbers, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import DataError

__all__ = ["parse_images", "parse_labels", "renumber", "sort_names"]


def parse_images(images: Any) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Bring images to one layout.

    Three axes are grey images (N, H, W). Four axes are (N, H, W, C) if the last has 1 or 3 and the second has not,
    else (N, C, H, W). Two axes of numbers are vectors (N, D).

    Args:
        images: NumPy array or tensor; uint8 for images, any number type for vectors.

    Returns:
        Images (N, C, H, W), uint8, or vectors (N, D), float32.

    Raises:
        DataError: Another shape or type, no images, or vectors that are not finite.

    Example:
        >>> parse_images(np.zeros((5, 28, 28), dtype=np.uint8)).shape
        (5, 1, 28, 28)
        >>> parse_images(np.zeros((5, 28, 28, 3), dtype=np.uint8)).shape
        (5, 3, 28, 28)
    """
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim == 2 and array.dtype.kind in "fiu":
        return _parse_vectors(array)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            "load: `images` must have the shape (N, H, W), (N, C, H, W) or (N, H, W, C), or (N, D) for vectors, "
            f"got {array.shape}. Reshape them."
        )
    if array.dtype != np.uint8:
        raise DataError(
            f"load: `images` must be uint8 with values from 0 to 255, got {array.dtype}. "
            "If they go from 0 to 1, use (images * 255).round().astype('uint8')."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[3] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.shape[1] not in (1, 3):
        raise DataError(
            f"load: `images` must have 1 or 3 channels, got {array.shape[1]} in {array.shape}. Select those to use."
        )
    return np.ascontiguousarray(array)


def _parse_vectors(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if 0 in array.shape:
        raise DataError(f"load: `images` must not be empty, got {array.shape}. Give at least one row.")
    vectors = array.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise DataError(
            f"load: `images` must be finite, got {vectors[wrong[0]].tolist()} in row {wrong[0]} "
            f"({len(wrong):,} such rows). Remove or repair these rows."
        )
    return vectors


def parse_labels(labels: Any, *, count: int) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Turn labels into class numbers and class names.

    Args:
        labels: Integers from 0 up, or names; names are numbered in the order of `sort_names`.
        count: How many images there are.

    Returns:
        Class of each image (N,), int64, and one name a class.

    Raises:
        DataError: The wrong number of labels, or one that is not a class.

    Example:
        >>> parse_labels(["dog", "cat", "dog"], count=3)
        (array([1, 0, 1]), ('cat', 'dog'))
    """
    array = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    if array.shape != (count,):
        raise DataError(
            f"load: `labels` must hold one class for each of the {count:,} images, got shape {array.shape}. "
            "Give both the same length."
        )
    if array.dtype.kind in "UO" and all(isinstance(value, str) for value in array.tolist()):
        values = [str(value) for value in array.tolist()]
        if "" in values:
            raise DataError(f"load: `labels` must be names, got an empty one in row {values.index('')}. Fill it in.")
        names = sort_names(set(values))
        number = {name: index for index, name in enumerate(names)}
        return np.array([number[value] for value in values], dtype=np.int64), names
    if array.dtype.kind not in "iu":
        raise DataError(
            f"load: `labels` must be integers or names, got {array.dtype} (first value {array[:1].tolist()}). "
            "Floating-point labels may hide NaN: convert them with .astype('int64') after a look."
        )
    wrong = np.flatnonzero((array < 0) | (array >= count))
    if len(wrong):
        raise DataError(
            f"load: `labels` must be classes from 0 up, fewer than there are images ({count:,}), got {array[wrong[0]]} "
            f"in row {wrong[0]}. Number the classes 0, 1, 2 ..."
        )
    values_present = np.unique(array)
    if len(values_present) != values_present[-1] + 1:
        missing = sorted(set(range(int(values_present[-1]) + 1)) - set(values_present.tolist()))
        raise DataError(
            f"load: `labels` must use every class from 0 to {values_present[-1]}, but no image has "
            f"{', '.join(str(value) for value in missing[:10])}. Number the classes 0, 1, 2 ... without gaps."
        )
    return array.astype(np.int64), tuple(str(value) for value in range(len(values_present)))


def sort_names(names: Sequence[str] | set[str]) -> tuple[str, ...]:
    """Order class names: as numbers if all are whole numbers, else by character.

    Args:
        names: Class names, each once.

    Example:
        >>> sort_names({"10", "9"})
        ('9', '10')
    """
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def renumber(labels: npt.NDArray[np.int64], names: Sequence[str], class_names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number labels as another list of classes does.

    Args:
        labels: Classes numbered by `names` (N,).
        names: The classes of the data.
        class_names: The classes of a network; may hold more.

    Raises:
        DataError: The data has a class that `class_names` lacks.

    Example:
        >>> renumber(np.array([0, 1, 1]), ["cat", "dog"], ["bird", "cat", "dog"])
        array([1, 2, 2])
    """
    if strange := [name for name in names if name not in class_names]:
        raise DataError(
            f"load: data must have only classes that the network knows, got {', '.join(strange[:10])}; it knows "
            f"{', '.join(class_names[:10])}. Rename the classes as in training."
        )
    return np.array([list(class_names).index(name) for name in names], dtype=np.int64)[labels]
