"""Make hostile text (class names, file names) safe to show: one line, no control or direction characters."""

from __future__ import annotations

import unicodedata

__all__ = ["cell", "printable", "width"]

# Cc: escape sequences and newlines; Cs: bytes of a file name that are not UTF-8; Zl, Zp: line separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Reading direction: the right-to-left override makes "gpj.exe" read "exe.jpg". Joiners stay: Persian needs them.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object) -> str:
    r"""Spell out every character that could move the cursor, break the line or turn the reading direction.

    Example:
        >>> printable("cat\n\x1b[31m.jpg")
        'cat\\n\\x1b[31m.jpg'
    """
    shown = str(text)
    if shown.isascii() and shown.isprintable():  # nearly always
        return shown
    return "".join(_spelled_out(character) for character in shown)


def width(text: str) -> int:
    """Count the terminal columns that `text` takes: wide (East Asian) characters take two, combining ones none."""
    return sum(_columns(character) for character in text)


def cell(text: object, *, columns: int, right: bool = False) -> str:
    """Fit `text` into exactly `columns` terminal columns, cut with ``..`` where it is longer.

    Example:
        >>> cell("a long class name", columns=8)
        'a long..'
        >>> cell("7", columns=3, right=True)
        '  7'
    """
    shown = printable(text)
    if width(shown) > columns:
        shown = _cut(shown, columns=columns - 2) + ".."[: max(columns, 0)]
    padding = " " * (columns - width(shown))
    return padding + shown if right else shown + padding


def _spelled_out(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES and character not in _DIRECTION:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, *, columns: int) -> str:
    kept = ""
    for character in text:
        if width(kept) + _columns(character) > columns:
            break
        kept += character
    return kept
