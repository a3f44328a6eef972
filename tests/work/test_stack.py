"""Layers as people type them."""

from __future__ import annotations

import pytest

from striate.errors import UsageError
from striate.work.stack import Layer, parse_layers, parse_size


def test_a_stack():
    conv, relu, pool, first, second = parse_layers(
        "5x3 f6 s2x1 p1 d2 c3 g3 nobias, ReLU, maxpool 3 s2 ceil, fc 10->20-30"
    )
    assert conv == Layer(
        text="conv 5x3 f6 s2x1 p1 d2 c3 g3 nobias", kind="conv", kernel_size=(5, 3), stride=(2, 1), padding=(1, 1),
        dilation=(2, 2), in_channels=3, filters=6, groups=3, has_bias=False,
    )  # fmt: skip
    assert (relu.kind, relu.has_window) == ("pass", False)
    assert (pool.kind, pool.kernel_size, pool.stride, pool.ceil_mode) == ("pool", (3, 3), (2, 2), True)
    assert [(layer.in_features, layer.out_features) for layer in (first, second)] == [(10, 20), (20, 30)]


def test_short_forms():
    assert parse_layers("pool 2x2")[0].stride == (2, 2)
    assert parse_layers("pool 2x2 s1")[0].stride == (1, 1)
    assert parse_layers("conv s2 3x3")[0].stride == (2, 2)
    assert len(parse_layers("3 * 3x3 p1, gap,")) == 4
    (dense,) = parse_layers("dense 10")
    assert (dense.in_features, dense.out_features) == (None, 10)
    assert parse_layers("3x3 same")[0].pads((5, 5)) == ((1, 1), (1, 1))
    assert parse_layers("3x3 s2 same")[0].pads((6, 5)) == ((0, 1), (1, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"parse_layers: `layers` must have a kind or a window, got 'nothing' in layer 1"),
        ("3x3, pol 2x2", r"a kind of layer or a window first, got 'pol' in layer 2\. Did you mean `pool`"),
        ("conv", r"must have a window, such as 3x3, got 'conv' in layer 1"),
        ("3x3 x2", r"a window, letters with numbers, same, valid, ceil or nobias, got 'x2'"),
        ("3x3 5x5", r"got '5x5' in layer 1"),
        ("relu 3x3", r"got '3x3' in layer 1"),
        ("dense", r"numbers of inputs and outputs, such as 256->10, got 'dense'"),
        ("dense 0", r"window, stride, dilation, groups and features from 1 on"),
        ("3x3 s0", r"window, stride, dilation, groups and features from 1 on, got '3x3 s0'"),
        ("0x3", r"from 1 on, got '0x3'"),
        ("x * 3x3", r"a whole number before \*, got 'x'"),
    ],
)
def test_what_is_no_stack(text, message):
    with pytest.raises(UsageError, match=message):
        parse_layers(text)


def test_sizes():
    assert parse_size("3 x 32 x 30", function="output_size") == (3, (32, 30))
    for text in ("0x5", "1x2x3x4", "a", "", "-1"):
        with pytest.raises(
            UsageError, match=r"output_size: `size` must be rows and columns, .* such as 28x28 or 1x28x28"
        ):
            parse_size(text, function="output_size")
