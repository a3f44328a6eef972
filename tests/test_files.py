"""`striate.files`: whole files or none, on a full disk too; tensors of every layout; readable faults."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from striate import files
from striate.errors import ModelError, ResourceError


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files.write_tensors(tmp_path / "a.safetensors", {"w": torch.ones(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_order_is_write_fsync_rename_fsync_of_the_folder(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: calls.append(f"fsync {Path(f'/proc/self/fd/{number}').readlink().name}") or real_fsync(number),
    )
    monkeypatch.setattr(Path, "replace", lambda self, target: calls.append("rename") or real_replace(self, target))
    files.write_bytes(tmp_path / "a.bin", b"x")
    assert calls[0].startswith("fsync .a.bin.")
    assert calls[1:] == ["rename", f"fsync {tmp_path.name}"]


class _FullDisk:
    """A file that takes half of what it is given."""

    def __init__(self, file, code):
        self._file, self._code = file, code

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, content):
        self._file.write(content[: len(content) // 2])
        raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_keeps_the_old_file_and_says_how_much_is_needed(tmp_path, monkeypatch, code):
    path = tmp_path / "weights.bin"
    files.write_bytes(path, b"old")
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: _FullDisk(real_open(self, *a, **k), code))
    with pytest.raises(ResourceError, match=r"weights\.bin` needs 5,000 bytes and [\d,]+ are free.*--output"):
        files.write_bytes(path, b"n" * 5000)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["weights.bin"]


def test_a_real_limit_on_the_file_size_in_another_process(tmp_path):
    # Linux sends SIGXFSZ, which Python ignores, and then fails the write with EFBIG.
    path = tmp_path / "a.bin"
    program = (
        "import resource, sys, pathlib\n"
        "from striate import files\n"
        "from striate.errors import ResourceError\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "files.write_bytes(path, b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    files.write_bytes(path, b'n' * 100_000)\n"
        "except ResourceError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert "needs 100,000 bytes" in done.stdout
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "a.bin", b"x")
    assert _names(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot be written \(Not a directory\)\. Choose a folder"):
        files.write_bytes(tmp_path / "file" / "a.bin", b"x")
    with pytest.raises(ResourceError, match=r"file` is a file\. Choose a folder with --output"):
        files.create_folder(tmp_path / "file" / "run")
    with pytest.raises(ResourceError, match="cannot be written"):
        files.create_folder(tmp_path / "file" / "deeper" / "run")
    with pytest.raises(ResourceError, match="cannot be written"):
        files.append_line(tmp_path / "file" / "log", "x")
    with (
        pytest.raises(ResourceError, match="cannot be written"),
        files.publish_folder(tmp_path / "file" / "checkpoint"),
    ):
        pass


def test_create_folder_says_whether_it_is_new(tmp_path):
    assert files.create_folder(tmp_path / "a" / "b") is True
    assert files.create_folder(tmp_path / "a" / "b") is False


def test_tensors_of_every_layout_and_type_come_back(tmp_path):
    shared = torch.arange(6.0)
    tensors = {
        "channels_last": torch.arange(48.0).reshape(2, 3, 2, 4).to(memory_format=torch.channels_last),
        "shared": shared,
        "view": shared[::2],
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "bf16": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
        "flag": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    files.write_tensors(tmp_path / "a.safetensors", tensors, metadata={"model": "x"})
    back = files.read_tensors(tmp_path / "a.safetensors")
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(back[name].isnan(), tensor.isnan())
        assert torch.equal(back[name].nan_to_num(), tensor.nan_to_num()), name
        assert back[name].dtype == tensor.dtype


def test_read_tensors_names_what_is_wrong(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ModelError, match=r"a\.safetensors` cannot be read \(No such file"):
        files.read_tensors(path)
    files.write_tensors(path, {"w": torch.ones(100)})
    whole = path.read_bytes()
    for length in (0, 4, 50, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"is not a whole safetensors file .* use another"):
            files.read_tensors(path)
    path.write_bytes((2**40).to_bytes(8, "little") + whole[8:])  # a header that claims a terabyte
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        files.read_tensors(path)


def test_json_refuses_nan_and_names_line_and_column(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert _names(tmp_path) == []
    path = tmp_path / "a.json"
    path.write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(ModelError, match=r"not valid JSON .*line 2 column 6.* Restore it"):
        files.read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ModelError, match="not valid JSON"):
        files.read_json(path)
    path.write_bytes(b'"\xff"')
    with pytest.raises(ModelError, match="not valid JSON"):
        files.read_json(path)
    with pytest.raises(ModelError, match="cannot be read"):
        files.read_json(tmp_path / "missing.json")


def test_text_keeps_odd_file_names(tmp_path):
    files.write_text(tmp_path / "a.txt", os.fsdecode(b"odd\xff.jpg"))
    assert (tmp_path / "a.txt").read_bytes() == b"odd\xff.jpg"
    files.append_line(tmp_path / "a.txt", json.dumps("é"))
    assert (tmp_path / "a.txt").read_bytes().endswith(b'"\\u00e9"\n')


def test_publish_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "checkpoint"
    with files.publish_folder(target) as folder:
        files.write_text(folder / "a", "1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"

    def fail():
        with files.publish_folder(target) as folder:
            files.write_text(folder / "a", "2")
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError, match="killed here"):
        fail()
    assert (target / "a").read_text() == "1"
    with files.publish_folder(target) as folder:
        files.write_text(folder / "a", "3")
    assert (target / "a").read_text() == "3"
    assert _names(tmp_path) == ["checkpoint"]


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path))
    assert files.cache_folder("weights", "x") == tmp_path / "weights" / "x"
    monkeypatch.delenv("STRIATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert files.cache_folder() == Path("/xdg/striate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert files.cache_folder() == Path("/home/someone/.cache/striate")


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
