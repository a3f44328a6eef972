from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import group_normalization
from striate.ops.group_normalization import GroupNorm, InstanceNorm, LayerNorm, group_norm, instance_norm, layer_norm
from striate.ops.normalization import batch_norm

# function, its second argument, shape of x, shape of weight and bias
SETTINGS = [
    ("layer_norm", 5, (3, 5), (5,)),
    ("layer_norm", (4, 5), (2, 3, 4, 5), (4, 5)),
    ("layer_norm", (3, 4, 5), (2, 3, 4, 5), (3, 4, 5)),
    ("group_norm", 2, (2, 4, 3, 5), (4,)),
    ("group_norm", 1, (2, 3, 5), (3,)),
    ("group_norm", 3, (4, 6), (6,)),
    ("instance_norm", None, (2, 3, 4, 5), (3,)),
    ("instance_norm", None, (1, 2, 7), (2,)),
]


def _op(function, argument):
    if function == "layer_norm":
        return LayerNorm((argument,) if isinstance(argument, int) else argument)
    return GroupNorm(argument) if function == "group_norm" else InstanceNorm()


def _call(function, argument, *arrays, **options):
    return getattr(group_normalization, function)(*arrays, *(() if argument is None else (argument,)), **options)


@pytest.mark.parametrize(("function", "argument", "shape", "weights"), SETTINGS)
@pytest.mark.parametrize("is_affine", [True, False])
def test_forward_and_backward_are_pytorchs(random, function, argument, shape, weights, is_affine):
    x, grad_output = random.normal(2, 3, shape), random.normal(size=shape)
    parameters = dict(zip(("weight", "bias"), random.normal(size=(2, *weights)), strict=True)) if is_affine else {}
    tensor = torch.tensor(x, requires_grad=True)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    theirs = (torch.Size([argument]),) if function == "layer_norm" and isinstance(argument, int) else (argument,)
    expected = getattr(F, function)(tensor, *(() if argument is None else theirs), **tensors, eps=1e-3)
    y = _call(function, argument, x, **parameters, eps=1e-3)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    expected.backward(torch.tensor(grad_output))
    weight = {"weight": parameters["weight"]} if is_affine else {}
    gradients = _call(f"{function}_backward", argument, grad_output, x, **weight, eps=1e-3)
    assert np.abs(gradients[0] - tensor.grad.numpy()).max() < 1e-10
    for name, gradient in zip(("weight", "bias"), gradients[1:], strict=True):
        assert gradient.shape == weights
        if is_affine:
            assert np.abs(gradient - tensors[name].grad.numpy()).max() < 1e-10


@pytest.mark.parametrize(("function", "argument", "shape", "weights"), SETTINGS[1::2])
def test_finite_differences(random, finite_difference, assert_close_to_differences, function, argument, shape, weights):
    x, grad_output = random.normal(size=shape), random.normal(size=shape)
    weight, bias = random.normal(size=(2, *weights))
    gradients = _call(f"{function}_backward", argument, grad_output, x, weight=weight)
    functions = (
        lambda x: _call(function, argument, x, weight=weight, bias=bias),
        lambda weight: _call(function, argument, x, weight=weight, bias=bias),
        lambda bias: _call(function, argument, x, weight=weight, bias=bias),
    )
    for gradient, changed, value in zip(gradients, functions, (x, weight, bias), strict=True):
        assert_close_to_differences(gradient, finite_difference(changed, value, grad_output))


def test_naive_loop(random):
    x = random.normal(size=(2, 4, 3))
    y = group_norm(x, 2)
    for n, group in itertools.product(range(2), range(2)):
        values = [x[n, c, i] for c in (2 * group, 2 * group + 1) for i in range(3)]
        mean = sum(values) / 6
        variance = sum((value - mean) ** 2 for value in values) / 6
        assert abs(y[n, 2 * group + 1, 2] - (x[n, 2 * group + 1, 2] - mean) / (variance + 1e-5) ** 0.5) < 1e-12


