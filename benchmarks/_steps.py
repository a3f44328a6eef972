"""What the sides of `benchmarks.engine` share: their options, and rounds of steps that take a given time."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from benchmarks._networks import NETWORKS
from benchmarks._rounds import answer_rounds
from benchmarks._support import make_parser

__all__ = ["BATCHES", "Rounds", "fastest", "limit_processors", "serve_or_print", "step_parser", "trial_speeds"]

BATCHES = 16
"""Different batches in turn. At the larger sizes they do not stay in the cache, as in a real training."""
WARMUP_STEPS = 3
FEWEST_TRIAL_STEPS = 3
Key = TypeVar("Key", bound=Hashable)


def step_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of a side: what is computed, with how many threads."""
    parser = make_parser(name, description)
    parser.add_argument("--model", default="lenet5", choices=tuple(NETWORKS), metavar="NAME", help="(lenet5)")
    parser.add_argument("--batch-size", type=int, default=128, help="images a step (128)")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute (1)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels of cnn_cifar (1)")
    parser.add_argument("--image-size", type=int, help="side of the images in pixels (the network's usual one)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a round takes (1)")
    parser.add_argument("--serve", action="store_true", help="answer requests on standard input instead")
    return parser


class Rounds:
    """Take steps for about as long as asked, at least one; the first round of all is preceded by a warm-up.

    Args:
        step: Takes one step.
        batch_size: Images a step.
        finish: Waits until all steps are done, where they run behind.
    """

    def __init__(self, step: Callable[[], object], *, batch_size: int, finish: Callable[[], object] = int) -> None:
        self._step, self._batch_size, self._finish = step, batch_size, finish
        self._seconds_a_step = 0.0

    def run_round(self, *, seconds: float) -> float:
        """Return images per second."""
        if not self._seconds_a_step:
            self._seconds_a_step = [self._time(1) for _ in range(WARMUP_STEPS)][-1]
        steps = max(1, round(seconds / self._seconds_a_step))
        self._seconds_a_step = self._time(steps) / steps
        return self._batch_size / self._seconds_a_step

    def _time(self, steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            self._step()
        self._finish()
        return time.perf_counter() - begin


def trial_speeds(
    steps: Mapping[Key, Callable[[], object]], *, batch_size: int, seconds: float = 0.4
) -> dict[Key, float]:
    """Return the images per second of each way to take a step, the steps taken in turns so that noise hits all alike.

    Args:
        steps: The ways.
        batch_size: Images a step.
        seconds: For how long each is timed, after a warm-up; `FEWEST_TRIAL_STEPS` at least.
    """
    for step in steps.values():
        for _ in range(WARMUP_STEPS - 1):
            step()
    times: dict[Key, list[float]] = {key: [] for key in steps}
    deadline = time.perf_counter() + seconds * len(steps)
    while time.perf_counter() < deadline or any(len(taken) < FEWEST_TRIAL_STEPS for taken in times.values()):
        for key, step in steps.items():
            begin = time.perf_counter()
            step()
            times[key].append(time.perf_counter() - begin)
    return {key: batch_size / statistics.median(taken) for key, taken in times.items()}


def fastest(speeds: Mapping[Key, float]) -> Key:
    """Return the key of the largest value."""
    return max(speeds, key=speeds.__getitem__)


def limit_processors(threads: int) -> None:
    """Let this process run on so many processors only, for libraries that make a thread for each one they see."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve_or_print(options: argparse.Namespace, about: dict[str, Any], run_round: Callable[..., float]) -> None:
    """Answer requests, or print the images per second of a few rounds."""
    if options.serve:
        answer_rounds(about, run_round)
        return
    speeds = [run_round(seconds=options.seconds) for _ in range(options.rounds)]
    spread = f"min {min(speeds):,.0f}, max {max(speeds):,.0f}, n = {len(speeds)}"
    print(f"{options.model}, batch {options.batch_size}: {statistics.median(speeds):,.0f} images/s ({spread})")
    print(about)
