"""The benchmark programs, importable for the time of a test; left out where they are not part of this copy."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
collect_ignore_glob = [] if (ROOT / "benchmarks").is_dir() else ["test_*.py"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
