from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.ops.convolution_forms import FORMS, conv2d_direct, direct_multiplies, multiplies

# (shape of x, shape of weight, options)
WINOGRAD = [
    ((2, 4, 7, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    ((1, 2, 5, 5), (3, 2, 3, 3), {"padding": "full"}),
    ((1, 3, 6, 9), (3, 1, 3, 3), {"groups": 3, "padding": ((0, 2), (1, 0))}),
    ((0, 2, 5, 5), (3, 2, 3, 3), {}),
]
OTHERS = [
    ((2, 3, 9, 8), (4, 3, 2, 4), {"stride": (2, 3), "dilation": (3, 1), "padding": ((1, 2), (0, 3))}),
    ((1, 1, 11, 11), (2, 1, 7, 7), {"padding": "same"}),
    ((2, 5, 4, 3), (4, 5, 1, 1), {"stride": 2}),
]


@pytest.mark.parametrize(
    ("name", "x", "weight", "options"),
    [(name, *case) for name in FORMS for case in WINOGRAD + OTHERS * (name != "winograd")],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_all_forms_are_equal(random, name, x, weight, options, dtype, tolerance):
    arrays = [random.standard_normal(shape).astype(dtype) for shape in (x, weight, weight[:1])]
    expected = conv2d(*arrays, **options)
    result = FORMS[name][0](*arrays, **options)
    assert result.shape == expected.shape
    assert result.dtype == dtype
    assert np.abs(result - expected).max(initial=0) < tolerance
    assert np.abs(FORMS[name][0](*arrays[:2], **options) - conv2d(*arrays[:2], **options)).max(initial=0) < tolerance


def test_forms_take_any_layout(random):
    x, weight = random.standard_normal((5, 6, 2, 3)).T, random.standard_normal((3, 3, 2, 4)).T  # axes reversed
    for function, _ in FORMS.values():
        assert np.abs(function(x, weight) - conv2d(x, weight)).max() < 1e-12


def test_counts():
    # 2 x 4 x 5 x 5 outputs of 3 x 9 products; Winograd's tiles are 3 x 3 of 16 products, as 5 is odd.
    counts = multiplies((2, 3, 5, 5), (4, 3, 3, 3), padding=1)
    assert counts["direct"] == counts["im2col"] == direct_multiplies((2, 3, 5, 5), (4, 3, 3, 3), padding=1) == 5400
    assert counts["winograd"] == 2 * 4 * 3 * 9 * 16
    # On even sizes exactly 16 for 36.
    even = multiplies((1, 8, 32, 32), (8, 8, 3, 3), padding=1)
    assert even["winograd"] * 36 == even["direct"] * 16
    for option in ("stride", "dilation"):
        assert set(multiplies((1, 1, 9, 9), (1, 1, 3, 3), **{option: 2})) == {"direct", "im2col", "fft"}


def test_errors():
    with pytest.raises(UsageError, match="conv2d_direct: `weight` must have 4 axes"):
        conv2d_direct(np.ones((1, 1, 3, 3)), np.ones((3, 3)))
    with pytest.raises(UsageError, match=r"`bias` must have one value a filter, shape \(1,\)"):
        conv2d_direct(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), [1, 2])
