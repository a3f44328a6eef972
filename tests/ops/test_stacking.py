"""Stack, expand, repeat, tile: PyTorch, gradients, what is read, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import stacking as ops

CASES = [
    # forward, backward, options, PyTorch's call, shape of x
    (ops.expand, ops.expand_backward, {"shape": (2, 3, -1)}, lambda x: x.expand(2, 3, -1), (2, 1, 4)),
    (ops.expand, ops.expand_backward, {"shape": (5, 2, 3)}, lambda x: x.expand(5, 2, 3), (2, 1)),
    (ops.expand, ops.expand_backward, {"shape": (2, 3)}, lambda x: x.expand(2, 3), ()),
    (ops.repeat, ops.repeat_backward, {"repeats": (1, 3, 2)}, lambda x: x.repeat(1, 3, 2), (2, 1, 4)),
    (ops.repeat, ops.repeat_backward, {"repeats": (2, 2, 3)}, lambda x: x.repeat(2, 2, 3), (2, 3)),
    (ops.repeat, ops.repeat_backward, {"repeats": (1, 0)}, lambda x: x.repeat(1, 0), (2, 3)),
    (ops.tile, ops.tile_backward, {"repeats": (3,)}, lambda x: x.tile(3), (2, 3, 2)),
    (ops.tile, ops.tile_backward, {"repeats": (2, 1, 1, 2)}, lambda x: x.tile(2, 1, 1, 2), (2, 3, 2)),
]


@pytest.mark.parametrize(("forward", "backward", "options", "reference", "shape"), CASES)
def test_copies_equal_pytorch(assert_agrees, forward, backward, options, reference, shape, random):
    x = np.asarray(random.normal(size=shape))
    assert_agrees(
        [x],
        forward=lambda z: forward(z, **options),
        backward=lambda g, z: backward(g, z, **options),
        reference=reference,
        seed=2,
    )


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_stack_equals_pytorch(assert_agrees, axis, random):
    arrays = [random.normal(size=(2, 3, 4)) for _ in range(3)]
    assert_agrees(
        arrays,
        forward=lambda *z: ops.stack(*z, axis=axis),
        backward=lambda g, *z: ops.stack_backward(g, *z, axis=axis),
        reference=lambda *z: torch.stack(z, dim=axis),
        seed=3,
    )


def test_gradients_equal_differences(random, finite_difference, assert_close_to_differences):
    x, gradient = random.normal(size=(2, 1)), random.normal(size=(2, 2, 3))
    differences = finite_difference(lambda z: ops.expand(z, shape=(2, 2, 3)), x, gradient)
    assert_close_to_differences(ops.expand_backward(gradient, x, shape=(2, 2, 3)), differences)
    differences = finite_difference(lambda z: ops.repeat(z, repeats=(2, 1, 3)), x, gradient)
    assert_close_to_differences(ops.repeat_backward(gradient, x, repeats=(2, 1, 3)), differences)
    other, gradient = random.normal(size=(2, 1)), random.normal(size=(2, 2, 1))
    differences = finite_difference(lambda z: ops.stack(other, z, axis=1), x, gradient)
    assert_close_to_differences(ops.stack_backward(gradient, other, x, axis=1)[1], differences)


def test_forms_of_input(random):
    x = np.asfortranarray(random.normal(size=(4, 1, 6)))[::-1]
    single = x.astype(np.float32)
    for call in (
        lambda z: ops.stack(z, z, axis=1),
        lambda z: ops.expand(z, shape=(-1, 5, -1)),
        lambda z: ops.repeat(z, repeats=(1, 2, 3)),
    ):
        assert np.array_equal(call(x), call(x.copy()))
        assert call(single).dtype == np.float32
        assert call(x).flags.writeable
    assert ops.stack(1, 2).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("op", "shape"),
    [(ops.Expand((2, 3, 4)), (2, 1, 4)), (ops.Repeat((1, 2, 3)), (2, 3, 4)), (ops.Repeat((2, 1, 2)), (3, 4))],
    ids=str,
)
def test_working(assert_workings_add_up, op, shape, random):
    for seed in range(4):
        assert_workings_add_up(op, random.normal(size=shape), seed=seed)


def test_working_of_stack(random, assert_adds_up):
    arrays, op = [random.normal(size=(2, 3)) for _ in range(4)], ops.Stack(1)
    gradient = random.normal(size=(2, 4, 3))
    assert_adds_up(op.working((1, 3, 2), *arrays), arrays[3][1, 2])
    assert_adds_up(op.gradient_working("input2", (1, 0), gradient, *arrays), gradient[1, 2, 0])
    text = str(op.working((1, 3, 2), *arrays))
    assert "axis 1 counts the 4 inputs: 3 is x3" in text
    assert "y[1, 3, 2] is x3[1, 2]" in text
    assert "x2[1, 0] went to y[1, 2, 0]" in str(op.gradient_working("input2", (1, 0), gradient, *arrays))


def test_working_as_text():
    x = np.array([[1.0, 2.0]])
    assert str(ops.Repeat((2, 2)).working((1, 3), x)).splitlines() == [
        "repeat at [1, 3]",
        "  y[i] = x[i mod length] along each axis",
        "  [1, 2] -> [2, 4]",
        "  y[1, 3] is x[0, 1]",
        "  along axis 0: 1 mod 1 = 0",
        "  along axis 1: 3 mod 2 = 1",
        "  y = 2 = 2",
    ]
    working = ops.Expand((3, 2)).gradient_working("input", (0, 1), np.arange(6.0).reshape(3, 2), x)
    assert "x[0, 1] went to y[0, 1], y[1, 1] and 1 more" in str(working)
    assert "dL/dx = 1 + 3 + 5 = 9" in str(working)


def test_reads():
    positions = np.array([0, 5])
    assert ops.Expand((1, 1, 6, 6)).reads(positions, axis=0, size=1).tolist() == [0]
    assert ops.Expand((4, 1, 6, 6)).reads(positions, axis=1, size=6).tolist() == [0, 5]
    assert ops.Repeat((1, 1, 2, 1)).reads(positions, axis=0, size=3).tolist() == [0, 2]
    assert ops.Repeat((1, 1, 2, 1)).reads(positions, axis=1, size=6).tolist() == [0, 5]


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.stack(), r"stack: `arrays` must be at least one array, got none"),
        (lambda: ops.stack(X, X.T), r"stack: `arrays` must have one shape, got \(2, 3\) and \(3, 2\), number 1"),
        (lambda: ops.stack(X, axis=3), r"stack: `axis` must be a whole number from -3 to 2, got 3"),
        (lambda: ops.stack_backward(X, X, X), r"stack_backward: `grad_output` must have .* \(2, 2, 3\)"),
        (lambda: ops.expand(X, shape=(4, 3)), r"expand: `shape` must keep the lengths of x \(2, 3\) that are not 1"),
        (lambda: ops.expand(X, shape=(3,)), r"expand: `shape` must keep .* got \(3,\)"),
        (lambda: ops.expand(X, shape=(-1, 2, 3)), r"expand: `shape` must keep .* got \(-1, 2, 3\)"),
        (lambda: ops.repeat(X, repeats=(2,)), r"repeat: `repeats` must have a number for each of the 2 axes"),
        (lambda: ops.tile(X, repeats=(-1,)), r"tile: `repeats` must be 0 or more along each axis, got \(-1,\)"),
        (lambda: ops.repeat_backward(X, X, repeats=(2, 1)), r"repeat_backward: `grad_output` must have .* \(4, 3\)"),
        (lambda: ops.Stack().gradient_working("input2", (0, 0), X, X, X), r"stack: `of` must be"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
