"""Two programs that take turns: each is a process of its own that trains a number of steps when it is told to.

Two processes, because striate changes settings of its whole process (memory, threads) that must not help the peer.
A line with a JSON object on standard input is one request, a line on standard output is its answer; between two rounds
a process waits for a line and uses no processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks._support import ROOT

__all__ = ["Side", "answer_rounds"]


class Side:
    """A process that trains on request; use it as a context manager.

    Args:
        arguments: What follows ``python -m``.
        python: The interpreter; None: this one.

    Raises:
        RuntimeError: (also from `round`) the process ended; its own message is on standard error.
    """

    def __init__(self, arguments: Sequence[str], *, python: str | None = None) -> None:
        self._arguments = list(arguments)
        command = [python or sys.executable, "-m", *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._read()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._process.communicate(timeout=30)  # closes its input, at the end of which the process leaves
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def process_id(self) -> int:
        """Of the process."""
        return self._process.pid

    def round(self, **request: Any) -> float:
        """Let it train and return images per second."""
        if self._process.stdin is not None:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return float(self._read()["images_per_second"])

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self._process.communicate()
            raise RuntimeError(
                f"rounds: `{' '.join(self._arguments)}` ended with exit code {self._process.returncode}."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def answer_rounds(about: dict[str, Any], run_round: Callable[..., float]) -> None:
    """Say what this process is, then answer each request with the images per second of a round.

    Args:
        about: Printed first: threads, configuration.
        run_round: Called with the keys of the request.
    """
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        print(json.dumps({"images_per_second": run_round(**json.loads(line))}), flush=True)