def test_how_the_kinds_relate(random):
    x = random.normal(size=(1, 4, 3, 5))
    by_channel = instance_norm(x)
    assert np.abs(by_channel - group_norm(x, 4)).max() < 1e-12
    assert np.abs(by_channel - batch_norm(x, None, None, training=True)).max() < 1e-12  # of one sample
    assert np.abs(group_norm(x, 1) - layer_norm(x, (4, 3, 5))).max() < 1e-12


def test_groups_of_one_value_are_the_bias():
    # PyTorch refuses a single group of one value, but goes on with several.
    x, bias = np.array([[3.0, 5.0], [4.0, 7.0]]), np.array([1.0, 2.0])
    y = group_norm(x, 2, bias=bias)
    assert y.tolist() == [[1, 2], [1, 2]]
    assert np.abs(y - F.group_norm(torch.tensor(x), 2, bias=torch.tensor(bias)).numpy()).max() < 1e-12


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 4, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    for function, argument, weights in (
        ("layer_norm", (7, 6), (7, 6)),
        ("group_norm", 2, (4,)),
        ("instance_norm", None, (4,)),
    ):
        parameters = {name: random.normal(size=weights).astype(np.float32) for name in ("weight", "bias")}
        y = _call(function, argument, x, **parameters)
        assert y.dtype == np.float32
        assert (y == _call(function, argument, x.copy(), **parameters)).all()
        gradients = _call(f"{function}_backward", argument, y, x, weight=parameters["weight"])
        assert [gradient.dtype for gradient in gradients] == [np.float32] * 3


@pytest.mark.parametrize(("function", "argument", "shape", "weights"), SETTINGS)
@pytest.mark.parametrize("is_affine", [True, False])
def test_working(random, assert_adds_up, function, argument, shape, weights, is_affine):
    x, grad_output = random.normal(2, 3, shape), random.normal(size=shape)
    parameters = dict(zip(("weight", "bias"), random.normal(size=(2, *weights)), strict=True)) if is_affine else {}
    op = _op(function, argument)
    y, gradients = op.forward(x, **parameters), op.backward(grad_output, x, **parameters)
    for place in itertools.islice(np.ndindex(*shape), 0, None, 11):
        assert_adds_up(op.working(place, x, **parameters), y[place])
        working = op.gradient_working("input", place, grad_output, x, **parameters)
        assert_adds_up(working, gradients.inputs[0][place])
    for of, gradient in gradients.parameters.items():
        for place in itertools.islice(np.ndindex(*weights), 0, None, 5):
            assert_adds_up(op.gradient_working(of, place, grad_output, x, **parameters), gradient[place])


def test_working_names_the_group():
    text = str(GroupNorm(2).working((1, 2, 0), np.arange(24.0).reshape(2, 4, 3)))
    assert "values with one mean and variance: x[1, 2:4, :], 6 of them" in text
    assert GroupNorm(2).flops((2, 4, 3)) == 7 * 24


X = np.zeros((2, 6, 2))
ERRORS = [
    (lambda: layer_norm(X, 4), r"layer_norm: `x` must end in the axes \(4,\) of `normalized_shape`, got shape"),
    (lambda: layer_norm(X[0, 0], (2, 3)), r"layer_norm: `x` must end in the axes \(2, 3\)"),
    (lambda: layer_norm(X, ()), "layer_norm: `normalized_shape` must be a whole number from 1 on"),
    (lambda: layer_norm(X, 2, [1.0]), "`weight` must have one value for each position of normalized_shape"),
    (lambda: group_norm(X, 4), "`num_groups` must divide the 6 channels, got 4. Take one of 1, 2, 3, 6"),
    (lambda: group_norm(X, 0), "group_norm: `num_groups` must be a whole number from 1 on, got 0"),
    (lambda: group_norm(X[0, 0], 2), r"group_norm: `x` must have at least 2 axes"),
    (lambda: group_norm(X[:1, :, :1], 6), "group_norm: `x` must have more than one value a group"),
    (lambda: group_norm(X, 2, bias=[1.0]), r"`bias` must have one value for each channel, \(6,\), got \(1,\)"),
    (lambda: instance_norm(X[..., :1]), "instance_norm: `x` must have more than one position a channel"),
    (lambda: instance_norm(X, eps=-1), "instance_norm: `eps` must be at least 0, got -1"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors(call, message):
    with pytest.raises(UsageError, match=message):
        call()
