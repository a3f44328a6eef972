"""Labelled pictures: panels with a title, a kernel's numbers and a sentence below each, on one PNG. Pillow only."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.errors import UsageError
from striate.work._pixels import Pixels, pillow

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Panel", "Sheet", "new_path", "save_png"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One picture of a sheet with what stands below it."""

    title: str
    pixels: Pixels
    """(C, H, W), C is 1 or 3."""
    note: str = ""
    """How values became shades, or what was measured."""
    text: str = ""
    """What the picture shows, in one sentence."""
    cells: tuple[tuple[str, ...], ...] = ()
    """The numbers of a kernel."""
    factor: str = ""
    """What the numbers are multiplied by."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More for `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        channels, height, width = self.pixels.shape
        return {
            "title": self.title,
            "text": self.text,
            "note": self.note,
            "channels": channels,
            "height": height,
            "width": width,
        } | self.facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Panels in rows, with a title above and a remark below; shows itself in a notebook."""

    name: str
    """Beginning of the file's name where none is given."""
    title: str
    panels: tuple[Panel, ...]
    footer: str = ""
    view: int | None = None
    """Pixels of the longer side of each picture: of larger ones the centre is shown. By default what fits."""

    def image(self) -> Image.Image:
        """Draw it."""
        from striate.work._drawing import draw

        return draw(self)

    def png(self) -> bytes:
        """Return the contents of a PNG file."""
        return _encode(self.image())

    def save(self, path: str | Path | None = None, *, plain: bool = False) -> Path:
        """Write a PNG file and return its path; a file that is there already is never written over.

        Args:
            path: Where to. By default a new name in the working folder.
            plain: Write the last panel alone, pixel for pixel, without labels.

        Raises:
            UsageError: the file exists already, or its name does not end in .png.
            ResourceError: it cannot be written.
        """
        content = _encode(pillow(self.panels[-1].pixels)) if plain else self.png()
        return save_png(content, path=path, name=self.name)

    def text(self) -> str:
        """Return one line a panel: its title, its sentence, and how it is shown or what was measured."""
        width = max(len(panel.title) for panel in self.panels)
        rows = []
        for panel in self.panels:
            note = f"({panel.note})" if panel.note and panel.text else panel.note
            rows.append("  ".join((f"{panel.title:<{width}}", f"{panel.text} {note}".strip())).rstrip())
        return "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without the pixels."""
        return {
            "title": self.title,
            "footer": self.footer,
            "panels": [panel.to_dict() for panel in self.panels],
        }

    def _repr_png_(self) -> bytes:
        return self.png()


def save_png(content: bytes, *, path: str | Path | None, name: str) -> Path:
    """Write a PNG under a path that is free, or under ``name.png``, ``name-2.png`` ... in the working folder.

    Raises:
        UsageError: `path` exists or does not end in .png.
        ResourceError: it cannot be written.
    """
    from striate.files import write_bytes

    path = _free(name) if path is None else new_path(path)
    write_bytes(path, content)
    return path


def new_path(path: str | Path) -> Path:
    """Return where a PNG may be written; asked before a long computation as well as after it.

    Raises:
        UsageError: the file exists already, or its name does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"save: `output` must end in .png, got {str(path)!r}. Write {path.with_suffix('.png')}.")
    if path.exists():
        raise UsageError(f"save: `output` must be a new file, and {path} exists. Choose another name or remove it.")
    return path


def _free(name: str) -> Path:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "picture"
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{number}.png" for number in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
