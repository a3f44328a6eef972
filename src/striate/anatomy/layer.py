"""One row of the table, and their sum."""

from __future__ import annotations

from dataclasses import dataclass

from striate.anatomy.sight import Sight
from striate.ops.op import Shape

__all__ = ["Layer", "Parameters", "Times", "Total"]


@dataclass(frozen=True)
class Parameters:
    """Numbers that are learned, counted where they are first used."""

    trainable: int = 0
    frozen: int = 0
    shared: int = 0
    """Used here too, and counted in an earlier layer."""

    @property
    def count(self) -> int:
        """Those counted here."""
        return self.trainable + self.frozen

    def __add__(self, other: Parameters) -> Parameters:
        return Parameters(self.trainable + other.trainable, self.frozen + other.frozen, self.shared + other.shared)


@dataclass(frozen=True)
class Times:
    """Measured on this machine, in milliseconds."""

    forward: float
    backward: float | None
    """None where no gradient flows."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation of a network: a module's or a functional call's. Costs are those of the whole example."""

    name: str
    op: str
    """The call in PyTorch."""
    module: str
    """The module that it ran in; empty: the network itself."""
    sources: tuple[str, ...]
    """The layers whose values it reads."""
    output_shape: Shape
    is_known: bool
    """Whether striate knows the operation; otherwise costs are None."""
    parameters: Parameters
    macs: int | None
    """Multiply-adds of one forward pass."""
    flops: int | None
    """Floating-point operations of one forward pass: two a multiply-add, else one an arithmetic step."""
    receptive_field: Sight | None
    """None where the input has no spatial axes, is not read, or cannot be followed; `blocked_by` says by what."""
    blocked_by: str | None
    """The operation that striate does not know and behind which receptive fields are unknown."""
    output_bytes: int
    activation_bytes: int | None
    """What a training step keeps of this layer until the backward pass; None: not measured."""
    moved_bytes: int
    """Inputs, parameters and output, each once."""
    units: int
    """Values of one image."""
    inputs_per_unit: int | None
    """Values that one unit is connected to, padding among them, of a layer with weights; None: without."""
    dense_weights: int | None
    """Weights of a dense layer from its inputs to its outputs, of a layer with weights."""
    time_ms: Times | None = None

    @property
    def intensity(self) -> float | None:
        """FLOPs of the forward pass a byte of inputs, parameters and output; None: unknown."""
        return None if self.flops is None or not self.moved_bytes else self.flops / self.moved_bytes

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, texts and lists."""
        field, time = self.receptive_field, self.time_ms
        return {
            "name": self.name,
            "op": self.op,
            "module": self.module,
            "sources": list(self.sources),
            "output_shape": list(self.output_shape),
            "is_known": self.is_known,
            "parameters": vars(self.parameters) | {"count": self.parameters.count},
            "macs": self.macs,
            "flops": self.flops,
            "receptive_field": None if field is None else field.to_dict(),
            "receptive_field_blocked_by": self.blocked_by,
            "output_bytes": self.output_bytes,
            "activation_bytes": self.activation_bytes,
            "arithmetic_intensity": self.intensity,
            "units": self.units,
            "inputs_per_unit": self.inputs_per_unit,
            "dense_weights": self.dense_weights,
            "time_ms": None if time is None else vars(time),
        }


@dataclass(frozen=True, kw_only=True)
class Total:
    """The sum over the layers; what could not be counted is named in `unknown`, never counted as 0."""

    parameters: Parameters
    unused_parameters: int
    """Of the network, that the pass did not use; not in `parameters`."""
    macs: int
    flops: int
    moved_bytes: int
    """Inputs, parameters and outputs of all layers whose operation is known."""
    parameter_bytes: int
    activation_bytes: int | None
    """What a training step keeps until the backward pass, input and masks included; None: could not be measured."""
    inference_bytes: int
    """Most bytes of values alive at once without gradients, input included, parameters left out."""
    unknown: tuple[str, ...]
    """Layers whose operation striate does not know: their costs are missing here."""
    time_ms: Times | None = None
    untimed: tuple[str, ...] = ()
    """Layers that could not be timed: missing in `time_ms`."""

    @property
    def intensity(self) -> float | None:
        """FLOPs of the forward pass a byte that moves, over the layers whose operation is known."""
        return self.flops / self.moved_bytes if self.moved_bytes else None

    @property
    def is_complete(self) -> bool:
        """Whether costs are those of the whole network."""
        return not self.unknown

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, texts and lists."""
        time = self.time_ms
        return {
            "parameters": vars(self.parameters) | {"count": self.parameters.count},
            "unused_parameters": self.unused_parameters,
            "macs": self.macs,
            "flops": self.flops,
            "arithmetic_intensity": self.intensity,
            "is_complete": self.is_complete,
            "unknown": list(self.unknown),
            "parameter_bytes": self.parameter_bytes,
            "activation_bytes": self.activation_bytes,
            "inference_bytes": self.inference_bytes,
            "time_ms": None if time is None else vars(time),
            "untimed": list(self.untimed),
        }
