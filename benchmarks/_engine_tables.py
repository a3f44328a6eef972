"""What `benchmarks.engine` measured, as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks._engine_peers import PEERS
from benchmarks._quiet import LOUD
from benchmarks._support import markdown_table, reach_text

__all__ = ["highest_peak", "notes", "own_speed", "peak_share", "ratio_table", "speed_table"]


def ratio_table(results: Sequence[dict[str, Any]]) -> str:
    """Return the ratios to every peer and whether they reach what they are to reach."""
    header = ("network", "batch", "threads", "what", "against", "ratio", "of n rounds", "reach", "")
    rows = [
        (
            result["model"],
            str(result["batch_size"]),
            str(result["threads"]),
            {"step": "training step", "auto": "training step, auto"}.get(result["kind"], result["kind"]),
            PEERS[name].title,
            f"{figures['ratio']:.2f} x",
            f"{figures['ratio_min']:.2f} to {figures['ratio_max']:.2f}, n = {figures['n']}",
            "" if figures["reach"] is None else f"{figures['reach']:g} x",
            "" if figures["is_met"] is None else reach_text(figures["is_met"]),
        )
        for result in results
        for name, figures in result["comparisons"].items()
    ]
    return markdown_table(header, rows)


def speed_table(results: Sequence[dict[str, Any]]) -> str:
    """Return images per second of all sides, and striate's share of the processor's peak."""
    titles = dict.fromkeys(peer.title for name, peer in PEERS.items() if any(name in r["comparisons"] for r in results))
    header = ("network", "batch", "threads", *titles, "accelerate + optimizer", "striate", "of the float32 peak")
    peaks = {result["threads"]: highest_peak(results, threads=result["threads"]) for result in results}
    rows = list[tuple[str, ...]]()
    for result in results:
        cells = {PEERS[name].title: _peer_cell(figures) for name, figures in result["comparisons"].items()}
        medians = [statistics.median(own["accelerate"]) for own in result["striate"].values() if "accelerate" in own]
        shares = [peak_share(result, name, peak_gflops=peaks[result["threads"]]) for name in result["striate"]]
        rows.append(
            (
                result["model"] + (", inference" if result["kind"] == "inference" else ""),
                str(result["batch_size"]),
                str(result["threads"]),
                *[cells.get(title, "") for title in titles],
                f"{medians[0]:,.0f}" if medians else "",  # gradients of `accelerate` are float32 in any case
                ", ".join(_own_cell(result, precision) for precision in result["striate"]),
                ", ".join(f"{100 * share:.0f} %" for share in shares),
            )
        )
    return markdown_table(header, rows)


def _peer_cell(figures: dict[str, Any]) -> str:
    configuration = figures["about"].get("configuration")
    return f"{_speed(figures['peer_median'])}{f' ({configuration})' if configuration else ''}"


def _own_cell(result: dict[str, Any], precision: str) -> str:
    about = result["striate"][precision]["about"]
    configuration = about.get("configuration", about["isa"] if precision == "float32" else f"{about['isa']}, bf16")
    return f"{_speed(own_speed(result, precision))} ({configuration})"


def _speed(images_per_second: float) -> str:
    return f"{images_per_second:,.0f}"


def own_speed(result: dict[str, Any], precision: str) -> float:
    """Return the median images per second of all of striate's rounds in a precision."""
    return statistics.median(
        pair["striate"]
        for name, figures in result["comparisons"].items()
        if PEERS[name].precision == precision
        for pair in figures["pairs"]
    )


def highest_peak(results: Sequence[dict[str, Any]], *, threads: int) -> float:
    """Return the highest peak seen in any row, in GFLOP/s: a disturbed measurement only ever shows less."""
    alike = [result for result in results if result["threads"] == threads]
    return max(own["about"]["peak_gflops"] for result in alike for own in result["striate"].values())


def peak_share(result: dict[str, Any], precision: str, *, peak_gflops: float) -> float:
    """Return striate's multiply-adds a second as a share of what registers alone allow in float32."""
    return 2e-9 * result["striate"][precision]["about"]["macs_per_image"] * own_speed(result, precision) / peak_gflops


def notes(results: Sequence[dict[str, Any]]) -> str:
    """Say what was left out, how loud the machine was, and the largest difference from PyTorch."""
    lines = list(dict.fromkeys(reason for result in results for reason in result["left_out"]))
    figures = [figures for result in results for figures in result["comparisons"].values()]
    loud = [pair["others"] for entry in figures for pair in entry["pairs"] if (pair["others"] or 0) > LOUD]
    if loud:
        lines.append(
            f"Not quiet: in {len(loud)} of {sum(entry['n'] for entry in figures)} pairs of rounds other programs used "
            f"up to {max(loud):.1f} processors."
        )
    choosing = [entry["about"].get("others_while_choosing") or 0.0 for entry in figures]
    if max(choosing, default=0.0) > LOUD:
        lines.append(f"Not quiet while tuned PyTorch chose its setting: up to {max(choosing):.1f} processors.")
    for threads in dict.fromkeys(result["threads"] for result in results):
        text = f"{threads} thread{'s' * (threads != 1)}: {highest_peak(results, threads=threads):,.0f} GFLOP/s"
        lines.append(f"Peak of float32 multiply-adds in registers, {text}.")
    return "\n".join(f"- {line}" for line in lines)
