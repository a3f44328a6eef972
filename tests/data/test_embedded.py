"""The data sets inside scikit-learn, compared with scikit-learn's own loaders."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from striate.data.embedded import read_digits, read_iris
from striate.errors import MissingExtraError


def test_digits_are_those_of_scikit_learn_spread_over_a_byte():
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    expected, expected_labels = load_digits(return_X_y=True)
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.uint8
    # 16 is white: 255. Grey levels in between are rounded: 8 -> 127.5 -> 128.
    np.testing.assert_array_equal(images.reshape(-1, 64), np.rint(expected * 255 / 16))
    assert images.max() == 255
    np.testing.assert_array_equal(labels, expected_labels)


def test_iris_is_that_of_scikit_learn():
    from sklearn.datasets import load_iris

    vectors, labels, names = read_iris()
    bunch = load_iris()
    np.testing.assert_array_equal(vectors, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(labels, bunch.target)
    assert names == tuple(bunch.target_names)
    assert (vectors.dtype, labels.dtype) == (np.float32, np.int64)


def test_scikit_learn_is_not_imported_to_read_its_files():
    code = "import sys; from striate.data.embedded import *; read_digits(); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_scikit_learn_keeps_its_files_elsewhere_its_loaders_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    images, labels = read_digits()
    iris = read_iris()
    moved = ModuleSpec("sklearn", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: moved)
    np.testing.assert_array_equal(read_digits()[0], images)
    np.testing.assert_array_equal(read_digits()[1], labels)
    np.testing.assert_array_equal(read_iris()[0], iris[0])
    assert read_iris()[2] == iris[2]


def test_without_scikit_learn_the_line_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'need scikit-learn.*pip install "scikit-learn>=1\.5"'):
        read_digits()
