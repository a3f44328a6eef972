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
WITHOUT_DATA = (
    "engine", "_engine_side", "peers.keras_jax", "peers.onnxruntime_inference", "peers.pytorch_step",
    "peers.tuned_pytorch",
)  # fmt: skip


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
        "course_table", "digits", "engine", "engine_accuracy", "engine_scaling", "memory", "training_speed",
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


def engine_row(name):
    return next(row for row in module("_engine_rows").ROWS if row.name == name)


def test_engine_rows_are_those_of_the_issue():
    rows, peers = module("_engine_rows").ROWS, module("_engine_peers").PEERS
    assert len({row.name for row in rows}) == len(rows) == 14
    networks = module("_networks").NETWORKS
    assert all(row.model in networks and set(dict(row.reaches)) <= set(peers) for row in rows)
    # The figures of the issue: against stock PyTorch, tuned float32, tuned bf16.
    asked = {
        "lenet5-64": (5, 4, None), "lenet5-128": (5, 4, None), "lenet5-512": (5, 4, None),
        "cnn-64": (4, 2, 2), "cnn-128": (4, 2, 2), "cnn-512": (6, 2, 2), "mlp-128": (3, 2, None),
        "resnet20-128": (3, 1.3, None), "mobilenet-v2-128": (2, 1.3, None), "resnet18-128": (None, 1, 1),
    }  # fmt: skip
    for name, reaches in asked.items():
        row = engine_row(name)
        assert tuple(dict(row.reaches).get(peer) for peer in ("stock", "tuned", "tuned-bf16")) == reaches
        assert row.trains
        assert f"-{row.batch_size}" in row.name
    assert engine_row("resnet18-128").kind == "auto"
    inference = {(row.model, row.batch_size): dict(row.reaches)["onnxruntime"] for row in rows if not row.trains}
    assert inference == {(model, batch): 2 for model in ("lenet5", "cnn_cifar") for batch in (1, 512)}
    goals = {(goal.accuracy, goal.seconds) for goal in module("_engine_rows").GOALS}
    assert goals == {(0.99, 5), (0.9945, 60)}


def test_scalings_vary_what_the_issue_names():
    points = {scaling.name: scaling.points for scaling in module("_engine_rows").SCALINGS}
    assert [point.batch_size for point in points["batch"]] == [16, 32, 64, 128, 256, 512, 1024]
    assert [point.width for point in points["width"]] == [0.5, 1, 2]
    assert [point.image_size for point in points["image-size"]] == [16, 32, 64]


def test_peers_have_the_networks_of_the_registry():
    models, networks = pytest.importorskip("striate.models"), module("_networks")
    for name, network in networks.NETWORKS.items():
        info = models.info(name)
        assert network.num_params == info.num_params
        if network.layers:
            assert networks.count_params(network) == info.num_params
    assert {name for name, network in networks.NETWORKS.items() if network.layers} >= {
        row.model for row in module("_engine_rows").ROWS if {"keras", "onnxruntime"} & set(dict(row.reaches))
    }


def test_wider_networks_and_other_image_sizes():
    pytest.importorskip("torch")
    create = module("_networks").create
    counts = {
        (width, size): sum(
            parameter.numel() for parameter in create("cnn_cifar", width=width, image_size=size).parameters()
        )
        for width, size in ((1.0, 32), (2.0, 32), (1.0, 16))
    }
    # 3x3x3-64, 3x3x64-128, 8192-256-10 with biases; and at 16 pixels 1024-128-10 in place of 4096-128-10.
    assert counts[2.0, 32] == 28 * 64 + (9 * 64 + 1) * 128 + 8193 * 256 + 257 * 10
    assert counts[1.0, 32] - counts[1.0, 16] == 3072 * 128
    with pytest.raises(ValueError, match="must be 1 for lenet5, got 2"):
        create("lenet5", width=2)


def test_every_side_gets_the_same_batches():
    random_batches = module("_networks").random_batches
    one, two = (random_batches("lenet5", batch_size=4, count=2) for _ in range(2))
    assert all(np.array_equal(a, b) for pair in zip(one, two, strict=True) for a, b in zip(*pair, strict=True))
    assert not np.array_equal(one[0][0], one[1][0])
    assert one[0][0].shape == (4, 1, 28, 28)
    assert one[0][0].dtype == np.float32
    assert random_batches("cnn_cifar", batch_size=2, count=1, image_size=16)[0][0].shape == (2, 3, 16, 16)


