"""Gathering images from memory, from a mapped file, and from vectors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from striate.data.store import ImageStore, MappedStore, MemoryStore, SubsetStore, VectorStore
from striate.errors import DataError, UsageError


def mapped(images: list[np.ndarray]) -> MappedStore:
    sizes = np.array([image.shape[1:] for image in images], dtype=np.int64).reshape(-1, 2)
    lengths = [image.size for image in images]
    return MappedStore(
        np.concatenate([image.ravel() for image in images] or [np.empty(0, np.uint8)]),
        offsets=np.cumsum([0, *lengths[:-1]], dtype=np.int64)[: len(images)],
        sizes=sizes,
        channels=images[0].shape[0] if images else 3,
        resize_size=2,
    )


def random_images(shapes: list[tuple[int, int, int]]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(1, 256, shape, dtype=np.uint8) for shape in shapes]


def test_memory_store_gathers_in_the_order_asked():
    pixels = torch.arange(5 * 2 * 2, dtype=torch.uint8).reshape(5, 1, 2, 2)
    store = MemoryStore(pixels)
    canvas = store.gather(np.array([4, 0, 4]))
    assert torch.equal(canvas.pixels, pixels[[4, 0, 4]])
    assert canvas.sizes.tolist() == [[2, 2]] * 3
    assert canvas.sizes.dtype == torch.int64
    assert (len(store), store.channels, store.image_size) == (5, 1, (2, 2))


def test_memory_store_takes_indices_that_are_not_contiguous():
    store = MemoryStore(torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1))
    assert store.gather(np.arange(4)[::-2]).pixels.flatten().tolist() == [3, 1]


@pytest.mark.parametrize("pixels", [torch.zeros(2, 3, 4, dtype=torch.uint8), torch.zeros(2, 1, 4, 4)])
def test_memory_store_refuses_other_tensors(pixels: torch.Tensor):
    with pytest.raises(UsageError, match=r"MemoryStore: `pixels` must be uint8 of shape \(N, C, H, W\), got"):
        MemoryStore(pixels)


def test_vector_store():
    store = VectorStore(torch.arange(6, dtype=torch.float32).reshape(3, 2))
    canvas = store.gather(np.array([2, 0]))
    assert canvas.pixels.tolist() == [[4, 5], [0, 1]]
    assert canvas.sizes.tolist() == [[0, 0], [0, 0]]
    assert (len(store), store.channels, store.image_size) == (3, 2, None)


@pytest.mark.parametrize("vectors", [torch.zeros(3), torch.zeros(3, 2, dtype=torch.float64)])
def test_vector_store_refuses_other_tensors(vectors: torch.Tensor):
    with pytest.raises(UsageError, match=r"VectorStore: `vectors` must be float32 of shape \(N, D\), got"):
        VectorStore(vectors)


def test_mapped_store_puts_images_of_several_sizes_top_left_on_one_canvas():
    images = random_images([(3, 2, 4), (3, 3, 2), (3, 2, 2)])
    store = mapped(images)
    canvas = store.gather(np.array([1, 0]))
    assert canvas.pixels.shape == (2, 3, 3, 4)
    assert canvas.sizes.tolist() == [[3, 2], [2, 4]]
    np.testing.assert_array_equal(canvas.pixels[0, :, :, :2], images[1])
    np.testing.assert_array_equal(canvas.pixels[1, :, :2], images[0])
    assert not canvas.pixels[0, :, :, 2:].any()
    assert not canvas.pixels[1, :, 2:].any()
    assert store.image_size is None


def test_mapped_store_of_one_size():
    images = random_images([(1, 2, 3)] * 4)
    store = mapped(images)
    np.testing.assert_array_equal(store.gather(np.array([3, 1])).pixels, np.stack([images[3], images[1]]))
    assert (len(store), store.channels, store.image_size) == (4, 1, (2, 3))


def test_gathering_nothing_gives_an_empty_canvas():
    for store in (mapped(random_images([(1, 2, 3), (1, 2, 2)])), MemoryStore(torch.zeros(2, 1, 2, 2).byte())):
        canvas = store.gather(np.array([], dtype=np.int64))
        assert len(canvas.pixels) == len(canvas.sizes) == 0


def test_the_result_may_be_written_to_without_changing_the_store():
    for store in (mapped(random_images([(1, 2, 3)] * 2)), MemoryStore(torch.ones(2, 1, 2, 2).byte())):
        before = store.gather(np.array([0])).pixels.clone()
        store.gather(np.array([0])).pixels.fill_(0)
        assert torch.equal(store.gather(np.array([0])).pixels, before)


def test_mapped_store_refuses_an_index_that_leaves_the_file():
    with pytest.raises(DataError, match=r"must stay inside the file of 10 bytes, got an image that ends at 12"):
        MappedStore(
            np.zeros(10, dtype=np.uint8),
            offsets=np.array([0]),
            sizes=np.array([[2, 2]]),
            channels=3,
            resize_size=2,
        )


def test_subset_of_a_subset_looks_into_the_first_store():
    base = MemoryStore(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1))
    inner = SubsetStore(SubsetStore(base, np.array([9, 7, 5, 3])), np.array([3, 0]))
    assert inner.base is base
    assert inner.rows.tolist() == [3, 9]
    assert inner.gather(np.array([1, 1, 0])).pixels.flatten().tolist() == [9, 9, 3]
    assert (len(inner), inner.channels, inner.image_size) == (2, 1, (1, 1))
    assert len(copy.copy(inner)) == 2


def test_every_store_fits_the_protocol():
    memory = MemoryStore(torch.zeros(1, 1, 1, 1).byte())
    vectors = VectorStore(torch.zeros(1, 1))
    for store in (memory, vectors, mapped([]), SubsetStore(memory, np.array([0]))):
        assert isinstance(store, ImageStore)
