from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.normalization import (
    BatchNorm,
    batch_norm,
    batch_norm_backward,
    batch_statistics,
    updated_running_statistics,
)

SHAPES = [(5, 3), (4, 3, 7), (2, 3, 5, 4), (2, 1, 3, 2, 3)]


def _parameters(random, channels: int) -> dict[str, np.ndarray]:
    mean, weight, bias = random.normal(size=(3, channels))
    return {
        "running_mean": mean,
        "running_var": random.uniform(0.5, 2, channels),
        "weight": weight,
        "bias": bias,
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("is_affine", [True, False])
def test_forward_backward_and_running_statistics_are_pytorchs(random, shape, training, is_affine):
    parameters = _parameters(random, shape[1])
    if not is_affine:
        parameters |= {"weight": None, "bias": None}
    x, grad_output = random.normal(2, 3, shape), random.normal(size=shape)
    tensors = {
        k: None if v is None else torch.tensor(v, requires_grad=k in "weight bias") for k, v in parameters.items()
    }
    tensor = torch.tensor(x, requires_grad=True)
    expected = F.batch_norm(tensor, **tensors, training=training, momentum=0.3, eps=1e-3)
    y = batch_norm(x, **parameters, training=training, momentum=0.3, eps=1e-3)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    expected.backward(torch.tensor(grad_output))
    del parameters["bias"]
    gradients = batch_norm_backward(grad_output, x, **parameters, training=training, eps=1e-3)
    assert np.abs(gradients[0] - tensor.grad.numpy()).max() < 1e-10
    if is_affine:
        assert np.abs(gradients[1] - tensors["weight"].grad.numpy()).max() < 1e-10
        assert np.abs(gradients[2] - tensors["bias"].grad.numpy()).max() < 1e-10
    if training:
        running = (parameters["running_mean"], parameters["running_var"])
        mean, variance = updated_running_statistics(x, *running, momentum=0.3)
        assert np.abs(mean - tensors["running_mean"].numpy()).max() < 1e-12
        assert np.abs(variance - tensors["running_var"].numpy()).max() < 1e-12


def test_naive_loop(random):
    x, parameters = random.normal(size=(3, 2, 4)), _parameters(random, 2)
    y = batch_norm(x, **parameters, training=True)
    for c in range(2):
        values = [x[n, c, i] for n in range(3) for i in range(4)]
        mean = sum(values) / 12
        variance = sum((value - mean) ** 2 for value in values) / 12
        expected = parameters["weight"][c] * (x[1, c, 2] - mean) / (variance + 1e-5) ** 0.5 + parameters["bias"][c]
        assert abs(y[1, c, 2] - expected) < 1e-12


@pytest.mark.parametrize("training", [True, False])
def test_finite_differences(random, finite_difference, assert_close_to_differences, training):
    parameters = _parameters(random, 3)
    x, grad_output = random.normal(size=(3, 3, 2, 3)), random.normal(size=(3, 3, 2, 3))

    def changed(name):
        return lambda value: batch_norm(**({"x": x} | parameters | {name: value}), training=training)

    without_bias = {name: value for name, value in parameters.items() if name != "bias"}
    gradients = batch_norm_backward(grad_output, x, **without_bias, training=training)
    for name, gradient in zip(("x", "weight", "bias"), gradients, strict=True):
        value = x if name == "x" else parameters[name]
        assert_close_to_differences(gradient, finite_difference(changed(name), value, grad_output))


def test_output_of_training_has_mean_bias_and_deviation_weight(random):
    y = batch_norm(random.normal(5, 3, (8, 2, 6, 6)), None, None, [2.0, 0.5], [1.0, -1.0], training=True)
    mean, variance = batch_statistics(y)
    assert np.abs(mean - [1, -1]).max() < 1e-12
    assert np.abs(np.sqrt(variance) - [2, 0.5]).max() < 1e-5


def test_gradient_of_training_is_orthogonal_to_shift_and_scale(random):
    # y does not change when a channel is shifted or (but for eps) stretched, so those directions have no gradient.
    x, grad_output = random.normal(size=(4, 2, 5)), random.normal(size=(4, 2, 5))
    gradient, _, _ = batch_norm_backward(grad_output, x, None, None, training=True, eps=1e-12)
    assert np.abs(gradient.sum(axis=(0, 2))).max() < 1e-12
    assert np.abs((gradient * x).sum(axis=(0, 2))).max() < 1e-10


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1)
    parameters = _parameters(random, 3)
    assert (batch_norm(x, **parameters, training=True) == batch_norm(x.copy(), **parameters, training=True)).all()
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    for training in (True, False):
        y = batch_norm(x.astype(np.float32), **single, training=training)
        assert y.dtype == np.float32
        single_but_bias = {name: value for name, value in single.items() if name != "bias"}
        gradients = batch_norm_backward(y, x.astype(np.float32), **single_but_bias, training=training)
        assert [gradient.dtype for gradient in gradients] == [np.float32] * 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("is_affine", [True, False])
