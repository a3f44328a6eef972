"""Accuracies beside those that course texts report: mean and spread over seeds, each seed one run of `striate.train`.

The recipes were chosen on a validation split. Here nothing is chosen: each network is trained on all training images
(``val_fraction=0``) and looks at the test split once, after its last step. Iris has no test split: there it is 10-fold
stratified cross-validation, and the interval is Wilson's over its 150 predictions. A seed that is finished is noted in
course_table.json and not run again, unless its recipe has changed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._course_rows import ROWS, Row, stratified_folds
from benchmarks._support import (
    environment_line,
    make_parser,
    markdown_table,
    mean_and_deviation,
    parse,
    publish,
    reach_text,
    write_results,
)

__all__ = ["main", "run_seed", "summarize", "table"]

Record = dict[str, Any]
HEADER = (
    "network",
    "data",
    "recipe",
    "course texts",
    "test accuracy, mean ± deviation",
    "min to max",
    "seeds",
    "wall time",
    "reach",
    "",
)


def run_seed(row: Row, *, seed: int, output: Path, epochs: int | None) -> Record:
    """Train and test one row with one seed.

    Args:
        row: Of the table.
        seed: Of the run, and of the folds.
        output: Where run folders are made.
        epochs: Fewer than the recipe's, to try the program out; None for the recipe's.

    Returns:
        What course_table.json keeps: accuracy, correct answers, images, wall seconds, recipe, configuration, machine.
    """
    import striate
    from striate.data import load

    overrides: dict[str, Any] = {"val_fraction": 0.0} | ({"epochs": epochs} if epochs else {})
    begin = time.perf_counter()
    sources: list[Any] = [row.data]
    if row.folds:
        whole = load(row.data, val_fraction=0.0, test_fraction=0.0)
        folds = stratified_folds(whole.train.labels.numpy(), folds=row.folds, seed=seed)
        sources = [_without(whole, fold) for fold in folds]
    correct = images = 0
    for number, source in enumerate(sources):
        name = f"{row.key}-seed{seed}" + (f"-fold{number}" if row.folds else "")
        run = striate.train(
            source, model=row.model, recipe=row.recipe, seed=seed, output=output, experiment=name, **overrides
        )
        evaluation = run.evaluation
        if evaluation is None:
            raise RuntimeError(f"course_table: {run.folder} holds no evaluation.")
        correct += sum(counts[label] for label, counts in enumerate(evaluation.confusion))
        images += evaluation.num_samples
    return {
        "row": row.key,
        "seed": seed,
        "accuracy": correct / images,
        "correct": correct,
        "images": images,
        "wall_seconds": round(time.perf_counter() - begin, 1),
        "model": row.model,
        "recipe": _as_json(run.config.recipe.to_dict()),
        "configuration": run.config.machine.describe(),
        "environment": run.config.environment,
    }


def _without(whole: Any, fold: Any) -> Any:
    """Give splits whose test part is one fold, and whose training part is everything else."""
    import numpy as np

    rest = np.setdiff1d(np.arange(len(whole.train)), fold)
    return dataclasses.replace(whole, train=whole.train.subset(rest), test=whole.train.subset(fold))


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))  # tuples become lists, as they are when read back


def is_finished(records: Iterable[Record], row: Row, *, seed: int, recipe: dict[str, Any]) -> bool:
    """Whether a seed of a row was run with this model and recipe."""
    return any(
        (record["row"], record["seed"], record["model"], record["recipe"]) == (row.key, seed, row.model, recipe)
        for record in records
    )


def summarize(row: Row, records: Sequence[Record]) -> Record:
    """Return mean, spread and whether the reach is met, over the records of one row."""
    from striate.train.metrics import wilson_interval

    accuracies = [record["accuracy"] for record in records]
    mean, deviation = mean_and_deviation(accuracies)
    images = records[0]["images"]
    return {
        "row": row.key,
        "n": len(records),
        "seeds": [record["seed"] for record in records],
        "mean": mean,
        "deviation": deviation,
        "min": min(accuracies),
        "max": max(accuracies),
        # Repeated cross-validation asks about the same images again: n stays the number of images.
        "interval": wilson_interval(round(mean * images), images) if row.folds else None,
        "wall_seconds": mean_and_deviation([record["wall_seconds"] for record in records])[0],
        "tta": records[0]["recipe"]["tta"],
        "is_met": None if row.reach is None else mean >= row.reach,
    }


def table(summaries: Sequence[Record]) -> str:
    """Return the Markdown table; a row that was not run says so."""
    found = {summary["row"]: summary for summary in summaries}
    return markdown_table(HEADER, [_cells(row, found.get(row.key)) for row in ROWS])


def _cells(row: Row, summary: Record | None) -> tuple[str, ...]:
    reach = "with interval" if row.reach is None else f"{100 * row.reach:g} %"
    start = (row.title, row.data, row.recipe, row.course)
    if summary is None:
        return (*start, "not run", "", "", "", reach, "")
    deviation = "" if summary["deviation"] is None else f" ± {100 * summary['deviation']:.2f}"
    notes = f"; flip and shift averaged ({summary['tta']})" if summary["tta"] else ""
    if summary["interval"] is not None:
        low, high = summary["interval"]
        notes += f"; {row.folds}-fold, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return (
        *start,
        f"{100 * summary['mean']:.2f} %{deviation}{notes}",
        f"{100 * summary['min']:.2f} to {100 * summary['max']:.2f}",
        str(summary["n"]),
        f"{summary['wall_seconds']:,.0f} s",
        reach,
        "" if summary["is_met"] is None else reach_text(summary["is_met"]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not finished yet, then print and write the table."""
    parser = make_parser("benchmarks.course_table", __doc__)
    keys = [row.key for row in ROWS]
    parser.add_argument("--rows", nargs="+", default=keys, choices=keys, metavar="ROW", help=f"of {', '.join(keys)}")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="instead of the row's own")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/course_table"), help="for run folders (runs/course_table)"
    )
    parser.add_argument("--epochs", type=int, help="fewer epochs, to try the program out; kept apart, never published")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    if options.publish and options.epochs:
        parser.error("--publish is for the recipes as they are: leave out --epochs")
    from striate.train import RECIPES

    name = "course_table" if options.epochs is None else "course_table_trial"
    records = _read(options.results / f"{name}.json")
    overrides: dict[str, Any] = {"val_fraction": 0.0} | ({"epochs": options.epochs} if options.epochs else {})
    recipes = {row.key: RECIPES[row.recipe].with_overrides(overrides) for row in ROWS if row.recipe in RECIPES}
    plain = {key: _as_json(recipe.to_dict()) for key, recipe in recipes.items()}
    for row in (row for row in ROWS if row.key in options.rows):
        if row.key not in recipes:
            print(f"{row.key}: not run, striate ships no recipe `{row.recipe}`", flush=True)
            continue
        for seed in options.seeds or row.seeds:
            if is_finished(records, row, seed=seed, recipe=plain[row.key]):
                print(f"{row.key} seed {seed}: finished before", flush=True)
                continue
            records = [record for record in records if (record["row"], record["seed"]) != (row.key, seed)]
            records.append(run_seed(row, seed=seed, output=options.output, epochs=options.epochs))
            _write(options.results, name, records, plain)
            print(f"{row.key} seed {seed}: {100 * records[-1]['accuracy']:.2f} %", flush=True)
    text = f"{table(_summaries(records, plain))}\n\n{_where(records)}"
    print(f"\n{text}\n\n{_write(options.results, name, records, plain)}")
    if options.publish:
        publish("course_table", text)


