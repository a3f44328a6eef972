"""The stratified split and what hangs on it: sample ids, names, parts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from striate.data.splits import Dataset, Parts, Source, Splits, make_splits, stratified_split
from striate.data.store import MemoryStore
from striate.errors import DataError, UsageError


def split(labels: Any, **changes: Any) -> Parts:
    labels = np.array(labels, dtype=np.int64)
    names = [f"class{label}" for label in range(int(labels.max()) + 1)]
    options = {"class_names": names, "val_fraction": 0.1, "test_fraction": 0.2, "seed": 0} | changes
    return stratified_split(labels, **options)


def source(**changes: Any) -> Source:
    plain = Source(
        source="x", image_size=None, resize_size=None, in_channels=None, val_fraction=0.1, test_fraction=0.2, seed=0,
        skip_bad=False, root=None, class_names=None,
    )  # fmt: skip
    return plain | changes  # type: ignore[return-value]


def splits(labels: Any, *, parts: Parts | None = None, **changes: Any) -> Splits:
    labels = np.array(labels, dtype=np.int64)
    pixels = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return make_splits(
        MemoryStore(pixels),
        labels,
        name="toy",
        parts=parts or Parts(train=np.arange(len(labels))),
        class_names=tuple("abcdef"[: int(labels.max()) + 1]),
        kind="images",
        describe=lambda sample_id: f"file {sample_id}",
        source=source(**changes),
    )


def test_parts_are_disjoint_and_complete():
    labels = np.repeat([0, 1, 2], [50, 20, 7])
    parts = split(labels)
    together = np.concatenate([parts.train, parts.val, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(77))
    for part in (parts.train, parts.val, parts.test):
        assert (np.diff(part) > 0).all()


def test_every_class_is_divided_in_the_same_proportions():
    labels = np.repeat([0, 1, 2], [500, 200, 70])
    parts = split(labels)
    assert np.bincount(labels[parts.test]).tolist() == [100, 40, 14]
    assert np.bincount(labels[parts.val]).tolist() == [50, 20, 7]


def test_the_split_is_the_same_on_every_machine():
    # Taken from this code once: NumPy promises that PCG64's raw output never changes.
    parts = split(np.repeat([0, 1], 10))
    assert parts.test.tolist() == [2, 3, 14, 17]
    assert parts.val.tolist() == [1, 15]


def test_another_seed_divides_differently_and_the_same_seed_alike():
    labels = np.repeat([0, 1], 100)
    assert split(labels, seed=1).test.tolist() == split(labels, seed=1).test.tolist()
    assert split(labels, seed=1).test.tolist() != split(labels, seed=2).test.tolist()


def test_the_test_set_does_not_depend_on_the_share_of_validation():
    labels = np.repeat([0, 1], 100)
    assert split(labels, val_fraction=0.3).test.tolist() == split(labels, val_fraction=0.0).test.tolist()


@pytest.mark.parametrize("count", [3, 4, 5])
def test_small_classes_are_in_every_part(count: int):
    labels = np.repeat([0, 1], [count, 40])
    parts = split(labels, val_fraction=0.4, test_fraction=0.5)
    for part in (parts.train, parts.val, parts.test):
        assert 0 in labels[part]


def test_shares_of_zero_make_no_part():
    parts = split([0, 1], val_fraction=0.0, test_fraction=0.0)
    assert parts.val is None
    assert parts.test is None
    assert parts.train.tolist() == [0, 1]


def test_a_class_that_is_too_small_is_named_with_its_count():
    with pytest.raises(DataError, match=r"at least 3 images to be divided into 3 parts, but `class1` has 2\. Add"):
        split([0] * 10 + [1] * 2)


def test_many_small_classes_are_counted():
    with pytest.raises(DataError, match=r"`class9` has 1 and 10 more\. Add images"):
        split(range(20))


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", ["val_fraction", "test_fraction"])
def test_shares_out_of_range_are_refused(name: str, value: float):
    with pytest.raises(UsageError, match=rf"`{name}` must be at least 0 and less than 1, got {value}"):
        split([0, 1], **{name: value})


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(UsageError, match=r"must be less than 1, got 0\.5 \+ 0\.5"):
        split([0, 1], val_fraction=0.5, test_fraction=0.5)


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="`seed` must be 0 or more, got -1"):
        split([0, 1], seed=-1)


def test_splits_keep_images_labels_and_ids_together():
    made = splits([0, 1] * 20)
    for part in (made.train, made.val, made.test):
        assert part is not None
        for index in range(len(part)):
            sample_id = int(part.sample_ids[index])
            assert part.images.gather(np.array([index])).pixels.item() == sample_id
            assert part.labels[index] == sample_id % 2
            assert part.identify(index) == f"file {sample_id}"


def test_given_parts_are_kept_and_missing_ones_come_from_train():
    parts = Parts(train=np.arange(30), test=np.arange(30, 40))
    made = splits([0, 1] * 20, parts=parts)
    assert made.test is not None
    assert made.test.sample_ids.tolist() == list(range(30, 40))
    assert made.val is not None
    assert len(made.val) == 4  # a tenth of 15 in each of two classes is 1.5, which rounds to 2
    assert int(made.val.sample_ids.max()) < 30
    assert len(made.train) == 26


def test_a_subset_keeps_sample_ids_and_copies_nothing():
    made = splits([0, 1] * 20)
    some = made.train.subset([5, 2]).subset(torch.tensor([1]))
    assert some.sample_ids.tolist() == [int(made.train.sample_ids[2])]
    assert some.images.base is made.train.images.base  # type: ignore[attr-defined]
    assert isinstance(some, Dataset)


def test_one_class_is_refused():
    with pytest.raises(DataError, match=r"toy must have at least 2 classes to tell apart, got 1 \(`a`\)"):
        splits([0] * 10)


def test_nothing_is_split_off_for_a_network_that_knows_its_classes():
    made = splits([0, 1, 1], class_names=["a", "b"])
    assert len(made.train) == 3
    assert made.val is made.test is None


def test_pick_prefers_test_then_val_then_train():
    made = splits([0, 1] * 20)
    assert made.pick() is made.test
    assert made.pick("train") is made.train
    assert splits([0, 1] * 20, test_fraction=0.0).pick() is not None
    without = splits([0, 1] * 20, test_fraction=0.0, val_fraction=0.0)
    assert without.pick() is without.train
    with pytest.raises(UsageError, match=r"`split` must be one of train, got 'val'"):
        without.pick("val")
    with pytest.raises(UsageError, match=r"got 'tset'\. Did you mean `test`\?"):
        made.pick("tset")


def test_the_source_is_plain_json():
    made = splits([0, 1] * 20)
    assert json.loads(json.dumps(made.source)) == made.source
