from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops.convolution import conv2d, conv2d_backward
from striate.ops.tiled_convolution import parse_tiled_convolution, tiled_conv2d, tiled_conv2d_backward

# (shape of x, tiles, (C_out, kH, kW), options); "local" has one kernel a position.
CASES = {
    "columns": ((2, 3, 5, 6), (1, 2), (4, 3, 3), {"padding": 1}),
    "uneven": ((2, 3, 7, 6), (2, 3), (2, 3, 2), {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}),
    "asymmetric": ((1, 2, 6, 5), (3, 2), (3, 2, 3), {"padding": ((0, 2), (1, 0)), "stride": 2}),
    "local": ((1, 2, 4, 5), (2, 3), (3, 3, 3), {}),
}


def arrays(random, x, tiles, kernel, dtype=np.float64):
    weight = (*tiles, kernel[0], x[1], *kernel[1:])
    return [random.standard_normal(shape).astype(dtype) for shape in (x, weight, weight[:3])]


def by_pytorch(x, weight, bias, tiles, options):
    """Convolve with each kernel everywhere, and keep it where it has its turn."""
    pads = options.get("padding", 0)
    pads = ((pads, pads),) * 2 if isinstance(pads, int) else pads
    padded = torch.nn.functional.pad(x, (*pads[1], *pads[0]))
    rest = {key: value for key, value in options.items() if key != "padding"}
    maps = [
        [torch.nn.functional.conv2d(padded, weight[r, q], bias[r, q], **rest) for q in range(tiles[1])]
        for r in range(tiles[0])
    ]
    rows, columns = maps[0][0].shape[2:]
    return torch.stack(
        [
            torch.stack([maps[i % tiles[0]][j % tiles[1]][:, :, i, j] for j in range(columns)], dim=-1)
            for i in range(rows)
        ],
        dim=-2,
    )


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward_against_pytorch(random, name):
    shape, tiles, kernel, options = CASES[name]
    x, weight, bias = arrays(random, shape, tiles, kernel)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    expected = by_pytorch(*tensors, tiles, options)
    y = tiled_conv2d(x, weight, bias, tiles=tiles, **options)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.standard_normal(y.shape)
    expected.backward(torch.tensor(grad_output))
    gradients = tiled_conv2d_backward(grad_output, x, weight, tiles=tiles, **options)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


def test_one_tile_is_convolution(random):
    x, weight, bias = random.standard_normal((2, 3, 6, 5)), random.standard_normal((4, 3, 3, 3)), np.arange(4.0)
    y = tiled_conv2d(x, weight[None, None], bias[None, None], tiles=1, padding=1, stride=2)
    assert np.allclose(y, conv2d(x, weight, bias, padding=1, stride=2), rtol=0, atol=1e-12)
    ours = tiled_conv2d_backward(y, x, weight[None, None], tiles=1, padding=1, stride=2)
    for gradient, expected in zip(ours, conv2d_backward(y, x, weight, padding=1, stride=2), strict=True):
        assert np.allclose(gradient.reshape(expected.shape), expected, rtol=0, atol=1e-12)


def test_one_tile_a_position_is_locally_connected(random):
    x, weight, bias = arrays(random, *CASES["local"][:3])
    y = tiled_conv2d(x, weight, bias, tiles=(2, 3))
    for i, j in np.ndindex(2, 3):
        window = x[0, :, i : i + 3, j : j + 3]
        expected = [np.sum(window * weight[i, j, o]) + bias[i, j, o] for o in range(3)]
        assert np.allclose(y[0, :, i, j], expected, rtol=0, atol=1e-12)


def test_backward_against_differences(random, finite_difference, assert_close_to_differences):
    shape, tiles, kernel, options = CASES["uneven"]
    x, weight, bias = arrays(random, shape, tiles, kernel)
    options = options | {"tiles": tiles}
    grad_output = random.standard_normal(tiled_conv2d(x, weight, **options).shape)
    gradients = tiled_conv2d_backward(grad_output, x, weight, **options)
    calls = [
        lambda value: tiled_conv2d(value, weight, bias, **options),
        lambda value: tiled_conv2d(x, value, bias, **options),
        lambda value: tiled_conv2d(x, weight, value, **options),
    ]
    for gradient, call, at in zip(gradients, calls, (x, weight, bias), strict=True):
        assert_close_to_differences(gradient, finite_difference(call, at, grad_output))


