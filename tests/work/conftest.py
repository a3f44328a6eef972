"""What the tests of this room share: checks of workings, and the worked numbers of the course texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.ops.working import Sum, Working

COURSE = Path(__file__).with_name("course_examples.json")
"""By group: `right` is what must come out, `printed` what the text prints (null where it prints nothing)."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that takes an `example` all those of its file's group."""
    if "example" in metafunc.fixturenames:
        examples = json.loads(COURSE.read_text(encoding="utf-8"))[metafunc.module.GROUP]
        metafunc.parametrize("example", examples, ids=[example["id"] for example in examples])


@pytest.fixture
def course() -> dict[str, list[dict[str, Any]]]:
    """All worked numbers, by group."""
    return json.loads(COURSE.read_text(encoding="utf-8"))


@pytest.fixture
def assert_right() -> Callable[[Any, Mapping[str, Any]], None]:
    return _assert_right


def _assert_right(answer: Any, example: Mapping[str, Any]) -> None:
    """Compare with the right value; where a text prints one, with that too: a misprint must differ from it."""
    assert _agrees(answer, example["right"], tolerance=1e-12), f"{answer} is not {example['right']}"
    if "printed" in example:
        is_printed = _agrees(answer, example["printed"], tolerance=example.get("tolerance", 1e-12))
        assert is_printed == (example["status"] != "misprint"), f"{answer} against the printed {example['printed']}"


def _agrees(answer: Any, expected: Any, *, tolerance: float) -> bool:
    """Whether an answer holds what is expected: all keys, all items, each number within the tolerance."""
    if expected is None:
        return True
    if isinstance(expected, dict):
        return all(_agrees(answer[name], value, tolerance=tolerance) for name, value in expected.items())
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(expected, list):
        pairs = zip(answer, expected, strict=True)
        return len(answer) == len(expected) and all(_agrees(a, e, tolerance=tolerance) for a, e in pairs)
    if isinstance(expected, bool | str):
        return type(answer) is type(expected) and answer == expected
    return math.isclose(answer, expected, rel_tol=1e-12, abs_tol=tolerance)


def _assert_well_formed(working: Working) -> None:
    """Every sum equals its terms, every line fits 100 columns, and HTML and JSON can be made."""
    _check_sums(working.sums())
    text = str(working)
    assert max(map(len, text.splitlines())) <= 100
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert working._repr_html_().startswith("<div")
    json.dumps(working.to_dict())


def _check_sums(totals: Sequence[Any]) -> None:
    for total in totals:
        if isinstance(total, Sum):
            largest = max((abs(term.value) for term in total.terms), default=0.0)
            added = math.fsum(term.value for term in total.terms)
            assert math.isclose(added, total.value, rel_tol=1e-9, abs_tol=1e-12 * (1 + largest))
            _check_sums(total.terms)


@pytest.fixture
def assert_well_formed() -> Callable[[Working], None]:
    return _assert_well_formed
