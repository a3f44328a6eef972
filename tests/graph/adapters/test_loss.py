import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque, capture
from striate.ops.absolute_error import HuberLoss, L1Loss, SmoothL1Loss
from striate.ops.binary_loss import BinaryCrossEntropy, BinaryCrossEntropyWithLogits
from striate.ops.divergence import KLDivLoss
from striate.ops.loss import CrossEntropy, NLLLoss
from striate.ops.squared_error import MSELoss

CLASSES = torch.tensor([2, 0, 1])
TARGETS = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _captured(loss):
    torch.manual_seed(0)
    x = torch.randn(3, 5, dtype=torch.float64)
    return capture(nn.Linear(5, 4).double(), x, keep_values=True, loss=loss)


@pytest.mark.parametrize(
    ("loss", "op"),
    [
        (lambda y: F.cross_entropy(y, CLASSES), CrossEntropy("mean", 0.0)),
        (lambda y: nn.CrossEntropyLoss(label_smoothing=0.1)(y, CLASSES), CrossEntropy("mean", 0.1)),
        (lambda y: F.cross_entropy(y, CLASSES, torch.arange(1.0, 5).double(), reduction="sum"), CrossEntropy("sum")),
        (lambda y: F.cross_entropy(y, TARGETS), CrossEntropy()),
        (lambda y: F.nll_loss(F.log_softmax(y, 1), CLASSES), NLLLoss()),
        (lambda y: F.mse_loss(y, TARGETS), MSELoss()),
        (lambda y: nn.MSELoss(reduction="sum")(y, TARGETS), MSELoss("sum")),
        (lambda y: F.cross_entropy(y, CLASSES, ignore_index=2), CrossEntropy(ignore_index=2)),
        (lambda y: nn.CrossEntropyLoss(ignore_index=0, reduction="sum")(y, CLASSES), CrossEntropy("sum", 0.0, 0)),
        (lambda y: F.nll_loss(y.log_softmax(1), CLASSES, ignore_index=1), NLLLoss(ignore_index=1)),
        (lambda y: F.l1_loss(y, TARGETS), L1Loss()),
        (lambda y: nn.L1Loss(reduction="sum")(y, TARGETS), L1Loss("sum")),
        (lambda y: F.smooth_l1_loss(y, TARGETS), SmoothL1Loss()),
        (lambda y: nn.SmoothL1Loss(beta=0.3)(y, TARGETS), SmoothL1Loss("mean", 0.3)),
        (lambda y: F.huber_loss(y, TARGETS, delta=0.4), HuberLoss("mean", 0.4)),
        (lambda y: nn.HuberLoss(reduction="sum")(y, TARGETS), HuberLoss("sum")),
        (lambda y: F.kl_div(y.log_softmax(1), TARGETS, reduction="batchmean"), KLDivLoss("batchmean")),
        (lambda y: nn.KLDivLoss(reduction="sum", log_target=True)(y, TARGETS), KLDivLoss("sum", True)),
        (lambda y: F.binary_cross_entropy(y.sigmoid(), TARGETS), BinaryCrossEntropy()),
        (lambda y: F.binary_cross_entropy_with_logits(y, TARGETS), BinaryCrossEntropyWithLogits()),
    ],
)
def test_losses_become_operations(assert_replays, loss, op):
    graph = _captured(loss)
    assert graph.loss.op == op
    assert graph.loss.name == f"loss.{graph.loss.call}"
    assert graph.loss.inputs[1].parameters["value"].kind == "constant"
    assert_replays(graph)


@pytest.mark.parametrize(
    "loss",
    [
        lambda y: F.binary_cross_entropy_with_logits(y, TARGETS, pos_weight=torch.ones(4).double()),
        lambda y: F.hinge_embedding_loss(y, TARGETS),
    ],
)
def test_what_no_operation_describes_stays_opaque(loss):
    graph = _captured(loss)
    assert isinstance(graph.loss.op, Opaque)
    assert graph.gradient("linear").shape == (3, 4)
