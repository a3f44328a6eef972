"""The working as text, HTML and JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from striate.ops.working import Grid, Line, Sum, Term, Working, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (-0.5, "-0.5"), (1 / 3, "0.333333"), (1e20, "1e+20"), (math.inf, "inf"), (math.nan, "nan"), (0, "0")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_a_grid_marks_its_window():
    lines = Grid("x", np.arange(9).reshape(3, 3), (slice(0, 2), slice(1, 3))).lines()
    assert lines == ["x (3 x 3)", "   0 [1][2]", "   3 [4][5]", "   6  7  8"]
    assert Grid("row", np.array([1.0, 2.5])).lines() == ["row (1 x 2)", "     1  2.5"]


def test_a_window_with_holes():
    grid = Grid("x", np.zeros((5, 5)), (slice(0, 5, 2), slice(1, 4, 2)))
    marked = [(i, j) for i in range(5) for j in range(5) if grid.is_marked(i, j)]
    assert marked == [(i, j) for i in (0, 2, 4) for j in (1, 3)]


def test_a_large_grid_shows_the_window():
    lines = Grid("x", np.zeros((100, 300)), (slice(90, 93), slice(200, 203))).lines()
    assert lines[0] == "x (100 x 300, rows 83 to 98, columns 186 to 215)"
    assert sum(line.count("[0]") for line in lines) == 9
    assert all(len(line) <= 100 for line in lines)


def test_a_sum_shows_its_products():
    total = Sum("y", (Term((2.0, -3.0), "w[0] x[0]"), Term((0.5,), "bias")), -5.5)
    assert total.lines() == ["y = 2 x (-3) + 0.5 = -5.5"]
    assert [term.value for term in total.flat()] == [-6.0, 0.5]


def test_a_long_sum_shows_the_terms_that_weigh_most_and_what_the_rest_is():
    terms = tuple(Term((float(i), 1.0), f"x[{i}]") for i in range(100))
    text = "\n".join(Sum("y", terms, 4950.0).lines())
    # Source: 0 + 1 + ... + 72 = 2628; the 27 largest are 73 to 99.
    assert "2628 (the 73 smaller ones together) = 4950" in text
    assert "99 x 1" in text
    assert "72 x 1 " not in text


def test_zeros_of_a_long_sum_are_counted():
    terms = tuple(Term((float(i % 7 == 0), 2.0), "") for i in range(70))
    assert "0 (the 60 that are 0) = 20" in "\n".join(Sum("y", terms, 20.0).lines())


def test_one_group_is_not_summed_again():
    total = Sum("y", (Sum("channel 0", (Term((2.0,), ""), Term((3.0,), "")), 5.0),), 5.0)
    assert total.lines() == ["channel 0 = 2 + 3 = 5", "y = 5"]


def test_sums_of_sums():
    groups = tuple(Sum(f"channel {c}", (Term((1.0, float(c)), ""), Term((2.0, 1.0), "")), 2.0 + c) for c in range(40))
    total = Sum("y", (*groups, Term((0.5,), "bias[0]")), sum(2.0 + c for c in range(40)) + 0.5)
    lines = total.lines()
    assert lines[0] == "channel 34 = 1 x 34 + 2 x 1 = 36"
    # Source: channels 0 to 33 sum to 34 x 2 + (0 + ... + 33) = 629; the bias is always shown.
    assert any(line == "and 34 smaller ones, together 629" for line in lines)
    assert "bias[0] = 0.5" in lines
    assert lines[-1].endswith("= 860.5")
    assert len(total.flat()) == 81


def test_text_html_and_json():
    inner = Working("inner <b>", "", (Line("a < b"),), 1.0)
    grid = Grid("x & y", np.eye(2), (slice(0, 1), slice(0, 1)))
    working = Working("title", "y = x", (inner, grid, Sum("y", (Term((1.0, 2.0), "x[0]"),), 2.0)), 2.0)
    assert str(working).splitlines()[:3] == ["title", "  y = x", "  inner <b>"]
    page = working._repr_html_()
    assert "inner &lt;b&gt;" in page
    assert "a &lt; b" in page
    assert "x &amp; y" in page
    assert page.count("<td") == 4
    plain = working.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert [part["kind"] for part in plain["parts"]] == ["working", "grid", "sum"]
    assert plain["parts"][2]["terms"][0] == {"kind": "term", "factors": [1.0, 2.0], "where": "x[0]", "value": 2.0}
    assert [total.label for total in Working("w", "", (working,), 0).sums()] == ["y"]
