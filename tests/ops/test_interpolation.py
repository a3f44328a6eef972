"""Nearest and linear interpolation: PyTorch over sizes and scale factors, what is read, working, messages."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import interpolation as ops

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
SCALES = [0.1, 0.25, 1 / 3, 0.5, 0.6, 0.7, 0.9, 1.1, 1.25, 4 / 3, 1.5, 1.7, 2, 2.5, 2.7, 3, 4.0]
CASES = [
    # lengths, options
    ((5,), {"size": 12}),
    ((7,), {"size": 3}),
    ((6,), {"scale_factor": 1.5}),
    ((4, 6), {"size": (8, 12)}),
    ((5, 3), {"size": (7, 11)}),
    ((9, 8), {"size": 4}),
    ((5, 7), {"scale_factor": 2}),
    ((7, 5), {"scale_factor": (1.1, 2.3)}),  # the first axis keeps its length
    ((5, 9), {"scale_factor": 0.6}),
    ((1, 4), {"size": (3, 1)}),
    ((3, 4, 2), {"size": (5, 2, 4)}),
]


def reference(dims, mode, align_corners):
    """Return PyTorch's call with these options."""
    options = {"mode": LINEAR[dims], "align_corners": align_corners} if mode == "linear" else {"mode": "nearest"}
    return lambda x, **given: F.interpolate(x, **given, **options)


@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", False), ("linear", False), ("linear", True)])
@pytest.mark.parametrize(("lengths", "given"), CASES, ids=str)
def test_equals_pytorch(assert_agrees, lengths, given, mode, align_corners, random):
    dims = len(lengths)
    options = {**given, "mode": LINEAR[dims] if mode == "linear" else mode, "align_corners": align_corners}
    assert_agrees(
        [random.normal(size=(2, 3, *lengths))],
        forward=lambda x: ops.interpolate(x, **options),
        backward=lambda g, x: ops.interpolate_backward(g, x, **options),
        reference=lambda x: reference(dims, mode, align_corners)(x, **given),
        seed=1,
    )


def matrices(length, given, mode, align_corners, *, dims=1):
    """Return the matrix of an axis from PyTorch's outputs, and from ours."""
    # Of the nearest pixel in float32, as networks run: in float64 PyTorch's answer depends on layout and size, and its
    # backward goes by float32 all the same.
    units = np.eye(length, dtype=np.float32 if mode == "nearest" else np.float64).reshape(
        length, 1, *[1] * (dims - 1), length
    )
    if "size" in given and dims == 2:
        given = {"size": (1, given["size"])}
    elif dims == 2:
        given = {"scale_factor": (1.0, given["scale_factor"])}
    theirs = reference(dims, mode, align_corners)(torch.tensor(units), **given).numpy()
    options = {**given, "mode": LINEAR[dims] if mode == "linear" else mode, "align_corners": align_corners}
    return theirs.reshape(length, -1).T, ops.interpolate(units, **options).reshape(length, -1).T


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", False), ("linear", False), ("linear", True)])
def test_every_length_equals_pytorch(mode, align_corners, dims):
    # Where a place falls on an edge between pixels, rounding decides, as for 26 pixels that become 44.
    given = [{"size": size} for size in range(2, 50, 3)] + [{"scale_factor": scale} for scale in SCALES]
    for length, options in product(range(2, 40, 3), given):
        if options.get("scale_factor", 1) * length < 1:
            continue
        theirs, own = matrices(length, options, mode, align_corners, dims=dims)
        assert np.abs(theirs - own).max() < 1e-12, (length, options)


@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", False), ("linear", False), ("linear", True)])
@pytest.mark.parametrize("given", [{"size": 7}, {"size": 15}, {"size": 25}, {"scale_factor": 0.7}, {"scale_factor": 2}])
@pytest.mark.parametrize("length", [1, 5, 12])
def test_reads_are_the_support_of_the_gradient(length, given, mode, align_corners):
    if given.get("scale_factor", 1) * length < 1:
        return
    theirs, _ = matrices(length, given, mode, align_corners)
    op = ops.parse_interpolate("f", (1, 1, length), **{"size": None, "scale_factor": None} | given, mode=mode,
                               align_corners=align_corners)  # fmt: skip
    for chosen in ([0], [len(theirs) - 1], list(range(0, len(theirs), 3))):
        expected = np.flatnonzero((theirs[chosen] > 1e-12).any(axis=0))
        assert op.reads(np.array(chosen), axis=0, size=length).tolist() == expected.tolist()


def test_reads_along_one_axis_of_an_image():
    op = ops.Interpolate(None, (0.5, 2.0), True)
    assert op.reads(np.array([0, 1]), axis=0, size=6).tolist() == [0, 1, 2, 3]
    assert op.reads(np.array([1]), axis=1, size=1).tolist() == [0]


def test_gradient_equals_differences(random, finite_difference, assert_close_to_differences):
    x, gradient = random.normal(size=(1, 2, 3, 4)), random.normal(size=(1, 2, 5, 3))
    for options in ({"mode": "nearest"}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}):
        differences = finite_difference(lambda z, o=options: ops.interpolate(z, size=(5, 3), **o), x, gradient)
        assert_close_to_differences(ops.interpolate_backward(gradient, x, size=(5, 3), **options), differences)


