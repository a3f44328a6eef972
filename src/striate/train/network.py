"""From what the user calls a model to an `nn.Module`: a registry name, ``package.module:callable``, or a module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from striate import models
from striate.errors import ModelError
from striate.train.modes import modes_kept

__all__ = ["ModelSpec", "build_network", "check_output", "run_example"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """What a run's ``config.json`` says of its network: typed numbers, nothing that could be executed."""

    name: str
    """Name in `striate.models`, ``package.module:callable``, or ``class ClassName`` for a module made in Python."""
    num_classes: int
    in_channels: int
    """Channels of the images, or length of the vectors."""
    image_size: int | None
    """Side of the images in pixels; None for vectors."""

    def __post_init__(self) -> None:
        sizes = (self.num_classes, self.in_channels, self.image_size)
        whole = all(size is None or (isinstance(size, int) and size > 0) for size in sizes)
        if not isinstance(self.name, str) or self.num_classes is None or not whole:
            raise ModelError(
                "ModelSpec: `model` must be a name and whole numbers above 0, got "
                f"{', '.join(f'{key} {value!r}' for key, value in self.to_dict().items())}. Restore config.json."
            )

    @property
    def in_registry(self) -> bool:
        """Whether striate can build the network from the name alone."""
        return ":" not in self.name and not self.name.startswith("class ")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def build_network(spec: ModelSpec, *, source: nn.Module | Callable[..., nn.Module] | str | None = None) -> nn.Module:
    """Return the network of a specification.

    Args:
        spec: What to build.
        source: For a network outside the registry: the module, a callable that makes it, or
            ``package.module:callable``. A name in a run's configuration is never imported; the user gives it here.

    Raises:
        ModelError: the registry does not know the name, or a network of the user's own was not given.
    """
    if isinstance(source, nn.Module):
        return source
    if isinstance(source, str) and ":" in source:
        source = _import_callable(source)
    if source is not None and not isinstance(source, str):
        return _call(source, spec)
    if spec.in_registry:
        return models.create(
            spec.name, num_classes=spec.num_classes, in_channels=spec.in_channels, image_size=spec.image_size
        )
    raise ModelError(
        f"Run: its network `{spec.name}` is not one of striate's, and files are never executed. "
        "Give it again: --model package.module:callable, or Run(folder, model=...) in Python."
    )


def _does_not_run(network: nn.Module, example: torch.Tensor, error: Exception, *, spec: ModelSpec) -> ModelError:
    """Explain a failed forward pass: by the layer whose shapes do not fit, or else by what was raised."""
    from striate.graph import check_shapes

    start = f"model: `{spec.name}` cannot take images of shape {tuple(example.shape[1:])}"
    try:
        check_shapes(network, example)
    except ModelError as explained:
        return ModelError(f"{start}. {explained} Or change the images: --img-size, --in-chans.")
    except Exception:  # noqa: BLE001 - the same error again: there is nothing to add
        pass
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelError(f"{start} ({reason}). Give --img-size and --in-chans that fit it.")


def _import_callable(path: str) -> Callable[..., nn.Module]:
    """Import ``package.module:callable`` with the current folder on the path, as `python -m` has it."""
    import sys

    module_name, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # the network may be the user's own code, and raise what it likes
        raise ModelError(
            f"model: `{path}` cannot be imported ({type(error).__name__}: {error}). Write package.module:callable, "
            "importable from the folder you are in."
        ) from error
    if not callable(found):
        raise ModelError(f"model: `{path}` must be callable and return an nn.Module, got {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


def _call(make: Callable[..., Any], spec: ModelSpec) -> nn.Module:
    """Call a model factory with those of num_classes, in_channels and image_size that it takes by name."""
    offered = {key: value for key, value in spec.to_dict().items() if key != "name" and value is not None}
    if not callable(make):
        raise ModelError(f"model: `model` must be a name, a module or a callable that makes one, got {make!r}.")
    try:
        taken = set(inspect.signature(make).parameters)
    except ValueError:
        taken = set()
    network = make(**{key: value for key, value in offered.items() if key in taken})
    if not isinstance(network, nn.Module):
        raise ModelError(f"model: `{spec.name}` must return an nn.Module, got {type(network).__name__}.")
    return network


def run_example(network: nn.Module, example: torch.Tensor, *, spec: ModelSpec) -> Any:
    """Return the output of one example in evaluation mode.

    Raises:
        ModelError: the forward pass fails; the layer whose shapes do not fit is named where there is one.
    """
    with modes_kept(network), torch.no_grad():
        network.eval()
        try:
            return network(example)
        except Exception as error:  # the network may be the user's own code, and raise what it likes
            raise _does_not_run(network, example, error, spec=spec) from error


def check_output(network: nn.Module, example: torch.Tensor, *, spec: ModelSpec) -> None:
    """Run one example through the network and refuse outputs that are not one logit a class.

    Raises:
        ModelError: the forward pass fails, or its output has another shape than (N, num_classes).
    """
    output = run_example(network, example, spec=spec)
    shape = tuple(getattr(output, "shape", ()))
    if shape != (len(example), spec.num_classes):
        raise ModelError(
            f"model: `{spec.name}` must return logits of shape ({len(example)}, {spec.num_classes}), "
            f"got {shape or type(output).__name__}. "
            f"Its last layer needs {spec.num_classes} outputs, one a class, without softmax."
        )
