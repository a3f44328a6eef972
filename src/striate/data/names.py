"""Names of files and classes, made fit for a terminal and a report."""

from __future__ import annotations

__all__ = ["printable"]


def printable(name: str) -> str:
    r"""Escape what a terminal or a report must not receive: control characters and bytes that are not UTF-8.

    Args:
        name: A file or class name as the system gave it.

    Example:
        >>> printable("line\nbreak.jpg")
        'line\\nbreak.jpg'
        >>> printable("café.jpg")
        'café.jpg'
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name)
