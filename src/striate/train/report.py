"""`report.html`: one file that shows what a run achieved and how, without network, scripts or other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import numpy.typing as npt

from striate.errors import ModelError
from striate.files import write_text
from striate.train._html import Html, join, tag
from striate.train._progress_line import duration
from striate.train._report_record import environment_section, filters_section, recipe, reproduce, skipped_section
from striate.train._report_results import (
    Mistake,
    calibration,
    classes,
    confusion,
    curves,
    mistakes_section,
    percent,
    span,
)
from striate.train.metrics import Evaluation

__all__ = ["Mistake", "document", "write_report"]

# Nothing may be loaded or run: even if markup slipped in through a file name, it could not act or phone home.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SPLITS = {"test": "test", "val": "validation", "train": "training"}


def write_report(
    run_folder: Path,
    *,
    config: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    evaluation: Evaluation | None,
    mistakes: Sequence[Mistake] = (),
    filters: npt.NDArray[Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    skipped: Sequence[tuple[str, str]] = (),
    split: str = "test",
) -> Path:
    """Write ``report.html`` into a run folder; it appears whole or not at all.

    Args:
        run_folder: The run.
        config: Content of ``config.json``; used: ``model`` and ``data`` (a name, or a dict with ``name`` or
            ``source``), ``recipe``, ``command`` (a line or a list of words), ``num_params``.
        history: One dict for each epoch: epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr,
            images_per_second, seconds; None where there is none.
        evaluation: Of the final network, or None where the run was cut short.
        mistakes: Wrongly classified images; the 24 most confident are shown.
        filters: Weights of the first convolution, (C_out, C_in, kH, kW).
        environment: Processor, versions and the like; may be nested.
        notes: Sentences for the reader, such as what was chosen for this machine.
        skipped: (path, reason) of files that were left out.
        split: What `evaluation` was measured on: "test", "val" or "train".

    Raises:
        UsageError: `pixels` of a mistake or `filters` have a shape that is no picture.
        ResourceError: The folder cannot be written.
    """
    environment = config.get("environment", {}) if environment is None else environment
    split = _SPLITS.get(split, split)
    sections: list[tuple[str, str, Html | None]] = [
        ("Curves", "", curves(history)),
        *_result_sections(evaluation, mistakes=mistakes, split=split),
        ("First-layer filters", _FILTERS, None if filters is None else filters_section(filters)),
        ("Recipe", "", recipe(config)),
        ("Machine", "", environment_section(environment) if environment else None),
        (
            "Skipped files",
            f"{len(skipped):,} files could not be read and were left out. They were not changed.",
            skipped_section(skipped) if skipped else None,
        ),
        ("Reproduce", "", reproduce(config, run_folder=run_folder)),
    ]
    shown = [(title, words, content) for title, words, content in sections if content is not None]
    links = [tag("a", title, href=f"#{_anchor(title)}") for title, _, _ in shown]
    body = tag(
        "main",
        _headline(config, history=history, evaluation=evaluation, split=split),
        tag("ul", *[tag("li", note) for note in notes], class_="muted") if notes else "",
        tag("nav", *links),
        *[_section(title, words, content) for title, words, content in shown],
        tag("footer", "Written by striate. This page is complete: it loads nothing and runs nothing."),
    )
    path = run_folder / "report.html"
    write_text(path, document(title=_title(config), body=body))
    return path


_FILTERS = (
    "What the first layer looks for. One scale for all: grey is zero, white and black are the largest weight and its "
    "negative. Smooth edges and colours are the mark of a trained layer, noise that of an untrained one."
)


def _result_sections(
    evaluation: Evaluation | None, *, mistakes: Sequence[Mistake], split: str
) -> list[tuple[str, str, Html | None]]:
    wrong = "Wrong, and sure of it: the first place to look for wrong labels, odd pictures and missing training data."
    pictures = ("Most confident mistakes", wrong, mistakes_section(mistakes) if mistakes else None)
    if evaluation is None:
        return [pictures]
    shading = "Rows are the true class. Blue is right; orange is wrong, shaded relative to the most frequent mistake."
    many = "All classes as colours, blue is right and orange is wrong, and the most frequent mistakes by name."
    by_class = f"On {evaluation.num_samples:,} {split} images; the small figures are 95 % intervals."
    is_small = len(evaluation.per_class) <= 20
    return [
        ("Confusion", shading if is_small else many, confusion(evaluation)),
        ("Classes", by_class, classes(evaluation)),
        pictures,
        ("Calibration", "", calibration(evaluation)),
    ]


def _headline(
    config: Mapping[str, Any], *, history: Sequence[Mapping[str, Any]], evaluation: Evaluation | None, split: str
) -> Html:
    best = max((row for row in history if row.get("val_accuracy") is not None), key=_val_accuracy, default=None)
    if evaluation is not None:
        interval = span(evaluation.intervals.get("top1"))
        what = f"{split} accuracy, 95 % interval {interval} on {evaluation.num_samples:,} images"
        result = tag("p", tag("strong", percent(evaluation.top1)), tag("span", what), class_="result")
    elif best is not None:
        what = f"validation accuracy at epoch {best['epoch']}; the run has not been evaluated"
        result = tag("p", tag("strong", percent(_val_accuracy(best))), tag("span", what), class_="result")
    else:
        result = tag("p", tag("span", "The run has not been evaluated."), class_="result")
    tiles = _tiles(config, history=history, evaluation=evaluation, best=best)
    brand = tag("div", _mark(), "striate training report", class_="brand")
    return tag("header", brand, tag("h1", _title(config)), result, tag("dl", *tiles, class_="tiles") if tiles else "")


def _tiles(
    config: Mapping[str, Any],
    *,
    history: Sequence[Mapping[str, Any]],
    evaluation: Evaluation | None,
    best: Mapping[str, Any] | None,
) -> list[Html]:
    tiles = []
    if evaluation is not None:
        intervals = evaluation.intervals
        if evaluation.top5 is not None:
            tiles.append(_tile("Top-5 accuracy", percent(evaluation.top5), span(intervals.get("top5"))))
        tiles.append(_tile("Macro F1", percent(evaluation.macro_f1), span(intervals.get("macro_f1"))))
        error = percent(evaluation.calibration_error)
        tiles.append(_tile("Calibration error", error, span(intervals.get("calibration_error"))))
        tiles.append(_tile("Cross-entropy", f"{evaluation.loss:.4f}", "nats"))
    if best is not None:
        tiles.append(_tile("Best validation", percent(_val_accuracy(best)), f"epoch {best['epoch']} of {len(history)}"))
    seconds = [float(row["seconds"]) for row in history if row.get("seconds") is not None]
    if seconds:
        tiles.append(
            _tile("Training time", duration(sum(seconds)), f"{duration(sum(seconds) / len(seconds))} an epoch")
        )
    speeds = [float(row["images_per_second"]) for row in history if row.get("images_per_second")]
    if speeds:
        tiles.append(_tile("Speed", f"{median(speeds):,.0f}", "images per second"))
    if isinstance(config.get("num_params"), int):
        tiles.append(_tile("Parameters", f"{config['num_params']:,}", ""))
    return tiles


def _tile(name: str, value: str, below: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value, tag("small", below) if below else ""))


def _section(title: str, words: str, content: Html) -> Html:
    return tag(
        "section", tag("h2", title), tag("p", words, class_="muted") if words else "", content, id=_anchor(title)
    )


def _title(config: Mapping[str, Any]) -> str:
    return f"{_name(config.get('model'), 'A network')} on {_name(config.get('data'), 'images')}"


def _name(value: object, default: str) -> str:
    """Short name of a model or data set: the last part of a path, the `name` or `source` of a dict."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("source")
    return Path(value).name or value if isinstance(value, str) and value else default


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _val_accuracy(row: Mapping[str, Any]) -> float:
    return float(row["val_accuracy"])