def test_working(random, assert_adds_up, shape, training, is_affine):
    parameters = _parameters(random, shape[1])
    if not is_affine:
        del parameters["weight"], parameters["bias"]
    x, grad_output = random.normal(2, 3, shape), random.normal(size=shape)
    op = BatchNorm(training=training)
    y, gradients = op.forward(x, **parameters), op.backward(grad_output, x, **parameters)
    for place in itertools.islice(np.ndindex(*shape), 0, None, 11):
        assert_adds_up(op.working(place, x, **parameters), y[place])
        working = op.gradient_working("input", place, grad_output, x, **parameters)
        assert_adds_up(working, gradients.inputs[0][place])
    for of, gradient in gradients.parameters.items():
        assert_adds_up(op.gradient_working(of, (0,), grad_output, x, **parameters), gradient[0])


def test_working_shows_each_step():
    # By hand: mean 2, variance ((1 - 2)^2 + (3 - 2)^2) / 2 = 1, x_hat = 1, y = 2 x 1 + 5.
    op = BatchNorm(training=True, eps=1e-9)
    arrays = {"weight": np.array([2.0]), "bias": np.array([5.0])}
    text = str(op.working((1, 0), np.array([[1.0], [3.0]]), **arrays))
    for line in (
        "values with one mean and variance: x[:, :], 2 of them",
        "mean = 4 / 2 = 2",
        "sum of (x - mean)^2 = (-1) x (-1) + 1 x 1 = 2",
        "variance = 2 / 2 = 1",
        "x_hat = (3 - 2) / sqrt(1 + 1e-09) = 1",
        "y = 2 x 1 + 5 = 7",
    ):
        assert line in text
    # By hand: g = 2 x (1, 3), sum of g = 8, sum of g x_hat = -2 + 6 = 4; dL/dx = 6 - 8 / 2 - 4 / 2 = 0.
    text = str(op.gradient_working("input", (1, 0), np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), **arrays))
    assert "sum of g = 1 x 2 + 3 x 2 = 8" in text
    assert "sum of g x_hat = 1 x 2 x (-1) + 3 x 2 x 1 = 4" in text
    assert "dL/dx = 3 x 2 x 1 + (-0.5) x 8 + (-0.5) x 1 x 4" in text


def test_costs():
    assert (BatchNorm(training=True).flops((2, 3, 4, 4)), BatchNorm().flops((2, 3, 4, 4))) == (7 * 96, 2 * 96)
    assert BatchNorm().macs((2, 3, 4, 4)) == 0
    assert BatchNorm().reads(np.array([3]), axis=0, size=8).tolist() == [3]


ERRORS = [
    ({"x": np.zeros(3)}, r"batch_norm: `x` must have at least 2 axes \(N, C, ...\), got shape \(3,\)"),
    ({"running_var": None}, "batch_norm: `running_var` must be given in inference, got None"),
    ({"running_mean": np.zeros(2)}, r"`running_mean` must have one value for each channel, \(3,\), got \(2,\)"),
    ({"weight": np.zeros((3, 1))}, r"`weight` must have one value for each channel, \(3,\), got \(3, 1\)"),
    ({"eps": -1.0}, "batch_norm: `eps` must be at least 0, got -1.0"),
    ({"training": True, "eps": 0.0}, "batch_norm: `eps` must be larger than 0, got 0.0"),
    ({"training": True, "x": np.zeros((1, 3))}, "`x` must have more than one value a channel in training"),
]


@pytest.mark.parametrize(("changed", "message"), ERRORS)
def test_errors(changed, message):
    arguments = {"x": np.zeros((4, 3)), "running_mean": np.zeros(3), "running_var": np.ones(3)} | changed
    with pytest.raises(UsageError, match=message):
        batch_norm(**arguments)


def test_errors_of_the_other_functions():
    with pytest.raises(UsageError, match="batch_norm_backward: `grad_output` must have the output's shape"):
        batch_norm_backward(np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(3), np.ones(3))
    with pytest.raises(UsageError, match="updated_running_statistics: `momentum` must be from 0 to 1, got 2"):
        updated_running_statistics(np.zeros((4, 3)), np.zeros(3), np.ones(3), momentum=2)
    with pytest.raises(UsageError, match="`x` must have more than one value a channel in training"):
        batch_statistics(np.zeros((1, 3)))
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for, got 'running_var'"):
        BatchNorm(training=True).gradient_working("running_var", (0,), np.zeros((4, 3)), np.zeros((4, 3)))
