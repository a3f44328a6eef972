"""Classify images as people have them: files, folders, patterns, bytes or arrays, prepared exactly as in evaluation."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from striate.data import decode
from striate.data.folder import find_images
from striate.data.splits import printable
from striate.errors import DataError, ImageError, UsageError
from striate.train.evaluate import logits_of

if TYPE_CHECKING:
    from striate.train.run import Run

__all__ = ["Prediction", "predict_images", "to_csv", "to_table"]

BATCH_SIZE = 64
DECODING_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The most probable classes of one image, or why it could not be read."""

    name: str
    """Path of the file, ``-`` for standard input, ``image 3`` for the fourth array."""
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None

    @property
    def class_name(self) -> str:
        """The most probable class.

        Raises:
            ImageError: the image could not be read.
        """
        if not self.classes:
            raise ImageError(self.error or f"predict: `{self.name}` has no prediction.")
        return self.classes[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def predict_images(run: Run, images: Any, *, top: int = 5, skip_bad: bool = False) -> Iterator[Prediction]:
    """Yield one prediction for each image, in the order given (folders and patterns: sorted).

    Args:
        run: The trained network with its preprocessing.
        images: A path, pattern or ``-``; an array (H, W), (H, W, C) or (C, H, W) of uint8; encoded bytes; or a list of
            those.
        top: Classes to name for each image.
        skip_bad: Yield an unreadable image with its `error` instead of raising.

    Raises:
        ImageError: an image cannot be decoded, and `skip_bad` is off.
        DataError: a path does not exist or a folder holds no image.
    """
    if top < 1:
        raise UsageError(f"predict: `top` must be at least 1, got {top}.")
    if run.config.model.image_size is None:
        raise UsageError(
            f"predict: `{run.folder}` was trained on vectors; predict takes images. Use run.model() instead."
        )
    named = _named(images)
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        while chunk := list(islice(named, BATCH_SIZE)):
            prepared = list(pool.map(lambda item: _prepare(run, item[0], item[1], skip_bad=skip_bad), chunk))
            yield from _classify(run, [name for name, _ in chunk], prepared, top=top)


def to_table(predictions: Sequence[Prediction]) -> str:
    """Return one line an image: its name, then classes with their probabilities in percent."""
    width = max((len(printable(prediction.name)) for prediction in predictions), default=0)
    lines = list[str]()
    for prediction in predictions:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        answers = "  ".join(f"{name} {100 * probability:.1f} %" for name, probability in pairs)
        lines.append(f"{printable(prediction.name):<{width}}  {answers or 'unreadable'}\n")
    return "".join(lines)


def to_csv(predictions: Sequence[Prediction], *, top: int) -> str:
    """Return comma-separated values: name, class_1, probability_1, class_2 ..., error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["name", *(f"{word}_{rank}" for rank in range(1, top + 1) for word in ("class", "probability")), "error"]
    )
    for prediction in predictions:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        cells = [str(cell) for pair in pairs for cell in pair]
        writer.writerow([prediction.name, *cells, *[""] * (2 * top - len(cells)), prediction.error or ""])
    return text.getvalue()


def _classify(
    run: Run, names: Sequence[str], prepared: Sequence[torch.Tensor | str], *, top: int
) -> Iterator[Prediction]:
    """Run the readable images of a chunk through the network together."""
    configuration = run.machine
    good = [image for image in prepared if not isinstance(image, str)]
    rows: Iterator[torch.Tensor] = iter(())
    if good:
        inputs = torch.stack(good).to(configuration.device, memory_format=configuration.memory_format)
        with torch.no_grad(), configuration.autocast():
            rows = iter(logits_of(run.network, inputs, tta=run.config.recipe.tta).softmax(dim=1).cpu())
    for name, image in zip(names, prepared, strict=True):
        if isinstance(image, str):
            yield Prediction(name=name, error=image)
            continue
        best = next(rows).topk(min(top, len(run.class_names)))
        yield Prediction(
            name=name,
            classes=tuple(run.class_names[int(index)] for index in best.indices),
            probabilities=tuple(float(value) for value in best.values),
        )


def _prepare(run: Run, name: str, image: Any, *, skip_bad: bool) -> torch.Tensor | str:
    """Decode, resize, crop and normalise one image (C, S, S); an unreadable one becomes its error text."""
    preprocessing = run.config.preprocessing
    try:
        if isinstance(image, np.ndarray):
            pixels = _channels_first(image, name=name, channels=preprocessing.channels)
        else:
            pixels = decode(image, mode="L" if preprocessing.channels == 1 else "RGB")
        return preprocessing.prepare(pixels)
    except ImageError as error:
        if not skip_bad:
            raise
        return str(error)


def _channels_first(image: npt.NDArray[Any], *, name: str, channels: int) -> npt.NDArray[np.uint8]:
    """Bring an array to (C, H, W) with the network's channels: grey to RGB by repetition, RGB to grey by luminance."""
    if image.dtype != np.uint8:
        raise ImageError(f"predict: {name} must be of type uint8 with values 0 to 255, got {image.dtype}.")
    if image.ndim == 2:
        image = image[None]
    elif image.ndim == 3 and image.shape[0] not in (1, 3) and image.shape[2] in (1, 3):
        image = image.transpose(2, 0, 1)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ImageError(f"predict: {name} must have shape (H, W), (H, W, 3) or (3, H, W), got {image.shape}.")
    if image.shape[0] == channels:
        return np.ascontiguousarray(image)
    if channels == 3:
        return np.repeat(image, 3, axis=0)
    # Luma of ITU-R 601-2 in fixed point: the very numbers of Pillow's convert("L"), through which files go.
    red, green, blue = image.astype(np.uint32)
    luma: npt.NDArray[np.uint8] = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[None]
    return luma


def _named(images: Any) -> Iterator[tuple[str, Any]]:
    """Pair every image with the name to report it by; paths are expanded, nothing is read yet."""
    items: Iterable[Any]
    if isinstance(images, np.ndarray | torch.Tensor) and images.ndim == 4:
        items = list(images)
    else:
        items = images if isinstance(images, list | tuple) else [images]
    for number, item in enumerate(items):
        if isinstance(item, torch.Tensor):
            item = item.cpu().numpy()
        if isinstance(item, np.ndarray | bytes):
            yield f"image {number}", item
        elif str(item) == "-":
            yield "-", sys.stdin.buffer.read()
        elif isinstance(item, str | Path):
            for path in find_images(item):
                yield str(path), path
        else:
            raise DataError(f"predict: `images` must be paths, arrays or bytes, got {type(item).__name__}.")
