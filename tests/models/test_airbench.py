"""The airbench network: its size, what does not learn, and that it learns."""

from __future__ import annotations

import pytest
import torch

from striate import models


@pytest.mark.parametrize(("name", "widths"), [("airbench94", (64, 256, 256)), ("airbench95", (128, 384, 384))])
def test_parameters_by_hand(name: str, widths: tuple[int, ...]) -> None:
    # Whitening 24 x 3 x 2 x 2 + 24; three blocks of two 3 x 3 convolutions and two normalisations (scale and bias);
    # the head without bias.
    pairs = zip((24, *widths), widths, strict=False)
    blocks = sum(9 * before * after + 9 * after * after + 4 * after for before, after in pairs)
    assert models.info(name).num_params == 24 * 12 + 24 + blocks + 10 * widths[-1]


def test_whitening_and_normalisation_scales_do_not_learn() -> None:
    model = models.create("airbench94")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    norms = {f"blocks.{block}.norm{norm}.weight" for block in range(3) for norm in (1, 2)}
    assert frozen == {"whitening.weight"} | norms


def test_blocks_begin_as_the_identity_on_what_comes_in() -> None:
    block = models.create("airbench94").blocks[0]
    x = torch.rand(1, 24, 8, 8)
    assert torch.equal(block.conv1(x)[:, :24], x)


def test_other_sizes_and_channels() -> None:
    model = models.create("airbench94", num_classes=3, in_channels=1, image_size=9).eval()
    assert model.whitening.out_channels == 8
    assert model(torch.zeros(2, 1, 9, 9)).shape == (2, 3)


def test_learns_a_few_images(loss_after) -> None:
    torch.manual_seed(0)
    model = models.create("airbench94", num_classes=4)
    models.initialize(model, "whitening", seed=0, images=torch.randn(16, 3, 32, 32))
    # A high rate: logits are divided by 256.
    assert loss_after(model, (3, 32, 32), steps=40, lr=3e-2) < 0.05
