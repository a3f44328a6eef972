"""Crops and affine maps against loops in NumPy."""

import numpy as np
import pytest
import torch

from striate.data.geometry import (
    affine_crop,
    affine_matrices,
    center_offsets,
    exact_crop,
    resized_boxes,
    shifted_offsets,
)

OFF = {"rotation_degrees": 0.0, "scale": 0.0, "shear": 0.0, "translate": 0.0}


def ragged_canvas(sizes: np.ndarray, *, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Random images at the top left of a canvas of zeros."""
    generator = np.random.default_rng(seed)
    canvas = np.zeros((len(sizes), channels, *(sizes.max(axis=0) + 2)), dtype=np.uint8)
    for image, (height, width) in zip(canvas, sizes, strict=True):
        image[:, :height, :width] = generator.integers(1, 256, (channels, height, width))
    return torch.from_numpy(canvas)


def exact_reference(image: np.ndarray, *, size: tuple, offset: tuple, flip: bool, side: int, mode: str) -> np.ndarray:
    """Pad one image generously with NumPy, cut and mirror."""
    margin = 8
    image = image[:, : size[0], : size[1]]
    padded = np.pad(image, ((0, 0), (margin,) * 2, (margin,) * 2), mode="constant" if mode == "zeros" else "reflect")
    top, left = offset[0] + margin, offset[1] + margin
    cut = padded[:, top : top + side, left : left + side]
    return cut[:, :, ::-1] if flip else cut


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize(
    "sizes", [[(12, 12)] * 9, [(12, 15), (13, 20), (17, 12), (9, 9), (24, 12)]], ids=["same", "ragged"]
)
@pytest.mark.parametrize("flipped", [True, False])
def test_exact_crop_matches_numpy(mode: str, sizes: list, flipped: bool) -> None:
    sizes, side = np.array(sizes), 9
    pixels = ragged_canvas(sizes)
    generator = np.random.default_rng(1)
    offsets = np.stack([generator.integers(-7, size - side + 8) for size in sizes])
    flips = (np.arange(len(sizes)) % 2 == 0) & flipped
    arguments = {"sizes": sizes, "offsets": offsets, "flips": flips, "image_size": side}
    crops = exact_crop(pixels, **arguments, padding_mode=mode)
    assert crops.dtype == torch.uint8
    for row, crop in enumerate(crops.numpy()):
        expected = exact_reference(
            pixels[row].numpy(), size=sizes[row], offset=offsets[row], flip=flips[row], side=side, mode=mode
        )
        np.testing.assert_array_equal(crop, expected)


def test_reflection_goes_on_beyond_one_image_width() -> None:
    pixels = torch.arange(1, 4, dtype=torch.uint8).view(1, 1, 1, 3).repeat(1, 1, 3, 1)
    arguments = {"sizes": np.array([[3, 3]]), "flips": np.array([False]), "image_size": 3, "padding_mode": "reflect"}
    crop = exact_crop(pixels, offsets=np.array([[0, -6]]), **arguments)
    # 1 2 3 mirrored again and again is ... 3 2 1 2 3 2 1 2 3: index -6 is two periods of 4 before index 2.
    assert crop[0, 0, 0].tolist() == [3, 2, 1]


def test_one_pixel_image_reflects_to_itself() -> None:
    pixels = torch.full((1, 1, 1, 1), 7, dtype=torch.uint8)
    arguments = {"sizes": np.array([[1, 1]]), "offsets": np.array([[-1, -1]]), "flips": np.array([False])}
    assert exact_crop(pixels, **arguments, image_size=3, padding_mode="reflect").unique().tolist() == [7]


def test_center_offsets_put_the_odd_pixel_at_the_end() -> None:
    assert center_offsets(np.array([[10, 13]]), image_size=8).tolist() == [[1, 2]]


def test_shifted_offsets_reach_every_position_equally_often() -> None:
    uniforms = np.random.default_rng(0).random((18_000, 2))
    offsets = shifted_offsets(np.full((18_000, 2), 32), uniforms, image_size=32, padding=4)
    values, counts = np.unique(offsets, return_counts=True)
    assert values.tolist() == list(range(-4, 5))
    assert np.abs(counts / 36_000 - 1 / 9).max() < 0.008  # standard error 0.0017
    extremes = shifted_offsets(np.array([[32, 40]] * 2), np.array([[0, 0], [1 - 2**-53] * 2]), image_size=32, padding=4)
    assert extremes.tolist() == [[-4, -4], [4, 12]]


def test_resized_boxes_lie_inside_and_cover_the_asked_share() -> None:
    uniforms = np.random.default_rng(0).random((5000, 4))
    sizes = np.tile([[40, 40], [30, 60]], (2500, 1))
    top, left, height, width = resized_boxes(sizes, uniforms, area_range=(0.1, 0.5)).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= sizes[:, 0] + 1e-9).all()
    assert (left + width <= sizes[:, 1] + 1e-9).all()
    share, aspect = height * width / sizes.prod(axis=1), width / height
    uncut = height < sizes[:, 0]
    assert share.max() <= 0.5 + 1e-9
    assert share[uncut].min() >= 0.1 - 1e-9
    assert abs(share[uncut & (sizes[:, 0] == 40)].mean() - 0.3) < 0.01
    assert aspect[uncut].min() >= 3 / 4 - 1e-9
    assert aspect[uncut].max() <= 4 / 3 + 1e-9
    whole = resized_boxes(np.array([[20, 20]]), np.array([[1.0, 0.5, 0.3, 0.3]]), area_range=(0.1, 1.0))
    np.testing.assert_allclose(whole, [[0, 0, 20, 20]], atol=1e-12)


def test_affine_matrices_turn_enlarge_shear_and_move_as_named() -> None:
    # Uniform 1 is the largest change in the positive direction, 0.5 none; columns: angle, zoom, shear, right, down.
    for column, option, expected in (
        (
            0,
            {"rotation_degrees": 90.0},
            [[0, -1, 0], [1, 0, 0]],
        ),  # the right edge is read from the bottom: anticlockwise
        (1, {"scale": 0.25}, [[0.8, 0, 0], [0, 0.8, 0]]),  # 1.25 times as large: sampled from a smaller square
        (2, {"shear": 0.5}, [[1, -0.5, 0], [0, 1, 0]]),
        (3, {"translate": 3.0}, [[1, 0, -0.6], [0, 1, 0]]),  # 3 of 10 pixels, on an axis of length 2
        (4, {"translate": 3.0}, [[1, 0, 0], [0, 1, -0.6]]),
    ):
        uniforms = np.full((1, 5), 0.5)
        uniforms[0, column] = 1.0
        matrix = affine_matrices(uniforms, **{**OFF, **option}, image_size=10)
        np.testing.assert_allclose(matrix[0], expected, atol=1e-12)


def test_affine_matrices_invert_the_product_in_the_documented_order() -> None:
    uniforms = np.random.default_rng(0).random((4, 5))
    options = {"rotation_degrees": 30.0, "scale": 0.2, "shear": 0.3, "translate": 2.0}
    matrices = affine_matrices(uniforms, **options, image_size=16)
    for (angle, zoom, slant, right, down), matrix in zip(2 * uniforms - 1, matrices, strict=True):
        angle, zoom, slant = np.deg2rad(30) * angle, 1 + 0.2 * zoom, 0.3 * slant
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # y points down
        forward = turn @ np.array([[1, slant], [0, 1]]) * zoom
        shift = np.array([right, down]) * 2 * 2.0 / 16
        point = np.array([0.3, -0.7])
        moved = forward @ point + shift
        np.testing.assert_allclose(matrix[:, :2] @ moved + matrix[:, 2], point, atol=1e-12)


def bilinear_reference(image: np.ndarray, row: float, column: float) -> np.ndarray:
    """Read (C, H, W) between pixels; outside is zero."""
    total = np.zeros(len(image))
    for y in (int(np.floor(row)), int(np.floor(row)) + 1):
        for x in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                total += (1 - abs(row - y)) * (1 - abs(column - x)) * image[:, y, x]
    return total


@pytest.mark.parametrize("repeat_edge", [False, True])
def test_affine_crop_matches_loops(repeat_edge: bool) -> None:
    sizes, side = np.array([(11, 11), (11, 14), (16, 12)]), 7
    pixels = ragged_canvas(sizes)
    boxes = np.array([[0, 0, 11, 11], [1.3, 2.6, 6.1, 9.9], [-2, 4, 7, 7]])
    uniforms = np.random.default_rng(3).random((3, 5))
    options = {"rotation_degrees": 40.0, "scale": 0.3, "shear": 0.2, "translate": 2.0}
    matrices = affine_matrices(uniforms, **options, image_size=side)
    flips = np.array([False, True, False])
    arguments = {"sizes": sizes, "boxes": boxes, "matrices": matrices, "flips": flips, "image_size": side}
    crops = affine_crop(pixels, **arguments, repeat_edge=repeat_edge)
    assert crops.dtype == torch.float32
    expected = np.zeros((3, 3, side, side))
    for n, (top, left, height, width) in enumerate(boxes):
        for i in range(side):
            for j in range(side):
                u, v = matrices[n] @ [(2 * j + 1) / side - 1, (2 * i + 1) / side - 1, 1]
                u = -u if flips[n] else u
                row, column = top + (v + 1) / 2 * height - 0.5, left + (u + 1) / 2 * width - 0.5
                if repeat_edge:
                    row, column = np.clip(row, 0, sizes[n, 0] - 1), np.clip(column, 0, sizes[n, 1] - 1)
                expected[n, :, i, j] = bilinear_reference(pixels[n].numpy(), row, column)
    # Coordinates in float32 on a canvas of 18 pixels, times 255 grey levels: about 1e-6 x 18 x 255.
    np.testing.assert_allclose(crops.numpy(), expected, atol=5e-3)


def test_affine_crop_of_the_whole_image_changes_nothing() -> None:
    sizes = np.array([(8, 8)] * 2)
    pixels = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[0.0, 0, 8, 8]] * 2)
    flips = np.array([False, True])
    crops = affine_crop(pixels, sizes=sizes, boxes=boxes, matrices=None, flips=flips, image_size=8, repeat_edge=False)
    expected = torch.stack((pixels[0], pixels[1].flip(-1))).float()
    torch.testing.assert_close(crops, expected, atol=2e-3, rtol=0)


def test_each_sample_is_the_same_alone_and_in_a_batch() -> None:
    count, side = 33, 13
    sizes = np.array([(13, 13)] * count)
    pixels = torch.randint(0, 256, (count, 3, 13, 13), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    uniforms = np.random.default_rng(0).random((count, 5))
    options = {"rotation_degrees": 20.0, "scale": 0.1, "shear": 0.1, "translate": 1.0}
    boxes = np.array([[0.0, 0, 13, 13]] * count)
    flips = uniforms[:, 0] < 0.5

    def crop(rows: slice) -> torch.Tensor:
        matrices = affine_matrices(uniforms[rows], **options, image_size=side)
        arguments = {"sizes": sizes[rows], "boxes": boxes[rows], "flips": flips[rows], "image_size": side}
        return affine_crop(pixels[rows], matrices=matrices, **arguments, repeat_edge=False)

    together = crop(slice(None))
    alone = torch.cat([crop(slice(row, row + 1)) for row in range(count)])
    assert torch.equal(together, alone)
