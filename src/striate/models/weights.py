"""Weights into a network: files of striate and of PyTorch, and the published ImageNet weights of torchvision.

No file is ever executed: safetensors hold numbers only, and PyTorch's own format is read with ``weights_only=True``.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import ModelError, nearest
from striate.files import cache_folder, read_tensors, write_tensors
from striate.models._matching import Match, Shapes, adapt_input, match, shapes
from striate.models._weight_names import current_key
from striate.models.entry import PretrainedWeights
from striate.models.fitting import networks_that_fit
from striate.models.registry import info

__all__ = ["LoadedWeights", "load_weights", "which_fit"]

_log = logging.getLogger(__name__)

# Under which keys training scripts keep the weights inside a checkpoint.
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
_NUM_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """Which parameters and buffers were read, which kept their value, and which names of the file were not used."""

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    adapted: tuple[str, ...] = ()
    """Those of `loaded` that are first kernels, made for another number of channels."""
    prefix: str = ""
    """What was taken off the file's names (``-backbone.``) or put before them (``+backbone.``), beside wrappers."""


def load_weights(
    model: nn.Module,
    source: str | Path,
    *,
    name: str | None = None,
    new_head: bool = False,
    new_input: bool = False,
    strict: bool = True,
) -> LoadedWeights:
    """Read weights into a network, in place; the network is untouched when they do not fit.

    Names may differ by one prefix, such as ``backbone.`` in the file or in the network, where only one is possible.

    Args:
        model: Any network whose parameter names are those of the file.
        source: A .safetensors, .pt or .pth file; or published weights: "imagenet" (the newest) or "imagenet1k_v1".
        name: The network's name in the registry; needed for published weights.
        new_head: Keep the network's own head where the file's has another number of classes.
        new_input: Where the network looks at grey images and the file's at RGB, give the first convolution the mean
            of the three kernels; the other way round, a third of the grey kernel for each colour.
        strict: Refuse missing and surplus names. Shapes must fit either way.

    Raises:
        ModelError: no such file or published weights, a damaged file, or names and shapes that do not fit; the message
            lists the first eight of each, and the networks of the registry that the file fits.

    Example:
        >>> from striate import models
        >>> from striate.files import write_tensors
        >>> path = getfixture("tmp_path") / "lenet5.safetensors"
        >>> write_tensors(path, models.create("lenet5").state_dict())
        >>> len(load_weights(models.create("lenet5"), path).loaded)
        10
    """
    path = _file_of(source, name=name)
    tensors = _tensors(path, caller="load_weights")
    expected = model.state_dict()
    found = match(shapes(tensors), shapes(expected))
    adaptable = {*(found.head if new_head else ()), *(found.input_layer if new_input else ())}
    refused = [key for key in found.misshapen if key not in adaptable]
    if refused or (strict and (found.missing or found.surplus)):
        raise _misfit(path, found, tensors, shapes(expected), refused=refused, strict=strict)
    values = {key: tensors[file_key] for key, file_key in found.sources.items() if key not in found.head}
    values |= {key: adapt_input(values[key], channels=expected[key].shape[1]) for key in found.input_layer}
    model.load_state_dict({**expected, **values})
    _log_changes(path, found)
    return LoadedWeights(
        loaded=tuple(values),
        kept=tuple(key for key in expected if key not in values),
        unused=found.surplus,
        adapted=found.input_layer,
        prefix=found.renaming.prefix,
    )


def which_fit(source: str | Path) -> tuple[str, ...]:
    """Return the networks of the registry whose names and shapes are those of a weights file.

    Heads of another size, grey or RGB input and one prefix before all names make no difference; another image size
    does, for networks whose dense layers depend on it.

    Args:
        source: A .safetensors, .pt or .pth file.

    Raises:
        ModelError: no such file, or a damaged one.

    Example:
        >>> from striate import models
        >>> from striate.files import write_tensors
        >>> path = getfixture("tmp_path") / "letters.safetensors"
        >>> write_tensors(path, models.create("lenet5", num_classes=26).state_dict())
        >>> which_fit(path)
        ('lenet5',)
    """
    path = Path(source)
    if not path.is_file():
        raise ModelError(f"which_fit: `source` must be a weights file, got {str(source)!r}. Check the path.")
    return networks_that_fit(_tensors(path, caller="which_fit"))


def _tensors(path: Path, *, caller: str) -> dict[str, Tensor]:
    """The tensors of a file under today's names."""
    return {current_key(key): tensor for key, tensor in _read(path, caller=caller).items()}


def _log_changes(path: Path, found: Match) -> None:
    """Say what was done to make the file fit."""
    if found.renaming.prefix:
        _log.info("%s: %s", path.name, found.renaming)
    if found.head:
        kept = ", ".join(found.head)
        _log.info("%s: kept the network's own head (%s), the file's has another size", path.name, kept)
    if found.input_layer:
        _log.info("%s: brought the input layer (%s) to the network's colours", path.name, ", ".join(found.input_layer))


