"""What a measurement must be, and how it is written."""

from __future__ import annotations

import json
import math

import pytest

from striate.work.measurement import (
    EXACT,
    VISIBLE,
    Finding,
    Measurement,
    Property,
    counted,
    equal,
    holds,
    unequal,
    value_text,
    valued,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "share", "0"),
        (2.22e-16, "share", "2e-16"),
        (9.6e-4, "share", "1e-3"),
        (0.001, "share", "0.1 %"),
        (0.0123, "share", "1.2 %"),
        (0.0996, "share", "10 %"),
        (1.314, "share", "131 %"),
        (34.2, "share", "3,420 %"),
        (-0.5, "share", "-50 %"),
        (614_656, "count", "614,656"),
        (0.25, "number", "0.25"),
        (math.nan, "share", "diverged"),
    ],
)
def test_values_as_text(value, unit, text):
    assert value_text(value, unit) == text


@pytest.mark.parametrize(
    ("row", "right", "must_be"),
    [
        (equal("a", 0.0, EXACT), True, "at most 1e-12"),
        (equal("a", 0.0, 2 * EXACT), False, "at most 1e-12"),
        (unequal("a", VISIBLE, 2.0), True, "at least 1 %"),
        (unequal("a", 0.0, 2.0), False, "at least 1 %"),
        (counted("a", 9, least=9, most=9), True, "9"),
        (counted("a", 8, least=9, most=9), False, "9"),
        (counted("a", 0, most=0), True, "0"),
        (valued("a", 3.0, least=2.0, most=4.0), True, "2 to 4"),
        (valued("a", 5.0), True, ""),
        (Measurement(what="a", values=(math.nan,)), True, ""),
        # A training that diverged is not within any bounds.
        (equal("a", math.nan), False, "at most 1e-12"),
    ],
)
def test_bounds(row, right, must_be):
    assert (row.is_as_claimed, row.must_be) == (right, must_be)


def _property(*rows):
    return Property(
        name="name",
        group="group",
        items=("B1",),
        claim="claim.",
        finding=Finding(method="m", rows=rows, verdict="Yes."),
    )


def test_the_verdict_is_that_of_the_numbers():
    assert _property(equal("a", 0.0)).verdict == "Yes."
    wrong = _property(equal("a", 0.0), unequal("b", 0.0, 1.0))
    assert not wrong.is_as_claimed
    assert wrong.verdict == "Not as claimed on this data: b: 0, 100 %, not at least 1 %."
    assert _property(equal("a", 1.0), equal("b", 1.0)).verdict.endswith("not at most 1e-12. And 1 more row.")
    assert _property(*[equal("a", 1.0)] * 3).verdict.endswith("And 2 more rows.")


def test_json_has_no_nan():
    document = _property(equal("a", math.nan), counted("b", 3)).to_dict()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["measurements"][0]["values"] == [None]
    assert document["is_as_claimed"] is False
    assert document["items"] == ["B1"]


def test_holds():
    assert holds(1e-16, 0.0) == "Holds to 1e-16"
    assert holds(0.0, 0.0) == "Holds exactly"
