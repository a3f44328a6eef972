from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import transposed_convolution
from striate.ops.convolution import conv2d, conv2d_backward
from striate.ops.transposed_convolution import (
    conv_transpose2d,
    conv_transpose2d_backward,
    parse_transposed_convolution,
)

# (shape of x, shape of weight, options); in "far" output_padding reaches the stride, which a wide dilation allows.
CASES = {
    "plain": ((2, 3, 4, 5), (3, 4, 3, 2), {}),
    "strided": ((2, 3, 4, 3), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "groups": ((1, 4, 3, 5), (4, 3, 2, 3), {"stride": (1, 3), "groups": 2, "padding": (0, 1)}),
    "depthwise": ((2, 3, 3, 4), (3, 2, 3, 3), {"stride": 2, "groups": 3}),
    "far": ((1, 2, 3, 4), (2, 3, 2, 3), {"stride": (1, 2), "dilation": (3, 4), "output_padding": (2, 3), "padding": 1}),
    "1d": ((2, 4, 5), (4, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    "3d": ((1, 2, 2, 3, 2), (2, 3, 2, 1, 3), {"stride": (2, 1, 2), "padding": (0, 0, 1), "dilation": (1, 2, 1)}),
}


def arrays(random, x, weight, options, dtype=np.float64):
    shapes = (x, weight, (weight[1] * options.get("groups", 1),))
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def functions(weight):
    name = f"conv_transpose{len(weight) - 2}d"
    return getattr(transposed_convolution, name), getattr(transposed_convolution, f"{name}_backward"), getattr(F, name)


def operation(x, weight, options):
    return parse_transposed_convolution(f"conv_transpose{len(x) - 2}d", x, weight, dims=len(x) - 2, **options)


def naive(x, weight, op, sizes):
    """Every pixel stamps the kernel; what falls outside is cut off."""
    depth = weight.shape[1]
    y = np.zeros((len(x), depth * op.groups, *sizes))
    for n, c, i, j in np.ndindex(*x.shape):
        group = c // (x.shape[1] // op.groups)
        for o, a, b in np.ndindex(*weight.shape[1:]):
            u = i * op.stride[0] - op.pads[0][0] + a * op.dilation[0]
            v = j * op.stride[1] - op.pads[1][0] + b * op.dilation[1]
            if 0 <= u < sizes[0] and 0 <= v < sizes[1]:
                y[n, group * depth + o, u, v] += x[n, c, i, j] * weight[c, o, a, b]
    return y


def test_stamps_by_hand():
    # Stride 2, kernel (1, 10, 100): the stamps of 1 and 2 overlap in one pixel, where 100 x 1 + 1 x 2 = 102.
    y = conv_transpose2d([[[[1, 2]]]], [[[[1, 10, 100]]]], [0.5], stride=(1, 2))
    assert y.tolist() == [[[[1.5, 10.5, 102.5, 20.5, 200.5]]]]
    assert conv_transpose2d([[[[1, 2]]]], [[[[1, 10, 100]]]], stride=(1, 2), padding=((0, 0), (2, 1))).tolist() == [
        [[[102, 20]]]
    ]


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("1d", "3d")])
def test_forward_is_the_definition(random, name):
    shape_x, shape_weight, options = CASES[name]
    x, weight, _ = arrays(random, shape_x, shape_weight, options)
    y = conv_transpose2d(x, weight, **options)
    assert np.abs(y - naive(x, weight, operation(shape_x, shape_weight, options), y.shape[2:])).max() < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward_against_pytorch(random, name):
    shape_x, shape_weight, options = CASES[name]
    forward, backward, reference = functions(shape_weight)
    x, weight, bias = arrays(random, shape_x, shape_weight, options)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    expected = reference(*tensors, **options)
    y = forward(x, weight, bias, **options)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.standard_normal(y.shape)
    expected.backward(torch.tensor(grad_output))
    for gradient, tensor in zip(backward(grad_output, x, weight, **options), tensors, strict=True):
        assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


@pytest.mark.parametrize("name", ["groups", "far"])
def test_backward_against_differences(random, finite_difference, assert_close_to_differences, name):
    shape_x, shape_weight, options = CASES[name]
    x, weight, bias = arrays(random, shape_x, shape_weight, options)
    grad_output = random.standard_normal(conv_transpose2d(x, weight, **options).shape)
    grads = conv_transpose2d_backward(grad_output, x, weight, **options)
    calls = [
        lambda value: conv_transpose2d(value, weight, bias, **options),
        lambda value: conv_transpose2d(x, value, bias, **options),
        lambda value: conv_transpose2d(x, weight, value, **options),
    ]
    for gradient, call, at in zip(grads, calls, (x, weight, bias), strict=True):
        assert_close_to_differences(gradient, finite_difference(call, at, grad_output))


def test_it_is_the_gradient_of_convolution(random):
    x, weight = random.standard_normal((2, 3, 7, 6)), random.standard_normal((4, 3, 3, 2))
    grad_output = random.standard_normal(conv2d(x, weight, stride=(2, 1), padding=1).shape)
    grad_input, _, _ = conv2d_backward(grad_output, x, weight, stride=(2, 1), padding=1)
    assert np.array_equal(conv_transpose2d(grad_output, weight, stride=(2, 1), padding=1), grad_input)
    # Transposed as a matrix is: <A x, g> = <x, A^T g>.
    y = conv2d(x, weight, stride=(2, 1), padding=1)
    assert np.isclose(np.vdot(y, grad_output), np.vdot(x, grad_input), rtol=1e-12)


def test_arrays_of_any_layout_and_type(random):
    x, weight, bias = arrays(random, (2, 3, 4, 5), (3, 2, 3, 3), {}, np.float32)
    assert conv_transpose2d(x, weight, bias, stride=2).dtype == np.float32
    turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert np.array_equal(conv_transpose2d(turned, weight), conv_transpose2d(x, weight))


def test_costs_and_positions_read():
    op = operation((2, 3, 4, 5), (3, 2, 3, 3), {"stride": 2, "padding": 1})
    assert op.name == "conv_transpose2d"
    assert op.macs((2, 3, 4, 5), weight=(3, 2, 3, 3)) == 2 * 4 * 5 * 3 * 2 * 9
    for axis, size in ((0, 4), (1, 5)):
        for position in range(2 * size - 1):
            # i x 2 - 1 + a = position, for a tap a of three.
            expected = [i for i in range(size) if 0 <= position + 1 - 2 * i < 3]
            read = op.reads(np.array([position]), axis=axis, size=size, weight=(3, 2, 3, 3))
            assert read.tolist() == expected


@pytest.mark.parametrize("name", CASES)
def test_working(random, assert_adds_up, name):
    shape_x, shape_weight, options = CASES[name]
    x, weight, bias = arrays(random, shape_x, shape_weight, options)
    op = operation(shape_x, shape_weight, options)
    y = op.forward(x, weight=weight, bias=bias)
    grad = random.standard_normal(y.shape)
    gradients = op.backward(grad, x, weight=weight, bias=bias)
    maps = {"input": gradients.inputs[0], **gradients.parameters}
    for part in (0, 2, 1):  # the first place, the middle, the last
        place = tuple((length - 1) * part // 2 for length in y.shape)
        assert_adds_up(op.working(place, x, weight=weight, bias=bias), y[place])
        for of, gradient in maps.items():
            place = tuple((length - 1) * part // 2 for length in gradient.shape)
            assert_adds_up(op.gradient_working(of, place, grad, x, weight=weight, bias=bias), gradient[place])


def test_working_shows_the_stamps():
    x, weight = np.array([[[[1.0, 2.0]]]]), np.array([[[[1.0, 10.0, 100.0]]]])
    op = operation(x.shape, weight.shape, {"stride": (1, 2)})
    working = op.working((0, 0, 0, 2), x, weight=weight, bias=np.array([0.5]))
    for line in (
        "y[o,u,v] = bias[o] + sum of x[c,i,j] weight[c,o,a,b] over c and all taps on u,v",
        "W_out = (2 - 1) x 2 - 0 - 0 + 1 x (3 - 1) + 0 + 1 = 5",
        "W: 2j + b = 2 for (j, b) = (0, 2), (1, 0)",
        "channel 0 = 1 x 100 + 2 x 1 = 102",
        "y = 102 + 0.5 = 102.5",
    ):
        assert line in str(working)


GOOD_X, GOOD_WEIGHT = np.ones((1, 4, 3, 3)), np.ones((4, 2, 3, 3))
ERRORS = [
    ({"x": np.ones((4, 3, 3))}, r"conv_transpose2d: `x` must have 4 axes \(N, C, H, W\)"),
    ({"weight": np.ones((4, 3, 3))}, r"`weight` must have 4 axes \(C_in, C_out / groups, kH, kW\), got 3"),
    ({"weight": np.ones((3, 2, 3, 3))}, r"C_in = 4 channels in its first axis, got 3: .* Set in_channels=4"),
    ({"groups": 3}, r"`groups` must divide C_in = 4, got 3\. Set groups=1 or 2 or 4, or change C_in"),
    ({"bias": np.ones(4)}, r"`bias` must have one value a filter, shape \(2,\), got \(4,\)"),
    ({"padding": "same"}, r"`padding` must be a number of pixels to cut off, got 'same'"),
    ({"padding": 3}, r"`padding` must leave at least one pixel, got \(3, 3\) cut off H = 5\. Cut off 2 less"),
    ({"output_padding": 1}, r"`output_padding` must be below the stride or the dilation, got 1 with stride 1"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors(change, message):
    with pytest.raises(UsageError, match=message):
        conv_transpose2d(**({"x": GOOD_X, "weight": GOOD_WEIGHT} | change))


def test_errors_of_gradients():
    with pytest.raises(UsageError, match=r"`grad_output` must have the output's shape \(1, 2, 5, 5\), got"):
        conv_transpose2d_backward(np.ones((1, 2, 5, 4)), GOOD_X, GOOD_WEIGHT)
    op = operation(GOOD_X.shape, GOOD_WEIGHT.shape, {})
    with pytest.raises(UsageError, match="conv_transpose2d: `of` must be something"):
        op.gradient_working("bias", (0,), np.ones((1, 2, 5, 5)), GOOD_X, weight=GOOD_WEIGHT)
