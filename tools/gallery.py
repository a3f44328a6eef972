"""Train a LeNet-5 on MNIST and a ResNet-20 on CIFAR-10 and write the pictures of docs/see/gallery.md.

Run from the repository: ``python tools/gallery.py``, with STRIATE_DATA naming a folder that holds both data sets.
``--runs FOLDER`` keeps the runs, so that a second start only draws.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import striate
from striate import see
from striate.data import Batches
from striate.see import _plots as plots
from striate.train import Run

TARGET = Path(__file__).parents[1] / "docs" / "see" / "gallery"


def main() -> None:
    """Train what is not there, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=None, help="where the runs are kept")
    options = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        lenet = run_of(folder / "lenet", "mnist", model="lenet5", recipe="mnist-fast")
        resnet = run_of(folder / "resnet", "cifar10", model="resnet20", recipe="cifar", epochs=12)
        for name, run, mistake in (("lenet5", lenet, ("4", "9")), ("resnet20", resnet, ("cat", "dog"))):
            draw(name, run, mistake=mistake)


def run_of(path: Path, data: str, **options: object) -> Run:
    """Return a run that is there, or train it."""
    if (path / "evaluation.json").is_file():
        return Run(path)
    return striate.train(data, output=path.parent, experiment=path.name, keep_epochs=True, **options)


def draw(name: str, run: Run, *, mistake: tuple[str, str]) -> None:
    """Write the pictures of one network."""
    network, dataset = run.model(), run.load_data().pick("test")
    images = torch.cat([batch.inputs for batch in batches(run, dataset)])
    targets = dataset.labels
    x = images[:6]
    save(f"{name}-filters", plots.grid(see.filters(network, x[:1]).tiles()), 12)
    maps = see.feature_maps(network, x[:1])
    layers = list(dict.fromkeys((0, len(maps) // 2, len(maps) - 1)))
    for place, layer in enumerate(layers):
        shown = [plots.heat_colours(channel) for channel in maps[layer].values[0][:32]]
        save(f"{name}-maps-{place}", plots.grid(np.stack(shown), columns=8), 3)
    nodes = [maps[layer].node for layer in layers]
    for place, top in enumerate(see.top_patches(network, images, nodes=nodes, channels=range(6))):
        rows = [np.concatenate([top.sheet(c), np.ones((len(top.sheet(c)), 2, 3)), top.sheet(c, projected=True)], axis=1)
                for c in range(6)]  # fmt: skip
        save(f"{name}-patches-{place}", plots.grid(np.stack(rows), columns=2), 4 if place == 0 else 2)
    save(f"{name}-attribution", attributions(network, x[:4]), 3)
    predicted = see.mistakes(
        network,
        images,
        targets,
        true=run.class_names.index(mistake[0]),
        predicted=run.class_names.index(mistake[1]),
        count=4,
    )
    strips = []
    for row in range(len(predicted.indices)):
        image = plots.signed_image(predicted.for_true.inputs[row], around_zero=False)
        pair = (predicted.for_predicted.heat()[row], predicted.for_true.heat()[row])
        strips.append(np.concatenate([image, *(plots.overlay(image, heat) for heat in pair)], axis=1))
    save(f"{name}-mistakes", plots.grid(np.stack(strips), columns=2), 3)
    grown = see.evolution(run, x[:1], node=nodes[0])
    rows = [plots.heat_colours(np.concatenate(list(grown.maps[:, 0, c]), axis=1)) for c in range(4)]
    save(f"{name}-evolution", plots.grid(np.stack(rows), columns=1), 3)
    best = see.activation_maximization(network, x[:1], of=list(range(10)))
    save(f"{name}-maximized", plots.grid(np.stack([plots.unit_image(image) for image in best.values]), columns=5), 3)
    for transform in ("translation", "scale", "rotation"):
        measured = see.invariance(network, x, transform=transform)
        figure = measured.figure()
        figure.savefig(TARGET / f"{name}-{transform}.png", dpi=80)
    print(name, see.hand_made(see.filters(network, x[:1])), see.randomization_test(network, x[:2]), sep="\n")


def attributions(network: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    """Return a row an image: the image, then the map of each method over it."""
    maps = [see.METHODS[name](network, x).heat() for name in see.METHODS]
    maps.append(see.occlusion(network, x).heat())
    rows = []
    for row, image in enumerate(x.numpy()):
        shown = plots.signed_image(image, around_zero=False)
        rows.append(np.concatenate([shown, *(plots.overlay(shown, heat[row]) for heat in maps)], axis=1))
    return plots.grid(np.stack(rows), columns=1)


def batches(run: Run, dataset: object) -> Batches:
    """Return the images as the network takes them."""
    preprocessing = run.config.preprocessing
    return Batches(dataset, batch_size=256, preprocessing=preprocessing, seed=0, epoch=0, shuffle=False)


def save(name: str, pixels: np.ndarray, factor: int) -> None:
    """Write pixels (H, W, 3) of 0 ... 1, each as a block of `factor` x `factor`."""
    image = Image.fromarray(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.quantize(128).save(TARGET / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
