import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque
from striate.ops.convolution import Convolution
from striate.ops.transposed_convolution import TransposedConvolution

ONE, NONE = (1, 1), ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.Conv2d(4, 6, 3), Convolution(2, ONE, NONE, ONE, 1)),
        (nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0), bias=False),
         Convolution(2, (2, 1), ((1, 1), (0, 0)), ONE, 1)),
        (nn.Conv2d(4, 8, 3, groups=4, dilation=2, padding=2), Convolution(2, ONE, ((2, 2), (2, 2)), (2, 2), 4)),
        (nn.Conv2d(4, 2, 3, padding="same"), Convolution(2, ONE, ((1, 1), (1, 1)), ONE, 1)),
        (nn.Conv2d(4, 2, 4, padding="same"), Convolution(2, ONE, ((1, 2), (1, 2)), ONE, 1)),
        (nn.Conv2d(4, 2, 2, padding="valid"), Convolution(2, ONE, NONE, ONE, 1)),
        (nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
         TransposedConvolution(2, (2, 2), ((1, 1), (1, 1)), ONE, 1, ONE)),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_layers_become_operations(one_node, images, layer, op):
    node = one_node(layer, images)
    assert (node.name, node.op) == ("layer", op)
    assert list(node.parameters) == ["weight", "bias"] if layer.bias is not None else ["weight"]
    assert node.parameters["weight"].tensor is layer.weight
    assert node.parameters["weight"].name == "layer.weight"


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions(one_node, dims):
    x = torch.randn(2, 3, *(5,) * dims, dtype=torch.float64)
    for kind in (nn.Conv1d, nn.ConvTranspose1d) if dims == 1 else (nn.Conv3d, nn.ConvTranspose3d):
        assert one_node(kind(3, 2, 2, padding=1), x).op.dims == dims


def test_functional_forms(one_node, images):
    weight = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    assert one_node(lambda x: F.conv2d(x, weight, None, 2, 1), images).op.stride == (2, 2)
    node = one_node(lambda x: torch.conv2d(x, weight=weight, padding=[1, 0]), images)
    assert node.op.pads == ((1, 1), (0, 0))
    assert node.parameters["weight"].kind == "constant"


def test_a_single_image_without_batch_axis_stays_opaque(captured, images):
    assert isinstance(captured(nn.Conv2d(4, 2, 3), images[0]).outputs[0].op, Opaque)
