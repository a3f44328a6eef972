"""What a diagnosis says: findings, what was checked, and what could not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from striate.diagnose.causes import CAUSES, Severity
from striate.errors import UsageError, nearest

__all__ = ["Diagnosis", "Finding"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """One named cause.

    Raises:
        UsageError: the cause is not in the vocabulary.
    """

    cause: str
    """A key of `striate.diagnose.CAUSES`."""
    says: str
    """One sentence about this network, which names where."""
    evidence: tuple[str, ...]
    """Numbers, each with what it should be."""
    confirmed_by: str
    """The experiment or the exact test that made sure."""
    fix: str = ""
    """The edit; that of the vocabulary where nothing more exact is known."""
    severity: Severity = "error"
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The evidence for programs: plain JSON types."""

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            raise UsageError(
                f"Finding: `cause` must be one of the {len(CAUSES)} in striate.diagnose.CAUSES, got {self.cause!r}."
                f"{nearest(self.cause, CAUSES)} Take the nearest of them."
            )
        object.__setattr__(self, "severity", CAUSES[self.cause].severity)
        object.__setattr__(self, "fix", self.fix or CAUSES[self.cause].fix)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "cause": self.cause,
            "severity": self.severity,
            "says": self.says,
            "evidence": list(self.evidence),
            "fix": self.fix,
            "confirmed_by": self.confirmed_by,
            "numbers": dict(self.numbers),
        }

    def __str__(self) -> str:
        lines = [f"{self.cause}: {self.says}", *(f"    {line}" for line in self.evidence)]
        return "\n".join([*lines, f"    tested: {self.confirmed_by}", f"    edit:   {self.fix}"])


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The whole answer; ``print(diagnosis)`` is one line for a healthy network.

    Example:
        >>> print(Diagnosis(subject="Net", findings=(), checked=("wrong-loss",), not_checked={}, seconds=1.5))
        Net: nothing found wrong (1 check, 1.5 s).
    """

    subject: str
    findings: tuple[Finding, ...]
    """Root causes first; what they explain is not listed again."""
    checked: tuple[str, ...]
    """Causes that were looked for."""
    not_checked: Mapping[str, str]
    """Causes that were not, each with the reason: a missing input, an opaque operation, an earlier finding."""
    seconds: float
    notes: tuple[str, ...] = ()
    """What was measured besides, such as the overhead of watching."""

    @property
    def causes(self) -> tuple[str, ...]:
        """The names of the findings."""
        return tuple(finding.cause for finding in self.findings)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "subject": self.subject,
            "healthy": self.is_healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "checked": list(self.checked),
            "not_checked": dict(self.not_checked),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        checks = f"{len(self.checked)} check{'s' if len(self.checked) != 1 else ''}, {self.seconds:.1f} s"
        notes = [*self.notes]
        if self.is_healthy:
            return "\n".join([f"{self.subject}: nothing found wrong ({checks}).", *notes])
        count = f"{len(self.findings)} finding{'s' if len(self.findings) != 1 else ''}"
        return "\n".join([f"{self.subject}: {count} ({checks}).", *(str(f) for f in self.findings), *notes])
