"""The two data sets that come inside scikit-learn: handwritten digits (8 x 8 pixels) and Iris (4 measurements)."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from striate.errors import MissingExtraError

__all__ = ["read_digits", "read_iris"]

_HINT = 'Install it with: pip install "scikit-learn>=1.5"'


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read the 1,797 handwritten digits, their 17 grey levels spread over 0 to 255.

    Returns:
        Images (1797, 1, 8, 8), uint8, and classes (1797,), int64.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Source: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998 (the test part).
    """
    path = _data_folder() / "digits.csv.gz"
    if path.is_file():
        rows = np.array(gzip.decompress(path.read_bytes()).replace(b"\n", b",").rstrip(b",").split(b","))
        values = rows.astype(np.float64).reshape(-1, 65)
    else:
        from sklearn.datasets import load_digits

        pixels, classes = load_digits(return_X_y=True)
        values = np.column_stack([pixels, classes])
    images = np.rint(values[:, :64] * (255 / 16)).astype(np.uint8)
    return images.reshape(-1, 1, 8, 8), values[:, 64].astype(np.int64)


def read_iris() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], tuple[str, ...]]:
    """Read Fisher's 150 irises.

    Returns:
        Length and width of sepal and petal in centimetres (150, 4), float32, classes (150,), int64, and class names.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics, 1936.
    """
    path = _data_folder() / "iris.csv"
    if path.is_file():
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        values = np.array(rows, dtype=np.float64)
        names = tuple(header[2:])
    else:
        from sklearn.datasets import load_iris

        bunch = load_iris()
        values, names = np.column_stack([bunch.data, bunch.target]), tuple(str(name) for name in bunch.target_names)
    return values[:, :4].astype(np.float32), values[:, 4].astype(np.int64), names


def _data_folder() -> Path:
    # The files are read where they lie: importing scikit-learn takes seconds and brings SciPy along.
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise MissingExtraError(f"load: digits and iris need scikit-learn, which holds their files. {_HINT}")
    return Path(found.origin).parent / "datasets" / "data"
