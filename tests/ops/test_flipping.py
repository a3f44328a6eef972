"""Flip and roll: PyTorch, gradients, what is read, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import flipping as ops

SHAPE = (2, 3, 4, 5)
ROLLS = [
    {"shifts": 1, "axis": 2}, {"shifts": -7, "axis": -1}, {"shifts": (1, -2), "axis": (2, 3)},
    {"shifts": (1, 2), "axis": (3, 3)}, {"shifts": 4, "axis": None}, {"shifts": 0, "axis": 0},
]  # fmt: skip


@pytest.mark.parametrize("axis", [0, -1, (2, 3), (3, 0), ()], ids=str)
def test_flip_equals_pytorch(assert_agrees, axis, random):
    assert_agrees(
        [random.normal(size=SHAPE)],
        forward=lambda x: ops.flip(x, axis=axis),
        backward=lambda g, x: ops.flip_backward(g, x, axis=axis),
        reference=lambda x: torch.flip(x, axis if isinstance(axis, tuple) else (axis,)),
        seed=1,
    )


@pytest.mark.parametrize("options", ROLLS, ids=str)
def test_roll_equals_pytorch(assert_agrees, options, random):
    assert_agrees(
        [random.normal(size=SHAPE)],
        forward=lambda x: ops.roll(x, **options),
        backward=lambda g, x: ops.roll_backward(g, x, **options),
        reference=lambda x: torch.roll(x, options["shifts"], options["axis"]),
        seed=1,
    )


def test_gradients_equal_differences(random, finite_difference, assert_close_to_differences):
    x, gradient = random.normal(size=(3, 4)), random.normal(size=(3, 4))
    differences = finite_difference(lambda z: ops.flip(z, axis=1), x, gradient)
    assert_close_to_differences(ops.flip_backward(gradient, x, axis=1), differences)
    differences = finite_difference(lambda z: ops.roll(z, shifts=1, axis=0), x, gradient)
    assert_close_to_differences(ops.roll_backward(gradient, x, shifts=1, axis=0), differences)


def test_forms_of_input(random):
    x = np.asfortranarray(random.normal(size=SHAPE))[:, ::-1]
    single = x.astype(np.float32)
    for call in (lambda z: ops.flip(z, axis=(1, 3)), lambda z: ops.roll(z, shifts=2, axis=1)):
        assert np.array_equal(call(x), call(x.copy()))
        assert call(single).dtype == np.float32


def test_flipping_a_kernel_turns_it_by_180_degrees():
    kernel = [[1, 2], [3, 4]]
    assert ops.flip(kernel, axis=(0, 1)).tolist() == np.rot90(kernel, 2).tolist()


OPS = [
    ops.Flip((1, 3)), ops.Roll((1, -2), (2, 3)), ops.Roll((1, 1), (3, 3)), ops.Roll((7,)), ops.Roll((-3,), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("op", OPS, ids=str)
def test_working(assert_workings_add_up, op, random):
    for seed in range(4):
        assert_workings_add_up(op, random.normal(size=SHAPE), seed=seed)


def test_working_as_text():
    x = np.array([1.0, 2.0, 3.0])
    assert "along axis 0: 3 - 1 - 0 = 2" in str(ops.Flip((0,)).working((0,), x))
    assert "along axis 0: (0 - 1) mod 3 = 2" in str(ops.Roll((1,), (0,)).working((0,), x))
    assert "all values as one row, shifted by 2" in str(ops.Roll((2,)).working((0,), x))
    assert "x[0] went to y[1]" in str(ops.Roll((1,), (0,)).gradient_working("input", (0,), x, x))


def test_reads():
    positions = np.array([0, 1])
    assert ops.Flip((2,)).reads(positions, axis=0, size=4).tolist() == [2, 3]
    assert ops.Flip((2,)).reads(positions, axis=1, size=4).tolist() == [0, 1]
    assert ops.Roll((1, 1), (3, 3)).reads(positions, axis=1, size=5).tolist() == [3, 4]
    assert ops.Roll((1,), (3,)).reads(positions, axis=1, size=5).tolist() == [0, 4]
    assert ops.Roll((1,), (3,)).reads(positions, axis=0, size=5).tolist() == [0, 1]
    assert ops.Roll((1,)).reads(positions, axis=0, size=3).tolist() == [0, 1, 2]


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.flip(X, axis=2), r"flip: `axis` must be a whole number from -2 to 1, got 2"),
        (lambda: ops.flip(X, axis=(0, -2)), r"flip: `axis` must name each axis once"),
        (lambda: ops.flip_backward(X, X.T, axis=0), r"flip_backward: `grad_output` must have .* \(3, 2\)"),
        (lambda: ops.roll(X, shifts=(1, 2)), r"roll: `shifts` must be one number for all values at once, got \(1, 2\)"),
        (
            lambda: ops.roll_backward(X, X, shifts=1, axis=(0, 1)),
            r"roll_backward: `shifts` must be one number for each of the axes \(0, 1\), got 1",
        ),
        (lambda: ops.roll(X, shifts=1, axis=2), r"roll: `axis` must be a whole number from -2 to 1, got 2"),
        (lambda: ops.roll(np.ones((2, 0)), shifts=1, axis=1), r"roll: `x` must have values along axis 1"),
        (lambda: ops.Flip((2,)).output_shape((2, 3)), r"flip: `axis` must be a whole number from -2 to 1, got 2"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
