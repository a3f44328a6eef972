"""Batches in a repeatable order, prepared several at a time so that the network never waits for Python."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from striate.data.appearance import mix_partners, mix_weights
from striate.data.augment import Augmentation
from striate.data.random import permutation
from striate.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from striate.data.preprocess import Preprocessing
    from striate.data.splits import Dataset
    from striate.data.store import Canvas

__all__ = ["Batch", "Batches"]

CHUNK_IMAGES = 4096
# Float32 inputs of one chunk. Measured on 3 x 32 x 32 images, one thread: 6 MB are normalised at 2.0 million images/s,
# 12 MB at 1.1 and 50 MB at 0.16: larger blocks leave the cache, and are fresh pages from the kernel each time.
CHUNK_BYTES = 6 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step of training or evaluation needs.

    Attributes:
        inputs: Normalised (B, C, S, S) or (B, D), float32, on the device.
        targets: Classes (B,), int64, on the device.
        mix_targets: Classes of the images mixed in (B,), or None without mix-up.
        mix_weight: Share of the own image in each mixture (B,), float32, or None without mix-up.
        indices: Positions in the data set (B,), int64, in main memory; `Dataset.identify` names them.
    """

    inputs: Tensor
    targets: Tensor
    mix_targets: Tensor | None
    mix_weight: Tensor | None
    indices: Tensor


