from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import convolution
from striate.ops.convolution import Convolution, conv2d, conv2d_backward, parse_convolution

# (shape of x, shape of weight, options): one, two and three dimensions, odd sizes, groups, depthwise, 1 x 1, and
# stride, padding and dilation that differ by axis and leave pixels over.
CASES = {
    "plain": ((2, 3, 7, 6), (4, 3, 3, 3), {}),
    "padded": ((2, 3, 7, 5), (4, 3, 3, 2), {"padding": (1, 2)}),
    "strided": ((2, 3, 8, 9), (4, 3, 3, 2), {"stride": (2, 3), "padding": 1}),
    "dilated": ((1, 2, 9, 11), (3, 2, 3, 4), {"dilation": (2, 3), "stride": (1, 2), "padding": (2, 0)}),
    "groups": ((2, 4, 5, 7), (6, 2, 3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    "depthwise": ((2, 3, 6, 5), (6, 1, 3, 3), {"groups": 3, "padding": 1, "dilation": 2}),
    "pointwise": ((2, 5, 4, 3), (4, 5, 1, 1), {"stride": 2}),
    "whole": ((2, 3, 5, 4), (4, 3, 5, 4), {}),
    "1d": ((2, 4, 11), (6, 2, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
    "3d": ((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), {"stride": (1, 2, 2), "padding": (1, 0, 1), "dilation": (2, 1, 1)}),
}


def arrays(random, x, weight, dtype=np.float64):
    return [random.standard_normal(shape).astype(dtype) for shape in (x, weight, weight[:1])]


def functions(weight):
    dims = len(weight) - 2
    names = f"conv{dims}d"
    return getattr(convolution, names), getattr(convolution, f"{names}_backward"), getattr(F, names)


def operation(x, weight, options):
    dims = len(x) - 2
    return parse_convolution(f"conv{dims}d", x, weight, dims=dims, **options)


def naive(x, weight, bias, *, stride=1, pads=((0, 0), (0, 0)), dilation=1, groups=1):
    """The definition, loop by loop; pixels outside the image are 0."""
    (samples, _, height, width), (filters, depth, rows, columns) = x.shape, weight.shape
    (stride_h, stride_w), (gap_h, gap_w) = (np.broadcast_to(option, 2) for option in (stride, dilation))
    lengths = [
        (size + sum(pad) - gap * (kernel - 1) - 1) // step + 1
        for size, pad, gap, kernel, step in zip(
            x.shape[2:], pads, (gap_h, gap_w), (rows, columns), (stride_h, stride_w), strict=True
        )
    ]
    y = np.zeros((samples, filters, *lengths))
    for n, o, i, j in np.ndindex(*y.shape):
        total = bias[o]
        for c, a, b in np.ndindex(depth, rows, columns):
            u, v = i * stride_h - pads[0][0] + a * gap_h, j * stride_w - pads[1][0] + b * gap_w
            if 0 <= u < height and 0 <= v < width:
                total += weight[o, c, a, b] * x[n, o // (filters // groups) * depth + c, u, v]
        y[n, o, i, j] = total
    return y


def test_first_window_of_a_course_text():
    # 3 + 0 + 0 + 9 + 7 + 0 + 0 + 0 + 6 = 25, printed in the text whose example this is.
    image = [[3, 5, 2], [9, 7, 5], [2, 0, 6]]
    assert conv2d([[image]], [[[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]]).item() == 25


def test_exercise_of_a_course_text():
    # Vertical edges, printed in the text's exercise, then its bias of 3 (chosen here) on top.
    image = [[0, 5, 5, 5, 5, 0]] * 2 + [[0, 5, 0, 5, 5, 0]] * 4
    expected = np.array([[-10, 0, -5, 15], [-5, 0, -10, 15], [0, 0, -15, 15], [0, 0, -15, 15]])
    kernel = [[[[1, 0, -1]] * 3]]
    assert np.array_equal(conv2d([[image]], kernel)[0, 0], expected)
    assert np.array_equal(conv2d([[image]], kernel, [3])[0, 0], expected + 3)


def test_sizes_of_named_paddings():
    x, weight = np.ones((1, 1, 5, 7)), np.ones((1, 1, 2, 3))
    sizes = {padding: conv2d(x, weight, padding=padding).shape[2:] for padding in ("valid", "same", "full")}
    assert sizes == {"valid": (4, 5), "same": (5, 7), "full": (6, 9)}
    assert conv2d(x, weight, padding="same", stride=2).shape[2:] == (3, 4)  # ceil(5 / 2), ceil(7 / 2)
    assert conv2d(x, weight, padding="valid")[0, 0, 0, 0] == 6  # six ones under the kernel
    assert conv2d(x, weight, padding="full")[0, 0, 0, 0] == 1  # one


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("1d", "3d")])
def test_forward_is_the_definition(random, name):
    shape_x, shape_weight, options = CASES[name]
    x, weight, bias = arrays(random, shape_x, shape_weight)
    op = operation(shape_x, shape_weight, options)
    expected = naive(x, weight, bias, stride=op.stride, pads=op.pads, dilation=op.dilation, groups=op.groups)
    assert np.abs(conv2d(x, weight, bias, **options) - expected).max() < 1e-12


@pytest.mark.parametrize("pads", [((0, 2), (1, 0)), ((2, 0), (0, 3))])
def test_padding_may_differ_before_and_after(random, pads):
    x, weight, bias = arrays(random, (2, 3, 5, 6), (4, 3, 3, 2))
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    assert np.array_equal(conv2d(x, weight, bias, padding=pads), conv2d(padded, weight, bias))
    grad = random.standard_normal(conv2d(x, weight, padding=pads).shape)
    grad_input, grad_weight, _ = conv2d_backward(grad, x, weight, padding=pads)
    expected = conv2d_backward(grad, padded, weight)
    (top, _), (left, _) = pads
    assert np.array_equal(grad_input, expected[0][:, :, top : top + 5, left : left + 6])
    assert np.array_equal(grad_weight, expected[1])


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward_against_pytorch(random, name):
    shape_x, shape_weight, options = CASES[name]
    forward, backward, reference = functions(shape_weight)
    x, weight, bias = arrays(random, shape_x, shape_weight)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    expected = reference(*tensors, **options)
    y = forward(x, weight, bias, **options)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.standard_normal(y.shape)
    expected.backward(torch.tensor(grad_output))
    for gradient, tensor in zip(backward(grad_output, x, weight, **options), tensors, strict=True):
        assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


@pytest.mark.parametrize("name", ["groups", "dilated", "1d", "3d"])
def test_backward_against_differences(random, finite_difference, assert_close_to_differences, name):
    shape_x, shape_weight, options = CASES[name]
    forward, backward, _ = functions(shape_weight)
    x, weight, bias = arrays(random, shape_x, shape_weight)
    grad_output = random.standard_normal(forward(x, weight, **options).shape)
    grads = backward(grad_output, x, weight, **options)
    calls = [
        lambda value: forward(value, weight, bias, **options),
        lambda value: forward(x, value, bias, **options),
        lambda value: forward(x, weight, value, **options),
    ]
    for gradient, call, at in zip(grads, calls, (x, weight, bias), strict=True):
        assert_close_to_differences(gradient, finite_difference(call, at, grad_output))


def test_operation_agrees_with_the_functions(random):
    shape_x, shape_weight, options = CASES["groups"]
    x, weight, bias = arrays(random, shape_x, shape_weight)
    op = operation(shape_x, shape_weight, options)
    y = op.forward(x, weight=weight, bias=bias)
    assert np.array_equal(y, conv2d(x, weight, bias, **options))
    gradients = op.backward(y, x, weight=weight, bias=bias)
    expected = conv2d_backward(y, x, weight, **options)
    assert np.array_equal(gradients.inputs[0], expected[0])
    assert np.array_equal(gradients.parameters["weight"], expected[1])
    assert np.array_equal(gradients.parameters["bias"], expected[2])
    assert set(op.backward(y, x, weight=weight).parameters) == {"weight"}


def test_arrays_of_any_layout_and_type(random):
    x, weight, bias = arrays(random, (2, 3, 6, 5), (4, 3, 3, 3), np.float32)
    assert conv2d(x, weight, bias).dtype == np.float32
    assert {grad.dtype for grad in conv2d_backward(conv2d(x, weight), x, weight)} == {np.dtype(np.float32)}
    turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert np.array_equal(conv2d(turned, weight[..., ::-1]), conv2d(x, weight[..., ::-1].copy()))
    assert conv2d([[[[1, 2]]]], [[[[3]]]]).dtype == np.float64
    before = x.copy(), weight.copy()
    conv2d_backward(conv2d(x, weight, padding=1), x, weight, padding=1)
    assert np.array_equal(x, before[0])
    assert np.array_equal(weight, before[1])
    assert conv2d(x[:0], weight, padding=1).shape == (0, 4, 6, 5)


def test_names_and_costs():
    assert [Convolution(d, (1,) * d, ((0, 0),) * d, (1,) * d).name for d in (1, 2, 3)] == ["conv1d", "conv2d", "conv3d"]
    # The 3 x 3 layer of the speed target: 32 x 64 x 56 x 56 outputs of 64 x 3 x 3 products each.
    op = operation((32, 64, 56, 56), (64, 64, 3, 3), {"padding": 1})
    assert op.macs((32, 64, 56, 56), weight=(64, 64, 3, 3)) == 32 * 64 * 56 * 56 * 576
    assert op.flops((32, 64, 56, 56), weight=(64, 64, 3, 3)) == 2 * 32 * 64 * 56 * 56 * 576
    depthwise = operation((1, 8, 5, 5), (8, 1, 3, 3), {"groups": 8})
    assert depthwise.macs((1, 8, 5, 5), weight=(8, 1, 3, 3)) == 8 * 9 * 9
    assert depthwise.equation == "y[o,i,j] = bias[o] + sum over c,a,b of weight[o,c,a,b] x[c,i+a,j+b]"


def test_positions_read():
    op = Convolution(2, (2, 1), ((1, 1), (0, 0)), (1, 3))
    # Rows: 2 x 0 - 1 + {0, 1, 2} and 2 x 2 - 1 + {0, 1, 2}; columns 4 + {0, 3, 6}.
    assert op.reads(np.array([0, 2]), axis=0, size=7, weight=(1, 1, 3, 3)).tolist() == [-1, 0, 1, 3, 4, 5]
    assert op.reads(np.array([4]), axis=1, size=20, weight=(1, 1, 3, 3)).tolist() == [4, 7, 10]


@pytest.mark.parametrize("name", CASES)
def test_working(random, assert_adds_up, name):
    shape_x, shape_weight, options = CASES[name]
    x, weight, bias = arrays(random, shape_x, shape_weight)
    op = operation(shape_x, shape_weight, options)
    y = op.forward(x, weight=weight, bias=bias)
    grad = random.standard_normal(y.shape)
    gradients = op.backward(grad, x, weight=weight, bias=bias)
    maps = {"input": gradients.inputs[0], **gradients.parameters}
    for last in (False, True):
        place = tuple(length - 1 if last else 0 for length in y.shape)
        assert_adds_up(op.working(place, x, weight=weight, bias=bias), y[place])
        assert_adds_up(op.working(place, x, weight=weight), y[place] - bias[place[1]])
        for of, gradient in maps.items():
            place = tuple(length - 1 if last else 0 for length in gradient.shape)
            assert_adds_up(op.gradient_working(of, place, grad, x, weight=weight, bias=bias), gradient[place])


def test_working_shows_the_arithmetic():
    x = np.arange(1.0, 21.0).reshape(1, 1, 4, 5)
    weight = np.array([[1.0, 0.0, 2.0]] * 3)[None, None]
    op = operation(x.shape, weight.shape, {"stride": 2, "padding": 1})
    working = op.working((0, 0, 1, 0), x, weight=weight, bias=np.array([0.5]))
    text = " ".join(str(working).split())
    for line in (
        "y[o,i,j] = bias[o] + sum over c,a,b of weight[o,c,a,b] x[c,2i-1+a,2j-1+b]",
        "H_out = floor((4 + 1 + 1 - 1 x (3 - 1) - 1) / 2) + 1 = 2",
        "window: H 2 to 4, W 0 to 2 of the padded x",
        "x[0, 0], padded (6 x 7)",
        "[0] [6] [7] 8 9 10 0",
        "channel 0 = 0 x 1 + 6 x 0 + 7 x 2 + 0 x 1 + 11 x 0 + 12 x 2 + 0 x 1 + 16 x 0 + 17 x 2 = 72",
        "y = 72 + 0.5 = 72.5",
    ):
        assert line in text
    (total,) = working.sums()
    wheres = [term.where for term in total.flat()]
    assert wheres[0] == "padding weight[0, 0, 0, 0]"
    assert wheres[5] == "x[0, 0, 2, 1] weight[0, 0, 1, 2]"
    assert len(wheres) == 10  # nine products and the bias: an n x n kernel has n^2 terms, not (n + 1)^2


def test_working_shows_the_heaviest_channels(random):
    x, weight, _ = arrays(random, (1, 5, 3, 3), (1, 5, 3, 3))
    x[0, [1, 3]] *= 1e-3
    text = str(operation(x.shape, weight.shape, {}).working((0, 0, 0, 0), x, weight=weight))
    assert [f"x[0, {c}] (3 x 3)" in text for c in range(5)] == [True, False, True, False, True]
    assert "drawn are the 3 channels that weigh most, the sum has 2 more" in text


def test_working_of_many_channels_fits_the_screen(random, assert_adds_up):
    x, weight, bias = arrays(random, (2, 40, 6, 7), (30, 40, 3, 3))
    op = operation(x.shape, weight.shape, {"padding": 1})
    y = op.forward(x, weight=weight, bias=bias)
    gradients = op.backward(y, x, weight=weight, bias=bias)
    assert_adds_up(op.working((1, 2, 3, 4), x, weight=weight, bias=bias), y[1, 2, 3, 4])
    of_input = op.gradient_working("input", (1, 2, 3, 4), y, x, weight=weight)
    assert_adds_up(of_input, gradients.inputs[0][1, 2, 3, 4])


def test_gradient_working_names_the_readers():
    op = operation((1, 1, 5, 5), (1, 1, 3, 3), {"stride": 2})
    x, weight = np.ones((1, 1, 5, 5)), np.arange(9.0).reshape(1, 1, 3, 3)
    grad = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    working = op.gradient_working("input", (0, 0, 2, 1), grad, x, weight=weight)
    # Row 2 is the last row of window row 0 and the first of window row 1; column 1 only the middle of window column 0.
    assert "H: 2i + a = 2 for (i, a) = (0, 2), (1, 0)" in str(working)
    assert "W: 2j + b = 1 for (j, b) = (0, 1)" in str(working)
    assert working.value == 1 * 7 + 100 * 1
    nobody = parse_convolution("conv2d", (1, 1, 4, 4), (1, 1, 1, 1), stride=2)
    unread = nobody.gradient_working("input", (0, 0, 1, 0), grad, np.ones((1, 1, 4, 4)), weight=np.ones((1, 1, 1, 1)))
    assert unread.value == 0
    assert "no window has a tap on this place of x" in str(unread)


def test_working_of_float32_is_exact(random, assert_adds_up):
    x, weight, bias = arrays(random, (1, 3, 5, 5), (2, 3, 3, 3), np.float32)
    op = operation(x.shape, weight.shape, {})
    exact = op.forward(*(a.astype(np.float64) for a in (x,)), weight=weight.astype(float), bias=bias.astype(float))
    assert_adds_up(op.working((0, 1, 2, 1), x, weight=weight, bias=bias), exact[0, 1, 2, 1])


GOOD_X, GOOD_WEIGHT = np.ones((1, 4, 5, 5)), np.ones((6, 4, 3, 3))
ERRORS = [
    ({"x": np.ones((4, 5, 5))}, r"conv2d: `x` must have 4 axes \(N, C, H, W\), got 3"),
    ({"weight": np.ones((4, 3, 3))}, r"`weight` must have 4 axes \(C_out, C_in / groups, kH, kW\), got 3: \(4, 3, 3\)"),
    ({"weight": np.ones((6, 4, 0, 3))}, r"`weight` must have at least one value along each axis, got \(6, 4, 0, 3\)"),
    (
        {"weight": np.ones((6, 3, 3, 3))},
        r"C_in / groups = 4 / 1 = 4 channels in its second axis, got 3: .*in_channels=4",
    ),
    (
        {"groups": 2},
        r"`weight` must have C_in / groups = 4 / 2 = 2 channels .* makes it \(6, 2, 3, 3\), or .* 8 channels",
    ),
    ({"groups": 3}, r"`groups` must divide C_in = 4 and C_out = 6, got 3\. Set groups=1 or 2, or change the channels"),
    ({"groups": 0}, r"`groups` must divide C_in = 4 and C_out = 6, got 0"),
    ({"bias": np.ones(4)}, r"`bias` must have one value a filter, shape \(6,\), got \(4,\)\. Give 6 values"),
    (
        {"weight": np.ones((6, 4, 7, 3))},
        r"`kernel_size` must fit .* window of 7 pixels .* H = 5 \+ 0 \+ 0\. Pad by 2 more",
    ),
    ({"stride": 0}, r"`stride` must be a whole number from 1 on, or 2 of them, got 0"),
    ({"dilation": (1, 2, 3)}, r"`dilation` must be a whole number from 1 on, or 2 of them, got \(1, 2, 3\)"),
    ({"padding": "sane"}, r"`padding` must be valid, same, full or a number of pixels, got 'sane'"),
    ({"x": [["a"]]}, r"`x` must hold real numbers"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors(change, message):
    with pytest.raises(UsageError, match=message):
        conv2d(**({"x": GOOD_X, "weight": GOOD_WEIGHT} | change))


def test_errors_of_gradients_and_positions():
    with pytest.raises(UsageError, match=r"conv2d_backward: `grad_output` must have the output's shape \(1, 6, 3, 3\)"):
        conv2d_backward(np.ones((1, 6, 3, 2)), GOOD_X, GOOD_WEIGHT)
    op = operation(GOOD_X.shape, GOOD_WEIGHT.shape, {})
    with pytest.raises(UsageError, match=r"`position` must be one index an axis, from 0 to less than \(1, 6, 3, 3\)"):
        op.working((0, 0, 3, 0), GOOD_X, weight=GOOD_WEIGHT)
    for of in ("mean", "bias"):
        with pytest.raises(UsageError, match=f"conv2d: `of` must be something .* got '{of}'"):
            op.gradient_working(of, (0,), np.ones((1, 6, 3, 3)), GOOD_X, weight=GOOD_WEIGHT)


@pytest.mark.slow
def test_speed_of_the_target():
    # 32 x 64 x 56 x 56 with 64 filters 3 x 3 in under 2 s on one core.
    x, weight = np.ones((32, 64, 56, 56)), np.ones((64, 64, 3, 3))
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        conv2d(x, weight, padding=1)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 2.0
