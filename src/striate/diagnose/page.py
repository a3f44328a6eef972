"""The diagnosis in a run's ``report.html`` and as ``diagnosis.json`` beside it."""

from __future__ import annotations

from pathlib import Path

from striate.diagnose._plot import plot
from striate.diagnose.finding import Diagnosis, Finding
from striate.files import write_json
from striate.train._html import Html, tag
from striate.train.report import put_section

__all__ = ["save_diagnosis", "section"]


def section(diagnosis: Diagnosis) -> Html:
    """Return the section of a report.

    Args:
        diagnosis: Its findings are listed; what was not checked is said below them.
    """
    if diagnosis.is_healthy:
        content = [tag("p", f"Nothing found wrong in {len(diagnosis.checked)} checks.")]
    else:
        content = [_finding(finding) for finding in diagnosis.findings]
    if diagnosis.not_checked:
        reasons = [tag("li", f"{cause}: {why}") for cause, why in diagnosis.not_checked.items()]
        content.append(tag("details", tag("summary", "Not checked"), tag("ul", *reasons), class_="muted"))
    return tag("section", tag("h2", "Diagnosis"), *content, id="diagnosis")


def _finding(finding: Finding) -> Html:
    parts = [tag("h3", finding.cause), tag("p", finding.says), tag("ul", *[tag("li", e) for e in finding.evidence])]
    drawn = plot(finding.numbers)
    parts += [] if drawn is None else [drawn]
    return tag("div", *parts, tag("p", f"Tested: {finding.confirmed_by}."), tag("p", tag("strong", finding.fix)))


def save_diagnosis(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write ``diagnosis.json``, and the section into ``report.html``, where there is one; a second time replaces it.

    Args:
        diagnosis: Of the run.
        folder: The run folder.

    Raises:
        ModelError: the report is not one that striate wrote.
        ResourceError: the folder cannot be written.
    """
    path = folder / "diagnosis.json"
    write_json(path, diagnosis.to_dict())
    return put_section(folder, section(diagnosis), name="diagnosis") or path
