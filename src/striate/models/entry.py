"""What the registry knows about a network, as plain data: paper, counts, deviations, published weights.

This module and the tables built from it import no torch, so that `striate models` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Deviation", "ModelInfo", "Paper", "PretrainedWeights", "PrintedCount"]

InputKind = Literal["images", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a network was published."""

    authors: str
    title: str
    year: int
    venue: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One difference between the paper and the network built here."""

    paper: str
    here: str
    why: str


@dataclass(frozen=True, kw_only=True)
class PrintedCount:
    """A number of parameters as a paper prints it: ``value`` rounded to a multiple of ``unit``, found at ``where``."""

    value: int
    unit: int
    where: str

    def agrees_with(self, num_params: int) -> bool:
        """Say whether an exact count rounds to the printed one.

        Example:
            >>> PrintedCount(value=270_000, unit=10_000, where="table 6").agrees_with(269_722)
            True
        """
        return abs(num_params - self.value) * 2 <= self.unit


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """A published weights file and what is needed to use and to judge it.

    Accuracies are those the publisher reports, in percent, on the ImageNet-1K validation set: the short side of the
    image resized to ``resize_size`` pixels, the centre ``crop_size`` x ``crop_size`` pixels cut out, channels
    normalised with ``mean`` and ``std``. ``sha256_prefix`` is the start of the file's SHA-256 in hexadecimal.
    """

    name: str
    url: str
    sha256_prefix: str
    top1: float
    top5: float
    resize_size: int = 256
    crop_size: int = 224
    num_classes: int = 1000
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One network of the registry at its default sizes.

    ``input_size`` is (C, H, W) for images and (D,) for vectors. ``min_image_size`` is the smallest side, in pixels,
    that leaves at least one pixel in every feature map; None for vectors. ``paper_num_params`` is the count the paper
    prints, None where it prints none for this network. ``pretrained`` is ordered from oldest to newest.
    """

    name: str
    family: str
    description: str
    paper: Paper
    num_params: int
    input_size: tuple[int, ...]
    num_classes: int
    min_image_size: int | None
    deviations: tuple[Deviation, ...] = ()
    paper_num_params: PrintedCount | None = None
    pretrained: tuple[PretrainedWeights, ...] = ()

    @property
    def kind(self) -> InputKind:
        """The kind of data the network takes."""
        return "vectors" if self.min_image_size is None else "images"

    @property
    def in_channels(self) -> int:
        """Channels of the input image, or length of the input vector."""
        return self.input_size[0]

    @property
    def image_size(self) -> int | None:
        """Side of the square input image, in pixels; None for vectors."""
        return None if self.min_image_size is None else self.input_size[-1]
