"""Images that are in two sets of data at once: equal to the bit, or nearly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.diagnose._labels import features

__all__ = ["Overlap", "first_rows", "overlap"]

LIKENESS = 0.995
"""Correlation of near duplicates: what a change of brightness, one of contrast and JPEG at quality 75 leave."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many validation images are among the training images."""

    count: int
    """Validation images that were compared."""
    exact: int
    near: int
    """Of those that are not exact."""
    natural: float
    """Share of training images that have a near duplicate among the other training images."""
    pairs: tuple[tuple[int, int], ...]
    """Rows in validation and training, the first ten."""


def overlap(training: Tensor, validation: Tensor) -> Overlap:
    """Compare each validation image with each training image.

    Args:
        training: (N, ...).
        validation: (M, ...), of images of the same shape.
    """
    known = {_digest(training[row]): row for row in first_rows(training)}
    exact = {row: known[key] for row, image in enumerate(validation) if (key := _digest(image)) in known}
    train, held = features(training, side=32), features(validation, side=32)
    like, match = (held @ train.T).max(1) if len(train) else (torch.zeros(len(held)), torch.zeros(len(held)))
    near = {r: int(match[r]) for r in (like > LIKENESS).nonzero()[:, 0].tolist() if r not in exact}
    among = train[:1000] @ train[:1000].T
    among.fill_diagonal_(-1.0)
    natural = float((among.max(1).values > LIKENESS).float().mean()) if len(among) > 1 else 0.0
    pairs = tuple([*exact.items(), *near.items()][:10])
    return Overlap(count=len(validation), exact=len(exact), near=len(near), natural=natural, pairs=pairs)


def first_rows(images: Tensor) -> list[int]:
    """Return the rows of images that no earlier image equals to the bit.

    Args:
        images: (N, ...).
    """
    seen: dict[str, int] = {}
    for row, image in enumerate(images):
        seen.setdefault(_digest(image), row)
    return sorted(seen.values())


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
