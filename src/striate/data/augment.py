"""Random changes of the training images, for whole batches on the model's device.

Every random number is a hash of (seed, epoch, sample id, purpose): a picture is changed in the same way whatever the
batch size, the order, the number of processes, or the step at which a run was resumed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.data import appearance, geometry
from striate.data.random import Stream, uniform
from striate.errors import UsageError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from striate.data.preprocess import Preprocessing
    from striate.data.store import Canvas

__all__ = ["Augmentation"]

FLIPS = ("random", "alternating")
PADDING_MODES = ("zeros", "reflect")


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How training images are changed at random; everything is off by default.

    Geometry comes first: flip, rotation, scale, shear, shift and crop are composed and sampled once; flips and shifts
    by whole pixels copy without interpolation. Then follow colour, normalisation, cut-out, noise and mix-up.
    In the early epochs the normalised image is made smaller first.

    Raises:
        UsageError: a value is outside its range; the message names the field and the rule.

    Example:
        >>> Augmentation().is_identity
        True
        >>> Augmentation(crop_padding=4, horizontal_flip="random").is_identity
        False
    """

    crop_padding: int = 0
    """Pad each side by this many pixels and crop at a random whole-pixel position."""
    crop_padding_mode: str = "zeros"
    """What `crop_padding` pads with: zeros (black) or reflect."""
    horizontal_flip: str | None = None
    """Mirror left and right: `random` half of the images in each epoch, `alternating` each image every second epoch."""
    resized_crop_scale: tuple[float, float] | None = None
    """Cut a random box covering this share of the area (smallest, largest) and resize it."""
    rotation_degrees: float = 0.0
    """Turn by up to this many degrees either way."""
    scale: float = 0.0
    """Enlarge by a factor from 1 - scale to 1 + scale."""
    shear: float = 0.0
    """Shift rows sideways by up to this many pixels per row."""
    translate: float = 0.0
    """Move by up to this many pixels (fractions too) right or left, and down or up."""
    cutout: int = 0
    """Side in pixels of a square that is filled with the mean colour."""
    color_jitter: tuple[float, float, float] | None = None
    """Largest relative change of brightness, contrast and saturation."""
    mixup: float = 0.0
    """Mix pairs of images and their targets with weights from Beta(mixup, mixup)."""
    input_noise: float = 0.0
    """Standard deviation of normal noise on the normalised inputs."""
    early_epochs: int = 0
    """Show the images smaller, at `early_size`, in this many epochs at the start."""
    early_size: int = 0
    """Side in pixels of the images of the early epochs, for networks that take any size."""

    def __post_init__(self) -> None:
        for name in ("resized_crop_scale", "color_jitter"):  # JSON has lists where Python has tuples
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        for name, rule, holds in _RULES:
            value = getattr(self, name)
            if not holds(value):
                near = nearest(value, FLIPS + PADDING_MODES) if isinstance(value, str) else ""
                raise UsageError(
                    f"Augmentation: `{name}` must be {rule}, got {value!r}.{near} Leave it out to switch it off."
                )
        if self.resized_crop_scale is not None and self.crop_padding:
            raise UsageError(
                f"Augmentation: `crop_padding` must be 0 together with `resized_crop_scale`, got {self.crop_padding}. "
                "Both choose the crop: keep one of them."
            )
        if bool(self.early_epochs) != bool(self.early_size):
            raise UsageError(
                "Augmentation: `early_epochs` and `early_size` must be given together, "
                f"got {self.early_epochs} and {self.early_size}. Give both, or leave both out."
            )

    @property
    def is_identity(self) -> bool:
        """Whether nothing is changed at all."""
        changes = (self.cutout, self.color_jitter, self.mixup, self.input_noise, self.early_epochs)
        return not (self._is_geometric or any(changes))

    def describe(self) -> str:
        """Name what is on, for people.

        Example:
            >>> Augmentation(crop_padding=4, horizontal_flip="random").describe()
            'crop padding 4, horizontal flip random'
            >>> Augmentation().describe()
            'none'
        """
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = "/".join(f"{number:g}" for number in value) if isinstance(value, tuple) else f"{value}"
                shown.append(f"{field.name.replace('_', ' ')} {text}")
        return ", ".join(shown) or "none"

    @property
    def _is_geometric(self) -> bool:
        return bool(self.crop_padding or self.horizontal_flip or self.resized_crop_scale or self._is_affine)

    @property
    def _is_affine(self) -> bool:
        return bool(self.rotation_degrees or self.scale or self.shear or self.translate)

    def apply(
        self,
        canvas: Canvas,
        *,
        preprocessing: Preprocessing,
        sample_ids: NDArray[np.int64],
        seed: int,
        epoch: int,
        memory_format: torch.memory_format | None = None,
    ) -> Tensor:
        """Change, crop and normalise a batch; everything but mix-up, which needs the batch as it is trained on.

        Args:
            canvas: Images as `ImageStore.gather` gives them, or vectors (B, D), which only get noise.
            preprocessing: Size of the output and the normalisation.
            sample_ids: (B,) `Dataset.sample_ids` of the batch.
            seed: The seed of the run.
            epoch: Counted from 0.
            memory_format: Layout of the result; None: contiguous.

        Returns:
            Normalised inputs, (B, C, S, S) or (B, D), float32, on the device of `canvas.pixels`. S is the image size
            of the preprocessing, in the early epochs `early_size`.
        """
        key: dict[str, Any] = {"seed": seed, "epoch": epoch, "sample_ids": sample_ids}
        if preprocessing.image_size is None:
            inputs = preprocessing.from_canvas(canvas)
        else:
            pixels = self._crop(canvas, preprocessing=preprocessing, key=key)
            if self.color_jitter is not None:
                draws = uniform(**key, stream=Stream.COLOR, count=3)
                pixels = appearance.jitter_color(pixels, draws, strengths=self.color_jitter)
            inputs = preprocessing.normalize(pixels, memory_format=memory_format)
            if epoch < self.early_epochs:
                inputs = geometry.shrink(inputs, side=self.early_size)
            if self.cutout:
                inputs = appearance.cut_out(inputs, uniform(**key, stream=Stream.CUTOUT, count=2), side=self.cutout)
        return appearance.add_noise(inputs, std=self.input_noise, **key) if self.input_noise else inputs

    def _crop(self, canvas: Canvas, *, preprocessing: Preprocessing, key: dict[str, Any]) -> Tensor:
        """Apply the geometry: by copying pixels where that is exact, else by one bilinear sampling."""
        if not self._is_geometric or preprocessing.image_size is None:
            return preprocessing.crop(canvas)
        preprocessing.check_fits(canvas)
        sizes, image_size = canvas.sizes.numpy(), preprocessing.image_size
        flips = self._flips(key)
        if self.resized_crop_scale is None and not self._is_affine:
            return geometry.exact_crop(
                canvas.pixels,
                sizes=sizes,
                offsets=self._offsets(sizes, image_size=image_size, key=key),
                flips=flips,
                image_size=image_size,
                padding_mode=self.crop_padding_mode,
            )
        return geometry.affine_crop(
            canvas.pixels,
            sizes=sizes,
            boxes=self._boxes(sizes, image_size=image_size, key=key),
            matrices=self._matrices(image_size=image_size, key=key),
            flips=flips,
            image_size=image_size,
            repeat_edge=self.resized_crop_scale is not None or self.crop_padding_mode == "reflect",
        )

    def _flips(self, key: dict[str, Any]) -> NDArray[np.bool_]:
        if self.horizontal_flip is None:
            return np.zeros(len(key["sample_ids"]), dtype=np.bool_)
        if self.horizontal_flip == "random":
            return _halves(uniform(**key, stream=Stream.FLIP, count=1))
        first = _halves(uniform(**{**key, "epoch": 0}, stream=Stream.FLIP, count=1))
        return first ^ np.bool_(key["epoch"] % 2 == 1)

    def _offsets(self, sizes: NDArray[np.int64], *, image_size: int, key: dict[str, Any]) -> NDArray[np.int64]:
        if not self.crop_padding:
            return geometry.center_offsets(sizes, image_size=image_size)
        draws = uniform(**key, stream=Stream.CROP, count=2)
        return geometry.shifted_offsets(sizes, draws, image_size=image_size, padding=self.crop_padding)

    def _boxes(self, sizes: NDArray[np.int64], *, image_size: int, key: dict[str, Any]) -> NDArray[np.float64]:
        if self.resized_crop_scale is not None:
            draws = uniform(**key, stream=Stream.CROP, count=4)
            return geometry.resized_boxes(sizes, draws, area_range=self.resized_crop_scale)
        offsets = self._offsets(sizes, image_size=image_size, key=key)
        return np.concatenate((offsets, np.full_like(offsets, image_size)), axis=1).astype(np.float64)

    def _matrices(self, *, image_size: int, key: dict[str, Any]) -> NDArray[np.float64] | None:
        if not self._is_affine:
            return None
        return geometry.affine_matrices(
            uniform(**key, stream=Stream.AFFINE, count=5),
            rotation_degrees=self.rotation_degrees,
            scale=self.scale,
            shear=self.shear,
            translate=self.translate,
            image_size=image_size,
        )


