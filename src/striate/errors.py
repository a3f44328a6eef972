"""Every error striate raises on purpose, each with the exit code the command line ends with.

    StriateError            1   base: catch this one
    ├── UsageError          2   an argument, a flag or a recipe key
    │   └── MissingExtraError   an optional dependency is not installed
    ├── DataError           3   a data set, a folder, a CSV, an archive
    │   └── ImageError          one image file
    ├── ModelError          4   a model name, a weights file, a run folder
    ├── ResourceError       6   disk, memory, device
    └── DivergedError       7   the loss became NaN or infinite

Messages follow one form: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "DivergedError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "ResourceError",
    "StriateError",
    "UsageError",
    "nearest",
]


class StriateError(Exception):
    """Base of all errors that striate raises on purpose."""

    exit_code = 1


class UsageError(StriateError, ValueError):
    """An argument, a flag or a recipe key that cannot be used as given."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is needed and not installed; the message holds the line that installs it."""


class DataError(StriateError, ValueError):
    """A data set that cannot be found, read or trained on."""

    exit_code = 3


class ImageError(DataError):
    """One image file that cannot be decoded; the only error that `striate.data.decode` lets out."""


class ModelError(StriateError, ValueError):
    """A model name, a weights file or a run folder that cannot be used."""

    exit_code = 4


class ResourceError(StriateError, RuntimeError):
    """Not enough disk or memory, a folder that cannot be written, or a device that is not there."""

    exit_code = 6


class DivergedError(StriateError, ArithmeticError):
    """The loss became NaN or infinite; the message names the batch and its files."""

    exit_code = 7


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known words closest to a misspelt one, as a sentence to append to an error message.

    Args:
        name: The word as the user typed it.
        known: The words that would have been right.

    Returns:
        ``" Did you mean `a` or `b`?"`` with its leading space, or ``""`` when nothing is close.

    Example:
        >>> nearest("resnet81", ["resnet18", "vgg16"])
        ' Did you mean `resnet18`?'
        >>> nearest("transformer", ["resnet18", "vgg16"])
        ''
    """
    by_lower_case = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower_case), n=3, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"`{by_lower_case[word]}`" for word in close) + "?"
