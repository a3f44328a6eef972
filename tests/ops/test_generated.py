"""Convolutions on generated shapes and options against PyTorch, autograd and central differences.

Pooling and the other layers stand in test_generated_pooling.py and test_generated_layers.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import ops
from striate.errors import UsageError
from striate.ops.convolution import parse_convolution
from striate.ops.tiled_convolution import parse_tiled_convolution
from striate.ops.transposed_convolution import parse_transposed_convolution

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
LARGEST_KERNEL = {1: 5, 2: 3, 3: 2}  # kept small so that a case takes milliseconds
MOST_EXTRA = {1: 6, 2: 4, 3: 2}


@dataclass(frozen=True)
class Case:
    """One generated call."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    options: dict[str, Any]
    pads: tuple[tuple[int, int], ...]
    """What the padding among the options comes to, worked out here."""
    seed: int

    @property
    def dims(self):
        return len(self.x) - 2

    def arrays(self):
        generator = np.random.default_rng(self.seed)
        return [generator.standard_normal(shape) for shape in (self.x, self.weight, self.weight[:1])]


def per_axis(dims, smallest, largest):
    """One number for all axes, or one for each."""
    numbers = st.integers(smallest, largest)
    return numbers | st.tuples(*[numbers] * dims)


def spread(value, dims):
    return (value,) * dims if isinstance(value, int) else value


def paddings(dims, most):
    pairs = st.tuples(*[st.tuples(st.integers(0, most), st.integers(0, most))] * dims)
    return st.sampled_from(["valid", "same", "full"]) | per_axis(dims, 0, most) | pairs


