"""The benchmark programs: each starts, explains itself and refuses politely; what they compute from measurements."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)

PROGRAMS = ("course_table", "digits", "memory", "training_speed", "peers.stock_pytorch", "_striate_side")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def start(name, *arguments, data=None):
    environment = {key: value for key, value in os.environ.items() if key != "STRIATE_DATA"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    if data is not None:
        environment["STRIATE_DATA"] = str(data)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
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
    for name in ("course_table", "digits", "memory", "training_speed"):
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


def test_rounds_take_turns_with_a_process(monkeypatch):
    rounds = module("_rounds")
    code = (
        "from benchmarks._rounds import answer_rounds\n"
        "answer_rounds({'threads': 7}, lambda steps: 2.0 * steps)\n"
    )  # fmt: skip
    monkeypatch.setattr(rounds.subprocess, "Popen", _running(code, rounds.subprocess.Popen))
    with rounds.Side(["ignored"]) as side:
        assert side.about == {"threads": 7}
        assert [side.round(steps=3), side.round(steps=4)] == [6.0, 8.0]


def test_a_side_that_dies_is_an_error(monkeypatch):
    rounds = module("_rounds")
    monkeypatch.setattr(rounds.subprocess, "Popen", _running("raise SystemExit(5)", rounds.subprocess.Popen))
    with pytest.raises(RuntimeError, match="ended with exit code 5"):
        rounds.Side(["ignored"])


def _running(code, popen):
    return lambda command, **options: popen([sys.executable, "-c", code], **options)


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


def test_folds_hold_each_row_once_and_each_class_alike():
    labels = np.repeat([0, 1, 2], 50)[np.random.default_rng(1).permutation(150)]
    folds = module("_course_rows").stratified_folds(labels, folds=10, seed=3)
    assert sorted(np.concatenate(folds).tolist()) == list(range(150))
    assert all(np.bincount(labels[fold]).tolist() == [5, 5, 5] for fold in folds)
    other = module("_course_rows").stratified_folds(labels, folds=10, seed=4)
    assert any(not np.array_equal(one, two) for one, two in zip(folds, other, strict=True))


def test_course_rows_are_those_of_the_registry():
    models = pytest.importorskip("striate.models")
    rows = module("_course_rows").ROWS
    assert len({row.key for row in rows}) == len(rows) == 6
    # The parameter counts that the titles state.
    counts = {
        "mlp-mnist": 109_386,
        "lenet5-mnist": 44_426,
        "mlp-cifar": 6_246_410,
        "cnn-cifar": 545_098,
        "mlp-iris": 115,
    }
    for row in rows:
        assert row.model in models.list()
        if row.key in counts:
            assert models.info(row.model).num_params == counts[row.key]
            assert f"{counts[row.key]:,}" in row.title


def record(row, *, seed, accuracy, recipe, images=10_000, wall_seconds=10.0):
    return {
        "row": row.key, "model": row.model, "seed": seed, "accuracy": accuracy, "recipe": recipe, "images": images,
        "wall_seconds": wall_seconds, "environment": {"processor": "P", "cores": 2, "versions": {"torch": "2"}},
    }  # fmt: skip


def test_finished_seeds_are_not_run_again_and_changed_recipes_are(tmp_path, monkeypatch, capsys):
    course_table, ran = module("course_table"), []
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path))

    def run_seed(row, *, seed, output, epochs):
        from striate.train import RECIPES

        ran.append(seed)
        recipe = RECIPES[row.recipe].with_overrides({"val_fraction": 0.0, "epochs": epochs})
        return record(row, seed=seed, accuracy=0.98 + seed / 1000, recipe=json.loads(json.dumps(recipe.to_dict())))

    monkeypatch.setattr(course_table, "run_seed", run_seed)
    options = ["--rows", "mlp-mnist", "--results", str(tmp_path), "--epochs"]
    course_table.main([*options, "3", "--seeds", "0", "2"])
    course_table.main([*options, "3", "--seeds", "0", "1", "2"])
    assert ran == [0, 2, 1]
    written = json.loads((tmp_path / "course_table_trial.json").read_text())
    assert written["summary"][0]["seeds"] == [0, 1, 2]
    assert written["summary"][0]["mean"] == pytest.approx(0.981)
    assert "98.10 % ± 0.10" in capsys.readouterr().out
    course_table.main([*options, "4", "--seeds", "0"])
    assert ran == [0, 2, 1, 0]
    again = json.loads((tmp_path / "course_table_trial.json").read_text())
    assert again["summary"][0]["seeds"] == [0]


def test_interval_of_cross_validation_is_wilsons_over_the_images():
    course_table, row = module("course_table"), module("_course_rows").ROWS[-1]
    records = [record(row, seed=seed, accuracy=144 / 150, recipe={"tta": None}, images=150) for seed in (0, 1)]
    summary = course_table.summarize(row, records)
    # Wilson 1927 for 144 of 150, by hand: centre (0.96 + z^2/300) / (1 + z^2/150), z = 1.95996.
    z2 = 1.959964**2 / 150
    middle, half = (0.96 + z2 / 2) / (1 + z2), (0.96 * 0.04 * z2 + z2 * z2 / 4) ** 0.5 / (1 + z2)
    assert summary["interval"] == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert summary["is_met"] is None


def test_trials_are_not_published(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        module("course_table").main(["--publish", "--epochs", "1"])
    assert left.value.code == 2
    assert "leave out --epochs" in capsys.readouterr().err


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
