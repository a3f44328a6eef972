"""Counts of parameters: against the registry of networks, what is shown, and what is refused."""

from __future__ import annotations

import pytest

from striate import models, work
from striate.errors import UsageError

LENET = "5x5 f6, relu, pool 2x2, 5x5 f16, relu, pool 2x2, flatten, dense 120, dense 84, dense 10"
VGG16 = (
    "2 * 3x3 f64 p1, pool 2x2, 2 * 3x3 f128 p1, pool 2x2, 3 * 3x3 f256 p1, pool 2x2, 3 * 3x3 f512 p1, pool 2x2, "
    "3 * 3x3 f512 p1, pool 2x2, dense 4096, dense 4096, dense 1000"
)


BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # filters, convolutions
VGG16_BN = ", ".join(
    [f"{', '.join(['3x3 p1 f' + str(f) + ', bn'] * n)}, pool 2x2" for f, n in BLOCKS]
    + ["dense 4096, dense 4096, dense 1000"]
)


@pytest.mark.parametrize(
    ("name", "layers", "size", "weight_layers"),
    [
        ("lenet5", LENET, "1x28x28", 5),
        ("vgg16", VGG16, "3x224x224", 16),
        ("vgg16_bn", VGG16_BN, "3x224x224", 16),
        ("mlp_cifar", "dense 3072->1536->768->384->128->10", None, 5),
        ("cnn_cifar", "3x3 f32 same, pool 2x2, 3x3 f64 same, pool 2x2, dense 128, dense 10", "3x32x32", 4),
    ],
)
def test_counts_of_the_registry(name, layers, size, weight_layers, assert_well_formed):
    answer = work.parameters(layers, size=size)
    assert_well_formed(answer)
    assert answer.value == models.info(name).num_params
    assert answer.numbers["weight_layers"] == weight_layers


def test_what_is_shown():
    lines = str(work.parameters(LENET, size="1x28x28")).splitlines()
    assert "  44,190 weights + 236 biases = 44,426 parameters" in lines
    assert any("(6 x 5 x 5 + 1) x 16" in line and line.endswith("2,416") for line in lines)
    one = work.parameters("3x3 c64 f64 nobias")
    assert "(64 x 3 x 3) x 64" in str(one)
    assert one.numbers["biases"] == 0


def test_channels_follow():
    assert work.parameters("3x3 c3 f8 g1, bn, 3x3 f16 g8").numbers["parameters"] == [224, 16, 160]


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [
        ("3x3 f6", None, r"must say how many channels come in, got 'conv 3x3 f6' as layer 1\. Write them, such as c3"),
        ("3x3 c3", None, r"must say how many filters it has, got 'conv 3x3 c3' as layer 1"),
        (
            "dense 10",
            None,
            r"must say how many values come in, got 'dense 10' as layer 1\. Write them, such as 256->10",
        ),
        ("bn", None, r"must say how many channels come in, got 'bn' as layer 1"),
        ("3x3 c2 f6", "3x8x8", r"must fit each other, got 'conv 3x3 c2 f6' as layer 1 where 3 channels come in"),
        ("dense 3->4, dense 5->6", None, r"got 'dense 5->6' as layer 2 where 4 values come in\. Write 4"),
        ("3x3 c4 f6 g4", None, r"must have groups that divide channels and filters, 4 and 6, got 4"),
        ("3x3 f6, dense 10", "8x8", r"must say how many channels come in"),
    ],
)
def test_errors(layers, size, message):
    with pytest.raises(UsageError, match=rf"parameters: `layers` .*{message}"):
        work.parameters(layers, size=size)
