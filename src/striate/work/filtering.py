r"""Filtering a picture with one kernel, and a labelled gallery of many.

$$ y_{i,j} = \sum_{a,b} k_{a,b}\; x_{i+a-p,\; j+b-q} $$

for each channel, with $p$ and $q$ half of kH - 1 and kW - 1 rounded down: the cross-correlation of
`striate.ops.conv2d`, on a picture continued beyond its borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np

from striate.errors import UsageError
from striate.ops.convolution import conv2d
from striate.work._pixels import Floats, Pixels, Size, name_of, read_pixels, reduce, stem_of, to_bytes
from striate.work.kernels import Kernel, as_kernel, list_kernels
from striate.work.sheet import Panel, Sheet

__all__ = ["Border", "Display", "Mode", "filter_image", "gallery", "shades"]

Mode = Literal["per-channel", "grey"]
Border = Literal["reflect", "zeros", "valid"]
Display = Literal["auto", "signed", "absolute", "clip", "stretch"]

PERCENTILE = 99.0
"""Of the magnitudes, what becomes black or white: a few extreme pixels must not turn all else grey."""


def filter_image(
    image: Any, kernel: Any, *, mode: Mode = "per-channel", border: Border = "reflect", flip: bool = False
) -> Floats:
    """Filter a picture with a kernel.

    Args:
        image: A path, encoded bytes, or an array (H, W), (H, W, 3) or (3, H, W) with values 0 to 255.
        kernel: A name, typed text, an array (kH, kW) or a `Kernel`.
        mode: ``"per-channel"`` filters red, green and blue each by itself, ``"grey"`` the brightness.
        border: What lies beyond the picture: ``"reflect"`` mirrors it about its outermost pixels, ``"zeros"`` is black;
            ``"valid"`` takes only windows that lie within, and the result is smaller.
        flip: Turn the kernel by 180 degrees: true convolution, whose window lies on the pixels before.

    Returns:
        (C, H, W), not rounded and not clipped; (C, H - kH + 1, W - kW + 1) for ``"valid"``.

    Raises:
        ImageError: the file cannot be read.
        UsageError: a setting, the kernel or the array cannot be used.

    Example:
        >>> filter_image([[0, 0, 9, 9], [0, 0, 9, 9]], "-1 0 1").tolist()
        [[[0.0, 9.0, 9.0, 0.0], [0.0, 9.0, 9.0, 0.0]]]
    """
    _check_choice("filter_image", "mode", mode, get_args(Mode))
    _check_choice("filter_image", "border", border, get_args(Border))
    weights = as_kernel(kernel).array()
    x_C1HW = read_pixels("filter_image", image, grey=mode == "grey")[:, None]
    if border != "valid":
        # Of an even kernel's four middle taps the first is laid on the pixel; flipped, it has become the last.
        pads = [((size - 1 + flip) // 2, (size - flip) // 2) for size in weights.shape]
        x_C1HW = np.pad(x_C1HW, [(0, 0), (0, 0), *pads], mode="reflect" if border == "reflect" else "constant")
    if flip:
        weights = weights[::-1, ::-1]
    y: Floats = conv2d(x_C1HW, weights[None, None])[:, 0]
    return y


def shades(values: Floats, *, total: Fraction | float = 0, display: Display = "auto") -> tuple[Pixels, str]:
    """Turn filtered values into shades, and say how.

    Args:
        values: What `filter_image` returned, (C, H, W).
        total: The sum of the kernel's weights, by which ``"auto"`` decides.
        display: ``"clip"`` leaves values as they are. ``"signed"`` makes 0 grey, positive values brighter, negative
            ones darker. ``"absolute"`` makes 0 black and either sign bright. ``"stretch"`` makes the lowest black
            and the highest white. ``"auto"`` clips where the weights sum to 1, is signed where they sum to 0, and
            stretches all others.

    Returns:
        Shades (C, H, W), and one phrase such as ``"0 is grey, +-412 white and black"``.

    Example:
        >>> pixels, note = shades(np.array([[[-10.0, 0.0, 10.0]]]))
        >>> pixels.tolist(), note
        ([[[0, 128, 255]]], '0 is grey, 10 white, -10 black')
    """
    _check_choice("shades", "display", display, get_args(Display))
    if display == "auto":
        display = "clip" if total == 1 else "signed" if total == 0 else "stretch"
    if display == "clip":
        return to_bytes(values), "values as they are"
    if display == "stretch":
        low, high = (float(value) for value in np.percentile(values, (100 - PERCENTILE, PERCENTILE)))
        return to_bytes((values - low) * (255 / ((high - low) or 1.0))), f"{_short(low)} is black, {_short(high)} white"
    largest = float(np.percentile(np.abs(values), PERCENTILE)) or 1.0
    if display == "absolute":
        return to_bytes(np.abs(values) * (255 / largest)), f"sign left out: 0 is black, +-{_short(largest)} white"
    return to_bytes(127.5 + values * (127.5 / largest)), f"0 is grey, {_short(largest)} white, -{_short(largest)} black"


def gallery(
    image: Any,
    kernels: Sequence[Any] | None = None,
    *,
    mode: Mode = "per-channel",
    border: Border = "reflect",
    flip: bool = False,
    display: Display = "auto",
    size: Size = "fit",
) -> Sheet:
    """Filter a picture with several kernels and lay the results out, each with its name, numbers and sentence.

    Args:
        image: As in `filter_image`.
        kernels: Names, typed text, arrays or kernels. By default all kernels of the course texts.
        mode: As in `filter_image`, like `border` and `flip`.
        border: See there.
        flip: See there.
        display: As in `shades`.
        size: The picture is reduced to this longer side before it is filtered, so that what is shown is what was
            filtered, pixel by pixel: ``"fit"`` to what fits the panels; None leaves it as it is.

    Example:
        >>> [panel.title for panel in gallery(np.eye(8) * 255, ["sobel-x", "0 1; -1 0"]).panels]
        ['picture', 'sobel-x', '0 1; -1 0']
    """
    chosen = list_kernels() if kernels is None else tuple(as_kernel(each) for each in kernels)
    if not chosen:
        raise UsageError("gallery: `kernels` must name at least one kernel, got none. Leave it out for all of them.")
    with_original = all(each.name != "identity" for each in chosen)
    given = to_bytes(read_pixels("gallery", image, grey=mode == "grey"))
    pixels = reduce(given, size=size, panels=len(chosen) + with_original)
    name, (height, width) = name_of(image), pixels.shape[1:]
    panels = [Panel(title=name, pixels=pixels, note="the picture itself")] if with_original else []
    panels += [_filtered(pixels, each, border=border, flip=flip, display=display) for each in chosen]
    remarks = [
        f"{width} x {height} pixels"
        + (f", reduced from {given.shape[2]} x {given.shape[1]}" if pixels is not given else ""),
        {"reflect": "mirrored borders", "zeros": "black borders", "valid": "windows within the picture only"}[border],
        "true convolution: kernels turned by 180 degrees" if flip else "cross-correlation: kernels as printed",
    ]
    return Sheet(
        name=f"{stem_of(image)}-{_short_name(chosen) if kernels is not None else 'gallery'}",
        title=f"{name}: what {'one kernel extracts' if len(chosen) == 1 else f'{len(chosen)} kernels extract'}",
        panels=tuple(panels),
        footer="; ".join(remarks) + ".",
        view=None if size == "fit" else max(height, width),
    )


def _filtered(pixels: Pixels, kernel: Kernel, *, border: Border, flip: bool, display: Display) -> Panel:
    values = filter_image(pixels, kernel, border=border, flip=flip)
    pixels_shown, note = shades(values, total=kernel.sum, display=display)
    facts = {"kernel": kernel.to_dict(), "lowest": values.min(), "highest": values.max(), "mean": values.mean()}
    return Panel(
        title=kernel.name,
        pixels=pixels_shown,
        note=note,
        text=kernel.extracts or _of_typed(kernel),
        cells=kernel.cells,
        factor=kernel.factor,
        facts={name: value if name == "kernel" else float(value) for name, value in facts.items()},
    )


def _of_typed(kernel: Kernel) -> str:
    """Say of a typed kernel what can be said of it."""
    known = next((each for each in list_kernels() if each.weights == kernel.weights), None)
    if known is not None:
        return f"The same as {known.name}. {known.extracts}"
    if kernel.sum == 0:
        return "Its weights sum to 0: flat areas answer 0, only changes are left."
    if kernel.sum == 1:
        return "Its weights sum to 1: flat areas keep their brightness."
    total = _short(float(kernel.sum))
    return f"Its weights sum to {total}: flat areas answer {total} times their brightness."


def _short_name(kernels: Sequence[Kernel]) -> str:
    """Return what ends a file's name."""
    return "kernels" if len(kernels) > 1 else kernels[0].name if kernels[0].item else "kernel"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _check_choice(function: str, argument: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"{function}: `{argument}` must be one of {', '.join(choices)}, got {value!r}. Choose one.")
