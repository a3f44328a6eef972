"""Batches: the same numbers whatever the chunk, the number of processes or the step at which a run was resumed."""

import dataclasses
import itertools
import threading
from typing import Any

import numpy as np
import pytest
import torch

from striate.data.augment import Augmentation
from striate.data.batches import Batch, Batches
from striate.data.preprocess import Preprocessing
from striate.data.random import permutation
from striate.data.splits import Dataset
from striate.data.store import Canvas, MappedStore, MemoryStore, SubsetStore, VectorStore
from striate.errors import DataError, UsageError

PREPROCESSING = Preprocessing(channels=3, image_size=6, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
AUGMENTATION = Augmentation(
    crop_padding=2,
    horizontal_flip="random",
    rotation_degrees=10.0,
    cutout=2,
    color_jitter=(0.2, 0.2, 0.2),
    input_noise=0.1,
)
BASE: dict[str, Any] = {"batch_size": 7, "preprocessing": PREPROCESSING, "seed": 5, "epoch": 2, "shuffle": True}


def dataset_of(images: Any, *, first_id: int = 1000) -> Dataset:
    count = len(images)
    labels = torch.arange(count) % 4
    ids = torch.arange(first_id, first_id + count)
    return Dataset(images=images, labels=labels, class_names=("a", "b", "c", "d"), sample_ids=ids, describe=str)


def memory_dataset(count: int = 45) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 6, 6), dtype=np.uint8)
    return dataset_of(MemoryStore(torch.from_numpy(pixels)))


def mapped_store(count: int = 23) -> MappedStore:
    generator = np.random.default_rng(0)
    sizes = generator.integers(6, 10, (count, 2))
    images = [generator.integers(0, 256, (3, *size), dtype=np.uint8) for size in sizes]
    offsets = np.cumsum([0] + [image.size for image in images])[:-1]
    flat = np.concatenate([image.ravel() for image in images])
    return MappedStore(flat, offsets=offsets, sizes=sizes, channels=3, resize_size=6)


def batches(dataset: Dataset, **options: Any) -> list[Batch]:
    return list(Batches(dataset, **{**BASE, **options}))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name in ("inputs", "targets", "mix_targets", "mix_weight", "indices"):
            left, right = getattr(one, name), getattr(other, name)
            if left is None or right is None:
                assert left is right
            else:
                assert torch.equal(left, right)


def joined(parts: list[Batch], name: str) -> torch.Tensor:
    return torch.cat([getattr(part, name) for part in parts])


def test_without_shuffling_every_sample_comes_once_and_in_order() -> None:
    dataset = memory_dataset()
    parts = batches(dataset, shuffle=False)
    assert [len(part.targets) for part in parts] == [7] * 6 + [3]
    assert joined(parts, "indices").tolist() == list(range(45))
    assert torch.equal(joined(parts, "targets"), dataset.labels)
    everything = dataset.images.gather(np.arange(45))
    assert torch.equal(joined(parts, "inputs"), PREPROCESSING.from_canvas(everything))
    assert parts[0].mix_targets is None
    assert parts[0].mix_weight is None


def test_shuffling_follows_the_hashed_permutation() -> None:
    dataset = memory_dataset()
    parts = batches(dataset)
    indices = joined(parts, "indices")
    assert indices.tolist() == permutation(45, seed=5, epoch=2).tolist()
    assert torch.equal(joined(parts, "targets"), dataset.labels[indices])
    assert indices.tolist() != joined(batches(dataset, epoch=3), "indices").tolist()


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("chunk_images", [1, 14, 20, 4096])
def test_chunks_do_not_change_a_bit(chunk_images: int, mixup: float) -> None:
    augmentation = dataclasses.replace(AUGMENTATION, mixup=mixup)
    dataset = memory_dataset()
    expected = batches(dataset, augmentation=augmentation, chunk_images=7)
    assert_same(batches(dataset, augmentation=augmentation, chunk_images=chunk_images), expected)


