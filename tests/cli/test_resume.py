"""`striate resume`."""

from __future__ import annotations

import contextlib
import json
import signal

import pytest

from striate.train import Progress, Run

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture
def stopped_at_three(monkeypatch):
    """Send this process a SIGINT at the third step of an epoch, as a user's Ctrl-C does."""

    def step(self, epoch, step, *others, **values):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    @contextlib.contextmanager
    def block():
        with monkeypatch.context() as patch:
            patch.setattr(Progress, "step", step)
            yield

    return block


def test_stopped_and_resumed_equals_never_stopped(cli, quick, tmp_path, stopped_at_three):
    assert cli("train", "digits", *quick, "-o", tmp_path, "--experiment", "straight", "-q").code == 0
    with stopped_at_three():
        stopped = cli("train", "digits", *quick, "-o", tmp_path, "--experiment", "stopped", "-q")
    assert stopped.code == 130
    assert "saved. Go on with: striate resume" in stopped.err
    resumed = cli("resume", tmp_path / "stopped")
    assert (resumed.code, resumed.out) == (0, f"{tmp_path / 'stopped'}\n")
    assert "after epoch 0, step 3" in resumed.err
    weights = [(tmp_path / name / "weights" / "last.safetensors").read_bytes() for name in ("straight", "stopped")]
    assert weights[0] == weights[1]
    assert Run(tmp_path / "stopped").evaluation == Run(tmp_path / "straight").evaluation


def test_an_interruption_with_json_is_one_document(cli, quick, tmp_path, stopped_at_three):
    with stopped_at_three():
        stopped = cli("train", "digits", *quick, "-o", tmp_path, "--experiment", "run", "--json")
    assert stopped.code == 130
    error = json.loads(stopped.out)["error"]
    assert (error["kind"], error["exit_code"]) == ("Interrupted", 130)
    document = json.loads(cli("resume", tmp_path / "run", "--json").out)
    assert [row["epoch"] for row in document["history"]] == [1]
    assert document["evaluation"]["num_samples"] == 359


def test_a_folder_that_is_no_run(cli, tmp_path):
    answer = cli("resume", tmp_path)
    assert answer.code == 4
    assert "is not a run folder: it holds no config.json" in answer.err