def _summaries(records: Sequence[Record], recipes: dict[str, Any]) -> list[Record]:
    """Summarize each row over the seeds that were run with the recipe of today."""
    summaries = []
    for row in ROWS:
        own = [
            record
            for record in records
            if is_finished([record], row, seed=record["seed"], recipe=recipes.get(row.key, {}))
        ]
        if own:
            summaries.append(summarize(row, sorted(own, key=lambda record: int(record["seed"]))))
    return summaries


def _write(folder: Path, name: str, records: Sequence[Record], recipes: dict[str, Any]) -> Path:
    return write_results(folder, name, {"summary": _summaries(records, recipes), "records": list(records)})


def _where(records: Sequence[Record]) -> str:
    """Name each machine that records come from, once."""
    lines = dict.fromkeys(environment_line(record["environment"]) for record in records)
    return "\n".join(f"{line}." for line in lines)


def _read(path: Path) -> list[Record]:
    """Read what was run before; a recipe key that is younger than a record stands at its default there."""
    from striate.train import Recipe

    records = list(json.loads(path.read_text(encoding="utf-8"))["records"]) if path.is_file() else []
    return [record | {"recipe": _as_json(Recipe.from_dict(record["recipe"]).to_dict())} for record in records]


if __name__ == "__main__":
    main()
