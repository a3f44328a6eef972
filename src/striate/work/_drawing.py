"""How a sheet is laid out and drawn with Pillow, in the font that Pillow brings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from striate.work._pixels import Pixels, pillow, view_size

if TYPE_CHECKING:
    from striate.work.sheet import Panel, Sheet

__all__ = ["draw"]

# All lengths in pixels.
MARGIN, GAP, LEAST_WIDTH, WIDEST = 28, 24, 300, 1800
TITLE, HEADING, TEXT, SMALL = 26, 19, 16, 14
"""Font sizes."""
LEAST_BESIDE = 150
"""Where less width is left beside a kernel's numbers, the text stands below them."""
LARGEST_GRID = 7
"""Of kernels with more rows or columns the numbers are left out."""
PAPER, INK, FAINT, FRAME = "white", "#1c1c1c", "#666666", "#c8c8c8"
POSITIVE, NEGATIVE = (244, 178, 102), (120, 170, 226)
"""Cells of a kernel fade from white to these, by the size of the weight."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int
    colour: str


def draw(sheet: Sheet) -> Image.Image:
    """Draw the title, the panels row by row, and the footer."""
    view = sheet.view or view_size(len(sheet.panels))
    pictures = [_view(panel.pixels, size=view) for panel in sheet.panels]
    width = max(LEAST_WIDTH, *(picture.width for picture in pictures))
    most = max(1, (WIDEST - 2 * MARGIN + GAP) // (width + GAP))
    columns = math.ceil(len(pictures) / math.ceil(len(pictures) / most))  # rows of about equal length
    rows = [range(first, min(first + columns, len(pictures))) for first in range(0, len(pictures), columns)]
    captions = [_caption(panel, width=width) for panel in sheet.panels]
    picture_heights = [max(pictures[i].height for i in row) for row in rows]
    caption_heights = [max(captions[i].height for i in row) for row in rows]

    full_width = 2 * MARGIN + columns * (width + GAP) - GAP
    head = _paragraph([_Line(sheet.title, TITLE, INK)], width=full_width - 2 * MARGIN)
    foot = _paragraph([_Line(sheet.footer, SMALL, FAINT)], width=full_width - 2 * MARGIN)
    body = sum(picture_heights) + sum(caption_heights) + len(rows) * GAP
    page = Image.new("RGB", (full_width, 2 * MARGIN + head.height + GAP + body + foot.height), PAPER)
    page.paste(head, (MARGIN, MARGIN))
    top = MARGIN + head.height + GAP // 2
    for row, picture_height, caption_height in zip(rows, picture_heights, caption_heights, strict=True):
        for column, i in enumerate(row):
            left = MARGIN + column * (width + GAP)
            page.paste(pictures[i], (left, top))
            page.paste(captions[i], (left, top + picture_height))
        top += picture_height + caption_height + GAP
    page.paste(foot, (MARGIN, page.height - MARGIN - foot.height))
    return page


def _view(pixels: Pixels, *, size: int) -> Image.Image:
    """Show a picture pixel by pixel: enlarged by a whole number where it is small, its centre where it is large."""
    _, height, width = pixels.shape
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    image = pillow(pixels[:, top : top + size, left : left + size])
    factor = max(1, size // max(image.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return ImageOps.expand(image, border=1, fill=FRAME)


def _caption(panel: Panel, *, width: int) -> Image.Image:
    """Draw what stands below a picture: the title, a kernel's numbers on the left, the sentence and the note."""
    title = _paragraph([_Line(panel.title, HEADING, INK)], width=width)
    grid = _grid(panel)
    beside = width - (grid.width + 12 if grid else 0)
    lines = [_Line(panel.text, TEXT, INK), _Line(panel.note, SMALL, FAINT)]
    text = _paragraph(lines, width=beside if beside >= LEAST_BESIDE else width)
    left, top = width - text.width, 6 + title.height + 2
    if grid and beside < LEAST_BESIDE:
        left, top = 0, top + grid.height + 6
    bottom = max(top + text.height, 6 + title.height + 2 + (grid.height if grid else 0))
    caption = Image.new("RGB", (width, bottom), PAPER)
    caption.paste(title, (0, 6))
    caption.paste(text, (left, top))
    if grid:
        caption.paste(grid, (0, 6 + title.height + 2))
    return caption


def _grid(panel: Panel) -> Image.Image | None:
    """Draw a kernel's numbers as a table, each cell tinted by sign and size, its factor below."""
    cells = panel.cells
    if not cells or max(len(cells), len(cells[0])) > LARGEST_GRID:
        return None
    font = _font(SMALL)
    side = max(26, *(round(font.getlength(cell)) + 10 for row in cells for cell in row))
    largest = max(abs(float(cell)) for row in cells for cell in row) or 1.0
    below = 22 if panel.factor else 0
    image = Image.new("RGB", (side * len(cells[0]) + 1, 26 * len(cells) + 1 + below), PAPER)
    pen = ImageDraw.Draw(image)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            value = float(cell)
            tint = POSITIVE if value > 0 else NEGATIVE
            share = 0.25 + 0.75 * abs(value) / largest if value else 0.0
            fill = tuple(round(255 + share * (channel - 255)) for channel in tint)
            pen.rectangle((x * side, y * 26, (x + 1) * side, (y + 1) * 26), fill=fill, outline=FRAME)
            pen.text((x * side + side / 2 + 1, y * 26 + 13), cell, fill=INK, font=font, anchor="mm")
    if panel.factor:
        pen.text((image.width / 2, image.height - 2), f"x {panel.factor}", fill=INK, font=font, anchor="mb")
    return image


def _paragraph(lines: list[_Line], *, width: int) -> Image.Image:
    """Draw wrapped text; empty lines are left out."""
    wrapped = [_Line(part, line.size, line.colour) for line in lines if line.text for part in _wrap(line, width=width)]
    image = Image.new("RGB", (width, max(1, sum(_leading(line.size) for line in wrapped))), PAPER)
    pen, top = ImageDraw.Draw(image), 0
    for line in wrapped:
        pen.text((0, top), line.text, fill=line.colour, font=_font(line.size))
        top += _leading(line.size)
    return image


def _wrap(line: _Line, *, width: int) -> list[str]:
    font, parts = _font(line.size), [""]
    for word in _pieces(line.text, font=font, width=width):
        longer = f"{parts[-1]} {word}".strip()
        if font.getlength(longer) <= width or not parts[-1]:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts


def _pieces(text: str, *, font: Any, width: int) -> list[str]:
    """Split into words, and words that no line has room for into parts."""
    pieces = []
    for word in text.split():
        while len(word) > 1 and font.getlength(word) > width:
            room = next(
                length
                for length in range(len(word) - 1, 0, -1)
                if length == 1 or font.getlength(word[:length]) <= width
            )
            pieces.append(word[:room])
            word = word[room:]
        pieces.append(word)
    return pieces


def _leading(size: int) -> int:
    return round(size * 1.35)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
