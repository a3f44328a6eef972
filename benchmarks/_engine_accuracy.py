"""Wall time of ``striate train mnist --model lenet5`` to a test accuracy: a whole process, Python's start included."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._engine_rows import GOALS, Goal
from benchmarks._quiet import LOUD, Watch
from benchmarks._support import (
    ROOT,
    environment_line,
    markdown_table,
    mean_and_deviation,
    plain_environment,
    publish,
    reach_text,
    write_results,
)

__all__ = ["run", "run_once", "summarize", "table"]

COMMAND = ("train", "mnist", "--model", "lenet5")


def run_once(*, seed: int, flags: str) -> dict[str, Any]:
    """Run the command in a temporary folder.

    Args:
        seed: Of the run.
        flags: Further flags of ``striate train``.

    Returns:
        ``seed``, ``seconds`` of wall time, test ``accuracy``, and ``others``: processors that other programs used.

    Raises:
        subprocess.CalledProcessError: the training failed; its message is on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "striate", *COMMAND, *shlex.split(flags), "--json"]
        command += ["--seed", str(seed), "--output", folder]
        watch, begin = Watch([]), time.perf_counter()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=plain_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        seconds = time.perf_counter() - begin
        others = watch.others()
    answer = json.loads(done.stdout)
    return {
        "seed": seed,
        "seconds": round(seconds, 3),
        "training_seconds": round(sum(row["seconds"] for row in answer["history"]), 3),
        "accuracy": answer["evaluation"]["top1"],
        "others": others,
    }


def summarize(goal: Goal, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread; the goal is met when the mean accuracy and the slowest run meet it."""
    mean, deviation = mean_and_deviation([run["accuracy"] for run in runs])
    seconds = [run["seconds"] for run in runs]
    return {
        "goal": goal.name,
        "n": len(runs),
        "accuracy_mean": mean,
        "accuracy_deviation": deviation,
        "accuracy_min": min(run["accuracy"] for run in runs),
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
        "others_max": max((run["others"] for run in runs if run["others"] is not None), default=None),
        "is_met": mean >= goal.accuracy and max(seconds) < goal.seconds,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of the goals."""
    header = (
        "flags",
        "wall seconds, median (slowest)",
        "of which training",
        "test accuracy, mean (lowest)",
        "n",
        "reach",
        "",
    )
    goals = {goal.name: goal for goal in GOALS}
    rows = [
        (
            result["flags"],
            f"{result['seconds_median']:.1f} ({result['seconds_max']:.1f})",
            f"{statistics.median(run['training_seconds'] for run in result['runs']):.1f}",
            f"{100 * result['accuracy_mean']:.2f} % ({100 * result['accuracy_min']:.2f} %)",
            str(result["n"]),
            f"{100 * goals[result['goal']].accuracy:g} % in {goals[result['goal']].seconds:g} s",
            reach_text(result["is_met"]),
        )
        for result in results
    ]
    return markdown_table(header, rows)


def run(options: argparse.Namespace) -> None:
    """Measure each goal over the seeds, after one run that warms the page cache."""
    from striate.train.machine import describe_machine

    run_once(seed=options.seeds[0], flags=f"{GOALS[0].flags} --epochs 1")
    results = list[dict[str, Any]]()
    for goal in GOALS:
        flags = getattr(options, f"{goal.name}_flags")
        runs = [run_once(seed=seed, flags=flags) for seed in options.seeds]
        results.append({"flags": flags, "runs": runs, **summarize(goal, runs)})
        print(table(results[-1:]), flush=True)
    loud = max((result["others_max"] or 0.0 for result in results), default=0.0)
    text = f"`striate {' '.join(COMMAND)} FLAGS`:\n\n{table(results)}\n\n{environment_line(describe_machine())}."
    text += f" Not quiet: other programs used up to {loud:.1f} processors." if loud > LOUD else ""
    print(
        f"\n{text}\n\n{write_results(options.results, 'engine_accuracy', {'seeds': options.seeds, 'results': results})}"
    )
    if options.publish:
        publish("engine_accuracy", text)
