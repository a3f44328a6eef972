"""A working as a page of its own: one HTML file, readable without striate."""

from __future__ import annotations

import html
import os
from pathlib import Path

from striate.errors import UsageError
from striate.ops.working import Working

__all__ = ["save_page"]

STYLE = """\
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em }
p { white-space: pre-wrap; margin: 6px 0 }
td { font-variant-numeric: tabular-nums }
"""


def save_page(working: Working, path: str | os.PathLike[str]) -> Path:
    """Write a working as an HTML file and return its path.

    Raises:
        UsageError: the file exists, or its name does not end in .html.
        ResourceError: it cannot be written.
    """
    from striate.files import write_text

    target = Path(path)
    if target.suffix.lower() != ".html":
        raise UsageError(f"save_page: `output` must end in .html, got {target.name!r}. Name it {target.stem}.html.")
    if target.exists():
        raise UsageError(
            f"save_page: `output` must be a new file, and {target} exists. Choose another name or remove it."
        )
    title = html.escape(working.title)
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n{working._repr_html_()}\n</body>\n</html>\n"
    )
    write_text(target, page)
    return target
