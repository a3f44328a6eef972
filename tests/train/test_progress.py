"""`striate.train.progress` with a clock of its own, on streams that are or are not terminals."""

from __future__ import annotations

import io
import time

import pytest

from striate.train.progress import Progress

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_accuracy": 0.9,
    "val_loss": 0.4,
    "val_accuracy": 0.95,
    "lr": 0.1,
    "images_per_second": 5210.4,
    "seconds": 12.0,
}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _run(stream, *, environ=None, seconds_per_step=0.5, epochs=2, steps=10, **options) -> tuple[str, Progress]:
    clock = Clock()
    progress = Progress(stream=stream, clock=clock, environ={"COLUMNS": "100"} | (environ or {}), **options)
    with progress:
        progress.start(epochs=epochs)
        for epoch in range(1, epochs + 1):
            for step in range(1, steps + 1):
                clock.now += seconds_per_step
                progress.step(epoch, step, steps, loss=1.25 if step % 2 else None, images=64 * step, accuracy=0.5)
            progress.end_epoch(ROW | {"epoch": epoch, "val_accuracy": 0.95 if epoch == 1 else 0.9})
    return stream.getvalue(), progress


def test_plain_lines_one_per_epoch():
    text, _ = _run(io.StringIO())
    assert text.splitlines() == [
        "epoch 1/2  loss 0.5000  train 90.00 %  val 95.00 % best  5,210 images/s  12 s",
        "epoch 2/2  loss 0.5000  train 90.00 %  val 90.00 %       5,210 images/s  12 s",
    ]


def test_plain_lines_within_a_long_epoch():
    text, _ = _run(io.StringIO(), seconds_per_step=4.0, epochs=1)
    # Steps end at 4, 8, 12 ... 40 s: a line at the first step past 10 s, then every 10 s. 192 images in 12 s: 16/s.
    assert text.splitlines()[:-1] == [
        "epoch 1/1  step 3/10  loss 1.2500  acc 50.00 %  16 images/s  28 s left",
        "epoch 1/1  step 6/10  loss 1.2500  acc 50.00 %  16 images/s  16 s left",
        "epoch 1/1  step 9/10  loss 1.2500  acc 50.00 %  16 images/s  4 s left",
    ]


def test_plain_has_no_control_characters():
    text, _ = _run(io.StringIO(), seconds_per_step=30.0)
    assert "\x1b" not in text
    assert "\r" not in text


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_dumb_terminal_gets_plain_lines(term):
    text, _ = _run(Terminal(), environ={"TERM": term})
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_terminal_draws_and_cleans_up():
    text, _ = _run(Terminal(), environ={"TERM": "xterm-256color"})
    assert "━" in text
    assert "epoch 1/2" in text
    assert "64" not in text.split("images/s")[0]  # speed, not the count: 64 images in 0.5 s are 128/s
    assert "128 images/s" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back
    assert "\x1b[36m" in text  # colour


def test_no_color():
    text, _ = _run(Terminal(), environ={"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert "━" in text
    assert "\x1b[3" not in text
    assert "\x1b[9" not in text


def test_c_locale_is_ascii_on_a_terminal():
    text, progress = _run(Terminal(), environ={"TERM": "xterm", "LC_ALL": "C"})
    assert text.isascii()
    assert "###" in text
    progress.note("skipped café.jpg")
    assert "skipped caf\\xe9.jpg" in progress.stream.getvalue()


@pytest.mark.parametrize("columns", [20, 30, 60, 100])
def test_lines_fit_the_terminal(columns):
    import re

    text, _ = _run(Terminal(), environ={"TERM": "xterm", "COLUMNS": str(columns)}, epochs=12)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")
    assert max(len(line) for line in lines) <= columns
    assert any("95.00 % best" in line for line in lines)


def test_throttled_on_a_terminal():
    stream, clock = Terminal(), Clock()
    progress = Progress(stream=stream, clock=clock, environ={"TERM": "xterm", "COLUMNS": "80"})
    progress.start(epochs=1)
    progress.step(1, 1, 1000, loss=1.0, images=1)
    drawn = stream.getvalue()
    clock.now += 0.05
    progress.step(1, 2, 1000, loss=1.0, images=2)
    assert stream.getvalue() == drawn  # 50 ms later: not yet
    clock.now += 0.06
    progress.step(1, 3, 1000, loss=1.0, images=3)
    assert stream.getvalue() != drawn
    progress.finish()
    progress.finish()


@pytest.mark.parametrize("options", [{"quiet": True}, {"json": True}])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silent_but_for_warnings(options, stream):
    text, progress = _run(stream(), **options)
    progress.note("chose bf16")
    assert text == progress.stream.getvalue() == ""
    progress.warning("one file\x1b[2J was skipped")
    assert progress.stream.getvalue() == "warning: one file\\x1b[2J was skipped\n"


def test_notes_keep_markup_and_lines():
    _, progress = _run(io.StringIO())
    progress.note("[bold]two[/bold]\nlines")
    assert progress.stream.getvalue().endswith("[bold]two[/bold]\nlines\n")


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([{"val_accuracy": 0.5}, {"val_accuracy": 0.5}, {"val_accuracy": 0.6}], [True, False, True]),
        ([{"val_loss": 0.5}, {"val_loss": 0.6}, {"val_loss": 0.4}], [True, False, True]),
        ([{"train_loss": 0.5}, {"train_loss": 0.4}], [False, False]),
        ([{"val_accuracy": 0.5, "best": False}, {"val_accuracy": 0.4, "best": True}], [False, True]),
    ],
)
def test_best_mark(rows, best):
    progress = Progress(stream=io.StringIO(), environ={})
    progress.start(epochs=3)
    for index, row in enumerate(rows):
        progress.end_epoch({"epoch": index + 1} | row)
    assert [line.endswith("best") for line in progress.stream.getvalue().splitlines()] == best


def test_best_before_a_resume_counts():
    progress = Progress(stream=io.StringIO(), environ={})
    progress.start(epochs=3, first_epoch=2, best=0.97)
    progress.end_epoch({"epoch": 2, "val_accuracy": 0.96})
    assert "best" not in progress.stream.getvalue()


def test_speed_after_a_resume_within_an_epoch():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream=stream, clock=clock, environ={})
    progress.start(epochs=1)
    progress.step(1, 51, 100, images=5100)
    clock.now += 20
    progress.step(1, 71, 100, images=7100)  # 20 of 100 steps and 2,000 images in 20 s; 29 steps to go
    # 21 steps were seen to end (51 to 71) in 20 s: 29 more take 28 s.
    assert stream.getvalue() == "epoch 1/1  step 71/100  100 images/s  28 s left\n"


def test_step_is_cheap():
    progress = Progress(stream=Terminal(), environ={"TERM": "xterm", "COLUMNS": "80"})
    progress.start(epochs=1)
    best = min(_time_steps(progress) for _ in range(3))
    progress.finish()
    assert best < 20e-6  # seconds a call, redraws included; 1 to 4 microseconds on a laptop core


def _time_steps(progress: Progress) -> float:
    begin = time.perf_counter()
    for step in range(20_000):
        progress.step(1, step, 1_000_000, None, step)
    return (time.perf_counter() - begin) / 20_000
