"""Ctrl-C and SIGTERM: finish the step, save, leave; a second Ctrl-C leaves at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

import torch

from striate.errors import StriateError
from striate.train.distributed import Processes, gather_rows

__all__ = ["Interrupted", "StopRequest"]


class Interrupted(StriateError):
    """A signal ended the training after its state was saved; `exit_code` is 128 plus the signal's number."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class StopRequest:
    """Notes SIGINT and SIGTERM while its block runs; the loop looks at `signal_number` after each step.

    Outside the main thread, where Python allows no signal handlers, it notes nothing and disturbs nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def asked(self, processes: Processes) -> bool:
        """Whether to stop now; several processes agree, so that none waits for one that has left."""
        if processes.world_size == 1:
            return self.signal_number is not None
        agreed = int(gather_rows(torch.tensor([self.signal_number or 0]), processes=processes).max())
        self.signal_number = agreed or None
        return bool(agreed)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
