"""The classic activations: known values, PyTorch, slopes at the kinks, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import activation as ops

TABLE = [
    (ops.identity, ops.identity_backward, ops.Identity(), lambda x: x * 1, {}),
    (ops.relu, ops.relu_backward, ops.ReLU(), F.relu, {}),
    (ops.relu6, ops.relu6_backward, ops.ReLU6(), F.relu6, {}),
    (ops.leaky_relu, ops.leaky_relu_backward, ops.LeakyReLU(0.2), F.leaky_relu, {"negative_slope": 0.2}),
    (ops.elu, ops.elu_backward, ops.ELU(1.5), F.elu, {"alpha": 1.5}),
    (ops.sigmoid, ops.sigmoid_backward, ops.Sigmoid(), torch.sigmoid, {}),
    (ops.tanh, ops.tanh_backward, ops.Tanh(), torch.tanh, {}),
    (ops.hardtanh, ops.hardtanh_backward, ops.Hardtanh(-2.0, 0.5), F.hardtanh, {"min_val": -2.0, "max_val": 0.5}),
]
NAMES = [row[2].name for row in TABLE]


@pytest.fixture(params=TABLE, ids=NAMES)
def row(request):
    return request.param


def test_values_and_gradients_equal_pytorch(row, random):
    forward, backward, _, reference, options = row
    # With numbers at every kink, and some far out.
    x = np.concatenate([random.normal(scale=4, size=(50,)), [0.0, -1, 1, -2, 0.5, 6, -6, 700, -700, 1000, -1000]])
    gradient = random.normal(size=x.shape)
    tensor = torch.tensor(x, requires_grad=True)
    y = reference(tensor, **options)
    y.backward(torch.tensor(gradient))
    assert np.abs(forward(x, **options) - y.detach().numpy()).max() < 1e-12
    assert np.abs(backward(gradient, x, **options) - tensor.grad.numpy()).max() < 1e-10


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _, options = row
    x = random.normal(size=(3, 5)) * 2 + 0.03
    gradient = random.normal(size=(3, 5))
    differences = finite_difference(lambda z: forward(z, **options), x, gradient)
    assert_close_to_differences(backward(gradient, x, **options), differences)


def test_forms_of_input(row, random):
    forward, backward, op, _, options = row
    x = random.normal(size=(3, 5, 2))
    turned = np.asfortranarray(x)[::-1, :, ::-1]
    assert np.array_equal(forward(turned, **options), forward(turned.copy(), **options))
    single = x.astype(np.float32)
    assert forward(single, **options).dtype == backward(single, single, **options).dtype == np.float32
    assert forward([[1, 2]], **options).dtype == np.float64
    assert forward(1.0, **options).shape == ()
    assert op.output_shape(x.shape) == x.shape
    assert op.flops(x.shape) == op.flops_per_value * 30
    assert op.macs(x.shape) == 0
    assert op.reads(np.array([1, 3]), axis=0, size=5).tolist() == [1, 3]


@pytest.mark.parametrize("x", [-1.5, -0.0, 0.25, 3.0])
def test_working(row, x, assert_adds_up):
    _, _, op, _, _ = row
    values = np.array([[x, 1.0]])
    working = op.working((0, 0), values)
    assert_adds_up(working, op.forward(values)[0, 0])
    gradient = np.array([[-2.0, 1.0]])
    working = op.gradient_working("input", (0, 0), gradient, values)
    assert_adds_up(working, op.backward(gradient, values).inputs[0][0, 0])
    assert [total.label for total in working.sums()] == ["dL/dx"]


def test_working_of_long_numbers_fits_the_screen(row, assert_adds_up):
    op = row[2]
    x = np.broadcast_to(-1.23456789e-05, (32, 1024, 112, 112))
    last = (31, 1023, 111, 111)
    assert_adds_up(op.working(last, x), op.value(np.float64(x[last])))
    assert_adds_up(op.gradient_working("input", last, x, x), x[last] * op.slope(np.float64(x[last])))


def test_working_as_text():
    assert str(ops.LeakyReLU().working((1,), np.array([0.0, -100.0]))).splitlines() == [
        "leaky_relu at [1]",
        "  y = x if x > 0, else negative_slope x",
        "  x[1] = -100",
        "  y = max(0, (-100)) + 0.01 x min(0, (-100)) = -1",
        "  slope there: 0.01, from y' = 1 if x > 0, else negative_slope",
    ]
    assert "y = 1 x (exp((-1)) - 1) = -0.632121" in str(ops.ELU().working((0,), np.array([-1.0])))


def test_course_values():
    # 000-leaky and 003-ex-b-relu of the course examples.
    assert ops.leaky_relu([-100, -1, 0, 1, 100]).tolist() == [-1, -0.01, 0, 1, 100]
    maps = [[-15, -5, -10, 10], [-10, -5, -15, 10], [-5, -5, -20, 10], [-5, -5, -20, 10]]
    assert ops.relu(maps).tolist() == [[0, 0, 0, 10]] * 4


def test_sigmoid_saturates():
    # 000-sigmoid-limits: the slope is 1/4 at most, and 0 on both sides. exp(-40) by the definition of the slope.
    slope = ops.sigmoid_backward(np.ones(3), [-40.0, 0.0, 40.0])
    assert slope[1] == 0.25
    assert np.allclose(slope[[0, 2]], np.exp(-40), rtol=1e-12, atol=0)
    x = np.linspace(-30, 30, 1001)
    assert ops.sigmoid_backward(np.ones_like(x), x).max() == 0.25
    assert np.allclose(ops.tanh(x), 2 * ops.sigmoid(2 * x) - 1, atol=1e-15)


def test_dead_relu_gets_no_gradient_and_leaky_does():
    x = np.array([-3.0, -0.5])
    assert ops.relu_backward(np.ones(2), x).tolist() == [0, 0]
    assert ops.leaky_relu_backward(np.ones(2), x).tolist() == [0.01, 0.01]


def test_messages():
    with pytest.raises(UsageError, match=r"hardtanh: `min_val` must be below max_val = 0, got 1\. Swap them\."):
        ops.hardtanh([0.0], min_val=1, max_val=0)
    with pytest.raises(
        UsageError, match=r"relu_backward: `grad_output` must have the output's shape \(2,\), got \(3,\)"
    ):
        ops.relu_backward([1.0, 2, 3], [1.0, 2])
    with pytest.raises(UsageError, match=r"tanh: `x` must hold real numbers"):
        ops.tanh(["a"])
    with pytest.raises(
        UsageError, match=r"relu: `of` must be something this operation has a gradient for, got 'weight'"
    ):
        ops.ReLU().gradient_working("weight", (0,), np.ones(1), np.ones(1))
