"""What knowledge comes from: a run, weights, or a network, with the way in which its images were prepared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from striate import models
from striate.data import Preprocessing, Splits
from striate.errors import MissingExtraError, ModelError, UsageError, nearest
from striate.train.network import ModelSpec, build_network
from striate.train.prepare import published_statistics
from striate.train.run import MODELS, Run

__all__ = ["Source", "open_source"]

_LIBRARIES = ("timm", "torchvision")
_WEIGHTS = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network with trained weights, and how its images were prepared."""

    name: str
    network: nn.Module
    spec: ModelSpec
    preprocessing: Preprocessing | None
    """None where nothing is known: mean and deviation are measured on the new images."""
    class_names: tuple[str, ...] | None
    builder: MODELS | None = None
    """What builds the network again, where the name of the specification does not."""
    takes_size_of_data: bool = False
    """Whether nothing is known of the size of its images, which then is that of the new ones."""

    def fitted_to(self, splits: Splits) -> Source:
        """Return it with the size of the new images, where it has none of its own."""
        if not self.takes_size_of_data:
            return self
        channels = splits.train.images.channels
        return dataclasses.replace(
            self, spec=dataclasses.replace(self.spec, image_size=splits.image_size, in_channels=channels)
        )

    @property
    def example(self) -> Tensor:
        """Two inputs of zeros."""
        side = self.spec.image_size
        return torch.zeros((2, self.spec.in_channels) + (() if side is None else (side, side)))


def open_source(
    source: str | Path | Run | nn.Module,
    *,
    model: MODELS | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
) -> Source:
    """Find, build and load what is to be tuned.

    Args:
        source: A run (its folder, or a `Run`), a weights file, the name of a network with published weights,
            ``timm:NAME`` or ``torchvision:NAME`` where these are installed, or a module with its weights.
        model: For a weights file: the network in `striate.models` that it is of, None finds it by names and shapes; for
            a run of a network of one's own: ``package.module:callable``.
        image_size: Side of the images in pixels; None for the source's own.
        in_channels: Channels of the images; None for the source's own.

    Raises:
        ModelError: nothing of that name, or weights that fit no network.
        MissingExtraError: the library named is not installed.
    """
    if isinstance(source, nn.Module):
        return _of_module(source, image_size=image_size, in_channels=in_channels)
    if isinstance(source, Run) or Path(source).is_dir():
        return _of_run(source if isinstance(source, Run) else Run(source, model=model), image_size=image_size)
    text = str(source)
    library, _, rest = text.partition(":")
    if library in _LIBRARIES and rest:
        return _of_library(library, rest, image_size=image_size)
    if Path(text).suffix in _WEIGHTS:
        return _of_file(Path(text), model=model, image_size=image_size, in_channels=in_channels)
    if text not in models.list():
        raise ModelError(
            f"tune: `source` must be a run folder, a weights file or the name of a network, got {text!r}."
            f"{nearest(text, models.list())} `striate models` lists the networks."
        )
    if not models.info(text).pretrained:
        raise ModelError(
            f"tune: `{text}` has no published weights to start from. Give a run folder or a weights file, or train it "
            f"with striate train DATA --model {text}."
        )
    return _of_registry(text, "imagenet", image_size=image_size, in_channels=in_channels)


def _of_module(module: nn.Module, *, image_size: int | None, in_channels: int | None) -> Source:
    channels = in_channels or next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)
    name = f"class {type(module).__name__}"
    return Source(
        name=type(module).__name__, network=module, preprocessing=None, class_names=None, builder=module,
        spec=ModelSpec(name=name, num_classes=1, in_channels=channels, image_size=image_size),
        takes_size_of_data=image_size is None,
    )  # fmt: skip


def _of_run(run: Run, *, image_size: int | None) -> Source:
    config = run.config
    preprocessing, spec = config.preprocessing, config.model
    if image_size is not None and image_size != spec.image_size:
        spec = dataclasses.replace(spec, image_size=image_size)
        preprocessing = dataclasses.replace(preprocessing, image_size=image_size, resize_size=image_size)
    return Source(
        name=str(run.folder), network=run.model(), spec=spec, preprocessing=preprocessing,
        class_names=config.class_names, builder=run._source,
    )  # fmt: skip


def _of_file(path: Path, *, model: MODELS | None, image_size: int | None, in_channels: int | None) -> Source:
    if not path.is_file():
        raise ModelError(f"tune: there is no file `{path}`. Give a weights file, a run folder or a network's name.")
    if model is not None and not isinstance(model, str):
        raise UsageError(
            "tune: `model` must be a network's name beside a weights file. Or load the weights into your "
            "network yourself, and give that as the source."
        )
    name = model
    if name is None:
        fitting = models.which_fit(path)
        if not fitting:
            raise ModelError(
                f"tune: `{path}` must hold the weights of a network of striate, got names and shapes that fit none. "
                "Load them into your own network and give that, or say which it is: --model NAME."
            )
        if len(fitting) > 1:
            raise ModelError(
                f"tune: `{path}` must be of one network, got weights that fit {' and '.join(fitting)}. "
                f"Say which it is: --model {fitting[0]}."
            )
        name = fitting[0]
    return _of_registry(name, path, image_size=image_size, in_channels=in_channels)


def _of_registry(name: str, weights: str | Path, *, image_size: int | None, in_channels: int | None) -> Source:
    info = models.info(name)
    channels, side = in_channels or info.in_channels, image_size or info.image_size
    spec = ModelSpec(name=name, num_classes=info.num_classes, in_channels=channels, image_size=side)
    with torch.random.fork_rng(devices=[]):
        network = build_network(spec)
        models.load_weights(network, weights, name=name, new_head=True, new_input=True)
    preprocessing = None
    if info.pretrained:
        mean, std = published_statistics(info.pretrained[-1], channels=channels)
        preprocessing = Preprocessing(channels=channels, image_size=side, mean=mean, std=std)
    return Source(name=name, network=network, spec=spec, preprocessing=preprocessing, class_names=None)


def _of_library(library: str, name: str, *, image_size: int | None) -> Source:
    try:
        if library == "timm":
            import timm

            network: nn.Module = timm.create_model(name, pretrained=True)
            data = timm.data.resolve_model_data_config(network)
            side, mean, std = data["input_size"][-1], tuple(data["mean"]), tuple(data["std"])
        else:
            import torchvision

            weights = torchvision.models.get_model_weights(name).DEFAULT
            network = torchvision.models.get_model(name, weights=weights)
            transforms = weights.transforms()
            side, mean, std = transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std)
    except ImportError as error:
        raise MissingExtraError(
            f"tune: `{library}:{name}` needs {library}, which is not installed. Run: pip install {library}"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:  # no network, or no model of that name: the libraries' words
        raise ModelError(
            f"tune: `{library}:{name}` could not be had with its published weights ({type(error).__name__}: {error}). "
            f"Check the name in {library}'s list, and that this machine reaches the network or holds the weights."
        ) from error
    spec = ModelSpec(name=f"class {name}", num_classes=1, in_channels=3, image_size=image_size or side)
    return Source(
        name=f"{library}:{name}", network=network, spec=spec, class_names=None, builder=network,
        preprocessing=Preprocessing(channels=3, image_size=image_size or side, mean=mean, std=std),
    )  # fmt: skip
