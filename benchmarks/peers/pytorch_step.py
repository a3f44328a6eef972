"""The training step of PyTorch as most people run it: eager, float32, NCHW, SGD, nothing tuned; or inference like that.

The network is built and its batches are tensors in memory before the clock starts: unlike `stock_pytorch`, which times
a whole script, this is the step alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import _networks
from benchmarks._steps import BATCHES, Rounds, serve_or_print, step_parser

__all__ = ["inference_step", "main", "sgd", "tensor_batches", "training_step"]

LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


def sgd(network: nn.Module, **choices: bool) -> torch.optim.SGD:
    """Return the optimizer of all sides.

    Args:
        network: Whose parameters it updates.
        choices: ``fused`` or ``foreach``; none are PyTorch's defaults.
    """
    return torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, **choices)


def tensor_batches(name: str, *, batch_size: int, image_size: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of all sides as tensors."""
    arrays = _networks.random_batches(name, batch_size=batch_size, count=BATCHES, image_size=image_size)
    return [(torch.from_numpy(inputs), torch.from_numpy(targets)) for inputs, targets in arrays]


def training_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    context: Callable[[], Any] = nullcontext,
) -> Callable[[], object]:
    """Return what takes one step on the next batch.

    Args:
        network: Set to training mode.
        optimizer: Of its parameters.
        batches: Used in turn.
        context: Makes what the forward pass and the loss run in.
    """
    network.train()
    endless = itertools.cycle(batches)

    def step() -> None:
        inputs, targets = next(endless)
        optimizer.zero_grad()
        with context():
            loss = F.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()

    return step


def inference_step(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Callable[[], object]:
    """Return what computes the logits of the next batch, the network set to evaluation mode."""
    network.eval()
    endless = itertools.cycle(batches)

    def step() -> None:
        with torch.inference_mode():
            network(next(endless)[0])

    return step


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the step alone, or serve rounds to `benchmarks.engine`."""
    parser = step_parser("benchmarks.peers.pytorch_step", __doc__)
    parser.add_argument("--inference", action="store_true", help="compute logits only, in evaluation mode")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    network = _networks.create(options.model, width=options.width, image_size=options.image_size)
    batches = tensor_batches(options.model, batch_size=options.batch_size, image_size=options.image_size)
    step = inference_step(network, batches) if options.inference else training_step(network, sgd(network), batches)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    serve_or_print(options, about, Rounds(step, batch_size=options.batch_size).run_round)


if __name__ == "__main__":
    main()
