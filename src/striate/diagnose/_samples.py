"""The images and labels that a diagnosis looks at: a part of the user's data, in memory."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.data import Batches, Dataset, Preprocessing
from striate.errors import UsageError

__all__ = ["Samples", "gather", "of_dataset"]

MOST_SAMPLES, MOST_SECONDS, BATCH_SIZE = 2048, 15.0, 32
"""Enough for the statistics (a share of 5 % is known to within 1 %), soon enough for a loader that decodes files."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """N images with their labels, as the loop sees them."""

    inputs: Tensor
    """(N, ...)."""
    targets: Tensor
    """(N,) classes, or (N, ...) of anything else."""
    batch_size: int
    source: Any = None
    """The loader they came from, or None."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def classes(self) -> Tensor | None:
        """The class of each sample (N,), or None where the targets are no classes."""
        targets = self.targets
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        if targets.ndim == 2 and targets.is_floating_point() and bool((targets.sum(1) == 1).all()):
            return targets.argmax(1) if bool(((targets == 0) | (targets == 1)).all()) else None
        if targets.ndim != 1 or len(targets) == 0:
            return None
        if targets.is_floating_point() and not bool((targets == targets.round()).all()):
            return None
        classes = targets.long()
        is_plausible = int(classes.min()) >= 0 and len(classes.unique()) <= max(2, len(classes) // 2)
        return classes if is_plausible else None

    def subset(self, rows: Tensor) -> Samples:
        """Take some of them."""
        return Samples(inputs=self.inputs[rows], targets=self.targets[rows], batch_size=self.batch_size)


def gather(data: Any, *, argument: str = "data", function: str = "diagnose") -> Samples:
    """Return samples of a pair ``(x, y)`` of tensors or arrays, or of a loader of such pairs.

    Raises:
        UsageError: it is neither, holds nothing, or holds different numbers of images and labels.
    """
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(d, Tensor | np.ndarray) for d in data):
        inputs, targets = (torch.as_tensor(part) for part in data)
        rows = _spread(len(inputs)) if len(inputs) == len(targets) else slice(None)
        samples = Samples(inputs=inputs[rows], targets=targets[rows], batch_size=min(BATCH_SIZE, max(1, len(inputs))))
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | dict | Tensor | np.ndarray):
        samples = _of_loader(data, argument=argument, function=function)
    else:
        raise UsageError(
            f"{function}: `{argument}` must be (x, y) or a loader of such pairs, got {type(data).__name__}. "
            "Give two tensors, or the DataLoader of your loop."
        )
    if len(samples.inputs) != len(samples.targets) or len(samples) == 0:
        raise UsageError(
            f"{function}: `{argument}` must hold as many labels as images, and one at least, got "
            f"{len(samples.inputs)} and {len(samples.targets)}. Check how the two were made."
        )
    return samples


def of_dataset(dataset: Dataset, *, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Return some images of a data set as evaluation sees them, (N, ...), and their classes (N,).

    Args:
        dataset: Its samples are taken evenly.
        preprocessing: Crop and normalisation.
    """
    rows = torch.linspace(0, len(dataset) - 1, min(MOST_SAMPLES, len(dataset))).long()
    batches = Batches(dataset.subset(rows), batch_size=256, preprocessing=preprocessing, seed=0, epoch=0, shuffle=False)
    pairs = [(batch.inputs.contiguous().clone(), batch.targets.clone()) for batch in batches]
    inputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return inputs, targets


def _spread(count: int) -> slice | Tensor:
    """Take samples evenly from all of the data: files are often sorted by class."""
    return slice(None) if count <= MOST_SAMPLES else torch.linspace(0, count - 1, MOST_SAMPLES).long()


def _of_loader(loader: Iterable[Any], *, argument: str, function: str) -> Samples:
    inputs, targets, begin = list[Tensor](), list[Tensor](), time.monotonic()
    with _generators_kept(loader):
        for batch in loader:
            pair = (batch.inputs, batch.targets) if hasattr(batch, "inputs") else batch
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(hasattr(p, "shape") for p in pair):
                raise UsageError(
                    f"{function}: `{argument}` must yield pairs (x, y) of tensors, got {type(batch).__name__}. "
                    "Wrap the loader so that it does."
                )
            inputs.append(torch.as_tensor(pair[0]).detach())
            targets.append(torch.as_tensor(pair[1]).detach())
            if sum(map(len, inputs)) >= MOST_SAMPLES or time.monotonic() - begin > MOST_SECONDS:
                break
    if not inputs:
        raise UsageError(f"{function}: `{argument}` must yield a batch at least, got none. Check the loader.")
    return Samples(
        inputs=torch.cat(inputs), targets=torch.cat(targets), batch_size=len(inputs[0]), source=loader
    )  # fmt: skip


@contextmanager
def _generators_kept(loader: Any) -> Iterator[None]:
    """Give generators that the loader and its data set carry their state back: reading must not change the run."""
    owners = [loader, *(getattr(loader, name, None) for name in ("dataset", "sampler", "batch_sampler"))]
    values = [value for owner in owners if hasattr(owner, "__dict__") for value in vars(owner).values()]
    torches = [(v, v.get_state()) for v in values if isinstance(v, torch.Generator)]
    numpys = [(v.bit_generator, v.bit_generator.state) for v in values if isinstance(v, np.random.Generator)]
    pythons = [(v, v.getstate()) for v in values if isinstance(v, random.Random)]
    try:
        yield
    finally:
        for torch_generator, torch_state in torches:
            torch_generator.set_state(torch_state)
        for bits, numpy_state in numpys:
            bits.state = numpy_state
        for python_generator, python_state in pythons:
            python_generator.setstate(python_state)
