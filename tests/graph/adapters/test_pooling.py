import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque
from striate.ops.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.average_pooling import AvgPool
from striate.ops.lp_pooling import LpPool
from striate.ops.max_pooling import MaxPool

ONE, TWO, NONE = (1, 1), (2, 2), ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (nn.MaxPool2d(2), MaxPool(TWO, TWO, NONE, ONE)),
        (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), MaxPool((3, 3), TWO, ((1, 1), (1, 1)), ONE, True)),
        (nn.MaxPool2d((2, 1), dilation=2, stride=1), MaxPool((2, 1), ONE, NONE, TWO)),
        (lambda x: F.max_pool2d(x, 2), MaxPool(TWO, TWO, NONE, ONE)),
        (lambda x: torch.max_pool2d(x, [2, 2]), MaxPool(TWO, TWO, NONE, ONE)),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], MaxPool(TWO, TWO, NONE, ONE)),
        (nn.AvgPool2d(2, padding=1), AvgPool(TWO, TWO, ((1, 1), (1, 1)), ONE)),
        (nn.AvgPool2d(3, 2, count_include_pad=False, padding=1, ceil_mode=True),
         AvgPool((3, 3), TWO, ((1, 1), (1, 1)), ONE, True, False)),
        (lambda x: F.avg_pool2d(x, (2, 3), divisor_override=5), AvgPool((2, 3), (2, 3), NONE, ONE, False, True, 5)),
        (lambda x: F.lp_pool2d(x.abs() + 1, 2, 2), LpPool(TWO, TWO, NONE, ONE, norm_type=2.0)),
        (nn.AdaptiveAvgPool2d(1), AdaptiveAvgPool(ONE)),
        (nn.AdaptiveAvgPool2d((3, None)), AdaptiveAvgPool((3, 7))),
        (lambda x: F.adaptive_max_pool2d(x, 2), AdaptiveMaxPool(TWO)),
        (lambda x: F.max_pool1d(x[:, 0], 2), MaxPool((2,), (2,), ((0, 0),), (1,))),
        (lambda x: F.avg_pool3d(x, 2), None),
    ],
)  # fmt: skip
def test_poolings_become_operations(captured, assert_replays, images, function, op):
    graph = captured(function, images)
    assert graph.outputs[0].op == op if op is not None else isinstance(graph.outputs[0].op, Opaque)
    if not graph.opaque:
        assert_replays(graph)


def test_switches_are_an_opaque_second_output(captured, images):
    values, switches = captured(nn.MaxPool2d(2, return_indices=True), images).outputs
    assert (values.name, switches.name) == ("layer[0]", "layer[1]")
    assert isinstance(values.op, MaxPool)
    assert isinstance(switches.op, Opaque)
