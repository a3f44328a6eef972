"""What several test files share: one thread, an own cache, small data made in code, a trained run, the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: figures must not depend on the machine's cores

import numpy as np
import pytest

FAST: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 64,
    "threads": 1,
    "device": "cpu",
    "bf16": False,
    "channels_last": False,
    "compile": False,
}
"""Options of `striate.train` that leave nothing to a measurement."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of the tests, and the tests out of it."""
    before = os.environ.get("STRIATE_CACHE")
    os.environ["STRIATE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["STRIATE_CACHE"]
    else:
        os.environ["STRIATE_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Leave fsync out: it protects against a loss of power, and on a busy disk costs more than all else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the configuration as asked instead of timing candidates, whose winner may differ from run to run."""
    import dataclasses

    def choose(model, batch, *, recipe, start, choices, engine="auto", num_samples=None):
        asked = {name: value for name, value in choices.items() if value is not None}
        return dataclasses.replace(start, **asked), {}

    monkeypatch.setattr("striate.train.start.choose_configuration", choose)


@pytest.fixture(scope="session")
def fast() -> dict[str, Any]:
    """Options for a training of a second: `striate.train(data, **fast)`."""
    return dict(FAST)


@pytest.fixture(scope="session")
def quiet() -> Any:
    from striate.train import Progress

    return Progress(quiet=True)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory, quiet: Any) -> Any:
    """A `Run` on the embedded digits, 2 epochs: shared by many tests, which must not change it."""
    import striate

    return striate.train("digits", output=tmp_path_factory.mktemp("runs"), progress=quiet, **FAST)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 colour PNGs each, 24 x 20 to 30 x 40 pixels, told apart by their dominant channel."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data") / "colours"
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir(parents=True)
        for number in range(20):
            height, width = int(generator.integers(24, 31)), int(generator.integers(20, 41))
            pixels = generator.integers(0, 120, size=(height, width, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command line in this process, as the `striate` script does: ``cli("train", "digits")``."""

    def run(*arguments: object) -> Answer:
        from striate.cli import main

        monkeypatch.setattr(sys, "argv", ["striate", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return Answer(code=int(left.value.code or 0), out=out, err=err)

    return run
