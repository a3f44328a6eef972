"""Charts as inline SVG: axes, a grid, hover titles, no script. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from striate.train._html import Html, join, tag
from striate.train._scores import ReliabilityBin

__all__ = ["Series", "line_chart", "nice_ticks", "reliability_chart"]

_WIDTH = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 34
_MAX_DOTS = 40  # beyond that many epochs the dots would hide the line


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve; `style` is a class of the style sheet, None a value that is not known."""

    name: str
    style: str
    values: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Maps a range of values to a range of pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.is_log else v for v in (self.low, self.high, value))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)


def nice_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that enclose `low` to `high`; one value is seen from 0.

    Example:
        >>> nice_ticks(0.3, 9.1)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    if not high > low:
        low, high = min(low, 0.0), max(high, 0.0) or (0.0 if low < 0 else 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    *,
    title: str,
    epochs: Sequence[int],
    series: Sequence[Series],
    form: Callable[[float], str],
    height: int = 270,
    is_log: bool = False,
    from_zero: bool = False,
    summary: str = "",
) -> Html:
    """Draw curves over epochs; resting the pointer on an epoch shows its values.

    Args:
        title: Heading of the figure.
        epochs: Epoch numbers, increasing.
        series: Curves with one value for each epoch; None and non-finite values leave a gap.
        form: Writes a value for ticks and hover titles.
        height: Of the drawing, in its own units; the width is 480.
        is_log: Logarithmic vertical axis (all values positive).
        from_zero: The vertical axis begins at 0, so that noise in a speed looks as small as it is.
        summary: Stands below the title, such as the best value.
    """
    finite = [value for line in series for value in line.values if _is_finite(value)]
    legend = [tag("span", tag("i", class_=f"key {line.style}"), line.name) for line in series if len(series) > 1]
    caption = tag("figcaption", tag("b", title), *legend, tag("span", summary, class_="muted line") if summary else "")
    if not finite:
        return tag("figure", caption, tag("p", "No values.", class_="muted"))
    low = min(0.0, *finite) if from_zero else min(finite)
    ticks = _log_ticks(low, max(finite)) if is_log else nice_ticks(low, max(finite))
    bottom = height - _BOTTOM
    x = _Axis(low=epochs[0] - 0.5, high=epochs[-1] + 0.5, start=_LEFT, end=_WIDTH - _RIGHT)
    y = _Axis(low=ticks[0], high=ticks[-1], start=bottom, end=_TOP, is_log=is_log)
    drawing = [
        _horizontal_grid(y, ticks=ticks, form=form),
        _epoch_labels(x, epochs=epochs, bottom=bottom),
        *[_curve(line, epochs=epochs, x=x, y=y) for line in series],
        _hover(series, epochs=epochs, x=x, y=y, bottom=bottom, form=form),
    ]
    return tag("figure", caption, _svg(*drawing, height=height, label=f"{title} by epoch"))


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Html:
    """Draw accuracy over predicted probability, with the images in each bin as a strip of bars below."""
    bottom, strip_top, strip_bottom = 250, 262, 312
    x = _Axis(low=0, high=1, start=_LEFT, end=_WIDTH - _RIGHT)
    y = _Axis(low=0, high=1, start=bottom, end=_TOP)
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    most = max(entry.count for entry in bins)
    shapes = [_horizontal_grid(y, ticks=ticks, form=lambda v: f"{100 * v:.0f} %")]
    for entry in bins:
        left, wide = x(entry.lower) + 1, x(entry.upper) - x(entry.lower) - 2
        if entry.accuracy is None or entry.confidence is None:
            continue
        top, expected = y(entry.accuracy), y(entry.confidence)
        tall = round(entry.count / most * (strip_bottom - strip_top), 1)
        shapes.append(
            tag(
                "g",
                _rect("bar", x=left, y=top, width=wide, height=bottom - top),
                _rect("gap", x=left, y=min(top, expected), width=wide, height=abs(top - expected)),
                _rect("count", x=left, y=strip_bottom - max(tall, 1), width=wide, height=max(tall, 1)),
                tag(
                    "title",
                    f"predicted with {100 * entry.lower:.0f} to {100 * entry.upper:.0f} %: {entry.count:,} images, "
                    f"{100 * entry.accuracy:.1f} % right, mean probability {100 * entry.confidence:.1f} %",
                ),
            )
        )
    shapes.append(tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal"))
    shapes += [tag("text", f"{100 * t:.0f} %", x=x(t), y=strip_bottom + 18, text_anchor="middle") for t in ticks]
    caption = tag(
        "figcaption",
        tag("b", "Accuracy by probability"),
        tag("span", tag("i", class_="key bar"), "accuracy"),
        tag("span", tag("i", class_="key gap"), "gap"),
        tag("span", tag("i", class_="key count"), "images"),
    )
    return tag("figure", caption, _svg(*shapes, height=336, label="Reliability diagram"))


def _svg(*shapes: Html, height: int, label: str) -> Html:
    return tag("svg", *shapes, viewBox=f"0 0 {_WIDTH} {height}", class_="chart", role="img", aria_label=label)


def _rect(style: str, **position: float) -> Html:
    return tag("rect", class_=style, **{name: round(value, 1) for name, value in position.items()})


def _horizontal_grid(y: _Axis, *, ticks: Sequence[float], form: Callable[[float], str]) -> Html:
    return join(
        *[
            join(
                tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick), class_="grid"),
                tag("text", form(tick), x=_LEFT - 8, y=y(tick) + 4, text_anchor="end"),
            )
            for tick in ticks
        ]
    )


