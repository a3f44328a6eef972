"""The training step of PyTorch, tuned: all that its documentation recommends for CPUs is tried, the fastest counts.

Tried by a short measurement: layout of the images, optimizer kernels, number of threads and whether glibc keeps freed
memory, in every combination; then, with the best of these, `torch.compile` (Inductor) in both layouts. float32 and
bfloat16 (autocast) are asked for one at a time, so that each is compared with its like. What glibc does cannot be
undone in a process, and a compilation may fail: each attempt is a process of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmarks import _networks
from benchmarks._quiet import LOUD, Watch
from benchmarks._steps import Rounds, serve_or_print, step_parser, trial_speeds
from benchmarks._support import ROOT
from benchmarks.peers.pytorch_step import sgd, tensor_batches, training_step

__all__ = ["Setting", "attempt_when_quiet", "build", "choose", "eager_settings", "main", "measure", "start"]

LONGEST_ATTEMPT_SECONDS = 420


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One way to run PyTorch."""

    threads: int
    channels_last: bool = False
    optimizer: str = "fused"
    """``fused`` or ``foreach``."""
    keeps_freed_memory: bool = False
    compile: bool = False
    bf16: bool = False

    def describe(self) -> str:
        """Return it in a few words."""
        words = (
            "bf16" if self.bf16 else "float32",
            "NHWC" if self.channels_last else "NCHW",
            f"{self.optimizer} SGD",
            "torch.compile" if self.compile else "eager",
            "glibc tuned" if self.keeps_freed_memory else "glibc as it is",
            f"{self.threads} thread{'s' if self.threads != 1 else ''}",
        )
        return ", ".join(words)


def eager_settings(*, threads: int, bf16: bool, images: bool) -> list[Setting]:
    """List every combination without `torch.compile`.

    Args:
        threads: At most so many.
        bf16: Compute in bfloat16, in all of them.
        images: Whether the network has convolutions, for which a layout can be chosen.
    """
    return [
        Setting(threads=count, channels_last=last, optimizer=kernels, keeps_freed_memory=keeps, bf16=bf16)
        for keeps, count, last, kernels in itertools.product(
            (False, True), sorted({1, threads}), (False, True) if images else (False,), ("fused", "foreach")
        )
    ]


def start(setting: Setting) -> None:
    """Bring this process into the state that a setting asks for."""
    from striate.train.machine import keep_freed_memory

    if setting.keeps_freed_memory:
        keep_freed_memory()
    torch.set_num_threads(setting.threads)


def build(setting: Setting, *, network: nn.Module, batches: Sequence[Any]) -> Callable[[], object]:
    """Return what takes one step in a process for which `start` was called."""
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    batches = [(inputs.contiguous(memory_format=layout), targets) for inputs, targets in batches]
    optimizer = sgd(network, **{setting.optimizer: True})
    computed: Any = torch.compile(network) if setting.compile else network
    autocast = {"context": lambda: torch.autocast("cpu", dtype=torch.bfloat16)} if setting.bf16 else {}
    return training_step(computed, optimizer, batches, **autocast)


def measure(settings: Sequence[Setting], *, model: str, batch_size: int) -> list[float]:
    """Return images per second of settings that share a process; those with the same threads are timed in turns.

    Args:
        settings: All with the same `keeps_freed_memory`, ordered by threads.
        model: Name in `benchmarks._networks`.
        batch_size: Images a step.
    """
    start(settings[0])
    batches, speeds = tensor_batches(model, batch_size=batch_size), list[float]()
    for threads, group in itertools.groupby(settings, key=lambda setting: setting.threads):
        torch.set_num_threads(threads)
        steps = {setting: build(setting, network=_networks.create(model), batches=batches) for setting in group}
        speeds += trial_speeds(steps, batch_size=batch_size).values()
    return speeds