def _halves(draws: NDArray[np.float64]) -> NDArray[np.bool_]:
    return draws[:, 0] < 0.5


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: Any, *, high: float = math.inf) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= high
    )


def _numbers(value: Any, *, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(_number(item) for item in value)


_RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("crop_padding", "a whole number of pixels, 0 or more", _whole),
    ("crop_padding_mode", "`zeros` or `reflect`", lambda v: v in PADDING_MODES),
    ("horizontal_flip", "`random`, `alternating` or None", lambda v: v is None or v in FLIPS),
    (
        "resized_crop_scale",
        "two numbers with 0 < smallest <= largest <= 1, or None",
        lambda v: v is None or (_numbers(v, count=2) and 0 < v[0] <= v[1] <= 1),
    ),
    ("rotation_degrees", "from 0 to 180", lambda v: _number(v, high=180)),
    ("scale", "from 0 to 0.9", lambda v: _number(v, high=0.9)),
    ("shear", "from 0 to 2", lambda v: _number(v, high=2)),
    ("translate", "a number of pixels, 0 or more", _number),
    ("cutout", "a whole number of pixels, 0 or more", _whole),
    ("color_jitter", "three numbers, each 0 or more, or None", lambda v: v is None or _numbers(v, count=3)),
    ("mixup", "from 0.01 to 100, or 0", lambda v: _number(v, high=100) and (v == 0 or v >= 0.01)),
    ("input_noise", "a finite number, 0 or more", _number),
    ("early_epochs", "a whole number of epochs, 0 or more", _whole),
    ("early_size", "a whole number of pixels, 0 or more", _whole),
)
