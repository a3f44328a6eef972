"""What all benchmarks share: the check for data, the record of the machine, JSON, tables, sections of RESULTS.md."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = [
    "ROOT",
    "environment_line",
    "make_parser",
    "markdown_table",
    "mean_and_deviation",
    "parse",
    "plain_environment",
    "publish",
    "reach_text",
    "require_data",
    "write_results",
]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has.

    Args:
        name: Module name, such as ``benchmarks.digits``.
        description: The module's docstring.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes (benchmarks/results)"
    )
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line of a benchmark that cannot do without data, see `require_data`."""
    options = parser.parse_args(arguments)
    require_data(parser)
    return options


def require_data(parser: argparse.ArgumentParser) -> None:
    """Leave with one line and exit code 2 where ``STRIATE_DATA`` does not name a folder."""
    folder = os.environ.get("STRIATE_DATA", "")
    if not folder or not Path(folder).is_dir():
        name = parser.prog.removeprefix("python -m ")
        parser.exit(
            2,
            f"{name}: `STRIATE_DATA` must name the folder with the data sets, got {folder or 'nothing'}. "
            "Set it: export STRIATE_DATA=FOLDER (benchmarks/README.md says what lies there).\n",
        )


def write_results(folder: Path, name: str, values: Mapping[str, Any]) -> Path:
    """Write ``FOLDER/NAME.json`` with the machine, the versions and the date beside the values."""
    from striate.train.machine import describe_machine

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "environment": describe_machine(),
        **values,
    }
    making = path.with_name(f".{path.name}.tmp")
    making.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    making.replace(path)
    return path


def plain_environment() -> dict[str, str]:
    """Return the environment as people have it: Python keeps what it compiles, so that a second start is quicker."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def environment_line(environment: Mapping[str, Any]) -> str:
    """Say in one line on what machine and with which versions something was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return f"{environment['processor']}, {environment['cores']} cores; {versions}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are padded, so that it reads in a terminal too.

    Example:
        >>> print(markdown_table(("a", "b"), [("1", "long")]))
        | a | b    |
        |---|------|
        | 1 | long |
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1), which one value alone does not have.

    Example:
        >>> mean_and_deviation([1.0, 3.0])
        (2.0, 1.4142135623730951)
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def reach_text(is_met: bool) -> str:
    """Say whether a figure was reached; what was not is published as well."""
    return "met" if is_met else "NOT met"


def publish(section: str, text: str, *, path: Path = ROOT / "benchmarks" / "RESULTS.md") -> None:
    """Replace what stands between a section's two markers in RESULTS.md.

    Args:
        section: Word in the markers ``<!-- WORD:begin -->`` and ``<!-- WORD:end -->``.
        text: Markdown.
        path: The file.

    Raises:
        ValueError: the markers are not there, or not once each.
    """
    begin, end = f"<!-- {section}:begin -->", f"<!-- {section}:end -->"
    content = path.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"publish: `{path.name}` must hold {begin} and {end} once each, in this order. Put them back.")
    head, rest = content.split(begin)
    tail = rest.split(end)[1]
    path.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}", encoding="utf-8")
