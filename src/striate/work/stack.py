"""Layers as people type them: ``5x5 s2 p1, relu, pool 2x2, dense 256->10``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from striate.errors import UsageError, nearest
from striate.ops._forms import Pads, pad_pairs
from striate.ops._windows import extents

__all__ = ["Layer", "parse_layers", "parse_size"]

Pair = tuple[int, int]

KINDS = {
    "conv": "conv", "pool": "pool", "maxpool": "pool", "avgpool": "pool", "dense": "dense", "linear": "dense",
    "fc": "dense", "flatten": "flatten", "gap": "gap", "bn": "norm", "batch-norm": "norm", "relu": "pass",
    "tanh": "pass", "sigmoid": "pass", "softmax": "pass", "dropout": "pass",
}  # fmt: skip
"""Words that begin a layer, and the kind each stands for."""
LETTERS = {"s": "stride", "p": "padding", "d": "dilation", "c": "in_channels", "f": "filters", "g": "groups"}
FORM = (
    "Write layers such as 5x5 f6 p2, pool 2x2 s2, dense 256->120: s stride, p padding, d dilation, f filters, "
    "c channels that come in, g groups."
)
_WINDOW = re.compile(r"(\d{1,6})(?:x(\d{1,6}))?", flags=re.ASCII)
_LETTER = re.compile(r"([spdcfg])(\d{1,9})(?:x(\d{1,6}))?", flags=re.ASCII)
_FEATURES = re.compile(r"\d{1,9}(?:->?\d{1,9})*", flags=re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer as typed; pairs are rows and columns, in pixels."""

    text: str
    kind: str
    """A value of `KINDS`."""
    kernel_size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: str | Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    in_channels: int | None = None
    filters: int | None = None
    groups: int = 1
    in_features: int | None = None
    out_features: int = 0
    has_bias: bool = True

    @property
    def has_window(self) -> bool:
        """Whether it slides over the picture."""
        return self.kind in ("conv", "pool")

    def pads(self, sizes: Sequence[int]) -> Pads:
        """Return the padding before and after each axis of an input of some size."""
        spans = extents(self.kernel_size, self.dilation)
        return pad_pairs("layers", self.padding, sizes=sizes, extents=spans, strides=self.stride)


def parse_layers(text: str, *, function: str = "parse_layers") -> list[Layer]:
    """Read layers, parted by commas.

    A layer is its kind (``conv`` may be left out), its window such as ``3x3`` or ``3``, and letters with numbers: ``s``
    stride, ``p`` padding (or ``same``, ``valid``), ``d`` dilation, ``f`` filters, ``c`` channels that come in, ``g``
    groups; ``ceil`` rounds the output's size up, ``nobias`` leaves the bias out. A pool's stride is its window unless
    given. ``dense 256->120->10`` is two dense layers, ``3 * 3x3`` three layers; `KINDS` holds the other kinds.

    Args:
        text: The layers, from the input on.
        function: Name for messages.

    Raises:
        UsageError: a word is not understood; the message names it and its layer.

    Example:
        >>> [(layer.kind, layer.kernel_size, layer.stride) for layer in parse_layers("3x3 s2 p1, pool 2x2")]
        [('conv', (3, 3), (2, 2)), ('pool', (2, 2), (2, 2))]
    """
    layers = []
    for number, piece in enumerate(text.strip().strip(",").split(","), start=1):
        times, star, rest = piece.rpartition("*")
        if star and not re.fullmatch(r"\d{1,3}", times.strip(), flags=re.ASCII):
            raise _refused(function, times.strip(), number=number, rule="a whole number before *")
        layers += _layers_of(function, rest.lower().split(), number=number) * int(times if star else 1)
    return layers


def parse_size(text: str, *, function: str) -> tuple[int | None, Pair]:
    """Return channels, None where they are not given, and rows and columns: ``1x28x28``, ``28x28`` or ``28``.

    Example:
        >>> parse_size("3x32x32", function="output_size"), parse_size("28", function="output_size")
        ((3, (32, 32)), (None, (28, 28)))
    """
    words = re.split(r"\s*[x×,]\s*|\s+", text.strip())
    if not 1 <= len(words) <= 3 or not all(re.fullmatch(r"0*[1-9]\d{0,8}", word, flags=re.ASCII) for word in words):
        raise UsageError(
            f"{function}: `size` must be rows and columns, with channels before them or not, such as 28x28 or 1x28x28, "
            f"got {text!r}. Write whole numbers from 1 on."
        )
    numbers = [int(word) for word in words]
    return (numbers[0] if len(numbers) == 3 else None), (numbers[-2] if len(numbers) > 1 else numbers[0], numbers[-1])


def _layers_of(function: str, words: list[str], *, number: int) -> list[Layer]:
    """Read one layer; a chain of dense layers gives several."""
    if not words:
        raise _refused(function, "nothing", number=number, rule="a kind or a window")
    kind = KINDS.get(words[0], "")
    text = " ".join(words)
    if not kind and not _WINDOW.fullmatch(words[0]):
        raise _refused(function, words[0], number=number, rule="a kind of layer or a window first")
    layer = Layer(text=text if kind else f"conv {text}", kind=kind or "conv")
    chain: list[int] = []
    has_window = False
    for word in words[1:] if kind else words:
        if layer.kind == "dense" and _FEATURES.fullmatch(word):
            chain = [int(each) for each in re.split("->?", word)]
        elif layer.has_window and (found := _WINDOW.fullmatch(word)) and not has_window:
            has_window, window = True, _pair(found[1], found[2])
            layer = replace(layer, kernel_size=window, stride=window if layer.kind == "pool" else layer.stride)
        else:
            layer = replace(layer, **_setting(function, word, number=number))
    if layer.has_window != has_window or bool(chain) != (layer.kind == "dense"):
        needs = "numbers of inputs and outputs, such as 256->10" if layer.kind == "dense" else "a window, such as 3x3"
        raise _refused(function, text, number=number, rule=needs)
    if min(*layer.kernel_size, *layer.stride, *layer.dilation, layer.groups, *chain, 1) < 1:
        raise _refused(function, text, number=number, rule="window, stride, dilation, groups and features from 1 on")
    if not chain:
        return [layer]
    pairs: list[tuple[int | None, int]] = [*pairwise(chain)] or [(None, chain[0])]
    return [
        replace(layer, text=f"dense {out if size is None else f'{size}->{out}'}", in_features=size, out_features=out)
        for size, out in pairs
    ]


def _setting(function: str, word: str, *, number: int) -> dict[str, Any]:
    """Return what one word after the window sets."""
    words: dict[str, dict[str, Any]] = {
        "same": {"padding": "same"},
        "valid": {"padding": "valid"},
        "ceil": {"ceil_mode": True},
        "nobias": {"has_bias": False},
    }
    found = _LETTER.fullmatch(word)
    if word in words:
        return words[word]
    if found is None:
        raise _refused(
            function, word, number=number, rule="a window, letters with numbers, same, valid, ceil or nobias"
        )
    name, value = LETTERS[found[1]], int(found[2])
    return {name: _pair(found[2], found[3]) if name in ("stride", "padding", "dilation") else value}


def _pair(rows: str, columns: str | None) -> Pair:
    return int(rows), int(columns or rows)


def _refused(function: str, word: str, *, number: int, rule: str) -> UsageError:
    hint = nearest(word, KINDS)
    return UsageError(f"{function}: `layers` must have {rule}, got {word!r} in layer {number}.{hint} {FORM}")
