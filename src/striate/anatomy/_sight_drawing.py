"""A receptive field drawn on the image: what is seen stays bright, the box runs on into padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from striate.anatomy.looking import Effective, Look
from striate.train._html import Html, tag
from striate.train._pictures import data_uri

if TYPE_CHECKING:
    from striate.anatomy.examine import Anatomy

__all__ = ["STYLE", "effective_drawing", "look_drawing"]

Pixels = npt.NDArray[np.uint8]
STYLE = (
    ".sight image { image-rendering: pixelated } .sight .field { fill: none; stroke: var(--val); stroke-width: 2; "
    "vector-effect: non-scaling-stroke } .sight .frame { fill: none; stroke: var(--soft); vector-effect: "
    "non-scaling-stroke } .sight svg { width: 100%; max-height: 480px }"
)
DARK = 150
"""Opacity of what is not seen, of 255."""


def look_drawing(anatomy: Anatomy, found: Look) -> Html:
    """Draw what a place sees of the first image of the example."""
    pixels = _pixels(anatomy)
    shade = np.zeros((*found.seen.shape, 4), dtype=np.uint8)
    shade[~found.seen, 3] = DARK
    (top, left), (tall, wide) = found.field.origin, found.field.reach
    box = tag("rect", x=left, y=top, width=wide, height=tall, class_="field")
    return _figure(
        pixels, _image(shade, "RGBA", found.seen.shape), box, around=(top, left, tall, wide), words=str(found)
    )


def effective_drawing(anatomy: Anatomy, found: Effective) -> Html:
    """Draw how strongly a place depends on each pixel; roots of strengths, so that weak ones show."""
    shade = np.zeros((*found.strength.shape, 4), dtype=np.uint8)
    shade[..., 3] = np.round(230 * (1 - np.sqrt(found.strength))).astype(np.uint8)
    rows, columns = found.strength.shape
    return _figure(
        _pixels(anatomy), _image(shade, "RGBA", (rows, columns)), around=(0, 0, rows, columns), words=str(found)
    )


def _figure(pixels: Pixels, *shapes: Html, around: tuple[int, int, int, int], words: str) -> Html:
    rows, columns = pixels.shape[:2]
    top, left, tall, wide = around
    # At most one image's side of padding is shown on each side; a field of 483 pixels would shrink a digit to a dot.
    first = (max(min(0, top), -rows) - 1, max(min(0, left), -columns) - 1)
    last = (min(max(rows, top + tall), 2 * rows) + 1, min(max(columns, left + wide), 2 * columns) + 1)
    view = f"{first[1]} {first[0]} {last[1] - first[1]} {last[0] - first[0]}"
    frame = tag("rect", x=0, y=0, width=columns, height=rows, class_="frame")
    picture = _image(pixels, "RGB", (rows, columns))
    svg = tag("svg", picture, *shapes, frame, viewBox=view, role="img", aria_label=words)
    return tag("figure", tag("figcaption", words), svg, class_="sight")


def _image(pixels: Pixels, mode: str, shape: tuple[int, ...]) -> Html:
    from PIL import Image

    uri = data_uri(Image.fromarray(pixels, mode))
    return tag("image", href=uri, x=0, y=0, width=shape[1], height=shape[0], preserveAspectRatio="none")


def _pixels(anatomy: Anatomy) -> Pixels:
    """Return the picture that was given, or the first image of the example stretched from black to white."""
    if anatomy.pixels is not None:
        chosen: Any = np.asarray(anatomy.pixels)
    else:
        values = anatomy.example[0][0].detach().double().cpu().numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        chosen = np.round(255 * (values - low) / (high - low if high > low else 1)).astype(np.uint8)
    channels = chosen if len(chosen) == 3 else np.repeat(chosen.mean(axis=0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray(channels.transpose(1, 2, 0).astype(np.uint8))
