"""Image sizes in pixels: which are allowed, and how large an image is stored for a crop of a given size."""

from __future__ import annotations

from striate.errors import UsageError

__all__ = ["check_size", "default_resize_size"]

_LARGEST = 4096


def default_resize_size(image_size: int) -> int:
    """The short side to store for crops of `image_size`, in pixels.

    Large crops come from an image 8/7 as large, as in the evaluation of AlexNet and its successors (256 for 224);
    images of 64 pixels and fewer are used whole, since every pixel of a digit counts.

    Args:
        image_size: Side of the square that the network sees, in pixels.

    Source: A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012, section 2.

    Example:
        >>> default_resize_size(224), default_resize_size(32)
        (256, 32)
    """
    return image_size if image_size <= 64 else round(image_size * 8 / 7)


def check_size(size: int | None, *, name: str) -> None:
    """Refuse a size that is not a sensible number of pixels.

    Args:
        size: What the user gave; None is for the default.
        name: The argument, for the message.

    Raises:
        UsageError: It is not a whole number from 1 to 4096.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST):
        raise UsageError(
            f"load: `{name}` must be a whole number from 1 to {_LARGEST} pixels, got {size!r}. Try 32 or 224."
        )
