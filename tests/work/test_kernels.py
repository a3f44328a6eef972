"""Named kernels against the values of the course texts, typed kernels, and what is refused."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest

from striate.errors import UsageError
from striate.work.kernels import Kernel, as_kernel, kernel, list_kernels, parse_kernel

NINTH, SIXTEENTH = 1 / 9, 0.0625
EXACT = {
    # 001_4cb16d545684d15d.txt (001-named-kernels)
    "smoothing": [[NINTH] * 3] * 3,
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "edge-minus-8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "prewitt-x": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    "prewitt-y": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "sobel-x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel-y": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "laplacian-4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "roberts-x": [[0, 1], [-1, 0]],
    "roberts-y": [[1, 0], [0, -1]],
    "filter-1": [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
    "filter-2": [[-1, 1, -1], [-1, 1, -1], [-1, 1, -1]],
    "google-example": [[1, 0, 0], [1, 1, 0], [0, 0, 1]],
    # 002_60dddbe9361e9f61.txt (002-named-kernels)
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "edge-corner": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
    "edge-minus-4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "edge-8": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "box-blur": [[NINTH] * 3] * 3,
    "gaussian-blur": [
        [SIXTEENTH, 2 * SIXTEENTH, SIXTEENTH],
        [2 * SIXTEENTH, 4 * SIXTEENTH, 2 * SIXTEENTH],
        [SIXTEENTH, 2 * SIXTEENTH, SIXTEENTH],
    ],
    "x-kernel": [[1, 0, 1], [0, 1, 0], [1, 0, 1]],
    "ones-3x3": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "vertical-edge": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    # 003_a794196fe57746cf.txt (003-named-kernels)
    "plus-hollow": [[0, 1, 0], [1, 0, 1], [0, 1, 0]],
    # 000_608c531f1c4816e4.txt (bonus F1 and F2, figure 8, sum over the neighbours)
    "bonus-f1": [[-10, -10, -10], [5, 5, 5], [-10, -10, -10]],
    "bonus-f2": [[2, 2, 2], [2, -12, 2], [2, 2, 2]],
    "fig-8": [[0, 1, 2], [2, 2, 0], [0, 1, 2]],
    "neighbour-sum": [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
}
# Sums of the entries as the course examples give them ("computed").
SUMS = {
    "smoothing": 1, "sharpen": 1, "edge-minus-8": 0, "prewitt-x": 0, "prewitt-y": 0, "sobel-x": 0, "sobel-y": 0,
    "laplacian-4": 0, "roberts-x": 0, "roberts-y": 0, "filter-1": -3, "filter-2": -3, "identity": 1, "edge-corner": 0,
    "edge-8": 0, "gaussian-blur": 1, "x-kernel": 5, "ones-3x3": 9, "vertical-edge": 0, "plus-hollow": 4,
    "bonus-f1": -45, "bonus-f2": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", list(EXACT))
def test_values_are_those_of_the_texts(name):
    assert kernel(name).array().tolist() == EXACT[name]


@pytest.mark.parametrize("name", list(SUMS))
def test_sums_are_exact(name):
    assert kernel(name).sum == SUMS[name]


def test_every_kernel_of_the_list_is_here_and_checked_above():
    items = [each.item for each in list_kernels()]
    assert set(items) == {f"D{number}" for number in range(1, 23)}
    assert items == sorted(items, key=lambda item: int(item[1:]))
    assert {kernel(name).name for name in EXACT} == {each.name for each in list_kernels()}


def test_names_are_unique_and_sentences_whole():
    names = [name for each in list_kernels() for name in (each.name, *each.aliases)]
    assert len(set(names)) == len(names)
    for each in list_kernels():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.name)
        assert each.extracts.endswith(".")
        assert each.extracts.count(". ") == 0
        assert each.extracts.isascii()


@pytest.mark.parametrize("each", list_kernels(), ids=lambda each: each.name)
def test_text_reads_back_as_the_same_kernel(each):
    assert parse_kernel(each.text).weights == each.weights
    assert kernel(each.name.upper().replace("-", "_")) is each


def test_ninths_are_ninths():
    assert kernel("box-blur").weights[0][0] == Fraction(1, 9)
    assert kernel("box-blur").text == "1/9 * 1 1 1; 1 1 1; 1 1 1"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1 0 0; 1 1 0; 0 0 1", [[1, 0, 0], [1, 1, 0], [0, 0, 1]]),
        ("1,0;0,-1", [[1, 0], [0, -1]]),
        (" 1 , 0 ;\n 0 , -1 ; ", [[1, 0], [0, -1]]),
        ("1/16 * 1 2 1; 2 4 2; 1 2 1", (np.outer([1, 2, 1], [1, 2, 1]) / 16).tolist()),
        ("0.5 * -1 1", [[-0.5, 0.5]]),
        ("-1/4*4 8", [[-1, -2]]),
        ("1/3 .25 1e-2 +2.", [[1 / 3, 0.25, 0.01, 2]]),
        ("1.5/0.5", [[3]]),
        ("\N{MINUS SIGN}1 1", [[-1, 1]]),
        ("[[1, 0], [0, -1]]", [[1, 0], [0, -1]]),
        ("[1 2]", [[1, 2]]),
    ],
)
def test_typed_kernels(text, rows):
    assert parse_kernel(text).array().tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0; 1", r"rows of equal length, got 2, 1 numbers in its 2 rows\. For example"),
        ("1 a; 0 1", r"must hold numbers such as 2, -0\.5 or 1/9, got 'a' in row 1"),
        ("1 0; 0 1 x", r"got 'x' in row 2"),
        ("1/0 1", r"got '1/0' in row 1"),
        ("1/2/3", r"got '1/2/3' in row 1"),
        ("nan 1", r"got 'nan' in row 1"),
        ("1 inf", r"got 'inf' in row 1"),
        ("", "got nothing in row 1"),
        ("1;;1", "got nothing in row 2"),
        ("1,,1", "got nothing in row 1"),
        ("* 1 2", r"got nothing in the factor before \*"),
        ("2 * 3 * 1", r"got '2 \* 3' in the factor before \*"),
        ("__import__('os')", r"got \"__import__\('os'\)\" in row 1"),
        ("1e999999999 1", r"got '1e999999999' in row 1"),  # would be a number of a billion digits
        ("9" * 31, "must hold numbers"),
        ("1_000", "got '1_000'"),
    ],
)
def test_typing_errors_name_the_place(text, message):
    with pytest.raises(UsageError, match=f"parse_kernel: `kernel`.*{message}"):
        parse_kernel(text)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UsageError, match=r"kernel: `name` .* got 'sobelx'\. Did you mean `sobel-x` or `sobel-y`\?"):
        kernel("sobelx")
    with pytest.raises(UsageError, match=r"`striate filter --list` prints them all; any other kernel can be typed"):
        as_kernel("wavelet")


def test_kernels_from_arrays():
    each = as_kernel(np.array([[0.25, -0.75]], dtype=np.float32))
    assert each.weights == ((Fraction(1, 4), Fraction(-3, 4)),)
    assert (each.name, each.text, each.factor) == ("1 x 2 kernel", "1/4 * 1 -3", "1/4")
    assert as_kernel([[0.1, 1e-7]]).cells == (("0.1", "1e-07"),)  # no common factor that anybody could read
    assert as_kernel(each) is each
    assert isinstance(as_kernel(np.eye(3, dtype=bool)), Kernel)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2, 3], r"array \(kH, kW\) of numbers, got int64 of shape \(3,\)"),
        (np.zeros((0, 3)), r"got float64 of shape \(0, 3\)"),
        ([["a"]], r"of shape \(1, 1\)"),
        ([[1j]], "complex128"),
        ([[np.nan]], "finite numbers, got NaN or infinity"),
    ],
)
def test_arrays_that_are_no_kernel(value, message):
    with pytest.raises(UsageError, match=f"as_kernel: `kernel` must .*{message}"):
        as_kernel(value)


def test_kernels_become_json_types():
    described = kernel("gaussian-blur").to_dict()
    assert described["weights"] == EXACT["gaussian-blur"]
    assert (described["sum"], described["item"], described["aliases"]) == (1.0, "D4", ["gaussian"])
