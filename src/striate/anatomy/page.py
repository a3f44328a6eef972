"""The anatomy of a network as one page that loads nothing: graph, table, receptive field on the image, advice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from striate.anatomy import _boxes, _sight_drawing
from striate.anatomy._units import bytes_text, count_text, short_count
from striate.anatomy.layer import Layer
from striate.anatomy.text import field_text, share_text
from striate.errors import UsageError
from striate.files import write_text
from striate.graph._table import by
from striate.train._html import Html, join, tag
from striate.train.report import document

if TYPE_CHECKING:
    from striate.anatomy.examine import Anatomy

__all__ = ["anatomy_page", "report_section", "save_page"]

STYLE = (
    ".scroll { overflow: auto; max-height: 80vh } .scroll td { text-align: right; white-space: nowrap } "
    ".scroll th { white-space: nowrap }"
)


def anatomy_page(
    anatomy: Anatomy, *, at: str | None = None, place: Sequence[int] | None = None, effective: bool = False
) -> str:
    """Return the whole page.

    Args:
        anatomy: What to show.
        at: The layer whose receptive field is drawn; None: the last one that sees less than the image.
        place: Position in it; None: the middle.
        effective: Draw the effective receptive field too.
    """
    from striate.anatomy.examine import CONVENTION

    sections = [
        ("Receptive field", _sight(anatomy, at, place, effective=effective)),
        ("Graph", _boxes.graph_drawing(anatomy)),
        ("Layers", join(_table(anatomy), tag("p", CONVENTION, class_="muted"))),
        ("What follows", _advice(anatomy)),
    ]
    shown = [(title, content) for title, content in sections if content]
    shapes = ", ".join(by(shape) for shape in anatomy.input_shapes)
    mode = "training" if anatomy.is_training else "evaluation"
    body = tag(
        "main",
        tag("style", Html(" ".join((STYLE, _boxes.STYLE, _sight_drawing.STYLE)))),
        tag("h1", anatomy.name),
        tag("p", f"Anatomy on {shapes}, in {mode} mode.", class_="muted"),
        _tiles(anatomy),
        *[tag("section", tag("h2", title), content) for title, content in shown],
        tag("footer", "Written by striate. This page is complete: it loads nothing and runs nothing."),
    )
    return document(title=f"{anatomy.name}: anatomy", body=body)


def report_section(anatomy: Anatomy) -> Html:
    """Return the table and what follows from it, as a section of a run's report."""
    from striate.anatomy.examine import CONVENTION

    return tag(
        "section",
        tag("style", Html(STYLE)),
        tag("h2", "Anatomy"),
        _tiles(anatomy),
        _table(anatomy),
        tag("p", CONVENTION, class_="muted"),
        _advice(anatomy) or "",
        id="anatomy",
    )


def save_page(anatomy: Anatomy, path: str | os.PathLike[str], **options: object) -> Path:
    """Write the page into a new file and return its path.

    Raises:
        UsageError: the file exists, or its name does not end in .html.
        ResourceError: it cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        raise UsageError(f"anatomy: `html` must end in .html, got {target.name!r}. Name it {target.stem}.html.")
    if target.exists():
        raise UsageError(f"anatomy: `html` must be a new file, and {target} exists. Choose another name or remove it.")
    write_text(target, anatomy.html(**options))  # type: ignore[arg-type]
    return target


def _sight(anatomy: Anatomy, at: str | None, place: Sequence[int] | None, *, effective: bool) -> Html | None:
    if not anatomy.input_shapes or len(anatomy.input_shapes[0]) != 4:
        return None
    name = at or _last_map(anatomy)
    if name is None:
        return None
    figures = [_sight_drawing.look_drawing(anatomy, anatomy.look(name, place))]
    if effective:
        figures.append(_sight_drawing.effective_drawing(anatomy, anatomy.effective(name, place)))
    return tag("div", *figures, class_="pair")


def _last_map(anatomy: Anatomy) -> str | None:
    """Return the last layer with several units whose field is smaller than the image; else the last of known field."""
    maps = [
        layer
        for layer in anatomy.layers
        if len(layer.output_shape) == 4 and max(layer.output_shape[2:]) > 1 and layer.receptive_field is not None
    ]
    small = [layer for layer in maps if layer.receptive_field and not all(layer.receptive_field.covers)]
    return (small or maps)[-1].name if maps else None


def _tiles(anatomy: Anatomy) -> Html:
    total = anatomy.total
    least = "at least " if total.unknown else ""
    kept = "unknown" if total.activation_bytes is None else bytes_text(total.activation_bytes)
    tiles = [
        ("Parameters", f"{total.parameters.count:,}", bytes_text(total.parameter_bytes)),
        ("Multiply-adds", f"{least}{short_count(total.macs)}", f"{least}{short_count(total.flops)} FLOPs"),
        ("A training step keeps", kept, f"inference holds {bytes_text(total.inference_bytes)}"),
    ]
    if total.time_ms is not None:
        backward = total.time_ms.backward
        back = "" if backward is None else f"backward {backward:.3g} ms"
        tiles.append(("Forward on this machine", f"{total.time_ms.forward:.3g} ms", back))
    return tag("dl", *[tag("div", tag("dt", a), tag("dd", b, tag("small", c))) for a, b, c in tiles], class_="tiles")


def _table(anatomy: Anatomy) -> Html:
    is_timed = anatomy.total.time_ms is not None
    head = ["layer", "op", "output", "parameters", "MACs", "FLOPs", "FLOP/B", "field (jump)", "outside", "inputs/unit",
            "dense weights", "keeps", *(("forward ms", "backward ms") if is_timed else ())]  # fmt: skip
    rows = [tag("tr", tag("th", layer.name), *[tag("td", cell) for cell in _cells(layer, is_timed=is_timed)])
            for layer in anatomy.layers]  # fmt: skip
    return tag("div", tag("table", tag("tr", *[tag("th", word) for word in head]), *rows), class_="scroll")


def _cells(layer: Layer, *, is_timed: bool) -> list[str]:
    time = layer.time_ms
    cells = [
        layer.op,
        by(layer.output_shape[1:]),
        f"{layer.parameters.count:,}" if layer.parameters.count else "",
        _count(layer.macs),
        _count(layer.flops),
        f"{layer.intensity:.3g}" if layer.intensity else "",
        field_text(layer),
        share_text(layer),
        "" if layer.inputs_per_unit is None else f"{layer.inputs_per_unit:,}",
        "" if layer.dense_weights is None else short_count(layer.dense_weights),
        bytes_text(layer.activation_bytes) if layer.activation_bytes else "",
    ]
    if is_timed:
        cells += [
            "" if value is None else f"{value:.3g}"
            for value in ((time.forward, time.backward) if time else (None, None))
        ]
    return cells


def _count(number: int | None) -> str:
    return "?" if number is None else count_text(number) if number else ""


def _advice(anatomy: Anatomy) -> Html | None:
    items = [
        tag(
            "li",
            one.text,
            tag("ul", *[tag("li", str(other)) for other in one.alternatives]) if one.alternatives else "",
        )
        for one in anatomy.advice
    ]
    return tag("ul", *items) if items else None
