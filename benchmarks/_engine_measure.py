"""The measurements of `benchmarks.engine`: sides that take turns, and what their speeds say."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._engine_peers import PEERS, why_left_out
from benchmarks._engine_rows import Row
from benchmarks._quiet import LOUD, Watch
from benchmarks._rounds import Side

__all__ = ["compare", "measure", "take_turns"]

Round = Callable[[], float]


def take_turns(
    peer: Round, own: Round, *, rounds: int, watch: Callable[[], Watch], allowance: int
) -> list[dict[str, Any]]:
    """Time two sides in turns; a pair during which other programs were busy is taken again, a limited number of times.

    Whether a pair is taken again depends on the others only, never on its speeds. One that is still loud when the
    allowance is used up counts, and its record says so.

    Args:
        peer: One round, returns images per second.
        own: The same of striate.
        rounds: Pairs.
        watch: Starts to watch the others.
        allowance: Pairs that may be taken again, over all rounds.

    Returns:
        ``peer``, ``striate`` and ``others`` (processors that others used; None: not known) of each pair.
    """
    pairs = list[dict[str, Any]]()
    while len(pairs) < rounds:
        watched = watch()
        pair = {"peer": peer(), "striate": own(), "others": watched.others()}
        if pair["others"] is not None and pair["others"] > LOUD and allowance > 0:
            allowance -= 1
            continue
        pairs.append(pair)
    return pairs


def compare(pairs: Sequence[Mapping[str, Any]], *, reach: float | None, tolerance: float = 0.0) -> dict[str, Any]:
    """Return medians, and the median and range of the ratios of neighbouring rounds.

    Args:
        pairs: Of `take_turns`.
        reach: Ratio to reach; None: there is none.
        tolerance: Share by which it may be missed.

    Example:
        >>> pairs = [{"peer": 10, "striate": s, "others": None} for s in (40, 20, 50)]
        >>> compare(pairs, reach=4)["ratio"]
        4.0
    """
    ratios = [pair["striate"] / pair["peer"] for pair in pairs]
    known = [pair["others"] for pair in pairs if pair["others"] is not None]
    ratio = statistics.median(ratios)
    return {
        "n": len(ratios),
        "peer_median": statistics.median(pair["peer"] for pair in pairs),
        "striate_median": statistics.median(pair["striate"] for pair in pairs),
        "ratio": ratio,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "reach": reach,
        "is_met": None if reach is None else ratio >= reach * (1 - tolerance),
        "others_max": max(known, default=None),
    }


def measure(row: Row, *, threads: int, rounds: int, seconds: float, python: str) -> dict[str, Any]:
    """Time striate against every peer of a row.

    Args:
        row: What is computed.
        threads: Of all sides.
        rounds: Timed pairs with each peer, after one untimed round of each side.
        seconds: About how long a round takes; one step at least.
        python: Interpreter of the peers that need packages of their own.

    Returns:
        A record of the row: what each side is, all rounds, and what `compare` makes of them; why a peer is missing.
    """
    reasons = {name: why_left_out(name, python=python) for name, _ in row.reaches}
    reaches = {name: reach for name, reach in row.reaches if reasons[name] is None}
    comparisons, own = dict[str, Any](), dict[str, Any]()
    for precision in dict.fromkeys(PEERS[name].precision for name in reaches):
        chosen = {name: reach for name, reach in reaches.items() if PEERS[name].precision == precision}
        with ExitStack() as stack:
            sides = _Sides(stack, row, chosen, threads=threads, precision=precision, python=python)
            for name, reach in chosen.items():
                pairs = sides.pairs(name, rounds=rounds, seconds=seconds)
                comparisons[name] = {
                    "about": sides.peers[name].about,
                    "pairs": pairs,
                    **compare(pairs, reach=reach, tolerance=row.tolerance),
                }
            own[precision] = sides.own_record(precision=precision, rounds=rounds, seconds=seconds)
    return {
        "row": row.name,
        "model": row.model,
        "batch_size": row.batch_size,
        "kind": row.kind,
        "threads": threads,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds_a_round": seconds,
        "comparisons": comparisons,
        "striate": own,
        "left_out": [reason for reason in reasons.values() if reason],
    }


class _Sides:
    """The processes of one row and one precision, each after one untimed round; the stack ends them."""

    def __init__(
        self,
        stack: ExitStack,
        row: Row,
        reaches: Mapping[str, float | None],
        *,
        threads: int,
        precision: str,
        python: str,
    ) -> None:
        self._row = row
        common = ["--model", row.model, "--batch-size", str(row.batch_size), "--threads", str(threads), "--serve"]
        kind = ["--kind", row.kind, "--precision", precision]
        self.own = stack.enter_context(Side(["benchmarks._engine_side", *common, *kind]))
        self.peers = dict[str, Side]()
        for name in reaches:
            peer = PEERS[name]
            extra = list(peer.flags)
            if name == "onnxruntime":
                extra += ["--case", str(_write_case(row, Path(stack.enter_context(tempfile.TemporaryDirectory()))))]
            if name.startswith("tuned") and row.trial_batch_size:
                extra += ["--trial-batch-size", str(row.trial_batch_size)]
            side = Side([peer.module, *common, *extra], python=python if peer.packages else None)
            self.peers[name] = stack.enter_context(side)
        self.own.round(seconds=0, kind=row.kind)
        for side in self.peers.values():
            side.round(seconds=0)

    def pairs(self, name: str, *, rounds: int, seconds: float) -> list[dict[str, Any]]:
        """Take turns with one peer."""
        return take_turns(
            lambda: self.peers[name].round(seconds=seconds),
            lambda: self.own.round(seconds=seconds, kind=self._row.kind),
            rounds=rounds,
            watch=self._watch,
            allowance=rounds,
        )

    def own_record(self, *, precision: str, rounds: int, seconds: float) -> dict[str, Any]:
        """Say what striate's side is, with the speed of `accelerate` and an optimizer of PyTorch beside its step."""
        record: dict[str, Any] = {"about": self.own.about}
        if self._row.trains and precision == "float32":
            self.own.round(seconds=0, kind="accelerate")
            record["accelerate"] = [self.own.round(seconds=seconds, kind="accelerate") for _ in range(rounds)]
        return record

    def _watch(self) -> Watch:
        return Watch([side.process_id for side in (self.own, *self.peers.values())])


def _write_case(row: Row, folder: Path) -> Path:
    """Write what ONNX Runtime is to compute."""
    from benchmarks import _networks
    from benchmarks.peers.onnxruntime_inference import write_case
    from benchmarks.peers.pytorch_step import tensor_batches

    inputs, _ = tensor_batches(row.model, batch_size=row.batch_size)[0]
    write_case(folder / "case.npz", _networks.create(row.model), inputs)
    return folder / "case.npz"
