"""From decoded images to network inputs: resize, centre crop, normalise.

Training, evaluation and prediction all come through here, so an image gives the same input in each of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from striate.data import geometry
from striate.data.resize import Interpolation, resize_short_side
from striate.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from striate.data.splits import Dataset
    from striate.data.store import Canvas

__all__ = ["Preprocessing", "statistics"]

INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)
CHUNK_BYTES = 16 << 20  # pixels that `statistics` looks at together


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """What is done to each image before the network sees it, as plain numbers that are stored with the run.

    input = (pixel / 255 - mean) / std for images; input = (value - mean) / std for vectors.

    Raises:
        UsageError: a value is of the wrong type or outside its range; the message names the field and the rule.

    Example:
        >>> Preprocessing(channels=1, image_size=28, mean=(0.13,), std=(0.31,)).resize_size
        28
    """

    channels: int
    """Channels of an image, or features of a vector."""
    image_size: int | None = None
    """Side in pixels of the square that the network takes; None for vectors."""
    resize_size: int | None = None
    """Length in pixels to which the short side is resized before cropping; None: `image_size`."""
    mean: tuple[float, ...]
    """Mean of each channel, on the scale 0 to 1; or of each feature."""
    std: tuple[float, ...]
    """Standard deviation of each channel, on the scale 0 to 1; or of each feature."""
    interpolation: Interpolation = "bilinear"
    """How images are resized, always with an anti-aliasing filter: bilinear or bicubic."""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # JSON has lists where Python has tuples
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if self.resize_size is None:
            object.__setattr__(self, "resize_size", self.image_size)
        for name, rule, holds in _RULES:
            value = getattr(self, name)
            if not holds(self, value):
                near = nearest(value, INTERPOLATIONS) if isinstance(value, str) else ""
                raise UsageError(
                    f"Preprocessing: `{name}` must be {rule}, got {value!r}.{near} "
                    "Values that fit stand in the config.json of a run, under `preprocessing`."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Rebuild from `to_dict`.

        Raises:
            UsageError: a key is unknown or missing, or a value does not fit.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(
                    f"Preprocessing.from_dict: `{key}` must be one of {', '.join(known)}.{nearest(key, known)} "
                    "Take it out, or correct the spelling."
                )
        missing = [k for k, f in known.items() if f.default is dataclasses.MISSING and k not in values]
        if missing:
            raise UsageError(
                f"Preprocessing.from_dict: `values` must hold {', '.join(f'`{key}`' for key in missing)}, "
                f"got {sorted(values)}. Compare the config.json of another run."
            )
        return cls(**values)

    def check_fits(self, canvas: Canvas) -> None:
        """Raise `DataError` where an image of the canvas is smaller than the crop."""
        sizes = canvas.sizes
        if len(sizes) and int(sizes.min()) < (self.image_size or 0):
            height, width = sizes[int(sizes.amin(dim=1).argmin())].tolist()
            raise DataError(
                f"Preprocessing: an image must be at least {self.image_size} x {self.image_size} pixels, "
                f"got {height} x {width}. Resize the images first: `prepare` or `resize_short_side`."
            )

    def crop(self, canvas: Canvas) -> Tensor:
        """Cut the centre square out of each image, (B, C, image_size, image_size), uint8.

        Raises:
            DataError: an image is smaller than `image_size`.
        """
        size = self.image_size
        if size is None or (canvas.pixels.shape[2:] == (size, size) and bool((canvas.sizes == size).all())):
            return canvas.pixels
        self.check_fits(canvas)
        sizes = canvas.sizes.numpy()
        offsets = geometry.center_offsets(sizes, image_size=size)
        if (offsets == offsets[:1]).all():
            top, left = offsets[0].tolist() if len(offsets) else (0, 0)
            return canvas.pixels[:, :, top : top + size, left : left + size]
        flips = np.zeros(len(sizes), dtype=np.bool_)
        return geometry.exact_crop(canvas.pixels, sizes=sizes, offsets=offsets, flips=flips, image_size=size)

    def normalize(self, pixels: Tensor, *, memory_format: torch.memory_format | None = None) -> Tensor:
        """Shift and scale cropped images to inputs of about mean 0 and standard deviation 1.

        Args:
            pixels: Images (B, C, H, W), 0 to 255, uint8 or float32; or vectors (B, D).
            memory_format: Layout of the result; None: contiguous. Vectors have none.

        Returns:
            A new float32 tensor of the same shape.
        """
        import torch

        if pixels.ndim == 2:
            means, stds = (torch.tensor(values, device=pixels.device) for values in (self.mean, self.std))
            return (pixels - means).div_(stds)
        output = torch.empty(pixels.shape, device=pixels.device, memory_format=memory_format or torch.contiguous_format)
        # Channel by channel into the final layout: uint8 to channels_last in one call takes five times as long.
        # A product and a sum, rounded one by one: a fused one may round differently at the end of a vector register.
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            scaled = pixels[:, channel].to(torch.float32, copy=True).mul_(1 / (255 * std))
            torch.sub(scaled, mean / std, out=output[:, channel])
        return output

    def from_canvas(self, canvas: Canvas, *, memory_format: torch.memory_format | None = None) -> Tensor:
        """Crop the centre of each image and normalise it.

        Returns:
            (B, C, image_size, image_size), or (B, D) for vectors, float32.
        """
        pixels = canvas.pixels if self.image_size is None else self.crop(canvas)
        return self.normalize(pixels, memory_format=memory_format)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn one decoded image into the input that a data set with this image in it would give.

        Args:
            image: (C, H, W) grey levels as `decode` returns them, of any size.

        Returns:
            (C, image_size, image_size), float32, normalised.

        Raises:
            UsageError: the image has another number of channels, or this preprocessing is for vectors.
        """
        import torch

        from striate.data.store import Canvas

        if self.image_size is None or self.resize_size is None or image.ndim != 3 or len(image) != self.channels:
            wanted = "a vector" if self.image_size is None else f"of shape ({self.channels}, height, width)"
            raise UsageError(
                f"Preprocessing.prepare: `image` must be {wanted}, got shape {image.shape}. "
                "Decode it with `decode(path, mode='L')` for one channel, `mode='RGB'` for three."
            )
        resized = resize_short_side(image, size=self.resize_size, interpolation=self.interpolation)
        resized = np.require(resized, requirements="W")  # Pillow's pixels are not, and PyTorch warns of those
        sizes = torch.tensor([resized.shape[1:]])
        return self.from_canvas(Canvas(pixels=torch.from_numpy(resized)[None], sizes=sizes))[0]


