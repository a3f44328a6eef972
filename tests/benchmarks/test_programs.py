"""The benchmark programs: each starts, explains itself and refuses politely; what they compute from measurements."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (
    "course_table",
    "diagnosis",
    "digits",
    "memory",
    "training_speed",
    "transfer",
    "peers.stock_pytorch",
    "_striate_side",
)
WITHOUT_DATA = (
    "engine", "_engine_side", "peers.keras_jax", "peers.onnxruntime_inference", "peers.pytorch_step",
    "peers.tuned_pytorch",
)  # fmt: skip


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def start(name, *arguments, data=None):
    environment = {key: value for key, value in os.environ.items() if key != "STRIATE_DATA"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    if data is not None:
        environment["STRIATE_DATA"] = str(data)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [*PROGRAMS, *WITHOUT_DATA])
def test_help_needs_no_data(name, capsys, monkeypatch):
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    with pytest.raises(SystemExit) as left:
        module(name).main(["--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in printed
    assert "--results" in printed


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("folder", [None, "", "missing"])
def test_refuses_without_data_in_one_line(name, folder, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("STRIATE_DATA", folder and str(tmp_path / folder))
    with pytest.raises(SystemExit) as left:
        module(name).main([])
    assert left.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    got = str(tmp_path / folder) if folder else "nothing"
    assert f"benchmarks.{name}: `STRIATE_DATA` must name the folder with the data sets, got {got}." in message
    assert not any(tmp_path.iterdir())


def test_runs_as_a_module():
    done = start("digits")
    assert done.returncode == 2
    assert done.stderr.startswith("benchmarks.digits: `STRIATE_DATA` must name")
    assert "Traceback" not in done.stderr
    assert start("digits", "--help").returncode == 0


def test_mean_and_deviation():
    # Deviation of 2, 4, 4, 4, 5, 5, 7, 9 with n - 1: sqrt(32 / 7).
    mean, deviation = module("_support").mean_and_deviation([2, 4, 4, 4, 5, 5, 7, 9])
    assert mean == 5
    assert deviation == pytest.approx((32 / 7) ** 0.5)
    assert module("_support").mean_and_deviation([3.0]) == (3.0, None)


def test_publish_replaces_one_section_only(tmp_path):
    publish, path = module("_support").publish, tmp_path / "RESULTS.md"
    path.write_text("# R\n<!-- a:begin -->\nold\n<!-- a:end -->\nmiddle\n<!-- b:begin -->\nkept\n<!-- b:end -->\n")
    publish("a", "| new |", path=path)
    publish("a", "| newer |", path=path)
    text = path.read_text()
    assert text == "# R\n<!-- a:begin -->\n| newer |\n<!-- a:end -->\nmiddle\n<!-- b:begin -->\nkept\n<!-- b:end -->\n"
    with pytest.raises(ValueError, match="once each"):
        publish("c", "", path=path)
    assert path.read_text() == text


def test_every_benchmark_has_its_section():
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for name in (
        "course_table", "diagnosis", "diagnosis_peers", "digits", "engine", "engine_accuracy", "engine_scaling",
        "memory", "training_speed", "transfer",
    ):  # fmt: skip
        assert text.index(f"<!-- {name}:begin -->") < text.index(f"<!-- {name}:end -->")


def test_speed_is_the_median_of_neighbouring_ratios():
    # Ratios 4, 3, 5: the median is 4, though the ratio of the medians is 100 / 25.
    summary = module("training_speed").summarize([10, 30, 25], [40, 90, 125], reach=4.0)
    assert (summary["ratio"], summary["ratio_min"], summary["ratio_max"], summary["n"]) == (4.0, 3.0, 5.0, 3)
    assert summary["is_met"]
    assert not module("training_speed").summarize([10], [39], reach=4.0)["is_met"]


def test_a_reach_that_is_missed_is_said():
    result = {
        "model": "lenet5", "batch_size": 64, "reach": 4.0, "peer": {"workers": 2}, "striate": {"configuration": "cpu"},
        **module("training_speed").summarize([10.0], [30.0], reach=4.0),
    }  # fmt: skip
    assert "| 3.00 x |" in module("training_speed").table([result])
    assert "NOT met" in module("training_speed").table([result])


def test_stock_transforms_do_what_torchvisions_do():
    torch, Image = pytest.importorskip("torch"), importlib.import_module("PIL.Image")
    peer = module("peers.stock_pytorch")
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = peer.to_tensor(Image.fromarray(pixels))
    # ToTensor's documented meaning: (H, W, C) from 0 to 255 becomes (C, H, W) from 0 to 1.
    assert torch.equal(image, torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(255)))
    assert peer.to_tensor(Image.fromarray(pixels[..., 0])).shape == (1, 2, 3)
    scaled = peer.Normalize((0.0, 0.5, 1.0), (1.0, 2.0, 4.0))(image)
    assert torch.allclose(scaled[1], (image[1] - 0.5) / 2)
    assert torch.allclose(scaled[2], (image[2] - 1) / 4)


def test_stock_crop_reaches_every_position_and_pads_with_black():
    torch, Image = pytest.importorskip("torch"), importlib.import_module("PIL.Image")
    peer, picture = module("peers.stock_pytorch"), Image.fromarray(np.full((4, 4, 3), 200, dtype=np.uint8))
    torch.manual_seed(0)
    crops = [np.asarray(peer.RandomCrop(4, padding=1)(picture)) for _ in range(200)]
    assert {crop.shape for crop in crops} == {(4, 4, 3)}
    assert len({crop.tobytes() for crop in crops}) == 9  # three rows times three columns
    flipped = {np.asarray(peer.flip_at_random(Image.fromarray(np.eye(2, dtype=np.uint8)))).tobytes() for _ in range(50)}
    assert len(flipped) == 2


def test_digits_needs_both_accuracy_and_time():
    summarize = module("digits").summarize
    runs = [{"accuracy": 0.99, "seconds": 12.0}, {"accuracy": 0.975, "seconds": 19.0}]
    assert summarize(runs)["is_met"]  # mean 98.25 %, slowest 19 s
    assert not summarize([*runs, {"accuracy": 0.99, "seconds": 20.0}])["is_met"]
    assert not summarize([{"accuracy": 0.979, "seconds": 1.0}])["is_met"]


def test_folder_of_small_images_is_the_same_every_time(tmp_path):
    make_folder = module("memory").make_folder
    for name in ("one", "two"):
        make_folder(tmp_path / name, images=40)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 40
    assert {path.suffix for path in files} == {".png", ".jpeg"}
    assert len({path.parent for path in files}) == 10
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_anonymous_memory_sees_an_allocation_in_a_child():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    inner = "block = b'1' * 50_000_000; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code, inner], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert module("memory").anonymous_bytes(process.pid) > 50_000_000
        process.stdin.write("\n")
        process.stdin.close()
    assert module("memory").anonymous_bytes(process.pid) == 0
