import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque
from striate.graph.receptive_field import receptive_field
from striate.ops.adaptive_pooling import AdaptiveAvgPool
from striate.ops.interpolation import Interpolate

CASES = [
    (nn.Upsample(scale_factor=2), Interpolate(None, (2.0, 2.0))),
    (nn.Upsample(scale_factor=2, mode="bilinear"), Interpolate(None, (2.0, 2.0), True)),
    (nn.Upsample(scale_factor=(2, 1.5), mode="bilinear", align_corners=True),
     Interpolate(None, (2.0, 1.5), True, True)),
    (nn.UpsamplingNearest2d(size=(3, 4)), Interpolate((3, 4), None)),
    (nn.UpsamplingBilinear2d(scale_factor=2), Interpolate(None, (2.0, 2.0), True, True)),
    (lambda x: F.interpolate(x, (9, 5)), Interpolate((9, 5), None)),
    (lambda x: F.interpolate(x, size=10, mode="bilinear", align_corners=False), Interpolate((10, 10), None, True)),
    (lambda x: F.interpolate(x, x.shape[2:], mode="bilinear"), Interpolate((6, 7), None, True)),
    (lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
     Interpolate((7, 9), None, True)),
    (lambda x: F.interpolate(x, scale_factor=0.5, mode="area"), AdaptiveAvgPool((3, 3))),
    (lambda x: F.interpolate(x[:, 0], scale_factor=2, mode="linear"), Interpolate(None, (2.0,), True)),
    (lambda x: F.interpolate(x[:, :, None], scale_factor=2, mode="trilinear"), Interpolate(None, (2.0,) * 3, True)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_interpolation_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


def test_the_receptive_field_behind_it_is_exact(captured):
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, stride=2), nn.Upsample(scale_factor=2, mode="bilinear"))
    graph = captured(network, torch.randn(1, 1, 12, 12, dtype=torch.float64))
    # Row 5 lies at (5 + 1/2) / 2 - 1/2 = 2.25, between rows 2 and 3 of the convolution: rows 3 to 7 of the image.
    field = receptive_field(graph, graph.outputs[0], (5, 0))
    assert (field.start, field.stop) == ((3, 0), (8, 2))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        lambda x: F.grid_sample(x, torch.zeros(2, 1, 1, 2, dtype=x.dtype), align_corners=False),
    ],
)
def test_what_no_operation_describes_stays_opaque(captured, images, function):
    assert isinstance(captured(function, images).outputs[0].op, Opaque)
