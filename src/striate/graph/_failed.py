"""A call that failed on shapes, in the words of its author: the layer, the names of what it received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from striate.graph._drafts import Draft, Place, names_of
from striate.ops.op import Shape

__all__ = ["AXES", "Failed", "counted", "shape_of"]

AXES = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
SIZES = ("in_features", "in_channels", "num_features", "num_channels", "normalized_shape", "kernel_size")
"""Which option of a layer is named in a message: the first that it has."""


@dataclass(eq=False)
class Failed:
    """A failed call, and what is known of its arguments."""

    name: str
    place: Place
    sources: dict[int, Draft]
    drafts: Sequence[Draft]

    @property
    def layer(self) -> str:
        """The layer as its author wrote it, ``fc1: Linear(in_features=256)``, or the call in its module."""
        module = self.place.module
        if module is None or self.place.has_children or not type(module).__module__.startswith("torch.nn."):
            return f"{self.place.path}.{self.name}" if self.place.path else self.name
        option = next((name for name in SIZES if hasattr(module, name)), None)
        options = f"{option}={getattr(module, option)}" if option else ""
        path = f"{self.place.path}: " if self.place.path else ""
        return f"{path}{type(module).__name__}({options})"

    def source(self, tensor: Tensor) -> Draft | None:
        """Return what made an argument, if the network computed it."""
        return self.sources.get(id(tensor))

    def name_of(self, draft: Draft) -> str:
        """Return the name that a node has in the graph."""
        return names_of(self.drafts)[draft.index or 0]

    def named(self, tensor: Tensor) -> str:
        """Return an argument's name and shape."""
        draft = self.source(tensor)
        name = "a constant of shape" if draft is None else f"`{self.name_of(draft)}`"
        return f"{name} {shape_of(tensor)}"

    def is_input(self, tensor: Tensor) -> bool:
        """Whether an argument is the example itself."""
        draft = self.source(tensor)
        return draft is not None and draft.call == "input"


def shape_of(tensor: Tensor) -> Shape:
    """Return a tensor's shape as a tuple."""
    return tuple(tensor.shape)


def counted(number: int, word: str) -> str:
    """Return a number and its word.

    Example:
        >>> counted(1, "channel"), counted(3, "channel")
        ('1 channel', '3 channels')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"
