"""Each augmentation through `Augmentation.apply`: against references, off by default, and independent of the batch."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from striate.data.appearance import add_noise, cut_out, jitter_color
from striate.data.augment import Augmentation
from striate.data.preprocess import Preprocessing
from striate.data.random import Stream, uniform
from striate.data.store import Canvas
from striate.errors import UsageError

KEY = {"seed": 11, "epoch": 3}
EVERYTHING = Augmentation(
    horizontal_flip="random",
    resized_crop_scale=(0.3, 1.0),
    rotation_degrees=10.0,
    scale=0.1,
    shear=0.1,
    translate=1.0,
    cutout=3,
    color_jitter=(0.2, 0.2, 0.2),
    input_noise=0.1,
)
PREPROCESSING = Preprocessing(channels=3, image_size=8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
SETTINGS: dict[str, dict[str, Any]] = {
    "crop": {"crop_padding": 2},
    "reflected crop": {"crop_padding": 2, "crop_padding_mode": "reflect"},
    "flip": {"horizontal_flip": "random"},
    "alternating flip": {"horizontal_flip": "alternating"},
    "resized crop": {"resized_crop_scale": (0.2, 0.9)},
    "rotation": {"rotation_degrees": 20.0},
    "scale": {"scale": 0.2},
    "shear": {"shear": 0.2},
    "translate": {"translate": 2.0},
    "crop and rotation": {"crop_padding": 2, "rotation_degrees": 20.0},
    "cutout": {"cutout": 3},
    "jitter": {"color_jitter": (0.4, 0.4, 0.4)},
    "noise": {"input_noise": 0.1},
}


def canvas_of(count: int, *, ragged: bool = False) -> Canvas:
    generator = np.random.default_rng(0)
    sizes = generator.integers(8, 13, (count, 2)) if ragged else np.full((count, 2), 8)
    pixels = np.zeros((count, 3, *sizes.max(axis=0)), dtype=np.uint8)
    for image, (height, width) in zip(pixels, sizes, strict=True):
        image[:, :height, :width] = generator.integers(0, 256, (3, height, width))
    return Canvas(pixels=torch.from_numpy(pixels), sizes=torch.from_numpy(sizes))


def rows_of(canvas: Canvas, rows: np.ndarray) -> Canvas:
    sizes = canvas.sizes[rows]
    height, width = sizes.amax(dim=0).tolist()  # as a store would: no larger than this batch needs
    return Canvas(pixels=canvas.pixels[rows][:, :, :height, :width].contiguous(), sizes=sizes)


def apply(augmentation: Augmentation, canvas: Canvas, ids: np.ndarray, **options: Any) -> torch.Tensor:
    return augmentation.apply(canvas, **{"preprocessing": PREPROCESSING, "sample_ids": ids, **KEY, **options})


@pytest.mark.parametrize("ragged", [False, True])
def test_off_is_exactly_the_evaluation(ragged: bool) -> None:
    canvas = canvas_of(5, ragged=ragged)
    assert Augmentation().is_identity
    assert torch.equal(apply(Augmentation(), canvas, np.arange(5)), PREPROCESSING.from_canvas(canvas))


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_each_setting_changes_something_and_is_repeatable(setting: dict) -> None:
    canvas, augmentation = canvas_of(16), Augmentation(**setting)
    assert not augmentation.is_identity
    before = canvas.pixels.clone()
    inputs = apply(augmentation, canvas, np.arange(16))
    assert inputs.shape == (16, 3, 8, 8)
    assert torch.equal(canvas.pixels, before)
    assert not torch.equal(inputs, PREPROCESSING.from_canvas(canvas))
    assert torch.equal(inputs, apply(augmentation, canvas, np.arange(16)))
    for other in ({"seed": 12}, {"epoch": 4}, {"sample_ids": np.arange(100, 116)}):
        assert not torch.equal(inputs, apply(augmentation, canvas, np.arange(16), **other))


@pytest.mark.parametrize("setting", [*SETTINGS.values(), None], ids=[*SETTINGS, "everything"])
def test_a_sample_has_the_same_bits_in_every_batch(setting: dict | None) -> None:
    canvas, augmentation = canvas_of(37), EVERYTHING if setting is None else Augmentation(**setting)
    ids = np.random.default_rng(1).permutation(1000)[:37]
    together = apply(augmentation, canvas, ids)
    for size in (1, 5, 16):
        order = np.random.default_rng(size).permutation(37)
        for start in range(0, 37, size):
            rows = order[start : start + size]
            assert torch.equal(apply(augmentation, rows_of(canvas, rows), ids[rows]), together[rows])


@pytest.mark.parametrize("setting", [*SETTINGS.values(), None], ids=[*SETTINGS, "everything"])
def test_a_sample_is_the_same_on_every_ragged_canvas(setting: dict | None) -> None:
    canvas, augmentation = canvas_of(12, ragged=True), EVERYTHING if setting is None else Augmentation(**setting)
    ids = np.arange(12)
    together = apply(augmentation, canvas, ids)
    for row in range(12):
        alone = apply(augmentation, rows_of(canvas, np.array([row])), ids[row : row + 1])
        # Copied pixels are the same; coordinates in float32 depend on the size of the canvas by a few times 1e-7 of it.
        torch.testing.assert_close(alone[0], together[row], atol=2e-3, rtol=0)


@pytest.mark.parametrize("setting", [*SETTINGS.values(), None], ids=[*SETTINGS, "everything"])
def test_channels_last_holds_the_same_numbers(setting: dict | None) -> None:
    canvas, augmentation = canvas_of(4), EVERYTHING if setting is None else Augmentation(**setting)
    inputs = apply(augmentation, canvas, np.arange(4), memory_format=torch.channels_last)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(inputs, apply(augmentation, canvas, np.arange(4)))


def test_early_epochs_show_smaller_images() -> None:
    canvas, augmentation = canvas_of(37), Augmentation(early_epochs=2, early_size=4)
    ids = np.arange(37)
    full = apply(Augmentation(), canvas, ids)
    assert not augmentation.is_identity
    assert torch.equal(apply(augmentation, canvas, ids, epoch=2), full)
    early = apply(augmentation, canvas, ids, epoch=1)
    assert early.shape == (37, 3, 4, 4)
    # Source: halving with an antialiased triangle is the filter 1 3 3 1 over eight; by hand, away from the edges.
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    middle = torch.einsum("bchw,h,w->bc", full[:, :, 1:5, 3:7], taps, taps)
    torch.testing.assert_close(early[:, :, 1, 2], middle)
    alone = torch.cat([apply(augmentation, rows_of(canvas, ids[[row]]), ids[[row]], epoch=1) for row in range(37)])
    assert torch.equal(early, alone)
    last = apply(augmentation, canvas, ids, epoch=1, memory_format=torch.channels_last)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_padded_crop_and_flip_match_a_loop(mode: str) -> None:
    canvas, ids = canvas_of(30), np.arange(200, 230)
    augmentation = Augmentation(crop_padding=3, crop_padding_mode=mode, horizontal_flip="random")
    inputs = apply(augmentation, canvas, ids)
    draws = uniform(**KEY, sample_ids=ids, stream=Stream.CROP, count=2)
    flips = uniform(**KEY, sample_ids=ids, stream=Stream.FLIP, count=1)[:, 0] < 0.5
    assert 5 < flips.sum() < 25
    for row, (down, right) in enumerate(draws):
        options = {"mode": "constant" if mode == "zeros" else "reflect"}
        padded = np.pad(canvas.pixels[row].numpy(), ((0, 0), (3, 3), (3, 3)), **options)
        top, left = int(down * 7), int(right * 7)
        image = padded[:, top : top + 8, left : left + 8]
        image = np.ascontiguousarray(image[:, :, ::-1] if flips[row] else image)
        assert torch.equal(inputs[row], PREPROCESSING.normalize(torch.from_numpy(image)[None])[0])


def test_alternating_flip_shows_both_sides_in_any_two_epochs() -> None:
    canvas, augmentation = canvas_of(20), Augmentation(horizontal_flip="alternating")
    plain = PREPROCESSING.from_canvas(canvas)
    epochs = [apply(augmentation, canvas, np.arange(20), epoch=epoch) for epoch in range(4)]
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert torch.equal(epochs[1], epochs[0].flip(-1))
    unflipped = sum(torch.equal(image, source) for image, source in zip(epochs[0], plain, strict=True))
    assert 4 <= unflipped <= 16


def test_background_is_black_before_normalisation() -> None:
    canvas = Canvas(pixels=torch.full((50, 3, 8, 8), 255, dtype=torch.uint8), sizes=torch.full((50, 2), 8))
    black = PREPROCESSING.normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    inputs = apply(Augmentation(translate=4.0), canvas, np.arange(50))
    assert torch.equal(inputs.amin(dim=(0, 2, 3)), black.flatten())


def test_resized_crops_never_show_the_background() -> None:
    canvas = Canvas(pixels=torch.full((50, 3, 8, 8), 255, dtype=torch.uint8), sizes=torch.full((50, 2), 8))
    inputs = apply(Augmentation(resized_crop_scale=(0.1, 1.0), rotation_degrees=30.0), canvas, np.arange(50))
    torch.testing.assert_close(inputs, PREPROCESSING.from_canvas(canvas))


def test_order_of_the_changes_of_values() -> None:
    canvas, ids = canvas_of(6), np.arange(6)
    augmentation = Augmentation(color_jitter=(0.3, 0.2, 0.1), cutout=4, input_noise=0.2)
    draws = uniform(**KEY, sample_ids=ids, stream=Stream.COLOR, count=3)
    expected = PREPROCESSING.normalize(jitter_color(canvas.pixels, draws, strengths=(0.3, 0.2, 0.1)))
    cut_out(expected, uniform(**KEY, sample_ids=ids, stream=Stream.CUTOUT, count=2), side=4)
    add_noise(expected, std=0.2, **KEY, sample_ids=ids)
    assert torch.equal(apply(augmentation, canvas, ids), expected)


def test_vectors_get_noise_only() -> None:
    preprocessing = Preprocessing(channels=4, mean=(0.0,) * 4, std=(2.0,) * 4)
    canvas = Canvas(pixels=torch.ones(3, 4), sizes=torch.zeros(3, 2, dtype=torch.int64))
    plain = apply(dataclasses.replace(EVERYTHING, input_noise=0.0), canvas, np.arange(3), preprocessing=preprocessing)
    assert torch.equal(plain, torch.full((3, 4), 0.5))
    noisy = apply(EVERYTHING, canvas, np.arange(3), preprocessing=preprocessing)
    assert torch.equal(noisy, add_noise(plain.clone(), std=0.1, **KEY, sample_ids=np.arange(3)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop_padding": -1}, r"`crop_padding` must be a whole number of pixels, 0 or more, got -1"),
        ({"crop_padding": 1.5}, r"`crop_padding` must be a whole number of pixels"),
        (
            {"crop_padding_mode": "reflekt"},
            r"`crop_padding_mode` must be `zeros` or `reflect`.*Did you mean `reflect`\?",
        ),
        ({"horizontal_flip": "randm"}, r"`horizontal_flip` must be `random`.*got 'randm'\. Did you mean `random`\?"),
        ({"horizontal_flip": True}, r"`horizontal_flip` must be `random`, `alternating` or None, got True"),
        ({"resized_crop_scale": (0.0, 1.0)}, r"`resized_crop_scale` must be two numbers with 0 < smallest"),
        ({"resized_crop_scale": (0.9, 0.5)}, r"`resized_crop_scale` must be two numbers with 0 < smallest"),
        ({"resized_crop_scale": (0.9,)}, r"`resized_crop_scale` must be two numbers with 0 < smallest"),
        ({"rotation_degrees": 181}, r"`rotation_degrees` must be from 0 to 180, got 181"),
        ({"scale": 1.0}, r"`scale` must be from 0 to 0.9, got 1.0"),
        ({"shear": float("nan")}, r"`shear` must be from 0 to 2, got nan"),
        ({"translate": -0.5}, r"`translate` must be a number of pixels, 0 or more, got -0.5"),
        ({"cutout": True}, r"`cutout` must be a whole number of pixels, 0 or more, got True"),
        ({"color_jitter": (0.1, 0.1)}, r"`color_jitter` must be three numbers, each 0 or more, or None"),
        ({"mixup": 0.001}, r"`mixup` must be from 0.01 to 100, or 0, got 0.001"),
        ({"input_noise": float("inf")}, r"`input_noise` must be a finite number, 0 or more, got inf"),
        ({"early_epochs": 2}, r"`early_epochs` and `early_size` must be given together, got 2 and 0"),
        ({"early_size": 1.5, "early_epochs": 1}, r"`early_size` must be a whole number of pixels"),
        ({"crop_padding": 4, "resized_crop_scale": (0.5, 1.0)}, r"`crop_padding` must be 0 together with"),
    ],
)
def test_bad_values(setting: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Augmentation(**setting)


def test_lists_from_json_become_tuples() -> None:
    augmentation = Augmentation(color_jitter=[0.1, 0.2, 0.3], resized_crop_scale=[0.5, 1.0])
    assert augmentation == Augmentation(color_jitter=(0.1, 0.2, 0.3), resized_crop_scale=(0.5, 1.0))


def test_description_names_what_is_on() -> None:
    augmentation = Augmentation(resized_crop_scale=(0.25, 1.0), cutout=8, mixup=0.2)
    assert augmentation.describe() == "resized crop scale 0.25/1, cutout 8, mixup 0.2"