def test_arrays_of_any_layout_and_type(random):
    x, weight, bias = arrays(random, *CASES["columns"][:3], np.float32)
    assert tiled_conv2d(x, weight, bias, tiles=(1, 2)).dtype == np.float32
    turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert np.array_equal(tiled_conv2d(turned, weight, tiles=(1, 2)), tiled_conv2d(x, weight, tiles=(1, 2)))


def test_costs_and_positions_read(random):
    shapes = (2, 3, 6, 6), (2, 2, 4, 3, 3, 3)
    op = parse_tiled_convolution("tiled_conv2d", *shapes, tiles=2, padding=1)
    assert op.macs(shapes[0], weight=shapes[1]) == 2 * 4 * 6 * 6 * 27  # as many as in convolution
    assert op.reads(np.array([0, 1]), axis=0, size=6, weight=shapes[1]).tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize("name", CASES)
def test_working(random, assert_adds_up, name):
    shape, tiles, kernel, options = CASES[name]
    x, weight, bias = arrays(random, shape, tiles, kernel)
    op = parse_tiled_convolution("tiled_conv2d", x.shape, weight.shape, tiles=tiles, **options)
    y = op.forward(x, weight=weight, bias=bias)
    grad = random.standard_normal(y.shape)
    gradients = op.backward(grad, x, weight=weight, bias=bias)
    maps = {"input": gradients.inputs[0], **gradients.parameters}
    for part in (0, 2, 1):
        place = tuple((length - 1) * part // 2 for length in y.shape)
        assert_adds_up(op.working(place, x, weight=weight, bias=bias), y[place])
        for of, gradient in maps.items():
            place = tuple((length - 1) * part // 2 for length in gradient.shape)
            assert_adds_up(op.gradient_working(of, place, grad, x, weight=weight, bias=bias), gradient[place])


def test_working_says_whose_turn_it_is():
    x, weight = np.ones((1, 1, 4, 4)), np.arange(4.0).reshape(2, 2, 1, 1, 1, 1)
    op = parse_tiled_convolution("tiled_conv2d", x.shape, weight.shape, tiles=2)
    working = op.working((0, 0, 3, 2), x, weight=weight)
    assert "kernel [1, 0]: 3 mod 2 = 1, 2 mod 2 = 0" in str(working)
    assert working.sums()[0].flat()[0].where == "x[0, 0, 3, 2] weight[1, 0, 0, 0, 0, 0]"
    assert op.equation == "y[o,i,j] = bias[i%2,j%2,o] + sum over c,a,b of weight[i%2,j%2,o,c,a,b] x[c,i+a,j+b]"


GOOD_X, GOOD_WEIGHT = np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 2, 3, 3))
ERRORS = [
    ({"x": np.ones((2, 4, 4))}, r"tiled_conv2d: `x` must have 4 axes"),
    ({"weight": np.ones((3, 2, 3, 3))}, r"`weight` must have 6 axes \(t_H, t_W, C_out, C_in, kH, kW\), got 4"),
    ({"weight": np.ones((2, 2, 3, 5, 3, 3))}, r"`weight` must have C_in / groups = 2 / 1 = 2 channels"),
    ({"tiles": 3}, r"`weight` must have the tiles \(3, 3\) as its first two axes, got .* Set tiles=\(2, 2\)"),
    ({"tiles": 0}, r"`tiles` must be a whole number from 1 on"),
    ({"bias": np.ones(3)}, r"`bias` must have one value a filter, shape \(2, 2, 3\), got \(3,\)\. Give 12 values"),
    ({"stride": 3}, r"`tiles` must be at most the output's \(1, 1\), got \(2, 2\): .* never be used"),
    ({"weight": np.ones((2, 2, 3, 2, 5, 3))}, r"tiled_conv2d: `kernel_size` must fit into the padded input"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS)
def test_errors(change, message):
    with pytest.raises(UsageError, match=message):
        tiled_conv2d(**({"x": GOOD_X, "weight": GOOD_WEIGHT, "tiles": 2} | change))


def test_errors_of_gradients():
    with pytest.raises(UsageError, match="`grad_output` must have the output's shape"):
        tiled_conv2d_backward(np.ones((1, 3, 2, 1)), GOOD_X, GOOD_WEIGHT, tiles=2)
    op = parse_tiled_convolution("tiled_conv2d", GOOD_X.shape, GOOD_WEIGHT.shape, tiles=2)
    with pytest.raises(UsageError, match="tiled_conv2d: `of` must be something"):
        op.gradient_working("mean", (0,), np.ones((1, 3, 2, 2)), GOOD_X, weight=GOOD_WEIGHT)
