"""What a map is worth: whether it changes when the weights are destroyed, and what its pixels do to the answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.errors import UsageError, nearest
from striate.see._looking import as_inputs, looking
from striate.see._seen import Seen
from striate.see.attribution import Attribution
from striate.see.class_maps import grad_cam
from striate.see.gradients import gradient, integrated_gradients, smoothgrad
from striate.see.projections import deconvnet, guided_backprop
from striate.see.unit import Unit, parse_unit

__all__ = [
    "METHODS",
    "Curves",
    "Randomization",
    "deletion_insertion",
    "is_unlike",
    "randomization_test",
    "rank_correlation",
    "shuffled",
]

Array: TypeAlias = npt.NDArray[Any]
Method: TypeAlias = Callable[..., Attribution]

METHODS: dict[str, Method] = {
    "deconvnet": deconvnet,
    "guided_backprop": guided_backprop,
    "gradient": gradient,
    "smoothgrad": smoothgrad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
}
"""The methods that return an `Attribution`, by name."""
ALIKE = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Randomization:
    """How like a map stays while the weights are destroyed, from the last layer to the first."""

    method: str
    layers: tuple[str, ...]
    """Names of the modules in the order in which their weights were shuffled, each with all before it."""
    correlations: Array
    """Rank correlation of the pixels' heat with that of the trained network, (layers, N); 0 of a constant map."""

    @property
    def passes(self) -> bool:
        """Whether the map of the fully shuffled network is unlike that of the trained one: below 0.5 in the mean."""
        return is_unlike(self.correlations[-1])

    def __str__(self) -> str:
        last = float(self.correlations[-1].mean())
        verdict = "it shows the network" if self.passes else "it shows the image more than the network"
        return f"{self.method}: rank correlation {last:.2f} once all weights are shuffled; {verdict}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """What becomes of a class while pixels are taken away or put in, the most important first."""

    shares: Array
    """Of the pixels, 0 to 1, (S,)."""
    deletion: Array
    """Probability of the class (or the unit's activation) with these pixels filled, (N, S): should fall early."""
    insertion: Array
    """The same with only these pixels there, (N, S): should rise early."""
    deletion_by_chance: Array
    """With pixels in random order, (N, S)."""
    insertion_by_chance: Array

    def areas(self) -> dict[str, Array]:
        """Return the area under each curve, (N,), by its name."""
        names = ("deletion", "insertion", "deletion_by_chance", "insertion_by_chance")
        return {name: np.trapezoid(getattr(self, name), self.shares, axis=1) for name in names}

    def __str__(self) -> str:
        areas = {name: float(area.mean()) for name, area in self.areas().items()}
        return (
            f"deletion {areas['deletion']:.2f} ({areas['deletion_by_chance']:.2f} in random order, lower is better), "
            f"insertion {areas['insertion']:.2f} ({areas['insertion_by_chance']:.2f}, higher is better)"
        )


def is_unlike(correlations: Array) -> bool:
    """Say whether maps are unlike those of the trained network: by their mean rank correlation, below 0.5."""
    return bool(correlations.mean() < ALIKE)


def randomization_test(
    model: nn.Module,
    x: Any,
    *,
    method: str | Method = "gradient",
    of: Unit | str | int | None = None,
    seed: int = 0,
    most: int = 8,
) -> Randomization:
    """Shuffle the weights of a copy, layer after layer from the last, and see whether the map notices.

    A map that stays what it was shows the image, as an edge detector would, and not what the network learned.

    Args:
        model: Any module that can be copied; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs.
        method: A name in `METHODS`, or a function of (model, x, of=...) that returns an `Attribution`.
        of: What the maps are about; None: the class that the trained network predicts for each image.
        seed: Of the shuffles.
        most: Steps: a deep network's layers are shuffled in so many groups.

    Raises:
        UsageError: no such method; a network without weights.

    Source: Adebayo et al., Sanity checks for saliency maps, 2018, section 3.
    """
    function = _function(method)
    name = method if isinstance(method, str) else getattr(method, "__name__", "method")
    inputs = as_inputs(model, x, what="randomization_test")
    targets = _targets(model, inputs, of)
    layers = _layers(model, inputs)
    if not layers:
        raise UsageError("randomization_test: `model` must have weights to shuffle, got none.")
    heats = [_heat(function, model, inputs, which, target) for which, target in enumerate(targets)]
    before = [_ranks(heat) for heat in heats]
    copied, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    groups = np.array_split(np.arange(len(layers)), min(most, len(layers)))
    rows, done = list[list[float]](), set[int]()
    for group in groups:
        for index in group:
            _shuffle(dict(copied.named_modules())[layers[index]], generator, done)
        heats = [_heat(function, copied, inputs, which, target) for which, target in enumerate(targets)]
        rows.append([_correlation(ranks, _ranks(heat)) for ranks, heat in zip(before, heats, strict=True)])
    return Randomization(
        method=name, layers=tuple(layers[group[-1]] or "(itself)" for group in groups), correlations=np.array(rows)
    )


def shuffled(model: nn.Module, x: Any, *, seed: int = 0) -> nn.Module:
    """Return a copy of a network with the numbers inside every weight shuffled.

    Args:
        model: Any module that can be copied; it stays as it is.
        x: What it runs on, to know which weights play a part.
        seed: Of the shuffles: those of `randomization_test`.
    """
    copied, generator, done = copy.deepcopy(model), torch.Generator().manual_seed(seed), set[int]()
    modules = dict(copied.named_modules())
    for layer in _layers(model, as_inputs(model, x, what="shuffled")):
        _shuffle(modules[layer], generator, done)
    return copied


def rank_correlation(first: Attribution, second: Attribution) -> Array:
    """Return the rank correlation of the pixels' heat in two maps of the same images, (N,); 0 of a constant map."""
    pairs = zip(first.heat(), second.heat(), strict=True)
    return np.array([_correlation(_ranks(one), _ranks(other)) for one, other in pairs])


def deletion_insertion(
    model: nn.Module,
    x: Any,
    heat: Array,
    *,
    of: Unit | str | int | None = None,
    steps: int = 16,
    fill: float = 0.0,
    seed: int = 0,
    chance: Curves | None = None,
) -> Curves:
    """Take pixels away, and put them into an empty image, in the order of a map, and watch a class.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is changed.
        heat: One number a pixel, (N, H, W), as `Attribution.heat` returns.
        of: A class, another unit, or None: the predicted class.
        steps: Points of a curve after the first.
        fill: What stands for no pixel; of normalised images 0 is the mean colour of the training images.
        seed: Of the random order.
        chance: Curves of another map of the same images, unit, steps, fill and seed, whose random order is taken over.

    Raises:
        UsageError: a map of another size, or no step.

    Source: Petsiuk et al., RISE, 2018, section 4.3.
    """
    inputs = as_inputs(model, x, what="deletion_insertion")
    image = inputs[0]
    wanted = (len(image), *image.shape[2:])
    if np.shape(heat) != wanted or steps < 1:
        raise UsageError(
            f"deletion_insertion: `heat` must have one number a pixel, {wanted}, and `steps` be at least 1, got "
            f"{np.shape(heat)} and {steps}. Attribution.heat() returns such maps."
        )
    generator = np.random.default_rng(seed)
    counts = np.round(np.linspace(0, heat[0].size, steps + 1)).astype(np.int64)
    curves: dict[str, list[Array]] = {
        "deletion": [],
        "insertion": [],
        "deletion_by_chance": [],
        "insertion_by_chance": [],
    }
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        for which in range(len(image)):
            orders = {"": np.argsort(-heat[which].ravel(), kind="stable")}
            if chance is None:
                orders["_by_chance"] = generator.permutation(heat[which].size)
            for ending, order in orders.items():
                curves[f"deletion{ending}"].append(_curve(seen, which, order, counts, fill, keeps=False))
                curves[f"insertion{ending}"].append(_curve(seen, which, order, counts, fill, keeps=True))
    found = {name: np.stack(rows) for name, rows in curves.items() if rows}
    if chance is not None:
        found |= {name: getattr(chance, name) for name in curves if name not in found}
    return Curves(shares=counts / counts[-1], **found)


def _curve(seen: Seen, which: int, order: Array, counts: Array, fill: float, *, keeps: bool) -> Array:
    """Return a class's probability, or a unit's activation, with the first pixels of an order kept or filled."""
    image = seen.inputs[0][which]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    first = torch.from_numpy(rank.reshape(image.shape[1:]))[None] < torch.from_numpy(counts)[:, None, None]
    stays = (first if keeps else ~first)[:, None].to(image.device)
    made = torch.where(stays, image, torch.full_like(image, fill))
    (value,) = seen.values_of_one(made, which)
    if value.ndim == 2:
        value = value.softmax(dim=1)
    curve: Array = value[(slice(None), *seen.unit.index[which])].float().cpu().numpy()
    return curve


def _function(method: str | Method) -> Method:
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise UsageError(
            f"randomization_test: `method` must be one of {', '.join(METHODS)}, got {method!r}."
            f"{nearest(method, METHODS)} Or give a function."
        )
    return METHODS[method]


def _targets(model: nn.Module, inputs: tuple[Tensor, ...], of: Unit | str | int | None) -> list[Unit]:
    """Fix what the maps are about for each image, so that the shuffled network is asked the same."""
    unit = parse_unit(of)
    if unit.node or unit.channel is not None:
        return [unit] * len(inputs[0])
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, unit)
        return [Unit("", int(row[0])) for row in seen.unit.index]


def _layers(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[str]:
    """Return the paths of the modules with parameters of their own, the one that ran last first."""
    owners: dict[str, None] = {}
    names = {id(p): path for path, module in model.named_modules() for p in module.parameters(recurse=False)}
    with looking(model, *inputs) as graph:
        for node in reversed(graph.nodes):
            for parameter in node.parameters.values():
                if id(parameter.tensor) in names:
                    owners.setdefault(names[id(parameter.tensor)])
    return list(owners)


def _shuffle(module: nn.Module, generator: torch.Generator, done: set[int]) -> None:
    """Shuffle the numbers inside each parameter of a module; of a shared one once."""
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in done:
                done.add(id(parameter))
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))


def _heat(function: Method, model: nn.Module, inputs: tuple[Tensor, ...], which: int, target: Unit) -> Array:
    one = tuple(tensor[which : which + 1] for tensor in inputs)
    heat: Array = function(model, one, of=target).heat()[0]
    return heat


def _ranks(heat: Array) -> Array:
    """Return the rank of each pixel less the mean rank; equal pixels share the mean of theirs."""
    _, which, counts = np.unique(heat.ravel(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    centred: Array = ranks - ranks.mean()
    return centred


def _correlation(first: Array, second: Array) -> float:
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0
