"""How the cost of a training step grows with batch, width, image size and threads, beside stock PyTorch, as plots."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._engine_measure import compare, take_turns
from benchmarks._engine_rows import SCALINGS, Point, Scaling
from benchmarks._plots import Line, chart
from benchmarks._quiet import Watch
from benchmarks._rounds import Side
from benchmarks._support import environment_line, markdown_table, publish, write_results

__all__ = ["lines", "run", "table", "thread_lines"]


def measure_point(scaling: Scaling, point: Point, *, threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Time striate and stock PyTorch in turns at one point."""
    flags = ["--model", scaling.model, "--batch-size", str(point.batch_size), "--threads", str(threads), "--serve"]
    flags += ["--width", str(point.width)]
    flags += ["--image-size", str(point.image_size)] if point.image_size else []
    with Side(["benchmarks.peers.pytorch_step", *flags]) as peer, Side(["benchmarks._engine_side", *flags]) as own:
        peer.round(seconds=0)
        own.round(seconds=0, kind="step")
        pairs = take_turns(
            lambda: peer.round(seconds=seconds),
            lambda: own.round(seconds=seconds, kind="step"),
            rounds=rounds,
            watch=lambda: Watch([peer.process_id, own.process_id]),
            allowance=rounds,
        )
        about = own.about
    speed = statistics.median(pair["striate"] for pair in pairs)
    return {
        "scaling": scaling.name,
        "at": point.at,
        "batch_size": point.batch_size,
        "threads": threads,
        "about": about,
        "pairs": pairs,
        "peak_share": 2e-9 * about["macs_per_image"] * speed / about["peak_gflops"],
        **compare(pairs, reach=None),
    }


def lines(records: Sequence[dict[str, Any]]) -> list[Line]:
    """Return microseconds an image over the axis, one line for each side and number of threads."""
    threads = sorted({record["threads"] for record in records})
    return [
        Line(
            name=f"{title}, {count} thread{'s' * (count != 1)}",
            is_dashed=side == "peer",
            color=index,
            points=[(r["at"], 1e6 / r[f"{side}_median"]) for r in records if r["threads"] == count],
        )
        for side, title in (("striate", "striate"), ("peer", "stock PyTorch"))
        for index, count in enumerate(threads)
    ]


def thread_lines(records: Sequence[dict[str, Any]]) -> list[Line]:
    """Return microseconds an image over the number of threads, of the plots over the batch at two sizes."""
    chosen = [record for record in records if record["scaling"].startswith("batch") and record["at"] in (128, 512)]
    curves = sorted({(record["scaling"], record["at"]) for record in chosen})
    networks = {scaling.name: scaling.title for scaling in SCALINGS}
    return [
        Line(
            name=f"{title}, {networks[name]}, batch {at:g}",
            is_dashed=side == "peer",
            color=index,
            points=sorted(
                (r["threads"], 1e6 / r[f"{side}_median"]) for r in chosen if (r["scaling"], r["at"]) == (name, at)
            ),
        )
        for side, title in (("striate", "striate"), ("peer", "stock PyTorch"))
        for index, (name, at) in enumerate(curves)
    ]


def table(records: Iterable[dict[str, Any]]) -> str:
    """Return the Markdown table of all points."""
    header = ("plot", "at", "threads", "striate, µs an image", "of the peak", "stock PyTorch, µs an image", "ratio")
    rows = [
        (
            record["scaling"],
            f"{record['at']:g}",
            str(record["threads"]),
            f"{1e6 / record['striate_median']:,.1f}",
            f"{100 * record['peak_share']:.0f} %",
            f"{1e6 / record['peer_median']:,.1f}",
            f"{record['ratio']:.2f} x ({record['ratio_min']:.2f} to {record['ratio_max']:.2f}, n = {record['n']})",
        )
        for record in records
    ]
    return markdown_table(header, rows)


def draw(records: Sequence[dict[str, Any]], *, folder: Path) -> list[Path]:
    """Write an SVG file for each property that was varied, and one for the threads."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        scaling.name: (scaling.title, scaling.axis, lines([r for r in records if r["scaling"] == scaling.name]))
        for scaling in SCALINGS
    }
    plots["threads"] = ("Training step", "threads", thread_lines(records))
    paths = list[Path]()
    for name, (title, axis, curves) in plots.items():
        path = folder / f"engine_scaling_{name.replace('-', '_')}.svg"
        path.write_text(chart(title=f"{title}: µs an image", axis=axis, lines=curves), encoding="utf-8")
        paths.append(path)
    return paths


def run(options: argparse.Namespace) -> None:
    """Measure every point, write the figures and draw the plots."""
    from striate.train.machine import describe_machine

    records = list[dict[str, Any]]()
    for scaling in SCALINGS:
        for point in scaling.points:
            for threads in options.threads:
                timing = {"rounds": options.rounds, "seconds": options.seconds}
                records.append(measure_point(scaling, point, threads=threads, **timing))
                print(table(records[-1:]).splitlines()[-1], flush=True)
    paths = draw(records, folder=options.results)
    pictures = "\n".join(f"![{path.stem.replace('_', ' ')}](results/{path.name})" for path in paths)
    text = f"{table(records)}\n\n{environment_line(describe_machine())}.\n\n{pictures}"
    print(f"\n{text}\n\n{write_results(options.results, 'engine_scaling', {'seeds': [0], 'results': records})}")
    if options.publish:
        publish("engine_scaling", text)
