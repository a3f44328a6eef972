"""Changes of pixel values: colour jitter, cut-out, input noise and mix-up, for whole batches.

Every function takes its random numbers as arguments or derives them from sample ids, and treats each sample by itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from striate.data.random import GOLDEN, MULTIPLIERS, SHIFTS, Stream, sample_keys, uniform

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["add_noise", "beta_quantiles", "cut_out", "jitter_color", "mix_partners", "mix_weights"]

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in a grey value: ITU-R BT.601
NOISE_LEVELS = 1 << 16


def jitter_color(pixels: Tensor, uniforms: NDArray[np.float64], *, strengths: tuple[float, float, float]) -> Tensor:
    """Multiply brightness, contrast and saturation by random factors, then cut to 0 .. 255 once.

    With factors b, c, s drawn from [max(0, 1 - strength), 1 + strength]: p1 = b p; p2 = m + c (p1 - m) with m the mean
    grey of the image; p3 = g + s (p2 - g) with g the grey of the pixel (images with three channels only).

    Args:
        pixels: (B, C, H, W) grey levels 0 .. 255, uint8 or float32.
        uniforms: (B, 3) numbers in [0, 1).
        strengths: Largest relative change of brightness, contrast and saturation.

    Returns:
        A new tensor, float32.
    """
    import torch

    low = np.maximum(0.0, 1.0 - np.array(strengths))
    pixels = pixels.to(torch.float32, copy=True)
    factors = low + (1.0 + np.array(strengths) - low) * uniforms
    brightness, contrast, saturation = torch.from_numpy(factors).to(pixels).unbind(1)
    channels = pixels.shape[1]
    weights = LUMA if channels == 3 else (1.0 / channels,) * channels
    # Summed in sixteenths of a grey level: a sum of integers is the same in whatever order a thread takes it.
    sixteenths = (pixels * 16).round_().to(torch.int32).sum(dim=(2, 3))
    mean = torch.zeros_like(brightness)
    for channel, weight in enumerate(weights):
        mean += sixteenths[:, channel].to(pixels.dtype) * (weight / (16 * pixels.shape[2] * pixels.shape[3]))
    mean *= brightness
    pixels.mul_((brightness * contrast)[:, None, None, None]).add_((mean - contrast * mean)[:, None, None, None])
    if channels == 3 and strengths[2] > 0:
        grey = pixels[:, 0] * weights[0]
        for channel in (1, 2):
            grey += pixels[:, channel] * weights[channel]
        grey.mul_((1 - saturation)[:, None, None])
        pixels.mul_(saturation[:, None, None, None]).add_(grey[:, None])
    return pixels.clamp_(0, 255)


def cut_out(inputs: Tensor, uniforms: NDArray[np.float64], *, side: int) -> Tensor:
    """Set a square of each normalised image to 0, the mean colour of the training split.

    The centre is any pixel of the image, so a square near the border is cut off by it.

    Args:
        inputs: (B, C, H, W) normalised images; changed in place.
        uniforms: (B, 2) numbers in [0, 1).
        side: Side of the square in pixels.

    Returns:
        The same tensor.

    Source: DeVries & Taylor 2017, arXiv:1708.04552, section 3.
    """
    import torch

    extent = np.array(inputs.shape[2:])
    start = np.floor(uniforms * extent).astype(np.int64) - side // 2
    kept = []
    for axis in (0, 1):
        steps = np.arange(extent[axis]) - start[:, axis, None]
        kept.append(torch.from_numpy((steps < 0) | (steps >= side)).to(inputs.device))
    mask = kept[0][:, :, None] | kept[1][:, None, :]
    return inputs.mul_(mask[:, None].to(inputs.dtype))


def add_noise(inputs: Tensor, *, std: float, seed: int, epoch: int, sample_ids: NDArray[np.int64]) -> Tensor:
    """Add independent normal noise to every value; the noise of a sample depends on (seed, epoch, sample id) alone.

    Each 64-bit hash gives four values, each one of 65,536 equally likely quantiles of the normal distribution (the
    largest is 4.32 standard deviations), so the numbers are exact table entries and the same bits on every device.

    Args:
        inputs: (B, ...) normalised inputs; changed in place.
        std: Standard deviation in units of the normalised inputs.
        seed: The seed of the run.
        epoch: Counted from 0.
        sample_ids: (B,) integers that name the samples.

    Returns:
        The same tensor.
    """
    import torch

    count = inputs[0].numel() if len(inputs) else 0
    keys = sample_keys(seed=seed, epoch=epoch, sample_ids=sample_ids, stream=Stream.NOISE).view(np.int64)
    words = torch.from_numpy(keys).to(inputs.device)[:, None] + _signed(GOLDEN) * torch.arange(
        1, (count + 3) // 4 + 1, device=inputs.device
    )
    levels = _mix_in_place(words).view(torch.int16)[:, :count].to(torch.int32).add_(NOISE_LEVELS // 2)
    table = torch.from_numpy(_normal_quantiles()).to(inputs.device)
    noise = table.index_select(0, levels.flatten()).view(inputs.shape)
    return inputs.add_(noise.mul_(std))


def mix_partners(*, seed: int, epoch: int, sample_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose for each sample of a batch the other one it is mixed with: the next in a hashed circle through the batch.

    Returns:
        (B,) positions in the batch; a sample is its own partner only in a batch of one.
    """
    keys = sample_keys(seed=seed, epoch=epoch, sample_ids=sample_ids, stream=Stream.MIX_PARTNER)
    circle = np.argsort(keys, kind="stable")
    partners = np.empty(len(circle), dtype=np.int64)
    partners[circle] = np.roll(circle, -1)
    return partners


