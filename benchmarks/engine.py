"""The engine against PyTorch as most people run it, PyTorch tuned, Keras 3 on JAX and ONNX Runtime: ratios in one run.

A training step is forward pass, loss, backward pass and update of a network that is built, on batches in memory. Every
side is a process; peer and striate take turns. ``--scaling`` measures how the cost grows with batch, width, image size
and threads instead, ``--time-to-accuracy`` the wall time of whole trainings. Rows that are not run now are kept from
the last results of the same machine and versions.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._engine_measure import measure
from benchmarks._engine_peers import PYTHON_VARIABLE, peers_python
from benchmarks._engine_rows import GOALS, ROWS
from benchmarks._engine_tables import notes, ratio_table, speed_table
from benchmarks._support import environment_line, make_parser, publish, require_data, write_results

__all__ = ["main", "merge"]

SECONDS_A_ROUND = 1.0


def merge(path: Path, results: Sequence[dict[str, Any]], *, environment: dict[str, Any]) -> list[dict[str, Any]]:
    """Return new results with those rows of a file that were not measured anew, in the order of `ROWS`.

    Args:
        path: Of earlier results; it need not be there.
        results: New ones.
        environment: Rows of another machine or other versions are dropped.
    """
    merged = {(result["row"], result["threads"]): result for result in results}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        kept = before["results"] if before["environment"] == environment else []
        merged = {(result["row"], result["threads"]): result for result in kept} | merged
    order = {row.name: index for index, row in enumerate(ROWS)}
    known = [result for result in merged.values() if result["row"] in order]
    return sorted(known, key=lambda result: (order[result["row"]], -result["threads"]))


def run_rows(options: argparse.Namespace) -> None:
    """Measure the rows asked for, writing the results after each."""
    from striate.train.machine import describe_machine

    environment, path = json.loads(json.dumps(describe_machine())), options.results / "engine.json"
    new, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for row in ROWS:
        for threads in options.threads if row.name in options.rows else ():
            timing = {"rounds": options.rounds, "seconds": options.seconds}
            new.append(measure(row, threads=threads, python=options.python, **timing))
            print(f"\n{ratio_table(new[-1:])}\n\n{speed_table(new[-1:])}\n\n{notes(new[-1:])}", flush=True)
            results = merge(path, new, environment=environment)
            write_results(options.results, "engine", {"seeds": [0], "results": results})
    text = f"{ratio_table(results)}\n\nImages a second:\n\n{speed_table(results)}\n\n{notes(results)}"
    text += f"\n\n{environment_line(environment)}. Seed 0; training steps on batches in memory."
    print(f"\n{text}\n\n{path}")
    if options.publish:
        publish("engine", text)


def make_options() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser("benchmarks.engine", __doc__)
    names = [row.name for row in ROWS]
    parser.add_argument(
        "--rows", nargs="+", default=names, choices=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[2, 1], metavar="N", help="(2 1)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each side (5)")
    parser.add_argument("--seconds", type=float, default=SECONDS_A_ROUND, help="about how long a round takes (1)")
    parser.add_argument(
        "--python", default=peers_python(), metavar="PATH",
        help=f"interpreter with Keras, JAX and ONNX Runtime ({PYTHON_VARIABLE}, or this one)",
    )  # fmt: skip
    parser.add_argument("--publish", action="store_true", help="write the tables into benchmarks/RESULTS.md")
    parser.add_argument("--scaling", action="store_true", help="how the cost grows, as plots, instead of the rows")
    parser.add_argument("--time-to-accuracy", action="store_true", help="whole trainings, instead of the rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="SEED", help="(0 1 2 3 4)")
    for goal in GOALS:
        parser.add_argument(f"--{goal.name}-flags", default=goal.flags, metavar="FLAGS",
                            help=f"of the training to {100 * goal.accuracy:g} %% ({goal.flags})")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    from benchmarks import _engine_accuracy, _engine_scaling

    parser = make_options()
    options = parser.parse_args(arguments)
    if shutil.which(options.python) is None:
        parser.exit(
            2, f"benchmarks.engine: `--python` must name an interpreter, got {options.python}. Give its path.\n"
        )
    if options.time_to_accuracy:
        require_data(parser)
        _engine_accuracy.run(options)
    elif options.scaling:
        _engine_scaling.run(options)
    else:
        run_rows(options)


if __name__ == "__main__":
    main()
