from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.ops.true_convolution import (
    CONVENTIONS,
    TrueConvolution,
    convolve1d,
    convolve1d_backward,
    convolve2d,
    convolve2d_backward,
    correlate1d,
    correlate2d,
    parse_true_convolution,
    weighted_moving_average,
)

# Image and kernel of two course texts; the results were computed with SciPy's convolve2d and correlate2d.
IMAGE = [[3, 5, 2, 8, 1], [9, 7, 5, 4, 3], [2, 0, 6, 1, 6], [6, 3, 7, 9, 2], [1, 4, 9, 5, 1]]
KERNEL = [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
CONVOLVED = [[21, 15, 15], [22, 23, 14], [21, 21, 18]]
CORRELATED = [[25, 18, 17], [18, 22, 14], [20, 15, 23]]
PADDINGS = ["valid", "same", "full", 2, ((1, 0), (2, 3))]


def naive(image, kernel, convention):
    """S[i, j] of each pixel i, j by the equations, pixels outside the image 0."""
    (rows, columns), (m, n) = image.shape, kernel.shape
    result = np.zeros_like(image)
    for i, j, a, b in np.ndindex(rows, columns, m, n):
        u, v = {
            "previous": (i - a, j - b),
            "succeeding": (i + a, j + b),
            "centre": (i - (a - m // 2), j - (b - n // 2)),
        }[convention]
        if 0 <= u < rows and 0 <= v < columns:
            result[i, j] += image[u, v] * kernel[a, b]
    return result


def test_flip_of_a_course_text():
    assert convolve2d(IMAGE, KERNEL).tolist() == CONVOLVED
    assert correlate2d(IMAGE, KERNEL).tolist() == CORRELATED
    assert convolve2d(IMAGE, KERNEL, convention="succeeding").tolist() == CORRELATED
    assert correlate2d(IMAGE, np.rot90(KERNEL, 2)).tolist() == CONVOLVED
    symmetric = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]  # K(-a, -b) = K(a, b): the two coincide
    assert np.array_equal(convolve2d(IMAGE, symmetric), correlate2d(IMAGE, symmetric))


def test_centre_convention_of_a_course_text():
    # The text's 5 x 5 grid with a kernel of our own; the values were computed with SciPy's convolve2d(mode="same").
    image = [[0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 1]]
    kernel = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    expected = [[4, 6, 9, 9, 8], [9, 15, 18, 19, 16], [6, 15, 18, 22, 16], [12, 15, 8, 15, 15], [7, 12, 14, 17, 13]]
    assert convolve2d(image, kernel, padding="same", convention="centre").tolist() == expected


def test_one_dimension_of_the_course_texts():
    # Impulse response 0, 1, 0.5: the input, one step late, and half of it two steps late.
    assert convolve1d([1, 2, 3], [0, 1, 0.5], padding="full").tolist() == [0, 1, 2.5, 4, 1.5]
    # Seven weights, the newest first: 0.5 x 7 + 0.4 x 6 + 0.04 x 5 + 0.02 x (4 + 3) + 0.01 x (2 + 1) = 6.27.
    weights = [0.5, 0.4, 0.04, 0.02, 0.02, 0.01, 0.01]
    assert np.allclose(weighted_moving_average(range(1, 12), weights), [6.27, 7.27, 8.27, 9.27, 10.27], rtol=1e-14)
    assert weighted_moving_average([2, 4, 8], [0.75, 0.25], padding="same").tolist() == [1.5, 3.5, 7]
    assert correlate1d([1, 2, 3], [0, 1, 0.5], padding="same").tolist() == [2, 3.5, 3]


ODD, EVEN = [(3, 3), (1, 5), (5, 3)], [(2, 4)]  # an even kernel has no centre


@pytest.mark.parametrize(
    ("convention", "shape"),
    [(convention, shape) for convention in CONVENTIONS for shape in ODD + EVEN * (convention != "centre")],
)
def test_same_is_the_equation_of_the_convention(random, convention, shape):
    image, kernel = random.standard_normal((6, 7)), random.standard_normal(shape)
    expected = naive(image, kernel, convention)
    assert np.abs(convolve2d(image, kernel, padding="same", convention=convention) - expected).max() < 1e-12


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (1, 5)])
def test_valid_and_full_against_pytorch(random, shape):
    image, kernel = random.standard_normal((6, 7)), random.standard_normal(shape)
    turned = torch.tensor(np.rot90(kernel, 2).copy())[None, None]
    for padding, pads in (("valid", (0, 0)), ("full", (shape[0] - 1, shape[1] - 1)), (2, (2, 2))):
        expected = F.conv2d(torch.tensor(image)[None, None], turned, padding=pads)[0, 0].numpy()
        assert np.abs(convolve2d(image, kernel, padding=padding) - expected).max() < 1e-12


