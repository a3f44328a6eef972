"""`striate.anatomy`: what a network is, layer by layer, from one run of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from striate.anatomy import costs
from striate.anatomy.layer import Layer, Parameters, Times, Total
from striate.anatomy.memory import Kept, captured, inference_bytes
from striate.anatomy.sight import Sight, sights
from striate.anatomy.sizes import Sizes, input_sizes
from striate.anatomy.timing import measured_times
from striate.errors import UsageError, nearest
from striate.graph import Constant, Graph, Input, Node, check_shapes

if TYPE_CHECKING:
    from striate.anatomy.advice import Advice
    from striate.anatomy.looking import Effective, Look
    from striate.train import Run
    from striate.train.subject import Subject

__all__ = ["CONVENTION", "Anatomy", "anatomy"]

CONVENTION = (
    "MACs: one a weight and output position of convolutions, dense layers and matrix products, those that meet padding "
    "too. FLOPs: two a MAC, else one an arithmetic step, of every operation. Both of the whole example, forward."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Anatomy:
    """What `anatomy` returns; printed, it is a table of at most 100 columns."""

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    is_training: bool
    """Whether the network was in training mode."""
    layers: tuple[Layer, ...]
    """Every operation in the order in which it ran, functional calls among them."""
    total: Total
    sizes: Sizes | None
    """Sizes of images that suit it; None where it does not take one input of images."""
    sights: dict[int, Sight | str | None] = field(repr=False)
    """What each node of the graph sees, by its index; a text is the operation that hides it."""
    graph: Graph = field(repr=False)
    example: tuple[Any, ...] = field(repr=False)
    model: nn.Module = field(repr=False)
    pixels: Any = field(default=None, repr=False)
    """The user's image before normalisation, uint8 (C, H, W), where there is one."""

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """What follows from the table, with numbers."""
        from striate.anatomy.advice import advise

        return advise(self)

    def layer(self, name: str) -> Layer:
        """Return the layer of a name.

        Raises:
            UsageError: no layer has that name; the message names the nearest.
        """
        names = {layer.name: layer for layer in self.layers}
        if name not in names:
            raise UsageError(
                f"anatomy: `layer` must be one of the {len(names)} layers, got {name!r}.{nearest(name, names)} "
                "print(anatomy) lists them."
            )
        return names[name]

    def look(self, name: str, place: Sequence[int] | None = None) -> Look:
        """Return exactly what one place of a layer sees of the input.

        Args:
            name: A layer.
            place: Spatial position in it, one number an axis; None: the middle.

        Raises:
            UsageError: no such layer or place; or an operation that striate does not know stands before it.
        """
        from striate.anatomy.looking import look

        self.layer(name)
        return look(self.graph, self.graph.node(name), place)

    def effective(self, name: str, place: Sequence[int] | None = None, *, samples: int = 8, seed: int = 0) -> Effective:
        """Return how strongly one place of a layer depends on each pixel: the effective receptive field.

        Args:
            name: A layer.
            place: Spatial position in it; None: the middle.
            samples: Random inputs over which the gradient is averaged, besides the example.
            seed: Of the random inputs.

        Raises:
            UsageError: as `look`; or a call on the way cannot be run again with gradients.
        """
        from striate.anatomy.looking import effective

        self.layer(name)
        node = self.graph.node(name)
        return effective(self.graph, self.model, node, self.example, place=place, samples=samples, seed=seed)

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain numbers, texts and lists."""
        return {
            "kind": "anatomy",
            "name": self.name,
            "mode": "training" if self.is_training else "evaluation",
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "convention": CONVENTION,
            "layers": [layer.to_dict() for layer in self.layers],
            "total": self.total.to_dict(),
            "input_sizes": None if self.sizes is None else vars(self.sizes) | {"given": list(self.sizes.given)},
            "advice": [one.to_dict() for one in self.advice],
        }

    def text(self, *, view: str = "costs") -> str:
        """Return a table: of "costs", or of "fields" (what units see and are connected to).

        Raises:
            UsageError: another view.
        """
        from striate.anatomy.text import as_text

        return as_text(self, view=view)

    def html(self, *, at: str | None = None, place: Sequence[int] | None = None, effective: bool = False) -> str:
        """Return a page that loads nothing: the graph drawn, the table, and a receptive field on the image.

        Args:
            at: The layer whose receptive field is drawn; None: the last one that sees less than the image.
            place: Position in it; None: the middle.
            effective: Draw the effective receptive field too.
        """
        from striate.anatomy.page import anatomy_page

        return anatomy_page(self, at=at, place=place, effective=effective)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the page of `html` into a new file and return its path.

        Raises:
            UsageError: the file exists, or its name does not end in .html.
            ResourceError: it cannot be written.
        """
        from striate.anatomy.page import save_page

        return save_page(self, path, **options)

    def put_in_report(self, folder: str | os.PathLike[str]) -> Path | None:
        """Put the table and the advice into the report of a run, and return its path; None: the run has no report.

        Raises:
            ModelError: the report is not one that striate wrote.
            ResourceError: it cannot be written.
        """
        from striate.anatomy.page import report_section
        from striate.train.report import put_section

        return put_section(Path(folder), report_section(self), name="anatomy")

    def __str__(self) -> str:
        return self.text()