class Batches:
    """Iterate once over a data set in batches, each a function of (seed, epoch, step) and of nothing else.

    Several batches are gathered, augmented and normalised as one chunk and handed out as views of it. The result is
    the same, bit for bit, as batch by batch. Of images in a memory-mapped file a thread reads the next chunk.

    Args:
        dataset: Images with labels and sample ids.
        batch_size: Images per step, over all processes together.
        preprocessing: Crop and normalisation.
        augmentation: Random changes; None: none.
        seed: The seed of the run.
        epoch: Counted from 0.
        shuffle: Take the images in a hashed order, a new one each epoch.
        device: Where inputs and targets go, and where images are augmented.
        memory_format: Layout of images, e.g. ``torch.channels_last``; None: contiguous.
        rank: This process, from 0; each takes a contiguous share of every batch, and none where its share is empty.
        world_size: How many processes there are.
        start_step: Batches to leave out at the start: those done before a run was interrupted.
        drop_last: Leave out the last batch where it is not full.
        chunk_images: Most images in a chunk; changes the speed only.

    Raises:
        UsageError: an argument is outside its range.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        seed: int,
        epoch: int,
        shuffle: bool,
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format | None = None,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        drop_last: bool = False,
        chunk_images: int = CHUNK_IMAGES,
    ) -> None:
        steps = len(dataset) // batch_size if drop_last and batch_size > 0 else -(-len(dataset) // max(batch_size, 1))
        for name, value, low, high, remedy in (
            ("batch_size", batch_size, 1, len(dataset) if drop_last else None, "Choose a smaller batch."),
            ("world_size", world_size, 1, batch_size, "Choose a batch with at least one image per process."),
            ("rank", rank, 0, world_size - 1, "Ranks count from 0."),
            ("start_step", start_step, 0, steps, "The run was made with other data or another batch size."),
            ("chunk_images", chunk_images, 1, None, "It changes the speed only."),
        ):
            if value < low or (high is not None and value > high):
                rule = f"at least {low}" if high is None else f"from {low} to {high}"
                raise UsageError(f"Batches: `{name}` must be {rule}, got {value}. {remedy}")
        self._dataset = dataset
        self._preprocessing = preprocessing
        self._augmentation = augmentation or Augmentation()
        self._batch_size, self._seed, self._epoch, self._shuffle = batch_size, seed, epoch, shuffle
        self._device, self._memory_format = device, memory_format
        self._rank, self._world_size = rank, world_size
        self._start_step, self._stop_step = start_step, steps
        self._chunk_images = chunk_images

    def __len__(self) -> int:
        """Count the batches of this iteration, those before `start_step` not included."""
        return self._stop_step - self._start_step

    def __iter__(self) -> Generator[Batch, None, None]:
        chunks = self._chunks()
        gathered: Iterator[tuple[list[NDArray[np.int64]], Canvas]]
        gathered = ((shares, self._dataset.images.gather(np.concatenate(shares))) for shares in chunks)
        if not _reads_from_file(self._dataset):
            for shares, canvas in gathered:
                yield from self._finish(shares, canvas)
            return
        # One thread, one chunk ahead: a future carries an exception over, and leaving the block ends the thread.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="striate-read-ahead") as pool:
            coming = pool.submit(next, gathered, None)
            while (item := coming.result()) is not None:
                coming = pool.submit(next, gathered, None)
                yield from self._finish(*item)

    def _chunks(self) -> Iterator[list[NDArray[np.int64]]]:
        """Yield the positions of this process's share of each batch, several batches at a time."""
        count = len(self._dataset)
        order = permutation(count, seed=self._seed, epoch=self._epoch) if self._shuffle else np.arange(count)
        per_chunk = max(1, self._images_per_chunk() * self._world_size // self._batch_size)
        for first in range(self._start_step, self._stop_step, per_chunk):
            steps = range(first, min(first + per_chunk, self._stop_step))
            batches = (order[step * self._batch_size : (step + 1) * self._batch_size] for step in steps)
            shares = [np.array_split(batch, self._world_size)[self._rank] for batch in batches]
            shares = [share for share in shares if len(share)]
            if shares:
                yield shares

    def _images_per_chunk(self) -> int:
        side = self._preprocessing.image_size
        values = self._preprocessing.channels * (1 if side is None else side * side)
        return max(1, min(self._chunk_images, CHUNK_BYTES // (4 * values)))

    def _finish(self, shares: list[NDArray[np.int64]], canvas: Canvas) -> Iterator[Batch]:
        """Augment and normalise a chunk on the device, then hand it out batch by batch."""
        import torch

        from striate.data.store import Canvas

        indices = torch.from_numpy(np.concatenate(shares))
        sample_ids = self._dataset.sample_ids[indices].numpy()
        inputs = self._augmentation.apply(
            Canvas(pixels=canvas.pixels.to(self._device, non_blocking=True), sizes=canvas.sizes),
            preprocessing=self._preprocessing,
            sample_ids=sample_ids,
            seed=self._seed,
            epoch=self._epoch,
            memory_format=self._memory_format,
        )
        targets = self._dataset.labels[indices].to(self._device, non_blocking=True)
        stop = 0
        for share in shares:
            start, stop = stop, stop + len(share)
            batch = Batch(inputs[start:stop], targets[start:stop], None, None, indices[start:stop])
            yield self._mixed(batch, sample_ids[start:stop]) if self._augmentation.mixup else batch

    def _mixed(self, batch: Batch, sample_ids: NDArray[np.int64]) -> Batch:
        """Blend each input with that of its partner in this batch."""
        import torch

        partners = torch.from_numpy(mix_partners(seed=self._seed, epoch=self._epoch, sample_ids=sample_ids))
        partners = partners.to(batch.targets.device)
        shares = mix_weights(alpha=self._augmentation.mixup, seed=self._seed, epoch=self._epoch, sample_ids=sample_ids)
        weight = torch.from_numpy(shares.astype(np.float32)).to(batch.targets.device)
        column = weight.view(-1, *(1,) * (batch.inputs.ndim - 1))
        inputs = batch.inputs * column + batch.inputs[partners] * (1 - column)
        return Batch(inputs, batch.targets, batch.targets[partners], weight, batch.indices)


def _reads_from_file(dataset: Dataset) -> bool:
    from striate.data.store import MappedStore, SubsetStore

    store = dataset.images
    return isinstance(store.base if isinstance(store, SubsetStore) else store, MappedStore)