def test_forms_of_input(random):
    x = np.asfortranarray(random.normal(size=(2, 3, 5, 4)))[:, ::-1]
    single = x.astype(np.float32)
    for mode in ("nearest", "bilinear"):
        assert np.array_equal(ops.interpolate(x, size=7, mode=mode), ops.interpolate(x.copy(), size=7, mode=mode))
        assert ops.interpolate(single, size=7, mode=mode).dtype == np.float32
    gradient = np.ones((2, 3, 10, 8), dtype=np.float32)
    assert ops.interpolate_backward(gradient, single, scale_factor=2, mode="bilinear").dtype == np.float32
    # nearest copies: infinities stay where they are
    assert ops.interpolate([[[np.inf, 1.0]]], scale_factor=2).tolist() == [[[np.inf, np.inf, 1.0, 1.0]]]
    # 4 neighbours an output: 2 x 3 x 10 x 8 x 4 multiply-adds
    assert ops.Interpolate(None, (2.0, 2.0), True).macs(x.shape) == 1920
    assert ops.Interpolate((10, 8), None).flops(x.shape) == 0


def test_corners_by_hand():
    # Pixels 0 and 10 at 4 places: edges aligned, s = (i + 1/2) / 2 - 1/2 = -1/4 (0), 1/4, 3/4, 5/4 (1);
    # corners aligned, s = i / 3.
    x = [[[0.0, 10.0]]]
    assert np.allclose(ops.interpolate(x, size=4, mode="linear"), [[[0, 2.5, 7.5, 10]]], rtol=1e-15)
    aligned = ops.interpolate(x, size=4, mode="linear", align_corners=True)
    assert np.allclose(aligned, [[[0, 10 / 3, 20 / 3, 10]]], rtol=1e-15)


@pytest.mark.parametrize("is_linear", [False, True])
@pytest.mark.parametrize(("lengths", "given"), CASES, ids=str)
def test_working(assert_workings_add_up, lengths, given, is_linear, random):
    mode = LINEAR[len(lengths)] if is_linear else "nearest"
    x = random.normal(size=(2, 3, *lengths))
    for align_corners, seed in product((False, True), range(3)):
        options = {"size": None, "scale_factor": None} | given
        op = ops.parse_interpolate("f", x.shape, **options, mode=mode, align_corners=align_corners)
        assert_workings_add_up(op, x, seed=seed)


def test_working_of_a_large_image_fits_the_screen(random, assert_adds_up):
    x = random.normal(size=(1, 1, 200, 300)) * 1e-5
    op = ops.Interpolate((400, 450), None, True)
    assert_adds_up(op.working((0, 0, 399, 301), x), op.forward(x)[0, 0, 399, 301])
    gradient = random.normal(size=(1, 1, 400, 450))
    working = op.gradient_working("input", (0, 0, 199, 299), gradient, x)
    assert_adds_up(working, op.backward(gradient, x).inputs[0][0, 0, 199, 299])


def test_working_as_text():
    x = np.array([[[[0.0, 4, 8], [2, 6, 10]]]])
    assert str(ops.Interpolate((4, 6), None, True).working((0, 0, 2, 3), x)).splitlines() == [
        "interpolate at [0, 0, 2, 3]",
        "  y[i] = sum over the pixels k around i's place of weight[i, k] x[k], along each axis",
        "  [1, 1, 2, 3] -> [1, 1, 4, 6]",
        "  axis 2: place max(0, (2 + 0.5) x 2 / 4 - 0.5) = 0.75",
        "  axis 3: place max(0, (3 + 0.5) x 3 / 6 - 0.5) = 1.25",
        "  x (2 x 3)",
        "      0  [4] [8]",
        "      2  [6][10]",
        "  y = 0.25 x 0.75 x 4 + 0.25 x 0.25 x 8 + 0.75 x 0.75 x 6 + 0.75 x 0.25 x 10 = 6.5",
    ]
    assert "axis 2: place floor(3 x 1 / 2) = 1" in str(ops.Interpolate(None, (2.0,)).working((0, 0, 3), x[0]))
    assert "axis 3: place 3 x 2 / 5 = 1.2" in str(ops.Interpolate((2, 6), None, True, True).working((0, 0, 1, 3), x))
    kept = str(ops.Interpolate(None, (1.1, 1.1), True).working((0, 0, 1, 2), x))
    assert "axis 2: place 1 = 1" in kept


X = np.ones((1, 1, 4, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.interpolate(X), r"interpolate: `size` must be given, or scale_factor, got neither"),
        (lambda: ops.interpolate(X, size=2, scale_factor=2), r"`size` must be given, or scale_factor, got both"),
        (lambda: ops.interpolate(X, size=(2, 2, 2)), r"`size` must be a whole number from 1 on, or 2 of them"),
        (lambda: ops.interpolate(X, scale_factor=0), r"`scale_factor` must be a number above 0, or 2 of them, got 0"),
        (lambda: ops.interpolate(X, scale_factor=(1, 2, 3)), r"`scale_factor` must be a number above 0, or 2 of them"),
        (lambda: ops.interpolate(X, scale_factor=0.1), r"`x` must have pixels, .* got \(4, 4\) to \(0, 0\)"),
        (
            lambda: ops.interpolate(X, size=2, mode="linear"),
            r"interpolate: `mode` must be one of nearest, bilinear, got 'linear'\. Did you mean `bilinear`",
        ),
        (lambda: ops.interpolate(X[0, 0], size=2), r"`x` must have 3 to 5 axes, .* got 2: \(4, 4\)"),
        (lambda: ops.interpolate_backward(X, X, size=2), r"interpolate_backward: `grad_output` must have .* \(1, 1, 2"),
        (lambda: ops.Interpolate((2,), None).output_shape((1, 1, 4, 4)), r"`x` must have 3 axes, N, C and 1 in space"),
        (lambda: ops.Interpolate((2, 2), None).gradient_working("weight", (0,), X, X), r"interpolate: `of` must be"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
