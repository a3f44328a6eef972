"""What a person sees while a network trains: one live line, one finished line per epoch, and notes; all on stderr.

On a terminal the live line is drawn with rich, at most ten times a second. Anywhere else (a pipe, a log file,
``TERM=dumb``) plain lines are written instead: one per epoch, and one every ten seconds within a long epoch, without
colour, carriage returns or cursor movements. Standard output belongs to results and is never written to.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

from striate.train._printable import printable
from striate.train._progress_line import Position, bar_line, is_ascii_only, row_line, status_line

__all__ = ["Progress"]

_REDRAW_SECONDS = 0.1  # ten times a second reads as smooth; each redraw costs about a millisecond
_PLAIN_SECONDS = 10.0


class Progress:
    """Show the progress of one training run.

    The loop calls `step` after every batch and `end_epoch` after every epoch; a call that draws nothing costs less
    than a microsecond. Use it as a context manager or call `finish` in a ``finally``: the terminal is left clean.

    Args:
        quiet: Show warnings only (``--quiet``; also ranks other than 0).
        json: As `quiet`: standard error stays free of decoration for programs (``--json``).
        stream: Where to write; None is standard error.
        clock: Seconds that never go back; tests pass their own.
        environ: NO_COLOR, TERM, COLUMNS and the locale are read from here; None is the process's environment.

    Example:
        >>> import io
        >>> with Progress(stream=io.StringIO()) as progress:
        ...     progress.start(epochs=1)
        ...     progress.step(1, 1, 10, loss=2.3, images=64)
        ...     progress.end_epoch({"epoch": 1, "train_loss": 0.5, "val_accuracy": 0.91, "seconds": 2.0})
        >>> print(progress.stream.getvalue(), end="")
        epoch 1/1  loss 0.5000  val 91.00 % best  2 s
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        json: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        self._is_silent = quiet or json
        self._is_ascii = is_ascii_only(encoding=getattr(self.stream, "encoding", None), environ=self._environ)
        is_dumb = self._environ.get("TERM", "").lower() in {"dumb", "unknown"}
        self._is_terminal = not self._is_silent and not is_dumb and self.stream.isatty()
        self._live: Any = None  # rich's Live, while the bar is on the screen
        self._console: Any = None
        self._interval = _REDRAW_SECONDS if self._is_terminal else _PLAIN_SECONDS
        self._epochs, self._first_epoch = 1, 1
        self._best: float | None = None
        self._loss: float | None = None
        self._accuracy: float | None = None
        self._first_step: int | None = None
        self._next_draw = float("inf")  # nothing is drawn before `start`
        self._forget_epoch()

    def start(self, *, epochs: int, first_epoch: int = 1, best: float | None = None) -> None:
        """Begin to show a run.

        Args:
            epochs: Of the whole run, including those already done.
            first_epoch: 1-based; more than 1 when a run is resumed.
            best: Best validation accuracy (or lowest loss, where rows have no accuracy) before `first_epoch`.
        """
        self._epochs, self._best, self._first_epoch = epochs, best, first_epoch
        if self._is_terminal:
            self._open_live()  # before the clock is read: importing rich is not part of the epoch
        self._forget_epoch()
        self._started = self._epoch_started
        if not self._is_silent:
            self._next_draw = self._epoch_started + (0.0 if self._is_terminal else self._interval)

    def step(
        self,
        epoch: int,
        step: int,
        steps: int,
        loss: float | None = None,
        images: int = 0,
        accuracy: float | None = None,
    ) -> None:
        """Report one finished batch.

        Args:
            epoch: 1-based.
            step: Batches of this epoch that are done, 1-based.
            steps: Batches of an epoch.
            loss: Recent training loss, or None to keep showing the last one (reading it from a GPU would wait).
            images: Images of this epoch that are done, this batch included (a count that lags behind is fine).
            accuracy: Recent training accuracy, 0 .. 1, or None to keep the last one.
        """
        self._images = images
        if self._first_step is None:  # later than 1 where a run is resumed within an epoch
            self._first_step, self._first_images = step - 1, 0 if step <= 1 else images
        if loss is not None:
            self._loss = loss
        if accuracy is not None:
            self._accuracy = accuracy
        now = self._clock()
        # The last step is always drawn on a terminal: its bar stays while the epoch is validated.
        if now < self._next_draw and not (step == steps and self._live is not None):
            return
        self._next_draw = now + self._interval
        self._draw(self._position(epoch=epoch, step=step, steps=steps, now=now))

    def end_epoch(self, row: Mapping[str, Any]) -> None:
        """Leave one line for a finished epoch on the screen.

        Args:
            row: A row of the run's history: epoch, train_loss, train_accuracy, val_loss, val_accuracy,
                images_per_second, seconds; what is absent or None is left out. ``best`` (bool) overrides the mark
                that otherwise stands on each row that beats all before it.
        """
        is_best = self._is_best(row)
        if not self._is_silent:
            line = row_line(row, epochs=self._epochs, is_best=is_best, columns=self._columns())
            self._print(line, accent="best" if is_best else None)
        self._forget_epoch()
        if not self._is_silent and not self._is_terminal:
            self._next_draw = self._epoch_started + self._interval

    def note(self, text: str) -> None:
        """Say something worth knowing, above the bar; silent with `quiet` and `json`."""
        if not self._is_silent:
            self._print(text)

    def warning(self, text: str) -> None:
        """Say what must not be missed: also shown with `quiet` and `json`."""
        self._print(f"warning: {text}", accent="warning:")

    def finish(self) -> None:
        """Take the bar off the screen; calling it twice is harmless."""
        self._next_draw = float("inf")
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def _forget_epoch(self) -> None:
        self._epoch_started = self._clock()
        self._images = self._first_images = 0
        self._first_step = None
        self._loss = self._accuracy = None

    def _position(self, *, epoch: int, step: int, steps: int, now: float) -> Position:
        elapsed = now - self._epoch_started
        share_here = (step - (self._first_step or 0)) / steps if steps > 0 else 1.0
        # A finished epoch includes its validation, so it predicts the rest better than this epoch's steps do.
        done = epoch - self._first_epoch
        if done > 0:
            epoch_seconds = (self._epoch_started - self._started) / done
        else:
            epoch_seconds = elapsed / max(share_here, 1e-9)
        epochs_left = self._epochs - epoch + 1 - (step / steps if steps > 0 else 1.0)
        images = self._images - self._first_images
        return Position(
            epoch=epoch,
            epochs=self._epochs,
            step=step,
            steps=steps,
            loss=self._loss,
            accuracy=self._accuracy,
            images_per_second=images / elapsed if elapsed > 0 and images > 0 else None,
            # The first second of a run is mostly warming up; it would promise hours.
            seconds_left=max(0.0, epochs_left * epoch_seconds) if now - self._started >= 1 else None,
        )

    def _is_best(self, row: Mapping[str, Any]) -> bool:
        accuracy, loss = row.get("val_accuracy"), row.get("val_loss")
        if accuracy is not None:
            improves, value = self._best is None or accuracy > self._best, accuracy
        elif loss is not None:
            improves, value = self._best is None or loss < self._best, loss
        else:
            return bool(row.get("best", False))
        is_best = bool(row.get("best", improves))
        if is_best:
            self._best = value
        return is_best

    def _columns(self) -> int | None:
        return self._console.width if self._console is not None else None

    def _draw(self, position: Position) -> None:
        if self._live is None:
            self._print(status_line(position))
            return
        from rich.text import Text

        line, bar = bar_line(position, columns=self._console.width, is_ascii=self._is_ascii)
        text = Text(line, no_wrap=True, overflow="crop")
        if bar is not None:
            text.stylize("cyan", bar.start, bar.filled)
            text.stylize("bright_black", bar.filled, bar.stop)
        self._live.update(text, refresh=True)

    def _print(self, text: str, *, accent: str | None = None) -> None:
        lines = "\n".join(printable(line) for line in str(text).split("\n"))
        encoding = "ascii" if self._is_ascii else (getattr(self.stream, "encoding", None) or "utf-8")
        lines = lines.encode(encoding, "backslashreplace").decode(encoding)
        if self._console is None:
            self.stream.write(lines + "\n")
            self.stream.flush()
            return
        from rich.text import Text

        shown = Text(lines)
        if accent is not None:
            shown.highlight_words([accent], "bold yellow" if accent == "warning:" else "bold green")
        self._console.print(shown, soft_wrap=True, highlight=False)

    def _open_live(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._console = Console(
            file=self.stream,
            force_terminal=True,
            no_color="NO_COLOR" in self._environ and self._environ["NO_COLOR"] != "",
            _environ=self._environ,
        )
        # No refresh thread: the loop refreshes, and training keeps its cores. Python warnings on standard error are
        # put above the bar; standard output is left alone.
        self._live = Live(
            Text(""),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=self.stream is sys.stderr,
        )
        self._live.start()
