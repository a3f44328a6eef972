"""A graph as text: one row a node, at most 100 columns."""

from __future__ import annotations

import math
import re

from striate.graph.graph import Graph, Node
from striate.graph.opaque import Constant, Opaque

__all__ = ["by", "shortened", "table"]

WIDTH = 100
HEAD = ("#", "name", "call", "from", "output", "parameters")
MOST = (5, 60, 20, 12, 22, 13)  # columns; the name gives way until a row fits
RIGHT = (0, 5)  # numbers stand to the right


def table(graph: Graph) -> str:
    """Return the graph as text."""
    counted: set[int] = set()
    rows = [HEAD, *(_row(node, counted) for node in graph.nodes)]
    widths = [min(most, max(len(row[i]) for row in rows)) for i, most in enumerate(MOST)]
    widths[1] -= max(0, sum(widths) + 2 * (len(widths) - 1) - WIDTH)
    lines = ["  ".join(_cell(text, width, right=i in RIGHT) for i, (text, width) in
                       enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]  # fmt: skip
    total = sum(parameter.tensor.numel() for parameter in graph.parameters)
    lines.append(f"{len(graph.nodes)} nodes, {total:,} parameters in {len(graph.parameters)} tensors")
    if graph.opaque:
        lines.append(f"{len(graph.opaque)} of them opaque: operations that striate does not know")
    return "\n".join(lines)


def by(shape: tuple[int, ...]) -> str:
    """Write a shape as people say it.

    Example:
        >>> by((16, 5, 5)), by(())
        ('16 x 5 x 5', 'one number')
    """
    return " x ".join(str(length) for length in shape) or "one number"


def _row(node: Node, counted: set[int]) -> tuple[str, ...]:
    new = [p.tensor for p in node.parameters.values() if p.kind == "parameter" and id(p.tensor) not in counted]
    counted |= {id(tensor) for tensor in new}
    count = sum(math.prod(tensor.shape) for tensor in new)
    call = f"{node.call} (opaque)" if isinstance(node.op, Opaque) else node.call
    sources = ", ".join(str(source.index) for source in node.sources)
    output = by(node.output_shape)
    if isinstance(node.op, Constant) and not node.output_shape:
        output = f"{float(node.parameters['value'].tensor):g}"
    return str(node.index), node.name, call, sources, output, f"{count:,}" if count else ""


def _cell(text: str, width: int, *, right: bool) -> str:
    text = shortened(text, width)
    return text.rjust(width) if right else text.ljust(width)


def shortened(text: str, width: int) -> str:
    """Return a name that fits: modules from the left as their first letter and their number, then cut.

    Example:
        >>> shortened("features.denseblock4.denselayer16.norm2", 30)
        'f.d4.denselayer16.norm2'
    """
    parts = text.split(".")
    for index in range(len(parts) - 1):
        if len(".".join(parts)) <= width:
            break
        found = re.search(r"\d\w*$", parts[index])
        parts[index] = parts[index][:1] + (found.group() if found and found.start() else "")
    text = ".".join(parts)
    return text if len(text) <= width else f"{text[: width - 1]}…"
