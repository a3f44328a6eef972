"""Starting weights: variances against their formulas, determinism, oriented filters, dropout, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from striate import models
from striate.errors import ModelError, UsageError
from striate.models.initialization import SCHEMES, oriented_edges, whitening_filters
from striate.models.lenet_layers import TableConv2d


def variance(weight: torch.Tensor) -> float:
    return weight.detach().double().square().mean().item()


# Formulas: Glorot and Bengio 2010, equation 16: 2 / (n_in + n_out); He et al. 2015, equation 10: 2 / n_in.
@pytest.mark.parametrize(
    ("scheme", "numerator_fans"), [("glorot", ("in", "out")), ("he", ("in",)), ("xavier/2", ("in",))]
)
@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (nn.Linear(300, 200), 300, 200),
        (nn.Conv2d(16, 64, 5), 16 * 25, 64 * 25),
        (nn.Conv2d(64, 128, 3, groups=4), 16 * 9, 32 * 9),
        (nn.Conv1d(40, 80, 7), 40 * 7, 80 * 7),
        (TableConv2d(table=[tuple(range(20))] * 40, in_channels=20, kernel_size=5), 20 * 25, 40 * 25),
    ],
    ids=["dense", "convolution", "groups", "1-D", "table"],
)
def test_variance_follows_the_formula(scheme, numerator_fans, layer, fan_in, fan_out) -> None:
    models.initialize(layer, scheme, seed=0)
    expected = 2 / sum({"in": fan_in, "out": fan_out}[fan] for fan in numerator_fans)
    # About 20,000 weights: the standard error of a variance is about 1 percent.
    assert variance(layer.weight) == pytest.approx(expected, rel=0.05)
    assert not layer.bias.any()


def test_glorot_is_uniform_and_he_is_normal() -> None:
    layer = nn.Linear(500, 500)
    models.initialize(layer, "glorot", seed=0)
    bound = math.sqrt(6 / 1000)
    assert 0.999 * bound < layer.weight.abs().max() <= bound
    models.initialize(layer, "he", seed=0)
    assert layer.weight.abs().max() > 3.5 * math.sqrt(2 / 500)


def test_he_keeps_the_scale_of_activations_through_relu() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(800, 800), nn.ReLU())])
    models.initialize(model, "he", seed=0)
    x = torch.randn(100, 800)
    # E[z^2] = n x 2 / n x E[x^2], and ReLU halves it: the second moment stays 1. Glorot's 1 / n halves it each time.
    assert 0.5 < model(x).square().mean().item() < 2
    models.initialize(model, "glorot", seed=0)
    assert 0.5 < model(x).square().mean().item() * 2**8 < 2


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in ("oriented-edges", "whitening")])
@pytest.mark.parametrize("name", ["lenet5_1998", "resnet20", "mlp_iris", "mobilenet_v2_cifar", "lecun1989"])
def test_a_seed_gives_the_same_weights_whatever_was_there(name: str, scheme: str) -> None:
    first, second, other = (models.create(name) for _ in range(3))
    for model, seed in ((first, 3), (second, 3), (other, 4)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(7.0)
        before = torch.get_rng_state()
        models.initialize(model, scheme, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert not any((parameter == 7.0).all() for parameter in first.parameters())


def test_default_is_what_create_gives() -> None:
    for name in ("lenet5", "resnet20", "lenet5_1998"):
        torch.manual_seed(11)
        built = models.create(name)
        again = models.create(name)
        models.initialize(again, "default", seed=0)
        for (key, a), b in zip(built.named_parameters(), again.parameters(), strict=True):
            if a.numel() > 1000:
                assert a.std().item() == pytest.approx(b.std().item(), rel=0.15), key


def test_normalisation_layers_become_the_identity() -> None:
    model = models.create("resnet20")
    model.bn1.weight.data.fill_(9.0)
    model.bn1.running_mean.fill_(9.0)
    models.initialize(model, "he", seed=0)
    assert (model.bn1.weight == 1).all()
    assert not model.bn1.running_mean.any()


@pytest.mark.parametrize("out_channels", [1, 6, 32, 64])
@pytest.mark.parametrize("in_channels", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("kernel_size", [(2, 2), (3, 3), (5, 5), (4, 6), (7, 3), (11, 11)])
def test_oriented_edges_are_blind_to_flat_areas_and_all_different(out_channels, in_channels, kernel_size) -> None:
    filters = oriented_edges(out_channels, in_channels, kernel_size)
    assert filters.shape == (out_channels, in_channels, *kernel_size)
    torch.testing.assert_close(filters.sum(dim=(2, 3)), torch.zeros(out_channels, in_channels), atol=1e-5, rtol=0)
    torch.testing.assert_close(filters.square().sum(dim=(1, 2, 3)), torch.full((out_channels,), 2.0))
    # 64 grey filters of 2 x 2 are crowded, but no two are the same.
    distances = torch.cdist(filters.flatten(1), filters.flatten(1)) + torch.eye(out_channels)
    assert distances.min() > (0.001 if kernel_size == (2, 2) else 0.05)


def test_oriented_edges_prefer_their_own_direction() -> None:
    # 24 grey 7 x 7 filters: 12 angles, sine first. A step from dark to bright at an angle excites its filter most.
    filters = oriented_edges(24, 1, (7, 7))[::2, 0]
    coordinates = torch.arange(7.0) - 3
    for index in range(12):
        angle = 2 * math.pi * index / 12
        along = coordinates * math.cos(angle) + coordinates[:, None] * math.sin(angle)
        answers = (filters * along.clamp(-1, 1)).sum(dim=(1, 2))
        assert answers.argmax().item() == index


def test_oriented_edges_fill_the_first_convolution_only() -> None:
    edges, he = models.create("resnet20"), models.create("resnet20")
    models.initialize(edges, "oriented-edges", seed=1)
    models.initialize(he, "he", seed=1)
    torch.testing.assert_close(edges.conv1.weight, oriented_edges(16, 3, (3, 3)))
    assert [key for key, p in edges.named_parameters() if not torch.equal(p, he.get_parameter(key))] == ["conv1.weight"]


def test_dropout_is_set_everywhere() -> None:
    model = models.create("alexnet", num_classes=2)
    assert models.set_dropout(model, 0.25) == 2
    assert {layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)} == {0.25}


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range(p: float) -> None:
    with pytest.raises(UsageError, match=f"`p` must be at least 0 and below 1, got {p}"):
        models.set_dropout(models.create("lenet5"), p)


def test_dropout_needs_a_layer() -> None:
    with pytest.raises(UsageError, match="must have a dropout layer, got ResNet without"):
        models.set_dropout(models.create("resnet20"), 0.5)


def test_unknown_scheme() -> None:
    with pytest.raises(
        UsageError, match=r"`scheme` must be one of default, .*, got 'xavier'\. Did you mean `xavier/2`"
    ):
        models.initialize(models.create("lenet5"), "xavier", seed=0)


def test_oriented_edges_need_a_convolution_with_room() -> None:
    with pytest.raises(ModelError, match=r"`model` must have a convolution .* got MLP without"):
        models.initialize(models.create("mlp_iris"), "oriented-edges", seed=0)
    with pytest.raises(ModelError, match=r"`kernel_size` must be at least 2 x 2, got \(1, 1\)"):
        models.initialize(nn.Conv2d(3, 8, 1), "oriented-edges", seed=0)


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("scheme", ["he", "default"])
def test_a_layer_that_no_scheme_covers_is_refused(scheme: str) -> None:
    with pytest.raises(ModelError, match=r"layer `1` \(Unknown\) must be a convolution, a dense layer or have"):
        models.initialize(nn.Sequential(nn.Linear(2, 3), Unknown()), scheme, seed=0)


def test_whitened_answers_are_uncorrelated_and_of_variance_one() -> None:
    # Correlated images: a random walk along the columns. Patches are centred, so covariance is the mean of products.
    images = torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(dim=3)
    images -= images.mean()
    filters = whitening_filters(images, 24, (2, 2))
    answers = torch.nn.functional.conv2d(images, filters[:12]).transpose(0, 1).reshape(12, -1)
    products = answers @ answers.T / answers.shape[1]
    torch.testing.assert_close(products, torch.eye(12, dtype=torch.float64), atol=5e-3, rtol=0)
    assert torch.equal(filters[12:], -filters[:12])


def test_whitening_needs_images_and_enough_directions() -> None:
    with pytest.raises(UsageError, match="`images` must be given"):
        models.initialize(models.create("airbench94"), "whitening", seed=0)
    with pytest.raises(ModelError, match="`out_channels` must be even and at most 8 for patches of 1 x 2 x 2, got 10"):
        whitening_filters(torch.zeros(1, 1, 4, 4), 10, (2, 2))


def test_no_dropout_is_what_a_network_without_it_has() -> None:
    assert models.set_dropout(models.create("resnet20"), 0.0) == 0
