"""The compiled part of the engine: where it comes from, and which of the processor's instruction sets it uses.

It is built when striate is installed, if a C++20 compiler is there; without one, everything else of striate works.
Environment variables:

- ``STRIATE_ISA``: the instruction set to use, one of `ISAS`; by default the best that the processor has.
- ``STRIATE_NATIVE_DIR``: a folder to load the compiled part from, such as one with sanitizers (``tools/sanitize.sh``).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from types import ModuleType

from striate.errors import MissingExtraError, UsageError, nearest

__all__ = ["ISAS", "extension", "is_available", "isa"]

ISAS = ("generic", "neon", "avx2", "avx512", "avx512bf16", "amx")
"""Every instruction set that there are kernels for; of those that one processor has, the best comes last."""
_NAME = "striate.engine._native"
_REINSTALL = "run `pip install --force-reinstall --no-deps .` in striate's folder (with -v it says what goes wrong)."


def extension() -> ModuleType:
    """Return the compiled module, loaded when first asked for.

    Raises:
        MissingExtraError: it is not installed, cannot be loaded, or has no kernels for this processor.
        UsageError: ``STRIATE_NATIVE_DIR`` names a folder without it.
    """
    try:
        module = sys.modules.get(_NAME) or _load()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "engine: its kernels need the compiled part of striate, which is not installed: it is built where a C++20 "
            f"compiler is. Install one (g++ or clang), then {_REINSTALL}"
        ) from error
    except ImportError as error:
        raise MissingExtraError(
            f"engine: its kernels need the compiled part of striate, which cannot be loaded ({error}). To build it "
            f"anew, {_REINSTALL}"
        ) from error
    if not module.isas():
        raise MissingExtraError(
            "engine: its kernels need a processor with AVX2 and FMA, which this one does not have. Train without it."
        )
    return module


def is_available() -> bool:
    """Say whether `extension` returns a module."""
    try:
        extension()
    except MissingExtraError:
        return False
    return True


def isa() -> str:
    """Return the name of the instruction set in use: the best of this processor, or what ``STRIATE_ISA`` names.

    Raises:
        MissingExtraError: as in `extension`.
        UsageError: ``STRIATE_ISA`` names an instruction set that does not exist or that this processor does not have.
    """
    usable: list[str] = extension().isas()
    name = os.environ.get("STRIATE_ISA") or usable[-1]
    if name not in usable:
        raise UsageError(
            f'engine: STRIATE_ISA must be one of {", ".join(usable)} on this processor, got "{name}".'
            f"{'' if name in ISAS else nearest(name, usable)} Leave it out for {usable[-1]}."
        )
    return name


def _load() -> ModuleType:
    folder = os.environ.get("STRIATE_NATIVE_DIR")
    if not folder:
        return importlib.import_module(_NAME)
    spec = PathFinder.find_spec(_NAME, [folder])
    if spec is None or spec.loader is None:
        raise UsageError(
            f"engine: STRIATE_NATIVE_DIR must be a folder with the compiled part for this Python, got {folder}. "
            "Build it with tools/sanitize.sh, or leave the variable out."
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_NAME] = module
    return module
