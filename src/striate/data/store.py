"""Where images wait for training: in memory, in a memory-mapped file, or as vectors; one `gather` for all of them."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from striate.errors import DataError, UsageError

__all__ = ["Canvas", "ImageStore", "Indices", "MappedStore", "MemoryStore", "SubsetStore", "VectorStore"]

Indices = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """A batch of images of several sizes on one canvas, each in the top left corner.

    Attributes:
        pixels: Images (B, C, H_max, W_max), uint8, zero outside each image; or float32 vectors (B, D).
        sizes: Valid height and width of each image (B, 2), int64, in pixels; zeros for vectors.
    """

    pixels: torch.Tensor
    sizes: torch.Tensor


@runtime_checkable
class ImageStore(Protocol):
    """What every store can do; `Dataset` and `Batches` need nothing else."""

    @property
    def channels(self) -> int:
        """Channels of each image, or features of each vector."""
        ...

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width in pixels where all images share them, else None."""
        ...

    def __len__(self) -> int: ...

    def gather(self, indices: Indices) -> Canvas:
        """Copy the images at `indices` (B,) to one canvas."""
        ...


class MemoryStore:
    """Images of one size as one uint8 tensor.

    Args:
        pixels: Images (N, C, H, W), uint8.

    Raises:
        UsageError: `pixels` is of another type or shape.

    Example:
        >>> store = MemoryStore(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
        >>> store.gather(np.array([0, 4])).pixels.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, pixels: torch.Tensor) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise UsageError(
                f"MemoryStore: `pixels` must be uint8 of shape (N, C, H, W), got {pixels.dtype} "
                f"{tuple(pixels.shape)}. Use `load((images, labels))`, which converts."
            )
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        """Channels of each image."""
        return self.pixels.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def gather(self, indices: Indices) -> Canvas:
        """Copy the images at `indices` (B,) to one canvas."""
        pixels = self.pixels.index_select(0, torch.from_numpy(np.ascontiguousarray(indices)))
        return Canvas(pixels=pixels, sizes=torch.tensor(self.image_size).expand(len(indices), 2))


class VectorStore:
    """Feature vectors, for networks without images (Iris).

    Args:
        vectors: Features (N, D), float32.

    Raises:
        UsageError: `vectors` is of another type or shape.
    """

    def __init__(self, vectors: torch.Tensor) -> None:
        if vectors.dtype != torch.float32 or vectors.ndim != 2:
            raise UsageError(
                f"VectorStore: `vectors` must be float32 of shape (N, D), got {vectors.dtype} "
                f"{tuple(vectors.shape)}. Use `load((vectors, labels))`, which converts."
            )
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def channels(self) -> int:
        """Features of each vector."""
        return self.vectors.shape[1]

    @property
    def image_size(self) -> None:
        """Vectors have none."""
        return

    def gather(self, indices: Indices) -> Canvas:
        """Copy the vectors at `indices` (B,); sizes are zero."""
        pixels = self.vectors.index_select(0, torch.from_numpy(np.ascontiguousarray(indices)))
        return Canvas(pixels=pixels, sizes=torch.zeros(len(indices), 2, dtype=torch.int64))


class MappedStore:
    """Images of several sizes in one memory-mapped file: the system's page cache holds them, not this process.

    Args:
        pixels: The file as flat uint8, image after image, each (C, H, W).
        offsets: Where each image starts in `pixels`, in bytes (N,).
        sizes: Height and width of each image (N, 2), in pixels.
        channels: Channels of each image.
        resize_size: The short side that all images were resized to, in pixels.

    Raises:
        DataError: An image would lie outside the file.
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        *,
        offsets: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        channels: int,
        resize_size: int,
    ) -> None:
        ends = offsets + sizes.prod(axis=1) * channels
        if len(offsets) and (int(ends.max()) > len(pixels) or int(offsets.min()) < 0):
            raise DataError(
                f"MappedStore: `offsets` must stay inside the file of {len(pixels):,} bytes, got an image that ends "
                f"at {int(ends.max()):,}. The cache is damaged: delete it and it is made again."
            )
        self._pixels = pixels
        self._offsets = offsets
        self._sizes = sizes
        self._channels = channels
        self.resize_size = resize_size
        uniform = len(sizes) > 0 and bool((sizes == sizes[0]).all())
        self._image_size = (int(sizes[0, 0]), int(sizes[0, 1])) if uniform else None

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def channels(self) -> int:
        """Channels of each image."""
        return self._channels

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width in pixels where all images share them, else None."""
        return self._image_size

    def gather(self, indices: Indices) -> Canvas:
        """Copy the images at `indices` (B,) to one canvas, zero outside each image."""
        sizes = self._sizes[indices]
        shape = (len(indices), self._channels, *(sizes.max(axis=0) if len(indices) else (0, 0)))
        # Images that fill the canvas overwrite every byte of it, so only a ragged batch pays for the zeros.
        ragged = self._image_size is None
        canvas: npt.NDArray[np.uint8] = (np.zeros if ragged else np.empty)(shape, dtype=np.uint8)
        for row, start, (height, width) in zip(canvas, self._offsets[indices], sizes, strict=True):
            stop = start + self._channels * height * width
            row[:, :height, :width] = self._pixels[start:stop].reshape(self._channels, height, width)
        return Canvas(pixels=torch.from_numpy(canvas), sizes=torch.from_numpy(sizes))


class SubsetStore:
    """Some rows of another store, in a given order; nothing is copied.

    Args:
        base: The store with all images.
        rows: Rows of `base` (N,), int64; may repeat.
    """

    def __init__(self, base: ImageStore, rows: Indices) -> None:
        # A subset of a subset looks straight into the store below it.
        self.base: ImageStore = base.base if isinstance(base, SubsetStore) else base
        self.rows: Indices = base.rows[rows] if isinstance(base, SubsetStore) else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """Channels of each image, or features of each vector."""
        return self.base.channels

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width in pixels where all images share them, else None."""
        return self.base.image_size

    def gather(self, indices: Indices) -> Canvas:
        """Copy the images at `indices` (B,) of this subset to one canvas."""
        return self.base.gather(self.rows[indices])
