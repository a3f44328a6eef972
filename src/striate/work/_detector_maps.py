"""What each detector of scikit-image finds in a grey picture, drawn: grey levels 0 to 1 become shades and a phrase."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from striate.errors import MissingExtraError
from striate.work._pixels import Floats, Pixels, pillow, to_bytes

__all__ = [
    "Drawn",
    "blobs",
    "canny",
    "corners",
    "edges",
    "fast",
    "hog",
    "hough_lines",
    "pyramid",
    "response",
    "scale_space",
    "sift",
    "skimage",
    "smooth",
    "structure_tensor",
]

Drawn: TypeAlias = tuple[Pixels, str]

MARK = (255, 120, 0)
MOST_CORNERS = 200
BORDER = 12
LARGEST_BLOB = 24
"""Sigma in pixels."""
CANNY_SIGMA = 1.4
PYRAMID_LEVELS = 5


def skimage(part: str) -> Any:
    """Import a part of scikit-image.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(f"skimage.{part}")
    except ImportError as error:
        raise MissingExtraError(
            "detectors: Canny, Harris, SIFT and the others need scikit-image, which is not installed. "
            'Run `pip install "striate[vision]"`.'
        ) from error


def canny(grey: Floats) -> Drawn:
    """Thin edges: maxima of the gradient across the edge, followed from strong ones to weak ones."""
    found = skimage("feature").canny(grey, sigma=CANNY_SIGMA)
    return to_bytes(255.0 * found[None]), f"{_count(int(found.sum()), 'edge pixel')}, sigma {CANNY_SIGMA:g}"


def edges(name: str) -> Callable[[Floats], Drawn]:
    """Return the gradient's magnitude by the kernels of that name."""

    def drawn(grey: Floats) -> Drawn:
        size = getattr(skimage("filters"), name)(grey)
        largest = _large(size)
        return to_bytes(255 / largest * size[None]), f"0 is black, a change of {largest:.2g} a pixel white"

    return drawn


def corners(measure: Callable[[Any, Floats], Any], *, distance: int = 5) -> Callable[[Floats], Drawn]:
    """Return the strongest maxima of a corner measure, which is given scikit-image's `feature`."""

    def drawn(grey: Floats) -> Drawn:
        feature = skimage("feature")
        peaks = feature.peak_local_max(
            measure(feature, grey), min_distance=distance, threshold_rel=0.02, num_peaks=MOST_CORNERS
        )
        most = ", the strongest" if len(peaks) == MOST_CORNERS else ""
        return _circles(grey, ((y, x, 3.0) for y, x in peaks)), f"{_count(len(peaks), 'corner')}{most}"

    return drawn


def fast(grey: Floats) -> Drawn:
    """Corners by FAST: 12 of 16 pixels on a circle all brighter or all darker than its centre."""
    feature = skimage("feature")
    measure = feature.corner_fast(grey, n=12, threshold=0.12)
    peaks = feature.corner_peaks(measure, min_distance=4)
    return _circles(grey, ((y, x, 3.0) for y, x in peaks)), f"{_count(len(peaks), 'corner')}, threshold 0.12"


def smooth(grey: Floats) -> Floats:
    """Take the grain away, which second derivatives would answer to."""
    smoothed: Floats = skimage("filters").gaussian(grey, sigma=2)
    return smoothed


def response(grey: Floats) -> Drawn:
    """Draw the determinant of the Hessian: positive on blobs and corners, negative on saddles."""
    wider = np.pad(grey, BORDER, mode="symmetric")  # scikit-image sees black beyond the borders
    strength = skimage("feature").hessian_matrix_det(wider, sigma=2, approximate=False)
    strength = strength[BORDER:-BORDER, BORDER:-BORDER]
    largest = _large(strength)
    return to_bytes(127.5 + 127.5 / largest * strength[None]), "0 is grey, blobs white, saddles black, sigma 2"


def blobs(name: str, *, threshold: float, **options: Any) -> Callable[[Floats], Drawn]:
    """Return bright and dark blobs by one of scikit-image's three detectors, as circles of their size."""
    # The Laplacian ones answer to bright blobs, and dark ones are bright in the negative; a determinant has no sign.
    is_determinant = name == "blob_doh"

    def drawn(grey: Floats) -> Drawn:
        find = getattr(skimage("feature"), name)
        wider = np.pad(grey, LARGEST_BLOB, mode="symmetric")
        both = (wider,) if is_determinant else (wider, 1 - wider)
        found = [blob for each in both for blob in find(each, max_sigma=LARGEST_BLOB, threshold=threshold, **options)]
        scale, (height, width) = 1.0 if is_determinant else np.sqrt(2), grey.shape
        circles = [(y - LARGEST_BLOB, x - LARGEST_BLOB, sigma * scale) for y, x, sigma in found]
        inside = [(y, x, radius) for y, x, radius in circles if 0 <= y < height and 0 <= x < width]
        return _circles(grey, inside), f"{_count(len(inside), 'blob')}, bright or dark"

    return drawn


