"""Names of weights under another prefix, and first kernels for another number of channels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

__all__ = ["adapt_input", "current_key", "input_of_other_channels", "rename"]

# Wrappers that put their name before every key: DistributedDataParallel and torch.compile.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
# DenseNet files from before 2018 say `norm.1` for `norm1`: module names may no longer hold a dot.
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
DEEPEST_PREFIX = 3
"""Components of names that are tried as a prefix."""


def current_key(key: str) -> str:
    """Return the name a tensor has in our networks, from the name it has in a file."""
    while key.startswith(_WRAPPER_PREFIXES):
        key = key.partition(".")[2]
    return _OLD_DENSENET_KEY.sub(r"\1\2.", key)


def rename(tensors: Mapping[str, Tensor], expected: Sequence[str]) -> tuple[dict[str, Tensor], str]:
    """Take a prefix off the names of a file, or put the network's own before them, where they then fit.

    A prefix is taken only where more than half of the network's names are found by it, and by no other as many.

    Args:
        tensors: Of the file.
        expected: Names of the network.

    Returns:
        The tensors, and what was done: ``-backbone.`` or ``+backbone.``; empty where the names were left alone.

    Example:
        >>> import torch
        >>> rename({"net.fc.weight": torch.zeros(1)}, ["fc.weight"])[1]
        '-net.'
    """
    known = set(expected)
    found = {"": len(known & tensors.keys())}
    for prefix in _prefixes(tensors):
        found[f"-{prefix}"] = sum(key.removeprefix(prefix) in known for key in tensors if key.startswith(prefix))
    for prefix in _prefixes(expected):
        found[f"+{prefix}"] = sum(prefix + key in known for key in tensors)
    best = max(found.values())
    chosen = [change for change, count in found.items() if count == best]
    if chosen[0] == "" or len(chosen) > 1 or 2 * best <= len(known):
        return dict(tensors), ""
    prefix = chosen[0][1:]
    if chosen[0].startswith("+"):
        return {prefix + key: tensor for key, tensor in tensors.items()}, chosen[0]
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}, chosen[0]


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return what names begin with, up to a dot."""
    parts = [name.split(".") for name in names]
    depths = range(1, DEEPEST_PREFIX + 1)
    return [*dict.fromkeys(".".join(p[:depth]) + "." for p in parts for depth in depths if len(p) > depth)]


def input_of_other_channels(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first kernels, where they alone differ, and by three channels for one or one for three."""
    key = next((key for key, value in expected.items() if value.ndim == 4), None)
    if key is None or key not in tensors or tensors[key].ndim != 4:
        return None
    theirs, ours = tensors[key].shape, expected[key].shape
    differs = theirs[0] == ours[0] and theirs[2:] == ours[2:] and {theirs[1], ours[1]} == {1, 3}
    return key if differs else None


def adapt_input(kernels: Tensor, *, channels: int) -> Tensor:
    """Return the mean of kernels for three channels, or kernels for one as those for three, a third for each.

    Example:
        >>> import torch
        >>> adapt_input(torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1), channels=1).item()
        3.0
    """
    if channels == 1:
        return kernels.mean(1, keepdim=True)
    return (kernels / channels).repeat(1, channels, 1, 1)
