"""Pooling on generated shapes and options against PyTorch, autograd and central differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import ops
from striate.errors import UsageError

generated = partial(settings, deadline=None, derandomize=True, database=None)
DIMS = st.sampled_from([1, 2, 2, 3])
SEEDS = st.integers(0, 2**32 - 1)
LARGEST_KERNEL = {1: 5, 2: 4, 3: 3}
MOST_EXTRA = {1: 8, 2: 5, 3: 3}


@dataclass(frozen=True)
class Case:
    """One generated call; each option has one number an axis."""

    shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] | None
    dilation: tuple[int, ...]
    padding: Any
    ceil_mode: bool
    seed: int

    @property
    def dims(self):
        return len(self.kernel_size)

    @property
    def steps(self):
        return self.stride or self.kernel_size

    @property
    def extents(self):
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))

    @property
    def pads(self):
        """What the padding comes to, worked out here."""
        if self.padding != "same":
            return tuple((p, p) if isinstance(p, int) else p for p in self.padding)
        sizes = zip(self.shape[2:], self.extents, self.steps, strict=True)
        totals = [max(0, extent - (size % step or step)) for size, extent, step in sizes]
        return tuple((total // 2, total - total // 2) for total in totals)

    @property
    def lengths(self):
        """How many windows there are; the last one of ceil mode begins before the padding at the end."""
        rounding = math.ceil if self.ceil_mode else math.floor
        found = []
        for size, extent, step, pair in zip(self.shape[2:], self.extents, self.steps, self.pads, strict=True):
            length = rounding((size + sum(pair) - extent) / step) + 1
            found.append(length - (self.ceil_mode and (length - 1) * step >= size + pair[0]))
        return tuple(found)

    def values(self):
        """Numbers that no difference step can put into another order."""
        number = math.prod(self.shape)
        order = np.random.default_rng(self.seed).permutation(number)
        return (order.reshape(self.shape) + 0.5) / number * 4 - 2

    def options(self, *names):
        chosen = {"stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}
        return chosen | ({"dilation": self.dilation} if "dilation" in names else {})

    def fitted(self, tensor, pads, value=0.0):
        """Pad at the beginning as said, and at the end so that the windows fill it exactly, which may cut some off."""
        pairs = []
        rows = zip(tensor.shape[2:], self.extents, self.steps, pads, self.lengths, strict=True)
        for size, extent, step, (before, _), length in rows:
            pairs.append((before, (length - 1) * step + extent - size - before))
        return F.pad(tensor, [pixels for pair in reversed(pairs) for pixels in pair], value=value)


@st.composite
def poolings(draw, dims=DIMS, largest_dilation=1, is_padded=True):
    dims = draw(dims)

    def numbers(smallest, largest):
        return draw(st.tuples(*[st.integers(smallest, largest)] * dims))

    kernel, dilation = numbers(1, LARGEST_KERNEL[dims]), numbers(1, largest_dilation)
    stride = None if draw(st.booleans()) else numbers(1, 3)
    halves = [st.integers(0, k // 2) for k in kernel]
    padding = (0,) * dims
    if is_padded:
        pairs = st.tuples(*[st.tuples(half, half) for half in halves])
        padding = draw(st.tuples(*halves) | pairs | (st.just("same") if max(dilation) == 1 else st.nothing()))
    sizes = []
    for k, d, pad, extra in zip(kernel, dilation, padding, numbers(0, MOST_EXTRA[dims]), strict=False):
        extent, total = d * (k - 1) + 1, sum(pad) if isinstance(pad, tuple) else 0 if isinstance(pad, str) else 2 * pad
        sizes.append(max(d, extent - total) + extra)  # a window with its cells d apart cannot miss d pixels
    sizes += [d + e for d, e in zip(dilation, numbers(0, MOST_EXTRA[dims]), strict=True)][len(sizes) :]
    samples, channels = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return Case((samples, channels, *sizes), kernel, stride, dilation, padding, draw(st.booleans()), draw(SEEDS))


def pytorch_padding(case):
    """Return the padding as PyTorch writes it, or None: it has as much after as before, and refuses small volumes."""
    is_even = all(before == after for before, after in case.pads)
    is_small = case.dims == 3 and any(n < k for n, k in zip(case.shape[2:], case.kernel_size, strict=True))
    return [before for before, _ in case.pads] if is_even and not is_small else None


def assert_reads(op, case, reference):
    """Check `reads` of every output against which outputs a single bright pixel reaches."""
    sizes, pixels = case.shape[2:], math.prod(case.shape[2:])
    spikes = torch.eye(pixels, dtype=torch.float64).reshape(pixels, 1, *sizes)
    reached = (reference(spikes)[:, 0] != 0).numpy().reshape(*sizes, *case.lengths)
    for place in np.ndindex(*case.lengths):
        read = np.ones((), dtype=bool)
        for axis, (o, size) in enumerate(zip(place, sizes, strict=True)):
            read = read[..., None] & np.isin(np.arange(size), op.reads(np.array([o]), axis=axis, size=size))
        assert np.array_equal(read, reached[(..., *place)])


def functions(name, **options):
    """Return an operation and its backward with their options set."""

    def forward(*arrays, **wanted):
        return getattr(ops, name)(*arrays, **options, **wanted)

    def backward(grad_output, *arrays):
        return getattr(ops, f"{name}_backward")(grad_output, *arrays, **options)

    return forward, backward


@generated(max_examples=300)
@given(case=poolings(largest_dilation=3))
def test_max_pooling(assert_agrees, case):
    name, padding = f"max_pool{case.dims}d", pytorch_padding(case)

    def reference(x, **wanted):
        if padding is not None:
            return getattr(F, name)(x, case.kernel_size, **case.options("dilation") | {"padding": padding}, **wanted)
        whole = case.fitted(x, case.pads, -math.inf)
        return getattr(F, name)(whole, case.kernel_size, stride=case.stride, dilation=case.dilation)

    x = case.values()
    forward, backward = functions(name, kernel_size=case.kernel_size, **case.options("dilation"))
    y = assert_agrees([x], forward=forward, backward=backward, reference=reference, seed=case.seed)
    op = ops.MaxPool(case.kernel_size, case.steps, case.pads, case.dilation, case.ceil_mode)
    assert op.output_shape(case.shape) == y.shape == case.shape[:2] + case.lengths
    for values in (x, x.round()):  # rounded ones tie
        y, switches = forward(values, return_switches=True)
        assert np.array_equal(y, reference(torch.tensor(values)).numpy())
        if padding is not None:
            assert np.array_equal(switches, reference(torch.tensor(values), return_indices=True)[1].numpy())
    assert_reads(op, case, reference)


@generated(max_examples=300)
@given(case=poolings(), count_include_pad=st.booleans(), divisor=st.none() | st.integers(1, 5))
def test_average_pooling(assert_agrees, case, count_include_pad, divisor):
    name, padding = f"avg_pool{case.dims}d", pytorch_padding(case)
    options = case.options() | {"count_include_pad": count_include_pad}
    options |= {} if divisor is None else {"divisor_override": divisor}

    def sums(x, pads):
        return math.prod(case.kernel_size) * getattr(F, name)(case.fitted(x, pads), case.kernel_size, case.stride)

    def reference(x):
        if padding is not None and (divisor is None or case.dims > 1):
            return getattr(F, name)(x, case.kernel_size, **options | {"padding": padding})
        # Counted is the input, or the input and the padding asked for; what hangs over in ceil mode never is.
        pads = ((0, 0),) * case.dims if count_include_pad else case.pads
        lengths = [n + count_include_pad * sum(pair) for n, pair in zip(case.shape[2:], case.pads, strict=True)]
        count = sums(torch.ones(1, 1, *lengths, dtype=torch.float64), pads).round().clamp(min=1)
        return sums(x, case.pads) / (divisor or count)

    forward, backward = functions(name, kernel_size=case.kernel_size, **options)
    y = assert_agrees([case.values()], forward=forward, backward=backward, reference=reference, seed=case.seed)
    op = ops.AvgPool(
        case.kernel_size, case.steps, case.pads, (1,) * case.dims, case.ceil_mode, count_include_pad, divisor
    )
    assert op.output_shape(case.shape) == y.shape == case.shape[:2] + case.lengths
    assert_reads(op, case, reference)


@generated(max_examples=200)
@given(case=poolings(is_padded=False), power=st.sampled_from([1, 1.5, 2, 3, 4]), absolute=st.booleans())
def test_lp_pooling(assert_agrees, case, power, absolute):
    name = f"lp_pool{case.dims}d"
    generator = np.random.default_rng(case.seed)
    x = generator.uniform(0.5, 1.5, size=case.shape)  # away from 0, where the norm has its kink
    if absolute or power in (2, 4):
        x *= generator.choice([-1.0, 1.0], size=case.shape)

    def reference(x):
        kernel = case.kernel_size if case.dims > 1 else case.kernel_size[0]
        return getattr(F, name)(x.abs() if absolute else x, power, kernel, case.stride, case.ceil_mode)

    options = {"kernel_size": case.kernel_size, "stride": case.stride, "ceil_mode": case.ceil_mode}
    forward, backward = functions(name, norm_type=power, absolute=absolute, **options)
    y = assert_agrees([x], forward=forward, backward=backward, reference=reference, seed=case.seed)
    op = ops.LpPool(case.kernel_size, case.steps, case.pads, (1,) * case.dims, case.ceil_mode, float(power), absolute)
    assert op.output_shape(case.shape) == y.shape == case.shape[:2] + case.lengths
    assert_reads(op, case, reference)


@generated(max_examples=150)
@given(case=poolings(st.just(2)), normalize=st.booleans())
def test_weighted_and_sum_pooling(assert_agrees, case, normalize):
    weights = np.random.default_rng(case.seed).uniform(0.5, 1.5, size=case.kernel_size)

    def reference(x, weights):
        shares = weights / weights.sum() if normalize else weights
        channels = case.fitted(x, case.pads).reshape(-1, 1, *case.fitted(x, case.pads).shape[2:])
        return F.conv2d(channels, shares[None, None], stride=case.steps).reshape(*x.shape[:2], *case.lengths)

    forward, backward = functions("weighted_avg_pool2d", normalize=normalize, **case.options())
    y = assert_agrees([case.values(), weights], forward=forward, backward=backward, reference=reference, seed=case.seed)
    op = ops.WeightedAvgPool(case.kernel_size, case.steps, case.pads, (1, 1), case.ceil_mode, normalize)
    assert op.output_shape(case.shape, weight=weights.shape) == y.shape
    assert op.macs(case.shape, weight=weights.shape) == y.size * weights.size
    forward, backward = functions("sum_pool2d", kernel_size=case.kernel_size, **case.options())
    ones = torch.ones(case.kernel_size, dtype=torch.float64)
    scale = weights.size if normalize else 1
    assert_agrees(
        [case.values()],
        forward=forward,
        backward=backward,
        reference=lambda x: scale * reference(x, ones),
        seed=case.seed,
    )


@generated(max_examples=150)
@given(data=st.data(), dims=DIMS, kind=st.sampled_from(["avg", "max"]), seed=SEEDS)
def test_adaptive_pooling(assert_agrees, data, dims, kind, seed):
    lengths = st.tuples(*[st.integers(1, 7 if dims < 3 else 4)] * dims)
    shape = (*data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), *data.draw(lengths))
    wanted = data.draw(lengths | st.integers(1, 5) | st.tuples(*[st.none() | st.integers(1, 5)] * dims))
    x = np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape) / math.prod(shape)
    name = f"adaptive_{kind}_pool{dims}d"
    theirs = tuple(
        size if want is None else want for size, want in zip(shape[2:], np.broadcast_to(wanted, dims), strict=True)
    )
    forward, backward = functions(name, output_size=wanted)
    y = assert_agrees(
        [x], forward=forward, backward=backward, reference=lambda x: getattr(F, name)(x, theirs), seed=seed
    )
    assert y.shape == shape[:2] + theirs


@generated(max_examples=150)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    options=st.fixed_dictionaries(
        {
            "stride": st.integers(1, 3),
            "padding": st.integers(0, 3),
            "dilation": st.integers(1, 3),
            "ceil_mode": st.booleans(),
        }
    ),
    seed=SEEDS,
)
def test_max_pool2d_refuses_what_pytorch_refuses(shape, kernel, options, seed):
    x = np.random.default_rng(seed).standard_normal(shape)
    try:
        expected = F.max_pool2d(torch.tensor(x), kernel, **options).numpy()
    except RuntimeError:
        with pytest.raises(UsageError, match=r"^max_pool2d: `\w+` must .+, got .+\. \w.+\.$"):
            ops.max_pool2d(x, kernel, **options)
    else:
        assert np.array_equal(ops.max_pool2d(x, kernel, **options), expected)


@generated(max_examples=150)
@given(case=poolings(largest_dilation=3), kind=st.sampled_from([ops.MaxPool, ops.AvgPool, ops.SumPool, ops.LpPool]))
def test_working(assert_workings_add_up, case, kind):
    op = kind(case.kernel_size, case.steps, case.pads, case.dilation, case.ceil_mode)
    assert_workings_add_up(op, case.values(), seed=case.seed)