def test_macs_of_a_training_step_leave_out_the_gradient_of_the_input():
    torch, striate = pytest.importorskip("torch"), pytest.importorskip("striate")
    macs, network = module("_macs"), module("_networks").create("lenet5").eval()
    graph = striate.capture(network, torch.zeros(2, 1, 28, 28))
    # By hand, an image: 6 maps of 24 x 24 of 5 x 5, 16 of 8 x 8 of 6 x 5 x 5, dense 256-120-84-10.
    first, rest = 6 * 24**2 * 25, 16 * 8**2 * 150 + 256 * 120 + 120 * 84 + 84 * 10
    assert macs.forward_macs(graph) == 2 * (first + rest)
    assert macs.training_macs(graph) == 2 * (2 * first + 3 * rest)


def test_rounds_take_about_as_long_as_asked_and_finish_their_steps(monkeypatch):
    steps, clock, taken = module("_steps"), [0.0], []

    def step():
        clock[0] += 0.25
        taken.append(clock[0])

    def finish():
        clock[0] += 1.0  # steps that run behind: their time counts

    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    rounds = steps.Rounds(step, batch_size=10)
    assert rounds.run_round(seconds=1.0) == 40.0
    assert len(taken) == steps.WARMUP_STEPS + 4
    assert rounds.run_round(seconds=0) == 40.0  # one step at least
    assert len(taken) == steps.WARMUP_STEPS + 5
    late = steps.Rounds(step, batch_size=10, finish=finish)
    assert late.run_round(seconds=1.25) == 10 / 1.25


def test_trials_take_turns_and_the_fastest_wins(monkeypatch):
    steps, clock, order = module("_steps"), [0.0], []

    def way(name, seconds):
        def step():
            clock[0] += seconds
            order.append(name)

        return step

    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    speeds = steps.trial_speeds({"slow": way("slow", 2.0), "fast": way("fast", 1.0)}, batch_size=4, seconds=0.0)
    assert speeds == {"slow": 2.0, "fast": 4.0}
    assert order[-6:] == ["slow", "fast"] * 3
    assert steps.fastest(speeds) == "fast"


def fake_watch(others):
    values = iter(others)
    return lambda: type("Quiet", (), {"others": lambda self: next(values)})()


def test_pairs_in_which_others_were_busy_are_taken_again():
    measure, speeds = module("_engine_measure"), iter(range(1, 100))

    def turns(others, allowance):
        return measure.take_turns(
            lambda: float(next(speeds)), lambda: 8.0, rounds=2, watch=fake_watch(others), allowance=allowance
        )

    assert [pair["peer"] for pair in turns([0.0, 1.5, 0.05], 1)] == [1.0, 3.0]
    assert [pair["others"] for pair in turns([0.0, 1.5], 0)] == [0.0, 1.5]  # nothing left to repeat: it counts
    assert [pair["others"] for pair in turns([None, None], 2)] == [None, None]


def pairs(peer, own, others=0.0):
    return [{"peer": p, "striate": s, "others": others} for p, s in zip(peer, own, strict=True)]


def test_engine_figures_are_medians_of_neighbouring_ratios():
    compare = module("_engine_measure").compare
    figures = compare(pairs([10, 30, 25], [40, 90, 125]), reach=4)
    assert (figures["ratio"], figures["ratio_min"], figures["ratio_max"], figures["n"]) == (4, 3, 5, 3)
    assert figures["is_met"]
    assert not compare(pairs([10], [39]), reach=4)["is_met"]
    assert compare(pairs([100], [97]), reach=1, tolerance=0.03)["is_met"]
    assert not compare(pairs([100], [96]), reach=1, tolerance=0.03)["is_met"]
    assert compare(pairs([100], [96]), reach=None)["is_met"] is None


