"""Options that make a training of the command line last a second."""

from __future__ import annotations

import pytest

QUICK = ("--epochs", 1, "--batch-size", 64, "--threads", 1, "--device", "cpu", "--no-amp", "--no-channels-last")


@pytest.fixture(scope="session")
def quick() -> tuple[object, ...]:
    return QUICK
