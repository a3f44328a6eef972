"""Receptive fields and output sizes: against brute force, what is shown, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from striate import work
from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.work.stack import parse_layers

STACKS = [
    "3x3, 3x3, 3x3",
    "5x3 s2 p2, pool 2x2, 3x3 d2",
    "7x7 s2 p3, pool 3x3 s2 p1, 2 * 3x3 p1, 1x1",
    "3x3 s2, 2x2, 3x3",
]


def _seen(layers: str, *, size: int, at: int) -> tuple[list[int], list[int]]:
    """Return which rows and columns of the input change the output in the middle of its map, by trying each."""

    def through(x: np.ndarray) -> np.ndarray:
        for layer in parse_layers(layers):
            kernel = np.ones((1, 1, *layer.kernel_size))
            x = conv2d(x, kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
        return x

    seen = []
    for axis in (0, 1):
        base = through(np.zeros((1, 1, size, size)))
        place = (0, 0, at, at)
        changed = []
        for i in range(size):
            x = np.zeros((1, 1, size, size))
            x[(0, 0, i) if axis == 0 else (0, 0, slice(None), i)] = 1
            if through(x)[place] != base[place]:
                changed.append(i)
        seen.append(changed)
    return seen[0], seen[1]


@pytest.mark.parametrize("layers", STACKS)
def test_receptive_field_by_trying_each_pixel(layers, assert_well_formed):
    answer = work.receptive_field(layers)
    assert_well_formed(answer)
    at = 3
    rows, columns = _seen(layers, size=60, at=at)
    for axis, found in enumerate((rows, columns)):
        first = answer.numbers["start"][-1][axis] + at * answer.numbers["jump"][-1][axis]
        size = int(answer.value[axis])
        assert (max(0, first), first + size - 1) == (found[0], found[-1])


def test_what_receptive_field_shows():
    lines = str(work.receptive_field("3x3, relu, 3x3 s2 p1, 3x3")).splitlines()
    assert "  R = 1 + (3 - 1) x 1 + (3 - 1) x 1 + (3 - 1) x 2 = 9" in lines
    assert "  output [i, j] sees rows 2i - 1 to 2i + 7, columns likewise; what lies below 0 is padding" in lines
    assert not [line for line in lines if "relu" in line]
    assert "R along the rows = 1 + (3 - 1) x 2 x 1 = 5" in str(work.receptive_field("3x1 d2"))
    assert "each output sees the whole input" in str(work.receptive_field("3x3, flatten, dense 10"))


def test_same_padding():
    assert work.receptive_field("3x3 same").numbers["start"] == [[-1, -1]]
    # Of 6 pixels with stride 2, same pads one after and none before.
    assert work.receptive_field("3x3 s2 same", size="6x6").numbers["start"] == [[0, 0]]
    with pytest.raises(UsageError, match=r"receptive_field: `size` must be given where layers with a stride"):
        work.receptive_field("3x3 s2 same")
    with pytest.raises(UsageError, match=r"receptive_field: `kernel_size` must fit"):
        work.receptive_field("3x3, 9x9", size="5x5")


def test_output_size(assert_well_formed):
    answer = work.output_size("1x28x28", "5x5 f6, relu, pool 2x2, 5x5 f16, pool 2x2, flatten, dense 120")
    assert_well_formed(answer)
    shapes = [[1, 28, 28], [6, 24, 24], [6, 24, 24], [6, 12, 12], [16, 8, 8], [16, 4, 4], [256], [120]]
    assert answer.numbers["shapes"] == shapes
    assert "H_out = W_out = floor((28 + 0 + 0 - 1 x (5 - 1) - 1) / 1) + 1 = 24" in str(answer)
    assert "16 x 4 x 4 = 256 values" in str(answer)


@pytest.mark.parametrize(
    ("size", "layers", "shape"),
    [
        ("10x5", "3x3 same", [10, 5]),
        ("7", "3x3 s2", [3, 3]),
        ("7x8", "3x3 s2", [3, 3]),
        ("6x6", "pool 3x3 s2 ceil", [3, 3]),
        ("5x5", "pool 1x1 s3 p0 ceil", [2, 2]),
        ("8x7x7", "gap", [8]),
        ("8x7x7", "bn, dropout", [8, 7, 7]),
        ("3x7x7", "3x3", [5, 5]),  # how many filters is not said
    ],
)
def test_sizes(size, layers, shape):
    assert work.output_size(size, layers).value.tolist() == shape


@pytest.mark.parametrize(
    ("size", "layers", "message"),
    [
        ("5x5", "3x3, 9x9", r"output_size: `kernel_size` must fit into the padded input.* Pad by 6"),
        ("5x5", "flatten", r"output_size: `size` must have channels, such as 1x28x28.*'flatten', layer 1"),
        ("1x5x5", "flatten, 3x3 f1", r"`layers` must have windows before flatten, .* got 'conv 3x3 f1' as layer 2"),
        ("5y5", "3x3", r"output_size: `size` must be rows and columns"),
        ("5x5", "3x3 same s0", r"output_size: `layers` must have window"),
    ],
)
def test_errors(size, layers, message):
    with pytest.raises(UsageError, match=message):
        work.output_size(size, layers)