def engine_result(*, ratio, others=0.0, row="cnn-64", threads=2):
    compare, known = module("_engine_measure").compare, engine_row(row)
    figures = {
        "stock": compare(pairs([100.0], [100.0 * ratio], others), reach=4),
        "tuned": compare(pairs([200.0], [100.0 * ratio], others), reach=2),
        "keras": compare(pairs([50.0], [100.0 * ratio], others), reach=None),
    }
    settings = {"stock": {}, "tuned": {"configuration": "float32, NHWC"}, "keras": {"configuration": "jax.jit"}}
    comparisons = {
        name: {**entry, "pairs": pairs([entry["peer_median"]], [100.0 * ratio], others), "about": settings[name]}
        for name, entry in figures.items()
    }
    about = {"isa": "avx2", "peak_gflops": 100.0, "macs_per_image": 25_000_000}
    return {
        "row": row, "model": known.model, "batch_size": known.batch_size, "kind": known.kind, "threads": threads,
        "comparisons": comparisons, "striate": {"float32": {"about": about, "accelerate": [300.0, 310.0, 320.0]}},
        "left_out": ["X is left out."],
    }  # fmt: skip


def test_engine_tables_print_losses_beside_wins():
    tables, result = module("_engine_tables"), engine_result(ratio=5.0, others=1.25)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.ratio_table([result]).splitlines()]
    common = ["cnn_cifar", "64", "2", "training step"]
    assert lines[2] == [*common, "stock PyTorch", "5.00 x", "5.00 to 5.00, n = 1", "4 x", "met"]
    assert lines[3] == [*common, "tuned PyTorch", "2.50 x", "2.50 to 2.50, n = 1", "2 x", "met"]
    assert lines[4] == [*common, "Keras 3 on JAX", "10.00 x", "10.00 to 10.00, n = 1", "", ""]
    assert tables.ratio_table([engine_result(ratio=3.0)]).count("NOT met") == 2
    speeds = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.speed_table([result]).splitlines()]
    # 500 images/s of 25 million multiply-adds, two operations each, are 25 of 100 GFLOP/s.
    assert speeds[2] == [
        "cnn_cifar", "64", "2", "100", "200 (float32, NHWC)", "50 (jax.jit)", "310", "500 (avx2)", "25 %",
    ]  # fmt: skip
    notes = tables.notes([result])
    assert "X is left out." in notes
    assert "in 3 of 3 pairs of rounds other programs used up to 1.2 processors" in notes
    assert "2 threads: 100 GFLOP/s" in notes
    assert "Not quiet" not in tables.notes([engine_result(ratio=5.0)])
    result["comparisons"]["tuned"]["about"]["others_while_choosing"] = 0.7
    assert "while tuned PyTorch chose its setting: up to 0.7 processors" in tables.notes([result])


def test_rows_of_the_same_machine_are_kept_and_others_dropped(tmp_path):
    merge, path = module("engine").merge, tmp_path / "engine.json"
    new = engine_result(ratio=5.0, row="cnn-64")
    assert merge(path, [new], environment={"cores": 2}) == [new]
    old = [engine_result(ratio=1.0, row=row, threads=threads) for row in ("cnn-64", "lenet5-64") for threads in (1, 2)]
    path.write_text(json.dumps({"environment": {"cores": 2}, "results": old}))
    merged = merge(path, [new], environment={"cores": 2})
    assert [(result["row"], result["threads"]) for result in merged] == [
        ("lenet5-64", 2), ("lenet5-64", 1), ("cnn-64", 2), ("cnn-64", 1),
    ]  # fmt: skip
    assert merged[2]["comparisons"]["stock"]["ratio"] == 5.0
    assert merge(path, [new], environment={"cores": 4}) == [new]


