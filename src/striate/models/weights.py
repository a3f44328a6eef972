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
from striate.models._weight_names import adapt_input, current_key, input_of_other_channels, rename
from striate.models.entry import PretrainedWeights
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
    """First kernels that were made for another number of channels."""
    prefix: str = ""
    """What was taken off the file's names (``-backbone.``) or put before them (``+backbone.``)."""


def load_weights(
    model: nn.Module, source: str | Path, *, name: str | None = None, new_head: bool = False,
    new_input: bool = False, strict: bool = True,
) -> LoadedWeights:  # fmt: skip
    """Read weights into a network, in place; the network is untouched when they do not fit.

    Args:
        model: Any network whose parameter names are those of the file.
        source: A .safetensors, .pt or .pth file; or published weights: "imagenet" (the newest) or "imagenet1k_v1".
        name: The network's name in the registry; needed for published weights.
        new_head: Keep the network's own head where the file's has another number of classes.
        new_input: Let the first kernels be the mean of those for red, green and blue where the network takes grey
            images, and the other way a third of the grey ones for each colour.
        strict: Refuse missing and surplus names. Shapes must fit either way.

    Raises:
        ModelError: no such file or published weights, a damaged file, or names and shapes that do not fit; the message
            lists the first eight of each.

    Example:
        >>> from striate import models
        >>> from striate.files import write_tensors
        >>> path = getfixture("tmp_path") / "lenet5.safetensors"
        >>> write_tensors(path, models.create("lenet5").state_dict())
        >>> len(load_weights(models.create("lenet5"), path).loaded)
        10
    """
    path = _file_of(source, name=name)
    expected = model.state_dict()
    tensors, prefix = rename({current_key(key): tensor for key, tensor in _read(path).items()}, [*expected])
    first = input_of_other_channels(tensors, expected)
    if first is not None and new_input:
        tensors[first] = adapt_input(tensors[first], channels=expected[first].shape[1])
    misshapen = [key for key in expected if key in tensors and tensors[key].shape != expected[key].shape]
    head = _head_of_another_size(tensors, expected, misshapen)
    if head and new_head:
        tensors = {key: tensor for key, tensor in tensors.items() if key not in head}
        misshapen = []
    unused = [key for key in tensors if key not in expected]
    kept = [key for key in expected if key not in tensors]
    # Files older than PyTorch 0.4.1 lack these counters, and no network's answer depends on them.
    missing = [key for key in kept if key not in head and not key.endswith(".num_batches_tracked")]
    if misshapen or (strict and (missing or unused)):
        raise _misfit(path, tensors, expected, missing=missing, unused=unused, misshapen=misshapen, head=head)
    if prefix:
        _log.info("%s: names %s %r", path.name, "without" if prefix[0] == "-" else "behind", prefix[1:])
    model.load_state_dict({key: tensors.get(key, value) for key, value in expected.items()})
    if head:
        _log.info("%s: kept the network's own head (%s), the file's has another size", path.name, ", ".join(head))
    loaded = tuple(key for key in expected if key in tensors)
    adapted = (first,) if first is not None and new_input else ()
    if adapted:
        _log.info("%s: %s made for another number of channels", path.name, first)
    return LoadedWeights(loaded=loaded, kept=tuple(kept), unused=tuple(unused), adapted=adapted, prefix=prefix)


def which_fit(source: str | Path) -> tuple[str, ...]:
    """Return the networks of the registry whose names and shapes are those of a weights file.

    The head may have another number of classes, and the first kernels another number of channels.

    Args:
        source: A .safetensors, .pt or .pth file.

    Raises:
        ModelError: no such file, or a damaged one.
    """
    from striate.models.fitting import networks_that_fit

    path = Path(source)
    if not path.is_file():
        raise ModelError(f"which_fit: `source` must be a weights file, got {str(source)!r}. Check the path.")
    return networks_that_fit({current_key(key): tensor for key, tensor in _read(path).items()})


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
            write_tensors(path, _read(downloaded), metadata={"source": weights.url})
        downloaded.unlink(missing_ok=True)
    return path


def _read(path: Path) -> Mapping[str, Tensor]:
    """Named tensors of a file, by its suffix."""
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if path.suffix not in (".pt", ".pth"):
        raise ModelError(
            f"load_weights: `source` must end in .safetensors, .pt or .pth, got `{path}`. Rename or convert the file."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"load_weights: `{path}` holds more than tensors, or is not a PyTorch file; nothing in it was run. "
            "Save only the weights: torch.save(model.state_dict(), path)."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"load_weights: `{path}` is damaged ({error}). Copy or download it again.") from error
    return _state_dict_of(content, path=path)


def _state_dict_of(content: Any, *, path: Path) -> Mapping[str, Tensor]:
    """The state dict in what a PyTorch file holds: itself, or under one of the usual keys of a checkpoint."""
    for key in _CHECKPOINT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"load_weights: `{path}` must hold a state dict (names and tensors), got {type(content).__name__}. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    return {str(key): tensor for key, tensor in content.items()}


def _head_of_another_size(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], misshapen: list[str]
) -> list[str]:
    """The misshapen names, when all differ in nothing but one and the same number of classes; else none."""
    sizes = {(*tensors[key].shape[:1], *expected[key].shape[:1]) for key in misshapen}
    only_first_differs = all(
        tensors[key].ndim == expected[key].ndim > 0 and tensors[key].shape[1:] == expected[key].shape[1:]
        for key in misshapen
    )
    return misshapen if len(sizes) == 1 and only_first_differs else []


def _misfit(
    path: Path,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    missing: list[str],
    unused: list[str],
    misshapen: list[str],
    head: list[str],
) -> ModelError:
    shapes = [f"{key} {tuple(tensors[key].shape)} for {tuple(expected[key].shape)}" for key in misshapen]
    parts = [("missing", missing), ("surplus", unused), ("misshapen", shapes)]
    what = "; ".join(f"{len(names)} {kind} ({_first(names)})" for kind, names in parts if names)
    if head and not missing and not unused:
        remedy = f"Only the head differs: build the network with num_classes={tensors[head[0]].shape[0]}, or keep its "
        remedy += "own head with new_head=True."
    elif input_of_other_channels(tensors, expected) and len(misshapen) == 1 + len(head) and not missing and not unused:
        remedy = "The network takes another number of channels: let the first kernels be adapted with new_input=True."
    else:
        from striate.models.fitting import networks_that_fit

        fitting = networks_that_fit(tensors)
        remedy = "Build the network these weights were saved from"
        remedy += f"; they fit {_first(fitting)}." if fitting else ", which is none of striate's."
    return ModelError(f"load_weights: `{path}` must fit the network, got {what}. {remedy}")


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NUM_LISTED]) + (", ..." if len(listed) > _NUM_LISTED else "")
