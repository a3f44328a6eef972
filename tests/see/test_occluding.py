import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.see.occluding import occlusion


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()


def test_the_three_maps_equal_a_loop():
    net, x = _network(), torch.randn(2, 1, 9, 10)
    found = occlusion(net, x, of=1, size=3, stride=2, fill=0.5)
    assert found.rows.tolist() == [0, 2, 4, 6]
    assert found.columns.tolist() == [0, 2, 4, 6, 7]  # the last one flush with the edge
    for image in range(2):
        channel = int(net[:2](x[image : image + 1]).sum(dim=(2, 3)).argmax())
        assert found.channels[image] == channel
        for i, row in enumerate(found.rows):
            for j, column in enumerate(found.columns):
                hidden = x[image : image + 1].clone()
                hidden[:, :, row : row + 3, column : column + 3] = 0.5
                with torch.no_grad():
                    logits = net(hidden)
                    activity = net[:2](hidden)[0, channel].sum()
                assert found.scores[image, i, j] == pytest.approx(float(logits.softmax(1)[0, 1]), rel=1e-5)
                assert found.predicted[image, i, j] == int(logits.argmax())
                assert found.activity[image, i, j] == pytest.approx(float(activity), rel=1e-5)
    assert found.layer == "1"


def test_heat_is_where_the_score_falls():
    # The network sees one pixel only: hiding it is all that matters.
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    nn.init.zeros_(net[1].weight)
    with torch.no_grad():
        net[1].weight[1, 3 * 8 + 5] = 4.0
    found = occlusion(net, torch.ones(1, 1, 8, 8), of=1, size=2, stride=1)
    heat = found.heat()[0]
    assert np.unravel_index(heat.argmax(), heat.shape) == (3, 5)
    assert heat[0, 0] == 0
    assert found.layer is None


def test_a_unit_inside_the_network_is_followed_by_its_activation():
    net, x = _network(), torch.randn(1, 1, 8, 8)
    found = occlusion(net, x, of="1[2,3,3]")
    assert found.unhidden[0] == pytest.approx(net[:2](x)[0, 2, 3, 3].item(), rel=1e-5)


def test_bad_arguments():
    net, x = _network(), torch.randn(1, 1, 8, 8)
    for options in ({"size": 9}, {"size": 0}, {"stride": 0}):
        with pytest.raises(UsageError, match="`size` must be from 1 to 8 and `stride` at least 1"):
            occlusion(net, x, **options)
    with pytest.raises(UsageError, match=r"must be images \(N, C, H, W\)"):
        occlusion(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="must have positions"):
        occlusion(net, x, layer="4")


def test_the_figure_has_four_pictures():
    assert len(occlusion(_network(), torch.randn(1, 1, 8, 8)).figure().axes) == 4
