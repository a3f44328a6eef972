"""Values at other places: concatenation, slices, padding, shuffles, reshaping. Nothing is rounded: equal to the bit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
BATCHES = st.integers(1, 20)


@st.composite
def joined(draw):
    """Shapes that differ along one axis, and the axis."""
    axes = draw(st.integers(1, 3))
    shape = [draw(BATCHES), *draw(st.tuples(*[st.integers(1, 5)] * axes))]
    axis = draw(st.integers(1, axes))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    shapes = [(*shape[:axis], length, *shape[axis + 1 :]) for length in lengths]
    return shapes, axis - draw(st.sampled_from([0, axes + 1])), draw(SEEDS)


@generated(max_examples=90)
@given(case=joined(), repeats=st.booleans())
def test_cat(assert_like_pytorch, network, whole, case, repeats):
    shapes, axis, seed = case
    inputs = [whole(shape, seed=seed + n).requires_grad_() for n, shape in enumerate(shapes)]

    def join(self, *tensors):
        return torch.cat([*tensors, *(tensors[:1] if repeats else [])], dim=axis)

    assert_like_pytorch(network(join), *inputs, exact=True, seed=seed)


@st.composite
def slices(draw, shape):
    """An index of everything but the images."""
    index = []
    for length in shape:
        kind = draw(st.sampled_from(["all", "slice", "slice", "step", "number"]))
        first = draw(st.integers(0, length - 1))
        end = draw(st.integers(first + 1, length))
        match kind:
            case "all":
                index.append(slice(None))
            case "slice":
                index.append(slice(first - length * draw(st.booleans()), end))
            case "step":
                index.append(slice(first, None, draw(st.integers(1, 3))))
            case "number":
                index.append(first - length * draw(st.booleans()))
    if all(isinstance(part, int) for part in index):
        index[0] = slice(None)  # one number an image is no feature
    return tuple(index)


@generated(max_examples=90)
@given(
    data=st.data(),
    batch=BATCHES,
    shape=st.one_of(*[st.tuples(*[st.integers(1, 7)] * n) for n in (1, 2, 3)]),
    seed=SEEDS,
)
def test_slices(assert_like_pytorch, network, whole, data, batch, shape, seed):
    index = data.draw(slices(shape))
    x = whole((batch, *shape), seed=seed).requires_grad_()
    assert_like_pytorch(network(lambda self, x: x[(slice(None), *index)]), x, exact=True, seed=seed)


@st.composite
def padded(draw):
    axes = draw(st.integers(1, 2))
    mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate", "circular"]))
    sizes = draw(st.tuples(*[st.integers(1, 7)] * axes))
    pads = []
    for size in reversed(sizes):
        largest = {"constant": 4, "replicate": 4, "reflect": size - 1, "circular": size}[mode]
        least = -((size - 1) // 2) if mode == "constant" else 0
        pads += [draw(st.integers(least, largest)) for _ in range(2)]
    return pads, mode, (draw(BATCHES), draw(st.integers(1, 4)), *sizes), draw(SEEDS)


@generated(max_examples=80)
@given(case=padded())
def test_pad(assert_like_pytorch, network, whole, case):
    pads, mode, shape, seed = case
    x, cuts = whole(shape, seed=seed).requires_grad_(), min(pads) < 0  # negative padding has no kernel
    assert_like_pytorch(network(lambda self, x: F.pad(x, pads, mode=mode)), x, exact=True, seed=seed, alone=not cuts)


MOVES = {
    "flatten": lambda self, x: x.flatten(1),
    "flatten the maps": lambda self, x: torch.flatten(x, 2),
    "flatten the first": lambda self, x: x.flatten(1, 2),
    "view": lambda self, x: x.view(x.size(0), -1),
    "view of the batch alone": lambda self, x: x.view(len(x), 12, 4, 2).mean((2, 3)),
    "reshape": lambda self, x: x.reshape(x.shape[0], 4, 24),
    "reshape, first axis free": lambda self, x: x.reshape(-1, 96),
    "reshape to maps": lambda self, x: x.flatten(1).reshape(-1, 2, 8, 6),
    "chunk": lambda self, x: x.chunk(2, dim=1)[1],
    "chunks": lambda self, x: x.chunk(3, 1),
    "chunk and join": lambda self, x: torch.cat([*reversed(x.chunk(3, dim=1))], 1),
    "split": lambda self, x: x.split([1, 4, 1], dim=1)[1] * 2,
    "shuffle": lambda self, x: F.channel_shuffle(x, 3),
    "shuffle by hand": lambda self, x: x.view(len(x), 2, 3, 4, 4).transpose(1, 2).reshape(len(x), 6, 4, 4),
    "transpose": lambda self, x: x.transpose(2, 3),
    "transpose channels": lambda self, x: x.transpose(1, 3),
    "permute": lambda self, x: x.permute(0, 2, 3, 1),
    "permute and flatten": lambda self, x: x.permute(0, 2, 3, 1).flatten(1),
    "contiguous": lambda self, x: x.permute(0, 3, 1, 2).contiguous() + 1,
    "flip": lambda self, x: x.flip(3) + torch.flip(x, [1, 2]),
    "roll": lambda self, x: x.roll(1, 3),
    "squeeze": lambda self, x: x.mean((2, 3), keepdim=True).squeeze(3).squeeze(2),
    "unsqueeze": lambda self, x: x.mean((2, 3)).unsqueeze(2),
    "unflatten": lambda self, x: x.flatten(1).unflatten(1, (6, 16)),
    "stack": lambda self, x: torch.stack([x.flatten(2), x.flatten(2) * 2], dim=1),
    "select": lambda self, x: x.select(1, 2),
    "narrow": lambda self, x: x.narrow(2, 1, 2),
    "pixel shuffle": lambda self, x: F.pixel_shuffle(x[:, :4], 2),
    "pixel unshuffle": lambda self, x: F.pixel_unshuffle(x, 2),
    "repeat": lambda self, x: x.repeat(1, 2, 1, 3),
    "expand": lambda self, x: x[:, :, :1].expand(-1, -1, 5, -1),
    "index": lambda self, x: x[:, [0, 2, 2, 5]],
    "last": lambda self, x: x[..., -1],
    "a hole": lambda self, x: torch.cat([x[:, :2], x[:, 4:]], 1),
    "a network that pads with channels": lambda self, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3)),
    "padding with a number": lambda self, x: F.pad(x, (1, 1, 1, 1), value=2.0),
    "padding with minus infinity": lambda self, x: F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=-9.0), 2),
    "images first": lambda self, x: x[1:],
    "every other image": lambda self, x: x[::2] * 2,
    "images backwards": lambda self, x: x.flip(0) + x,
    "images joined": lambda self, x: torch.cat([x, 2 * x]),
    "images as channels": lambda self, x: x.transpose(0, 1).flatten(1).t(),
    "positions as images": lambda self, x: x.permute(0, 2, 3, 1).reshape(-1, 6),
}


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("name", MOVES)
def test_moves(assert_like_pytorch, network, whole, name, batch):
    # Three is the number of images of the captured run; whatever mixes images must run in PyTorch, and be right.
    x = whole((batch, 6, 4, 4), seed=0).requires_grad_()
    assert_like_pytorch(network(MOVES[name]), x, exact=True, alone=False)


LAYERS = {
    "channel shuffle": nn.ChannelShuffle(2),
    "zero padding": nn.ZeroPad2d((1, 2, 0, 3)),
    "reflection": nn.ReflectionPad2d(2),
    "replication": nn.ReplicationPad2d((1, 0, 2, 3)),
    "constant": nn.ConstantPad2d(1, 0.0),
    "flatten": nn.Flatten(),
    "flatten maps": nn.Flatten(2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(assert_like_pytorch, whole, name):
    assert_like_pytorch(LAYERS[name], whole((11, 6, 4, 5), seed=0).requires_grad_(), exact=True)


@generated(max_examples=50)
@given(
    names=st.lists(st.sampled_from(sorted(set(MOVES) - {"shuffle by hand"})), min_size=1, max_size=2),
    batch=BATCHES,
    seed=SEEDS,
)
def test_moves_between_convolutions(assert_like_pytorch, filled, network, whole, names, batch, seed):
    def moved(self, x):
        # Both readers add to one gradient, and each convolution asks for a border of its own.
        y = self.first(x)
        moved = [MOVES[name](self, y) for name in names]
        flat = [part.flatten(1) for value in moved for part in (value if isinstance(value, tuple) else [value])]
        return (*flat, self.second(y))

    layers = {"first": nn.Conv2d(2, 6, 3, padding=1), "second": nn.Conv2d(6, 2, 5, padding=2)}
    x = whole((batch, 2, 4, 4), seed=seed).requires_grad_()
    assert_like_pytorch(filled(network(moved, **layers), seed=seed, exact=True), x, exact=True, seed=seed, alone=False)


@pytest.mark.slow
@generated(max_examples=1200)
@given(case=joined(), data=st.data())
def test_many_more(assert_like_pytorch, network, whole, case, data):
    shapes, axis, seed = case
    inputs = [whole(shape, seed=seed + n).requires_grad_() for n, shape in enumerate(shapes)]
    size = torch.cat([torch.empty(shape) for shape in shapes], dim=axis).shape
    index = data.draw(slices(size[1:]))
    model = network(lambda self, *tensors: torch.cat(tensors, dim=axis)[(slice(None), *index)])
    assert_like_pytorch(model, *inputs, exact=True, seed=seed)


DENSE = {
    "two branches": lambda self, x: torch.cat([self.a(x), self.b(x)], 1),
    "input kept": lambda self, x: torch.cat([x, self.a(x)], 1),
    "layer after layer": lambda self, x: torch.cat([x, y := self.a(x), self.c(torch.cat([x, y], 1))], 1),
    "of vectors": lambda self, x: torch.cat([self.a(x).flatten(1), self.b(x).mean((2, 3))], 1),
}


@pytest.mark.parametrize("name", DENSE)
def test_dense_blocks(assert_like_pytorch, filled, network, normal, name):
    layers = {"a": nn.Conv2d(3, 4, 3, padding=1), "b": nn.Conv2d(3, 2, 1), "c": nn.Conv2d(7, 2, 3, padding=1)}
    model = filled(network(DENSE[name], **layers), seed=0, exact=False)
    assert_like_pytorch(model, normal((11, 3, 5, 6), seed=0).requires_grad_())


DEFINED = {
    "cat": lambda self, x, y: torch.cat([x, y], 2),
    "slice": lambda self, x: x[:, 1:, ::2, -1],
    "pad": lambda self, x: F.pad(x, (1, 2, 0, 1)),
    "reflect": lambda self, x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "flatten": lambda self, x: x.flatten(1),
    "shuffle": lambda self, x: F.channel_shuffle(x, 2),
}


@pytest.mark.parametrize("name", DEFINED)
def test_definition(assert_like_definition, network, normal, name):
    inputs = [normal((5, 4, 3, 4), seed=n).requires_grad_() for n in range(1 + (name == "cat"))]
    assert_like_definition(network(DEFINED[name]), *inputs)
