"""Coefficients and biases of folded batch norms, read back from PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.engine import accelerate


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("count", [1, 9])
def test_a_folded_batch_norm_is_that_of_pytorch(bias, affine, count):
    torch.manual_seed(0)
    for layer, norm, x in (
        (nn.Conv2d(3, 10, 3, bias=bias), nn.BatchNorm2d(10, affine=affine, eps=0.1), torch.randn(count, 3, 6, 5)),
        (nn.Conv2d(12, 12, 3, groups=12, bias=bias), nn.BatchNorm2d(12, affine=affine), torch.randn(count, 12, 6, 5)),
        (nn.Conv2d(16, 9, 3, padding=1, bias=bias), nn.BatchNorm2d(9, affine=affine), torch.randn(count, 16, 9, 8)),
        (nn.Linear(13, 6, bias=bias), nn.BatchNorm1d(6, affine=affine), torch.randn(count, 13)),
    ):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.2, 2)
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        model = nn.Sequential(layer, norm).eval()
        fast = accelerate(model)
        with torch.no_grad():
            found, wanted = fast(x), model.double()(x.double())
        assert float((found.double() - wanted).norm() / wanted.norm()) < 1e-6


def test_statistics_of_the_batch_are_not_folded():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    fast = accelerate(model)
    with torch.no_grad():
        x = torch.randn(9, 3, 6, 6)
        assert torch.allclose(fast(x), nn.functional.batch_norm(model[0](x), None, None, training=True), atol=1e-5)