def mix_weights(*, alpha: float, seed: int, epoch: int, sample_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Draw each sample's own share in its mixture from the distribution Beta(alpha, alpha).

    Returns:
        (B,) numbers from 0 to 1.

    Source: Zhang et al. 2018, arXiv:1710.09412, section 2.
    """
    draws = uniform(seed=seed, epoch=epoch, sample_ids=sample_ids, stream=Stream.MIX_WEIGHT, count=1)[:, 0]
    return beta_quantiles(draws, alpha=alpha)


def beta_quantiles(probabilities: NDArray[np.float64], *, alpha: float) -> NDArray[np.float64]:
    """Invert the cumulative distribution of Beta(alpha, alpha) by a table.

    By symmetry x <= 1/2 is enough. For alpha < 1 the density has a pole at 0; in u = x^alpha it becomes
    (1 - x)^(alpha - 1), which has none, so a trapezoidal sum over 4,096 steps is good to about 1e-5.

    Args:
        probabilities: Numbers from 0 to 1.
        alpha: Both parameters, above 0.

    Example:
        >>> import numpy as np
        >>> beta_quantiles(np.array([0.1, 0.5, 0.9]), alpha=1.0).round(6).tolist()  # the uniform distribution
        [0.1, 0.5, 0.9]
    """
    powers, cumulative = _beta_table(alpha)
    below = np.minimum(probabilities, 1 - probabilities)
    smaller = np.interp(2 * below, cumulative, powers) ** (1 / min(alpha, 1.0))
    quantiles: NDArray[np.float64] = np.where(probabilities <= 0.5, smaller, 1 - smaller)
    return quantiles


@lru_cache(maxsize=8)
def _beta_table(alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    exponent = min(alpha, 1.0)
    powers = np.linspace(0.0, 0.5**exponent, 4097)
    x = powers ** (1 / exponent)
    density = (1 - x) ** (alpha - 1) * x ** (alpha - exponent)
    cumulative = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    return powers, cumulative / cumulative[-1]


@lru_cache(maxsize=1)
def _normal_quantiles() -> NDArray[np.float32]:
    """Return the 65,536 middles of equally likely slices of the standard normal distribution."""
    import torch

    middles = (torch.arange(NOISE_LEVELS, dtype=torch.float64) + 0.5) / NOISE_LEVELS
    quantiles: NDArray[np.float32] = torch.special.ndtri(middles).to(torch.float32).numpy()
    return quantiles


def _signed(word: int) -> int:
    """Read 64 bits as a signed integer, because PyTorch's 64-bit integers are."""
    return word - (1 << 64) if word >= 1 << 63 else word


def _mix_in_place(words: Tensor) -> Tensor:
    """Apply the hash of `striate.data.random` on the tensor's device; int64 products wrap modulo 2^64 as well."""
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, None), strict=True):
        # The arithmetic shift copies the sign bit down; the mask takes these copies away.
        words ^= (words >> shift) & ((1 << (64 - shift)) - 1)
        if multiplier is not None:
            words *= _signed(multiplier)
    return words