def anatomy(
    model: nn.Module | str | Path | Run | Subject,
    example: Any = None,
    *,
    image: str | Path | None = None,
    time: bool = False,
    name: str | None = None,
    seed: int = 0,
) -> Anatomy:
    """Return what a network is: shapes, costs, memory and receptive fields of every operation, and their sums.

    The network runs as it is, in its own mode, and is left as it was. Costs are those of the whole example.

    Args:
        model: Any module; or a name in `striate.models`, a run folder, a `Run`, or what `open_subject` made of one.
        example: Its input: a tensor, an array, or a tuple of them; None: what the network of the name or run takes.
        image: A file to use as the example, prepared as in evaluation; for a name or a run.
        time: Measure each layer too, forward and backward.
        name: Heading; None: the model's own.
        seed: Of the random image where there is neither example nor image.

    Raises:
        UsageError: a module without an example.
        ModelError: the example does not fit the network; the message names the layer and the edit.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2))
        >>> found = anatomy(net, torch.zeros(1, 1, 28, 28))
        >>> [(layer.name, layer.macs, layer.receptive_field.size) for layer in found.layers]
        [('0', 86400, (5, 5)), ('1', 0, (5, 5)), ('2', 0, (6, 6))]
        >>> found.total.parameters.count, found.total.macs
        (156, 86400)
    """
    if isinstance(model, nn.Module):
        if example is None or image is not None:
            raise UsageError(
                "anatomy: `example` must be given for a module, and `image` left out, got "
                f"{'no example' if example is None else 'an image'}. Give a tensor such as torch.zeros(1, 3, 224, 224)."
            )
        return examine(model, example, time=time, name=name or type(model).__name__)
    from striate.train.subject import Subject, open_subject

    subject = model if isinstance(model, Subject) else open_subject(model)
    pixels = None
    if example is None:
        example = subject.prepare(image, seed=seed)
        pixels = None if image is None else _before_normalisation(example, subject)
    return examine(subject.network, example, time=time, name=name or subject.name, pixels=pixels)


def _before_normalisation(example: Tensor, subject: Subject) -> Any:
    """Return the picture that a prepared image shows, uint8 (C, H, W)."""
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (subject.preprocessing.mean, subject.preprocessing.std))
    return (255 * (example[0] * std + mean)).round().clamp(0, 255).to(torch.uint8).numpy()


def examine(model: nn.Module, example: Any, *, time: bool, name: str, pixels: Any = None) -> Anatomy:
    """Run a network once and read the table from its graph."""
    model = getattr(model, "_orig_mod", model)  # of torch.compile, the network as written
    try:
        graph, kept = captured(model, example)
    except Exception:
        check_shapes(model, example)  # raises the same error, explained
        raise
    network = graph.nodes[: graph._network_end]
    times = measured_times(graph, model) if time else {}
    seen = sights(graph)
    counted: set[int] = set()
    layers = tuple(
        _layer(node, seen.get(node.index), kept, times.get(node.index), counted) for node in network if _is_layer(node)
    )
    total = _total(model, graph, layers, kept, times)
    bare = dataclasses.replace(graph, _values={})  # activations are not needed any more
    return Anatomy(
        name=name,
        input_shapes=tuple(node.output_shape for node in graph.inputs),
        is_training=model.training,
        layers=layers,
        total=total,
        sizes=input_sizes(graph, model, graph.value(graph.inputs[0]), seen) if graph.inputs else None,
        sights=seen,
        graph=bare,
        example=tuple(graph.value(node).clone() for node in graph.inputs),
        model=model,
        pixels=pixels,
    )


def _is_layer(node: Node) -> bool:
    """Whether a node is a row: inputs and constants are none, but parameters that are used as they are."""
    is_own = any(parameter.kind == "parameter" for parameter in node.parameters.values())
    return not isinstance(node.op, Input) and (not isinstance(node.op, Constant) or is_own)


def _layer(node: Node, sight: Sight | str | None, kept: Kept, time: Times | None, counted: set[int]) -> Layer:
    cost = costs.macs(node)
    per_unit, dense = costs.connections(node, cost)
    units = 1
    for length in node.output_shape[1:]:
        units *= length
    return Layer(
        name=node.name,
        op=node.call,
        module=node.module,
        sources=tuple(dict.fromkeys(source.name for source in node.sources)),
        output_shape=node.output_shape,
        is_known=cost is not None,
        parameters=costs.counted_parameters(node, counted),
        macs=cost,
        flops=costs.flops(node),
        receptive_field=sight if isinstance(sight, Sight) else None,
        blocked_by=sight if isinstance(sight, str) else None,
        output_bytes=costs.value_bytes(node),
        activation_bytes=kept.by_node.get(node.index, 0),
        moved_bytes=costs.moved_bytes(node),
        units=units,
        inputs_per_unit=per_unit,
        dense_weights=dense,
        time_ms=time,
    )


def _total(
    model: nn.Module, graph: Graph, layers: Sequence[Layer], kept: Kept, times: dict[int, Times | None]
) -> Total:
    own = {id(parameter): parameter for parameter in model.parameters()}
    used = {id(parameter.tensor) for parameter in graph.parameters}
    measured = [time for time in times.values() if time is not None]
    backward = [time.backward for time in measured if time.backward is not None]
    return Total(
        parameters=sum((layer.parameters for layer in layers), Parameters()),
        unused_parameters=sum(p.numel() for key, p in own.items() if key not in used),
        macs=sum(layer.macs or 0 for layer in layers),
        flops=sum(layer.flops or 0 for layer in layers),
        moved_bytes=sum(layer.moved_bytes for layer in layers if layer.is_known),
        parameter_bytes=sum(p.numel() * p.element_size() for p in own.values()),
        activation_bytes=kept.total,
        inference_bytes=inference_bytes(graph),
        unknown=tuple(layer.name for layer in layers if not layer.is_known),
        time_ms=Times(sum(t.forward for t in measured), sum(backward) if backward else None) if measured else None,
        untimed=tuple(graph.nodes[index].name for index, time in times.items() if time is None),
    )
