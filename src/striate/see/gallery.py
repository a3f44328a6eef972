"""Everything there is to see of a network and an image, as one page and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data import Batches
from striate.errors import UsageError, nearest
from striate.see import _sections as sections
from striate.see._page import Page
from striate.see._plots import signed_image
from striate.see.growth import evolution
from striate.see.maps import FeatureMaps
from striate.see.mistaking import mistakes
from striate.see.patches import top_patches
from striate.see.trust import METHODS
from striate.see.unit import Unit
from striate.train.run import Run
from striate.train.subject import Subject, open_subject

__all__ = ["Gallery", "see"]

USUAL = ("gradient", "integrated_gradients", "guided_backprop", "deconvnet", "grad_cam")
CHANNELS = 6
MOST_IMAGES = 10_000
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What `see` wrote."""

    page: Path
    pictures: tuple[Path, ...]
    refused: dict[str, str]
    """Methods that are not defined for this network, with the reason."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"page": str(self.page), "pictures": [str(path) for path in self.pictures], "refused": self.refused}


def see(
    model: str | Path | Run | nn.Module,
    image: str | Path | Tensor | None = None,
    *,
    output: str | Path | None = None,
    of: Unit | str | int | None = None,
    nodes: Sequence[str] | None = None,
    methods: Sequence[str] = USUAL,
    data: Any = None,
    patches: bool = False,
    mistake: tuple[str, str] | None = None,
    grow: bool = False,
    progress: bool = False,
    weights: str | Path | None = None,
    own: str | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> Gallery:
    """Write one page about a network and an image: its answer, what spoke for it, filters, feature maps.

    Args:
        model: A run, a name in `striate.models`, ``package.module:callable``, or a module.
        image: A file, prepared as in evaluation; a tensor as the network takes it, (1, C, H, W); None: the first image
            of `data`, or of the run's own test data.
        output: Folder for the page; None: ``see`` in the run folder, or in the current one.
        of: ``conv2[17]``, ``conv2[17,4,9]``, a class, or None: the predicted class.
        nodes: Layers whose feature maps are shown; None: the first, the middle and the last.
        methods: Names in `METHODS`.
        data: For patches and mistakes: anything `striate.data.load` takes; None: the run's own.
        patches: Also show the places in the data that the strongest channels answer to most.
        mistake: Also explain images of the first class that were taken for the second.
        grow: Also show the layers epoch by epoch, of a run that kept them.
        progress: Show bars on standard error.
        weights: As for `striate.work`: a weights file, or ``imagenet``.
        own: For a run of a network of the user's own: ``package.module:callable``.
        image_size: For a network that is built here, in pixels.
        seed: Of what is drawn: noise, shuffles, the weights of an untrained network.

    Raises:
        UsageError: a method that is not there; something that only a run has was asked of another model.
        StriateError: one of its kinds, where model, image or data cannot be read.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise UsageError(
            f"see: `methods` must be of {', '.join(METHODS)}, got {unknown[0]!r}.{nearest(unknown[0], METHODS)}"
        )
    run = _run_of(model, own)
    subject = open_subject(model if run is None else run, weights=weights, own=own, image_size=image_size, seed=seed)
    _check_run(run, grow=grow, needs_data=(patches or mistake is not None or image is None) and data is None)
    dataset = None if run is None or not (patches or mistake or image is None) else run.load_data(data).pick(None)
    x = image if isinstance(image, Tensor) else _prepared(subject, image, dataset)
    if x.ndim != 4 or len(x) != 1:
        raise UsageError(f"see: `image` must be one image, (1, C, H, W), got shape {tuple(x.shape)}. Use image[None].")
    folder = Path(output) if output is not None else (run.folder if run is not None else Path()) / "see"
    page = Page(folder, title=f"{subject.name}: {_name(image)}")
    shown = _pixels(subject, x, is_prepared=not isinstance(image, Tensor))
    predicted = sections.answer_section(page, subject, x, shown)
    unit = sections.unit_of(of, subject, predicted)
    refused = sections.attribution_section(page, subject.network, x, shown, of=unit, methods=methods, seed=seed)
    sections.occlusion_section(page, subject, x, shown, of=unit)
    sections.filter_section(page, subject.network, x)
    maps = sections.map_section(page, subject.network, x, nodes=nodes)
    if run is not None and dataset is not None:
        _data_sections(page, run, subject, dataset, maps, patches=patches, mistake=mistake, progress=progress)
    if grow and run is not None:
        for layer in maps:
            sections.evolution_section(page, evolution(run, x, node=layer.node))
    return Gallery(page=page.write(), pictures=tuple(page.pictures), refused=refused)


