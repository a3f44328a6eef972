"""What a reader looks at: a network with the images it takes, from whatever the user calls a model.

On the command line a MODEL is a name in `striate.models`, a run folder, or ``package.module:callable``; in Python also
a `Run` or a module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from striate import models
from striate.data import Preprocessing, decode, derive_seed
from striate.errors import ModelError, UsageError
from striate.train.network import ModelSpec, build_network
from striate.train.run import Run

__all__ = ["Subject", "open_subject"]

# Of networks that were trained on nothing yet: published ones were trained with these.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network and how its images are prepared; in evaluation mode, but a module of the caller's stays in its own."""

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    is_trained: bool
    """Whether its weights come from a run or a file; otherwise they are the random ones of the seed."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input with its batch axis: (1, C, S, S), or (1, D) for vectors."""
        side = self.preprocessing.image_size
        return (1, self.preprocessing.channels) + (() if side is None else (side, side))

    def prepare(self, image: str | Path | None = None, *, seed: int = 0) -> Tensor:
        """Return one input of the network, float32, on the CPU.

        Args:
            image: A file, decoded and normalised as in evaluation; None: normal random numbers.
            seed: Of the random numbers.

        Raises:
            ImageError: the file cannot be decoded.
            UsageError: the network takes vectors.
        """
        if image is None:
            return torch.randn(self.input_shape, generator=torch.Generator().manual_seed(seed))
        if self.preprocessing.image_size is None:
            raise UsageError(f"{self.name}: `image` must be left out, the network takes vectors of numbers.")
        pixels = decode(image, mode="L" if self.preprocessing.channels == 1 else "RGB")
        return self.preprocessing.prepare(pixels)[None]

    def class_name(self, index: int) -> str:
        """Name a class, or give its number where the names are not known."""
        return self.class_names[index] if self.class_names else f"class {index}"


def open_subject(
    model: str | Path | Run | nn.Module,
    *,
    weights: str | Path | None = None,
    own: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> Subject:
    """Find, build and load what the user calls a model.

    Args:
        model: A name in `striate.models`, a run folder, ``package.module:callable``, a `Run` or a module.
        weights: A weights file, or ``imagenet`` for the published ones.
        own: For a run of a network of the user's own: ``package.module:callable``.
        num_classes: For a network that is built here.
        in_channels: The same; 1 for grey, 3 for colour.
        image_size: The same, in pixels.
        seed: Of the initial weights, where none are loaded.

    Raises:
        ModelError: nothing of that name, with the nearest names; or a network that cannot be built.

    Example:
        >>> open_subject("lenet5").input_shape
        (1, 1, 28, 28)
    """
    if isinstance(model, Run) or (isinstance(model, str | Path) and Path(model).is_dir()):
        return _from_run(model if isinstance(model, Run) else Run(model, model=own))
    sizes: tuple[int, int, int | None] = (num_classes or 10, in_channels or 3, image_size or 224)
    if isinstance(model, nn.Module):
        spec = ModelSpec(name=f"class {type(model).__name__}", num_classes=sizes[0], in_channels=sizes[1],
                         image_size=sizes[2])  # fmt: skip
        return _subject(spec, model, is_trained=True)
    name = str(model)
    if ":" not in name:
        if "/" in name or name.endswith(".json"):
            raise ModelError(f"model: `{name}` must be a model's name or a run folder. Nothing is at {name}.")
        info = models.info(name)
        sizes = (num_classes or info.num_classes, in_channels or info.in_channels, image_size or info.image_size)
    spec = ModelSpec(name=name, num_classes=sizes[0], in_channels=sizes[1], image_size=sizes[2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0))
        network = build_network(spec, source=name if ":" in name else None)
    if weights is not None:
        models.load_weights(network, weights, name=name if spec.in_registry else None)
    return _subject(spec, network.eval(), is_trained=weights is not None)


def _from_run(run: Run) -> Subject:
    return Subject(
        name=str(run.folder),
        network=run.model().eval(),
        preprocessing=run.config.preprocessing,
        class_names=tuple(run.class_names),
        is_trained=True,
    )


def _subject(spec: ModelSpec, network: nn.Module, *, is_trained: bool) -> Subject:
    channels = spec.in_channels
    mean, std = (MEAN, STD) if channels == 3 and spec.image_size is not None else ((0.0,) * channels, (1.0,) * channels)
    return Subject(
        name=spec.name,
        network=network,
        preprocessing=Preprocessing(channels=channels, image_size=spec.image_size, mean=mean, std=std),
        class_names=None,
        is_trained=is_trained,
    )
