import copy
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import striate
from striate.errors import UsageError
from striate.see.gallery import see


def _cell(run):
    confusion = np.array(run.evaluation.confusion)
    np.fill_diagonal(confusion, 0)
    true, predicted = np.unravel_index(confusion.argmax(), confusion.shape)
    return run.class_names[true], run.class_names[predicted]


def test_the_page_of_a_run(run, tmp_path):
    true, predicted = _cell(run)
    found = striate.see(run, output=tmp_path / "page", patches=True, mistake=(true, predicted), grow=True)
    text = found.page.read_text(encoding="utf-8")
    assert found.refused == {}
    for title in ("The image and the answer", "What in the image made it answer", "Occlusion", "Filters of the first",
                  "Feature maps of", "Strongest places for", f"{true} taken for {predicted}", "How "):  # fmt: skip
        assert title in text
    assert not re.search(r'(src|href)="(?!data:)', text)  # it loads nothing
    names = {path.stem for path in found.pictures}
    assert {"image", "gradient", "deconvnet", "guided_backprop", "grad_cam", "occlusion-score", "filters"} <= names
    for path in found.pictures:
        with Image.open(path) as picture:
            assert max(picture.size) >= 224
    assert "rank correlation" in text


def test_a_file_and_a_class_by_its_name(run, tmp_path):
    Image.fromarray(np.full((40, 40), 200, dtype=np.uint8)).save(tmp_path / "grey.png")
    name = run.class_names[3]
    found = see(run, tmp_path / "grey.png", of=name, methods=("gradient",), output=tmp_path / "page")
    assert "[3]" in found.page.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="must be one of the network's classes"):
        see(run, tmp_path / "grey.png", of="nobody", output=tmp_path / "other")


def test_a_module_of_the_users_own_that_some_methods_refuse(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).train()
    before = copy.deepcopy(net.state_dict())
    found = see(net, torch.randn(1, 3, 16, 16), output=tmp_path, methods=("gradient", "deconvnet", "smoothgrad"))
    assert list(found.refused) == ["deconvnet"]
    assert "gelu" in found.refused["deconvnet"]
    assert net.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))


def test_networks_without_classes_or_convolutions(tmp_path):
    see(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.randn(1, 3, 8, 8), of="0[1]", output=tmp_path / "maps",
        methods=("gradient", "guided_backprop"))  # fmt: skip
    dense = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    found = see(dense, torch.randn(1, 3, 8, 8), output=tmp_path / "dense")
    assert list(found.refused) == ["grad_cam"]


def test_what_only_a_run_has(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(UsageError, match="must be asked of a run"):
        see(net, output=tmp_path)
    with pytest.raises(UsageError, match="`grow` must be asked of a run"):
        see(net, torch.randn(1, 3, 8, 8), output=tmp_path, grow=True)
    with pytest.raises(UsageError, match=r"must be of .* got 'gradcam'.* Did you mean"):
        see(net, torch.randn(1, 3, 8, 8), output=tmp_path, methods=("gradcam",))
    with pytest.raises(UsageError, match="must be one image"):
        see(net, torch.randn(2, 3, 8, 8), output=tmp_path)


def test_classes_that_the_run_does_not_have(run, tmp_path):
    with pytest.raises(UsageError, match="`mistake` must name two of the run's classes, got 'eleven'"):
        see(run, output=tmp_path, mistake=("eleven", run.class_names[0]), methods=("gradient",))
