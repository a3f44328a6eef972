"""Fields against a changed pixel in PyTorch, costs against the published sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.work import receptive_fields
from striate.work._scene import read_scene
from striate.work.receptive_fields import STACKS, measured_field

SCENE = read_scene(None, seed=0)
MEASURES = [
    receptive_fields.receptive_field_formula,
    receptive_fields.stacked_kernels,
    receptive_fields.bottleneck,
    receptive_fields.dilated_layers,
    receptive_fields.map_sizes,
]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ("1x1", 1),
        ("3 * 3x3", 7),  # 001-vgg-rf
        ("3x3, pool 2x2, 3x3", 8),  # 004-receptive-field-formula: kernels 3, 2, 3, the second of stride 2
        ("3x3 d2", 5),  # 004-dilation-2
        ("3x3, 3x3 d2, 3x3 d4, 3x3 d8", 31),  # 004-dilation-exponential
        ("5x5, pool 2x2, 5x5, pool 2x2", 16),
    ],
)
def test_known_fields(layers, field):
    assert measured_field(layers) == field


def test_a_changed_pixel_in_pytorch():
    """Whatever pixel of a row changes the middle output belongs to the field: VGG-16 up to its third pool."""
    torch.manual_seed(0)
    counts, channels, layers = (2, 2, 3), 1, []
    for count in counts:
        for _ in range(count):
            layers.append(torch.nn.Conv2d(channels, 1, 3, bias=False))
            torch.nn.init.uniform_(layers[-1].weight, 0.5, 1.0)
            channels = 1
        layers.append(torch.nn.AvgPool2d(2))
    network = torch.nn.Sequential(*layers).double()
    x = torch.zeros(96, 1, 96, 96, dtype=torch.float64)
    x[torch.arange(96), 0, :, torch.arange(96)] = 1.0  # in each picture another column is bright
    with torch.no_grad():
        maps = network(x)
    seen = np.flatnonzero(maps[:, 0, maps.shape[2] // 2, maps.shape[3] // 2].numpy())
    assert seen[-1] - seen[0] + 1 == measured_field(STACKS[-1][0]) == 44


def test_costs():
    stack = _values(receptive_fields.stacked_kernels(SCENE))
    assert stack["weights"] == (3 * 9 * 64**2, 49 * 64**2)
    assert stack["multiply-adds, sizes kept by padding"] == (27 * 64**2 * 56**2, 49 * 64**2 * 56**2)
    narrow = _values(receptive_fields.bottleneck(SCENE))
    # 001-1x1-cost: 4,800 falls to 400 an output; the 1 x 1 layer adds 3,072 a pixel, which the text leaves out.
    assert narrow["multiply-adds of one output of 5 x 5"] == (4_800, 400)
    assert narrow["multiply-adds, 1 x 1 before it"] == (0, 3_072 * 28 * 28)
    assert narrow["multiply-adds, together"] == (120_422_400, 12_443_648)


def test_growth_by_dilation():
    values = _values(receptive_fields.dilated_layers(SCENE))
    assert values["stack, dilation 1 in every layer"] == (3, 5, 7, 9)
    assert values["stack, dilation 1, 2, 4, 8"] == (3, 7, 15, 31)
    assert values["one layer alone, of dilation 1, 2, 4, 8"] == (3, 5, 9, 17)


def test_sizes_by_pytorch():
    values = _values(receptive_fields.map_sizes(SCENE))
    assert values["pixels a side, valid"] == (62, 60, 58, 56, 54)
    x = torch.zeros(1, 1, 64, 64)
    assert torch.nn.Conv2d(1, 8, 3, padding="same")(x).shape == (1, 8, 64, 64)


def test_layers_with_a_relu_do_not_pass_for_linear_ones(monkeypatch):
    original = receptive_fields._through
    monkeypatch.setattr(
        receptive_fields, "_through", lambda x, kernels, rectify=False: original(x, kernels, rectify=True)
    )
    rows = {row.what: row.is_as_claimed for row in receptive_fields.stacked_kernels(SCENE).rows}
    assert not rows["no activations: against the 7 x 7 kernel they make"]
