"""The classical feature detectors that the course texts name, from scikit-image, on one labelled picture.

What scikit-image does not have is listed with the reason in `NOT_OFFERED`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from striate.errors import UsageError, nearest
from striate.work import _detector_maps as maps
from striate.work._pixels import Floats, Size, name_of, read_pixels, reduce, stem_of, to_bytes
from striate.work.sheet import Panel, Sheet

__all__ = ["NOT_OFFERED", "Detector", "Omission", "detect", "detector_sheet", "list_detectors"]

SMALLEST = 32
"""Sides below this leave HOG, SIFT and the pyramids nothing to work on."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector, as scikit-image computes it."""

    name: str
    item: str
    """Item of the course list, E1 to E8."""
    extracts: str
    """What it finds, in one sentence."""
    draw: Callable[[Floats], maps.Drawn]
    """Grey levels 0 to 1 (H, W) to shades (C, H', W') and a phrase on what was found."""


@dataclass(frozen=True, slots=True)
class Omission:
    """A detector that the texts name and scikit-image lacks."""

    name: str
    item: str
    reason: str


_DETECTORS = (
    Detector("canny", "E1", "Edges one pixel thin, strong ones followed into weak ones.", maps.canny),
    Detector("sobel", "E1", "Strength of the gradient by both Sobel kernels.", maps.edges("sobel")),
    Detector("prewitt", "E1", "Strength of the gradient by both Prewitt kernels.", maps.edges("prewitt")),
    Detector("roberts", "E1", "Strength of the gradient by both of Roberts' diagonals.", maps.edges("roberts")),
    Detector(
        "harris", "E2", "Corners: the gradient changes in both directions, by determinant and trace.",
        maps.corners(lambda feature, grey: feature.corner_harris(grey, sigma=1.5)),
    ),
    Detector(
        "shi-tomasi", "E2", "Corners by the smaller eigenvalue of the structure tensor.",
        maps.corners(lambda feature, grey: feature.corner_shi_tomasi(grey, sigma=1.5)),
    ),
    Detector(
        "level-curve-curvature", "E2", "Corners where lines of equal brightness bend sharply (Kitchen and Rosenfeld).",
        maps.corners(lambda feature, grey: abs(feature.corner_kitchen_rosenfeld(maps.smooth(grey), mode="nearest"))),
    ),
    Detector("hessian-strength", "E2", "The determinant of the second derivatives at one scale.", maps.response),
    Detector("fast", "E2", "Corners by a test of the 16 pixels on a circle.", maps.fast),
    Detector(
        "laplacian-of-gaussian", "E3", "Blobs of all sizes: extrema of the Laplacian over place and scale.",
        maps.blobs("blob_log", threshold=0.12, min_sigma=2, num_sigma=10),
    ),
    Detector(
        "difference-of-gaussians", "E3", "The same blobs by subtracting neighbouring scales.",
        maps.blobs("blob_dog", threshold=0.12, min_sigma=2),
    ),
    Detector(
        "determinant-of-hessian", "E3", "Blobs of all sizes: maxima of the determinant over place and scale.",
        maps.blobs("blob_doh", threshold=0.004, min_sigma=3),
    ),
    Detector("hough-lines", "E4", "Straight lines, for which edge pixels vote.", maps.hough_lines),
    Detector("structure-tensor", "E5", "The direction of edges and texture at every place.", maps.structure_tensor),
    Detector("sift", "E7", "Keypoints with size and direction, found again in other pictures.", maps.sift),
    Detector("hog", "E7", "Histograms of gradient directions, cell by cell.", maps.hog),
    Detector("scale-space", "E8", "The picture at four scales: Gaussians take away what is finer.", maps.scale_space),
    Detector("gaussian-pyramid", "E8", "Smoothed and halved, again and again.", maps.pyramid("pyramid_gaussian")),
    Detector("laplacian-pyramid", "E8", "What each halving takes away.", maps.pyramid("pyramid_laplacian")),
)  # fmt: skip
_BY_NAME = {detector.name: detector for detector in _DETECTORS}