def statistics(
    dataset: Dataset,
    *,
    image_size: int | None = None,
    resize_size: int | None = None,
    interpolation: Interpolation = "bilinear",
    max_images: int | None = None,
) -> Preprocessing:
    """Measure mean and standard deviation of each channel or feature over a data set, exactly.

    The sums of pixels are integers, so nothing is rounded before the end and the order does not matter. A channel
    that is the same everywhere gets the standard deviation 1: normalising then gives 0, not a division by 0.

    Args:
        dataset: The training split.
        image_size: Side in pixels of the square that the network takes; None: the shorter side of the images where
            they share one size.
        resize_size: Length in pixels of the short side before cropping; None: what the images are stored with.
        interpolation: How images are resized.
        max_images: Measure this many images at even distances; None: all of them.

    Returns:
        The preprocessing for images or vectors like these.

    Raises:
        DataError: the data set is empty.
        UsageError: the images differ in size and `image_size` is missing.
    """
    if len(dataset) == 0:
        raise DataError("statistics: `dataset` must hold at least one image, got 0. Check the split and its folder.")
    count = min(len(dataset), max_images or len(dataset))
    rows = np.linspace(0, len(dataset) - 1, count).round().astype(np.int64)
    store = dataset.images
    is_image = store.gather(rows[:1]).pixels.ndim == 4
    if is_image and image_size is None:
        if store.image_size is None:
            raise UsageError(
                "statistics: `image_size` must be given for images that differ in size, got None. Try 224."
            )
        image_size = min(store.image_size)
    if is_image and resize_size is None:
        base = getattr(store, "base", store)  # a subset stands before the store that knows
        resize_size = getattr(base, "resize_size", None)
    mean, variance = _image_moments(dataset, rows) if is_image else _vector_moments(dataset, rows)
    std = np.sqrt(variance)
    return Preprocessing(
        channels=store.channels,
        image_size=image_size if is_image else None,
        resize_size=resize_size if is_image else None,
        mean=tuple(mean.tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
        interpolation=interpolation,
    )


def _image_moments(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the pixels of each level; the zeros around the images of a canvas add nothing to the sums over levels."""
    import torch

    channels = dataset.images.channels
    counts, area = np.zeros((channels, 256), dtype=np.int64), 0
    step = max(1, CHUNK_BYTES // max(1, dataset.images.gather(rows[:1]).pixels.numel()))
    for start in range(0, len(rows), step):
        canvas = dataset.images.gather(rows[start : start + step])
        area += int(canvas.sizes.prod(dim=1).sum())
        for channel in range(channels):
            counts[channel] += torch.bincount(canvas.pixels[:, channel].flatten(), minlength=256).numpy()
    levels = np.arange(256, dtype=object)
    sums, squares = counts.astype(object) @ levels, counts.astype(object) @ levels**2
    # Python integers from here on: area * squares - sums^2 cancels most of its digits.
    mean = (sums / area).astype(np.float64)
    variance = ((area * squares - sums * sums) / (area * area)).astype(np.float64)
    return mean / 255, variance / 255**2


def _vector_moments(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, then mean squared distance from it, in float64."""
    values = dataset.images.gather(rows).pixels.numpy().astype(np.float64)
    return values.mean(axis=0), values.var(axis=0)


def _positive_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _finite_each(values: Any, count: int) -> bool:
    numbers = isinstance(values, tuple) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and len(values) == count and all(math.isfinite(value) for value in values)


_RULES: tuple[tuple[str, str, Callable[[Preprocessing, Any], bool]], ...] = (
    ("channels", "a whole number, 1 or more", lambda p, v: _positive_whole(v)),
    ("image_size", "a whole number of pixels, 1 or more, or None", lambda p, v: v is None or _positive_whole(v)),
    (
        "resize_size",
        "a whole number of pixels, at least `image_size`, or None",
        lambda p, v: v is None if p.image_size is None else _positive_whole(v) and v >= p.image_size,
    ),
    ("mean", "one finite number for each channel", lambda p, v: _finite_each(v, p.channels)),
    (
        "std",
        "one finite number above 0 for each channel",
        lambda p, v: _finite_each(v, p.channels) and all(value > 0 for value in v),
    ),
    ("interpolation", f"one of {', '.join(INTERPOLATIONS)}", lambda p, v: v in INTERPOLATIONS),
)
