from __future__ import annotations

import json

import pytest

from striate.train.run import Run
from striate.tune.tuning import tune


def test_the_run_folder_says_what_was_tried_and_what_changed(small, arrays, tmp_path, silent):
    run = tune(
        small(), arrays(160, classes=3, seed=0), mode="gradual", epochs=4, minutes=0, output=tmp_path,
        experiment="mine", **silent,
    )  # fmt: skip
    assert run.folder == tmp_path / "mine"
    facts = json.loads((run.folder / "tune.json").read_text(encoding="utf-8"))
    assert facts["stages"] == ["stem", "middle", "top", "fc"]
    tried = [trial for trial in facts["trials"] if trial["accuracy"] is not None]
    assert len(tried) == 1  # no time for more
    assert tried[0]["reason"].startswith("stopped after 1 of ")
    assert all("s were left" in trial["reason"] for trial in facts["trials"] if trial["accuracy"] is None)
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Change of the weights" in report
    assert tried[0]["name"] in report
    assert [row["epoch"] for row in run.history] == list(range(1, len(run.history) + 1))
    again = Run(run.folder, model=small(3))
    assert again.evaluation.top1 == pytest.approx(run.evaluation.top1)
    assert {path.name for path in (run.folder / "weights").iterdir()} == {"best.safetensors", "last.safetensors"}