def test_algebra(random):
    f, g, h = (random.standard_normal(shape) for shape in ((4, 5), (3, 2), (2, 3)))

    def star(a, b):
        return convolve2d(a, b, padding="full")

    assert np.allclose(star(f, g), star(g, f), rtol=0, atol=1e-12)
    assert np.allclose(star(star(f, g), h), star(f, star(g, h)), rtol=0, atol=1e-12)
    assert np.allclose(star(f, g + h.T), star(f, g) + star(f, h.T), rtol=0, atol=1e-12)
    assert np.array_equal(star(f, [[1.0]]), f)
    assert not star(f, np.zeros((2, 2))).any()
    # Correlation does not commute: turning the roles round turns the result by 180 degrees.
    correlated = correlate2d(f, g, padding="full")
    assert np.allclose(correlate2d(g, f, padding="full"), np.rot90(correlated, 2), rtol=0, atol=1e-12)
    assert not np.allclose(correlate2d(g, f, padding="full"), correlated, rtol=0, atol=1e-3)


def test_correlation_is_conv2d(random):
    image, kernel = random.standard_normal((5, 6)), random.standard_normal((2, 4))
    for padding in PADDINGS:
        expected = conv2d(image[None, None], kernel[None, None], padding=padding)[0, 0]
        assert np.array_equal(correlate2d(image, kernel, padding=padding), expected)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_backward(random, finite_difference, assert_close_to_differences, convention, padding):
    options = {"padding": padding, "convention": convention}
    image, kernel = random.standard_normal((5, 6)), random.standard_normal((3, 5))
    grad_output = random.standard_normal(convolve2d(image, kernel, **options).shape)
    grad_image, grad_kernel = convolve2d_backward(grad_output, image, kernel, **options)
    by_image = finite_difference(lambda value: convolve2d(value, kernel, **options), image, grad_output)
    by_kernel = finite_difference(lambda value: convolve2d(image, value, **options), kernel, grad_output)
    assert_close_to_differences(grad_image, by_image)
    assert_close_to_differences(grad_kernel, by_kernel)


def test_backward_against_pytorch(random):
    arrays = random.standard_normal((5, 6)), random.standard_normal((3, 2))
    image, kernel = (torch.tensor(array, requires_grad=True) for array in arrays)
    expected = F.conv2d(image[None, None], kernel.flip(0, 1)[None, None], padding=(2, 1))[0, 0]
    grad_output = random.standard_normal(expected.shape)
    expected.backward(torch.tensor(grad_output))
    gradients = convolve2d_backward(grad_output, *arrays, padding="full")
    for gradient, tensor in zip(gradients, (image, kernel), strict=True):
        assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10
    signal, taps = arrays[0][0], arrays[1][0]
    grad_signal, grad_taps = convolve1d_backward(np.ones(5), signal, taps)
    assert np.allclose(grad_signal, np.convolve(np.ones(5), taps[::-1]), rtol=0, atol=1e-12)
    assert np.allclose(grad_taps, [signal[1:].sum(), signal[:-1].sum()], rtol=0, atol=1e-12)


def test_weight_gradient_of_a_course_text(random):
    # dE/dw = rot180(delta) * o with * the true convolution is the valid correlation of o with delta.
    o, delta = random.standard_normal((5, 5)), random.standard_normal((3, 3))
    by_rotation = convolve2d(o, np.rot90(delta, 2))
    _, grad_weight = convolve2d_backward(delta, o, np.zeros((3, 3)), convention="succeeding")
    assert np.allclose(by_rotation, grad_weight, rtol=0, atol=1e-12)