@st.composite
def convolutions(draw, dims):
    kernel = draw(st.tuples(*[st.integers(1, LARGEST_KERNEL[dims])] * dims))
    options = {
        "stride": draw(per_axis(dims, 1, 3)),
        "dilation": draw(per_axis(dims, 1, 3)),
        "padding": draw(paddings(dims, 3)),
        "groups": draw(st.integers(1, 3)),
    }
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, spread(options["dilation"], dims), strict=True)]
    extra = draw(st.tuples(*[st.integers(0, MOST_EXTRA[dims])] * dims))
    sizes, pads = [], []
    for axis, (extent, stride) in enumerate(zip(extents, spread(options["stride"], dims), strict=True)):
        match options["padding"]:
            case "same":
                size = 1 + extra[axis]
                # TensorFlow's rule, where the word comes from: what the last window lacks, the odd pixel after.
                total = max(0, extent - (size % stride or stride))
                pair = (total // 2, total - total // 2)
            case "full":
                size, pair = 1 + extra[axis], (extent - 1, extent - 1)
            case "valid":
                size, pair = extent + extra[axis], (0, 0)
            case given:
                pair = spread(spread(given, dims)[axis], 2)
                size = max(1, extent - sum(pair)) + extra[axis]
        sizes.append(size)
        pads.append(pair)
    samples, depth, filters = draw(st.tuples(*[st.integers(1, 2)] * 3))
    x = (samples, depth * options["groups"], *sizes)
    return Case(x, (filters * options["groups"], depth, *kernel), options, tuple(pads), draw(SEEDS))


def padded(tensor, pads):
    return F.pad(tensor, [pixels for pair in reversed(pads) for pixels in pair])


def assert_reads(op, x, y, *, pads, weight, seed):
    """Check `reads` of some output positions: they are where the gradient of exactly those outputs is not 0.

    Args:
        op: The operation.
        x: Ones, padded by `pads`.
        y: What PyTorch makes of them with ones as weights.
        pads: Padding, where the positions begin and end.
        weight: Shape of the filters.
        seed: Chooses the output positions.
    """
    generator = np.random.default_rng(seed)
    chosen = [np.flatnonzero(generator.random(length) < 0.5) for length in y.shape[2:]]
    chosen = [some if len(some) else np.array([0]) for some in chosen]
    grad_output = torch.zeros(y.shape)
    grad_output[np.ix_(*map(np.arange, y.shape[:2]), *chosen)] = 1
    (gradient,) = torch.autograd.grad(y, x, grad_output)
    read = np.ones((), dtype=bool)
    for axis, (some, length, (before, after)) in enumerate(zip(chosen, x.shape[2:], pads, strict=True)):
        positions = op.reads(some, axis=axis, size=length - before - after, weight=weight)
        flags = np.isin(np.arange(-before, length - before), positions)
        assert flags.sum() == len(positions)
        read = read[..., None] & flags
    assert np.array_equal(read, (gradient.numpy() != 0).any(axis=(0, 1)))


def assert_convolution(case, assert_agrees):
    dims = case.dims
    name, options = f"conv{dims}d", {key: value for key, value in case.options.items() if key != "padding"}
    y = assert_agrees(
        case.arrays(),
        forward=lambda x, weight, bias: getattr(ops, name)(x, weight, bias, **case.options),
        backward=lambda grad, x, weight, bias: getattr(ops, f"{name}_backward")(grad, x, weight, **case.options),
        reference=lambda x, weight, bias: getattr(F, name)(padded(x, case.pads), weight, bias, **options),
        seed=case.seed,
    )
    op = parse_convolution(name, case.x, case.weight, dims=dims, **case.options)
    assert op.output_shape(case.x, weight=case.weight, bias=case.weight[:1]) == y.shape
    # With ones everywhere, in the padding too, each multiply-add adds 1 to the sum of the output.
    lengths = [size + sum(pair) for size, pair in zip(case.x[2:], case.pads, strict=True)]
    x = torch.ones(*case.x[:2], *lengths, requires_grad=True)
    y = getattr(F, name)(x, torch.ones(case.weight), **options)
    assert op.macs(case.x, weight=case.weight) == y.sum()
    assert_reads(op, x, y, pads=case.pads, weight=case.weight, seed=case.seed)


@generated(max_examples=300)
@given(case=convolutions(1))
def test_conv1d(assert_agrees, case):
    assert_convolution(case, assert_agrees)


@generated(max_examples=400)
@given(case=convolutions(2))
def test_conv2d(assert_agrees, case):
    assert_convolution(case, assert_agrees)


@generated(max_examples=200)
@given(case=convolutions(3))
def test_conv3d(assert_agrees, case):
    assert_convolution(case, assert_agrees)


@generated(max_examples=150)
@given(
    x=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    weight=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    options=st.fixed_dictionaries(
        {"stride": per_axis(2, 1, 3), "padding": per_axis(2, 0, 2), "dilation": per_axis(2, 1, 3)},
        optional={"groups": st.integers(1, 3)},
    ),
    seed=SEEDS,
)
def test_conv2d_refuses_what_pytorch_refuses(x, weight, options, seed):
    generator = np.random.default_rng(seed)
    x, weight = generator.standard_normal(x), generator.standard_normal(weight)
    try:
        expected = F.conv2d(torch.tensor(x), torch.tensor(weight), **options)
    except RuntimeError:
        with pytest.raises(UsageError, match=r"^conv2d: `\w+` must .+, got .+\. \w.+\.$"):
            ops.conv2d(x, weight, **options)
    else:
        assert np.abs(ops.conv2d(x, weight, **options) - expected.numpy()).max() < 1e-12


@generated(max_examples=150)
@given(case=convolutions(2))
def test_forms_of_conv2d_are_equal(case):
    x, weight, bias = case.arrays()
    y = ops.conv2d(x, weight, bias, **case.options)
    for form in (ops.conv2d_im2col, ops.conv2d_fft, *((ops.conv2d_direct,) if y.size * weight[0].size < 1000 else ())):
        assert np.abs(form(x, weight, bias, **case.options) - y).max() < 1e-12
    options = case.options | {"stride": 1, "dilation": 1, "padding": case.pads}
    three = np.pad(weight, [(0, 0), (0, 0), *((0, 3 - length) for length in weight.shape[2:])])
    if all(n + sum(p) >= 3 for n, p in zip(x.shape[2:], case.pads, strict=True)):
        expected = ops.conv2d(x, three, bias, **options)
        assert np.abs(ops.conv2d_winograd(x, three, bias, **options) - expected).max() < 1e-12


@st.composite
def transposed_convolutions(draw, dims):
    kernel = draw(st.tuples(*[st.integers(1, LARGEST_KERNEL[dims])] * dims))
    stride, dilation = draw(st.tuples(per_axis(dims, 1, 3), per_axis(dims, 1, 3)))
    extra = draw(st.tuples(*[st.integers(0, MOST_EXTRA[dims])] * dims))
    pairs = draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * dims))
    rows = zip(kernel, spread(stride, dims), spread(dilation, dims), pairs, strict=True)
    sizes, more = [], []
    for axis, (taps, step, gap, pair) in enumerate(rows):
        more.append(draw(st.integers(0, max(step, gap) - 1)))
        stamped = gap * (taps - 1) + 1 + more[-1]
        sizes.append(1 + max(0, -(-(1 + sum(pair) - stamped) // step)) + extra[axis])
    groups, samples, depth, filters = draw(st.tuples(st.integers(1, 3), *[st.integers(1, 2)] * 3))
    is_even = all(before == after for before, after in pairs)
    options = {
        "stride": stride,
        "dilation": dilation,
        "output_padding": tuple(more),
        "padding": tuple(before for before, _ in pairs) if is_even else pairs,
        "groups": groups,
    }
    return Case((samples, depth * groups, *sizes), (depth * groups, filters, *kernel), options, pairs, draw(SEEDS))


def assert_transposed(case, assert_agrees):
    dims, groups = case.dims, case.options["groups"]
    name, options = f"conv_transpose{dims}d", {key: value for key, value in case.options.items() if key != "padding"}
    x, weight, _ = case.arrays()
    bias = np.random.default_rng(case.seed + 1).standard_normal(case.weight[1] * groups)

    def inside(y):
        ends = zip(y.shape[2:], case.pads, strict=True)
        return y[(..., *(slice(before, length - after) for length, (before, after) in ends))]

    ours, back = (getattr(ops, name + end) for end in ("", "_backward"))
    y = assert_agrees(
        [x, weight, bias],
        forward=lambda x, weight, bias: ours(x, weight, bias, **case.options),
        backward=lambda grad, x, weight, bias: back(grad, x, weight, **case.options),
        reference=lambda x, weight, bias: inside(getattr(F, name)(x, weight, bias, **options)),
        seed=case.seed,
    )
    op = parse_transposed_convolution(name, case.x, case.weight, dims=dims, **case.options)
    assert op.output_shape(case.x, weight=case.weight, bias=bias.shape) == y.shape
    # With ones everywhere and nothing cut off, each multiply-add adds 1 to the sum of the output.
    x = torch.ones(case.x, requires_grad=True)
    y = getattr(F, name)(x, torch.ones(case.weight), **options)
    assert op.macs(case.x, weight=case.weight) == y.sum()
    assert_reads(op, x, inside(y), pads=((0, 0),) * dims, weight=case.weight, seed=case.seed)


@generated(max_examples=150)
@given(case=transposed_convolutions(1))
def test_conv_transpose1d(assert_agrees, case):
    assert_transposed(case, assert_agrees)


@generated(max_examples=250)
@given(case=transposed_convolutions(2))
def test_conv_transpose2d(assert_agrees, case):
    assert_transposed(case, assert_agrees)


@generated(max_examples=100)
@given(case=transposed_convolutions(3))
def test_conv_transpose3d(assert_agrees, case):
    assert_transposed(case, assert_agrees)


@generated(max_examples=200)
@given(case=convolutions(2), turns=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_tiled_conv2d(assert_agrees, case, turns):
    steps = {key: case.options[key] for key in ("stride", "dilation")}
    shape, kernel = case.x, (case.weight[0], case.x[1], *case.weight[2:])
    lengths = F.conv2d(padded(torch.ones(shape), case.pads), torch.ones(kernel), **steps).shape[2:]
    tiles = tuple(1 + turn % length for turn, length in zip(turns, lengths, strict=True))
    generator = np.random.default_rng(case.seed)
    arrays = [generator.standard_normal(s) for s in (shape, tiles + kernel, tiles + kernel[:1])]

    def reference(x, weight, bias):
        y = torch.zeros((shape[0], kernel[0], *lengths), dtype=torch.float64)
        for r, q in np.ndindex(*tiles):
            whole = F.conv2d(padded(x, case.pads), weight[r, q], bias[r, q], **steps)
            y[:, :, r :: tiles[0], q :: tiles[1]] = whole[:, :, r :: tiles[0], q :: tiles[1]]
        return y

    options = steps | {"tiles": tiles, "padding": case.options["padding"]}
    y = assert_agrees(
        arrays,
        forward=lambda x, weight, bias: ops.tiled_conv2d(x, weight, bias, **options),
        backward=lambda grad, x, weight, bias: ops.tiled_conv2d_backward(grad, x, weight, **options),
        reference=reference,
        seed=case.seed,
    )
    op = parse_tiled_convolution("tiled_conv2d", shape, tiles + kernel, **options)
    assert op.output_shape(shape, weight=tiles + kernel, bias=tiles + kernel[:1]) == y.shape
    assert op.macs(shape, weight=tiles + kernel) == y.size * math.prod(kernel[1:])


@generated(max_examples=100)
@given(case=st.sampled_from([1, 2, 3]).flatmap(convolutions))
def test_working_of_convolution(assert_workings_add_up, case):
    x, weight, bias = case.arrays()
    op = parse_convolution("conv", case.x, case.weight, dims=case.dims, **case.options)
    assert_workings_add_up(op, x, weight=weight, bias=bias, seed=case.seed)


@generated(max_examples=100)
@given(case=st.sampled_from([1, 2, 3]).flatmap(transposed_convolutions))
def test_working_of_transposed_convolution(assert_workings_add_up, case):
    x, weight, _ = case.arrays()
    op = parse_transposed_convolution("conv_transpose", case.x, case.weight, dims=case.dims, **case.options)
    assert_workings_add_up(op, x, weight=weight, seed=case.seed)


def test_there_are_2000_cases():
    files = Path(__file__).parent.glob("test_generated*.py")
    numbers = [int(number) for file in files for number in re.findall(r"max_examples=(\d+)", file.read_text())]
    assert sum(numbers) >= 2000  # what was promised; each is a limit that Hypothesis reaches
