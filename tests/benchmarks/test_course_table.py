"""The table of the course: its rows, folds, seeds that are finished, intervals."""

import importlib
import json

import pytest

np = pytest.importorskip("numpy")


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


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
