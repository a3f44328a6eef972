"""`work.conv`: the map and the gradients against `ops`, what is shown, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from striate import work
from striate.errors import UsageError
from striate.ops.convolution import conv1d, conv2d, conv2d_backward
from striate.ops.true_convolution import convolve2d, convolve2d_backward

# The example of the issue; its map is 002-eq0.5-flip of the course examples.
INPUT = "3 5 2 8 1; 9 7 5 4 3; 2 0 6 1 6; 6 3 7 9 2; 1 4 9 5 1"
KERNEL = "1 0 0; 1 1 0; 0 0 1"
MAP = [[25, 18, 17], [18, 22, 14], [20, 15, 23]]


def test_the_example_of_the_issue(assert_well_formed):
    answer = work.conv(INPUT, KERNEL, stride=1, padding=0)
    assert_well_formed(answer)
    assert answer.value.tolist() == MAP
    lines = str(answer).splitlines()
    for line in (
        "  output[i,j] = sum over a,b of kernel[a,b] input[i+a,j+b]",
        "  H_out = floor((5 + 0 + 0 - 1 x (3 - 1) - 1) / 1) + 1 = 3",
        "    [3][5][2] 8  1",
        "  output[0, 0] = 3 x 1 + 5 x 0 + 2 x 0 + 9 x 1 + 7 x 1 + 5 x 0 + 2 x 0 + 0 x 0 + 6 x 1 = 25",
        "    [25] 18  17",
    ):
        assert line in lines


def test_at_and_padding(assert_well_formed):
    answer = work.conv(INPUT, KERNEL, padding=1, bias=-5, at=(2, 2))
    assert_well_formed(answer)
    assert answer.value[2, 2] == 17
    assert "9 x 1 + (-5) = 17" in " ".join(str(answer).split())
    assert "[17]" in str(answer)
    assert "input, padded (7 x 7)" in str(answer)
    np.testing.assert_array_equal(work.conv(INPUT, KERNEL, padding="1x1", bias="-5").value, answer.value)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": "2x1", "padding": "same"},
        {"dilation": 2, "padding": "0 1 2 3"},
        {"stride": 2, "padding": "full", "bias": "1 -1"},
    ],
)
def test_channels_and_filters_against_the_operation(options, assert_well_formed):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(3, 6, 7)), rng.normal(size=(2, 3, 3, 2))
    answer = work.conv(x, kernel, at=(1, 1, 2), backward=True, **options)
    assert_well_formed(answer)
    numbers = {"stride": (2, 1)} if options.get("stride") == "2x1" else {}
    pads = {"padding": ((0, 1), (2, 3))} if options["padding"] == "0 1 2 3" else {}
    bias = [1, -1] if "bias" in options else None
    given = {name: value for name, value in options.items() if name != "bias"} | numbers | pads
    np.testing.assert_allclose(answer.value, conv2d(x[None], kernel, bias, **given)[0], rtol=0, atol=1e-12)
    grads = conv2d_backward(np.ones((1, *answer.value.shape)), x[None], kernel, **given)
    np.testing.assert_allclose(answer.numbers["grad_input"], grads[0][0], atol=1e-12)
    np.testing.assert_allclose(answer.numbers["grad_weight"], grads[1], atol=1e-12)
    np.testing.assert_allclose(answer.numbers["grad_bias"], grads[2], atol=1e-12)
    assert "channel 2 = " in str(answer)


def test_backward_terms(assert_well_formed):
    answer = work.conv(INPUT, KERNEL, backward="1 0 0; 0 0 0; 0 0 2", at="kernel[1,2]")
    assert_well_formed(answer)
    text = str(answer)
    # dL/dkernel[1, 2] = 1 x input[1, 2] + 2 x input[3, 4] = 5 + 2 x 2
    assert "dL/dkernel[1, 2] = 1 x 5 " in text
    assert " 2 x 2 = 9" in text
    assert "dL/dinput (5 x 5)" in text
    assert "dL/dinput[" not in text  # only the chosen one is unfolded
    assert answer.numbers["grad_weight"][1, 2] == 9
    only_bias = str(work.conv(INPUT, KERNEL, backward=True, at="bias[0]"))
    assert "dL/dbias = 1 + 1" in only_bias
    assert "dL/dkernel[" not in only_bias
    every = str(work.conv(INPUT, KERNEL, backward=True))
    assert "dL/doutput = 1 everywhere" in every
    assert "dL/dinput[1, 1] = " in every
    assert "dL/dkernel[0, 0] = " in every
    assert "dL/dbias = 1 + 1" in every


@pytest.mark.parametrize("convention", ["previous", "centre"])
def test_rotated_conventions(convention, assert_well_formed):
    image, kernel = work.parse_array(INPUT), work.parse_array(KERNEL)
    answer = work.conv(INPUT, KERNEL, convention=convention, padding="same", backward=True, at=(1, 2))
    assert_well_formed(answer)
    options = {"padding": "same", "convention": convention}
    np.testing.assert_array_equal(answer.value, convolve2d(image, kernel, **options))
    grads = convolve2d_backward(np.ones((5, 5)), image, kernel, **options)
    np.testing.assert_array_equal(answer.numbers["grad_input"], grads[0])
    np.testing.assert_array_equal(answer.numbers["grad_kernel"], grads[1])
    assert "rotated by 180 degrees" in str(answer)


def test_sequences(assert_well_formed):
    answer = work.conv("1 2 3", "0 1 0.5", padding="full", backward="1 2 3 4 5")
    assert_well_formed(answer)
    assert answer.value.tolist() == conv1d([[[1, 2, 3]]], [[[0, 1, 0.5]]], padding="full")[0, 0].tolist()
    # A row on an image is an image of one row.
    assert work.conv("1 2; 3 4", "1 -1").value.tolist() == [[-1], [-1]]


def test_names_and_large_inputs(assert_well_formed):
    rng = np.random.default_rng(1)
    answer = work.conv(rng.integers(0, 255, (60, 80)), "sobel-x", at=(50, 70), backward=True)
    assert_well_formed(answer)
    assert len(str(answer).splitlines()) < 150
    huge = str(work.conv(np.ones((400, 400)), "1 1", backward=True))  # 159,600 terms are listed when asked for
    assert "dL/dkernel[" not in huge
    assert "dL/dinput[" in huge


def test_json_holds_everything():
    document = work.conv(INPUT, KERNEL, backward=True).to_dict()
    assert document["numbers"]["output"] == MAP
    assert set(document["numbers"]) == {"output", "grad_output", "grad_input", "grad_weight", "grad_bias"}
    kinds = {part["kind"] for part in document["parts"]}
    assert kinds == {"line", "grid", "sum", "working"}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("1 2; 3 4", "1 2 3"), {}, r"`kernel_size` must fit into the padded input.*Pad by 1 more pixel"),
        (
            ("1 2; 3 4", "1 | 1"),
            {},
            r"conv: `kernel` must be as deep as the input, 1 channel, got 2\. Part channels with \|",
        ),
        (("1 2 | 3 4", "1"), {}, r"conv: `kernel` must be as deep as the input, 2 channels, got 1"),
        (("1 2 3", "1; 2"), {}, r"conv: `input` must be .* Sequences need a kernel of one row"),
        (("1 2; 3 4", "1"), {"stride": 0}, r"conv: `stride` must be a whole number from 1 on"),
        (("1 2; 3 4", "1"), {"padding": "sane"}, r"conv: `padding` must be valid, same, full"),
        (("1 2; 3 4", "1"), {"bias": "1 2"}, r"`bias` must have one value a filter"),
        (("1 2; 3 4", "1"), {"at": (2, 0)}, r"conv: `at` must lie inside 2 x 2, got 2,0"),
        (("1 2; 3 4", "1"), {"at": "input[0,0]"}, r"conv: `at` must be a place such as 1,2, got"),
        (
            ("1 2; 3 4", "1"),
            {"backward": "1 2"},
            r"conv: `grad_output` must have the shape of the output, 2 x 2, got 2",
        ),
        (("1 2; 3 4", "1"), {"backward": "1 2 3 4"}, r"`grad_output` must have the shape of the output"),
        (("1 2; 3 4", "1"), {"convention": "centr"}, r"conv: `convention` must be one of .*Did you mean `centre`"),
        (
            ("1 2; 3 4", "1"),
            {"convention": "previous", "stride": 2},
            r"conv: `convention` must be succeeding with a bias",
        ),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        work.conv(*arguments, **options)
