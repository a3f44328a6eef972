"""The table as text, at most 100 columns: costs, or what units see."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from striate.anatomy._units import bytes_text, short_count
from striate.anatomy.layer import Layer
from striate.errors import UsageError
from striate.graph._failed import counted
from striate.graph._table import by, shortened
from striate.ops.op import Shape

if TYPE_CHECKING:
    from striate.anatomy.examine import Anatomy

__all__ = ["WIDTH", "as_text", "compact", "field_text", "share_text"]

WIDTH = 100
NARROWEST = 12
"""Columns that names have at least."""
UNKNOWN = "?"

Column = tuple[str, Callable[[Layer], str]]


def as_text(anatomy: Anatomy, *, view: str = "costs") -> str:
    """Return the table, the totals and the advice.

    Raises:
        UsageError: a view that is neither costs nor fields.
    """
    from striate.anatomy.advice import advice_lines
    from striate.anatomy.examine import CONVENTION

    if view not in ("costs", "fields"):
        raise UsageError(f'anatomy: `view` must be "costs" or "fields", got {view!r}. Take one of the two.')
    is_timed = anatomy.total.time_ms is not None
    columns = _cost_columns(is_timed=is_timed) if view == "costs" else FIELDS
    mode = "training" if anatomy.is_training else "evaluation"
    head = f"{anatomy.name} on {', '.join(by(shape) for shape in anatomy.input_shapes)}, in {mode} mode"
    lines = [head, "", *_table(anatomy, columns), "", *_totals(anatomy), ""]
    paragraphs = [CONVENTION if view == "costs" else FIELDS_EXPLAINED, KEEPS] if view == "costs" else [FIELDS_EXPLAINED]
    lines += [line for text in paragraphs for line in textwrap.wrap(text, WIDTH)]
    said = [line for text in advice_lines(anatomy.advice) for line in _indented(text)]
    return "\n".join([*lines, "", *said] if said else lines)


KEEPS = (
    "Keeps: memory that autograd holds of the layer until the backward pass, measured; each piece once, no "
    "parameters. Field: pixels a side that the unit in the middle sees, through every path; in brackets the step to "
    "the next unit."
)
FIELDS_EXPLAINED = (
    "Unit i sees the pixels from start + i jump on, size of them; start is negative in padding. Outside: part of the "
    "box that the unit in the middle sees, which lies outside of the image. Dense: weights of a dense layer in its "
    "place."
)


def _cost_columns(*, is_timed: bool) -> tuple[Column, ...]:
    costs: tuple[Column, ...] = (
        ("output", lambda layer: compact(layer.output_shape[1:])),
        ("parameters", lambda layer: f"{layer.parameters.count:,}" if layer.parameters.count else _shared(layer)),
        ("MACs", lambda layer: _count(layer.macs)),
        ("FLOPs", lambda layer: _count(layer.flops)),
    )
    if is_timed:
        return (
            *costs,
            ("field", field_text),
            ("keeps", lambda layer: _bytes(layer.activation_bytes)),
            ("fwd ms", lambda layer: _time(layer, "forward")),
            ("bwd ms", lambda layer: _time(layer, "backward")),
        )
    intensity: Column = ("FLOP/B", lambda layer: "" if not layer.intensity else f"{layer.intensity:.3g}")
    keeps: Column = ("keeps", lambda layer: _bytes(layer.activation_bytes))
    return (("op", lambda layer: shortened(layer.op, 10)), *costs, intensity, ("field", field_text), keeps)


def field_text(layer: Layer) -> str:
    """Write a receptive field: size, and in brackets the jump."""
    sight = layer.receptive_field
    if sight is None:
        return UNKNOWN if layer.blocked_by else ""
    size, jump = _sides(sight.size), _sides(sight.jump)
    return size if jump in ("", "-") else f"{size} ({jump})"


def share_text(layer: Layer) -> str:
    """Write the part of a receptive field that is padding."""
    return "" if layer.receptive_field is None else f"{100 * layer.receptive_field.padding_share:.0f} %"


FIELDS: tuple[Column, ...] = (
    ("output", lambda layer: compact(layer.output_shape[1:])),
    ("size", lambda layer: field_text(layer).partition(" ")[0]),
    ("jump", lambda layer: "" if layer.receptive_field is None else _sides(layer.receptive_field.jump)),
    ("start", lambda layer: "" if layer.receptive_field is None else _sides(layer.receptive_field.start)),
    ("outside", share_text),
    ("units", lambda layer: short_count(layer.units)),
    ("inputs/unit", lambda layer: "" if layer.inputs_per_unit is None else f"{layer.inputs_per_unit:,}"),
    ("dense", lambda layer: "" if layer.dense_weights is None else short_count(layer.dense_weights)),
)


def _table(anatomy: Anatomy, columns: tuple[Column, ...]) -> list[str]:
    rows = [("layer", *(title for title, _ in columns))]
    rows += [(layer.name, *(cell(layer) for _, cell in columns)) for layer in anatomy.layers]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    widths[0] = max(NARROWEST, min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    is_text = [True, *(title in ("op", "output") for title, _ in columns)]
    lines = []
    for row in rows:
        cells = [shortened(row[0], widths[0]).ljust(widths[0])]
        cells += [
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(row[1:], widths[1:], is_text[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip()[:WIDTH])
    return lines


def _totals(anatomy: Anatomy) -> list[str]:
    total, counts = anatomy.total, anatomy.total.parameters
    kinds = f" ({counts.frozen:,} frozen)" if counts.frozen else ""
    unused = f"; {total.unused_parameters:,} more are not used" if total.unused_parameters else ""
    lines = [f"{counts.count:,} parameters{kinds}{unused}, {bytes_text(total.parameter_bytes)}"]
    least = "at least " if total.unknown else ""
    intensity = "" if total.intensity is None else f", {total.intensity:.3g} FLOPs a byte that moves"
    lines.append(f"{least}{short_count(total.macs)} multiply-adds, {least}{short_count(total.flops)} FLOPs{intensity}")
    if total.unknown:
        lines.append(
            f"without {counted(len(total.unknown), 'operation')} that striate does not know: unknown is not zero"
        )
    kept = "unknown" if total.activation_bytes is None else bytes_text(total.activation_bytes)
    lines.append(f"a training step keeps {kept}; inference holds at most {bytes_text(total.inference_bytes)} at once")
    if total.time_ms is not None:
        back = "" if total.time_ms.backward is None else f", backward {total.time_ms.backward:.3g} ms"
        missing = f"; {counted(len(total.untimed), 'layer')} could not be timed" if total.untimed else ""
        lines.append(f"forward {total.time_ms.forward:.3g} ms{back}, summed over layers, on this machine{missing}")
    return lines


def compact(shape: Shape) -> str:
    """Write a shape in few columns.

    Example:
        >>> compact((64, 112, 112))
        '64x112x112'
    """
    return "x".join(map(str, shape)) or "1"


def _sides(lengths: tuple[int | None, ...]) -> str:
    texts = ["-" if length is None else str(length) for length in lengths]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _shared(layer: Layer) -> str:
    return "shared" if layer.parameters.shared else ""


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else short_count(number) if number else ""


def _bytes(number: int | None) -> str:
    return UNKNOWN if number is None else bytes_text(number) if number else ""


def _time(layer: Layer, which: str) -> str:
    value = None if layer.time_ms is None else getattr(layer.time_ms, which)
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _indented(text: str) -> list[str]:
    own = len(text) - len(text.lstrip())
    return textwrap.wrap(text.strip(), WIDTH, initial_indent=" " * own or "- ", subsequent_indent=" " * (own + 2))
