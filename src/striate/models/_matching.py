"""How the tensors of a file fit a network, by names and shapes, and first kernels for another number of channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from striate.models._weight_names import COUNTER, Renaming, find_renaming

__all__ = ["Match", "Shapes", "adapt_input", "match", "shapes"]

Shapes = Mapping[str, tuple[int, ...]]

_GREY_AND_RGB = {1, 3}


@dataclass(frozen=True, kw_only=True)
class Match:
    """Which tensor of a file belongs to which name of a network, and what does not fit."""

    renaming: Renaming
    sources: dict[str, str]
    """Name in the network to name in the file."""
    missing: tuple[str, ...]
    """Names of the network that the file lacks."""
    surplus: tuple[str, ...]
    """Names of the file that the network lacks."""
    misshapen: tuple[str, ...]
    """Names of the network whose tensor in the file has another shape; head and input layer are part of it."""
    head: tuple[str, ...]
    """Those that differ in nothing but one and the same number of classes."""
    input_layer: tuple[str, ...]
    """The first convolution, where one side looks at grey images and the other at RGB."""

    @property
    def fits(self) -> bool:
        """Whether nothing differs but the size of the head and the colours of the input."""
        return not self.missing and not self.surplus and set(self.misshapen) == {*self.head, *self.input_layer}


def shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of each tensor as plain numbers."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def match(file: Shapes, network: Shapes) -> Match:
    """Find for each tensor of a network the one of a file.

    Args:
        file: Name to shape.
        network: The same, in the order of its layers.

    Example:
        >>> match({"backbone.fc.weight": (10, 4)}, {"fc.weight": (3, 4)}).head
        ('fc.weight',)
    """
    renaming = find_renaming(file, network)
    sources = renaming.sources(file, network)
    used = set(sources.values())
    misshapen = [name for name, source in sources.items() if file[source] != network[name]]
    input_layer = _input_layer(file, network, sources=sources)
    rest = [name for name in misshapen if name not in input_layer]
    return Match(
        renaming=renaming,
        sources=sources,
        missing=tuple(name for name in network if name not in sources and not name.endswith(COUNTER)),
        surplus=tuple(name for name in file if name not in used),
        misshapen=tuple(misshapen),
        head=tuple(rest) if _is_head([(file[sources[name]], network[name]) for name in rest]) else (),
        input_layer=input_layer,
    )


def _input_layer(file: Shapes, network: Shapes, *, sources: Mapping[str, str]) -> tuple[str, ...]:
    first = next((name for name, shape in network.items() if len(shape) == 4), "")
    if first not in sources:
        return ()
    theirs, ours = file[sources[first]], network[first]
    rest_is_equal = len(theirs) == 4 and (theirs[0], *theirs[2:]) == (ours[0], *ours[2:])
    return (first,) if rest_is_equal and {theirs[1], ours[1]} == _GREY_AND_RGB else ()


def _is_head(pairs: Collection[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Whether all shapes, of file and network, differ in nothing but one and the same number of classes."""
    only_first_differs = all(len(theirs) == len(ours) > 0 and theirs[1:] == ours[1:] for theirs, ours in pairs)
    return only_first_differs and len({(theirs[0], ours[0]) for theirs, ours in pairs}) == 1


def adapt_input(kernels: Tensor, *, channels: int) -> Tensor:
    """Return the mean of kernels for three channels, or kernels for one as those for three, a third for each.

    Args:
        kernels: (C_out, C_in, kH, kW), of any number format.
        channels: 1 or 3.

    Returns:
        (C_out, channels, kH, kW), float64: rounded once, when the network takes it.

    Example:
        >>> import torch
        >>> adapt_input(torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1), channels=1).item()
        3.0
    """
    exact = kernels.double()
    return exact.mean(dim=1, keepdim=True) if channels == 1 else (exact / channels).repeat(1, channels, 1, 1)
