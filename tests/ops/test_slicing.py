"""Slice, chunk, pad: PyTorch, gradients, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import slicing as ops

SHAPE = (2, 5, 4, 6)


@pytest.mark.parametrize("bounds", [(1, None, 1), (0, -2, 1), (-3, None, 2), (1, 5, 3), (3, 2, 1), (0, 99, 1)])
@pytest.mark.parametrize("axis", [1, -1])
def test_slice_equals_indexing_of_pytorch(axis, bounds, random, assert_adds_up):
    x, index = random.normal(size=SHAPE), slice(*bounds)
    tensor = torch.tensor(x, requires_grad=True)
    y = tensor[:, index] if axis == 1 else tensor[..., index]
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    options = dict(zip(("axis", "start", "stop", "step"), (axis, *bounds), strict=True))
    assert np.array_equal(ops.slice_axis(x, **options), y.detach().numpy())
    assert np.array_equal(ops.slice_axis_backward(gradient, x, **options), tensor.grad.numpy())


@pytest.mark.parametrize(("chunks", "lengths"), [(1, [5]), (2, [3, 2]), (4, [2, 2, 1]), (5, [1] * 5), (9, [1] * 5)])
def test_chunk_equals_pytorch(chunks, lengths, random):
    x = random.normal(size=SHAPE)
    tensor = torch.tensor(x, requires_grad=True)
    expected = tensor.chunk(chunks, dim=1)
    parts = ops.chunk(x, chunks=chunks)
    assert [part.shape[1] for part in parts] == lengths
    assert all(np.array_equal(a, b.detach().numpy()) for a, b in zip(parts, expected, strict=True))
    gradients = [random.normal(size=part.shape) for part in parts]
    torch.autograd.backward(expected, [torch.tensor(gradient) for gradient in gradients])
    assert np.array_equal(ops.chunk_backward(gradients, x, chunks=chunks), tensor.grad.numpy())
    # A graph holds each part as an operation; their gradients add up to the same.
    nodes = ops.chunk_slices("chunk", SHAPE, chunks=chunks, axis=-3)
    total = sum(op.backward(gradient, x).inputs[0] for op, gradient in zip(nodes, gradients, strict=True))
    assert np.array_equal(total, tensor.grad.numpy())


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_equals_pytorch(mode, random, finite_difference, assert_close_to_differences):
    x, padding = random.normal(size=SHAPE), [(1, 3), (5, 0)]
    value = 1.5 if mode == "constant" else 0.0
    tensor = torch.tensor(x, requires_grad=True)
    y = F.pad(tensor, (5, 0, 1, 3), mode=mode, value=value)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    options = {"padding": padding, "mode": mode, "value": value}
    assert np.array_equal(ops.pad(x, **options), y.detach().numpy())
    assert np.abs(ops.pad_backward(gradient, x, **options) - tensor.grad.numpy()).max() < 1e-10
    small, gradient = x[0, 0], random.normal(size=(8, 11))
    differences = finite_difference(lambda z: ops.pad(z, **options), small, gradient)
    assert_close_to_differences(ops.pad_backward(gradient, small, **options), differences)


def test_forms_of_input(random):
    x = np.asfortranarray(random.normal(size=SHAPE))[:, ::-1]
    single = x.astype(np.float32)
    for call in (
        lambda z: ops.slice_axis(z, axis=2, step=2),
        lambda z: ops.chunk(z, chunks=2)[1],
        lambda z: ops.pad(z, padding=[(1, 1)], mode="reflect"),
    ):
        assert np.array_equal(call(x), call(x.copy()))
        assert call(single).dtype == np.float32
    gradient = np.ones((2, 5, 4, 8), dtype=np.float32)
    assert ops.pad_backward(gradient, single, padding=[(1, 1)]).dtype == np.float32


OPS = [
    ops.Slice(1, 1, 5, 2),
    ops.Pad(((0, 0), (0, 0), (1, 2), (0, 3)), "constant", -7.0),
    ops.Pad(((0, 0), (0, 0), (1, 2), (0, 3)), "reflect"),
]


@pytest.mark.parametrize("op", OPS, ids=str)
def test_working(op, random, assert_adds_up):
    x = random.normal(size=SHAPE)
    y = op.forward(x)
    assert op.output_shape(SHAPE) == y.shape
    gradient = random.normal(size=y.shape)
    grad_input = op.backward(gradient, x).inputs[0]
    for flat in (0, 19, y.size - 1):
        position = tuple(map(int, np.unravel_index(flat, y.shape)))
        assert_adds_up(op.working(position, x), y[position])
    for flat in (0, 30, x.size - 2):
        position = tuple(map(int, np.unravel_index(flat, SHAPE)))
        assert_adds_up(op.gradient_working("input", position, gradient, x), grad_input[position])


def test_working_as_text():
    x = np.array([1.0, 2, 3])
    assert "along axis 0: 1 + 1 x 1 = 2" in str(ops.Slice(0, 1, 3).working((1,), x))
    nowhere = ops.Slice(0, 1, 3).gradient_working("input", (0,), np.ones(2), x)
    assert "x[0] went to nowhere" in str(nowhere)
    border = ops.Pad(((1, 0),), "constant", 9.0).working((0,), x)
    assert "y[0] lies outside x and holds the constant 9" in str(border)
    mirrored = ops.Pad(((2, 2),), "reflect").gradient_working("input", (1,), np.arange(7.0), x)
    assert "x[1] went to y[1], y[3] and 1 more" in str(mirrored)
    assert "dL/dx = 1 + 3 + 5 = 9" in str(mirrored)


def test_reads():
    positions = np.array([0, 2])
    assert ops.Slice(2, 1, 6, 2).reads(positions, axis=0, size=6).tolist() == [1, 5]
    assert ops.Slice(1, 1, 2).reads(positions, axis=0, size=6).tolist() == [0, 2]
    pads = ((0, 0), (0, 0), (1, 2), (0, 3))
    assert ops.Pad(pads).reads(positions, axis=0, size=4).tolist() == [-1, 1]
    assert ops.Pad(pads, "reflect").reads(positions, axis=0, size=4).tolist() == [1]


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.slice_axis(X, axis=2), r"slice_axis: `axis` must be a whole number from -2 to 1, got 2"),
        (lambda: ops.slice_axis(X, axis=1, step=0), r"slice_axis: `step` must be 1 or more, got 0"),
        (
            lambda: ops.Slice(1, 0, 4).output_shape((2, 3)),
            r"slice: `stop` must lie within the 3 values of axis 1, got 0 to 4",
        ),
        (lambda: ops.chunk(X, chunks=0), r"chunk: `chunks` must be 1 or more, got 0"),
        (lambda: ops.chunk(np.ones((2, 0)), chunks=1), r"chunk: `x` must have values along axis 1, got shape \(2, 0\)"),
        (
            lambda: ops.chunk_backward([X], X, chunks=3),
            r"chunk_backward: `grad_outputs` must have one gradient a part, 3, got 1",
        ),
        (lambda: ops.chunk_backward([X], X[:1], chunks=1), r"chunk_backward: `grad_output` must have .* \(1, 3\)"),
        (
            lambda: ops.pad(X, padding=[(1, 1)], mode="zeros"),
            r"pad: `mode` must be one of constant, reflect, replicate, circular",
        ),
        (lambda: ops.pad(X, padding=[(1, 1)] * 3), r"pad: `padding` must be a pair \(before, after\) .* at most 2"),
        (lambda: ops.pad(X, padding=[1, 1]), r"pad: `padding` must be a pair .* Write padding=\[\(1, 1\), \(1, 1\)\]"),
        (lambda: ops.pad(X, padding=[(-1, 1)]), r"pad: `padding` must be a whole number from 0 on"),
        (
            lambda: ops.pad(X, padding=[(3, 0)], mode="reflect"),
            r"pad: `padding` must be at most 2 along axis 1 of length 3 with mode='reflect', got \(3, 0\)",
        ),
        (lambda: ops.pad(X, padding=[(4, 0)], mode="circular"), r"pad: `padding` must be at most 3 along axis 1"),
        (lambda: ops.Pad(((0, 0),)).output_shape((2, 3)), r"pad: `pads` must have a pair for each of the 2 axes"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
