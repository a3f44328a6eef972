"""The bits of the counter-based random numbers are fixed forever; their quality is tested with fixed seeds."""

import numpy as np
import pytest

from striate.data import random
from striate.data.random import Stream, derive_seed, normal, permutation, sample_keys, uniform

MASK = (1 << 64) - 1
KEYS = [16586045342251348236, 18323118364947457988, 1712135036995472624]
UNIFORMS = [
    [3969771044383994, 5452474771234746],
    [2203716626011159, 6331766033280231],
    [2175816132069430, 3940353238669981],
]
PERMUTATION = [5, 4, 2, 1, 0, 6, 3, 7]
SEED = 2880284376144573910


def mix_reference(word: int) -> int:
    """SplitMix64's finaliser in Python's unbounded integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def chain_reference(*words: int) -> int:
    state = 0
    for word in words:
        state = mix_reference(((state ^ (word & MASK)) + 0x9E3779B97F4A7C15) & MASK)
    return state


def test_mixing_function_gives_the_published_sequence_of_splitmix64() -> None:
    # First outputs for the seed 1234567, as listed on Rosetta Code ("Pseudo-random numbers/Splitmix64").
    states = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * np.uint64(random.GOLDEN)
    assert random._mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize(
    ("seed", "epoch", "sample_id", "stream"), [(0, 0, 0, 1), (7, 3, 59_999, 4), (2**63, 10**6, 1, 9)]
)
def test_keys_match_unbounded_integers(seed: int, epoch: int, sample_id: int, stream: int) -> None:
    keys = sample_keys(seed=seed, epoch=epoch, sample_ids=np.array([sample_id]), stream=stream)
    assert keys.tolist() == [chain_reference(seed, epoch, stream, sample_id)]


def test_known_answers() -> None:
    # Written down once from this implementation, which the tests above tie to the published algorithm: a change would
    # change every run that was ever made.
    ids = np.array([0, 1, 123456])
    keys = sample_keys(seed=42, epoch=7, sample_ids=ids, stream=Stream.CROP)
    assert keys.tolist() == KEYS
    numbers = uniform(seed=42, epoch=7, sample_ids=ids, stream=Stream.CROP, count=2)
    assert (numbers * 2**53).astype(np.int64).tolist() == UNIFORMS
    assert permutation(8, seed=42, epoch=7).tolist() == PERMUTATION
    assert derive_seed(42, 7, 100) == SEED
    assert [stream.value for stream in Stream] == list(range(1, 11))


def test_uniform_lies_in_the_half_open_interval_and_is_flat() -> None:
    numbers = uniform(seed=1, epoch=0, sample_ids=np.arange(20_000), stream=Stream.AFFINE, count=5)
    assert numbers.shape == (20_000, 5)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in (*numbers.T, numbers.ravel()):
        counts = np.histogram(column, bins=100, range=(0, 1))[0]
        expected = len(column) / 100
        # Chi-square with 99 degrees of freedom: 157 is passed with probability 2e-4 (scipy.stats.chi2.isf).
        assert ((counts - expected) ** 2 / expected).sum() < 157


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"epoch": 1}, {"stream": Stream.FLIP}, {"sample_ids": np.arange(1, 10_001)}],
    ids=["seed", "epoch", "stream", "neighbouring sample"],
)
def test_changing_one_word_gives_unrelated_numbers(other: dict) -> None:
    base = {"seed": 1, "epoch": 0, "stream": Stream.CROP, "sample_ids": np.arange(10_000), "count": 1}
    first, second = uniform(**base)[:, 0], uniform(**{**base, **other})[:, 0]
    # The correlation of 10,000 independent pairs has standard deviation 0.01.
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04
    bits = sample_keys(**{k: v for k, v in base.items() if k != "count"})
    other_bits = sample_keys(**{k: v for k, v in {**base, **other}.items() if k != "count"})
    flipped = np.unpackbits((bits ^ other_bits).view(np.uint8)).mean()
    assert abs(flipped - 0.5) < 0.004  # 640,000 bits: standard deviation 0.0006


def test_numbers_of_a_sample_do_not_depend_on_the_others() -> None:
    ids = np.array([5, 9, 2, 77])
    together = uniform(seed=3, epoch=1, sample_ids=ids, stream=Stream.CROP, count=4)
    for row, sample_id in enumerate(ids):
        alone = uniform(seed=3, epoch=1, sample_ids=np.array([sample_id]), stream=Stream.CROP, count=2)
        np.testing.assert_array_equal(alone[0], together[row, :2])


def test_normal_has_the_moments_of_a_normal_distribution() -> None:
    numbers = normal(seed=1, epoch=0, sample_ids=np.arange(40_000), stream=Stream.NOISE, count=3)
    assert numbers.shape == (40_000, 3)
    assert np.isfinite(numbers).all()
    # 40,000 numbers a column: standard errors 0.005, 0.0035 and 0.024 for mean, deviation and kurtosis.
    assert np.abs(numbers.mean(axis=0)).max() < 0.02
    assert np.abs(numbers.std(axis=0) - 1).max() < 0.015
    assert np.abs((numbers**4).mean(axis=0) - 3).max() < 0.12
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_holds_each_number_once(n: int) -> None:
    order = permutation(n, seed=5, epoch=2)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutation_depends_on_seed_and_epoch() -> None:
    first = permutation(1000, seed=0, epoch=0)
    np.testing.assert_array_equal(first, permutation(1000, seed=0, epoch=0))
    for other in (permutation(1000, seed=1, epoch=0), permutation(1000, seed=0, epoch=1)):
        assert (first == other).sum() < 10  # one on average


def test_derived_seeds_differ_and_fit_torch() -> None:
    seeds = {derive_seed(seed, epoch, step) for seed in range(10) for epoch in range(10) for step in range(50)}
    assert len(seeds) == 5000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1) != derive_seed(1, 0)  # a missing word is not a zero


def test_negative_and_huge_words_wrap_without_a_warning() -> None:
    ids = np.array([-1, 2**62])
    low = sample_keys(seed=-1, epoch=0, sample_ids=ids, stream=1)
    np.testing.assert_array_equal(low, sample_keys(seed=2**64 - 1, epoch=0, sample_ids=ids, stream=1))
