"""Typed arrays: every way to write one, files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from striate.errors import DataError, ImageError, UsageError
from striate.work import parse_array
from striate.work._places import parse_place, parse_sizes, place_in
from striate.work.typed import as_array, as_kernels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 5 2; 9 7 5", [[3, 5, 2], [9, 7, 5]]),
        ("3,5 , 2;9\t7  5;", [[3, 5, 2], [9, 7, 5]]),
        ("3 5 2\n9 7 5\n", [[3, 5, 2], [9, 7, 5]]),
        ("1 2 3", [1, 2, 3]),
        ("-1.5", [-1.5]),
        ("1; 2", [[1], [2]]),
        ("1/4 -1/2 +.5 1e2 2.", [0.25, -0.5, 0.5, 100, 2]),
        ("1/9 * 9 18; 0 -9", [[1, 2], [0, -1]]),
        ("1 2 | 3 4", [[[1, 2]], [[3, 4]]]),
        ("1 2; 3 4 | 5 6; 7 8", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("[1 2]\n [3 4]", [[1, 2], [3, 4]]),
        ("[[[1, 2]], [[3, 4]]]", [[[1, 2]], [[3, 4]]]),
        ("\N{MINUS SIGN}1 2", [-1, 2]),
    ],
)
def test_ways_to_write(text, expected):
    array = parse_array(text)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, np.array(expected, dtype=float))
    assert array.shape == np.shape(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2; 3", r"conv: `input` must have rows of equal length, got 2 values in row 1 and 1 value in row 2"),
        (
            "1 2 | 3 4; 5",
            r"got 1 value in channel 1, row 2|2 values in channel 1, row 1 and 1 value in channel 1, row 2",
        ),
        ("1 2; 3 4 | 5 6", r"must have channels of one size, got 2 x 2, 1 x 2"),
        ("1 two", r"must hold numbers such as 2, -0.5 or 1/9, got 'two' in row 1\. .* or the path of a file"),
        ("1 2;; 3 4", r"got nothing in row 2"),
        ("1,,2", r"got nothing in row 1"),
        ("", r"got nothing in row 1"),
        ("1/0", r"got '1/0' in row 1"),
        ("1e999", r"got '1e999'"),
        ("1e101", r"got '1e101' in row 1"),
        ("1e60 * 1e60", r"must hold numbers up to 1e\+100\. Take a smaller factor"),
        ("nan", r"got 'nan'"),
        ("__import__('os')", r"got \"__import__\('os'\)\""),
        ("2 * 3 * 4", r"got '2 \* 3' in the factor before \*"),
        ("\N{ARABIC-INDIC DIGIT THREE}", r"must hold numbers"),
    ],
)
def test_what_is_no_array(text, message):
    with pytest.raises(UsageError, match=message):
        parse_array(text, function="conv", argument="input")


def test_text_files(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeff1,2\r\n3,4\r\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("1 2; 3 4 | 5 6; 7 8")
    assert parse_array(tmp_path / "a.csv").tolist() == [[1, 2], [3, 4]]
    assert parse_array(str(tmp_path / "a.txt")).shape == (2, 2, 2)


def test_numpy_files(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.int32).reshape(2, 3))
    assert parse_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    np.save(tmp_path / "words.npy", np.array(["a"]))
    with pytest.raises(UsageError, match="must be typed numbers or an array of them"):
        parse_array(tmp_path / "words.npy")


def test_images(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(parse_array(tmp_path / "grey.png"), grey)
    colour = np.stack([grey, grey + 1, grey + 2], axis=-1)
    Image.fromarray(colour).save(tmp_path / "colour.bin", format="png")  # found by content where no number fits
    np.testing.assert_array_equal(parse_array(str(tmp_path / "colour.bin")), colour.transpose(2, 0, 1))


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"`input` must be the path of a readable file, got .*no\.csv \(No such file"):
        parse_array("no.csv", argument="input")
    with pytest.raises(DataError, match="No such file"):
        parse_array("no.npy")
    with pytest.raises(ImageError, match=r"no\.png"):
        parse_array("no.png")
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="in UTF-8"):
        parse_array(tmp_path / "odd.txt")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is no array of numbers"):
        parse_array(tmp_path / "objects.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "objects.npy").read_bytes()[:20])
    with pytest.raises(DataError, match="is no array of numbers"):
        parse_array(tmp_path / "cut.npy")
    np.savez(tmp_path / "many.npz", a=np.ones(2))
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    with pytest.raises(DataError, match="with one array, got the archive"):
        parse_array(tmp_path / "many.npy")
    monkeypatch.setattr("striate.work._array_files.MOST_BYTES", 3)
    (tmp_path / "long.csv").write_text("1,2,3,4")
    with pytest.raises(DataError, match="of at most 3 bytes, got 7"):
        parse_array(tmp_path / "long.csv")


def test_arrays_and_lists():
    assert as_array([[1, 2]], function="conv", argument="input").dtype == np.float64
    for value in ([[1, 2], [3]], [], ["a"], {"a": 1}, None):
        with pytest.raises(UsageError, match="conv: `input` must be typed numbers or an array of them"):
            as_array(value, function="conv", argument="input")
    with pytest.raises(UsageError, match=r"must hold finite numbers up to 1e\+100, got NaN"):
        as_array([1.0, np.nan], function="conv", argument="input")


def test_kernels():
    assert as_kernels("Sobel X", function="conv")[1].tolist() == [-2, 0, 2]
    assert as_kernels(["1 0", "0 1"], function="conv").shape == (2, 1, 2)
    assert as_kernels(["1 | 2", "3 | 4"], function="conv").shape == (2, 2, 1, 1)
    assert as_kernels([[1, 2]], function="conv").shape == (1, 2)
    with pytest.raises(UsageError, match="must be the name of a kernel, got 'sobl'"):
        as_kernels("sobl", function="conv")
    with pytest.raises(UsageError, match=r"conv: `kernel`s must be of one size, got 2, 3"):
        as_kernels(["1 2", "1 2 3"], function="conv")


def test_sizes():
    assert parse_sizes("conv", "stride", 2) == 2
    assert parse_sizes("conv", "stride", "2 x 1") == (2, 1)
    assert parse_sizes("conv", "padding", "full") == "full"
    assert parse_sizes("conv", "padding", "1,2,3,4") == ((1, 2), (3, 4))
    assert parse_sizes("conv", "padding", "1,2", dims=1) == ((1, 2),)
    for text in ("1x", "1 2 3", "-1", "1.5", "", "2^3"):
        with pytest.raises(UsageError, match="conv: `stride` must be whole numbers such as 2 or 2x2"):
            parse_sizes("conv", "stride", text)


def test_places():
    names = ["output", "input"]
    assert parse_place("conv", "1, 2", names=names, default="output") == ("output", (1, 2))
    assert parse_place("conv", "input[3]", names=names, default="output") == ("input", (3,))
    assert parse_place("conv", 4, names=names, default="output") == ("output", (4,))
    assert parse_place("conv", None, names=names, default="output") == ("output", None)
    for text in ("kernel[1]", "1;2", "-1", "input[]", "x"):
        with pytest.raises(
            UsageError, match=r"conv: `at` must be a place such as 1,2 or, in input, such as input\[1,2\]"
        ):
            parse_place("conv", text, names=names, default="output")
    assert place_in("conv", None, (1, 2, 3)) == (0, 0, 0)
    for place in ((2, 0), (0, 3), (0, 0, 0, 0), (-1, 0)):
        with pytest.raises(UsageError, match=r"conv: `at` must lie inside .*2 x 3, got"):
            place_in("conv", place, (1, 2, 3))
