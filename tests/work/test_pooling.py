"""`work.pool`: each kind against `ops`, what is shown, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from striate import work
from striate.errors import UsageError
from striate.ops.average_pooling import avg_pool2d, avg_pool2d_backward, sum_pool2d, sum_pool2d_backward
from striate.ops.lp_pooling import lp_pool2d, lp_pool2d_backward
from striate.ops.max_pooling import max_pool1d, max_pool2d, max_pool2d_backward
from striate.ops.weighted_pooling import weighted_avg_pool2d, weighted_avg_pool2d_backward

# Worked number 002-maxpool of the course examples.
INPUT = "12 20 30 0; 8 12 2 0; 34 70 37 4; 112 100 25 12"
WEIGHTS = "1 2; 3 4"


@pytest.mark.parametrize(
    ("kind", "forward", "backward"),
    [
        ("max", lambda x, **o: max_pool2d(x, 2, **o), lambda g, x, **o: max_pool2d_backward(g, x, 2, **o)),
        ("avg", lambda x, **o: avg_pool2d(x, 2, **o), lambda g, x, **o: avg_pool2d_backward(g, x, 2, **o)),
        ("sum", lambda x, **o: sum_pool2d(x, 2, **o), lambda g, x, **o: sum_pool2d_backward(g, x, 2, **o)),
        ("l2", lambda x, **o: lp_pool2d(x, 2, 2, **o), lambda g, x, **o: lp_pool2d_backward(g, x, 2, 2, **o)),
        (
            "weighted",
            lambda x, **o: weighted_avg_pool2d(x, [[1, 2], [3, 4]], **o),
            lambda g, x, **o: weighted_avg_pool2d_backward(g, x, [[1, 2], [3, 4]], **o)[0],
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 3, "ceil_mode": True}])
@pytest.mark.parametrize("channels", [1, 2])
def test_each_kind_against_the_operation(kind, forward, backward, options, channels, assert_well_formed):
    x = np.random.default_rng(0).integers(-9, 9, (channels, 5, 4)).astype(float)
    weights = {"weights": WEIGHTS} if kind == "weighted" else {}
    grad = np.random.default_rng(1).normal(size=forward(x[None], **options).shape)[0]
    answer = work.pool(x, kind=kind, at=(channels - 1, 0, 0), backward=grad, **options, **weights)
    assert_well_formed(answer)
    plain = (lambda array: array[0]) if channels == 1 else (lambda array: array)
    np.testing.assert_allclose(answer.value, plain(forward(x[None], **options)[0]), atol=1e-12)
    np.testing.assert_allclose(
        answer.numbers["grad_input"], plain(backward(grad[None], x[None], **options)[0]), atol=1e-12
    )


def test_what_is_shown():
    text = str(work.pool(INPUT, at="1,1", backward=True))
    for line in (
        "max pooling: window 2 x 2, stride 2 x 2",
        "  output[i,j] = max over a,b of input[2i+a,2j+b]",
        "     112  100  [25] [12]",
        "  output = max = input[2, 2] = 37",
        "  dL/doutput = 1 everywhere",
        "    dL/dinput[2, 2] = 1 x 1 = 1",
    ):
        assert line in text.splitlines()
    assert "output = sum / divisor = 78 / 4 = 19.5" in str(work.pool(INPUT, kind="avg", at=(1, 1)))
    assert "sum of squares = 37 x 37" in str(work.pool(INPUT, kind="l2", at=(1, 1)))
    assert "v = weights / 10" in str(work.pool(INPUT, kind="weighted", weights=WEIGHTS))


def test_sequences_and_padding(assert_well_formed):
    answer = work.pool("1 4 2 3 0", kernel_size=3, stride=1, padding=1)
    assert_well_formed(answer)
    expected = max_pool1d([[[1, 4, 2, 3, 0]]], 3, stride=1, padding=1)
    assert answer.value.tolist() == expected[0, 0].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "min"}, r"pool: `kind` must be one of max, avg, sum, l2, weighted, got 'min'"),
        ({"kind": "weighted"}, r"pool: `weights` must be given for kind weighted.*weights none"),
        ({"weights": WEIGHTS}, r"pool: `weights` must be given for kind weighted.*kind max, weights given"),
        ({"kind": "weighted", "weights": "1 -1"}, r"pool: `weights` must be .*sum other than 0, got 1 x 2 with sum 0"),
        ({"kernel_size": 5}, r"`kernel_size` must fit into the padded input"),
        ({"padding": 2}, r"pool: `padding` must be at most half the kernel"),
        ({"kernel_size": "two"}, r"pool: `kernel_size` must be"),
        ({"at": (5, 0)}, r"pool: `at` must lie inside 2 x 2, got 5,0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(UsageError, match=message):
        work.pool(INPUT, **options)
    with pytest.raises(UsageError, match=r"pool: `input` must be \(L,\), \(H, W\) or \(C, H, W\), got 1 x 1 x 2 x 2"):
        work.pool(np.ones((1, 1, 2, 2)))
