"""Names of a package that are imported when they are first used: what keeps ``import striate`` free of PyTorch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["lazy_names", "make_callable"]


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Args:
        package: Its ``__name__``.
        homes: Public name to the module of the package that holds it; an empty module: the name is a module itself.

    Example:
        ``__getattr__, __dir__ = lazy_names(__name__, {"Run": "run"})``
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not homes[name]:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return [*vars(sys.modules[package]), *homes]

    return find, names


def make_callable(package: str) -> None:
    """Let a package that has the name of its main function be called as that function.

    Args:
        package: Its ``__name__``.
    """
    function = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **options: Any) -> Any:
            return getattr(self, function)(*args, **options)

    sys.modules[package].__class__ = CallablePackage
