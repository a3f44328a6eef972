"""Runs one other diagnosis package over the cases; a process of its own, in an environment that holds the package.

Each package is used as its own documentation says. Results go to a file, a line of JSON for each case: what packages
print stays out of them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.diagnosis._peer_cases import TRAINING, Case, peer_cases, why_not
from benchmarks.diagnosis._peer_messages import INFO
from benchmarks.diagnosis.loops import Calls, run_loop
from benchmarks.diagnosis.worlds import World, make_world

__all__ = ["PEERS", "main"]

Peer = Callable[[World, Case], list[str]]
CLASSES = 10


class OutOfTimeError(BaseException):
    """Not an Exception, since packages catch those."""


def _batch(world: World) -> tuple[Tensor, Tensor]:
    """Return one batch as the training sees it."""
    if world.data is not None:
        x, y = next(iter(world.data))
        return x, y
    x = world.x[:32]
    return (x if world.augment is None else world.augment(x)), world.y[:32]


def _torchtest2(world: World, case: Case) -> list[str]:
    """``check_model`` with batch, loss and optimizer; WARN and FAIL are warnings."""
    import torchtest2

    inputs, targets = _batch(world)
    optimizer = world.optimizer(world.model)
    report = torchtest2.check_model(world.model, inputs, targets, loss_fn=world.loss_fn, optimizer=optimizer)
    return [f"{r.name}: {r.message}" for r in report.results if str(r.status) in ("WARN", "FAIL")]


def _torchmortem(world: World, case: Case) -> list[str]:
    """``Autopsy`` around the loop, sampling as it comes; findings and insights."""
    from torchmortem import Autopsy

    optimizer = world.optimizer(world.model)
    autopsy = Autopsy(world.model, optimizer=optimizer)
    with contextlib.suppress(Exception), autopsy:
        calls = Calls(after=lambda loss: autopsy.step(loss=loss.item()))
        run_loop(world, case.loop or TRAINING, optimizer, calls)
    report = autopsy.get_report()
    findings = [INFO * (finding.severity.name == "INFO") + finding.title for finding in report.findings]
    return findings + [insight.title for insight in report.insights]


def _torch_audit(world: World, case: Case) -> list[str]:
    """``audit_dynamic`` with its wrappers, every step, static and first audits too."""
    from torch_audit import audit_dynamic

    optimizer = world.optimizer(world.model)
    with audit_dynamic(world.model, optimizer=optimizer, every_n_steps=1) as auditor:
        auditor.audit_static()
        auditor.audit_init()
        calls = Calls(forward=auditor.forward, backward=auditor.backward, step=auditor.optimizer_step)
        with contextlib.suppress(Exception):
            run_loop(world, case.loop or TRAINING, optimizer, calls)
    found = auditor.finish(report=False).findings
    return [f"{INFO * (f.severity.value == 'INFO')}{f.rule_id}: {f.message}" for f in found]


def _checklist(world: World, case: Case) -> list[str]:
    """``assert_all_for_classification_cross_entropy_loss``; it stops at the first thing that is not so."""
    from neural_net_checklist import torch_diagnostics

    try:
        torch_diagnostics.assert_all_for_classification_cross_entropy_loss(
            lambda: copy.deepcopy(world.model), _batch(world), num_classes=CLASSES
        )
    except Exception as raised:  # noqa: BLE001 -- whatever it raises is its message
        return [str(raised) or type(raised).__name__]
    return []


PEERS: dict[str, Peer] = {
    "torchtest2": _torchtest2,
    "torchmortem": _torchmortem,
    "torch-audit": _torch_audit,
    "neural-net-checklist": _checklist,
}


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _answer(peer: str, case: Case, *, seed: int, limit: float) -> dict[str, Any]:
    """Ask a peer about one case."""
    record: dict[str, Any] = {"name": case.name, "architecture": case.architecture, "right": list(case.right)}
    world = case.make()
    usual = make_world(case.architecture, seed=seed) if case.right else world
    record |= {"messages": [], "error": None, "why_not": why_not(peer, case, world, usual)}
    if record["why_not"] is not None:
        return record
    torch.manual_seed(seed)
    begin = time.perf_counter()
    try:
        with _limited(limit), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            record["messages"] = [message[:300] for message in dict.fromkeys(PEERS[peer](world, case))]
    except OutOfTimeError:
        record["error"] = "out of time"
    except Exception as raised:  # noqa: BLE001 -- a benchmark counts whatever goes wrong
        record["error"] = f"{type(raised).__name__}: {raised}"[:200]
    return record | {"seconds": time.perf_counter() - begin}


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask one peer about all cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis._peer_runs", description=__doc__)
    parser.add_argument("peer", choices=[*PEERS])
    parser.add_argument("output", type=Path, help="a line of JSON for each case, after one with the version")
    parser.add_argument("--architecture", default="convolutional")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a case")
    options = parser.parse_args(arguments)
    try:
        found = version(options.peer)
    except PackageNotFoundError:
        parser.exit(3, "it is not installed\n")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with options.output.open("w", encoding="utf-8") as file:
        print(json.dumps({"version": found}), file=file)
        for case in peer_cases(options.architecture, options.seed):
            if options.only in case.name:
                record = _answer(options.peer, case, seed=options.seed, limit=options.limit)
                print(json.dumps(record), file=file, flush=True)


if __name__ == "__main__":
    main()
