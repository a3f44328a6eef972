"""Colour jitter, cut-out, noise and mix-up against loops in NumPy and SciPy's distributions."""

import numpy as np
import pytest
import scipy.stats
import torch

from striate.data.appearance import add_noise, beta_quantiles, cut_out, jitter_color, mix_partners, mix_weights
from striate.data.random import GOLDEN, Stream, sample_keys


def random_pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_matches_numpy(channels: int) -> None:
    pixels, strengths = random_pixels(6, channels, 5, 7), (0.4, 0.5, 1.5)
    uniforms = np.random.default_rng(0).random((6, 3))
    result = jitter_color(pixels, uniforms, strengths=strengths)
    low, high = np.array([0.6, 0.5, 0.0]), np.array([1.4, 1.5, 2.5])
    weights = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    for image, draws, changed in zip(pixels.numpy().astype(float), uniforms, result.numpy(), strict=True):
        brightness, contrast, saturation = low + (high - low) * draws
        expected = image * brightness
        mean = (weights[:, None, None] * expected).sum(axis=0).mean()
        expected = mean + contrast * (expected - mean)
        if channels == 3:
            grey = (weights[:, None, None] * expected).sum(axis=0)
            expected = grey + saturation * (expected - grey)
        np.testing.assert_allclose(changed, expected.clip(0, 255), atol=2e-3)


def test_jitter_in_the_middle_of_its_range_changes_nothing_and_keeps_the_source() -> None:
    pixels = random_pixels(2, 3, 4, 4)
    before = pixels.clone()
    result = jitter_color(pixels, np.full((2, 3), 0.5), strengths=(0.3, 0.3, 0.3))
    torch.testing.assert_close(result, before.float(), atol=1e-3, rtol=0)
    floats = before.float()
    jitter_color(floats, np.full((2, 3), 0.9), strengths=(0.3, 0.3, 0.3))
    assert torch.equal(floats, before.float())


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_cut_out_matches_loops(side: int) -> None:
    uniforms = np.random.default_rng(0).random((20, 2))
    inputs = torch.ones(20, 2, 9, 11)
    result = cut_out(inputs.clone(), uniforms, side=side)
    expected = inputs.numpy().copy()
    for image, (down, right) in zip(expected, uniforms, strict=True):
        row, column = int(down * 9) - side // 2, int(right * 11) - side // 2
        image[:, max(0, row) : max(0, row + side), max(0, column) : max(0, column + side)] = 0
    np.testing.assert_array_equal(result.numpy(), expected)


def test_noise_is_the_documented_hash_through_the_normal_quantiles() -> None:
    noise = add_noise(torch.zeros(2, 1, 2, 3), std=2.0, seed=4, epoch=5, sample_ids=np.array([8, 3]))
    keys = sample_keys(seed=4, epoch=5, sample_ids=np.array([8, 3]), stream=Stream.NOISE)
    for key, values in zip(keys.tolist(), noise.flatten(1).tolist(), strict=True):
        words = np.array([(key + step * GOLDEN) % 2**64 for step in (1, 2)], dtype=np.uint64)
        for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            words = (words ^ (words >> np.uint64(shift))) * np.uint64(multiplier)
        words ^= words >> np.uint64(31)
        levels = words.view(np.int16).astype(int) + 32768  # the four 16-bit parts of each word, lowest first
        expected = 2 * scipy.stats.norm.ppf((levels[:6] + 0.5) / 65536)
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_noise_is_normal_and_independent_between_samples_and_pixels() -> None:
    noise = add_noise(torch.zeros(400, 1, 20, 20), std=1.0, seed=0, epoch=0, sample_ids=np.arange(400)).flatten(1)
    values = noise.flatten().numpy()
    # 160,000 values; the 1e-4 point of the Kolmogorov distribution is 2.2 / sqrt(n) = 0.0056.
    assert scipy.stats.kstest(values, "norm").statistic < 0.0056
    assert abs(values.std() - 1) < 0.008
    rows = np.corrcoef(noise[:50].numpy())[~np.eye(50, dtype=bool)]
    assert np.abs(rows).max() < 0.25  # 1,225 correlations of 400 pairs: standard deviation 0.05
    assert abs(rows.std() - 0.05) < 0.01
    key = {"seed": 0, "epoch": 0, "sample_ids": np.arange(400)}
    others = [
        add_noise(torch.zeros(400, 400), std=1.0, **{**key, **change})
        for change in ({"seed": 1}, {"epoch": 1}, {"sample_ids": np.arange(400, 800)})
    ]
    for other in others:
        assert abs(np.corrcoef(values, other.flatten().numpy())[0, 1]) < 0.01


def test_noise_of_a_sample_does_not_depend_on_the_batch() -> None:
    together = add_noise(torch.zeros(5, 3, 3, 3), std=1.0, seed=0, epoch=2, sample_ids=np.arange(5))
    alone = add_noise(torch.zeros(1, 3, 3, 3), std=1.0, seed=0, epoch=2, sample_ids=np.array([3]))
    assert torch.equal(together[3:4], alone)
    assert add_noise(torch.zeros(0, 3), std=1.0, seed=0, epoch=0, sample_ids=np.arange(0)).shape == (0, 3)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 2.5, 20.0])
def test_beta_quantiles_match_scipy(alpha: float) -> None:
    probabilities = np.linspace(0, 1, 1001)
    expected = scipy.stats.beta.ppf(probabilities, alpha, alpha)
    np.testing.assert_allclose(beta_quantiles(probabilities, alpha=alpha), expected, atol=2e-5)


def test_mix_weights_follow_the_beta_distribution() -> None:
    weights = mix_weights(alpha=0.4, seed=0, epoch=0, sample_ids=np.arange(20_000))
    assert scipy.stats.kstest(weights, scipy.stats.beta(0.4, 0.4).cdf).statistic < 0.0156  # 2.2 / sqrt(n)


def test_mix_partners_form_one_circle_that_the_order_does_not_change() -> None:
    ids = np.array([40, 7, 99, 3, 1000])
    partners = mix_partners(seed=1, epoch=2, sample_ids=ids)
    position, seen = 0, []
    for _ in ids:
        seen.append(position)
        position = int(partners[position])
    assert position == 0
    assert sorted(seen) == [0, 1, 2, 3, 4]
    order = np.array([3, 0, 4, 1, 2])
    shuffled = mix_partners(seed=1, epoch=2, sample_ids=ids[order])
    by_name = dict(zip(ids.tolist(), ids[partners].tolist(), strict=True))
    assert dict(zip(ids[order].tolist(), ids[order][shuffled].tolist(), strict=True)) == by_name
    assert mix_partners(seed=1, epoch=2, sample_ids=np.array([5])).tolist() == [0]
