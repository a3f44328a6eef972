"""Random numbers without state: every number is a hash of (seed, epoch, sample id, stream, position).

A generator that is advanced gives numbers which depend on everything drawn before: on the batch size, on the number of
workers, on where a run was resumed. Here nothing is advanced. The numbers of one sample are a function of five
integers, so they are the same bits in every order, on every machine and in every NumPy, and a resumed run needs no
generator state.

The hash is the finaliser of SplitMix64, chained over the words; positions run through SplitMix64's own sequence.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA; the constants are those of
java.util.SplittableRandom (Stafford's variant 13 of the MurmurHash3 finaliser).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stream", "derive_seed", "normal", "permutation", "sample_keys", "uniform"]

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, odd: the step of SplitMix64
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
_MASK = (1 << 64) - 1


class Stream(IntEnum):
    """What a number is drawn for; two streams of one sample are independent.

    The values are part of every run that was ever made: add new ones, never change one.
    """

    SHUFFLE = 1
    CROP = 2
    FLIP = 3
    AFFINE = 4
    COLOR = 5
    CUTOUT = 6
    NOISE = 7
    MIX_WEIGHT = 8
    MIX_PARTNER = 9
    STEP = 10


def sample_keys(*, seed: int, epoch: int, sample_ids: NDArray[np.int64], stream: int) -> NDArray[np.uint64]:
    """Hash (seed, epoch, stream, sample id) to one 64-bit key per sample.

    Args:
        seed: The seed of the run, any integer (taken modulo 2^64, as the other words are).
        epoch: Counted from 0.
        sample_ids: (B,) integers that name the samples, independent of their order.
        stream: A `Stream`, or another integer of the caller's own.

    Returns:
        (B,) keys.

    Example:
        >>> import numpy as np
        >>> [hex(key) for key in sample_keys(seed=0, epoch=0, sample_ids=np.array([0, 1]), stream=Stream.FLIP).tolist()]
        ['0x36010776f5f1d7d3', '0xdac4139c4836d79c']
    """
    state = _absorb(*(np.array([word & _MASK], dtype=np.uint64) for word in (seed, epoch, int(stream))))
    return _absorb(np.asarray(sample_ids).astype(np.uint64), state=state)


def uniform(*, seed: int, epoch: int, sample_ids: NDArray[np.int64], stream: int, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers in [0, 1) for each sample, 53 random bits each.

    Args:
        seed: As in `sample_keys`, like the next three.
        epoch: Counted from 0.
        sample_ids: (B,) integers.
        stream: A `Stream`.
        count: Numbers per sample. A longer draw begins with the numbers of a shorter one.

    Returns:
        (B, count).

    Example:
        >>> import numpy as np
        >>> uniform(seed=1, epoch=2, sample_ids=np.array([3]), stream=Stream.CROP, count=2).round(6).tolist()
        [[0.075449, 0.455315]]
    """
    keys = sample_keys(seed=seed, epoch=epoch, sample_ids=sample_ids, stream=stream)
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    bits = _mix(keys[:, None] + steps)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(*, seed: int, epoch: int, sample_ids: NDArray[np.int64], stream: int, count: int) -> NDArray[np.float64]:
    """Draw `count` standard normal numbers for each sample.

    Arguments and result as in `uniform`. The last bit depends on the machine's logarithm and cosine.

    Source: Box & Muller 1958, "A note on the generation of random normal deviates".
    """
    pairs = (count + 1) // 2
    uniforms = uniform(seed=seed, epoch=epoch, sample_ids=sample_ids, stream=stream, count=2 * pairs)
    radius = np.sqrt(-2.0 * np.log1p(-uniforms[:, 0::2]))  # 1 - u lies in (0, 1], where the logarithm is finite
    angle = 2.0 * np.pi * uniforms[:, 1::2]
    both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=2)
    return both.reshape(len(uniforms), 2 * pairs)[:, :count]


def permutation(n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle 0 .. n-1 by sorting hashed keys: the order depends on nothing but `n`, `seed` and `epoch`.

    Example:
        >>> sorted(permutation(4, seed=0, epoch=0).tolist())
        [0, 1, 2, 3]
    """
    keys = sample_keys(seed=seed, epoch=epoch, sample_ids=np.arange(n, dtype=np.int64), stream=Stream.SHUFFLE)
    return np.argsort(keys, kind="stable").astype(np.int64)


def derive_seed(*words: int) -> int:
    """Hash integers to a seed from 0 to 2^63 - 1, for `torch.manual_seed` at a step that must be repeatable.

    Args:
        words: For example (seed, epoch, step); their order and their number matter.

    Example:
        >>> derive_seed(1, 2) == derive_seed(2, 1)
        False
    """
    state = _absorb(*(np.array([word & _MASK], dtype=np.uint64) for word in (len(words), *words)))
    return int(state[0]) >> 1


def _absorb(*words: NDArray[np.uint64], state: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """Chain the mixing function over words: for a given state, different words never collide."""
    state = np.zeros(1, dtype=np.uint64) if state is None else state
    for word in words:
        state = _mix((state ^ word) + np.uint64(GOLDEN))
    return state


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Turn each word into another one, one to one, so that every input bit reaches every output bit.

    Arrays only: NumPy wraps array products silently modulo 2^64, which is meant, and warns on scalars.
    """
    first, second, third = (np.uint64(shift) for shift in SHIFTS)
    words = (words ^ (words >> first)) * np.uint64(MULTIPLIERS[0])
    words = (words ^ (words >> second)) * np.uint64(MULTIPLIERS[1])
    return words ^ (words >> third)
