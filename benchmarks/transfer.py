"""Tuning against training from scratch on real data, and the time that features of photographs take.

Rows: two classes of CIFAR-10 from a network that knows the other eight; the digits set from a network that knows MNIST;
cats and dogs from a network that knows CIFAR-10; features of 4,000 photographs with ResNet-18 at 160 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._support import environment_line, make_parser, markdown_table, parse, publish, reach_text, write_results

__all__ = ["ROWS", "main", "table"]

OUT = ("cat", "truck")
"""Left out of the source's classes: an animal and a vehicle."""
SIZES = (10, 50, 200)
REACH_POINTS, REACH_DIGITS, REACH_FIRST, REACH_SECOND = 0.10, 0.95, 240.0, 10.0


def run_cifar(folder: Path, *, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare on the two classes that the source has not seen, with the official test images of both."""
    from striate.tune import compare

    splits, source = _cifar_source(folder)
    names = [splits.class_names.index(name) for name in OUT]
    target = _of_classes(splits, names)
    found = compare(source, target, modes=("scratch", "features", "gradual"), sizes=SIZES, seeds=seeds, output=None)
    return [
        _row("cifar10, two classes left out", found, size, margin=REACH_POINTS if size == 50 else 0.0) for size in SIZES
    ]


def run_digits(folder: Path, *, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare on the digits set with ten images a class."""
    import striate
    from striate.tune import compare

    source = _once(
        folder / "mnist", lambda: striate.train("mnist", recipe="mnist-fast", output=folder, experiment="mnist")
    )
    modes = ("scratch", "features", "gradual")
    found = compare(source, "digits", modes=modes, sizes=(10,), seeds=seeds, output=None)
    return [_row("digits from mnist", found, 10, reach=REACH_DIGITS)]


def run_photographs(folder: Path, *, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare on cats and dogs, all images, at the size of CIFAR-10."""
    from striate.tune import compare

    _, source = _cifar_source(folder)
    data = Path(os.environ["STRIATE_DATA"]) / "cats-dogs"
    found = compare(source, data, modes=("scratch", "features", "gradual"), sizes=(None,), seeds=seeds, output=None)
    return [_row("cats and dogs from cifar10", found, found.points[0].images_per_class)]


def run_features(folder: Path, *, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Time features of photographs the first and the second time, from a cache that is empty at first."""
    import striate
    from striate import models

    network = models.create("resnet18")
    data = Path(os.environ["STRIATE_DATA"]) / "cats-dogs"
    seconds, before = [], os.environ.get("STRIATE_CACHE")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["STRIATE_CACHE"] = empty
        try:
            for _ in range(2):
                begin = time.perf_counter()
                striate.tune(network, data, mode="features", image_size=160, output=folder)
                seconds.append(time.perf_counter() - begin)
        finally:
            del os.environ["STRIATE_CACHE"]
            if before is not None:
                os.environ["STRIATE_CACHE"] = before
    return [{"row": "features of 4,000 photographs, ResNet-18 at 160 px", "seconds": seconds}]


ROWS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "cifar": run_cifar,
    "digits": run_digits,
    "photographs": run_photographs,
    "features": run_features,
}


def _cifar_source(folder: Path) -> tuple[Any, Any]:
    """Return CIFAR-10 and a run that has learned all of its classes but two."""
    import striate
    from striate.data import load

    splits = load("cifar10", val_fraction=0.0)
    kept = _of_classes(splits, [n for n, name in enumerate(splits.class_names) if name not in OUT])
    images = kept.train.images.gather(np.arange(len(kept.train))).pixels.permute(0, 2, 3, 1).numpy()
    labels = kept.train.labels.numpy()
    make = lambda: striate.train(  # noqa: E731
        (images, labels), model="resnet20", recipe="cifar", epochs=12, output=folder, experiment="cifar8"
    )
    return splits, _once(folder / "cifar8", make)


def _once(path: Path, make: Callable[[], Any]) -> Any:
    """Return a run that is there already, or make it."""
    import striate

    return striate.Run(path) if (path / "evaluation.json").is_file() else make()


def _of_classes(splits: Any, classes: Sequence[int]) -> Any:
    """Return splits of some of the classes, with labels from 0."""
    names = tuple(splits.class_names[label] for label in classes)

    def part(dataset: Any) -> Any:
        rows = np.flatnonzero(np.isin(dataset.labels.numpy(), classes))
        own = dataset.subset(rows)
        labels = own.labels.clone()
        for new, old in enumerate(classes):
            labels[own.labels == old] = new
        return replace(own, labels=labels, class_names=names)

    parts = {"train": part(splits.train), "test": part(splits.test), "val": None}
    return replace(splits, name=f"{splits.name}-{'-'.join(names)}"[:60], class_names=names, **parts)


def _row(
    name: str, found: Any, size: int, *, margin: float | None = None, reach: float | None = None
) -> dict[str, Any]:
    points = {p.mode: p for p in found.points if p.images_per_class == size}
    best = max((p for mode, p in points.items() if mode != "scratch"), key=lambda p: p.mean)
    return {
        "row": name,
        "images_per_class": size,
        "test_images": found.test_images,
        "modes": {
            mode: {"mean": p.mean, "deviation": p.deviation, "accuracies": p.accuracies} for mode, p in points.items()
        },
        "seconds": {mode: float(np.median(p.seconds)) for mode, p in points.items()},
        "gain": points["gradual"].mean - points["scratch"].mean,
        "best": best.mode,
        "margin": margin,
        "reach": reach,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the rows as tables."""
    compared, timed = [r for r in results if "modes" in r], [r for r in results if "modes" not in r]
    rows = []
    for r in compared:
        cells = [
            f"{100 * r['modes'][m]['mean']:.1f} ± {100 * r['modes'][m]['deviation']:.1f} %"
            for m in ("scratch", "features", "gradual")
        ]
        met = ""
        if r["margin"] is not None:
            met = f"+{100 * r['margin']:.0f} points: " + reach_text(r["gain"] >= r["margin"] and r["gain"] > 0)
        if r["reach"] is not None:
            met = f"{100 * r['reach']:.0f} %: " + reach_text(r["modes"]["gradual"]["mean"] >= r["reach"])
        seeds = len(r["modes"]["gradual"]["accuracies"])
        rows.append([r["row"], f"{r['images_per_class']:,}", *cells, f"{100 * r['gain']:+.1f}", str(seeds), met])
    header = ["data", "images a class", "from scratch", "features", "gradual", "points gained", "seeds", "reach"]
    text = markdown_table(header, rows) if rows else ""
    for r in timed:
        first, second = r["seconds"]
        text += (
            f"\n\n{r['row']}: {first:.0f} s the first time (under {REACH_FIRST:.0f}: "
            f"{reach_text(first < REACH_FIRST)}), "
            f"{second:.1f} s the second (under {REACH_SECOND:.0f}: {reach_text(second < REACH_SECOND)})."
        )
    return text.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    from striate.train.machine import describe_machine

    parser = make_parser("benchmarks.transfer", __doc__)
    parser.add_argument("--rows", nargs="+", default=[*ROWS], choices=[*ROWS], metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="SEED", help="(0 1 2 3 4)")
    parser.add_argument("--folder", type=Path, default=None, help="where sources are kept from one start to the next")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    environment = json.loads(json.dumps(describe_machine()))
    results = _merged(options.results / "transfer.json", _run(options), environment=environment)
    write_results(options.results, "transfer", {"seeds": options.seeds, "results": results})
    text = f"{table(results)}\n\n{environment_line(describe_machine())}."
    print(text)
    if options.publish:
        publish("transfer", text)


def _merged(path: Path, results: list[dict[str, Any]], *, environment: dict[str, Any]) -> list[dict[str, Any]]:
    """Put new results before those of other rows from earlier starts on the same machine and versions."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = before.get("results", []) if before.get("environment") == environment else []
    new = {(row["row"], row.get("images_per_class")) for row in results}
    return results + [row for row in kept if (row["row"], row.get("images_per_class")) not in new]


def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for name in options.rows:
            results += ROWS[name](folder, seeds=options.seeds)
            print(table(results), flush=True)
    return results


if __name__ == "__main__":
    main()