NOT_OFFERED = (
    Omission("Deriche", "E1", "no recursive filter in scikit-image; Canny, whose aims it shares, is offered"),
    Omission("differential", "E1", "no zero crossings along the gradient in scikit-image"),
    Omission("SUSAN", "E2", "not in scikit-image; FAST, a kindred test, is offered"),
    Omission("MSER", "E3", "not in scikit-image; OpenCV has it"),
    Omission("PCBR", "E3", "not in scikit-image"),
    Omission("generalised Hough transform", "E4", "only lines, circles and ellipses in scikit-image"),
    Omission("generalised structure tensor", "E5", "only the ordinary one in scikit-image"),
    Omission("affine shape adaptation", "E6", "not in scikit-image"),
    Omission("Harris affine", "E6", "needs affine shape adaptation; Harris at one scale is offered"),
    Omission("Hessian affine", "E6", "needs affine shape adaptation; the determinant of the Hessian is offered"),
    Omission("SURF", "E7", "not in scikit-image; SIFT, and its blobs by the determinant of the Hessian, are offered"),
    Omission("GLOH", "E7", "not in scikit-image; SIFT, which it extends, is offered"),
)
"""What the texts name and is not here, with the reason."""


def list_detectors() -> tuple[Detector, ...]:
    """Return all detectors, in the order of the course list; this needs no scikit-image.

    Example:
        >>> [detector.name for detector in list_detectors()][:4]
        ['canny', 'sobel', 'prewitt', 'roberts']
    """
    return _DETECTORS


def detect(image: Any, name: str) -> Panel:
    """Run one detector on a picture as it is, in grey.

    Args:
        image: A path, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values 0 to 255.
        name: As `list_detectors` has it.

    Returns:
        What it found, drawn, with a phrase about it in `note`.

    Raises:
        ImageError: the file cannot be read.
        UsageError: the name is not known, or the picture is too small.
        MissingExtraError: scikit-image is not installed.
    """
    return _run(to_bytes(read_pixels("detectors", image, grey=True))[0] / 255, _named(name))


def detector_sheet(image: Any, names: Sequence[str] | None = None, *, size: Size = "fit") -> Sheet:
    """Run several detectors and lay out what they find.

    Args:
        image: As in `detect`.
        names: As `list_detectors` has them; by default all.
        size: The picture is reduced to this longer side first. ``"fit"``: to what fits the panels; None: as it is.

    Raises:
        ImageError: the file cannot be read.
        UsageError: a name is not known, or the picture is too small.
        MissingExtraError: scikit-image is not installed.
    """
    chosen = _DETECTORS if names is None else tuple(_named(name) for name in names)
    if not chosen:
        raise UsageError("detectors: `names` must name at least one detector, got none. Leave it out for all of them.")
    maps.skimage("feature")  # said before a large picture is read
    given = to_bytes(read_pixels("detectors", image))
    pixels = reduce(given, size=size, panels=len(chosen) + 1)
    grey = to_bytes(read_pixels("detectors", pixels, grey=True))[0] / 255
    title, (height, width) = name_of(image), grey.shape
    original = Panel(title=title, pixels=pixels, note="the picture itself")
    footer = f"{width} x {height} pixels" + (
        "" if pixels is given else f", reduced from {given.shape[2]} x {given.shape[1]}"
    )
    footer += "; in grey, by scikit-image."
    if names is None:
        footer += f" Not offered: {', '.join(each.name for each in NOT_OFFERED)}."
    return Sheet(
        name=f"{stem_of(image)}-{chosen[0].name if len(chosen) == 1 else 'detectors'}",
        title=f"{title}: what {'one detector finds' if len(chosen) == 1 else f'{len(chosen)} detectors find'}",
        panels=(original, *(_run(grey, detector) for detector in chosen)),
        footer=footer,
        view=None if size == "fit" else max(height, width),
    )


def _named(name: str) -> Detector:
    plain = name.strip().lower().replace("_", "-").replace(" ", "-")
    if plain in _BY_NAME:
        return _BY_NAME[plain]
    missing = {each.name.lower().replace(" ", "-"): each for each in NOT_OFFERED}
    if plain in missing:
        raise UsageError(
            f"detectors: `name` must be a detector that scikit-image has, got {name!r}: {missing[plain].reason}. "
            "`striate filter --list` prints those that are offered."
        )
    raise UsageError(
        f"detectors: `name` must be the name of a detector, got {name!r}.{nearest(plain, _BY_NAME)} "
        "`striate filter --list` prints them all."
    )


def _run(grey: Floats, detector: Detector) -> Panel:
    if min(grey.shape) < SMALLEST:
        raise UsageError(
            f"detectors: `image` must be at least {SMALLEST} pixels wide and high, got {grey.shape[1]} x "
            f"{grey.shape[0]}. Enlarge it or take another."
        )
    shades, note = detector.draw(grey)
    return Panel(title=detector.name, pixels=shades, note=note, text=detector.extracts, facts={"item": detector.item})
