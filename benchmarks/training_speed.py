"""Training throughput of striate's own loop against a stock PyTorch script, as ratios measured in one run.

Both are processes of their own, with the same images, network, batch size, augmentation and optimizer, and take turns:
peer, striate, peer, striate ... so that noise of the machine hits both. The data pipeline is included on both sides.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._rounds import Side
from benchmarks._support import environment_line, make_parser, markdown_table, parse, publish, reach_text, write_results

__all__ = ["WORKLOADS", "Workload", "main", "measure", "summarize"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One network, data set and batch size, with the steps of a round: a few seconds on two cores."""

    name: str
    model: str
    data: str
    batch_size: int
    reach: float
    """Ratio to reach."""
    striate_steps: int
    peer_steps: int
    peer_warmup_steps: int


# A peer's warm-up uses up the batches that its workers prepared during the pause, or leaves the queue as full again.
WORKLOADS = (
    Workload(name="lenet5-64", model="lenet5", data="mnist", batch_size=64, reach=4.0, striate_steps=900,
             peer_steps=250, peer_warmup_steps=20),
    Workload(name="cnn-128", model="cnn_cifar", data="cifar10", batch_size=128, reach=3.0, striate_steps=240,
             peer_steps=50, peer_warmup_steps=6),
    Workload(name="cnn-512", model="cnn_cifar", data="cifar10", batch_size=512, reach=3.0, striate_steps=60,
             peer_steps=12, peer_warmup_steps=4),
    Workload(name="resnet18-128", model="resnet18_cifar", data="cifar10", batch_size=128, reach=2.0, striate_steps=8,
             peer_steps=4, peer_warmup_steps=1),
)  # fmt: skip
PEER_WORKERS = (0, 2)


def measure(workload: Workload, *, rounds: int, steps: int | None = None, float32: bool = False) -> dict[str, Any]:
    """Time both sides in turns.

    Args:
        workload: What is trained.
        rounds: Timed rounds of each side, after one untimed round.
        steps: Steps of each round instead of the workload's, to try the program out.
        float32: Keep striate from computing in bfloat16.

    Returns:
        The workload's fields, the speeds of all rounds, and what `summarize` makes of them.
    """
    common = ["--model", workload.model, "--data", workload.data, "--batch-size", str(workload.batch_size)]
    peer_request = {"steps": steps or workload.peer_steps, "warmup_steps": min(workload.peer_warmup_steps, steps or 99)}
    striate_request = {"steps": steps or workload.striate_steps}
    with (
        Side(["benchmarks.peers.stock_pytorch", "--serve", *common]) as peer,
        Side(["benchmarks._striate_side", *common, *(["--float32"] if float32 else [])]) as striate,
    ):
        for workers in PEER_WORKERS:
            peer.round(**peer_request, workers=workers)
        tried = {workers: peer.round(**peer_request, workers=workers) for workers in PEER_WORKERS}
        workers = max(tried, key=tried.__getitem__)
        striate.round(**striate_request)
        peer_speeds, striate_speeds = list[float](), list[float]()
        for _ in range(rounds):
            peer_speeds.append(peer.round(**peer_request, workers=workers))
            striate_speeds.append(striate.round(**striate_request))
        about = {"peer": {**peer.about, "workers": workers, "images_per_second_tried": tried}, "striate": striate.about}
    summary = summarize(peer_speeds, striate_speeds, reach=workload.reach)
    speeds = {"peer_images_per_second": peer_speeds, "striate_images_per_second": striate_speeds}
    return {
        **asdict(workload),
        "requests": {"peer": peer_request, "striate": striate_request},
        **about,
        **speeds,
        **summary,
    }


def summarize(peer_speeds: Sequence[float], striate_speeds: Sequence[float], *, reach: float) -> dict[str, Any]:
    """Return medians, and the median and range of the ratios of neighbouring rounds.

    Example:
        >>> summarize([10, 20, 10], [40, 40, 50], reach=4)["ratio"]
        4.0
    """
    ratios = [own / other for own, other in zip(striate_speeds, peer_speeds, strict=True)]
    ratio = statistics.median(ratios)
    return {
        "n": len(ratios),
        "peer_median": statistics.median(peer_speeds),
        "striate_median": statistics.median(striate_speeds),
        "ratio": ratio,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "is_met": ratio >= reach,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of the results."""
    header = ("network", "batch", "stock PyTorch, images/s", "striate, images/s", "ratio", "of n rounds", "reach", "")
    rows = [
        (
            result["model"],
            str(result["batch_size"]),
            f"{result['peer_median']:,.0f} ({result['peer']['workers']} workers)",
            f"{result['striate_median']:,.0f} ({result['striate']['configuration']})",
            f"{result['ratio']:.2f} x",
            f"{result['ratio_min']:.2f} to {result['ratio_max']:.2f}, n = {result['n']}",
            f"{result['reach']:g} x",
            reach_text(result["is_met"]),
        )
        for result in results
    ]
    return markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = make_parser("benchmarks.training_speed", __doc__)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument(
        "--workloads", nargs="+", default=names, choices=names, metavar="NAME", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds of each side (7)")
    parser.add_argument("--steps", type=int, help="steps of every round, to try the program out")
    parser.add_argument("--float32", action="store_true", help="keep striate from computing in bfloat16")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    from striate.train.machine import describe_machine

    results = list[dict[str, Any]]()
    for workload in WORKLOADS:
        if workload.name in options.workloads:
            results.append(measure(workload, rounds=options.rounds, steps=options.steps, float32=options.float32))
            print(f"{workload.name}: {results[-1]['ratio']:.2f} x", flush=True)
    text = f"{table(results)}\n\n{environment_line(describe_machine())}. Data pipeline included; seed 0."
    print(f"\n{text}\n\n{write_results(options.results, 'training_speed', {'seeds': [0], 'results': results})}")
    if options.publish:
        publish("training_speed", text)


if __name__ == "__main__":
    main()
