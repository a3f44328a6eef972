"""The public names of `striate.data`: complete, lazy, and the functions rather than modules of the same name."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import striate.data


@pytest.mark.parametrize("name", striate.data.__all__)
def test_every_public_name_is_there_and_is_no_module(name: str):
    assert not isinstance(getattr(striate.data, name), ModuleType)
    assert name in dir(striate.data)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'striate\.data' has no attribute 'nothing'"):
        striate.data.nothing  # noqa: B018


def test_importing_the_room_imports_nothing_heavy():
    code = "import sys, striate.data; sys.exit(any(name in sys.modules for name in ('torch', 'PIL', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
