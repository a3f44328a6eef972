"""Training as most people write it in PyTorch, to be compared with.

A data set of PIL images with one transform per image, a DataLoader, float32 in NCHW, SGD, ``loss.backward()``: the
shape of PyTorch's own MNIST example, in our own words. torchvision's transforms are replaced by small functions that do
the same work on the same types; where there was a choice, the faster form is taken. The networks are striate's
modules, which are plain PyTorch. Nothing is tuned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks._rounds import answer_rounds
from benchmarks._support import make_parser, parse, write_results

__all__ = ["Images", "Normalize", "RandomCrop", "flip_at_random", "main", "to_tensor"]

Transform = Callable[[Any], Any]


def to_tensor(picture: Image.Image) -> Tensor:
    """Turn a picture into a float tensor (C, H, W) from 0 to 1, as torchvision's ToTensor does."""
    levels = torch.from_numpy(np.array(picture, copy=True))
    levels = levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1).contiguous()
    return levels.to(torch.float32).div(255)


class Normalize:
    """Subtract a mean from each channel and divide by a standard deviation.

    Args:
        mean: One number a channel.
        std: One number a channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __call__(self, image: Tensor) -> Tensor:
        """Return a new tensor of the same shape."""
        return image.clone().sub_(self.mean).div_(self.std)


class RandomCrop:
    """Pad a picture with black on all sides and cut a square of its old size at a random place.

    Args:
        size: Side of the square in pixels.
        padding: In pixels.
    """

    def __init__(self, size: int, *, padding: int) -> None:
        self.size, self.padding = size, padding

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Return a new picture."""
        padded = ImageOps.expand(picture, border=self.padding)
        top = int(torch.randint(0, padded.height - self.size + 1, (1,)))
        left = int(torch.randint(0, padded.width - self.size + 1, (1,)))
        return padded.crop((left, top, left + self.size, top + self.size))


def flip_at_random(picture: Image.Image) -> Image.Image:
    """Mirror left and right with probability one half."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(1) < 0.5 else picture


class Images(Dataset[tuple[Tensor, int]]):
    """Pictures with labels; the transforms run for each picture when it is asked for.

    Args:
        pixels: (N, H, W) grey or (N, H, W, 3), uint8, as torchvision's MNIST and CIFAR10 keep them.
        labels: (N,).
        transforms: Applied one after another.
    """

    def __init__(
        self, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], transforms: Sequence[Transform]
    ) -> None:
        self.pixels, self.labels, self.transforms = pixels, labels.tolist(), transforms

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        value: Any = Image.fromarray(self.pixels[index])
        for transform in self.transforms:
            value = transform(value)
        return value, self.labels[index]


class Training:
    """The stock training, in pieces that can be timed.

    Args:
        model: Name in `striate.models`.
        data: Name of a data set of images.
        batch_size: Images a step.
    """

    def __init__(self, *, model: str, data: str, batch_size: int) -> None:
        from striate import models
        from striate.data import load, statistics

        train = load(data, val_fraction=0.0).train
        scale = statistics(train)
        pixels = train.images.gather(np.arange(len(train))).pixels.permute(0, 2, 3, 1).contiguous().numpy()
        augmentation: list[Transform] = (
            [RandomCrop(pixels.shape[1], padding=4), flip_at_random] if data == "cifar10" else []
        )
        self.images = Images(
            pixels[..., 0] if pixels.shape[3] == 1 else pixels,
            train.labels.numpy(),
            [*augmentation, to_tensor, Normalize(scale.mean, scale.std)],
        )
        self.batch_size = batch_size
        torch.manual_seed(0)
        self.network = models.create(model, in_channels=pixels.shape[3], image_size=pixels.shape[1], num_classes=10)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self._batches: dict[int, Iterator[Any]] = {}
        self._left: dict[int, int] = {}

    def run_round(self, *, steps: int, warmup_steps: int, workers: int) -> float:
        """Train for some steps and return images per second.

        An epoch goes on where the last round left it. Starting its workers, and the first steps after a pause, which
        find batches waiting, are outside the clock.

        Args:
            steps: Inside the clock.
            warmup_steps: Before it.
            workers: Processes that prepare batches; 0 prepares them in this one.
        """
        if self._left.get(workers, 0) < steps + warmup_steps:
            self._batches.pop(workers, None)  # ends the workers of the old epoch
            loader = DataLoader(self.images, self.batch_size, shuffle=True, num_workers=workers, drop_last=True)
            self._batches[workers], self._left[workers] = iter(loader), len(loader)
        self._left[workers] -= steps + warmup_steps
        train(self.network, self.optimizer, self._batches[workers], steps=warmup_steps)
        begin = time.perf_counter()
        train(self.network, self.optimizer, self._batches[workers], steps=steps)
        return steps * self.batch_size / (time.perf_counter() - begin)


def train(network: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Any], *, steps: int) -> None:
    """Take some steps of an epoch."""
    network.train()
    for _ in range(steps):
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the stock training alone, or serve rounds to `benchmarks.training_speed`."""
    parser = make_parser("benchmarks.peers.stock_pytorch", __doc__)
    parser.add_argument("--model", default="lenet5", help="name in striate.models (lenet5)")
    parser.add_argument("--data", default="mnist", choices=("mnist", "fashion-mnist", "cifar10"), help="(mnist)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a step (64)")
    parser.add_argument("--steps", type=int, default=200, help="steps of a round (200)")
    parser.add_argument("--warmup-steps", type=int, default=8, help="steps before the clock of a round (8)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each number of workers (5)")
    parser.add_argument("--serve", action="store_true", help="answer requests on standard input instead")
    options = parse(parser, arguments)
    training = Training(model=options.model, data=options.data, batch_size=options.batch_size)
    if options.serve:
        answer_rounds({"torch": torch.__version__, "threads": torch.get_num_threads()}, training.run_round)
        return
    speeds: dict[int, list[float]] = {0: [], 2: []}
    for _ in range(options.rounds):
        for workers, measured in speeds.items():
            measured.append(training.run_round(steps=options.steps, warmup_steps=options.warmup_steps, workers=workers))
    for workers, measured in speeds.items():
        spread = f"min {min(measured):,.0f}, max {max(measured):,.0f}, n = {len(measured)}"
        print(f"{workers} workers: {float(np.median(measured)):,.0f} images/s ({spread})")
    settings = {key: getattr(options, key) for key in ("model", "data", "batch_size", "steps", "warmup_steps")}
    values = {**settings, "seeds": [0], "n": options.rounds, "images_per_second": speeds}
    print(write_results(options.results, "stock_pytorch", values))


if __name__ == "__main__":
    main()
