"""Labels as numbers: integer encoding (one number a class) and one-hot encoding (one axis a class).

Integers carry an order, which ordinal labels have (poor < neutral < good) and nominal ones do not (a cat is not
between a dog and a horse): nominal labels that enter arithmetic are one-hot. As an index, an integer is always right.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError, nearest
from striate.ops._arguments import as_classes

__all__ = ["integer_encoding", "one_hot"]


def integer_encoding(
    labels: Iterable[Hashable], *, classes: Sequence[Hashable] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[Any, ...]]:
    """Number the classes from 0 and return the number of each label.

    Args:
        labels: One label a sample: names, numbers, anything hashable.
        classes: The classes in the order of their numbers; without it they are numbered as they first appear. Give it
            for ordinal labels, whose numbers should rise with their meaning.

    Returns:
        The codes (N,), and the classes in the order of their codes.

    Raises:
        UsageError: a label that is not among `classes`, or a class given twice.

    Example:
        >>> codes, classes = integer_encoding(["dog", "cat", "dog", "horse"])
        >>> codes.tolist(), classes
        ([0, 1, 0, 2], ('dog', 'cat', 'horse'))
        >>> integer_encoding(["good", "poor"], classes=["poor", "neutral", "good"])[0].tolist()
        [2, 0]
    """
    labels = list(labels)
    names = tuple(dict.fromkeys(labels)) if classes is None else tuple(classes)
    codes = {name: code for code, name in enumerate(names)}
    if len(codes) != len(names):
        raise UsageError(f"integer_encoding: `classes` must name each class once, got {names}. Leave repetitions out.")
    unknown = next((label for label in labels if label not in codes), None)
    if unknown is not None:
        hint = nearest(str(unknown), [str(name) for name in names])
        raise UsageError(
            f"integer_encoding: `labels` must be among the classes {names}, got {unknown!r}.{hint} Add it."
        )
    return np.array([codes[label] for label in labels], dtype=np.int64), names


def one_hot(classes: Any, *, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """Turn each class index into a row of zeros with a one at that index.

    Args:
        classes: Class indices of any shape, whole numbers from 0.
        num_classes: Length of a row; without it the largest index plus 1.

    Returns:
        The shape of `classes` with an axis of num_classes added at the end.

    Raises:
        UsageError: an index that is not whole, negative, or num_classes and more.

    Example:
        >>> one_hot([0, 2], num_classes=3).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    if num_classes is not None and num_classes < 1:
        raise UsageError(f"one_hot: `num_classes` must be 1 or more, got {num_classes}. Count the classes.")
    indices = as_classes("one_hot", classes, num_classes=num_classes, argument="classes")
    length = num_classes if num_classes is not None else int(indices.max(initial=-1)) + 1
    return np.asarray(indices[..., None] == np.arange(length), dtype=np.int64)
