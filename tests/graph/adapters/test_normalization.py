import pytest
from torch import nn
from torch.nn import functional as F

from striate.graph import capture
from striate.ops.dropout import Dropout
from striate.ops.group_normalization import GroupNorm, InstanceNorm, LayerNorm
from striate.ops.local_response import LocalResponseNorm
from striate.ops.normalization import BatchNorm


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_both_modes(one_node, images, training):
    layer = nn.BatchNorm2d(4, eps=1e-3, momentum=0.2).train(training)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    node = one_node(layer, images)
    assert node.op == BatchNorm(training=training, eps=1e-3, momentum=0.2)
    assert list(node.parameters) == ["running_mean", "running_var", "weight", "bias"]
    assert node.parameters["running_var"].tensor is layer.running_var
    assert node.parameters["running_var"].kind == "buffer"


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.BatchNorm2d(4, affine=False, track_running_stats=False), BatchNorm(training=True)),
        (nn.InstanceNorm2d(4, affine=True), InstanceNorm(eps=1e-5)),
        (nn.InstanceNorm2d(4, track_running_stats=True).eval(), BatchNorm(training=False)),
        (nn.LayerNorm(7), LayerNorm((7,))),
        (nn.LayerNorm((6, 7), elementwise_affine=False), LayerNorm((6, 7))),
        (nn.GroupNorm(2, 4, eps=1e-4), GroupNorm(2, eps=1e-4)),
        (nn.LocalResponseNorm(3, alpha=0.1, beta=0.6, k=2.0), LocalResponseNorm(3, 0.1, 0.6, 2.0)),
        (lambda x: F.local_response_norm(x, 2), LocalResponseNorm(2, 1e-4, 0.75, 1.0)),
    ],
)
def test_other_normalisations(one_node, images, layer, op):
    assert one_node(layer, images).op == op


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.Dropout(0.3), Dropout(0.3, training=True)),
        (nn.Dropout(0.3, inplace=True), Dropout(0.3, training=True)),
        (nn.Dropout2d(0.4), Dropout(0.4, training=True, whole_channels=True)),
        (lambda x: F.dropout(x, 0.9), Dropout(0.9, training=True)),
        (nn.Dropout(0.3).eval(), Dropout(0.3, training=False)),
    ],
)
def test_dropout_with_the_mask_that_was_drawn(one_node, images, layer, op):
    x = images.clamp(min=0)  # zeros whose mask cannot be read off the output
    node = one_node(lambda x: layer(x * 1), x)
    assert node.op == op
    assert list(node.parameters) == (["mask"] if op.training else [])


def test_without_values_no_mask_is_drawn(images):
    node = capture(nn.Dropout(), images).outputs[0]
    assert (node.name, node.parameters) == ("dropout", {})
