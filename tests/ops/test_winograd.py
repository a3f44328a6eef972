from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.ops.winograd import (
    INPUT_TRANSFORM,
    KERNEL_TRANSFORM,
    OUTPUT_TRANSFORM,
    conv2d_winograd,
    winograd_multiplies,
)


def test_one_dimension_is_four_products():
    # F(2, 3) of Lavin and Gray, section 4.1: m1 + m2 + m3 and m2 - m3 - m4.
    d, g = np.array([1.0, 2.0, 3.0, 5.0]), np.array([7.0, 11.0, 13.0])
    m = (KERNEL_TRANSFORM @ g) * (INPUT_TRANSFORM @ d)
    assert m.tolist() == [(1 - 3) * 7, (2 + 3) * 15.5, (3 - 2) * 4.5, (2 - 5) * 13]
    assert (OUTPUT_TRANSFORM @ m).tolist() == [7 + 22 + 39, 14 + 33 + 65]


@pytest.mark.parametrize("size", [(3, 3), (4, 4), (3, 6), (7, 4), (9, 5)])
@pytest.mark.parametrize("padding", [0, 1, "full", ((0, 1), (2, 0))])
def test_odd_and_even_sizes(random, size, padding):
    x, weight = random.standard_normal((2, 4, *size)), random.standard_normal((6, 2, 3, 3))
    result = conv2d_winograd(x, weight, padding=padding, groups=2)
    assert np.abs(result - conv2d(x, weight, padding=padding, groups=2)).max() < 1e-12


def test_count():
    # 4 x 4 outputs: four tiles of 16 products instead of 16 x 9 = 144; of 3 x 3 outputs as many.
    assert winograd_multiplies((1, 1, 6, 6), (1, 1, 3, 3)) == 64
    assert winograd_multiplies((1, 1, 5, 5), (1, 1, 3, 3)) == 64


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (5, {}, "`weight` must have 3 x 3 taps, got 5 x 5. Use conv2d_im2col, or conv2d_fft"),
        (3, {"stride": 2}, r"`stride` must be 1, got \(2, 2\). Use conv2d_im2col"),
        (3, {"dilation": (1, 2)}, r"`dilation` must be 1, got \(1, 2\). Use conv2d_im2col"),
    ],
)
def test_errors(kernel, options, message):
    with pytest.raises(UsageError, match=f"conv2d_winograd: {message}"):
        conv2d_winograd(np.ones((1, 1, 8, 8)), np.ones((1, 1, kernel, kernel)), **options)
