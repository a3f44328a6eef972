"""Wall time of ``striate train digits`` as a whole process, from a warm install, and its test accuracy.

One run first warms the page cache and Python's byte code, outside the clock; then one timed run a seed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._support import (
    ROOT,
    environment_line,
    make_parser,
    markdown_table,
    mean_and_deviation,
    parse,
    plain_environment,
    publish,
    reach_text,
    write_results,
)

__all__ = ["main", "run_once", "summarize"]

REACH_ACCURACY = 0.98
REACH_SECONDS = 20.0


def run_once(*, seed: int, options: Sequence[str] = ()) -> dict[str, Any]:
    """Run the command in a temporary folder.

    Args:
        seed: Of the run.
        options: Further flags of ``striate train``.

    Returns:
        ``seed``, ``seconds`` of wall time, test ``accuracy``, number of test ``images`` and the ``configuration``.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "striate",
            "train",
            "digits",
            "--json",
            "--seed",
            str(seed),
            "--output",
            folder,
        ]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, *options], cwd=ROOT, env=plain_environment(), stdout=subprocess.PIPE, check=True, text=True
        )
        seconds = time.perf_counter() - begin
        answer = json.loads(done.stdout)
        evaluation = answer["evaluation"]
    return {
        "seed": seed,
        "seconds": round(seconds, 3),
        "training_seconds": round(sum(row["seconds"] for row in answer["history"]), 3),
        "accuracy": evaluation["top1"],
        "images": evaluation["num_samples"],
    }


def summarize(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread; the reach is met when the mean accuracy and the slowest run meet it."""
    mean, deviation = mean_and_deviation([run["accuracy"] for run in runs])
    seconds = [run["seconds"] for run in runs]
    return {
        "n": len(runs),
        "accuracy_mean": mean,
        "accuracy_deviation": deviation,
        "accuracy_min": min(run["accuracy"] for run in runs),
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
        "is_met": mean >= REACH_ACCURACY and max(seconds) < REACH_SECONDS,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = make_parser("benchmarks.digits", __doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="SEED", help="(0 1 2 3 4)")
    parser.add_argument("--epochs", type=int, help="fewer epochs, to try the program out")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    from striate.train.machine import describe_machine

    flags = ["--epochs", str(options.epochs)] if options.epochs else []
    run_once(seed=options.seeds[0], options=["--epochs", "1"])
    runs = [run_once(seed=seed, options=flags) for seed in options.seeds]
    summary = summarize(runs)
    header = (
        "command",
        "wall seconds, median (slowest)",
        "of which training",
        "test accuracy, mean (lowest)",
        "n",
        "reach",
        "",
    )
    row = (
        "striate train digits",
        f"{summary['seconds_median']:.1f} ({summary['seconds_max']:.1f})",
        f"{statistics.median(run['training_seconds'] for run in runs):.1f}",
        f"{100 * summary['accuracy_mean']:.2f} % ({100 * summary['accuracy_min']:.2f} %)",
        str(summary["n"]),
        f"{100 * REACH_ACCURACY:g} % in {REACH_SECONDS:g} s",
        reach_text(summary["is_met"]),
    )
    text = f"{markdown_table(header, [row])}\n\n{environment_line(describe_machine())}."
    print(f"{text}\n\n{write_results(options.results, 'digits', {'seeds': options.seeds, 'runs': runs, **summary})}")
    if options.publish:
        publish("digits", text)


if __name__ == "__main__":
    main()