def _data_sections(
    page: Page,
    run: Run,
    subject: Subject,
    dataset: Any,
    maps: tuple[FeatureMaps, ...],
    *,
    patches: bool,
    mistake: tuple[str, str] | None,
    progress: bool,
) -> None:
    """Show what the data says of the channels, and of a cell of the confusion matrix."""
    part = dataset.subset(np.arange(min(len(dataset), MOST_IMAGES)))

    def show_patches(node: str, channels: list[int]) -> None:
        found = top_patches(subject.network, _inputs(part, run), nodes=node, channels=channels, progress=progress)
        sections.patch_section(page, found, images=len(part))

    if patches:
        for layer in maps:
            show_patches(layer.node, layer.strongest(CHANNELS)[0].tolist())
    if mistake is not None:
        true, predicted = (_class(name, run) for name in mistake)
        batches = list(_inputs(dataset, run))
        found = mistakes(
            subject.network,
            torch.cat([batch.inputs for batch in batches]),
            torch.cat([batch.targets for batch in batches]),
            true=true,
            predicted=predicted,
            class_names=run.class_names,
        )
        sections.mistake_section(page, subject, found)
        show_patches(found.layer, found.channels[:CHANNELS].tolist())


def _run_of(model: Any, own: str | None) -> Run | None:
    if isinstance(model, Run):
        return model
    return Run(model, model=own) if isinstance(model, str | Path) and Path(model).is_dir() else None


def _check_run(run: Run | None, *, grow: bool, needs_data: bool) -> None:
    if run is None and (grow or needs_data):
        what = "`grow`" if grow else "`patches`, `mistake` and a missing `image`"
        raise UsageError(
            f"see: {what} must be asked of a run, which has data and epochs. Give a run folder, and an image."
        )


def _prepared(subject: Subject, image: str | Path | None, dataset: Any) -> Tensor:
    if image is not None:
        return subject.prepare(image)
    batches = Batches(
        dataset.subset(np.array([0])), batch_size=1, preprocessing=subject.preprocessing, seed=0, epoch=0, shuffle=False
    )
    return next(iter(batches)).inputs


def _inputs(dataset: Any, run: Run) -> Batches:
    preprocessing = run.config.preprocessing
    return Batches(dataset, batch_size=BATCH, preprocessing=preprocessing, seed=0, epoch=0, shuffle=False)


def _pixels(subject: Subject, x: Tensor, *, is_prepared: bool) -> Any:
    """Return the image with its normalisation taken back, (H, W, 3) of 0 ... 1; of a tensor, stretched."""
    image = x[0].float().cpu().numpy()
    if not is_prepared:
        return signed_image(image, around_zero=False)
    mean, std = (np.array(v)[:, None, None] for v in (subject.preprocessing.mean, subject.preprocessing.std))
    pixels = np.clip(image * std + mean, 0, 1).transpose(1, 2, 0)
    return pixels if pixels.shape[2] == 3 else pixels[..., :1].repeat(3, axis=2)


def _class(name: str, run: Run) -> int:
    if name in run.class_names:
        return run.class_names.index(name)
    raise UsageError(
        f"see: `mistake` must name two of the run's classes, got {name!r}.{nearest(name, run.class_names)} They are "
        f"{', '.join(run.class_names[:12])}{' ...' if len(run.class_names) > 12 else ''}."
    )


def _name(image: Any) -> str:
    return Path(image).name if isinstance(image, str | Path) else "an image"