def hough_lines(grey: Floats) -> Drawn:
    """Straight lines: edge pixels vote for all lines through them, the most voted are drawn."""
    transform = skimage("transform")
    found = skimage("feature").canny(grey, sigma=2)
    votes, angles, distances = transform.hough_line(
        found, theta=np.linspace(-np.pi / 2, np.pi / 2, 360, endpoint=False)
    )
    _, best_angles, best_distances = transform.hough_line_peaks(votes, angles, distances, num_peaks=10)
    image, far = _faded(grey), 2 * sum(grey.shape)
    pen = ImageDraw.Draw(image)
    for angle, distance in zip(best_angles, best_distances, strict=True):
        foot, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        ends = [tuple(foot * distance + along * side) for side in (-far, far)]
        pen.line(ends, fill=MARK, width=2)
    return _shades(image), f"{_count(len(best_angles), 'line')} with most votes"


def structure_tensor(grey: Floats) -> Drawn:
    """Colour every place by the direction of its texture, bright where it is strong, pale where it has no direction."""
    rows, mixed, columns = skimage("feature").structure_tensor(grey, sigma=2, mode="nearest", order="rc")
    angle = 0.5 * np.arctan2(2 * mixed, columns - rows)
    strength = rows + columns
    coherence = np.hypot(rows - columns, 2 * mixed) / np.maximum(strength, 1e-12)
    brightness = np.sqrt(strength / _large(strength))
    hsv = np.stack([(angle / np.pi + 0.5) % 1, coherence, np.clip(brightness, 0, 1)])
    image = Image.fromarray(np.ascontiguousarray(to_bytes(255 * hsv).transpose(1, 2, 0)), mode="HSV").convert("RGB")
    return _shades(image), "hue is direction, sigma 2"


def sift(grey: Floats) -> Drawn:
    """Keypoints of SIFT with their size and direction; each gets 128 numbers that describe its surroundings."""
    detector = skimage("feature").SIFT()
    try:
        detector.detect_and_extract(grey)
    except RuntimeError:  # what it raises where it finds nothing
        return _shades(_faded(grey)), "no keypoints"
    image = _faded(grey)
    pen = ImageDraw.Draw(image)
    for (y, x), sigma, angle in zip(detector.positions, detector.sigmas, detector.orientations, strict=True):
        radius = float(sigma)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK)
        pen.line((x, y, x + radius * np.sin(angle), y + radius * np.cos(angle)), fill=MARK)
    return _shades(image), f"{_count(len(detector.sigmas), 'keypoint')} of 128 numbers each"


def hog(grey: Floats) -> Drawn:
    """Histograms of gradient directions in cells of 8 x 8 pixels, drawn as stars."""
    numbers, picture = skimage("feature").hog(grey, orientations=9, pixels_per_cell=(8, 8), visualize=True)
    largest = _large(picture)
    return to_bytes(255 / largest * picture[None]), f"{len(numbers):,} numbers, cells of 8 x 8 pixels, 9 directions"


def scale_space(grey: Floats) -> Drawn:
    """The picture at four scales: smoothed with Gaussians of sigma 1, 2, 4 and 8 pixels, shown at half size."""
    smooth = skimage("filters").gaussian
    quarters = [_half(smooth(grey, sigma=sigma)) for sigma in (1, 2, 4, 8)]
    tiled = np.block([[quarters[0], quarters[1]], [quarters[2], quarters[3]]])
    return to_bytes(255 * tiled[None]), "sigma 1, 2, 4 and 8 pixels, each at half size"


def pyramid(name: str) -> Callable[[Floats], Drawn]:
    """Return the levels of a Gaussian or Laplacian pyramid, the largest on the left, at two thirds of their size."""

    def drawn(grey: Floats) -> Drawn:
        levels = list(getattr(skimage("transform"), name)(grey, max_layer=PYRAMID_LEVELS - 1, downscale=2))
        is_signed = name == "pyramid_laplacian"
        height, width = grey.shape
        page = np.full((height, width + width // 2 + 2), 255, dtype=np.uint8)
        top = 0
        for number, level in enumerate(levels):
            shades = _levels_shades(level, signed=is_signed)
            if number == 0:
                page[:, :width] = shades
                continue
            page[top : top + shades.shape[0], width + 1 : width + 1 + shades.shape[1]] = shades[: height - top]
            top += shades.shape[0]
        shown = Image.fromarray(page).resize((width, max(1, round(height / 1.5))), Image.Resampling.LANCZOS)
        note = f"{len(levels)} levels, each half of the one before"
        return np.asarray(shown)[None], note + (", 0 is grey" if is_signed else "")

    return drawn


def _levels_shades(level: Floats, *, signed: bool) -> Pixels:
    if not signed:
        return to_bytes(255 * level)
    largest = _large(level)
    return to_bytes(127.5 + 127.5 / largest * level)


def _large(values: Floats) -> float:
    """Return the magnitude that becomes white or black; 1 where there is nothing but rounding errors."""
    large = float(np.percentile(np.abs(values), 99))
    return large if large > 1e-9 else 1.0


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _half(grey: Floats) -> Floats:
    height, width = (length // 2 * 2 for length in grey.shape)
    means: Floats = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return means


def _faded(grey: Floats) -> Image.Image:
    """Return the picture with less contrast, so that marks stand out."""
    return pillow(to_bytes(60 + 150 * grey[None]))


def _circles(grey: Floats, places: Iterable[tuple[float, float, float]]) -> Pixels:
    """Draw circles (row, column, radius) on the picture."""
    image = _faded(grey)
    pen = ImageDraw.Draw(image)
    for y, x, radius in places:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK)
    return _shades(image)


def _shades(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
