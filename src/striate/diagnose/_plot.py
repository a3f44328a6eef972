"""The numbers of a finding as bars: gradients and dead channels by layer, images by class, losses by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from striate.train._html import Html, join, tag

__all__ = ["plot"]

SHOWN = {
    "by_layer": "size of the gradient, by layer",
    "dead": "dead channels, by layer",
    "counts": "images, by class",
    "val_loss": "validation loss, by epoch",
    "held_out": "loss on held-out images, by step",
}
"""Which numbers of a finding are drawn, and what stands below them."""
MOST, ROW, LEFT, WIDTH = 24, 18, 150, 520
WIDE = 100.0
"""Largest over smallest bar from which their lengths stand for orders of magnitude."""


def plot(numbers: Mapping[str, Any]) -> Html | None:
    """Return the bars of the first of a finding's numbers that is a row of them; None: it has none.

    Args:
        numbers: `Finding.numbers`.

    Example:
        >>> plot({"rate": 0.1}) is None
        True
    """
    for key, caption in SHOWN.items():
        bars = _bars(numbers.get(key))
        if len(bars) > 1:
            return tag("figure", _drawn(bars), tag("figcaption", caption + _scale(bars)[1]))
    return None


def _bars(values: Any) -> list[tuple[str, float]]:
    """Return names and lengths; of lists their number, of (step, value) the value."""
    if isinstance(values, Mapping):
        found = [(str(name), value) for name, value in values.items()]
    elif isinstance(values, list | tuple):
        pairs = all(isinstance(value, list | tuple) and len(value) == 2 for value in values)
        found = [(str(v[0]), v[1]) for v in values] if pairs else [(str(n), v) for n, v in enumerate(values)]
    else:
        return []
    lengths = [(name, float(len(v) if isinstance(v, list | tuple) else v)) for name, v in found if v is not None]
    return [(name, length) for name, length in lengths if math.isfinite(length) and length >= 0][:MOST]


def _scale(bars: list[tuple[str, float]]) -> tuple[bool, str]:
    """Say whether lengths stand for orders of magnitude, and the words for it."""
    above = [length for _, length in bars if length > 0]
    is_wide = bool(above) and max(above) > WIDE * min(above)
    return is_wide, "; lengths are orders of magnitude" if is_wide else ""


def _drawn(bars: list[tuple[str, float]]) -> Html:
    above = [length for _, length in bars if length > 0] or [1.0]
    is_wide, longest = _scale(bars)[0], max(above)
    decades = math.log10(longest / min(above)) + 1
    rows = []
    for number, (name, length) in enumerate(bars):
        share = length / longest if not is_wide else (math.log10(length / min(above)) + 1) / decades if length else 0.0
        top = number * ROW
        rows.append(_word(LEFT - 6, top, name if len(name) <= 24 else f"...{name[-21:]}", anchor="end"))
        rows.append(tag("rect", x=LEFT, y=top + 2, width=f"{share * (WIDTH - LEFT - 80):.1f}", height=ROW - 5,
                        fill="#0b6e99"))  # fmt: skip
        rows.append(_word(LEFT + share * (WIDTH - LEFT - 80) + 6, top, f"{length:.3g}"))
    label = ", ".join(f"{name} {length:.3g}" for name, length in bars)
    return tag("svg", join(*rows), viewBox=f"0 0 {WIDTH} {ROW * len(bars)}", role="img", aria_label=label)


def _word(x: float, top: int, text: str, *, anchor: str = "start") -> Html:
    return tag("text", text, x=f"{x:.1f}", y=top + 13, text_anchor=anchor, fill="currentColor", font_size="12")
