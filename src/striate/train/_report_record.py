"""Sections of the report about how the result came to be: recipe, machine, filters, skipped files, commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.train._html import Html, join, tag
from striate.train._pictures import Array, filter_tiles

__all__ = ["environment_section", "filters_section", "recipe", "reproduce", "skipped_section"]

MAX_SKIPPED = 200
_OFF: tuple[object, ...] = (None, False, 0, "", [], {}, ())


def recipe(config: Mapping[str, Any]) -> Html:
    """Every number of the training; what is off is only named, and the rest of the configuration can be unfolded."""
    chosen = dict(_flat(config.get("recipe", {})))
    on = {name: value for name, value in chosen.items() if value not in _OFF}
    off = [_words(name) for name in chosen if name not in on]
    rest = {name: value for name, value in _flat(config) if not name.startswith("recipe.") and name != "command"}
    return join(
        _settings(on) if on else tag("p", "No recipe was recorded.", class_="muted"),
        tag("p", f"Off or zero: {', '.join(off)}.", class_="muted", style="margin-top:14px") if off else "",
        tag("details", tag("summary", "Model, data and preprocessing in full"), _settings(rest)) if rest else "",
    )


def environment_section(environment: Mapping[str, Any]) -> Html:
    """Machine and versions."""
    return _settings(dict(_flat(environment)))


def filters_section(filters: Array) -> Html:
    """First-layer filters as tiles, all on one scale."""
    tiles = [tag("img", src=uri, alt=title, title=title) for title, uri in filter_tiles(filters)]
    return tag("div", *tiles, class_="filters")


def skipped_section(skipped: Sequence[tuple[str, str]]) -> Html:
    """Files that were left out, with the reason."""
    rows = [
        tag("tr", tag("td", tag("span", path, class_="file")), tag("td", why)) for path, why in skipped[:MAX_SKIPPED]
    ]
    head = tag("tr", tag("th", "file"), tag("th", "reason"))
    more = len(skipped) - MAX_SKIPPED
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="data left")
    return join(
        tag("div", table, class_="wide tall"),
        tag("p", f"{more:,} more are listed in the run's log.", class_="muted") if more > 0 else "",
    )


def reproduce(config: Mapping[str, Any], *, run_folder: Path) -> Html:
    """Commands that repeat the run and use it."""
    command = config.get("command")
    folder = shlex.quote(str(run_folder))
    again = command if isinstance(command, str) else shlex.join(str(word) for word in command or ())
    parts: list[Html] = []
    if again:
        parts += [tag("p", "Train again:"), tag("pre", again)]
    else:
        parts.append(tag("p", "The run was started from Python; its settings are in ", tag("code", "config.json"), "."))
    # Each command is an element of its own: text, and so `printable`, never holds a line break.
    lines = [f"striate evaluate {folder}", f"striate predict {folder} IMAGE"]
    parts += [tag("p", "Use this run:"), tag("pre", lines[0], tag("br"), lines[1])]
    return join(*parts)


def _settings(values: Mapping[str, object]) -> Html:
    pairs = [tag("div", tag("dt", _words(name)), tag("dd", _shown(value))) for name, value in values.items()]
    return tag("dl", *pairs, class_="settings")


def _flat(values: object, *, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Walk nested dicts as ("augmentation.cutout", 4) pairs."""
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _words(name: str) -> str:
    return name.replace("augmentation.", "").replace("_", " ").replace(".", " · ")


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_shown(item) for item in value[:12])
        return shown + (f" … ({len(value):,} in all)" if len(value) > 12 else "")
    return str(value)