def test_engine_program_measures_the_rows_asked_for(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    engine, asked = module("engine"), []

    def measure(row, *, threads, rounds, seconds, python):
        asked.append((row.name, threads, rounds, python))
        return engine_result(ratio=5.0, row=row.name, threads=threads)

    monkeypatch.setattr(engine, "measure", measure)
    common = ["--results", str(tmp_path), "--python", sys.executable]
    engine.main([*common, "--rows", "cnn-64", "--threads", "1", "2", "--rounds", "3"])
    engine.main([*common, "--rows", "mlp-128", "--threads", "1"])
    assert asked == [
        ("cnn-64", 1, 3, sys.executable), ("cnn-64", 2, 3, sys.executable), ("mlp-128", 1, 5, sys.executable),
    ]  # fmt: skip
    written = json.loads((tmp_path / "engine.json").read_text())
    assert [(result["row"], result["threads"]) for result in written["results"]] == [
        ("cnn-64", 2), ("cnn-64", 1), ("mlp-128", 1),
    ]  # fmt: skip
    assert "Seed 0" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        engine.main(["--python", str(tmp_path / "none")])
    assert left.value.code == 2
    assert "`--python` must name an interpreter, got" in capsys.readouterr().err


def test_missing_peers_are_left_out_with_the_way_to_get_them(monkeypatch):
    peers = module("_engine_peers")
    monkeypatch.setitem(peers.PEERS, "keras", peers.Peer(title="K", module="m", packages=("no_such_package_here",)))
    reason = peers.why_left_out("keras", python=sys.executable)
    assert reason.startswith("K is left out: it is not installed. Get it: ")
    assert "pip install numpy no_such_package_here" in reason
    assert "\n" not in reason
    monkeypatch.setitem(peers.PEERS, "keras", peers.Peer(title="K", module="m", packages=("json",)))
    assert peers.why_left_out("keras", python=sys.executable) is None
    monkeypatch.setattr(peers, "has_bf16", lambda: False)
    assert "no bfloat16 multiply-adds" in peers.why_left_out("tuned-bf16", python=sys.executable)
    monkeypatch.setenv(peers.PYTHON_VARIABLE, "somewhere/python")
    assert peers.peers_python() == "somewhere/python"


def test_a_side_may_have_an_interpreter_of_its_own(monkeypatch):
    rounds, commands = module("_rounds"), []

    def popen(command, **options):
        commands.append(command)
        return start_process([sys.executable, "-c", "print('{}')"], **options)

    start_process = rounds.subprocess.Popen
    monkeypatch.setattr(rounds.subprocess, "Popen", popen)
    with rounds.Side(["one"], python="other-python") as side:
        assert side.process_id > 0
    with rounds.Side(["two"]):
        pass
    assert commands == [["other-python", "-m", "one"], [sys.executable, "-m", "two"]]


def test_watch_subtracts_the_own_programs(tmp_path, monkeypatch):
    quiet, clock = module("_quiet"), [0.0]
    monkeypatch.setattr(quiet.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(quiet.os, "sysconf", lambda name: 100, raising=False)

    def write(busy, own):
        # user nice system idle iowait irq softirq steal guest guest_nice; idle and iowait do not count.
        (tmp_path / "stat").write_text(f"cpu  {busy} 10 10 {999 + busy} 7 1 1 1 0 0\ncpu0 1\n")
        for process_id in (5, os.getpid()):
            (tmp_path / str(process_id)).mkdir(exist_ok=True)
            before = f"{process_id} (a name) in it) S" + " 0" * 10
            (tmp_path / str(process_id) / "stat").write_text(f"{before} {own} {own} {own} {own} 0\n")

    write(busy=1000, own=10)
    watch = quiet.Watch([5], proc=tmp_path)
    write(busy=1000 + 250, own=10 + 25)  # 250 ticks in all, 8 x 25 of them the own ones
    clock[0] = 2.0
    assert watch.others() == pytest.approx((250 - 200) / 100 / 2.0)
    assert quiet.Watch([6], proc=tmp_path).others() is None
    assert quiet.Watch([], proc=tmp_path / "none").others() is None


def test_tuned_pytorch_tries_everything_and_says_what_failed():
    pytest.importorskip("torch")
    tuned, attempts = module("peers.tuned_pytorch"), []
    settings = tuned.eager_settings(threads=2, bf16=False, images=True)
    assert len(set(settings)) == 16
    assert len(tuned.eager_settings(threads=1, bf16=True, images=False)) == 4
    assert all(setting.bf16 for setting in tuned.eager_settings(threads=2, bf16=True, images=True))

    def attempt(asked):
        attempts.append(list(asked))
        assert len({setting.keeps_freed_memory for setting in asked}) == 1
        if asked[0].compile:
            return "no compiler"
        return [1 + s.channels_last + 2 * s.keeps_freed_memory + s.threads + (s.optimizer == "fused") for s in asked]

    best, tried = tuned.choose(attempt, threads=2, bf16=False, images=True)
    assert best == tuned.Setting(threads=2, channels_last=True, optimizer="fused", keeps_freed_memory=True)
    assert len(tried) == 18
    assert list(tried.values()).count("no compiler") == 2
    compiled = [setting for asked in attempts[2:] for setting in asked]
    assert {setting.channels_last for setting in compiled} == {False, True}
    assert all(s.keeps_freed_memory and s.threads == 2 and s.optimizer == "fused" for s in compiled)
    with pytest.raises(RuntimeError, match="no setting could be measured"):
        tuned.choose(lambda asked: "broken", threads=1, bf16=False, images=False)


def test_a_peer_disturbed_while_choosing_may_choose_again():
    pytest.importorskip("torch")
    attempt_when_quiet, others = module("peers.tuned_pytorch").attempt_when_quiet, []

    def best_of(answers, busy):
        answers = iter(answers)
        return attempt_when_quiet(lambda: next(answers), others=others, watch=fake_watch(busy))

    assert best_of([[1.0, 5.0]], [0.01]) == [1.0, 5.0]
    assert best_of([[1.0, 5.0], [2.0, 4.0]], [0.9, 0.8]) == [2.0, 5.0]
    assert best_of(["failed"], [0.9]) == "failed"
    assert best_of([[1.0], "failed"], [0.9, 0.02]) == [1.0]
    assert best_of([[1.0]], [None]) == [1.0]
    assert others == [0.01, 0.8, 0.9, 0.02]


@pytest.mark.parametrize(("last", "kernels"), [(False, "fused"), (True, "foreach")])
def test_tuned_steps_train_like_stock_ones(last, kernels):
    torch = pytest.importorskip("torch")
    stock, tuned, create = module("peers.pytorch_step"), module("peers.tuned_pytorch"), module("_networks").create
    batches = [(inputs[:4], targets[:4]) for inputs, targets in stock.tensor_batches("lenet5", batch_size=4)[:2]]
    networks = [create("lenet5"), create("lenet5")]
    setting = tuned.Setting(threads=1, channels_last=last, optimizer=kernels)
    steps = (
        stock.training_step(networks[0], stock.sgd(networks[0]), batches),
        tuned.build(setting, network=networks[1], batches=batches),
    )
    before = networks[0].classifier.head.weight.detach().clone()
    for _ in range(3):
        for step in steps:
            step()
    assert not torch.equal(networks[0].classifier.head.weight, before)
    for own, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_keras_layers_are_those_of_the_network():
    layers, networks = module("peers.keras_jax").keras_layers, module("_networks").NETWORKS
    assert layers(networks["cnn_cifar"]) == [
        ("Conv2D", {"filters": 32, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        ("MaxPooling2D", {"pool_size": 2}),
        ("Conv2D", {"filters": 64, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        ("MaxPooling2D", {"pool_size": 2}),
        ("Flatten", {}),
        ("Dense", {"units": 128, "activation": "relu"}),
        ("Dense", {"units": 10, "activation": None}),
    ]
    assert layers(networks["lenet5"])[0][1]["padding"] == "valid"
    assert [kind for kind, _ in layers(networks["mlp_mnist"])] == ["Flatten", "Dense", "Dense", "Dense"]
    with pytest.raises(ValueError, match="must be given as layers"):
        layers(networks["resnet20"])


@pytest.mark.parametrize("name", ["lenet5", "cnn_cifar"])
def test_onnx_graph_computes_pytorchs_logits(name, tmp_path):
    torch = pytest.importorskip("torch")
    F, peer, networks = torch.nn.functional, module("peers.onnxruntime_inference"), module("_networks")
    known = networks.NETWORKS[name]
    inputs = torch.randn(3, known.in_channels, known.image_size, known.image_size)
    peer.write_case(tmp_path / "case.npz", networks.create(name), inputs)
    with np.load(tmp_path / "case.npz", allow_pickle=False) as file:
        values = {key: torch.from_numpy(file[key]) for key in file}
    # The nodes, run one after the other with the meaning that the ONNX standard gives them.
    meaning = {
        "Conv": lambda x, w, b, pads: F.conv2d(x, w, b, padding=pads[0]),
        "Relu": F.relu,
        "MaxPool": lambda x, kernel_shape, strides: F.max_pool2d(x, kernel_shape, strides),
        "Flatten": lambda x: x.flatten(1),
        "Gemm": lambda x, w, b, transB: x @ (w.T if transB else w) + b,
    }
    expected = values.pop("logits")
    for operator, sources, output, attributes in peer.onnx_nodes(known):
        assert output not in values
        values[output] = meaning[operator](*(values[source] for source in sources), **attributes)
    torch.testing.assert_close(values["logits"], expected, rtol=1e-4, atol=1e-5)


def test_onnx_peer_wants_a_case(capsys):
    with pytest.raises(SystemExit) as left:
        module("peers.onnxruntime_inference").main([])
    assert left.value.code == 2
    assert "give --case FILE" in capsys.readouterr().err


def test_time_to_accuracy_needs_data_and_meets_both(monkeypatch, capsys):
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    with pytest.raises(SystemExit) as left:
        module("engine").main(["--time-to-accuracy"])
    assert left.value.code == 2
    assert "benchmarks.engine: `STRIATE_DATA` must name" in capsys.readouterr().err
    accuracy, goal = module("_engine_accuracy"), module("_engine_rows").GOALS[0]

    def summary(*runs):
        known = [{"accuracy": a, "seconds": s, "training_seconds": 1.0, "others": None} for a, s in runs]
        return {"flags": "--epochs 3", "runs": known, **accuracy.summarize(goal, known)}

    assert summary((0.992, 4.0), (0.9895, 4.9))["is_met"]  # mean 99.075 %, slowest 4.9 s
    assert not summary((0.992, 4.0), (0.992, 5.0))["is_met"]
    assert not summary((0.9899, 1.0))["is_met"]
    line = accuracy.table([summary((0.992, 4.0), (0.98, 6.0))]).splitlines()[2]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "--epochs 3", "5.0 (6.0)", "1.0", "98.60 % (98.00 %)", "2", "99 % in 5 s", "NOT met",
    ]  # fmt: skip


def test_goals_are_flags_that_the_command_has():
    testing, cli = pytest.importorskip("typer.testing"), importlib.import_module("striate.cli")
    shown = testing.CliRunner().invoke(cli.app, ["train", "--help"], env={"COLUMNS": "200"}).output
    for goal in module("_engine_rows").GOALS:
        assert all(word in shown for word in goal.flags.split() if word.startswith("--"))


def scaling_record(scaling, at, threads, *, own, peer):
    compare = module("_engine_measure").compare
    return {
        "scaling": scaling, "at": at, "threads": threads, "peak_share": 0.5,
        **compare(pairs([peer], [own]), reach=None),
    }  # fmt: skip


def test_scaling_is_drawn_and_tabled(tmp_path):
    scaling = module("_engine_scaling")
    records = [
        scaling_record(known.name, point.at, threads, own=1000.0 * threads, peer=250.0 * threads)
        for known in module("_engine_rows").SCALINGS
        for point in known.points
        for threads in (2, 1)
    ]
    first = scaling.lines([record for record in records if record["scaling"] == "width"])[0]
    assert first.name == "striate, 1 thread"
    assert first.points == [(0.5, 1000.0), (1.0, 1000.0), (2.0, 1000.0)]  # 1000 images/s are 1000 µs an image
    assert scaling.thread_lines(records)[0].points == [(1, 1000.0), (2, 500.0)]
    paths = scaling.draw(records, folder=tmp_path)
    assert [path.name for path in paths] == [
        f"engine_scaling_{name}.svg" for name in ("batch_lenet5", "batch", "width", "image_size", "threads")
    ]
    assert "| 1,000.0" in scaling.table(records)
    assert "4.00 x (4.00 to 4.00, n = 1)" in scaling.table(records)


def test_charts_are_well_formed_and_logarithmic():
    from xml.etree import ElementTree

    plots = module("_plots")
    assert plots.log_ticks(3, 40) == [2, 5, 10, 20, 50]
    assert plots.log_ticks(10, 10) == [10]
    lines = [
        plots.Line(name="a < b", points=[(16, 10.0), (64, 100.0), (256, 1000.0)]),
        plots.Line(name="one", points=[(16, 50.0)], color=1, is_dashed=True),
    ]
    text = plots.chart(title="cost & more", axis="images", lines=lines)
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    curve = [tuple(map(float, place.split(","))) for place in root.find(f"{space}polyline").get("points").split()]
    # Equal factors are equal distances on both axes.
    assert curve[1][0] - curve[0][0] == pytest.approx(curve[2][0] - curve[1][0], abs=0.2)
    assert curve[1][1] - curve[0][1] == pytest.approx(curve[2][1] - curve[1][1], abs=0.2)
    assert curve[0][1] > curve[2][1]
    words = {element.text for element in root.iter(f"{space}text")}
    assert {"cost & more", "a < b", "images", "16", "256", "1,000"} <= words
    assert len(root.findall(f"{space}circle")) == 4
    assert ElementTree.fromstring(plots.chart(title="t", axis="x", lines=lines[1:])) is not None
