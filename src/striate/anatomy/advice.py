"""What follows from the table: sentences with their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from striate.anatomy._units import bytes_text, count_text
from striate.anatomy.alternatives import Alternative, alternatives
from striate.anatomy.layer import Layer
from striate.anatomy.sight import Sight
from striate.anatomy.sizes import looks_around
from striate.graph._failed import counted

if TYPE_CHECKING:
    from striate.anatomy.examine import Anatomy

__all__ = ["Advice", "advice_lines", "advise"]


@dataclass(frozen=True)
class Advice:
    """One thing that the table says about the network."""

    about: str
    """``receptive-field``, ``input-size``, ``parameters``, ``compute``, ``memory``, ``time`` or ``unknown``."""
    text: str
    layers: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    """What could stand in the layer's place, with what each would have."""
    numbers: dict[str, int | float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, texts and lists."""
        return {
            "about": self.about,
            "text": self.text,
            "layers": list(self.layers),
            "alternatives": [vars(alternative) for alternative in self.alternatives],
            "numbers": self.numbers,
        }

    def __str__(self) -> str:
        return "\n".join([self.text, *(f"  {alternative}" for alternative in self.alternatives)])


def advise(anatomy: Anatomy) -> tuple[Advice, ...]:
    """Return what the table says: sizes, fields beyond the image, and where parameters, work, memory and time are."""
    found = [
        *_unknown(anatomy),
        *_fields(anatomy),
        *_sizes(anatomy),
        *_largest(anatomy, "parameters", lambda layer: layer.parameters.count, count_text),
        *_largest(anatomy, "compute", lambda layer: layer.macs or 0, lambda n: f"{count_text(n)} multiply-adds"),
        *_memory(anatomy),
        *_time(anatomy),
    ]
    return tuple(found)


def _unknown(anatomy: Anatomy) -> list[Advice]:
    names = anatomy.total.unknown
    if not names:
        return []
    calls = ", ".join(f"{name} ({anatomy.layer(name).op})" for name in names[:4])
    text = (
        f"striate does not know {counted(len(names), 'operation')}: {calls}{' ...' if len(names) > 4 else ''}. Their "
        "multiply-adds and FLOPs are missing in the total, and receptive fields behind them are unknown."
    )
    return [Advice("unknown", text, names)]


def _fields(anatomy: Anatomy) -> list[Advice]:
    """Name the layers whose input has seen the whole image already."""
    names = []
    for node in anatomy.graph.nodes:
        if looks_around(anatomy.graph, node):
            before = anatomy.sights.get(node.inputs[0].index)
            if isinstance(before, Sight) and all(before.covers):
                names.append(node.name)
    if not names:
        return []
    first = anatomy.layer(names[0]).receptive_field
    size = " x ".join(map(str, first.size)) if first else "unknown"
    text = (
        f"From {names[0]} on (field {size}), {counted(len(names), 'layer')} with a window look around in maps whose "
        "units have each seen as much as the whole image: they find nothing new, and much of what they read is padding."
    )
    return [Advice("receptive-field", text, tuple(names), numbers={"layers": len(names)})]


def _sizes(anatomy: Anatomy) -> list[Advice]:
    sizes = anatomy.sizes
    if sizes is None:
        return []
    is_only = sizes.is_fixed and sizes.smallest == min(sizes.given)
    words = [] if sizes.smallest is None else [f"Smallest image that runs: {sizes.smallest} x {sizes.smallest}"]
    if is_only:
        words[0] = f"No image is taken below {sizes.smallest} x {sizes.smallest}, and none of twice the size"
    elif sizes.is_fixed:
        words.append("images of twice the size are refused")
    if sizes.useful is not None:
        words.append(f"the last windows still find something new from {sizes.useful} x {sizes.useful} on")
    if sizes.best is not None and sizes.best != sizes.useful and not is_only:
        words.append(f"the next size that the total stride {sizes.stride} divides is {sizes.best} x {sizes.best}")
    numbers = {"smallest": sizes.smallest, "useful": sizes.useful, "best": sizes.best, "stride": sizes.stride}
    return [Advice("input-size", "; ".join(words) + ".", numbers=dict(numbers))] if words else []


def _largest(anatomy: Anatomy, about: str, value: Callable[[Layer], int], form: Callable[[int], str]) -> list[Advice]:
    """Name the layer that holds most of something, and what could replace it."""
    total = sum(value(layer) for layer in anatomy.layers)
    if not total:
        return []
    layer = max(anatomy.layers, key=value)
    what = form(value(layer))
    share = value(layer) / total
    most = "most parameters" if about == "parameters" else "most of the work"
    text = f"{layer.name} has {most}: {what}, {100 * share:.0f} % of all."
    return [
        Advice(
            about,
            text,
            (layer.name,),
            alternatives(anatomy.graph, anatomy.graph.node(layer.name)),
            {"value": value(layer), "share": share},
        )
    ]


def _memory(anatomy: Anatomy) -> list[Advice]:
    total = anatomy.total.activation_bytes
    if not total:
        return []
    layer = max(anatomy.layers, key=lambda each: each.activation_bytes or 0)
    most = layer.activation_bytes or 0
    text = (
        f"{layer.name} keeps most memory until the backward pass: {bytes_text(most)} of {bytes_text(total)}, "
        f"{100 * most / total:.0f} %. Numbers of half the width (bfloat16) would keep {bytes_text(most // 2)}, "
        f"images of half the side about {bytes_text(most // 4)}."
    )
    return [Advice("memory", text, (layer.name,), numbers={"value": most, "share": most / total})]


def _time(anatomy: Anatomy) -> list[Advice]:
    timed = [layer for layer in anatomy.layers if layer.time_ms is not None]
    if not timed or anatomy.total.time_ms is None:
        return []
    layer = max(timed, key=_milliseconds)
    total, own = sum(map(_milliseconds, timed)), _milliseconds(layer)
    text = f"{layer.name} takes most time: {own:.3g} of {total:.3g} ms, {100 * own / total:.0f} %."
    options = alternatives(anatomy.graph, anatomy.graph.node(layer.name))
    return [Advice("time", text, (layer.name,), options, {"value": own, "share": own / total})]


def _milliseconds(layer: Layer) -> float:
    time = layer.time_ms
    return 0.0 if time is None else math.fsum(part for part in (time.forward, time.backward) if part is not None)


def advice_lines(advice: Sequence[Advice]) -> list[str]:
    """Return the sentences, each with its alternatives."""
    return [line for one in advice for line in str(one).splitlines()]
