"""Bad input of every kind on the command line: one clear message, its exit code, no traceback, files untouched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate.cli._boundary import run_guarded
from striate.errors import DataError, MissingExtraError

pytestmark = pytest.mark.usefixtures("unmeasured")


def _pictures(folder: Path, count: int, *, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, size=(20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _bomb(path: Path) -> None:
    """Write a grey PNG of 10,000 x 10,000 pixels in about 97 KB."""
    rows = zlib.compress(b"\0" * (10_001 * 10_000), 9)
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b""))
    assert path.stat().st_size < 100_000


def _hostile(root: Path) -> None:
    """Lay out everything that the table below names."""
    for name in ("half", "bomb", "text", "plain"):
        _pictures(root / name / "a", 4)
        _pictures(root / name / "b", 4, first=10)
    jpeg = root / "half" / "a" / "half.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(jpeg, quality=95)
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])
    _bomb(root / "bomb" / "b" / "bomb.png")
    (root / "text" / "b" / "text.jpg").write_text("<html>Not found</html>")
    _pictures(root / "one-class" / "a", 5)
    _pictures(root / "empty-class" / "a", 5)
    (root / "empty-class" / "b").mkdir()
    _pictures(root / "one-image" / "a", 1)
    (root / "nothing").mkdir()
    (root / "file").write_text("")
    _pictures(root, 1, first=77)
    (root / "escape.csv").write_text("path,label\nplain/a/0.png,a\n../../etc/passwd,b\n")
    (root / "typo.toml").write_text("epohcs = 3\n")
    (root / "syntax.toml").write_text("lr = = 3\n")
    raw = root / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 60_000, 28, 28) + bytes(1000))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 60_000) + bytes(1000))


@pytest.fixture(scope="module")
def place(tmp_path_factory, digits_run) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    _hostile(root)
    shutil.copytree(digits_run.folder, root / "run")
    for name in ("unknown", "damaged", "future"):
        shutil.copytree(root / "run", root / name)
    _edit(root / "unknown" / "config.json", "cnn_cifar", "cnn_cifer")
    _edit(root / "future" / "config.json", '"format": 1', '"format": 99')
    (root / "damaged" / "config.json").write_text('{"format": 1,')
    return root


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


TABLE = {
    "unknown data": ("train digitz", 3, r"Did you mean `digits`.*Nothing is at"),
    "unknown folder": ("train plane", 3, r"Did you mean `plain`"),
    "unknown model": ("train digits --model lenet55", 4, r"Did you mean `lenet5"),
    "unknown recipe": ("train digits --recipe smal", 2, r"Did you mean `small`"),
    "unknown optimizer": ("train digits --opt sdg", 2, r"Did you mean `sgd`"),
    "unknown schedule": ("train digits --sched cosin", 2, r"Did you mean `cosine`"),
    "unknown initialisation": ("train digits --init hee", 2, r"Did you mean `he`"),
    "unknown device": ("train digits --device gpu", 2, r"`device` must be auto, cpu, cuda"),
    "absent device": ("train digits --device cuda:99", 6, r"not on this machine\. Use --device cpu"),
    "rate NaN": ("train digits --lr nan", 2, r"`lr` must be a finite number above 0, got nan"),
    "rate negative": ("train digits --lr -1", 2, r"`lr` must be a finite number above 0, got -1"),
    "epochs 0": ("train digits --epochs 0", 2, r"`epochs` must be at least 1, got 0"),
    "epochs word": ("train digits --epochs many", 2, r"Invalid value for '--epochs'"),
    "epochs infinite": ("train digits --set epochs=inf", 2, r"`epochs` must be of type int, got 'inf'"),
    "threads 0": ("train digits --threads 0", 2, r"`threads` must be at least 1"),
    "seed negative": ("train digits --seed -1", 2, r"`seed` must be 0 or more"),
    "unknown key": ("train digits --set typo=1", 2, r"`typo` is not a key.*The keys are"),
    "near key": ("train digits --set weigth_decay=1", 2, r"Did you mean `weight_decay`"),
    "no value": ("train digits --set cutout", 2, r"`--set` must be KEY=VALUE, got 'cutout'\. For example"),
    "misspelt flag": ("train digits --lrr 1", 2, r"No such option: --lrr"),
    "misspelt command": ("trian digits", 2, r"No such command 'trian'"),
    "missing argument": ("train", 2, r"Missing argument 'DATA'"),
    "batch larger than the data": (
        "train digits --batch-size 2000",
        2,
        r"`batch_size` must be at most 1259.*--batch-size 314",
    ),
    "image size 0": ("train digits --img-size 0", 2, r"`image_size` must be"),
    "image size too small": (
        "train digits --model vgg11 --img-size 8",
        4,
        r"`image_size` must be at least \d+ for vgg11",
    ),
    "channels 2": ("train digits --in-chans 2", 2, r"`in_channels` must be 1 .grey. or 3"),
    "weights missing": ("train digits --weights no.safetensors", 4, r"no\.safetensors"),
    "settings missing": ("train digits --config no.toml", 2, r"no\.toml cannot be read"),
    "settings misspelt": ("train digits --config typo.toml", 2, r"`epohcs` is not a key. Did you mean `epochs`"),
    "settings syntax": ("train digits --config syntax.toml", 2, r"not valid TOML.*line 1"),
    "settings no run": ("train digits --config 77.png", 2, r"77\.png is not valid TOML"),
    "output is a file": ("train digits --output file", 6, r"`file` is a file\. Choose a folder with --output"),
    "module missing": ("train digits --model nowhere:net", 4, r"`nowhere:net` cannot be imported"),
    "empty class": ("train empty-class", 3, r"`?b`? "),
    "one class": ("train one-class", 3, r"at least 2 classes"),
    "one image": ("train one-image", 3, r"at least 2 classes"),
    "no classes": ("train nothing", 3, r"nothing"),
    "a file": ("train 77.png", 3, r"77\.png\. Give the folder that holds it"),
    "half a JPEG": ("train half --img-size 16", 3, r"1 of 9 files .* cannot be read: .*half\.jpg.*--skip-bad"),
    "bomb": ("train bomb --img-size 16", 3, r"1 of 9 files .* cannot be read: .*bomb\.png.*--skip-bad"),
    "text called jpg": ("train text --img-size 16", 3, r"1 of 9 files .* cannot be read: .*text\.jpg.*--skip-bad"),
    "CSV that climbs": ("train escape.csv", 3, r"\.\./\.\./etc/passwd"),
    "evaluate no run": (
        "evaluate plain",
        4,
        r"`plain` is not a run folder: it holds no config\.json\. Runs nearby: .*run",
    ),
    "evaluate nothing": ("evaluate runn", 4, r"`runn` does not exist\. Runs nearby"),
    "predict no run": ("predict file 77.png", 4, r"`file` is a file; a run is the folder"),
    "resume no run": ("resume nothing", 4, r"`nothing` is not a run folder"),
    "config names no network": ("evaluate unknown", 4, r"Did you mean `cnn_cifar`"),
    "config of the future": ("predict future 77.png", 4, r"must have format 1, got 99\. Use the striate version"),
    "config cut short": ("resume damaged", 4, r"not valid JSON .*line 1 column"),
    "predict nothing": ("predict run", 2, r"Missing argument"),
    "predict bomb": ("predict run bomb/b/bomb.png", 3, r"bomb\.png"),
    "predict half": ("predict run half/a/half.jpg", 3, r"half\.jpg"),
    "predict missing": ("predict run missing.png", 3, r"missing\.png, where nothing is"),
    "unknown network": ("models resnet81", 4, r"Did you mean `resnet18`"),
}


def _fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("name", list(TABLE))
def test_one_clear_message(cli, place, monkeypatch, name):
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")
    arguments, code, message = TABLE[name]
    before = _fingerprint(place)
    answer = cli(*arguments.split())
    text = answer.err + (answer.out if arguments.startswith("predict") else "")
    assert answer.code == code, text
    assert re.search(message, text, re.DOTALL), text
    assert "Traceback" not in text
    assert len(answer.err.splitlines()) <= 5
    if not arguments.startswith("predict"):
        assert answer.out == ""
    assert _fingerprint(place) == before


@pytest.mark.parametrize(
    "name", ["unknown data", "rate NaN", "misspelt flag", "unknown network", "evaluate no run", "bomb"]
)
def test_with_json_an_error_is_one_document(cli, place, monkeypatch, name):
    monkeypatch.chdir(place)
    arguments, code, _ = TABLE[name]
    answer = cli(*arguments.split(), "--json")
    error = json.loads(answer.out)["error"]
    assert (answer.code, error["exit_code"]) == (code, code)
    assert error["message"]
    assert error["kind"].endswith("Error")


def test_an_idx_file_whose_header_lies(cli, place, monkeypatch):
    monkeypatch.setenv("STRIATE_DATA", str(place / "data"))
    monkeypatch.chdir(place)
    answer = cli("train", "mnist", "--epochs", 1)
    assert answer.code == 3, answer.err
    assert re.search(r"idx3-ubyte", answer.err)
    assert "Traceback" not in answer.err


def test_skip_bad_leaves_out_and_lists(cli, place, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    for name, bad in (("half", "half.jpg"), ("bomb", "bomb.png"), ("text", "text.jpg")):
        options = (
            "--img-size",
            16,
            "--model",
            "cnn_cifar",
            "--epochs",
            1,
            "--threads",
            1,
            "--device",
            "cpu",
            "--no-amp",
        )
        answer = cli("train", name, "--skip-bad", *options, "--output", tmp_path, "--quiet")
        assert answer.code == 0, answer.err
        assert f"warning: left out {'b' if name != 'half' else 'a'}/{bad}: " in answer.err


def _guarded(monkeypatch, capsys, error: BaseException, *arguments: str) -> tuple[int, str, str]:
    def app():
        raise error

    monkeypatch.setattr(sys, "argv", ["striate", *arguments])
    with pytest.raises(SystemExit) as left:
        run_guarded(app)
    out, err = capsys.readouterr()
    return left.value.code, out, err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("load: what is wrong."), 3, "striate: load: what is wrong.\n"),
        (MissingExtraError("open_tracker: install it."), 2, "striate: open_tracker: install it.\n"),
        (KeyboardInterrupt(), 130, "striate: stopped by Ctrl-C.\n"),
        (MemoryError(), 6, "memory ran out"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            6,
            "memory ran out",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 6, "Give smaller images or batches"),
    ],
)
def test_errors_become_messages_and_codes(monkeypatch, capsys, error, code, message):
    left, out, err = _guarded(monkeypatch, capsys, error)
    assert (left, out) == (code, "")
    assert message in err


def test_a_bug_is_three_lines_and_a_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path))
    monkeypatch.delenv("STRIATE_DEBUG", raising=False)
    code, _, err = _guarded(monkeypatch, capsys, ZeroDivisionError("of all things"))
    assert code == 70
    assert len(err.splitlines()) == 3
    assert "a bug in striate: ZeroDivisionError: of all things" in err
    (report,) = (tmp_path / "errors").iterdir()
    assert "Traceback" in report.read_text()
    code, out, _ = _guarded(monkeypatch, capsys, ZeroDivisionError("of all things"), "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (70, "Bug")


def test_a_bug_with_the_debug_switch_is_raised(monkeypatch):
    monkeypatch.setenv("STRIATE_DEBUG", "1")

    def app():
        raise ZeroDivisionError("of all things")

    with pytest.raises(ZeroDivisionError, match="of all things"):
        run_guarded(app)


def test_a_reader_that_has_gone_is_no_error():
    command = f"{sys.executable} -m striate models --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[", "")


def test_the_version(cli):
    assert cli("--version").out == f"{striate.__version__}\n"


def test_a_process_of_its_own_says_the_same(place):
    done = subprocess.run(
        [sys.executable, "-m", "striate", "train", "digitz"], cwd=place, env=os.environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Did you mean `digits`?" in done.stderr


def test_a_diverging_run_leaves_with_seven(cli, tmp_path, quick):
    answer = cli("train", "digits", *quick, "--lr", 1e30, "--output", tmp_path, "--quiet")
    assert answer.code == 7
    assert re.search(r"striate: train: (the loss became|the validation loss became|a weight became)", answer.err)
    assert "Lower --lr" in answer.err
