"""The sections of the page of `striate see`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.errors import UsageError, nearest
from striate.see._looking import looking
from striate.see._page import Page
from striate.see._plots import grid, heat_colours, overlay, signed_image
from striate.see._rewriting import project, rules_for
from striate.see._seen import Seen
from striate.see.attribution import Attribution
from striate.see.growth import Evolution
from striate.see.maps import FeatureMaps, feature_maps
from striate.see.mistaking import Mistakes
from striate.see.occluding import occlusion
from striate.see.patches import TopPatches
from striate.see.trust import METHODS, deletion_insertion, is_unlike, rank_correlation, shuffled
from striate.see.unit import Located, Unit, parse_unit
from striate.see.weights import filters, hand_made
from striate.train._html import Html
from striate.train.subject import Subject

__all__ = [
    "answer_section",
    "attribution_section",
    "evolution_section",
    "filter_section",
    "map_section",
    "mistake_section",
    "occlusion_section",
    "patch_section",
    "unit_of",
]

Array: TypeAlias = npt.NDArray[Any]

# A page takes seconds: fewer samples and steps than the functions take by themselves; it says how many.
OPTIONS: dict[str, dict[str, int]] = {"smoothgrad": {"samples": 16}, "integrated_gradients": {"steps": 16}}
POINTS = 6
MOST_MAPS, PROJECTED = 64, 6


def answer_section(page: Page, subject: Subject, x: Tensor, shown: Array) -> int | None:
    """Show the image and the most probable classes; return the first, or None where the network has no classes."""
    with looking(subject.network, x, keep_values=True) as graph:
        try:
            seen = Seen.of(graph, (x,), Unit(""))
        except UsageError as error:
            page.section("The image", page.figure(shown, "image", "as the network sees it"), text=str(error))
            return None
        probabilities = seen.values_of(x)[0].softmax(dim=0)
    top = probabilities.topk(min(5, len(probabilities)))
    rows = [
        (subject.class_name(int(i)), f"{100 * float(p):.1f} %") for p, i in zip(top.values, top.indices, strict=True)
    ]
    text = "" if subject.is_trained else "The weights are random: what follows shows the methods, not a skill."
    table = page.table(("class", "probability"), rows)
    page.section("The image and the answer", page.figure(shown, "image", "as the network sees it"), table, text=text)
    return int(top.indices[0])


def attribution_section(
    page: Page, model: nn.Module, x: Tensor, shown: Array, *, of: Unit, methods: Sequence[str], seed: int
) -> dict[str, str]:
    """Show the map of each method with what it is worth; return why methods refused."""
    refused, figures, curves = dict[str, str](), list[object](), None
    destroyed = shuffled(model, x, seed=seed)
    for name in methods:
        options = OPTIONS.get(name, {})
        try:
            found = METHODS[name](model, x, of=of, **options)
            again = METHODS[name](destroyed, x, of=of, **options)
        except UsageError as error:
            refused[name] = str(error)
            continue
        curves = deletion_insertion(model, x, found.heat(), of=of, steps=POINTS, seed=seed, chance=curves)
        correlation = rank_correlation(found, again)
        verdict = "shows the network" if is_unlike(correlation) else "shows the image more than the network"
        figures.append(
            page.figure(
                np.concatenate([overlay(shown, found.heat()[0]), _map(found)], axis=1),
                name,
                f"{name} of {found.units[0]} ({found.scores[0]:.3g})",
                f"weights shuffled: rank correlation {correlation[0]:.2f}; it {verdict}",
                str(curves),
                *found.notes,
                f"rewritten: {_listed(found.rewritten)}" if found.rewritten else "",
                f"passed by the gradient: {_listed(found.by_gradient)}" if found.by_gradient else "",
            )
        )
    words = (
        "Left: the map over the image; right: its signs, grey is 0. A map that stays what it was once the weights are "
        "shuffled shows the image and not what was learned. Deletion takes the pixels away, the most important first."
    )
    page.section("What in the image made it answer", *figures, text=words)
    if refused:
        page.section("Methods that refused", page.table(("method", "reason"), list(refused.items())))
    return refused


def occlusion_section(page: Page, subject: Subject, x: Tensor, shown: Array, *, of: Unit) -> None:
    """Show the image, and the three maps of occlusion."""
    found = occlusion(subject.network, x, of=of)
    scores = found.scores[0]
    classes, places, counts = np.unique(found.predicted[0], return_inverse=True, return_counts=True)
    drawn = heat_colours(np.arange(1.0, len(classes) + 1)[None])[0][places.reshape(scores.shape)]
    fullest = np.argsort(-counts, kind="stable")[:4]
    named = ", ".join(f"{subject.class_name(int(classes[i]))} {counts[i] / counts.sum():.0%}" for i in fullest)
    figures = [
        page.figure(overlay(shown, found.heat()[0]), "occlusion", "where a grey square makes the score fall"),
        page.figure(heat_colours(scores), "occlusion-score",
                    f"{found.units[0]} with the square at each place: {scores.min():.2f} to {scores.max():.2f}"),
        page.figure(drawn, "occlusion-answer", f"the answer with the square at each place: {named}"),
    ]  # fmt: skip
    if found.layer is not None:
        caption = f"sum of {found.layer}[{found.channels[0]}], its strongest map, with the square at each place"
        figures.append(page.figure(heat_colours(found.activity[0]), "occlusion-activity", caption))
    page.section(
        "Occlusion",
        *figures,
        text=f"A grey square of {found.size} x {found.size} pixels hides each part of the image in turn.",
    )


def filter_section(page: Page, model: nn.Module, x: Tensor) -> None:
    """Show the filters of the first convolution, and how like they are to those made by hand."""
    try:
        found = filters(model, x)
    except UsageError:  # a network without convolutions has no filters to show
        return
    text = f"{len(found.values)} filters of {found.node}, grey is 0."
    if min(found.values.shape[2:]) >= 3:
        made = hand_made(found)
        text += (
            f" Each beside the filter made by hand that it is most like: mean |cosine| "
            f"{np.abs(made.cosines).mean():.2f} ({made.by_chance:.2f} of shuffled ones)."
        )
    page.section("Filters of the first layer", page.labelled(found.tiles(), _numbers(found.tiles()), "filters", text))


def map_section(page: Page, model: nn.Module, x: Tensor, *, nodes: Sequence[str] | None) -> tuple[FeatureMaps, ...]:
    """Show feature maps of some layers, and what the strongest channels of each answer to in this image."""
    try:
        every = feature_maps(model, x, nodes=nodes)
    except UsageError:
        if nodes is not None:
            raise
        return ()
    chosen = every if nodes is not None else tuple(dict.fromkeys((every[0], every[len(every) // 2], every[-1])))
    for maps in chosen:
        tiles = np.stack([heat_colours(channel) for channel in maps.values[0][:MOST_MAPS]])
        count = f"the first {MOST_MAPS} of " if maps.values.shape[1] > MOST_MAPS else ""
        size = f"{maps.values.shape[2]} x {maps.values.shape[3]}"
        figures = [
            page.labelled(
                tiles, _numbers(tiles), f"maps-{_file(maps.node)}", f"{count}{maps.values.shape[1]} maps of {size}"
            )
        ]
        figures += _projections(page, model, x, maps)
        page.section(f"Feature maps of {maps.node}", *figures)
    return chosen


def patch_section(page: Page, found: Sequence[TopPatches], *, images: int) -> None:
    """Show for each channel the places of the data it answers to most, beside their projections."""
    for patches in found:
        figures = []
        for number, channel in enumerate(patches.channels.tolist()):
            sheets = [patches.sheet(number)]
            if patches.projections is not None:
                sheets.append(patches.sheet(number, projected=True))
            answers = patches.activations[number]
            caption = f"{patches.node}[{channel}]: {answers[0]:.3g} to {answers[-1]:.3g}"
            figures.append(page.figure(_beside(sheets), f"patches-{_file(patches.node)}-{channel}", caption))
        projected = "; right: what the deconvnet says it answered to" if patches.projections is not None else ""
        page.section(
            f"Strongest places for {patches.node}",
            *figures,
            text=f"Of {images:,} images, at most one place each, cut out by the receptive field{projected}. "
            + " ".join(patches.notes),
        )


def mistake_section(page: Page, subject: Subject, found: Mistakes) -> None:
    """Show images of one class that were taken for another, with what spoke for each."""
    true, predicted = subject.class_name(found.true), subject.class_name(found.predicted)
    figures = []
    for row, index in enumerate(found.indices.tolist()):
        image = signed_image(found.for_true.inputs[row], around_zero=False)
        strips = [image, overlay(image, found.for_predicted.heat()[row]), overlay(image, found.for_true.heat()[row])]
        of_true, of_predicted = found.probabilities[row]
        caption = f"image {index}: {predicted} {of_predicted:.0%}, {true} {of_true:.0%}"
        figures.append(page.figure(_beside(strips), f"mistake-{index}", caption))
    channels = ", ".join(
        f"{found.layer}[{c}] {s:+.2f}" for c, s in zip(found.channels[:6], found.shares[:6], strict=True)
    )
    page.section(
        f"{true} taken for {predicted}",
        *figures,
        text=f"Each image, what spoke for {predicted}, and what spoke for {true} (Grad-CAM). Channels that add most to "
        f"the difference of the two logits: {channels}.",
    )


def evolution_section(page: Page, found: Evolution) -> None:
    """Show the maps of one layer epoch by epoch, a row a channel."""
    rows = [
        heat_colours(np.concatenate(list(np.pad(found.maps[:, 0, channel], ((0, 0), (0, 0), (0, 1)))), axis=1))
        for channel in range(min(8, found.maps.shape[2]))
    ]
    epochs = ", ".join(map(str, found.epochs))
    page.section(
        f"How {found.node} grew",
        page.figure(
            grid(np.stack(rows), columns=1), f"evolution-{_file(found.node)}", f"epochs {epochs}, from left to right"
        ),
        text="The same image through the weights of each epoch; a row is a channel, on one scale.",
    )


def _projections(page: Page, model: nn.Module, x: Tensor, maps: FeatureMaps) -> list[Html]:
    """Return the deconvnet's picture of the strongest channels of a layer in this image; nothing where it refuses."""
    channels = [int(c) for c in maps.strongest(PROJECTED)[0] if maps.values[0, c].max() > 0]
    if not channels:
        return []
    places = [np.unravel_index(int(maps.values[0, c].argmax()), maps.values.shape[2:]) for c in channels]
    index = torch.tensor([[c, *map(int, place)] for c, place in zip(channels, places, strict=True)])
    with looking(model, x) as graph:
        node = graph.node(maps.node)
        try:
            rules = rules_for(graph, node, method="deconvnet")
        except UsageError:  # said once, among the methods that refused
            return []
        batch = x.expand(len(channels), *x.shape[1:])
        found, _, _ = project(graph, (batch,), rules, Located(node, index), node=node, is_guided=False)
    tiles = np.stack([signed_image(tile) for tile in found.float().cpu().numpy()])
    labels = [str(channel) for channel in channels]
    return [
        page.labelled(tiles, labels, f"deconvnet-{_file(maps.node)}", "deconvnet of the strongest places, by channel")
    ]


def _map(found: Attribution) -> Array:
    if found.values.shape[2:] == found.inputs.shape[2:]:
        return signed_image(found.values[0])
    return heat_colours(found.heat()[0])


def _beside(tiles: Sequence[Array]) -> Array:
    return grid(np.stack(tiles), columns=len(tiles))


def _numbers(tiles: Array) -> list[str]:
    return [str(number) for number in range(len(tiles))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _file(node: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in node)


def unit_of(of: Unit | str | int | None, subject: Subject, predicted: int | None) -> Unit:
    """Return what the page is about: a class by its name, what else was asked for, or the predicted class.

    Raises:
        UsageError: nothing was asked for and the network has no classes, or a class that is not there.
    """
    names = subject.class_names or ()
    if isinstance(of, str) and of in names:
        return Unit("", names.index(of))
    if isinstance(of, str) and "[" not in of and names:
        raise UsageError(
            f"see: `of` must be one of the network's classes, or a unit as conv2[17], got {of!r}.{nearest(of, names)}"
        )
    if of is not None or predicted is None:
        return parse_unit(of)
    return Unit("", predicted)