def choose(
    attempt: Callable[[Sequence[Setting]], Sequence[float] | str], *, threads: int, bf16: bool, images: bool
) -> tuple[Setting, dict[str, float | str]]:
    """Find the fastest setting.

    Args:
        attempt: Measures settings in a process of their own; a text says why it could not.
        threads: At most so many.
        bf16: Compute in bfloat16.
        images: Whether the network has convolutions.

    Returns:
        The setting, and for each one tried its images per second or why there are none.

    Raises:
        RuntimeError: not one setting could be measured.
    """
    tried: dict[Setting, float | str] = {}

    def try_out(settings: Sequence[Setting]) -> None:
        answer = attempt(settings)
        tried.update(zip(settings, [answer] * len(settings) if isinstance(answer, str) else answer, strict=True))

    eager = eager_settings(threads=threads, bf16=bf16, images=images)
    for keeps in (False, True):
        try_out([setting for setting in eager if setting.keeps_freed_memory is keeps])
    best = _fastest(tried)
    for last in (False, True) if images else (False,):
        try_out([replace(best, compile=True, channels_last=last)])
    return _fastest(tried), {setting.describe(): value for setting, value in tried.items()}


def _fastest(tried: Mapping[Setting, float | str]) -> Setting:
    speeds = {setting: value for setting, value in tried.items() if not isinstance(value, str)}
    if not speeds:
        raise RuntimeError(f"tuned_pytorch: no setting could be measured: {'; '.join(map(str, tried.values()))}")
    return max(speeds, key=speeds.__getitem__)


def attempt_when_quiet(
    attempt: Callable[[], list[float] | str], *, others: list[float], watch: Callable[[], Watch] = lambda: Watch([])
) -> list[float] | str:
    """Measure once more where other programs were busy; each setting keeps its better speed.

    A peer that chose badly would make striate look good.

    Args:
        attempt: Measures settings.
        others: Gets the processors that others used during the last attempt, where that is known.
        watch: Starts to watch the others.
    """
    watched, answer = watch(), attempt()
    busy = watched.others()
    if busy is not None and busy > LOUD and not isinstance(answer, str):
        watched, again = watch(), attempt()
        busy = watched.others()
        if not isinstance(again, str):
            answer = [max(pair) for pair in zip(answer, again, strict=True)]
    others += [] if busy is None else [busy]
    return answer


def attempt_in_process(settings: Sequence[Setting], *, model: str, batch_size: int) -> list[float] | str:
    """Measure settings in a process of their own; return a text where it fails."""
    command = [
        sys.executable, "-m", "benchmarks.peers.tuned_pytorch", "--model", model, "--batch-size", str(batch_size),
        "--measure", json.dumps([asdict(setting) for setting in settings]),
    ]  # fmt: skip
    # One process that compiles, not a pool of them: a pool would still be there when the clock runs.
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_ATTEMPT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {LONGEST_ATTEMPT_SECONDS} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    speeds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return speeds


def main(arguments: Sequence[str] | None = None) -> None:
    """Find the best setting and time it, or serve rounds to `benchmarks.engine`."""
    parser = step_parser("benchmarks.peers.tuned_pytorch", __doc__)
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="(float32)")
    parser.add_argument("--trial-batch-size", type=int, help="smaller batch to choose with, for slow networks")
    parser.add_argument("--measure", metavar="JSON", help="measure these settings only (used internally)")
    options = parser.parse_args(arguments)
    if options.measure:
        settings = [Setting(**values) for values in json.loads(options.measure)]
        print(json.dumps(measure(settings, model=options.model, batch_size=options.batch_size)))
        return
    trial = min(options.trial_batch_size or options.batch_size, options.batch_size)
    others = list[float]()
    best, tried = choose(
        lambda settings: attempt_when_quiet(
            lambda: attempt_in_process(settings, model=options.model, batch_size=trial), others=others
        ),
        threads=options.threads,
        bf16=options.precision == "bf16",
        images=not options.model.startswith("mlp"),
    )
    start(best)
    batches = tensor_batches(options.model, batch_size=options.batch_size)
    step = build(best, network=_networks.create(options.model), batches=batches)
    about = {
        "torch": torch.__version__,
        "configuration": best.describe(),
        "tried": tried,
        "trial_batch_size": trial,
        "others_while_choosing": max(others, default=None),
    }
    serve_or_print(options, about, Rounds(step, batch_size=options.batch_size).run_round)


if __name__ == "__main__":
    main()
