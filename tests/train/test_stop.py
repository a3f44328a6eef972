"""Signals are noted while the block runs, and only then."""

from __future__ import annotations

import signal
import threading

import pytest

from striate.errors import StriateError
from striate.train.distributed import Processes
from striate.train.stop import Interrupted, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.asked(Processes()) is False
        signal.raise_signal(number)
        assert stop.asked(Processes()) is True
        assert stop.signal_number == number
    assert signal.getsignal(number) is before


def _twice(first: signal.Signals, second: signal.Signals) -> None:
    with StopRequest():
        signal.raise_signal(first)
        signal.raise_signal(second)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_leaves_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        _twice(first, signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_is_patient():
    _twice(signal.SIGTERM, signal.SIGTERM)


def test_in_another_thread_nothing_is_touched():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with StopRequest() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop.asked(Processes())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_codes_are_those_of_posix(number, code):
    error = Interrupted("stopped", signal_number=number)
    assert error.exit_code == code
    assert isinstance(error, StriateError)
