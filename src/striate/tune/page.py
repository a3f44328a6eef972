"""The page of a comparison: learning curves over the number of training images, and their numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from striate.train._html import Html, join, tag
from striate.train.report import document

if TYPE_CHECKING:
    from striate.tune.comparison import Comparison

__all__ = ["comparison_page"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 50, 110, 14, 40
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#7a4aa0", "#666666")


def comparison_page(comparison: Comparison) -> str:
    """Return a whole page that loads nothing."""
    title = f"{comparison.source} tuned to {comparison.data}"
    seeds = max(len(point.accuracies) for point in comparison.points)
    words = (
        f"Accuracy on {comparison.test_images:,} test images, mean over {seeds} seed{'s' if seeds > 1 else ''}; bars "
        "are one standard deviation. All modes saw the same images."
    )
    body = tag(
        "main",
        tag("h1", title),
        tag("p", words, class_="muted"),
        _chart(comparison),
        _table(comparison),
        tag("footer", "Written by striate. This page is complete: it loads nothing and runs nothing."),
    )
    return document(title=title, body=body)


def _table(comparison: Comparison) -> Html:
    sizes = sorted({(p.images_per_class, p.is_all) for p in comparison.points})
    head = [tag("th", "mode"), *(tag("th", f"{n:,}{' (all)' if is_all else ''} a class") for n, is_all in sizes)]
    rows = []
    for mode in dict.fromkeys(p.mode for p in comparison.points):
        own = {p.images_per_class: p for p in comparison.points if p.mode == mode}
        cells = [
            tag("td", f"{100 * own[n].mean:.1f} ± {100 * own[n].deviation:.1f} %" if n in own else "") for n, _ in sizes
        ]
        rows.append(tag("tr", tag("th", mode), *cells))
    return tag("table", tag("tr", *head), *rows)


def _chart(comparison: Comparison) -> Html:
    counts = sorted({p.images_per_class for p in comparison.points})
    low, high = math.log(counts[0]), math.log(counts[-1])

    def x(count: int) -> float:
        share = (math.log(count) - low) / (high - low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(accuracy: float) -> float:
        return HEIGHT - BOTTOM - accuracy * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for tenth in range(0, 11, 2):
        place = y(tenth / 10)
        shapes.append(_line(LEFT, place, WIDTH - RIGHT, place, stroke="#ddd"))
        shapes.append(_text(LEFT - 6, place + 4, f"{10 * tenth} %", anchor="end"))
    for count in counts:
        shapes.append(_text(x(count), HEIGHT - BOTTOM + 16, f"{count:,}", anchor="middle"))
    shapes.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "training images of a class", anchor="middle"))
    ends = list[tuple[float, str, str]]()
    for number, mode in enumerate(dict.fromkeys(p.mode for p in comparison.points)):
        own = sorted((p for p in comparison.points if p.mode == mode), key=lambda p: p.images_per_class)
        colour = COLOURS[number % len(COLOURS)]
        places = [(x(p.images_per_class), y(p.mean)) for p in own]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        shapes.append(tag("polyline", points=path, fill="none", stroke=colour, stroke_width="2"))
        for point, (a, b) in zip(own, places, strict=True):
            half = point.deviation * (HEIGHT - TOP - BOTTOM)
            shapes.append(_line(a, b - half, a, b + half, stroke=colour))
            shapes.append(tag("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r="3", fill=colour))
        ends.append((places[-1][1], mode, colour))
    least = 0.0
    for place, mode, colour in sorted(ends):
        least = max(place, least)
        shapes.append(_text(WIDTH - RIGHT + 8, least + 4, mode, fill=colour))
        least += 14  # names must not lie upon each other
    label = "Test accuracy by training images of a class"
    return tag("figure", tag("svg", join(*shapes), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label))


def _line(x1: float, y1: float, x2: float, y2: float, *, stroke: str) -> Html:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", stroke=stroke)


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "currentColor") -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, fill=fill, font_size="12")