def _file_of(source: str | Path, *, name: str | None) -> Path:
    """The local file of a source; published weights are downloaded when they are not there yet."""
    published = info(name).pretrained if name is not None else ()
    names = [weights.name for weights in published]
    wanted = published[-1:] if source == "imagenet" else tuple(w for w in published if w.name == source)
    if wanted:
        return _published_file(wanted[0])
    path = Path(source)
    if path.is_file():
        return path
    if names:
        known = ["imagenet", *names]
        remedy = f"Published weights of {name}: {', '.join(known)}.{nearest(str(source), known)}"
    elif name is not None:
        remedy = f"There are no published weights for {name}."
    else:
        remedy = "For published weights give `name`, the network's name in the registry."
    raise ModelError(f"load_weights: `source` must be a file or published weights, got {str(source)!r}. {remedy}")


def _published_file(weights: PretrainedWeights) -> Path:
    """The cached safetensors file of published weights: downloaded, checked and converted once."""
    file_name = weights.url.rpartition("/")[2]
    path = cache_folder("weights") / Path(file_name).with_suffix(".safetensors")
    if not path.exists():
        from striate.data.download import fetch

        path.parent.mkdir(parents=True, exist_ok=True)
        downloaded = fetch(
            [weights.url],
            path.with_name(file_name),
            sha256=None,
            sha256_prefix=weights.sha256_prefix,
            description=f"weights {file_name}",
        )
        if not path.exists():  # another process of the same run may have been faster
            write_tensors(path, _read(downloaded, caller="load_weights"), metadata={"source": weights.url})
        downloaded.unlink(missing_ok=True)
    return path


def _read(path: Path, *, caller: str) -> Mapping[str, Tensor]:
    """Named tensors of a file, by its suffix."""
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if path.suffix not in (".pt", ".pth"):
        raise ModelError(
            f"{caller}: `source` must end in .safetensors, .pt or .pth, got `{path}`. Rename or convert the file."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{caller}: `{path}` holds more than tensors, or is not a PyTorch file; nothing in it was run. "
            "Save only the weights: torch.save(model.state_dict(), path)."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{caller}: `{path}` is damaged ({error}). Copy or download it again.") from error
    return _state_dict_of(content, path=path, caller=caller)


def _state_dict_of(content: Any, *, path: Path, caller: str) -> Mapping[str, Tensor]:
    """The state dict in what a PyTorch file holds: itself, or under one of the usual keys of a checkpoint."""
    for key in _CHECKPOINT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"{caller}: `{path}` must hold a state dict (names and tensors), got {type(content).__name__}. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    return {str(key): tensor for key, tensor in content.items()}


def _misfit(
    path: Path, found: Match, tensors: Mapping[str, Tensor], network: Shapes, *, refused: list[str], strict: bool
) -> ModelError:
    file = shapes(tensors)
    differing = [f"{key} {file[found.sources[key]]} for {network[key]}" for key in refused]
    parts = [("missing", found.missing), ("surplus", found.surplus), ("misshapen", differing)]
    what = "; ".join(f"{len(names)} {kind} ({_first(names)})" for kind, names in parts if names)
    if found.renaming.prefix:
        what += f", with {found.renaming}"
    names_fit = not strict or not (found.missing or found.surplus)
    if names_fit and set(refused) <= {*found.head, *found.input_layer}:
        remedy = _remedy_by_argument(found, file, refused=refused)
    else:
        remedy = _remedy_by_network(found, tensors)
    return ModelError(f"load_weights: `{path}` must fit the network, got {what}. {remedy}")


def _remedy_by_argument(found: Match, file: Shapes, *, refused: list[str]) -> str:
    layers, remedies = [], []
    if any(key in refused for key in found.head):
        num_classes = file[found.sources[found.head[0]]][0]
        layers.append("head")
        remedies.append(f"build the network with num_classes={num_classes}, or keep its own head with new_head=True")
    if any(key in refused for key in found.input_layer):
        in_channels = file[found.sources[found.input_layer[0]]][1]
        kernels = "the mean of the RGB kernels" if in_channels == 3 else "a third of the grey kernel for each colour"
        layers.append("input layer")
        remedies.append(f"build the network with in_channels={in_channels}, or take {kernels} with new_input=True")
    verb = "differs" if len(layers) == 1 else "differ"
    return f"Only the {' and the '.join(layers)} {verb}: {'; '.join(remedies)}."


def _remedy_by_network(found: Match, tensors: Mapping[str, Tensor]) -> str:
    fitting = networks_that_fit(tensors)
    if found.renaming.candidates and not fitting:
        prefixes = _first(f"`{prefix}`" for prefix in found.renaming.candidates)
        return f"The names fit behind each of {prefixes}, and none is guessed: keep those of one part only."
    what = f"they fit {' or '.join(fitting)}" if fitting else "they fit none of striate.models at its usual image size"
    return f"Build the network these weights were saved from; {what}."


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NUM_LISTED]) + (", ..." if len(listed) > _NUM_LISTED else "")
