"""The graph as a drawing: a box for each layer with what follows it in place, and edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from striate.anatomy._layout import lay_out
from striate.anatomy._units import count_text
from striate.anatomy.layer import Layer
from striate.anatomy.text import compact, field_text
from striate.graph._table import shortened
from striate.train._html import Html, join, tag

if TYPE_CHECKING:
    from striate.anatomy.examine import Anatomy

__all__ = ["STYLE", "graph_drawing"]

COLUMN, ROW, WIDTH, HEIGHT = 212, 78, 192, 52
LETTERS = 25
STYLE = (
    ".graph { overflow: auto; max-height: 90vh; border: 1px solid var(--line); border-radius: 12px } "
    ".graph text { font-size: 12px; fill: var(--ink) } .graph .small { font-size: 11px; fill: var(--soft) } "
    ".graph rect { fill: var(--card); stroke: var(--line); stroke-width: 1.5 } "
    ".graph .weights rect { stroke: var(--train) } .graph .unknown rect { stroke: var(--val); stroke-dasharray: 4 3 } "
    ".graph path { fill: none; stroke: var(--soft); stroke-opacity: .55; stroke-width: 1.3 }"
)


@dataclass
class _Box:
    """A layer and those behind it that change values in their place."""

    name: str
    layers: list[Layer] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)


def graph_drawing(anatomy: Anatomy) -> Html:
    """Draw the graph from top to bottom as SVG, at its natural size."""
    boxes = _boxes(anatomy)
    drawing = lay_out({number: box.sources for number, box in enumerate(boxes)})
    width, height = round(drawing.columns * COLUMN), drawing.rows * ROW
    edges = [tag("path", d=_path(places)) for places in drawing.edges]
    shapes = [_drawn(box, *drawing.places[number]) for number, box in enumerate(boxes)]
    svg = tag(
        "svg",
        join(*edges),
        join(*shapes),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"The graph of {anatomy.name}: {len(boxes)} boxes",
    )
    return tag("div", svg, class_="graph")


def _boxes(anatomy: Anatomy) -> list[_Box]:
    users: dict[str, int] = {}
    for layer in anatomy.layers:
        for source in layer.sources:
            users[source] = users.get(source, 0) + 1
    boxes = [_Box(node.name) for node in anatomy.graph.inputs]
    home = {box.name: number for number, box in enumerate(boxes)}
    for layer in anatomy.layers:
        source = layer.sources[0] if len(layer.sources) == 1 else ""
        if source in home and users[source] == 1 and _follows(layer, boxes[home[source]]):
            home[layer.name] = home[source]
            boxes[home[source]].layers.append(layer)
            continue
        home[layer.name] = len(boxes)
        boxes.append(_Box(layer.name, [layer], [home[name] for name in layer.sources if name in home]))
    return boxes


def _follows(layer: Layer, box: _Box) -> bool:
    """Whether a layer leaves values in their place: activation, normalisation, dropout."""
    return bool(box.layers) and layer.macs == 0 and layer.output_shape == box.layers[-1].output_shape


def _drawn(box: _Box, column: float, row: int) -> Html:
    left, top = column * COLUMN + (COLUMN - WIDTH) / 2, row * ROW + (ROW - HEIGHT) / 2
    first = box.layers[0] if box.layers else None
    kind = "unknown" if any(not layer.is_known for layer in box.layers) else ""
    parameters = sum(layer.parameters.count for layer in box.layers)
    style = "box " + (kind or ("weights" if parameters else "plain"))
    words = " + ".join(layer.op for layer in box.layers) or "input"
    shape = compact(box.layers[-1].output_shape[1:]) if box.layers else ""
    lines = [
        (shortened(box.name, LETTERS), 17, None),
        (_cut(words, LETTERS + 4), 31, "small"),
        (_cut(f"{shape}, {count_text(parameters)} parameters" if parameters else shape, LETTERS + 6), 45, "small"),
    ]
    texts = [
        tag("text", text, x=round(left + 9, 1), y=round(top + down, 1), class_=class_) for text, down, class_ in lines
    ]
    rect = tag("rect", x=round(left, 1), y=round(top, 1), width=WIDTH, height=HEIGHT, rx=8)
    return tag("g", rect, *texts, tag("title", _details(box.layers, first)), class_=style)


def _details(layers: Sequence[Layer], first: Layer | None) -> str:
    if first is None:
        return "the example"
    macs = [layer.macs for layer in layers]
    cost = "unknown" if None in macs else f"{sum(m or 0 for m in macs):,}"
    names = ", ".join(layer.name for layer in layers)
    return f"{names}: {cost} multiply-adds, receptive field {field_text(layers[-1]) or 'none'}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _path(places: Sequence[tuple[float, int]]) -> str:
    """Draw an edge from the foot of a box through the places between to the head of the next."""
    points = [(column * COLUMN + COLUMN / 2, row * ROW + ROW / 2) for column, row in places]
    parts = [f"M{points[0][0]:.1f} {points[0][1] + HEIGHT / 2:.1f}"]
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        start = y0 + HEIGHT / 2
        end = y1 - HEIGHT / 2
        bend = (start + end) / 2
        parts.append(f"C{x0:.1f} {bend:.1f} {x1:.1f} {bend:.1f} {x1:.1f} {end:.1f}")
        if number < len(points) - 2:
            parts.append(f"L{x1:.1f} {y1 + HEIGHT / 2:.1f}")
    return " ".join(parts)