def test_chunks_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    dataset = memory_dataset()
    gather = MemoryStore.gather
    monkeypatch.setattr(MemoryStore, "gather", lambda store, rows: asked.append(len(rows)) or gather(store, rows))
    monkeypatch.setattr("striate.data.batches.CHUNK_BYTES", 16 * 3 * 6 * 6 * 4)
    batches(dataset)  # 16 images are two batches of 7
    assert asked == [14, 14, 14, 3]


@pytest.mark.parametrize("batch_size", [1, 4, 16, 45])
def test_a_sample_is_the_same_in_every_batch_size(batch_size: int) -> None:
    dataset = memory_dataset()
    expected = joined(batches(dataset, augmentation=AUGMENTATION), "inputs")
    assert torch.equal(joined(batches(dataset, augmentation=AUGMENTATION, batch_size=batch_size), "inputs"), expected)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_share_each_batch_in_order(world_size: int) -> None:
    dataset = memory_dataset(47)  # the last batch has 5 samples, fewer than 7 processes
    whole = batches(dataset, augmentation=AUGMENTATION)
    ranks = [batches(dataset, augmentation=AUGMENTATION, rank=r, world_size=world_size) for r in range(world_size)]
    for step, batch in enumerate(whole):
        parts = [rank[step] for rank in ranks if step < len(rank)]
        assert torch.equal(joined(parts, "inputs"), batch.inputs)
        assert torch.equal(joined(parts, "indices"), batch.indices)
        sizes = [len(part.targets) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_seven_samples_on_two_processes_are_four_and_three() -> None:
    dataset = memory_dataset(7)
    sizes = [len(batches(dataset, rank=rank, world_size=2)[0].targets) for rank in (0, 1)]
    assert sizes == [4, 3]


@pytest.mark.parametrize("start_step", [0, 1, 5, 7])
@pytest.mark.parametrize("source", ["memory", "mapped"])
def test_resuming_gives_the_remaining_batches(start_step: int, source: str) -> None:
    dataset = memory_dataset() if source == "memory" else dataset_of(mapped_store(45))
    options = {"augmentation": Augmentation(crop_padding=1, mixup=0.3), "chunk_images": 14}
    resumed = batches(dataset, **options, start_step=start_step)
    assert_same(resumed, batches(dataset, **options)[start_step:])
    assert len(Batches(dataset, **BASE, start_step=start_step)) == len(resumed)


def test_drop_last() -> None:
    dataset = memory_dataset()
    parts = batches(dataset, drop_last=True)
    assert [len(part.targets) for part in parts] == [7] * 6
    assert len(Batches(dataset, **BASE, drop_last=True)) == 6
    assert len(batches(memory_dataset(42), drop_last=True)) == 6


def test_mixup_blends_inputs_and_names_the_partner() -> None:
    dataset = memory_dataset()
    plain = batches(dataset)
    mixed = batches(dataset, augmentation=Augmentation(mixup=0.5))
    for before, after in zip(plain, mixed, strict=True):
        assert after.mix_weight is not None
        assert after.mix_targets is not None
        assert torch.equal(after.targets, before.targets)
        # Each image is its own share of itself plus the rest of exactly one other one of the batch, with its target.
        for row, (image, weight) in enumerate(zip(after.inputs, after.mix_weight, strict=True)):
            candidates = weight * before.inputs[row] + (1 - weight) * before.inputs
            (partner,) = [c for c in range(len(candidates)) if torch.allclose(candidates[c], image, atol=1e-6)]
            assert partner != row
            assert after.mix_targets[row] == before.targets[partner]


def test_vectors_pass_through() -> None:
    vectors = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(channels=4, mean=(0.5,) * 4, std=(2.0,) * 4)
    options = {"preprocessing": preprocessing, "shuffle": False, "memory_format": torch.channels_last}
    parts = batches(dataset_of(VectorStore(vectors)), **options)
    torch.testing.assert_close(joined(parts, "inputs"), (vectors - 0.5) / 2)
    mixed = batches(dataset_of(VectorStore(vectors)), **options, augmentation=Augmentation(mixup=1.0, input_noise=0.1))
    assert mixed[0].inputs.shape == (7, 4)


def test_channels_last_reaches_every_batch() -> None:
    parts = batches(memory_dataset(), memory_format=torch.channels_last, augmentation=Augmentation(mixup=0.3))
    assert all(part.inputs.is_contiguous(memory_format=torch.channels_last) for part in parts)
    plain = batches(memory_dataset(), augmentation=Augmentation(mixup=0.3))
    assert torch.equal(joined(parts, "inputs"), joined(plain, "inputs"))


def test_a_subset_keeps_the_identity_of_its_samples() -> None:
    whole = memory_dataset()
    rows = np.array([30, 2, 17])
    store = SubsetStore(whole.images, rows)
    options = {"augmentation": AUGMENTATION, "shuffle": False}
    part = Dataset(
        images=store, labels=whole.labels[rows], class_names=("a",), sample_ids=whole.sample_ids[rows], describe=str
    )
    expected = joined(batches(whole, **options), "inputs")[rows]
    assert torch.equal(joined(batches(part, **options), "inputs"), expected)


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("striate-read-ahead")]


