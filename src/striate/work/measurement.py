"""What was measured for one property: numbers in rows, what each must be, and whether they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from striate.ops.working import number

__all__ = [
    "EXACT", "VISIBLE", "Finding", "Measurement", "Property", "Unit", "counted", "equal", "holds", "unequal",
    "value_text", "valued",
]  # fmt: skip

Unit = Literal["share", "count", "number"]

EXACT = 1e-12
"""Largest difference that passes for none: float64 rounds at 1e-16, and the sums here have up to some thousand "
"terms."""
VISIBLE = 0.01
"""Smallest difference that counts as a failure of something that must fail."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One row: what was compared or counted, and one number for each column of its property."""

    what: str
    values: tuple[float, ...]
    """NaN where a training diverged."""
    unit: Unit = "share"
    least: float | None = None
    """What each value must reach; None: no matter."""
    most: float | None = None
    """What no value may exceed."""

    @property
    def is_as_claimed(self) -> bool:
        """Whether each value lies within the bounds."""
        least = -math.inf if self.least is None else self.least
        most = math.inf if self.most is None else self.most
        bounded = self.least is not None or self.most is not None
        return not bounded or all(least <= value <= most for value in self.values)

    @property
    def must_be(self) -> str:
        """The bounds in words; empty where there are none."""
        if self.most is not None and (self.least == self.most or (self.least is None and self.most == 0)):
            return value_text(self.most, self.unit)  # no difference and no share is below 0
        least, most = ("" if bound is None else value_text(bound, self.unit) for bound in (self.least, self.most))
        if least and most:
            return f"{least} to {most}"
        return f"at least {least}" if least else f"at most {most}" if most else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as they are printed."""
        return tuple(value_text(value, self.unit) for value in self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; None stands for a training that diverged."""
        return {
            "what": self.what,
            "values": [None if math.isnan(value) else value for value in self.values],
            "unit": self.unit,
            "least": self.least,
            "most": self.most,
            "is_as_claimed": self.is_as_claimed,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the measurement of a property gives back."""

    method: str
    """What was computed."""
    rows: tuple[Measurement, ...]
    verdict: str
    """What the numbers say, where they are as claimed."""
    columns: tuple[str, ...] = ("measured",)
    """Headings; a row may have fewer values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """A claim about convolutional networks beside what was measured."""

    name: str
    group: str
    items: tuple[str, ...]
    """Items of the course list, B1 to B46, that make the claim."""
    claim: str
    finding: Finding

    @property
    def is_as_claimed(self) -> bool:
        """Whether every number is what it must be."""
        return all(row.is_as_claimed for row in self.finding.rows)

    @property
    def verdict(self) -> str:
        """What the numbers say; or which of them is not as claimed."""
        wrong = [row for row in self.finding.rows if not row.is_as_claimed]
        if not wrong:
            return self.finding.verdict
        others = f" And {len(wrong) - 1} more row{'s' if len(wrong) > 2 else ''}." if len(wrong) > 1 else ""
        first = wrong[0]
        return f"Not as claimed on this data: {first.what}: {', '.join(first.texts)}, not {first.must_be}.{others}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "group": self.group,
            "items": list(self.items),
            "claim": self.claim,
            "method": self.finding.method,
            "columns": list(self.finding.columns),
            "measurements": [row.to_dict() for row in self.finding.rows],
            "is_as_claimed": self.is_as_claimed,
            "verdict": self.verdict,
        }


def equal(what: str, *errors: float) -> Measurement:
    """Return a row of differences that must be no more than rounding."""
    return Measurement(what=what, values=errors, most=EXACT)


def unequal(what: str, *errors: float) -> Measurement:
    """Return a row of differences that must be there."""
    return Measurement(what=what, values=errors, least=VISIBLE)


def counted(what: str, *counts: float, least: float | None = None, most: float | None = None) -> Measurement:
    """Return a row of whole numbers."""
    return Measurement(what=what, values=counts, unit="count", least=least, most=most)


def valued(what: str, *values: float, least: float | None = None, most: float | None = None) -> Measurement:
    """Return a row of numbers that are no shares."""
    return Measurement(what=what, values=values, unit="number", least=least, most=most)


def value_text(value: float, unit: Unit = "share") -> str:
    """Write a measured number: shares in percent or, below a thousandth, as a power of ten.

    Example:
        >>> [value_text(share) for share in (0.0, 2.2e-16, 0.0123, 0.5, 1.314)]
        ['0', '2e-16', '1.2 %', '50 %', '131 %']
        >>> value_text(614656, "count"), value_text(0.25, "number")
        ('614,656', '0.25')
    """
    if math.isnan(value):
        return "diverged"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "number":
        return number(value, digits=4)
    if value == 0 or abs(value) >= 0.001:
        percent = 100 * value
        return "0" if value == 0 else f"{percent:,.0f} %" if abs(percent) >= 9.95 else f"{percent:.2g} %"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def holds(*errors: float) -> str:
    """Say to what a claim holds.

    Example:
        >>> holds(2e-16, 5e-16), holds(0.0)
        ('Holds to 5e-16', 'Holds exactly')
    """
    return f"Holds to {value_text(max(errors))}" if max(errors) else "Holds exactly"
