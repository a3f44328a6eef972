"""Arrays as people have them, and labels that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from striate.data.arrays import parse_images, parse_labels, renumber, sort_names
from striate.errors import DataError


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 28, 28), (5, 1, 28, 28)),
        ((5, 3, 28, 28), (5, 3, 28, 28)),
        ((5, 28, 28, 3), (5, 3, 28, 28)),
        ((5, 28, 28, 1), (5, 1, 28, 28)),
        ((5, 3, 8, 3), (5, 3, 8, 3)),  # both could be channels: (N, C, H, W) is taken
        ((5, 1, 1, 1), (5, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_every_layout_becomes_channels_first(shape: tuple[int, ...], expected: tuple[int, ...], kind: str):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = parse_images(array if kind == "numpy" else torch.from_numpy(array))
    assert images.shape == expected
    assert images.flags.c_contiguous
    moved = array if len(shape) == 3 or shape == expected else array.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.ravel(), moved.ravel())


def test_two_axes_are_vectors():
    vectors = parse_images([[1, 2], [3, 4]])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros(5, np.uint8), r"must have the shape \(N, H, W\).*got \(5,\)"),
        (np.zeros((0, 8, 8), np.uint8), r"got \(0, 8, 8\)"),
        (np.zeros((2, 8, 8)), r"must be uint8 with values from 0 to 255, got float64.*images \* 255"),
        (np.zeros((2, 5, 8, 8), np.uint8), r"must have 1 or 3 channels, got 5"),
        (np.zeros((0, 4)), r"must not be empty, got \(0, 4\)"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), r"must be finite, got \[nan, 2\.0\] in row 1 \(1 such rows\)"),
        (np.array([[0.0], [np.inf]]), "must be finite"),
    ],
)
def test_images_that_are_none_are_refused(images: Any, message: str):
    with pytest.raises(DataError, match=message):
        parse_images(images)


def test_integers_are_classes():
    labels, names = parse_labels(torch.tensor([2, 0, 1]), count=3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [2, 0, 1]
    assert names == ("0", "1", "2")


@pytest.mark.parametrize(
    "labels", [["b", "a", "b"], np.array(["b", "a", "b"]), np.array(["b", "a", "b"], dtype=object)]
)
def test_names_are_numbered_in_order(labels: Any):
    numbers, names = parse_labels(labels, count=3)
    assert numbers.tolist() == [1, 0, 1]
    assert names == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"one class for each of the 3 images, got shape \(2,\)"),
        ([[0], [1], [0]], r"got shape \(3, 1\)"),
        ([0.0, 1.0, float("nan")], r"must be integers or names, got float64 .*hide NaN"),
        ([0, -1, 1], r"got -1 in row 1"),
        ([0, -100, 1], r"got -100 in row 1"),
        ([0, 1, 7], r"fewer than there are images \(3\), got 7 in row 2"),
        ([0, 2, 2], r"use every class from 0 to 2, but no image has 1"),
        (["a", "", "b"], "got an empty one in row 1"),
        (np.array(["a", None, "b"], dtype=object), "must be integers or names, got object"),
        ([True, False, True], "must be integers or names, got bool"),
    ],
)
def test_labels_that_are_none_are_refused(labels: Any, message: str):
    with pytest.raises(DataError, match=message):
        parse_labels(labels, count=3)


def test_names_that_are_all_numbers_are_ordered_as_numbers():
    assert sort_names({"10", "9", "1"}) == ("1", "9", "10")
    assert sort_names({"10", "9", "a"}) == ("10", "9", "a")


def test_a_class_the_network_does_not_know_is_named():
    with pytest.raises(DataError, match=r"only classes that the network knows, got fish; it knows cat, dog"):
        renumber(np.array([0]), ["fish"], ["cat", "dog"])
