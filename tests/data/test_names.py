"""Names that a terminal must not get as they are."""

from __future__ import annotations

import pytest

from striate.data.names import printable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.jpg", "a b.jpg"),
        ("ü€.jpg", "ü€.jpg"),
        ("a\tb\x1b", r"a\tb\x1b"),
        ("\udcff", r"\udcff"),
        ("\u202e", r"\u202e"),
    ],
)
def test_printable_escapes_what_a_terminal_must_not_get(name: str, expected: str):
    assert printable(name) == expected
    assert printable(name).encode()
