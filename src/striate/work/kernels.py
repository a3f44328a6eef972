"""Kernels by name, typed or as arrays: exact weights as fractions, and what each extracts in one sentence."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from striate.errors import UsageError, nearest
from striate.work._named_kernels import TABLE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Kernel", "as_kernel", "kernel", "list_kernels", "parse_kernel"]

# Exponents of at most two digits: Fraction("1e999999999") would fill the memory.
_DECIMAL = r"(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?")
_EXAMPLE = 'For example "1 0 -1; 1 0 -1; 1 0 -1" or "1/9 * 1 1 1; 1 1 1; 1 1 1".'
_LARGEST_DENOMINATOR = 1000
"""Up to here a common factor is easier to read than decimals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A two-dimensional filter with exact weights."""

    name: str
    """Its name, or what was typed."""
    weights: tuple[tuple[Fraction, ...], ...]
    """Rows from top to bottom."""
    extracts: str = ""
    """What it brings out of a picture, in one sentence."""
    item: str = ""
    """Item of the course list that it comes from, D1 to D22."""
    aliases: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return len(self.weights), len(self.weights[0])

    @property
    def sum(self) -> Fraction:
        """Sum of the weights: what a flat area of brightness 1 answers; 1 keeps the brightness, 0 only changes."""
        return sum((weight for row in self.weights for weight in row), start=Fraction(0))

    @property
    def denominator(self) -> int:
        """The smallest whole number that makes all weights whole."""
        return math.lcm(*(weight.denominator for row in self.weights for weight in row))

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The weights as text: whole numbers to be divided by the denominator, or decimals where that is large."""
        if self.denominator > _LARGEST_DENOMINATOR:
            return tuple(tuple(f"{float(weight):.4g}" for weight in row) for row in self.weights)
        return tuple(tuple(str(int(weight * self.denominator)) for weight in row) for row in self.weights)

    @property
    def factor(self) -> str:
        """What the cells are to be multiplied by, such as ``1/9``; empty for 1."""
        return f"1/{self.denominator}" if 1 < self.denominator <= _LARGEST_DENOMINATOR else ""

    @property
    def text(self) -> str:
        """The weights in the form that `parse_kernel` reads."""
        rows = "; ".join(" ".join(row) for row in self.cells)
        return f"{self.factor} * {rows}" if self.factor else rows

    def array(self) -> npt.NDArray[np.float64]:
        """Return the weights (kH, kW), each rounded once."""
        import numpy as np

        return np.array([[float(weight) for weight in row] for row in self.weights])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "weights": [[float(weight) for weight in row] for row in self.weights],
            "text": self.text,
            "sum": float(self.sum),
            "extracts": self.extracts,
            "item": self.item,
            "aliases": list(self.aliases),
        }


def kernel(name: str) -> Kernel:
    """Return a kernel of the course texts by its name or an alias.

    Raises:
        UsageError: no kernel has this name; the message names the nearest.

    Example:
        >>> kernel("sobel-x").array().tolist()
        [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
        >>> kernel("gaussian-blur").text
        '1/16 * 1 2 1; 2 4 2; 1 2 1'
    """
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    if plain not in _BY_NAME:
        raise UsageError(
            f"kernel: `name` must be the name of a kernel, got {name!r}.{nearest(plain, _BY_NAME)} "
            "`striate filter --list` prints them all; any other kernel can be typed, row by row. " + _EXAMPLE
        )
    return _BY_NAME[plain]


def list_kernels() -> tuple[Kernel, ...]:
    """Return all kernels of the course texts, in the order of the course list.

    Example:
        >>> [kernel.name for kernel in list_kernels()][:4]
        ['identity', 'sharpen', 'box-blur', 'gaussian-blur']
    """
    return _KERNELS


def parse_kernel(text: str) -> Kernel:
    """Read a typed kernel: rows parted by semicolons, numbers by spaces or commas, fractions, a factor before ``*``.

    The brackets of a Python list may stay.

    Args:
        text: Such as ``"1 0 0; 1 1 0; 0 0 1"``, ``"0, 1/4, 0; 1/4, 0, 1/4; 0, 1/4, 0"`` or
            ``"1/16 * 1 2 1; 2 4 2; 1 2 1"``.

    Raises:
        UsageError: something is no number, or rows differ in length; the message names the place.

    Example:
        >>> parse_kernel("1/2 * 1 -1").weights
        ((Fraction(1, 2), Fraction(-1, 2)),)
    """
    plain = text.replace("\N{MINUS SIGN}", "-")  # as copied from a PDF
    plain = re.sub(r"\]\s*,?\s*\[", ";", plain)
    plain = re.sub(r"[\[\]]", " ", plain)
    factor_text, star, rows_text = plain.rpartition("*")
    factor = _number(factor_text.strip(), place="the factor before *") if star else Fraction(1)
    rows = []
    for number, row in enumerate(rows_text.strip().removesuffix(";").split(";"), start=1):
        words = re.split(r"\s*,\s*|\s+", row.strip())
        rows.append(tuple(factor * _number(word, place=f"row {number}") for word in words))
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise UsageError(
            f"parse_kernel: `kernel` must have rows of equal length, got {', '.join(map(str, lengths))} numbers "
            f"in its {len(rows)} rows. {_EXAMPLE}"
        )
    return Kernel(name=" ".join(text.split()), weights=tuple(rows))


def as_kernel(value: Any) -> Kernel:
    """Return a kernel from a `Kernel`, a name, typed text, or a two-dimensional array.

    Raises:
        UsageError: it is none of these.

    Example:
        >>> as_kernel("laplacian").item, as_kernel("0 1 0").shape, as_kernel([[0.5], [-0.5]]).text
        ('D6', (1, 3), '1/2 * 1; -1')
    """
    import numpy as np

    if isinstance(value, Kernel):
        return value
    if isinstance(value, str):
        return kernel(value) if value.strip()[:1].isalpha() else parse_kernel(value)
    array = np.asarray(value)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
        raise UsageError(
            f"as_kernel: `kernel` must be a name, typed text or an array (kH, kW) of numbers, got {array.dtype} of "
            f"shape {array.shape}. {_EXAMPLE}"
        )
    if not np.isfinite(array).all():
        raise UsageError("as_kernel: `kernel` must hold finite numbers, got NaN or infinity. Replace them.")
    rows = tuple(tuple(Fraction(float(weight)) for weight in row) for row in array)
    return Kernel(name=f"{array.shape[0]} x {array.shape[1]} kernel", weights=rows)


def _number(word: str, *, place: str) -> Fraction:
    found = _NUMBER.fullmatch(word)
    if found is None or (found[2] is not None and Fraction(found[2]) == 0):
        shown = repr(word) if word else "nothing"
        raise UsageError(
            f"parse_kernel: `kernel` must hold numbers such as 2, -0.5 or 1/9, got {shown} in {place}. {_EXAMPLE}"
        )
    return Fraction(found[1]) / Fraction(found[2] or 1)


def _named(name: str, item: str, text: str, extracts: str, aliases: tuple[str, ...]) -> Kernel:
    return Kernel(name=name, weights=parse_kernel(text).weights, extracts=extracts, item=item, aliases=aliases)


_KERNELS = tuple(_named(*row) for row in TABLE)
_BY_NAME = {name: each for each in _KERNELS for name in (each.name, *each.aliases)}
