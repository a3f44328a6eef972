"""Other diagnosis packages beside striate's, on the same faults and the same healthy trainings.

Each package runs in a process of its own (`_peer_runs.py`), in the environment that ``STRIATE_DIAGNOSIS_PYTHON`` names,
or in this one. What it can be given of a case is in `_peer_cases.py`, what its messages mean in `_peer_messages.py`. A
fault is named if any message stands for a right cause, detected if it is named or there is any warning at all; a
healthy training with a warning is a false alarm. What a package marks as information only can name, but alarms nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._support import ROOT, markdown_table, write_results
from benchmarks.diagnosis._peer_messages import IGNORED, named_by, warnings_among

__all__ = ["REQUIREMENTS", "ask", "beside_peers", "judged", "peers_table", "python_of_peers"]

PYTHON_VARIABLE = "STRIATE_DIAGNOSIS_PYTHON"
REQUIREMENTS = {
    "torchtest2": "torchtest2==0.1.0",
    "torchmortem": "torchmortem==0.1.1",
    "torch-audit": "torch-audit==0.3.0",
    "neural-net-checklist": "neural-net-checklist==1.1.0",
}
HEADER = (
    "",
    "faults asked",
    "detected",
    "named",
    "named by striate",
    "healthy asked",
    "false alarms",
    "median s",
    "out of time",
)


def python_of_peers() -> str:
    """Return the interpreter of the peers: ``STRIATE_DIAGNOSIS_PYTHON``, or this one."""
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def ask(peer: str, *, architecture: str, seed: int, only: str = "", limit: float) -> dict[str, Any]:
    """Run a peer over the cases of one architecture and seed.

    Args:
        peer: A key of `REQUIREMENTS`.
        architecture: Into which faults are put.
        seed: Of data, weights and faults.
        only: Cases whose name holds this.
        limit: Seconds a case.

    Returns:
        ``version``, ``results``, and ``failed``: why there are none, or None.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "answers.jsonl"
        command = [python_of_peers(), "-m", "benchmarks.diagnosis._peer_runs", peer, str(output)]
        flags = {"--architecture": architecture, "--seed": str(seed), "--only": only, "--limit": str(limit)}
        command += [word for flag in flags.items() for word in flag]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"version": None, "results": [], "failed": last}
        first, *lines = output.read_text(encoding="utf-8").splitlines()
    results = [judged(peer, json.loads(line)) | {"seed": seed} for line in lines]
    return {"version": json.loads(first)["version"], "results": results, "failed": None}


def judged(peer: str, record: dict[str, Any]) -> dict[str, Any]:
    """Add to what a peer said of a case whether that is a warning, and whether it names the fault."""
    heard, got = warnings_among(peer, record["messages"]), named_by(peer, record["messages"])
    is_named = bool(set(got) & set(record["right"]))
    return record | {"got": got, "detected": bool(heard) or is_named, "named": is_named}


def _own_row(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return striate's row from results of the benchmark itself; an error is a miss, or a false alarm."""
    same = [r | {"why_not": None, "detected": r["detected"] or bool(r["error"] and not r["right"])} for r in results]
    return _row("striate", same, same)


def _row(title: str, results: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]]) -> list[str]:
    asked = [r for r in results if r["why_not"] is None]
    faults, healthy = [r for r in asked if r["right"]], [r for r in asked if not r["right"]]
    kinds = sum(bool(r["right"]) for r in results)
    ours = {_key(r) for r in own if r["named"]}
    return [
        title,
        f"{len(faults)} of {kinds}",
        _share(sum(r["detected"] for r in faults), len(faults)),
        _share(sum(r["named"] for r in faults), len(faults)),
        _share(sum(_key(r) in ours for r in faults), len(faults)),
        f"{len(healthy)} of {len(results) - kinds}",
        _share(sum(r["detected"] for r in healthy), len(healthy)),
        f"{statistics.median(r['seconds'] for r in asked):.2f}" if asked else "",
        f"{sum(r['error'] == 'out of time' for r in asked)}",
    ]


def _key(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["name"], result["architecture"], result["seed"]


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.0f} %)" if whole else "0"


def peers_table(own: Sequence[dict[str, Any]], answers: dict[str, dict[str, Any]], *, limit: float) -> str:
    """Return the table, and below it what peers could not be asked and which are not there.

    Args:
        own: striate's results on the same cases.
        answers: By peer, see `ask`.
        limit: Seconds a case.
    """
    rows = [_own_row(own)]
    lines = []
    for peer, answer in answers.items():
        if answer["failed"] is not None:
            lines.append(f"- {peer} is left out: {answer['failed']}. Get it: pip install {REQUIREMENTS[peer]}")
            continue
        rows.append(_row(f"{peer} {answer['version']}", answer["results"], own))
        lines += _remarks(peer, answer["results"])
    lines.append(
        f"- Out of time: after {limit:.0f} s a case was ended; what it had not said by then counts as silence."
    )
    return "\n\n".join([markdown_table(HEADER, rows), "\n".join(lines)])


def _remarks(peer: str, results: Sequence[dict[str, Any]]) -> list[str]:
    """Return why cases could not be asked, and what else must be known."""
    reasons = Counter(r["why_not"] for r in results if r["why_not"] is not None)
    said = "; ".join(f"{reason}: {count}" for reason, count in reasons.items())
    parts = [f"cannot be asked, {said}"] if reasons else []
    if peer in IGNORED:
        parts.append(f"advice about speed and style ({IGNORED[peer].strip('^')}) does not count, on either side")
    errors = sum(r["error"] not in (None, "out of time") for r in results)
    if errors:
        parts.append(f"raised an exception of its own in {errors} cases, which counts as silence")
    return [f"- {peer}: {'. '.join(parts)}."] if parts else []


def beside_peers(own: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    """Ask the peers about the cases, keep every answer and return the table.

    Args:
        own: striate's results on the same cases.
        options: Of the program: ``peers``, ``seeds``, ``architecture``, ``only``, ``limit``, ``results``.
    """
    answers: dict[str, dict[str, Any]] = {}
    for peer in options.peers:
        parts = [
            ask(peer, architecture=options.architecture, seed=seed, only=options.only, limit=options.limit)
            for seed in options.seeds
        ]
        answers[peer] = parts[0] | {"results": [result for part in parts for result in part["results"]]}
        print(f"{peer}: {answers[peer]['failed'] or 'asked'}", flush=True)
    values = {"seeds": options.seeds, "architecture": options.architecture, "limit": options.limit}
    write_results(options.results, "diagnosis_peers", values | {"striate": list(own), "peers": answers})
    seeds = ", ".join(map(str, options.seeds))
    about = f"Faults in the {options.architecture} network and all healthy trainings; seeds: {seeds}; {len(own)} cases."
    return f"{peers_table(own, answers, limit=options.limit)}\n\n{about}"
