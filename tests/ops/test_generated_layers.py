"""Normalisation, dense layers, activations and losses on generated shapes against PyTorch and differences."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import ops

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.integers(1, 5)
REDUCTIONS = st.sampled_from(["none", "mean", "sum"])


def shapes(smallest, largest):
    return st.lists(LENGTHS, min_size=smallest, max_size=largest).map(tuple)


def spaced(generator, shape):
    """Numbers around 0, far from each other and from round ones, where some activations have a kink."""
    number = math.prod(shape)
    return (generator.permutation(number).reshape(shape) + 1 / math.pi) / number * 4 - 2


@generated(max_examples=200)
@given(
    shape=shapes(2, 5).filter(lambda shape: math.prod(shape) > shape[1]),
    training=st.booleans(),
    is_affine=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-3, 0.1]),
    seed=SEEDS,
)
def test_batch_norm(assert_agrees, shape, training, is_affine, eps, seed):
    generator = np.random.default_rng(seed)
    mean, variance = generator.standard_normal(shape[1]), generator.uniform(0.5, 2, size=shape[1])
    arrays = [spaced(generator, shape), *generator.standard_normal((2, shape[1]))]
    options = {"training": training, "eps": eps}
    given_statistics = (None, None) if training else (mean, variance)

    def backward(grad, x, weight, bias):
        return ops.batch_norm_backward(grad, x, *given_statistics, weight, **options)

    def reference(x, weight, bias):
        return F.batch_norm(x, torch.tensor(mean), torch.tensor(variance), weight, bias, momentum=0.1, **options)

    if is_affine:
        assert_agrees(
            arrays,
            forward=lambda x, weight, bias: ops.batch_norm(x, *given_statistics, weight, bias, **options),
            backward=backward,
            reference=reference,
            seed=seed,
        )
    else:
        assert_agrees(
            arrays[:1],
            forward=lambda x: ops.batch_norm(x, *given_statistics, **options),
            backward=lambda grad, x: backward(grad, x, None, None)[0],
            reference=lambda x: reference(x, None, None),
            seed=seed,
        )
    running = [torch.tensor(mean), torch.tensor(variance)]
    F.batch_norm(torch.tensor(arrays[0]), *running, training=True, momentum=0.3)
    ours = ops.updated_running_statistics(arrays[0], mean, variance, momentum=0.3)
    assert max(np.abs(a - b.numpy()).max() for a, b in zip(ours, running, strict=True)) < 1e-12


@generated(max_examples=150)
@given(
    kind=st.sampled_from(["layer", "group", "instance"]), per_group=st.integers(1, 3), shape=shapes(2, 5), seed=SEEDS
)
def test_other_normalisation(assert_agrees, kind, per_group, shape, seed):
    generator = np.random.default_rng(seed)
    groups, positions = shape[1], (*shape[2:], 2)  # a row of one value has no variance
    shape = (shape[0], groups * per_group, *positions)
    own = shape[-1 - seed % (len(shape) - 1) :] if kind == "layer" else shape[1:2]
    arrays = [spaced(generator, shape), *generator.standard_normal((2, *own))]
    middle = {"layer": [own], "group": [groups], "instance": []}[kind]

    def call(function, x, *parameters):
        named = dict(zip(("weight", "bias"), parameters, strict=False))
        return function(x, *middle, **named, eps=1e-3)

    ours, back = (getattr(ops, f"{kind}_norm{end}") for end in ("", "_backward"))
    assert_agrees(
        arrays,
        forward=lambda *given: call(ours, *given),
        backward=lambda grad, x, weight, bias: call(partial(back, grad), x, weight),
        reference=lambda *given: call(getattr(F, f"{kind}_norm"), *given),
        seed=seed,
    )


@generated(max_examples=150)
@given(
    shape=shapes(3, 5),
    size=st.integers(1, 7),
    options=st.fixed_dictionaries(
        {"alpha": st.floats(0, 2), "beta": st.floats(0.25, 1.5), "k": st.floats(0.5, 3)},
    ),
    seed=SEEDS,
)
def test_local_response_norm(assert_agrees, shape, size, options, seed):
    assert_agrees(
        [np.random.default_rng(seed).standard_normal(shape)],
        forward=lambda x: ops.local_response_norm(x, size, **options),
        backward=lambda grad, x: ops.local_response_norm_backward(grad, x, size, **options),
        reference=lambda x: F.local_response_norm(x, size, **options),
        seed=seed,
    )


@generated(max_examples=150)
@given(leading=shapes(0, 3), features=st.tuples(LENGTHS, LENGTHS), seed=SEEDS)
def test_linear(assert_agrees, leading, features, seed):
    generator, (wide, out) = np.random.default_rng(seed), features
    y = assert_agrees(
        [generator.standard_normal(shape) for shape in ((*leading, wide), (out, wide), (out,))],
        forward=ops.linear,
        backward=lambda grad, x, weight, bias: ops.linear_backward(grad, x, weight),
        reference=F.linear,
        seed=seed,
    )
    op, parameters = ops.Linear(), {"weight": (out, wide), "bias": (out,)}
    assert op.output_shape((*leading, wide), **parameters) == y.shape
    # With ones everywhere each multiply-add adds 1 to the sum of the output.
    assert op.macs((*leading, wide), **parameters) == F.linear(torch.ones(*leading, wide), torch.ones(out, wide)).sum()
    assert op.reads(np.array([0]), axis=0, size=wide).tolist() == list(range(wide))


@generated(max_examples=100)
@given(leading=shapes(0, 2), cut=st.integers(0, 2), is_one=st.booleans(), sizes=st.tuples(*[LENGTHS] * 3), seed=SEEDS)
def test_matmul_and_broadcasting(assert_agrees, leading, cut, is_one, sizes, seed):
    generator, (n, k, m) = np.random.default_rng(seed), sizes
    others = tuple(1 if is_one else length for length in leading)[cut:]
    x, other = (generator.standard_normal(shape) for shape in ((*leading, n, k), (*others, k, m)))
    y = assert_agrees([x, other], forward=ops.matmul, backward=ops.matmul_backward, reference=torch.matmul, seed=seed)
    assert ops.Matmul().macs(x.shape, other.shape) == torch.matmul(torch.ones(x.shape), torch.ones(other.shape)).sum()
    assert ops.Matmul().output_shape(x.shape, other.shape) == y.shape
    other = generator.uniform(0.5, 2, size=(*others, n, k))
    for name, theirs in (("add", "add"), ("subtract", "sub"), ("multiply", "mul"), ("divide", "div")):
        forward, backward = (getattr(ops, f"{name}{end}") for end in ("", "_backward"))
        assert_agrees([x, other], forward=forward, backward=backward, reference=getattr(torch, theirs), seed=seed)


# Name, and the interval that each option is drawn from.
ACTIVATIONS = [
    ("relu", {}),
    ("relu6", {}),
    ("leaky_relu", {"negative_slope": (0.0, 0.5)}),
    ("elu", {"alpha": (0.1, 2.0)}),
    ("hardtanh", {"min_val": (-1.5, -0.5), "max_val": (0.5, 1.5)}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("softplus", {"beta": (0.5, 3.0)}),
    ("gelu", {}),
    ("silu", {}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
]
# PyTorch's hardsigmoid has the slope 1/6 rounded to float32.
THEIRS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "hardsigmoid": lambda x: F.relu6(x + 3) / 6}


@generated(max_examples=200)
@given(which=st.sampled_from(ACTIVATIONS), shape=shapes(0, 4), seed=SEEDS)
def test_activations(assert_agrees, which, shape, seed):
    name, intervals = which
    generator = np.random.default_rng(seed)
    options = {key: generator.uniform(*interval) for key, interval in intervals.items()}
    assert_agrees(
        [spaced(generator, shape) * 2],
        forward=lambda x: getattr(ops, name)(x, **options),
        backward=lambda grad, x: getattr(ops, f"{name}_backward")(grad, x, **options),
        reference=lambda x: THEIRS.get(name, getattr(F, name))(x, **options),
        seed=seed,
    )


@generated(max_examples=150)
@given(
    name=st.sampled_from(["softmax", "log_softmax", "normalize"]),
    shape=shapes(1, 4),
    axis=st.integers(-4, 3),
    seed=SEEDS,
)
def test_softmax(assert_agrees, name, shape, axis, seed):
    axis = axis % (2 * len(shape)) - len(shape)
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.5, 2, size=shape) if name == "normalize" else 3 * generator.standard_normal(shape)
    assert_agrees(
        [x],
        forward=lambda x: getattr(ops, name)(x, axis=axis),
        backward=lambda grad, x: getattr(ops, f"{name}_backward")(grad, x, axis=axis),
        reference=lambda x: x / x.sum(axis, keepdim=True) if name == "normalize" else getattr(F, name)(x, dim=axis),
        seed=seed,
    )


@generated(max_examples=150)
@given(
    mode=st.sampled_from(["constant", "reflect", "replicate", "circular"]),
    shape=st.tuples(*[st.integers(3, 5)] * 4),
    pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=2),
    value=st.floats(-2, 2),
    seed=SEEDS,
)
def test_padding(assert_agrees, mode, shape, pairs, value, seed):
    options = {"mode": mode} | ({"value": value} if mode == "constant" else {})
    shape = shape[: len(pairs) + 2]
    flat = [pixels for pair in reversed(pairs) for pixels in pair]
    assert_agrees(
        [np.random.default_rng(seed).standard_normal(shape)],
        forward=lambda x: ops.pad(x, padding=pairs, **options),
        backward=lambda grad, x: ops.pad_backward(grad, x, padding=pairs, **options),
        reference=lambda x: F.pad(x, flat, **options),
        seed=seed,
    )


@generated(max_examples=250)
@given(
    name=st.sampled_from(["cross_entropy", "cross_entropy", "nll_loss"]),
    shape=shapes(1, 4),
    is_smooth=st.booleans(),
    is_weighted=st.booleans(),
    is_distribution=st.booleans(),
    reduction=REDUCTIONS,
    seed=SEEDS,
)
def test_classification_losses(assert_agrees, name, shape, is_smooth, is_weighted, is_distribution, reduction, seed):
    generator = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    logits = generator.standard_normal(shape)
    if is_distribution and name == "cross_entropy":
        targets = np.exp(generator.standard_normal(shape))
        targets /= targets.sum(axis=axis, keepdims=True)
    else:
        targets = generator.integers(shape[axis], size=shape[:axis] + shape[axis + 1 :])
    options = {"reduction": reduction}
    if is_smooth and name == "cross_entropy":
        options["label_smoothing"] = generator.uniform(0, 0.9)
    weight = generator.uniform(0.5, 2, size=shape[axis]) if is_weighted else None
    theirs = options | ({} if weight is None else {"weight": torch.tensor(weight)})
    assert_agrees(
        [logits],
        forward=lambda x: getattr(ops, name)(x, targets, weight=weight, **options),
        backward=lambda grad, x: getattr(ops, f"{name}_backward")(grad, x, targets, weight=weight, **options),
        reference=lambda x: getattr(F, name)(x, torch.tensor(targets), **theirs),
        seed=seed,
    )


@generated(max_examples=150)
@given(
    name=st.sampled_from(["binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"]),
    shape=shapes(0, 4),
    reduction=REDUCTIONS,
    seed=SEEDS,
)
def test_other_losses(assert_agrees, name, shape, reduction, seed):
    generator = np.random.default_rng(seed)
    targets = generator.uniform(size=shape)
    x = (
        generator.uniform(0.05, 0.95, size=shape)
        if name == "binary_cross_entropy"
        else generator.standard_normal(shape)
    )
    assert_agrees(
        [np.asarray(x)],
        forward=lambda x: getattr(ops, name)(x, targets, reduction=reduction),
        backward=lambda grad, x: getattr(ops, f"{name}_backward")(grad, x, targets, reduction=reduction),
        reference=lambda x: getattr(F, name)(x, torch.tensor(targets), reduction=reduction),
        seed=seed,
    )
