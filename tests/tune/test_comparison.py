from __future__ import annotations

import json

import pytest

from striate.errors import UsageError
from striate.tune.comparison import Comparison, Point, compare


def test_modes_and_sizes_are_measured_on_the_same_test_images(small, arrays, tmp_path, silent):
    found = compare(
        small(), arrays(150, classes=3, seed=0), modes=("scratch", "features"), sizes=(5, None), seeds=(0, 1), epochs=2,
        output=tmp_path, **silent,
    )  # fmt: skip
    assert [(p.mode, p.images_per_class, p.is_all, len(p.accuracies)) for p in found.points] == [
        ("scratch", 5, False, 2), ("features", 5, False, 2), ("scratch", 40, True, 2), ("features", 40, True, 2),
    ]  # fmt: skip
    assert all(0 <= accuracy <= 1 for p in found.points for accuracy in p.accuracies)
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "comparison.json").read_text(encoding="utf-8")) == found.to_dict()
    assert "<svg" in (folder / "comparison.html").read_text(encoding="utf-8")


def test_the_table():
    points = (
        Point(mode="scratch", images_per_class=5, is_all=False, accuracies=(0.5, 0.6), seconds=(1.0, 1.0)),
        Point(mode="head", images_per_class=5, is_all=False, accuracies=(0.8, 0.8), seconds=(1.0, 1.0)),
        Point(mode="head", images_per_class=40, is_all=True, accuracies=(0.9, 1.0), seconds=(1.0, 1.0)),
    )
    text = str(Comparison(source="a run", data="bars", test_images=30, points=points))
    assert text.splitlines() == [
        "images a class  5           40 (all)",
        "scratch         55.0 ± 7.1",
        "head            80.0 ± 0.0  95.0 ± 7.1",
    ]


def test_modes_that_are_none(small, arrays, silent):
    with pytest.raises(UsageError, match="`modes` must be of features, head, full, gradual, scratch"):
        compare(small(), arrays(60, classes=3, seed=0), modes=("all",), output=None, **silent)
