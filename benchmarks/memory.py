"""Anonymous memory while training on a folder of 100,000 small images, and the time to the first step.

The folder is made in a temporary place: 32 x 32 pixels, PNG and JPEG in turn, ten classes. A process trains one epoch
of a small network on it through `striate.train`, twice: the first start decodes every file into the cache, the second
finds it there. Every 0.2 s the anonymous memory (RssAnon of /proc/PID/status) of the process and its children is read.
Pages of the cache file, which the kernel can drop at any time, are file-backed and do not count.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._support import (
    ROOT,
    environment_line,
    make_parser,
    markdown_table,
    parse,
    publish,
    reach_text,
    write_results,
)

__all__ = ["anonymous_bytes", "main", "make_folder", "train_in_process"]

REACH_BYTES = 2 * 10**9
SECONDS_BETWEEN_SAMPLES = 0.2
CLASSES = 10
SIDE_PX = 32


def make_folder(folder: Path, *, images: int) -> None:
    """Write images of noise on a colour of their class, ``class_0/000000.png`` and so on; the same bytes every time."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for name in range(CLASSES):
        (folder / f"class_{name}").mkdir(parents=True)
    colors = random.integers(64, 192, (CLASSES, 3))
    for index in range(images):
        label = index % CLASSES
        pixels = colors[label] + random.integers(-40, 40, (SIDE_PX, SIDE_PX, 3), dtype=np.int16)
        kind, options = (("png", {"compress_level": 1}), ("jpeg", {"quality": 85}))[index // CLASSES % 2]
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, kind, **options)
        (folder / f"class_{label}" / f"{index:06d}.{kind}").write_bytes(stream.getvalue())


def anonymous_bytes(process_id: int) -> int:
    """Add up the anonymous memory of a process and its descendants; 0 for one that has ended.

    Pages that a forked child shares with its parent count twice, so the figure is never too small.
    """
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024  # the kernel's "kB" are KiB
        for task in Path(f"/proc/{process_id}/task").iterdir():
            total += sum(anonymous_bytes(int(child)) for child in (task / "children").read_text().split())
    return total


def train_in_process(folder: Path, *, model: str, work: Path) -> dict[str, Any]:
    """Train one epoch in a process of its own and watch its memory.

    Args:
        folder: Of class folders.
        model: Name in `striate.models`.
        work: Where the cache and the run folder go.

    Returns:
        ``peak_bytes``, ``seconds_to_first_step``, ``seconds``, ``accuracy``.

    Raises:
        subprocess.CalledProcessError: the training failed; its message is on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--train", str(folder), "--model", model, "--work", str(work)]
    environment = {**os.environ, "STRIATE_CACHE": str(work / "cache")}
    begin = time.time()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        samples = list(_sample(process.poll, lambda: anonymous_bytes(process.pid)))
        answer = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    ended = time.time()
    told = json.loads(answer.splitlines()[-1])
    return {
        "peak_bytes": max(samples),
        "samples": len(samples),
        "seconds_to_first_step": round(told["first_step_at"] - begin, 3),
        "seconds": round(ended - begin, 3),
        "accuracy": told["accuracy"],
        "images": told["images"],
        "configuration": told["configuration"],
    }


def _sample(has_ended: Callable[[], int | None], read: Callable[[], int]) -> Iterator[int]:
    while has_ended() is None:
        yield read()
        time.sleep(SECONDS_BETWEEN_SAMPLES)


def train_here(folder: Path, *, model: str, work: Path) -> None:
    """Train one epoch in this process and print one line of JSON: what `train_in_process` reads."""
    import striate
    from striate.train import Progress

    class FirstStep(Progress):
        at: float | None = None

        def step(self, *position: Any, **values: Any) -> None:
            self.at = self.at or time.time()
            super().step(*position, **values)

    progress = FirstStep(quiet=True)
    run = striate.train(folder, model=model, epochs=1, output=work / "runs", progress=progress)
    row = run.history[-1]
    answer = {
        "first_step_at": progress.at,
        "accuracy": row["val_accuracy"],
        "images": round(row["images_per_second"] * row["seconds"]),
        "configuration": run.config.machine.describe(),
    }
    print(json.dumps(answer))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = make_parser("benchmarks.memory", __doc__)
    parser.add_argument("--images", type=int, default=100_000, help="images in the folder (100000)")
    parser.add_argument("--model", default="cnn_cifar", help="name in striate.models (cnn_cifar)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where to make the temporary folder")
    parser.add_argument(
        "--train", type=Path, metavar="FOLDER", help="train on FOLDER in this process (used internally)"
    )
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/RESULTS.md")
    options = parse(parser, arguments)
    if options.train:
        train_here(options.train, model=options.model, work=options.work)
        return
    if not sys.platform.startswith("linux"):
        parser.exit(2, "benchmarks.memory: needs Linux, whose /proc tells anonymous memory apart.\n")
    from striate.train.machine import describe_machine

    work = Path(tempfile.mkdtemp(prefix="striate-memory-", dir=options.work))
    try:
        print(f"making {options.images:,} images ...", flush=True)
        make_folder(work / "images", images=options.images)
        starts = [train_in_process(work / "images", model=options.model, work=work) for _ in range(2)]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    rows = [
        (
            name,
            f"{start['peak_bytes'] / 1e9:.2f} GB",
            f"{start['seconds_to_first_step']:.1f} s",
            f"{start['seconds']:.1f} s",
            f"{REACH_BYTES / 1e9:g} GB",
            reach_text(start["peak_bytes"] < REACH_BYTES),
        )
        for name, start in zip(("first start, decoding", "second start, from the cache"), starts, strict=True)
    ]
    header = (f"{options.images:,} images", "peak anonymous memory", "to the first step", "whole process", "under", "")
    conditions = f"{options.model}, one epoch, n = 1 each. {environment_line(describe_machine())}."
    text = f"{markdown_table(header, rows)}\n\n{conditions}"
    values = {"seeds": [0], "n": 1, "images": options.images, "model": options.model, "starts": starts}
    print(f"{text}\n\n{write_results(options.results, 'memory', values)}")
    if options.publish:
        publish("memory", text)


if __name__ == "__main__":
    main()
