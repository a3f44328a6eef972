"""`striate.engine.extension`: where the compiled part comes from, its instruction set, what is said without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from striate.engine import extension as module
from striate.engine.extension import ISAS, extension, is_available, isa
from striate.errors import MissingExtraError, UsageError

NAME = "striate.engine._native"


def _pretend(monkeypatch, *names: str) -> None:
    monkeypatch.setitem(sys.modules, NAME, SimpleNamespace(isas=lambda: list(names)))


def _python(program: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.native
def test_it_is_there_where_a_compiler_is():
    compilers = [os.environ.get("CXX", "c++"), "g++", "clang++"]
    if not any(map(shutil.which, compilers)):
        pytest.skip(f"no C++ compiler here: none of {', '.join(compilers)}")
    assert is_available(), "pip install -v --force-reinstall --no-deps -e . says why it was not built"


@pytest.mark.native
def test_its_instruction_sets_are_those_of_the_processor():
    usable = extension().isas()
    assert usable
    assert usable == [name for name in ISAS if name in usable], "the best must come last"
    flags = Path("/proc/cpuinfo")
    # A build of `STRIATE_NATIVE_DIR` may have fewer, as those of tools/sanitize.sh.
    is_whole = "STRIATE_NATIVE_DIR" not in os.environ
    if is_whole and sys.platform == "linux" and "x86" in sysconfig.get_platform():
        words = set(flags.read_text(encoding="utf-8").split())
        assert ("avx2" in usable) == ({"avx2", "fma", "f16c"} <= words)
        assert ("avx512" in usable) == ({"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= words)
        assert ("avx512bf16" in usable) == ({"avx512f", "avx512_bf16"} <= words)
        assert ("amx" in usable) == ({"avx512_bf16", "amx_tile", "amx_bf16"} <= words)


@pytest.mark.native
def test_isa_is_the_best_or_what_the_environment_says(monkeypatch):
    monkeypatch.delenv("STRIATE_ISA", raising=False)
    assert isa() == extension().isas()[-1]
    _pretend(monkeypatch, "avx2", "avx512")
    assert isa() == "avx512"
    monkeypatch.setenv("STRIATE_ISA", "avx2")
    assert isa() == "avx2"


@pytest.mark.parametrize(
    ("name", "hint"), [("neon", r"Leave it out for avx512\."), ("avx51", r"Did you mean `avx512` or `avx2`\? Leave")]
)
def test_isa_that_is_not_there(monkeypatch, name, hint):
    _pretend(monkeypatch, "avx2", "avx512")
    monkeypatch.setenv("STRIATE_ISA", name)
    with pytest.raises(UsageError, match=rf'must be one of avx2, avx512 on this processor, got "{name}"\. ?{hint}'):
        isa()


def test_not_installed(monkeypatch):
    monkeypatch.delenv("STRIATE_NATIVE_DIR", raising=False)
    monkeypatch.setattr(module, "_NAME", "striate.engine._not_there")
    with pytest.raises(MissingExtraError, match=r"which is not installed.*Install one.*then run `pip install"):
        extension()
    assert not is_available()


def test_it_cannot_be_loaded(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    (tmp_path / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"not a library")
    monkeypatch.setenv("STRIATE_NATIVE_DIR", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"cannot be loaded \(.*_native.*\)\. To build it anew, run `pip"):
        extension()
    assert NAME not in sys.modules


def test_processor_without_kernels(monkeypatch):
    _pretend(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"need a processor with AVX2 and FMA"):
        extension()
    assert not is_available()


def test_folder_without_it(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    (tmp_path / "_native.cpython-399-x86_64-linux-gnu.so").write_bytes(b"of another Python")
    monkeypatch.setenv("STRIATE_NATIVE_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"STRIATE_NATIVE_DIR must be a folder with the compiled part"):
        extension()


@pytest.mark.native
def test_folder_with_it(tmp_path):
    shutil.copy(extension().__file__, tmp_path)
    program = "from striate.engine.extension import extension; print(extension().__file__); assert extension().isas()"
    assert Path(_python(program, STRIATE_NATIVE_DIR=str(tmp_path))).parent == tmp_path


def test_it_imports_no_torch():
    program = "import sys, striate.engine.extension as e; e.is_available(); print('torch' in sys.modules)"
    assert _python(program) == "False"


@pytest.mark.native
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sse2", 1, 0.1), "no kernels for sse2"),
        ((isa, 0, 0.1), "`threads` must be 1 to"),
        ((isa, 2**62, 0.1), "`threads` must be 1 to"),
        ((isa, 1, float("inf")), "`seconds` must be 0 to 60"),
        ((isa, 1, float("nan")), "`seconds` must be 0 to 60"),
    ],
)
def test_peak(arguments, words):
    name = arguments[0] if isinstance(arguments[0], str) else arguments[0]()
    with pytest.raises(ValueError, match=words):
        extension().peak_gflops(name, *arguments[1:])


@pytest.mark.native
def test_an_object_that_was_not_made():
    program = extension().Program.__new__(extension().Program)
    # What nanobind warns of is what it refuses.
    with (
        pytest.warns(RuntimeWarning, match="uninitialized instance"),
        pytest.raises(TypeError, match="incompatible function arguments"),
    ):
        extension().Workspace().prepare(program, 1, 1, False)
