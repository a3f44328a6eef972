r"""A picture out of focus, and its restoration where the lens is known.

A point out of focus becomes a disc of light, so the picture is the sharp one convolved with that disc, plus noise:
$y = h * x + n$, or $Y = H X + N$ for the Fourier transforms. Dividing by $H$ would blow the noise up wherever $H$ is
small. The estimate with the least expected squared error is Wiener's:

$$ \hat X = \frac{\overline{H}}{|H|^2 + S_n / S_x}\; Y $$

$S_n$ is the power of the noise, equal at all frequencies, and $S_x$ that of pictures, which falls with the square of
the frequency (Field 1987).

Source: N. Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series", MIT Press, 1949.
D. J. Field, "Relations between the statistics of natural images and the response properties of cortical cells", JOSA A
4, 1987.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.work._pixels import Floats, Pixels, name_of, read_pixels, stem_of, to_bytes, view_size
from striate.work.filtering import Border, filter_image
from striate.work.kernels import as_kernel
from striate.work.sheet import Panel, Sheet

__all__ = ["blur", "deblur", "defocus_kernel", "lens_sheet", "psnr"]

LARGEST_RADIUS = 100
SAMPLES = 16
"""Each pixel of the disc is measured at so many points along each axis."""
ROUNDING = 1 / 12
"""Variance that rounding to whole grey levels adds."""
CLEAR = 0.04
"""A frequency of which the lens passes more than this share of the power is taken to be measurable."""


def defocus_kernel(radius: float) -> Floats:
    """Return the disc of light that a lens makes of a point out of focus: uniform, its weights sum to 1.

    Args:
        radius: Of the disc, in pixels; above 0.5, below which the disc lies within one pixel. A pixel that the edge of
            the disc crosses has the share of its area that lies inside.

    Returns:
        (k, k), k odd; the same when mirrored along either axis.

    Raises:
        UsageError: the radius is out of range.

    Example:
        >>> defocus_kernel(1).round(2).tolist()
        [[0.03, 0.15, 0.03], [0.15, 0.32, 0.15], [0.03, 0.15, 0.03]]
    """
    if not (isinstance(radius, int | float) and 0.5 < radius <= LARGEST_RADIUS):
        raise UsageError(
            f"defocus_kernel: `radius` must be above 0.5 and at most {LARGEST_RADIUS} pixels, got {radius!r}. "
            "Count the pixels across a point of light in the picture, and give half of them."
        )
    side = 2 * math.ceil(radius - 0.5) + 1
    points = (np.arange(side * SAMPLES) + 0.5) / SAMPLES - side / 2
    inside = (points[:, None] ** 2 + points**2 <= radius**2).reshape(side, SAMPLES, side, SAMPLES)
    shares = inside.mean(axis=(1, 3))
    weights: Floats = shares / shares.sum()
    return weights


def blur(image: Any, kernel: Any, *, border: Border = "reflect", noise: float = 0.0, seed: int = 0) -> Pixels:
    """Take a picture through a lens: convolve with its kernel, add noise, round to 256 levels.

    Args:
        image: A path, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values 0 to 255.
        kernel: Of the lens, such as `defocus_kernel` returns.
        border: As in `filter_image`. ``"valid"`` is what a camera sees, which knows what lies beyond the picture.
        noise: Standard deviation in grey levels.
        seed: Decides the noise.

    Returns:
        (C, H, W), or (C, H - kH + 1, W - kW + 1) with ``"valid"``.
    """
    _check_noise("blur", noise)
    values = filter_image(image, kernel, border=border, flip=True)
    return to_bytes(values + noise * np.random.default_rng(seed).standard_normal(values.shape))


def deblur(image: Any, kernel: Any, *, noise: float = 1.0) -> Floats:
    """Restore a picture that was blurred by a known lens, by Wiener deconvolution.

    The picture is continued beyond its borders by its mirror image, and so has no jump there, which would ring through
    all of it. For this the kernel itself must be its mirror image, as a lens is.

    Args:
        image: A path, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values 0 to 255.
        kernel: What blurred it (kH, kW), both odd, such as `defocus_kernel` returns.
        noise: Expected standard deviation of the noise in grey levels, beside that of rounding to 256 of them. Too low
            a value leaves grain and ripples, too high a one leaves blur.

    Returns:
        (C, H, W), values within 0 to 255, not rounded.

    Raises:
        ImageError: the file cannot be read.
        UsageError: the kernel is not its own mirror image, sums to 0, or a number is out of range.

    Source: M. K. Ng, R. H. Chan, W.-C. Tang, "A fast algorithm for deblurring models with Neumann boundary conditions",
    SIAM J. Sci. Comput. 21, 1999 (the mirrored continuation).

    Example:
        >>> sharp = np.zeros((32, 32))
        >>> sharp[8:24, 8:24] = 200
        >>> lens = defocus_kernel(3)
        >>> blurred = blur(sharp, lens)
        >>> bool(psnr(deblur(blurred, lens), sharp) > psnr(blurred, sharp) + 3)
        True
    """
    _check_noise("deblur", noise)
    weights = _lens(kernel)
    return np.stack([_wiener(channel, weights, noise=noise) for channel in read_pixels("deblur", image)])


def psnr(image: Any, reference: Any) -> float:
    """Return the peak signal-to-noise ratio in decibels, 10 log10(255^2 / mean squared error); infinite when equal.

    Raises:
        UsageError: the two differ in shape.

    Example:
        >>> round(psnr([[10, 20]], [[10, 25]]), 2)
        37.16
    """
    first, second = read_pixels("psnr", image), read_pixels("psnr", reference)
    if first.shape != second.shape:
        raise UsageError(
            f"psnr: `image` must have the reference's shape {second.shape}, got {first.shape}. "
            "Give the same picture in the same size, both in colour or both in grey."
        )
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def lens_sheet(
    image: Any, *, blur_radius: float | None = None, radius: float | None = None, sharp: Any = None, noise: float = 1.0
) -> Sheet:
    """Blur a picture by a lens, restore one, or both, laid out with PSNR where the sharp picture is known.

    Args:
        image: A path, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values 0 to 255.
        blur_radius: Blur it first by a lens disc of this radius in pixels, and add noise: then `image` is the sharp
            one. The border that such a lens cannot know is cut off.
        radius: Of the lens disc to undo, in pixels.
        sharp: The picture in focus, where there is one beside a given picture out of focus. It may have the border that
            the lens cuts off.
        noise: As in `deblur`; with `blur_radius` as much is added.

    Raises:
        ImageError: a file cannot be read.
        UsageError: a radius is out of range, neither is given, or `sharp` has another size or comes with `blur_radius`.
    """
    if blur_radius is None and radius is None:
        raise UsageError("lens_sheet: `radius` or `blur_radius` must be given, got neither. Try radius=3.")
    if blur_radius is not None and sharp is not None:
        raise UsageError("lens_sheet: `sharp` and `blur_radius` exclude each other: what is blurred is the sharp one.")
    given = to_bytes(read_pixels("lens_sheet", image))
    in_focus = None if sharp is None else to_bytes(read_pixels("lens_sheet", sharp))
    lens = defocus_kernel(blur_radius if blur_radius is not None else radius or 0.0)
    out_of_focus, how = given, "As it was given."
    if blur_radius is not None:
        in_focus, how = given, f"Blurred here by a lens of radius {blur_radius:g}."
        out_of_focus = blur(given, lens, border="valid", noise=noise)
    if in_focus is not None:
        in_focus = _seen_through(in_focus, lens=lens, shape=out_of_focus.shape)
    panels = [Panel(title="out of focus", pixels=out_of_focus, text=how, **_measured(out_of_focus, in_focus))]
    if radius is not None:
        restored = to_bytes(deblur(out_of_focus, defocus_kernel(radius), noise=noise))
        how = f"Wiener deconvolution by a lens of radius {radius:g}."
        panels.append(Panel(title="restored", pixels=restored, text=how, **_measured(restored, in_focus)))
    if in_focus is not None:
        panels.insert(0, Panel(title="sharp", pixels=in_focus, text="The picture in focus."))
    height, width = out_of_focus.shape[1:]
    is_cut = max(height, width) > view_size(len(panels))
    return Sheet(
        name=f"{stem_of(image)}-{'deblurred' if radius is not None else 'blurred'}",
        title=f"{name_of(image)}: {'a lens undone' if radius is not None else 'out of focus'}",
        panels=tuple(panels),
        footer=f"{width} x {height} pixels{', the centre shown' if is_cut else ''}; radii in pixels; "
        f"noise of {noise:g} of 255 grey levels.",
    )


def _seen_through(pixels: Pixels, *, lens: Floats, shape: tuple[int, ...]) -> Pixels:
    """Cut off the border that a blurred picture of this shape has lost to its lens; leave other sizes as they are."""
    margin = len(lens) // 2
    if pixels.shape[1:] != (shape[1] + 2 * margin, shape[2] + 2 * margin):
        return pixels
    return pixels[:, margin : margin + shape[1], margin : margin + shape[2]]


def _lens(kernel: Any) -> Floats:
    weights = as_kernel(kernel).array()
    is_mirrored = np.allclose(weights, weights[::-1], atol=1e-12) and np.allclose(weights, weights[:, ::-1], atol=1e-12)
    if not is_mirrored or weights.shape[0] % 2 == 0 or weights.shape[1] % 2 == 0 or abs(weights.sum()) < 1e-12:
        raise UsageError(
            "deblur: `kernel` must have odd sides, be the same when mirrored along either axis, and not sum to 0, got "
            f"{weights.shape[0]} x {weights.shape[1]} with sum {weights.sum():g}. Give one such as defocus_kernel(3)."
        )
    return weights


def _wiener(picture: Floats, weights: Floats, *, noise: float) -> Floats:
    """Restore one channel (H, W)."""
    height, width = picture.shape
    mirrored = np.pad(picture, ((0, height), (0, width)), mode="symmetric")
    mean = float(mirrored.mean())
    transfer = np.fft.rfft2(_centred(weights, mirrored.shape))
    spectrum = np.fft.rfft2(mirrored - mean)
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width))
    passed = np.abs(transfer) ** 2
    noise_power = (noise**2 + ROUNDING) * mirrored.size
    # S_x = c / f^2 with the c that is seen where the lens lets enough through to measure it.
    clear = (passed > CLEAR) & (frequency > 0)
    seen = np.maximum(np.abs(spectrum[clear]) ** 2 - noise_power, 0) / passed[clear] * frequency[clear] ** 2
    constant = max(float(seen.mean()) if seen.size else 0.0, 1e-9)
    estimate = np.conj(transfer) * spectrum / np.maximum(passed + noise_power * frequency**2 / constant, 1e-12)
    restored = np.fft.irfft2(estimate, s=mirrored.shape)[:height, :width]
    return np.clip(restored + mean / float(weights.sum()), 0, 255)


def _centred(weights: Floats, shape: tuple[int, ...]) -> Floats:
    """Lay a kernel on an empty picture, its centre on the first pixel; what reaches beyond an edge enters opposite."""
    laid = np.zeros(shape)
    rows, columns = (np.arange(size) - size // 2 for size in weights.shape)
    np.add.at(laid, (rows[:, None] % shape[0], columns % shape[1]), weights)
    return laid


def _measured(pixels: Pixels, sharp: npt.NDArray[Any] | None) -> dict[str, Any]:
    if sharp is None:
        return {}
    decibels = psnr(pixels, sharp)
    return {"note": f"PSNR {decibels:.2f} dB", "facts": {"psnr_db": decibels if math.isfinite(decibels) else None}}


def _check_noise(function: str, noise: float) -> None:
    if not (isinstance(noise, int | float) and 0 <= noise <= 255):
        raise UsageError(f"{function}: `noise` must be from 0 to 255 grey levels, got {noise!r}. Try 1.")
