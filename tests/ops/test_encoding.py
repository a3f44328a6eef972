"""Integer and one-hot encoding: course values, PyTorch, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops.encoding import integer_encoding, one_hot

ANIMALS = ["dog", "cat", "horse", "cheetah"]


def test_course_values():
    # 002-integer-encoding and 002-onehot of the course examples: classes are numbered as they appear.
    codes, classes = integer_encoding(ANIMALS)
    assert dict(zip(classes, codes.tolist(), strict=True)) == {"dog": 0, "cat": 1, "horse": 2, "cheetah": 3}
    assert one_hot(codes).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    ordinal = ["poor", "neutral", "good"]
    assert integer_encoding(["good", "poor", "neutral"], classes=ordinal)[0].tolist() == [2, 0, 1]


def test_codes_lead_back_to_the_labels(random):
    labels = [ANIMALS[i] for i in random.integers(0, 4, size=50)]
    codes, classes = integer_encoding(iter(labels))
    assert [classes[code] for code in codes] == labels
    assert codes.dtype == np.int64
    assert integer_encoding([])[0].shape == (0,)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_one_hot_equals_pytorch(shape, random):
    classes = random.integers(0, 4, size=shape)
    expected = F.one_hot(torch.tensor(classes), num_classes=7).numpy()
    assert np.array_equal(one_hot(classes, num_classes=7), expected)
    assert one_hot(classes, num_classes=7).dtype == np.int64
    assert one_hot(classes).shape == (*shape, int(np.max(classes)) + 1)


def test_forms_of_input():
    assert one_hot(np.array([0.0, 2.0])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert one_hot(np.array([[3, 1], [2, 0]])[:, ::-1], num_classes=4).argmax(axis=-1).tolist() == [[1, 3], [0, 2]]
    assert one_hot([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: one_hot([0, 3], num_classes=3),
            r"one_hot: `classes` must be from 0 to 2, got 3\. Count classes from 0",
        ),
        (lambda: one_hot([-1]), r"one_hot: `classes` must be 0 or more, got -1"),
        (lambda: one_hot([0.5]), r"one_hot: `classes` must be whole numbers, .* got float64\. Turn names into numbers"),
        (lambda: one_hot(["cat"]), r"one_hot: `classes` must be whole numbers"),
        (lambda: one_hot([0], num_classes=0), r"one_hot: `num_classes` must be 1 or more, got 0"),
        (
            lambda: integer_encoding(["dgo"], classes=ANIMALS),
            r"integer_encoding: `labels` must be among the classes .* got 'dgo'\. Did you mean `dog`",
        ),
        (
            lambda: integer_encoding(["dog"], classes=["dog", "dog"]),
            r"integer_encoding: `classes` must name each class once",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
