"""The page of `striate see`: pictures as PNG files beside it and inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.files import write_bytes, write_text
from striate.train._html import Html, join, tag
from striate.train.report import document

__all__ = ["Page"]

Array: TypeAlias = npt.NDArray[Any]

LEAST_SIDE, MOST_SIDE = 224, 1600
LEAST_TILE, WORD_HEIGHT, GAP = 56, 14, 4
STYLE = (
    ".see{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}.see figure{margin:0;max-width:100%}"
    ".see img{display:block;max-width:100%;height:auto;image-rendering:pixelated}"
    ".see figcaption{font-size:.85rem;max-width:26em;overflow-wrap:anywhere}"
)


class Page:
    """A page that is put together section by section, and written at the end.

    Args:
        folder: Where it goes, as ``index.html``; made if it is not there.
        title: Of the page.
    """

    def __init__(self, folder: Path, *, title: str) -> None:
        self.folder, self.title = folder, title
        self.pictures = list[Path]()
        self._parts = list[Html]()
        folder.mkdir(parents=True, exist_ok=True)

    def section(self, title: str, *children: object, text: str = "") -> None:
        """Add a section: a title, a paragraph, and what `figure` and others made, side by side."""
        self._parts.append(tag("h2", title))
        if text:
            self._parts.append(tag("p", text))
        self._parts.append(tag("div", *children, class_="see"))

    def figure(self, pixels: Array, name: str, *caption: str) -> Html:
        """Write pixels (H, W, 3) of 0 ... 1 as ``NAME.png`` and return them with a caption, a line for each part."""
        content = _png(pixels)
        path = self.folder / f"{name}.png"
        write_bytes(path, content)
        self.pictures.append(path)
        uri = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
        lines = [part for line in caption if line for part in (line, tag("br"))]
        return tag(
            "figure", tag("img", src=uri, alt=caption[0] if caption else name), tag("figcaption", join(*lines[:-1]))
        )

    def labelled(self, tiles: Array, labels: Sequence[str], name: str, *caption: str) -> Html:
        """Write pictures (K, H, W, 3) side by side, each with a word below it, as `figure` does."""
        return self.figure(_labelled(tiles, labels), name, *caption)

    def table(self, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Html:
        """Return a table."""
        return tag(
            "table",
            tag("tr", *(tag("th", cell) for cell in head)),
            *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows),
        )

    def write(self) -> Path:
        """Write ``index.html``, which loads nothing."""
        footer = tag("footer", "Written by striate. This page is complete: it loads nothing and runs nothing.")
        body = tag("main", Html(f"<style>{STYLE}</style>"), tag("h1", self.title), *self._parts, footer)
        path = self.folder / "index.html"
        write_text(path, document(title=self.title, body=body))
        return path


def _labelled(tiles: Array, labels: Sequence[str]) -> Array:
    """Put enlarged tiles in rows, a word below each, on white: (H', W', 3)."""
    from PIL import Image, ImageDraw

    count, height, width = tiles.shape[:3]
    factor = max(1, -(-LEAST_TILE // max(height, width)))
    columns = max(1, int(np.ceil(np.sqrt(count))))
    step_down, step_right = height * factor + WORD_HEIGHT, width * factor + GAP
    sheet = Image.new("RGB", (columns * step_right - GAP, -(-count // columns) * step_down), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = number % columns * step_right, number // columns * step_down
        picture = Image.fromarray(np.round(255 * np.clip(tile, 0, 1)).astype(np.uint8))
        sheet.paste(picture.resize((width * factor, height * factor), Image.Resampling.NEAREST), (left, top))
        draw.text((left + 1, top + height * factor + 1), label, fill="black")
    return np.asarray(sheet, dtype=np.float64) / 255


def _png(pixels: Array) -> bytes:
    """Encode pixels; small pictures are enlarged to whole blocks, very large ones reduced."""
    from PIL import Image

    image = Image.fromarray(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    longer = max(image.size)
    if longer < LEAST_SIDE:
        factor = -(-LEAST_SIDE // longer)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    elif longer > MOST_SIDE:
        image.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
