from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.convolution import conv2d_backward
from striate.ops.im2col import col2im, conv2d_im2col, im2col, im2col_multiplies

CASES = [
    ((2, 3, 5, 6), {"kernel_size": 3}),
    ((1, 2, 7, 8), {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 2), "dilation": (2, 3)}),
    ((2, 1, 4, 4), {"kernel_size": 2, "stride": 2}),
]


def test_matrix_of_a_course_text():
    # Entries are named by row and column; each window of the text's 2 x 2 kernel with stride 2 is a row.
    image = [[11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34], [41, 42, 43, 44]]
    expected = [[11, 12, 21, 22], [13, 14, 23, 24], [31, 32, 41, 42], [33, 34, 43, 44]]
    assert im2col([[image]], kernel_size=2, stride=2)[0].T.tolist() == expected
    # 11 + 24 + 63 + 88 = 186 for the kernel 1, 2, 3, 4, and so on.
    assert conv2d_im2col([[image]], [[[[1, 2], [3, 4]]]], stride=2).tolist() == [[[[186, 206], [386, 406]]]]


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_against_pytorch(random, shape, options):
    x = random.standard_normal(shape)
    cols = im2col(x, **options)
    assert np.array_equal(cols, F.unfold(torch.tensor(x), **options).numpy())
    values = random.standard_normal(cols.shape)
    folded = col2im(values, output_size=shape[2:], **options)
    assert np.abs(folded - F.fold(torch.tensor(values), shape[2:], **options).numpy()).max() < 1e-12


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_col2im_is_the_transpose(random, shape, options):
    # <im2col(x), c> = <x, col2im(c)>, which makes it the gradient.
    x = random.standard_normal(shape)
    cols = im2col(x, **options)
    values = random.standard_normal(cols.shape)
    back = col2im(values, output_size=shape[2:], **options)
    assert np.isclose(np.vdot(cols, values), np.vdot(x, back), rtol=1e-12)


def test_the_input_gradient_of_convolution_in_matrices(random):
    x, weight = random.standard_normal((2, 3, 5, 6)), random.standard_normal((4, 3, 3, 2))
    y = conv2d_im2col(x, weight, padding="same")
    cols = weight.reshape(4, -1).T @ y.reshape(2, 4, -1)
    expected, _, _ = conv2d_backward(y, x, weight, padding="same")
    result = col2im(cols, output_size=(5, 6), kernel_size=(3, 2), padding="same")
    assert np.abs(result - expected).max() < 1e-12


def test_type_layout_and_count():
    x = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    assert im2col(x, kernel_size=2).dtype == np.float32
    assert np.array_equal(im2col(x, kernel_size=2), im2col(x.copy(), kernel_size=2))
    assert im2col_multiplies((1, 2, 3, 4), (5, 2, 2, 2)) == 5 * 2 * 3 * 8


def test_errors():
    with pytest.raises(UsageError, match="im2col: `kernel_size` must fit into the padded input"):
        im2col(np.ones((1, 1, 2, 2)), kernel_size=3)
    with pytest.raises(
        UsageError, match=r"col2im: `cols_NKL` must have shape \(N, a multiple of 4, 4\), got \(1, 6, 4\)"
    ):
        col2im(np.ones((1, 6, 4)), output_size=3, kernel_size=2)
    with pytest.raises(UsageError, match="im2col: `x` must have 4 axes"):
        im2col(np.ones((2, 2)), kernel_size=1)
    with pytest.raises(UsageError, match="conv2d_im2col: `groups` must divide"):
        conv2d_im2col(np.ones((1, 2, 3, 3)), np.ones((2, 2, 3, 3)), groups=3)
