"""`striate.train.tracking`: event files that TensorBoard reads back, and clear messages."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from striate.errors import MissingExtraError, ResourceError, UsageError
from striate.train.tracking import open_tracker


def test_none_tracks_nothing(tmp_path):
    tracker = open_tracker(None, tmp_path / "run")
    tracker.log(1, {"train_loss": 0.5})
    tracker.close()
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_back(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever tensorboard's own imports deprecate is not ours
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        tracker = open_tracker("tensorboard", tmp_path)
        tracker.log(1, {"train_loss": 0.5, "val_accuracy": None, "lr": float("nan")})
        tracker.log(2, {"train_loss": 0.25, "val_accuracy": 0.75})
        tracker.close()
        tracker.close()
        events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]
    assert [(event.step, event.value) for event in events.Scalars("val_accuracy")] == [(2, 0.75)]
    assert sorted(events.Tags()["scalars"]) == ["train_loss", "val_accuracy"]


def test_unknown_kind(tmp_path):
    with pytest.raises(UsageError, match=r'`kind` must be None or one of tensorboard, got "tensorbord"\. Did you mean'):
        open_tracker("tensorbord", tmp_path)


def test_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # None makes the import fail
    with pytest.raises(MissingExtraError, match=r'pip install "striate\[track\]"'):
        open_tracker("tensorboard", tmp_path)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorboard")
        with pytest.raises(ResourceError, match=r"`folder` must be a folder that can be written"):
            open_tracker("tensorboard", Path(tmp_path / "file" / "run"))
