"""The registry as text: a table of all networks, and everything known about one."""

from __future__ import annotations

import textwrap

from striate.models.entry import ModelInfo
from striate.models.registry import info, names

__all__ = ["describe", "table"]

WIDTH = 100


def table() -> str:
    """Return one line a network: name, parameters, input, year, what it is; at most 100 columns.

    Example:
        >>> table().splitlines()[1].split()[:3]
        ['mlp_boston', '173', '13']
    """
    entries = [info(name) for name in names()]
    rows = [("name", "parameters", "input", "year", "network")]
    rows += [
        (entry.name, f"{entry.num_params:,}", _size(entry), str(entry.paper.year), entry.description)
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {count:>{widths[1]}}  {size:<{widths[2]}}  {year:<{widths[3]}}  {text}"
        for name, count, size, year, text in rows
    ]
    return "\n".join(_cut(line) for line in lines)


def describe(entry: ModelInfo) -> str:
    """Return the paper, the counts, the published weights and every deviation of one network."""
    paper = entry.paper
    lines = [
        f"{entry.name}: {entry.description}",
        "",
        *_field("paper", f"{paper.authors}, {paper.title}, {paper.venue}, {paper.year}. {paper.url}"),
        *_field("input", f"{_size(entry)}; {entry.num_classes} classes"),
        *_field("parameters", f"{entry.num_params:,}{_printed_count(entry)}"),
    ]
    if entry.min_image_size is not None:
        lines += _field("smallest", f"images of {entry.min_image_size} x {entry.min_image_size} pixels")
    for weights in entry.pretrained:
        lines += _field(
            "weights", f"{weights.name}: top-1 {weights.top1} %, top-5 {weights.top5} % on ImageNet. {weights.url}"
        )
    lines += ["", "Deviations from the paper:" if entry.deviations else "Built as in the paper."]
    for number, deviation in enumerate(entry.deviations, start=1):
        lines += textwrap.wrap(f"{number}. Paper: {deviation.paper}", WIDTH, subsequent_indent="   ")
        lines += textwrap.wrap(f"Here: {deviation.here}", WIDTH, initial_indent="   ", subsequent_indent="   ")
        lines += textwrap.wrap(f"Why: {deviation.why}", WIDTH, initial_indent="   ", subsequent_indent="   ")
    return "\n".join(lines)


def _field(label: str, text: str) -> list[str]:
    indent = " " * 12
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{label:<12}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printed_count(entry: ModelInfo) -> str:
    printed = entry.paper_num_params
    if printed is None:
        return ""
    verdict = "which agrees" if printed.agrees_with(entry.num_params) else "which differs, see below"
    return f" (the paper prints {printed.value:,}, {printed.where}, {verdict})"


def _size(entry: ModelInfo) -> str:
    return " x ".join(str(length) for length in entry.input_size)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 4].rsplit(" ", 1)[0] + " ..."