def _mark() -> Html:
    """Three bars at an angle, after what Hubel and Wiesel's cells answer to."""
    bars = [tag("line", x1=x, y1=19, x2=x + 6, y2=5) for x in (2, 8, 14)]
    return tag("svg", *bars, viewBox="0 0 24 24", aria_hidden="true")


def put_section(folder: Path, section: Html, *, name: str) -> Path | None:
    """Put a section at the end of a run's report, in the place of an earlier one of that name.

    Args:
        folder: The run folder.
        section: Markup of the section.
        name: What finds it again.

    Returns:
        Path of the report; None: the run has none.

    Raises:
        ModelError: the report is not one that striate wrote.
        ResourceError: the folder cannot be written.
    """
    page, begin, end = folder / "report.html", f"<!--{name}-->", f"<!--/{name}-->"
    if not page.is_file():
        return None
    text = page.read_text(encoding="utf-8")
    if begin in text:
        head, rest = text.split(begin, 1)
        text = head + rest.split(end, 1)[1]
    head, footer, tail = text.rpartition("<footer>")
    if not footer:
        raise ModelError(f"put_section: `{page}` must hold a footer, got none. Remove it; striate writes a new one.")
    write_text(page, f"{head}{begin}{section}{end}{footer}{tail}")
    return page


def document(*, title: str, body: Html) -> str:
    """Return a whole page in the style of the reports."""
    css = resources.files("striate.train").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} · striate"),
        Html(f"<style>\n{css}</style>"),
    )
    return "<!doctype html>\n" + join(Html('<html lang="en">'), head, tag("body", body), Html("</html>\n"))
