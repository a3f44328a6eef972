"""Resizing, cropping and normalising, and the exactness of the measured statistics."""

import json

import numpy as np
import pytest
import torch

from striate.data.preprocess import Preprocessing, statistics
from striate.data.resize import resize_short_side
from striate.data.splits import Dataset
from striate.data.store import Canvas, MappedStore, MemoryStore, SubsetStore, VectorStore
from striate.errors import DataError, UsageError

RGB = {"channels": 3, "image_size": 6, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def dataset_of(images: MemoryStore | MappedStore | VectorStore | SubsetStore) -> Dataset:
    count = len(images)
    labels, ids = torch.zeros(count, dtype=torch.int64), torch.arange(count)
    return Dataset(images=images, labels=labels, class_names=("a", "b"), sample_ids=ids, describe=str)


def random_bytes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def mapped_store(sizes: list, *, channels: int = 3, resize_size: int = 6) -> tuple[MappedStore, list]:
    images = [random_bytes(channels, *size) for size in sizes]
    offsets = np.cumsum([0] + [image.size for image in images])[:-1]
    flat = np.concatenate([image.ravel() for image in images])
    options = {"channels": channels, "resize_size": resize_size}
    return MappedStore(flat, offsets=offsets, sizes=np.array(sizes), **options), images


def test_round_trip_through_json() -> None:
    preprocessing = Preprocessing(**RGB, resize_size=8, interpolation="bicubic")
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_resize_size_is_the_image_size_unless_given() -> None:
    assert Preprocessing(**RGB).resize_size == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, r"`channels` must be a whole number, 1 or more, got 0"),
        ({"channels": True}, r"`channels` must be a whole number, 1 or more, got True"),
        ({"image_size": 6.0}, r"`image_size` must be a whole number of pixels, 1 or more, or None, got 6.0"),
        ({"resize_size": 5}, r"`resize_size` must be a whole number of pixels, at least `image_size`, or None, got 5"),
        ({"mean": (0.5,)}, r"`mean` must be one finite number for each channel, got \(0.5,\)"),
        ({"mean": (0.5, float("nan"), 0)}, r"`mean` must be one finite number for each channel"),
        ({"std": (0.5, 0.5, 0)}, r"`std` must be one finite number above 0 for each channel, got \(0.5, 0.5, 0\)"),
        ({"std": "abc"}, r"`std` must be one finite number above 0 for each channel, got 'abc'"),
        ({"interpolation": "bilinaer"}, r"`interpolation` must be one of .* Did you mean `bilinear`\?"),
        ({"interpolation": []}, r"`interpolation` must be one of bilinear, bicubic, got \[\]"),
    ],
)
def test_bad_values(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocessing.from_dict({**RGB, **change})


def test_unknown_and_missing_keys() -> None:
    with pytest.raises(UsageError, match=r"`image_sise` must be one of .* Did you mean `image_size`\?"):
        Preprocessing.from_dict({**RGB, "image_sise": 6})
    with pytest.raises(UsageError, match=r"`values` must hold `mean`, `std`, got \['channels'\]"):
        Preprocessing.from_dict({"channels": 3})


@pytest.mark.parametrize("layout", [None, torch.contiguous_format, torch.channels_last])
def test_normalize_matches_float64(layout: torch.memory_format | None) -> None:
    pixels = torch.from_numpy(random_bytes(4, 3, 6, 6))
    result = Preprocessing(**RGB).normalize(pixels, memory_format=layout)
    mean, std = (np.array(RGB[name])[:, None, None] for name in ("mean", "std"))
    np.testing.assert_allclose(result.numpy(), (pixels.numpy() / 255 - mean) / std, atol=1e-6)
    assert result.is_contiguous(memory_format=layout or torch.contiguous_format)


def test_normalize_gives_one_pixel_the_same_bits_everywhere() -> None:
    # 1 to 67 pixels of one grey level: in the middle and at the end of vector registers.
    preprocessing = Preprocessing(channels=1, image_size=1, mean=(0.1307,), std=(0.3081,))
    for level in (1, 77, 254):
        bits = {
            value
            for count in (1, 3, 8, 17, 67)
            for value in preprocessing.normalize(torch.full((count, 1, 1, 1), level, dtype=torch.uint8))
            .flatten()
            .tolist()
        }
        assert len(bits) == 1


def test_normalize_leaves_its_argument_alone() -> None:
    pixels = torch.ones(1, 3, 6, 6)
    Preprocessing(**RGB).normalize(pixels)
    assert torch.equal(pixels, torch.ones(1, 3, 6, 6))


def test_vectors_are_normalised_by_feature() -> None:
    preprocessing = Preprocessing(channels=2, mean=(1.0, -2.0), std=(2.0, 0.5))
    canvas = Canvas(pixels=torch.tensor([[3.0, -1.0]]), sizes=torch.zeros(1, 2, dtype=torch.int64))
    assert preprocessing.from_canvas(canvas).tolist() == [[1.0, 2.0]]


def test_from_canvas_crops_the_middle_of_each_valid_region() -> None:
    store, images = mapped_store([(6, 9), (7, 6), (6, 6), (12, 6)])
    preprocessing = Preprocessing(**RGB)
    inputs = preprocessing.from_canvas(store.gather(np.arange(4)))
    for image, result in zip(images, inputs, strict=True):
        top, left = (image.shape[1] - 6) // 2, (image.shape[2] - 6) // 2
        expected = preprocessing.normalize(torch.from_numpy(image[None, :, top : top + 6, left : left + 6]))
        assert torch.equal(result, expected[0])
    same_size = Canvas(pixels=torch.from_numpy(random_bytes(2, 3, 8, 7)), sizes=torch.tensor([[8, 7]] * 2))
    assert torch.equal(preprocessing.crop(same_size), same_size.pixels[:, :, 1:7, 0:6])


def test_a_canvas_with_a_small_image_is_refused() -> None:
    store, _ = mapped_store([(9, 9), (5, 8)])
    with pytest.raises(DataError, match=r"must be at least 6 x 6 pixels, got 5 x 8\. Resize the images first"):
        Preprocessing(**RGB).from_canvas(store.gather(np.arange(2)))


@pytest.mark.parametrize("shape", [(3, 20, 31), (3, 8, 8), (3, 5, 40), (3, 4, 4)])
def test_prepare_equals_the_cache_and_from_canvas(shape: tuple) -> None:
    preprocessing = Preprocessing(**RGB, resize_size=8)
    image = random_bytes(*shape)
    cached = resize_short_side(image, size=8)
    canvas = Canvas(pixels=torch.from_numpy(cached)[None], sizes=torch.tensor([cached.shape[1:]]))
    assert torch.equal(preprocessing.prepare(image), preprocessing.from_canvas(canvas)[0])


def test_prepare_refuses_other_channels_and_vectors() -> None:
    with pytest.raises(UsageError, match=r"`image` must be of shape \(3, height, width\), got shape \(1, 8, 8\)"):
        Preprocessing(**RGB).prepare(random_bytes(1, 8, 8))
    with pytest.raises(UsageError, match=r"`image` must be a vector, got shape \(1, 8, 8\)"):
        Preprocessing(channels=1, mean=(0.0,), std=(1.0,)).prepare(random_bytes(1, 8, 8))


def test_statistics_are_those_of_float64() -> None:
    pixels = random_bytes(50, 3, 8, 8)
    preprocessing = statistics(dataset_of(MemoryStore(torch.from_numpy(pixels))))
    np.testing.assert_allclose(preprocessing.mean, (pixels / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(preprocessing.std, (pixels / 255).std(axis=(0, 2, 3)), rtol=1e-12)
    assert (preprocessing.image_size, preprocessing.resize_size) == (8, 8)


def test_statistics_do_not_lose_a_tiny_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("striate.data.preprocess.CHUNK_BYTES", 100)  # several chunks
    pixels = np.full((40, 1, 5, 5), 255, dtype=np.uint8)
    pixels[7, 0, 2, 2] = 254
    std = statistics(dataset_of(MemoryStore(torch.from_numpy(pixels)))).std[0]
    # One pixel of n = 1000 differs by 1: the variance is (n - 1) / n^2.
    assert std == pytest.approx(np.sqrt(999) / 1000 / 255, rel=1e-12)


def test_statistics_of_ragged_images_count_valid_pixels_only() -> None:
    store, images = mapped_store([(6, 9), (12, 6), (8, 8)], resize_size=7)
    subset = SubsetStore(store, np.array([0, 1]))
    preprocessing = statistics(dataset_of(subset), image_size=6)
    pixels = np.concatenate([image.reshape(3, -1) for image in images[:2]], axis=1) / 255
    np.testing.assert_allclose(preprocessing.mean, pixels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(preprocessing.std, pixels.std(axis=1), rtol=1e-12)
    assert preprocessing.resize_size == 7
    with pytest.raises(UsageError, match="statistics: `image_size` must be given for images that differ in size"):
        statistics(dataset_of(store))


def test_statistics_of_vectors_constant_channels_and_samples() -> None:
    vectors = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    preprocessing = statistics(dataset_of(VectorStore(vectors)))
    assert preprocessing.mean == (4.0, 5.0)
    assert preprocessing.std == (pytest.approx(np.sqrt(26 / 3)), 1.0)
    assert preprocessing.image_size is None
    ends = statistics(dataset_of(VectorStore(vectors)), max_images=2)  # the first and the last
    assert ends.mean == (4.5, 5.0)


def test_statistics_of_nothing() -> None:
    with pytest.raises(DataError, match="statistics: `dataset` must hold at least one image, got 0"):
        statistics(dataset_of(MemoryStore(torch.zeros(0, 1, 4, 4, dtype=torch.uint8))))
