"""Sections of the report about results: curves, confusion, classes, mistakes, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.train._charts import Series, line_chart, reliability_chart
from striate.train._html import Html, tag
from striate.train._pictures import PICTURE_SIZE, picture
from striate.train.metrics import ClassMetrics, Evaluation, Interval

__all__ = ["Mistake", "calibration", "classes", "confusion", "curves", "mistakes_section", "percent", "span"]

Array: TypeAlias = npt.NDArray[Any]

MAX_TABLE = 20  # classes whose confusion matrix is readable as numbers
MAX_HEAT = 100  # classes whose confusion matrix is readable as colours
MAX_PICTURES = 24

_CALIBRATION = (
    "A network is calibrated when, of the images it predicts with 80 %, 80 % are right: when the bars end on the dashed"
    " line. The error is the mean distance from the line over 15 bins of equal width, weighted by their images."
)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One wrongly classified image.

    `name` is its file, or what `Dataset.identify` says; `probability` (0 .. 1) is that of the predicted class, and
    `target_probability` that of the right one. `pixels` is uint8, (H, W), (1, H, W) or (3, H, W); None for vectors.
    """

    name: str
    target: str
    prediction: str
    probability: float
    target_probability: float | None = None
    pixels: Array | None = None


def percent(share: float | None, *, decimals: int = 2) -> str:
    """Write a share of 1 as a percentage, or a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{decimals}f}\u00a0%"  # the space does not break


def span(interval: Interval | None, *, decimals: int = 2) -> str:
    """Write an interval of shares as percentages."""
    return "" if interval is None else f"{100 * interval[0]:.{decimals}f}\u00a0to\u00a0{100 * interval[1]:.{decimals}f}"


def curves(history: Sequence[Mapping[str, Any]]) -> Html:
    """Loss, accuracy, learning rate and speed of each epoch."""
    if not history:
        return tag("p", "No epoch was finished.", class_="muted")
    epochs = [int(row["epoch"]) for row in history]
    loss = _series(history, key="loss")
    known = [value for line in loss for value in line.values if value is not None and math.isfinite(value)]
    # A loss that falls by more than a factor of 30 hides its second half on a linear axis.
    is_log = bool(known) and min(known) > 0 and max(known) / min(known) > 30
    accuracy = _series(history, key="accuracy")
    lr = Series(name="learning rate", style="other", values=[_value(row, "lr") for row in history])
    speed = Series(
        name="images per second", style="other", values=[_value(row, "images_per_second") for row in history]
    )
    return tag(
        "div",
        line_chart(
            title="Loss" + (" (logarithmic)" if is_log else ""),
            epochs=epochs,
            series=loss,
            form=_short,
            is_log=is_log,
            summary=_best(loss[-1], epochs=epochs, pick=min, form=_short),
        ),
        line_chart(
            title="Accuracy",
            epochs=epochs,
            series=accuracy,
            form=lambda v: f"{100 * v:.4g} %",
            summary=_best(accuracy[-1], epochs=epochs, pick=max, form=percent),
        ),
        line_chart(title="Learning rate", epochs=epochs, series=[lr], form=_short, height=190, from_zero=True),
        line_chart(title="Images per second", epochs=epochs, series=[speed], form=_count, height=190, from_zero=True),
        class_="pair",
    )


def confusion(evaluation: Evaluation) -> Html:
    """Confusion as a table of numbers, or for more than 20 classes as colours and a list."""
    if len(evaluation.per_class) <= MAX_TABLE:
        return _confusion_table(evaluation)
    if len(evaluation.per_class) <= MAX_HEAT:
        return tag("div", _confusion_heat(evaluation), _confusion_list(evaluation), class_="pair")
    return _confusion_list(evaluation)


def classes(evaluation: Evaluation) -> Html:
    """Table of precision, recall, F1 and support of each class."""
    head = tag(
        "tr",
        *[tag("th", name) for name in ("class", "precision", "recall", "F1")],
        tag("th", class_="meter"),
        tag("th", "images"),
    )
    rows = [_class_row(entry) for entry in evaluation.per_class]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="data")
    return tag("div", table, class_="wide tall")


def mistakes_section(mistakes: Sequence[Mistake]) -> Html:
    """Most confident mistakes as pictures with their names."""
    shown = sorted(mistakes, key=lambda mistake: -mistake.probability)[:MAX_PICTURES]
    return tag("div", *[_mistake(mistake) for mistake in shown], class_="pictures")


def calibration(evaluation: Evaluation) -> Html:
    """Reliability diagram, and in words what it says."""
    bins = [entry for entry in evaluation.reliability if entry.count]
    excess = sum(entry.count * ((entry.confidence or 0.0) - (entry.accuracy or 0.0)) for entry in bins)
    points = 100 * excess / evaluation.num_samples
    interval = evaluation.intervals.get("calibration_error")
    verdict = f"On average the network is {abs(points):.2f} points too {'sure' if points > 0 else 'modest'}."
    if interval is not None and interval[0] == 0.0:
        verdict = "With this many images the difference from a perfectly calibrated network is within chance."
    error = tag("b", f"Expected calibration error {percent(evaluation.calibration_error)}")
    words = tag("div", tag("p", _CALIBRATION), tag("p", error, f" (95 % interval {span(interval)}). {verdict}"))
    return tag("div", reliability_chart(evaluation.reliability), words, class_="pair")


def _series(history: Sequence[Mapping[str, Any]], *, key: str) -> list[Series]:
    lines = [
        Series(name=name, style=style, values=[_value(row, f"{style}_{key}") for row in history])
        for name, style in (("training", "train"), ("validation", "val"))
    ]
    return [line for line in lines if any(value is not None for value in line.values)] or lines[:1]


def _value(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return None if value is None else float(value)


def _best(line: Series, *, epochs: Sequence[int], pick: Any, form: Any) -> str:
    known = [(value, epoch) for value, epoch in zip(line.values, epochs, strict=True) if value is not None]
    known = [(value, epoch) for value, epoch in known if math.isfinite(value)]
    if not known:
        return ""
    value = pick(value for value, _ in known)
    return f"best {line.name} {form(value)} at epoch {next(epoch for v, epoch in known if v == value)}"


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.3g}"


def _class_row(entry: ClassMetrics) -> Html:
    meter = tag("td", "" if entry.f1 is None else tag("i", style=f"--p:{entry.f1:.3f}"), class_="meter")
    return tag(
        "tr",
        tag("td", entry.name),
        tag("td", percent(entry.precision), tag("small", span(entry.precision_interval, decimals=1))),
        tag("td", percent(entry.recall), tag("small", span(entry.recall_interval, decimals=1))),
        tag("td", percent(entry.f1)),
        meter,
        tag("td", f"{entry.support:,}"),
    )


def _confusion_table(evaluation: Evaluation) -> Html:
    names = evaluation.class_names
    counts = np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    worst = float((shares * (1 - np.eye(len(names)))).max()) or 1.0
    upright = None if max(len(name) for name in names) <= 5 else "up"
    head = [tag("th", tag("span", name), class_=upright, title=name, scope="col") for name in names]
    body = [
        tag(
            "tr",
            tag("th", names[t], title=names[t], scope="row"),
            *[_confusion_cell(counts, shares, t=t, p=p, worst=worst, names=names) for p in range(len(names))],
        )
        for t in range(len(names))
    ]
    corner = tag("th", "true ↓  predicted →", class_="corner")
    table = tag("table", tag("thead", tag("tr", corner, *head)), tag("tbody", *body), class_="matrix")
    return tag("div", table, class_="wide")


def _confusion_cell(counts: Array, shares: Array, *, t: int, p: int, worst: float, names: Sequence[str]) -> Html:
    count, share = int(counts[t, p]), float(shares[t, p])
    if count == 0:
        return tag("td", "0", class_="zero")
    what = f"{count:,} of {int(counts[t].sum()):,} {names[t]} ({percent(share)}) predicted as {names[p]}"
    if t == p:
        return tag("td", f"{count:,}", class_="right", style=f"--p:{share:.3f}", title=what)
    # Mistakes are shaded by their own scale, or 1 % would be invisible; the root lifts the rare ones.
    return tag("td", f"{count:,}", class_="wrong", style=f"--p:{math.sqrt(share / worst):.3f}", title=what)


def _confusion_list(evaluation: Evaluation) -> Html:
    found = evaluation.top_confusions(limit=14)
    if not found:
        return tag("p", "No mistake was made.")
    support = {entry.name: entry.support for entry in evaluation.per_class}
    rows = [
        tag("tr", tag("td", t), tag("td", p), tag("td", f"{n:,}"), tag("td", percent(n / support[t], decimals=1)))
        for t, p, n in found
    ]
    head = tag("tr", tag("th", "true"), tag("th", "predicted"), tag("th", "images"), tag("th", "share of true"))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="data left"), class_="wide")


def _confusion_heat(evaluation: Evaluation) -> Html:
    """All cells that are not zero as squares of an SVG; the pointer tells which."""
    names, counts = evaluation.class_names, np.array(evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    squares = [tag("rect", x=0, y=0, width=len(names), height=len(names), class_="field")]
    for t, p in np.argwhere(counts):
        title = tag("title", f"{counts[t, p]} of {names[t]} predicted as {names[p]}")
        style = "right" if t == p else None
        strength = f"{0.15 + 0.85 * math.sqrt(shares[t, p]):.2f}"
        squares.append(tag("rect", title, x=p, y=t, width=1, height=1, class_=style, fill_opacity=strength))
    view = f"0 0 {len(names)} {len(names)}"
    drawing = tag("svg", *squares, viewBox=view, class_="chart heat", role="img", aria_label="Confusion matrix")
    caption = tag("figcaption", tag("b", "All classes"), tag("span", "true ↓  predicted →", class_="muted"))
    return tag("figure", caption, drawing)


def _mistake(mistake: Mistake) -> Html:
    image: Html | str = ""
    if mistake.pixels is not None:
        is_photo = max(np.asarray(mistake.pixels).shape[-2:]) > PICTURE_SIZE // 2
        image = tag(
            "img",
            src=picture(mistake.pixels),
            alt=f"{mistake.target} predicted as {mistake.prediction}",
            class_="photo" if is_photo else None,
        )
    right = "" if mistake.target_probability is None else f" {percent(mistake.target_probability, decimals=1)}"
    caption = tag(
        "figcaption",
        tag("b", mistake.prediction),
        f" {percent(mistake.probability, decimals=1)}",
        tag("br"),
        tag("span", "is ", tag("b", mistake.target), right, class_="muted"),
        tag("span", mistake.name, class_="file", title=mistake.name),
    )
    return tag("figure", image, caption)
