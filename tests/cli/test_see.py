import json
import subprocess
import sys

import pytest


def _striate(*words, folder):
    done = subprocess.run(
        [sys.executable, "-m", "striate", *words], capture_output=True, text=True, cwd=folder, check=False
    )
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("see")
    done = _striate("train", "digits", "--epochs", "1", "--keep-epochs", "--experiment", "d", "--quiet", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_is_shown_on_one_page(folder):
    done = _striate("see", "runs/d", "--method", "gradient", "--evolution", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("index.html")
    assert (folder / "runs/d/see/gradient.png").is_file()


def test_json_names_the_pictures(folder):
    done = _striate("see", "runs/d", "--method", "grad_cam", "--of", "3", "-o", "page", "--json", folder=folder)
    found = json.loads(done.stdout)
    assert found["page"].endswith("index.html")
    assert any(path.endswith("grad_cam.png") for path in found["pictures"])


def test_mistakes_of_the_user_are_explained(folder):
    done = _striate("see", "lenet5", folder=folder)
    assert done.returncode == 2
    assert "Give a run folder, and an image." in done.stderr
    done = _striate("see", "runs/d", "--of", "conv", folder=folder)
    assert done.returncode == 2
    assert "one of the network's classes" in done.stderr
