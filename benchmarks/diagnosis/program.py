"""Diagnosis: faults put into healthy trainings, and healthy trainings of many kinds.

Each fault is tried on three architectures and with several seeds. Counted are cases in which a right name was given
(named), in which a name was given that is not right beside it or in its place (wrong), healthy trainings with any
warning (false alarms), and the seconds of a diagnosis. Thresholds were chosen on seeds from 100 on; the published
figures are those of seeds 0 to 2.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

import striate
from benchmarks._support import environment_line, make_parser, markdown_table, parse, publish, reach_text, write_results
from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.healthy import HEALTHY
from benchmarks.diagnosis.loops import HEALTHY_LOOPS, LOOP_FAULTS, watched
from benchmarks.diagnosis.peers import REQUIREMENTS, beside_peers
from benchmarks.diagnosis.worlds import ARCHITECTURES, World, make_world

__all__ = ["cases", "main", "score", "table"]

REACH_NAMED, REACH_ALARMS, REACH_SECONDS = 0.90, 0.02, 60.0


def diagnosed(world: World) -> Any:
    """Diagnose a training before it begins."""
    return striate.diagnose(
        world.model,
        (world.x, world.y) if world.data is None else world.data,
        loss_fn=world.loss_fn,
        optimizer=world.optimizer(world.model),
        validation=world.validation,
        augment=world.augment,
    )


def cases(seeds: Sequence[int]) -> Iterator[tuple[str, str, int, tuple[str, ...], Callable[[], Any]]]:
    """Yield name, architecture, seed, right causes (none: healthy) and what diagnoses it.

    Args:
        seeds: Of data, weights and faults.
    """
    for seed in seeds:
        for architecture in ARCHITECTURES:
            for name, (causes, put) in FAULTS.items():
                yield name, architecture, seed, causes, lambda a=architecture, s=seed, p=put: _faulty(a, s, p)
            for name, (causes, loop) in LOOP_FAULTS.items():
                yield name, architecture, seed, causes, lambda a=architecture, s=seed, o=loop: watched(a, o, seed=s)
            for name, loop in HEALTHY_LOOPS.items():
                yield name, architecture, seed, (), lambda a=architecture, s=seed, o=loop: watched(a, o, seed=s)
        for name, make in HEALTHY.items():
            yield name, "healthy", seed, (), lambda m=make, s=seed: diagnosed(m(s))


def _faulty(architecture: str, seed: int, put: Callable[[World], None]) -> Any:
    world = make_world(architecture, seed=seed)
    put(world)
    return diagnosed(world)


def score(name: str, architecture: str, seed: int, causes: tuple[str, ...], run: Callable[[], Any]) -> dict[str, Any]:
    """Diagnose one case; an exception is a miss, or a false alarm, and is kept."""
    begin = time.perf_counter()
    try:
        got, error = list(run().causes), None
    except Exception as raised:  # noqa: BLE001 -- a benchmark counts whatever goes wrong
        got, error = [], f"{type(raised).__name__}: {raised}"[:200]
    return {
        "name": name,
        "architecture": architecture,
        "seed": seed,
        "right": list(causes),
        "got": got,
        "error": error,
        "detected": bool(got),
        "named": bool(set(got) & set(causes)),
        "wrong": [cause for cause in got if cause not in causes],
        "seconds": time.perf_counter() - begin,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the figures, and a row for each kind of fault that was not always named, or named with another."""
    faults, healthy = [r for r in results if r["right"]], [r for r in results if not r["right"]]
    lines = [_figures(faults, healthy)]
    rows = []
    for name in dict.fromkeys(r["name"] for r in faults):
        own = [r for r in faults if r["name"] == name]
        wrong = sorted({cause for r in own for cause in r["wrong"]})
        if not all(r["named"] for r in own) or wrong:
            rows.append([name, own[0]["right"][0], f"{sum(r['named'] for r in own)} of {len(own)}", ", ".join(wrong)])
    if rows:
        lines += ["Faults that were missed, or got another name as well:", markdown_table(
            ["fault", "right", "named", "other names given"], rows)]  # fmt: skip
    alarms = [
        f"{r['name']} ({r['architecture']}, seed {r['seed']}): {', '.join(r['got']) or r['error']}"
        for r in healthy
        if r["got"] or r["error"]
    ]
    if alarms:
        lines.append("False alarms: " + "; ".join(alarms) + ".")
    return "\n\n".join(lines)


def _figures(faults: Sequence[dict[str, Any]], healthy: Sequence[dict[str, Any]]) -> str:
    rows = []
    seconds = [r["seconds"] for r in (*faults, *healthy)]
    if faults:
        count, named = len(faults), sum(r["named"] for r in faults)
        kinds, detected = len({r["name"] for r in faults}), sum(r["detected"] for r in faults)
        met = reach_text(named >= REACH_NAMED * count)
        rows += [
            ["kinds of faults, cases", f"{kinds}, {count}", ""],
            ["detected", f"{detected} ({_share(detected, count)})", ""],
            ["right name given", f"{named} ({_share(named, count)})", f"90 %: {met}"],
            ["a wrong name given, alone or beside it", f"{sum(bool(r['wrong']) for r in faults)}", ""],
        ]
    if healthy:
        count, alarms = len(healthy), sum(bool(r["got"] or r["error"]) for r in healthy)
        kinds = len({(r["name"], r["architecture"]) for r in healthy})
        met = reach_text(alarms < REACH_ALARMS * count)
        rows += [
            ["kinds of healthy trainings, cases", f"{kinds}, {count}", ""],
            ["healthy, any warning", f"{alarms} ({_share(alarms, count)})", f"under 2 %: {met}"],
        ]
    middle = statistics.median(seconds)
    met = reach_text(middle < REACH_SECONDS)
    rows.append(["seconds, median and most", f"{middle:.1f}, {max(seconds):.1f}", f"median under 60: {met}"])
    return markdown_table(["", "figure", "reach"], rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    from striate.train.machine import describe_machine

    parser = make_parser("benchmarks.diagnosis", __doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="(0 1 2)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds this")
    parser.add_argument(
        "--peers", nargs="+", choices=[*REQUIREMENTS], metavar="PEER",
        help=f"compare with other packages instead: {', '.join(REQUIREMENTS)}",
    )  # fmt: skip
    parser.add_argument("--architecture", choices=[*ARCHITECTURES], default="convolutional", help="with --peers")
    parser.add_argument("--limit", type=float, default=60.0, metavar="SECONDS", help="a case of a peer (60)")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    torch.set_num_threads(1)
    if options.peers:
        own = _scored(options, architectures=(options.architecture, "healthy"))
        section, text = "diagnosis_peers", beside_peers(own, options)
    else:
        results = _scored(options)
        write_results(options.results, "diagnosis", {"seeds": options.seeds, "results": results})
        section, text = "diagnosis", table(results)
    text = f"{text}\n\n{environment_line(describe_machine())}; one thread."
    print(text)
    if options.publish:
        publish(section, text)


def _scored(options: argparse.Namespace, *, architectures: Sequence[str] = (*ARCHITECTURES, "healthy")) -> list[Any]:
    """Diagnose the cases and print at once what is not as it should be."""
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, architecture, seed, causes, run in cases(options.seeds):
            if options.only not in name or architecture not in architectures:
                continue
            results.append(score(name, architecture, seed, causes, run))
            last = results[-1]
            if last["wrong"] or last["error"] or last["named"] != bool(causes):
                print(architecture, seed, name, last["got"], last["error"] or "", flush=True)
    return results