def _epoch_labels(x: _Axis, *, epochs: Sequence[int], bottom: float) -> Html:
    # Whole epochs only, and at most about eight labels: wider screens need no more, narrow ones fit no more.
    every = max(1, round(nice_ticks(0, len(epochs), count=7)[1]))
    shown = [epoch for epoch in epochs if epoch % every == 0] or list(epochs[:1])
    if every > 1 and epochs[0] == 1 and shown[0] > 1 + every // 3:
        shown.insert(0, 1)
    labels = [tag("text", epoch, x=x(epoch), y=bottom + 18, text_anchor="middle") for epoch in shown]
    return join(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom, class_="axis"), *labels)


def _curve(line: Series, *, epochs: Sequence[int], x: _Axis, y: _Axis) -> Html:
    parts, pen_is_down = [], False
    for epoch, value in zip(epochs, line.values, strict=True):
        if _is_finite(value):
            parts.append(f"{'L' if pen_is_down else 'M'}{x(epoch)} {y(value)}")
        pen_is_down = _is_finite(value)
    dots = [
        tag("circle", cx=x(epoch), cy=y(value), r=2.5)
        for epoch, value in zip(epochs, line.values, strict=True)
        if _is_finite(value) and len(epochs) <= _MAX_DOTS
    ]
    return tag("g", tag("path", d=" ".join(parts)), *dots, class_=f"curve {line.style}")


def _hover(
    series: Sequence[Series],
    *,
    epochs: Sequence[int],
    x: _Axis,
    y: _Axis,
    bottom: float,
    form: Callable[[float], str],
) -> Html:
    """One transparent column for each epoch that shows a guide line and, as its title, all values."""
    wide = round(x(epochs[0] + 1) - x(epochs[0]), 1)
    columns = []
    for index, epoch in enumerate(epochs):
        known = [(line, line.values[index]) for line in series]
        texts = [f"{line.name} {form(value)}" for line, value in known if _is_finite(value)]
        columns.append(
            tag(
                "g",
                _rect("", x=x(epoch) - wide / 2, y=_TOP, width=wide, height=bottom - _TOP),
                tag("line", x1=x(epoch), x2=x(epoch), y1=_TOP, y2=bottom),
                *[tag("circle", cx=x(epoch), cy=y(v), r=4, class_=line.style) for line, v in known if _is_finite(v)],
                tag("title", f"epoch {epoch}: {', '.join(texts) or 'no values'}"),
            )
        )
    return tag("g", *columns, class_="hover")


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = max(1, math.ceil((last - first) / 6))
    return [10.0**power for power in range(first, max(last, first + 1) + every, every) if power - every < last]


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
