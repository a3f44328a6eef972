from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.average_pooling import avg_pool2d
from striate.ops.weighted_pooling import WeightedAvgPool, weighted_avg_pool2d, weighted_avg_pool2d_backward

WEIGHTS = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0]])
# weights, stride, padding: PyTorch's way is a depthwise convolution with the weights in every channel.
SETTINGS = [(WEIGHTS, None, 0), (WEIGHTS, (1, 2), (1, 1)), (-WEIGHTS[:, :2], 1, 0)]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("weights", "stride", "padding"), SETTINGS)
def test_forward_and_backward_are_those_of_a_depthwise_convolution(random, weights, stride, padding, normalize):
    x = random.normal(size=(2, 3, 5, 7))
    tensor, kernel = torch.tensor(x, requires_grad=True), torch.tensor(weights, requires_grad=True)
    shares = kernel / kernel.sum() if normalize else kernel
    expected = F.conv2d(tensor, shares.expand(3, 1, -1, -1), stride=stride or weights.shape, padding=padding, groups=3)
    options = {"stride": stride, "padding": padding, "normalize": normalize}
    y = weighted_avg_pool2d(x, weights, **options)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.normal(size=y.shape)
    expected.backward(torch.tensor(grad_output))
    grad_input, grad_weights = weighted_avg_pool2d_backward(grad_output, x, weights, **options)
    assert np.abs(grad_input - tensor.grad.numpy()).max() < 1e-10
    assert np.abs(grad_weights - kernel.grad.numpy()).max() < 1e-10


def test_equal_weights_are_the_average(random):
    x = random.normal(size=(1, 2, 7, 6))
    weighted = weighted_avg_pool2d(x, np.full((3, 2), 7.0), stride=2, padding=1, ceil_mode=False)
    assert np.abs(weighted - avg_pool2d(x, (3, 2), stride=2, padding=1)).max() < 1e-12


def test_known_values():
    # (3 1 + 1 2 + 1 3 + 3 4) / 8 = 20 / 8, and undivided 20
    assert weighted_avg_pool2d([[[[1, 2], [3, 4]]]], [[3, 1], [1, 3]]).item() == 2.5
    assert weighted_avg_pool2d([[[[1, 2], [3, 4]]]], [[3, 1], [1, 3]], normalize=False).item() == 20


@pytest.mark.parametrize("normalize", [True, False])
def test_finite_differences(random, finite_difference, assert_close_to_differences, normalize):
    x, grad_output = random.normal(size=(2, 2, 5, 7)), random.normal(size=(2, 2, 3, 3))
    options = {"stride": (2, 3), "padding": (0, 1), "ceil_mode": True, "normalize": normalize}
    grad_input, grad_weights = weighted_avg_pool2d_backward(grad_output, x, WEIGHTS, **options)
    by_input = finite_difference(lambda x: weighted_avg_pool2d(x, WEIGHTS, **options), x, grad_output)
    by_weights = finite_difference(lambda weights: weighted_avg_pool2d(x, weights, **options), WEIGHTS, grad_output)
    assert_close_to_differences(grad_input, by_input)
    assert_close_to_differences(grad_weights, by_weights)


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    weights = WEIGHTS.astype(np.float32)
    y = weighted_avg_pool2d(x, weights)
    assert y.dtype == np.float32
    assert (y == weighted_avg_pool2d(x.copy(), weights)).all()
    assert [g.dtype for g in weighted_avg_pool2d_backward(y, x, weights)] == [np.float32, np.float32]


@pytest.mark.parametrize("normalize", [True, False])
def test_working(random, assert_adds_up, normalize):
    x = random.normal(size=(2, 2, 4, 5))
    op = WeightedAvgPool((2, 3), (2, 1), ((1, 0), (0, 1)), (1, 1), True, normalize=normalize)
    y = op.forward(x, weight=WEIGHTS)
    grad_output = random.normal(size=y.shape)
    gradients = op.backward(grad_output, x, weight=WEIGHTS)
    for place in ((0, 0, 0, 0), (1, 1, 2, 3), (0, 1, 1, 1)):
        assert_adds_up(op.working(place, x, weight=WEIGHTS), y[place])
        working = op.gradient_working("input", place, grad_output, x, weight=WEIGHTS)
        assert_adds_up(working, gradients.inputs[0][place])
    for tap in np.ndindex(2, 3):
        working = op.gradient_working("weight", tap, grad_output, x, weight=WEIGHTS)
        assert_adds_up(working, gradients.parameters["weight"][tap])


def test_costs():
    op = WeightedAvgPool((2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1))
    assert (op.name, op.macs((1, 4, 4, 6)), op.flops((1, 4, 4, 6))) == ("weighted_avg_pool2d", 4 * 4 * 6, 2 * 4 * 4 * 6)


def test_errors():
    x = np.zeros((1, 1, 4, 4))
    with pytest.raises(
        UsageError, match=r"weighted_avg_pool2d: `weights` must have 2 axes \(kH, kW\), got shape \(3,\)"
    ):
        weighted_avg_pool2d(x, [1, 2, 1])
    with pytest.raises(UsageError, match="weighted_avg_pool2d: `weights` must have a sum other than 0"):
        weighted_avg_pool2d(x, [[1, -1]])
    with pytest.raises(UsageError, match="weighted_avg_pool2d: `x` must have 4 axes"):
        weighted_avg_pool2d(x[0], [[1]])
    op = WeightedAvgPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    with pytest.raises(UsageError, match=r"`weights` must have one number for each cell of the window, \(2, 2\), got"):
        op.output_shape((1, 1, 4, 4), weight=(3, 3))
