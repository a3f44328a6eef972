from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.ops.fourier import conv2d_fft, fft_multiplies


def test_a_shift_is_a_shift():
    # A kernel with a single 1 at (1, 2) copies the pixel one row down and two columns on.
    image = np.arange(20.0).reshape(1, 1, 4, 5)
    kernel = np.zeros((1, 1, 2, 3))
    kernel[0, 0, 1, 2] = 1
    assert np.allclose(conv2d_fft(image, kernel)[0, 0], image[0, 0, 1:, 2:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 31])
def test_sizes_even_odd_and_prime(random, size):
    # The transform of a real signal of odd length has another shape; a prime length takes another algorithm.
    x, weight = random.standard_normal((1, 2, size, size + 1)), random.standard_normal((3, 2, 1, 2))
    assert np.abs(conv2d_fft(x, weight) - conv2d(x, weight)).max() < 1e-12


def test_the_cost_is_that_of_the_image():
    small, large = (fft_multiplies((1, 4, 64, 64), (4, 4, k, k)) for k in (3, 31))
    assert small == large
    # 64 x 64 real numbers: 4096 x 12 a transform, 4 + 16 + 4 of them; 16 complex products at 64 x 33 frequencies.
    assert small == 24 * 4096 * 12 + 4 * 16 * 64 * 33


def test_errors():
    with pytest.raises(UsageError, match="conv2d_fft: `x` must have 4 axes"):
        conv2d_fft(np.ones((3, 3)), np.ones((1, 1, 3, 3)))
    with pytest.raises(UsageError, match="`kernel_size` must fit into the padded input"):
        conv2d_fft(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)))