def test_mapped_images_are_read_ahead_by_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(SubsetStore(mapped_store(), np.arange(23)))
    asked, two = [], threading.Semaphore(0)
    gather = MappedStore.gather

    def watched(store: MappedStore, rows: np.ndarray) -> Canvas:
        asked.append(threading.current_thread().name)
        two.release()
        return gather(store, rows)

    monkeypatch.setattr(MappedStore, "gather", watched)
    iterator = iter(Batches(dataset, **{**BASE, "batch_size": 4}, chunk_images=4))
    next(iterator)
    assert two.acquire(timeout=10)
    assert two.acquire(timeout=10)  # the second chunk is read while the first is in use
    assert not two.acquire(timeout=0.05)  # and no third one
    assert all(name.startswith("striate-read-ahead") for name in asked)
    iterator.close()
    assert reader_threads() == []
    assert len(asked) == 2


def test_reading_ahead_gives_what_the_store_gives() -> None:
    store = mapped_store()
    parts = batches(dataset_of(store), chunk_images=7)
    for part in parts:
        assert torch.equal(part.inputs, PREPROCESSING.from_canvas(store.gather(part.indices.numpy())))
    assert len(parts) == 4
    assert reader_threads() == []


def test_an_error_of_the_reading_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    gather = MappedStore.gather

    def failing(store: MappedStore, rows: np.ndarray) -> Canvas:
        if next(calls) == 2:
            raise DataError("the disk is gone")
        return gather(store, rows)

    monkeypatch.setattr(MappedStore, "gather", failing)
    received = []
    with pytest.raises(DataError, match="the disk is gone"):
        received.extend(Batches(dataset_of(mapped_store()), **BASE, chunk_images=7))
    assert reader_threads() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"Batches: `batch_size` must be at least 1, got 0\."),
        ({"batch_size": 46, "drop_last": True}, r"`batch_size` must be from 1 to 45, got 46\. Choose a smaller batch"),
        ({"world_size": 8}, r"`world_size` must be from 1 to 7, got 8\. Choose a batch with at least one image per"),
        ({"rank": 2, "world_size": 2}, r"`rank` must be from 0 to 1, got 2\. Ranks count from 0"),
        ({"start_step": 8}, r"`start_step` must be from 0 to 7, got 8\. The run was made with other data"),
        ({"chunk_images": 0}, r"`chunk_images` must be at least 1, got 0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Batches(memory_dataset(), **{**BASE, **options})


@pytest.mark.gpu
def test_cuda_gives_the_numbers_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    augmentation = Augmentation(
        crop_padding=2, horizontal_flip="random", rotation_degrees=10.0, cutout=2, input_noise=0.1
    )
    on_cpu = batches(memory_dataset(), augmentation=augmentation)
    on_gpu = batches(memory_dataset(), augmentation=augmentation, device="cuda")
    assert on_gpu[0].inputs.is_cuda
    torch.testing.assert_close(joined(on_gpu, "inputs").cpu(), joined(on_cpu, "inputs"), atol=2e-3, rtol=0)
