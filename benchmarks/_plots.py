"""Line charts with two logarithmic axes as SVG files that stand alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "chart", "log_ticks"]

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 50
LEGEND_LINE = 18
COLORS = ("#0b6e99", "#c2571a", "#3d7a37", "#7a4fa3")
FONT = 'font-family="sans-serif" font-size="12" fill="#222"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One curve; lines of one colour belong together."""

    name: str
    points: Sequence[tuple[float, float]]
    """Ascending; all numbers positive."""
    color: int = 0
    is_dashed: bool = False


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that enclose a range of positive numbers.

    Example:
        >>> log_ticks(3, 40)
        [2.0, 5.0, 10.0, 20.0, 50.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    below = max(tick for tick in every if tick <= low * (1 + 1e-9))
    above = min((tick for tick in every if tick >= high * (1 - 1e-9)), default=every[-1])
    return [tick for tick in every if below <= tick <= above]


def chart(*, title: str, axis: str, lines: Sequence[Line]) -> str:
    """Draw curves and return the SVG file.

    Args:
        title: Above the drawing; it names the vertical axis.
        axis: Name of the horizontal axis. Its ticks are the positions of the points.
        lines: At least one with a point.
    """
    places = sorted({x for line in lines for x, _ in line.points})
    ticks = log_ticks(
        min(y for line in lines for _, y in line.points), max(y for line in lines for _, y in line.points)
    )
    low_x, high_x = (places[0], places[-1]) if len(places) > 1 else (places[0] / 2, places[0] * 2)
    low_y, high_y = (ticks[0], ticks[-1]) if len(ticks) > 1 else (ticks[0] / 2, ticks[0] * 2)
    bottom = HEIGHT - BOTTOM

    def x_of(value: float) -> float:
        return LEFT + math.log(value / low_x) / math.log(high_x / low_x) * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return bottom - math.log(value / low_y) / math.log(high_y / low_y) * (bottom - TOP)

    height = HEIGHT + LEGEND_LINE * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-weight="bold" {FONT}>{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle" {FONT}>{escape(axis)}</text>',
    ]
    for tick in ticks:
        y = f"{y_of(tick):.1f}"
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end" {FONT}>{tick:,g}</text>')
    for place in places:
        parts.append(f'<text x="{x_of(place):.1f}" y="{bottom + 18}" text-anchor="middle" {FONT}>{place:g}</text>')
    for index, line in enumerate(lines):
        drawn = [(f"{x_of(x):.1f}", f"{y_of(y):.1f}") for x, y in line.points]
        parts += _curve(line, drawn, legend_y=HEIGHT + LEGEND_LINE * index)
    return "\n".join([*parts, "</svg>", ""])


def _curve(line: Line, drawn: Sequence[tuple[str, str]], *, legend_y: int) -> list[str]:
    color = COLORS[line.color % len(COLORS)]
    dashes = ' stroke-dasharray="6 4"' if line.is_dashed else ""
    stroke = f'stroke="{color}" stroke-width="2"{dashes}'
    path = " ".join(",".join(place) for place in drawn)
    dots = [f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>' for x, y in drawn]
    return [
        f'<polyline points="{path}" fill="none" {stroke}/>',
        *dots,
        f'<line x1="{LEFT}" x2="{LEFT + 30}" y1="{legend_y - 4}" y2="{legend_y - 4}" {stroke}/>',
        f'<text x="{LEFT + 38}" y="{legend_y}" {FONT}>{escape(line.name)}</text>',
    ]
