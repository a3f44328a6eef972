"""HTML that is safe by construction: everything that is not `Html` is escaped on its way in."""

from __future__ import annotations

import html

from striate.train._printable import printable

__all__ = ["Html", "join", "tag"]

_VOID = frozenset({"br", "img", "link", "meta", "rect", "line", "circle", "path", "polyline"})


class Html(str):
    """Markup made by `tag`; any other string is text and is escaped."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Make one element; `class_` is class, `stroke_width` stroke-width, and an attribute that is None is left out.

    Control characters in text (file names may hold any) are spelled out, see `printable`.

    Example:
        >>> tag("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Html(f"<{name}{shown}/>")
    return Html(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Put elements and texts one after the other."""
    return Html("".join(child if isinstance(child, Html) else _escape(child) for child in children))


def _escape(value: object) -> str:
    return html.escape(printable(value), quote=True)
