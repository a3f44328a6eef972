"""striate's side of `benchmarks.engine`: a step in the engine, on the batches that the peers have.

Before anything is timed, a few steps (or the logits) are compared with PyTorch's own: a wrong answer has no speed.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import _networks
from benchmarks._macs import forward_macs, training_macs
from benchmarks._steps import Rounds, serve_or_print, step_parser
from benchmarks.peers.pytorch_step import LR, MOMENTUM, WEIGHT_DECAY, inference_step, sgd, tensor_batches, training_step

__all__ = ["KINDS", "EngineRounds", "differences_from_pytorch", "main"]

CHECKED_IMAGES, CHECKED_STEPS = 16, 3
LARGEST_DIFFERENCE = {"float32": 1e-3, "bf16": 5e-2}
"""Of losses after a few steps, or logits, relative."""
USUAL_DIFFERENCES = 3.0
"""How many times as far as PyTorch's own float32 the engine may be from float64 where that is more."""
CAPTURED_IMAGES = 2  # batch norm in training mode wants more than one
TensorBatches = list[tuple[Tensor, Tensor]]


def fused_step(network: nn.Module, *, precision: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the engine's whole step, which returns the loss before the update."""
    from striate.engine import TrainingStep

    choices: dict[str, Any] = {} if precision == "float32" else {"precision": precision}
    step = TrainingStep(network.train(), optimizer=sgd(network), **choices)
    return lambda inputs, targets: step(inputs, targets)[0]


def _step(network: nn.Module, batches: TensorBatches, options: argparse.Namespace) -> Callable[[], object]:
    step, endless = fused_step(network, precision=options.precision), itertools.cycle(batches)
    return lambda: step(*next(endless))


def _accelerate(network: nn.Module, batches: TensorBatches, _: argparse.Namespace) -> Callable[[], object]:
    import striate

    return training_step(striate.accelerate(network), sgd(network), batches)


def _inference(network: nn.Module, batches: TensorBatches, _: argparse.Namespace) -> Callable[[], object]:
    import striate

    return inference_step(striate.accelerate(network.eval()), batches)


def _auto(network: nn.Module, batches: TensorBatches, options: argparse.Namespace) -> Callable[[], object]:
    """Choose as ``striate train --engine auto`` does, and take what it takes."""
    from benchmarks.peers import tuned_pytorch
    from striate import Recipe
    from striate.data import Batch
    from striate.train.choice import choose_configuration
    from striate.train.machine import Configuration, keep_freed_memory

    rates = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
    recipe = Recipe(name="benchmark", batch_size=options.batch_size, nesterov=False, sched="constant", **rates)
    inputs, targets = batches[0]
    example = Batch(inputs, targets, mix_targets=None, mix_weight=None, indices=torch.arange(len(targets)))
    start = Configuration(threads=options.threads, keeps_freed_memory=keep_freed_memory())
    choices = {"bf16": False if options.precision == "float32" else None}
    chosen, tried = choose_configuration(network, example, recipe=recipe, start=start, choices=choices, engine="auto")
    options.about |= {"configuration": chosen.describe(), "tried": tried}
    torch.set_num_threads(chosen.threads)
    if chosen.engine == "striate":
        return _step(network, batches, options)
    setting = tuned_pytorch.Setting(
        threads=chosen.threads,
        channels_last=chosen.channels_last,
        optimizer="fused" if chosen.fused_optimizer else "foreach",
        bf16=chosen.bf16,
        compile=chosen.compile,
    )
    return tuned_pytorch.build(setting, network=network, batches=batches)


KINDS: dict[str, Callable[[nn.Module, TensorBatches, argparse.Namespace], Callable[[], object]]] = {
    "step": _step,
    "accelerate": _accelerate,
    "inference": _inference,
    "auto": _auto,
}


class EngineRounds:
    """Rounds of each kind, prepared when first asked for.

    Args:
        options: Of the command line, and ``about``, to which a kind may add what it found.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.batches = tensor_batches(options.model, batch_size=options.batch_size, image_size=options.image_size)
        self._rounds: dict[str, Rounds] = {}

    def run_round(self, *, seconds: float, kind: str) -> float:
        """Return images per second of one round."""
        if kind not in self._rounds:
            network = _create(self._options)
            step = KINDS[kind](network, self.batches, self._options)
            self._rounds[kind] = Rounds(step, batch_size=self._options.batch_size)
        return self._rounds[kind].run_round(seconds=seconds)


def _create(options: argparse.Namespace) -> nn.Module:
    return _networks.create(options.model, width=options.width, image_size=options.image_size)


def differences_from_pytorch(
    network: nn.Module, batches: TensorBatches, *, kind: str, precision: str
) -> tuple[float, float]:
    """Return how far the engine is from PyTorch in float64, and how far PyTorch's own float32 is.

    Compared are losses of a few steps, or logits; relative to the largest. The second is large where a network makes
    much of rounding, as those do whose batch norms see a few nearly equal values.

    Args:
        network: Stays as it is.
        batches: A few images of the first are taken.
        kind: A key of `KINDS`.
        precision: Of the engine.
    """
    import striate

    inputs, targets = (part[:CHECKED_IMAGES] for part in batches[0])
    double, stock, own = (copy.deepcopy(network) for _ in range(3))
    if kind == "inference":
        with torch.inference_mode():
            truth, usual = double.double().eval()(inputs.double()), stock.eval()(inputs)
            found = striate.accelerate(own.eval())(inputs)
    else:
        step = fused_step(own, precision=precision)
        found = torch.tensor([float(step(inputs, targets)) for _ in range(CHECKED_STEPS)])
        truth, usual = _losses(double.double(), inputs.double(), targets), _losses(stock, inputs, targets)
    largest = truth.abs().max()
    difference, own_difference = (float((values - truth).abs().max() / largest) for values in (found, usual))
    return difference, own_difference


def _losses(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the losses of a few steps in PyTorch."""
    optimizer, losses = sgd(network.train()), list[float]()
    for _ in range(CHECKED_STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return torch.tensor(losses, dtype=torch.float64)


def describe(options: argparse.Namespace, batches: TensorBatches) -> dict[str, Any]:
    """Check the engine against PyTorch and return what is known before the first round.

    Raises:
        RuntimeError: the engine computes something else than PyTorch.
    """
    import striate
    from striate.engine import peak_gflops
    from striate.engine.extension import isa

    network = _create(options)
    difference, usual = differences_from_pytorch(network, batches, kind=options.kind, precision=options.precision)
    if not difference <= max(LARGEST_DIFFERENCE[options.precision], USUAL_DIFFERENCES * usual):
        raise RuntimeError(f"_engine_side: the engine differs from PyTorch on {options.model} by {difference:g}.")
    graph = striate.capture(network.eval(), batches[0][0][:1].expand(CAPTURED_IMAGES, -1, -1, -1).contiguous())
    count = forward_macs if options.kind == "inference" else training_macs
    return {
        "isa": isa(),
        "peak_gflops": peak_gflops(options.threads),
        "macs_per_image": count(graph) // CAPTURED_IMAGES,
        "difference": difference,
        "precision": options.precision,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Time a step of the engine alone, or serve rounds to `benchmarks.engine`."""
    parser = step_parser("benchmarks._engine_side", __doc__)
    parser.add_argument("--kind", default="step", choices=tuple(KINDS), help="what is timed without --serve (step)")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"), help="(float32)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = EngineRounds(options)
    options.about = describe(options, rounds.batches)
    if options.kind == "auto":
        rounds.run_round(seconds=0, kind="auto")  # chooses now, to tell what it chose
    if options.serve:
        serve_or_print(options, options.about, rounds.run_round)
        return
    serve_or_print(options, options.about, lambda seconds: rounds.run_round(seconds=seconds, kind=options.kind))


if __name__ == "__main__":
    main()
