"""`striate.errors`: the classes, their exit codes, and the nearest names."""

from __future__ import annotations

import inspect

import pytest

from striate import errors
from striate.errors import nearest


def test_every_error_has_the_documented_exit_code():
    # The table in the module's docstring and in `striate --help`.
    codes = {
        "StriateError": 1,
        "UsageError": 2,
        "MissingExtraError": 2,
        "DataError": 3,
        "ImageError": 3,
        "ModelError": 4,
        "ResourceError": 6,
        "DivergedError": 7,
    }
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert found == codes


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UsageError, ValueError),
        (errors.DataError, ValueError),
        (errors.ImageError, errors.DataError),
        (errors.ModelError, ValueError),
        (errors.ResourceError, RuntimeError),
        (errors.DivergedError, ArithmeticError),
    ],
)
def test_errors_are_caught_by_their_builtin_relatives(kind, builtin):
    with pytest.raises(builtin, match="what, where"):
        raise kind("what, where, what to do")


def test_nearest_ignores_case_and_keeps_the_known_spelling():
    assert nearest("RESNET18", ["ResNet18", "vgg16"]) == " Did you mean `ResNet18`?"


def test_nearest_names_at_most_three():
    assert nearest("conv0", ["conv1", "conv2", "conv3", "conv4"]).count("`") == 6


def test_nearest_is_silent_without_a_close_word():
    assert nearest("zzz", ["digits", "mnist"]) == ""
    assert nearest("", ["digits"]) == ""
    assert nearest("digits", []) == ""
