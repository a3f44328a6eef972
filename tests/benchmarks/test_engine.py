"""The benchmark of the engine: its rows, tables, goals and charts."""

import importlib
import json
import sys

import pytest


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def engine_row(name):
    return next(row for row in module("_engine_rows").ROWS if row.name == name)


def pairs(peer, own, others=0.0):
    return [{"peer": p, "striate": s, "others": others} for p, s in zip(peer, own, strict=True)]


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
