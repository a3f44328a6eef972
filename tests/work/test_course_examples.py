"""The worked numbers of the course texts, reproduced by public functions: windows, kernels and pooling.

The groups `networks`, `scores` and `gradients` have files of their own beside this one.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from striate import ops, work
from striate.data import decode
from striate.errors import UsageError
from striate.ops.convolution import parse_convolution

GROUP = "windows"


def test_all_examples_are_here(course):
    examples = [example for group in course.values() for example in group]
    assert set(course) == {"windows", "networks", "scores", "gradients"}
    assert len({example["id"] for example in examples}) == len(examples) == 124
    statuses = [example["status"] for example in examples]
    assert {status: statuses.count(status) for status in set(statuses)} == {
        "ok": 59, "misprint": 16, "ambiguous": 20, "no_printed_value": 27, "not_reproducible": 2,
    }  # fmt: skip
    for example in examples:
        assert example["right"] is not None
        assert ("printed" in example) >= (example["status"] == "misprint")
        assert example.get("note") or example["status"] not in ("misprint", "ambiguous", "not_reproducible")


def convolution(*, image: str, kernel: str, **options: Any) -> Any:
    return work.conv(image, kernel, **options).value


def by_loops(*, image: str, kernel: str) -> Any:
    x, weight = work.parse_array(image)[None, None], work.parse_array(kernel)[None, None]
    np.testing.assert_allclose(ops.conv2d(x, weight), ops.conv2d_direct(x, weight), atol=1e-12)
    return ops.conv2d_direct(x, weight)[0, 0]


def sequences(*, signal: str, kernel: str, padding: str) -> Any:
    return ops.convolve1d(work.parse_array(signal), work.parse_array(kernel), padding=padding)


def first_window(*, window: str, kernel: str) -> Any:
    (total,) = work.conv(window, kernel).sums()
    return {"terms": [term.value for term in total.flat()], "sum": total.value}


def terms_of_a_window(*, kernel: str) -> Any:
    (total,) = work.conv(np.ones((5, 5)), kernel).sums()
    return len(total.flat())


def channels(*, image: str, kernel: str, bias: float) -> Any:
    image_CHW, kernel_CHW = work.parse_array(image), work.parse_array(kernel)
    answer = work.conv(image, kernel, bias=bias).value
    own = bias + sum(ops.correlate2d(x, k) for x, k in zip(image_CHW, kernel_CHW, strict=True))
    whole = bias + sum(ops.correlate2d(image_CHW.sum(axis=0), k) for k in kernel_CHW)
    return {
        "sum over channels": np.array_equal(answer, own),
        "whole image with each kernel": np.array_equal(answer, whole),
    }


def centre(*, image: str, kernel: str) -> Any:
    answer = work.conv(image, kernel, padding="same", convention="centre").value
    with pytest.raises(UsageError, match="must have odd lengths with convention='centre'"):
        work.conv(image, "1 2; 3 4", convention="centre")
    return {"map": answer, "even kernels": "refused"}


def rotated(*, image: str, kernel: str) -> Any:
    turned = work.conv(image, kernel, convention="previous").value
    np.testing.assert_array_equal(turned, work.conv(image, work.parse_array(kernel)[::-1, ::-1]).value)
    return {"convolution": turned, "correlation": work.conv(image, kernel).value}


def moving_average(*, signal: str, weights: str) -> Any:
    return ops.weighted_moving_average(work.parse_array(signal), work.parse_array(weights))


def zero_padding(*, image: str, padding: int) -> Any:
    answer = ops.pad(work.parse_array(image), padding=((padding, padding), (padding, padding)))
    np.testing.assert_array_equal(answer, work.conv(image, "1", padding=padding).value)
    return answer


def rows_that_are_read(*, place: list[int], kernel_size: list[int], stride: list[int]) -> Any:
    op = ops.Convolution(2, tuple(stride), ((0, 0), (0, 0)), (1, 1))
    shape = (1, 1, *kernel_size)
    read = [op.reads(np.array([p]), axis=axis, size=99, weight=shape) for axis, p in enumerate(place)]
    return [[int(pixels.min()), int(pixels.max())] for pixels in read]


def im2col(*, image: str, kernel: str, stride: int) -> Any:
    x, weight = work.parse_array(image), work.parse_array(kernel)
    rows = ops.im2col(x[None, None], kernel_size=weight.shape, stride=stride)[0].T
    product = ops.matmul(rows, weight.reshape(-1, 1))
    result = product.reshape(2, 2)
    return {
        "rows": rows,
        "shapes": [list(array.shape) for array in (rows, product, result)],
        "result": result,
        "equals convolution": np.array_equal(result, work.conv(image, kernel, stride=stride).value),
    }


def named_kernels(*, kernels: dict[str, str]) -> Any:
    for name, text in kernels.items():
        np.testing.assert_allclose(work.kernel(name).array(), work.parse_array(text), rtol=1e-15)
    return {name: float(work.kernel(name).sum) for name in kernels}


def pooling(*, image: str, kind: str) -> Any:
    return work.pool(image, kind=kind, kernel_size=2, stride=2).value


def pooling_of_maps(*, maps: dict[str, str], kinds: list[str]) -> Any:
    return {f"{kind} {name}": pooling(image=text, kind=kind) for kind in kinds for name, text in maps.items()}


def unknown_input(*, result: str) -> Any:
    one = np.kron(work.parse_array(result), np.ones((2, 2)))
    other = one - np.kron(np.ones((2, 2)), [[0, 1], [1, 1]])
    first, second = (work.pool(image).value for image in (one, other))
    averages = [work.pool(image, kind="avg").value for image in (one, other)]
    return {
        "output": first,
        "another input has the same output": np.array_equal(first, second),
        "and the same average": np.array_equal(*averages),
    }


def same_padding(*, odd: list[int], even: list[int]) -> Any:
    def pads(size: int) -> tuple[int, int]:
        return parse_convolution("conv2d", (1, 1, 9, 9), (1, 1, size, size), padding="same").pads[0]

    return {
        "odd kernels are padded evenly": all(before == after for before, after in map(pads, odd)),
        "even kernels are padded evenly": any(before == after for before, after in map(pads, even)),
        "padding of odd kernels is odd": all(pads(size)[0] % 2 == 1 for size in odd),
    }


def algebra(*, f: str, g: str, h: str) -> Any:
    a, b, c = (work.parse_array(text) for text in (f, g, h))

    def star(x: Any, y: Any) -> Any:
        return ops.convolve1d(x, y, padding="full")

    longer = np.append(c, 0)
    return {
        "commutative": np.allclose(star(a, b), star(b, a)),
        "associative": np.allclose(star(a, star(b, c)), star(star(a, b), c)),
        "distributive": np.allclose(star(a, b + longer), star(a, b) + star(a, longer)),
        "absorbed by 0": not star(a, [0.0]).any(),
        "left by delta": np.array_equal(star(a, [1.0]), a),
        "correlation commutes": np.allclose(
            ops.correlate1d(a, b, padding="full"), ops.correlate1d(b, a, padding="full")
        ),
    }


def grid(*, image: str) -> Any:
    x = work.parse_array(image)
    shape = list(x.shape)
    return {
        "shape": shape,
        "symmetric": np.array_equal(x, x.T),
        "least": float(x.min()),
        "largest": float(x.max()),
    }


def image_storage(*, side: int) -> Any:
    content = io.BytesIO()
    Image.new("RGB", (side, side)).save(content, format="bmp")
    sizes = {name: decode(content.getvalue(), mode=mode).nbytes for name, mode in (("grey", "L"), ("colour", "RGB"))}
    return sizes


ANSWERS = {
    "algebra": algebra,
    "centre convention": centre,
    "channels": channels,
    "convolution": convolution,
    "convolution by loops": by_loops,
    "convolution of sequences": sequences,
    "first window": first_window,
    "grid": grid,
    "im2col": im2col,
    "image storage": image_storage,
    "moving average": moving_average,
    "named kernels": named_kernels,
    "pooling": pooling,
    "pooling of an unknown input": unknown_input,
    "pooling of maps": pooling_of_maps,
    "rotated kernel": rotated,
    "rows that are read": rows_that_are_read,
    "same padding": same_padding,
    "terms of a window": terms_of_a_window,
    "zero padding": zero_padding,
}


def test_example(example, assert_right):
    assert_right(ANSWERS[example["kind"]](**example["inputs"]), example)