def test_arrays_of_any_layout_and_type(random):
    image, kernel = (random.standard_normal(shape).astype(np.float32) for shape in ((5, 6), (3, 3)))
    assert convolve2d(image, kernel).dtype == np.float32
    assert np.array_equal(convolve2d(np.asfortranarray(image)[::-1], kernel), convolve2d(image[::-1].copy(), kernel))


def test_costs_and_positions_read():
    op = TrueConvolution(((2, 2), (0, 0)))
    assert op.name == "convolve2d"
    assert op.macs((4, 5), kernel=(3, 2)) == 6 * 4 * 6  # 6 x 4 outputs of 3 x 2 products
    assert op.reads(np.array([0, 1]), axis=0, size=4, kernel=(3, 2)).tolist() == [-2, -1, 0, 1]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("padding", ["valid", "same", "full"])
def test_working(random, assert_adds_up, convention, padding):
    for shapes in (((5, 6), (3, 5)), ((7,), (3,))):
        image, kernel = (random.standard_normal(shape) for shape in shapes)
        op = parse_true_convolution("f", *shapes, padding=padding, convention=convention, dims=len(shapes[0]))
        y = op.forward(image, kernel=kernel)
        grad = random.standard_normal(y.shape)
        gradients = op.backward(grad, image, kernel=kernel)
        for part in (0, 1, 2):
            place = tuple((length - 1) * part // 2 for length in y.shape)
            assert_adds_up(op.working(place, image, kernel=kernel), y[place])
            for of, gradient in (("input", gradients.inputs[0]), ("kernel", gradients.parameters["kernel"])):
                place = tuple((length - 1) * part // 2 for length in gradient.shape)
                assert_adds_up(op.gradient_working(of, place, grad, image, kernel=kernel), gradient[place])


def test_working_names_the_pixels_as_the_equation_does():
    image, kernel = np.arange(16.0).reshape(4, 4), np.arange(9.0).reshape(3, 3)
    for convention, label, first in (
        ("previous", "S[2, 2]", "I[0, 0] K[2, 2]"),  # I[2 - 2, 2 - 2] K[2, 2]
        ("centre", "S[1, 1]", "I[0, 0] K[2, 2]"),  # I[1 - 1, 1 - 1] K[1 + 1, 1 + 1]
        ("succeeding", "S[0, 0]", "I[0, 0] K[0, 0]"),
    ):
        working = TrueConvolution(((0, 0), (0, 0)), convention).working((0, 0), image, kernel=kernel)
        assert working.sums()[0].label == label
        assert working.sums()[0].flat()[0].where == first
        assert working.equation == CONVENTIONS[convention][1]
        assert ("K rotated by 180 degrees" in str(working)) == (convention != "succeeding")


ERRORS = [
    (
        {"image": [1, 2, 3]},
        r"convolve2d: `image` must have 2 axes with at least one value, got shape \(3,\)\. Use conv2d",
    ),
    ({"kernel": np.ones((0, 2))}, r"`kernel` must have 2 axes with at least one value, got shape \(0, 2\)"),
    ({"convention": "middle"}, r"`convention` must be one of previous, centre, succeeding, got 'middle'"),
    (
        {"kernel": np.ones((2, 3)), "convention": "centre"},
        r"`kernel` must have odd lengths with convention='centre', got \(2, 3\): .* make it \(3, 3\), or take",
    ),
    ({"kernel": np.ones((7, 3))}, r"convolve2d: `kernel_size` must fit into the padded input, got a window of 7"),
    ({"padding": "some"}, r"`padding` must be valid, same, full"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors(change, message):
    with pytest.raises(UsageError, match=message):
        convolve2d(**({"image": IMAGE, "kernel": KERNEL} | change))


def test_errors_of_gradients():
    with pytest.raises(UsageError, match="convolve2d_backward: `grad_output` must have the output's shape"):
        convolve2d_backward(np.ones((2, 2)), IMAGE, KERNEL)
    op = TrueConvolution(((0, 0), (0, 0)))
    with pytest.raises(UsageError, match="convolve2d: `of` must be something"):
        op.gradient_working("weight", (0, 0), np.ones((3, 3)), np.array(IMAGE), kernel=np.array(KERNEL))
