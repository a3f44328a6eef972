"""What texts claim about convolutional networks, each claim measured on a picture or on random pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from striate.errors import UsageError, nearest
from striate.work._property_html import block
from striate.work._property_table import TABLE, Measure
from striate.work._property_text import describe, summary, wrapped
from striate.work._scene import read_scene
from striate.work.measurement import Property

__all__ = ["Claim", "PropertyReport", "list_properties", "measure_properties", "properties_text"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed, and the function that measures it."""

    name: str
    group: str
    items: tuple[str, ...]
    """Items of the course list, B1 to B46, and A for its operations."""
    claim: str
    measure: Measure

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"name": self.name, "group": self.group, "items": list(self.items), "claim": self.claim}


_GROUPS = {
    group: tuple(Claim(name, group, tuple(items.split()), claim, measure) for name, items, claim, measure in rows)
    for group, rows in TABLE.items()
}
_CLAIMS = {claim.name: claim for claims in _GROUPS.values() for claim in claims}


@dataclass(frozen=True, kw_only=True)
class PropertyReport:
    """Properties with what they were measured on; prints as text, shows as HTML in a notebook."""

    data: str
    """What they were measured on."""
    seed: int
    properties: tuple[Property, ...]

    @property
    def title(self) -> str:
        """What was measured on what."""
        return f"Properties, measured on {self.data}; seed {self.seed}"

    def __getitem__(self, name: str) -> Property:
        """Return one of the measured properties by its name."""
        for each in self.properties:
            if each.name == name:
                return each
        raise KeyError(name)

    def __str__(self) -> str:
        parts = [
            *wrapped(f"{self.title}.", indent=0),
            "Differences are shares of the largest value: 2e-16 is the rounding of float64, 100 % all of it.",
        ]
        group = ""
        for each in self.properties:
            if each.group != group:
                group = each.group
                parts.append(f"\n{group.upper()}")
            parts.append(f"\n{describe(each)}")
        return "\n".join([*parts, "", summary(self.properties)])

    def _repr_html_(self) -> str:
        return block(f"{self.title}.", self.properties)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "data": self.data,
            "seed": self.seed,
            "all_as_claimed": all(each.is_as_claimed for each in self.properties),
            "properties": [each.to_dict() for each in self.properties],
        }


def measure_properties(image: Any = None, *, only: Sequence[str] | None = None, seed: int = 0) -> PropertyReport:
    """Measure what texts claim about convolutional networks, on a picture of your own or on random pixels.

    Args:
        image: A path, ``-`` for standard input, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values
            0 to 255. Its central square is taken in grey and reduced to 96 pixels a side. None: random pixels.
        only: Names of properties or of groups; by default all. `list_properties` knows them.
        seed: Of everything random. A property gives the same numbers alone as among others.

    Raises:
        ImageError: the file cannot be read.
        UsageError: a name is not known, the picture is smaller than 28 x 28 pixels, or the seed is negative.

    Example:
        >>> report = measure_properties(only=["receptive-field"])
        >>> report["receptive-field"].finding.rows[0].values, report["receptive-field"].verdict
        ((7, 7), 'Formula and gradient agree for all 4.')
    """
    chosen = _chosen(only)
    scene = read_scene(image, seed=seed)
    measured = tuple(
        Property(
            name=claim.name,
            group=claim.group,
            items=claim.items,
            claim=claim.claim,
            finding=claim.measure(scene),
        )
        for claim in chosen
    )
    return PropertyReport(data=scene.name, seed=scene.seed, properties=measured)


def list_properties() -> dict[str, tuple[Claim, ...]]:
    """Return all claims by group, in the order in which they are printed.

    Example:
        >>> {group: len(claims) for group, claims in list_properties().items()}
        {'algebra': 9, 'movement': 7, 'connections': 5, 'view': 5, 'gradients': 8, 'learning': 2, 'scores': 3}
    """
    return _GROUPS


def properties_text() -> str:
    """Return one line a property: its name, its items of the course list, its claim.

    Example:
        >>> properties_text().splitlines()[1]
        '  linearity            B1           a weighted sum of pictures becomes the same sum of their maps.'
    """
    lines = []
    for group, claims in _GROUPS.items():
        lines.append(group)
        lines += [f"  {claim.name:<21}{' '.join(claim.items):<13}{claim.claim}" for claim in claims]
    return "\n".join(lines)


def _chosen(only: Sequence[str] | None) -> list[Claim]:
    """Return the claims asked for, each once, in the order of the table."""
    if only is None:
        return list(_CLAIMS.values())
    if isinstance(only, str) or not only:
        raise UsageError(
            f"properties: `only` must be a list of names, got {only!r}. Leave it out for all, or see list_properties()."
        )
    plain = [str(name).strip().lower().replace("_", "-") for name in only]
    for typed, name in zip(only, plain, strict=True):
        if name not in _CLAIMS and name not in _GROUPS:
            raise UsageError(
                f"properties: `only` must name a property or a group, got {typed!r}."
                f"{nearest(name, [*_CLAIMS, *_GROUPS])} `striate properties --list` prints them all."
            )
    return [claim for claim in _CLAIMS.values() if claim.name in plain or claim.group in plain]
