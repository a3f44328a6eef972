"""Folders of small images, made in code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeImages = Callable[..., list[Path]]


@pytest.fixture
def make_images() -> MakeImages:
    """Write images of noise, each different, into a folder."""
    random = np.random.default_rng(0)

    def make(folder: Path, count: int = 1, *, size: tuple[int, int] = (8, 8), suffix: str = ".png") -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number in range(count):
            pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            paths.append(folder / f"{number:03}{suffix}")
            Image.fromarray(pixels).save(paths[-1])
        return paths

    return make
