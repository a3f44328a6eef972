"""After the last step: one look at the test split, the mistakes worth seeing, and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.data import Dataset
from striate.files import write_json
from striate.train import metrics
from striate.train.evaluate import predict_logits
from striate.train.journal import Journal
from striate.train.metrics import Evaluation
from striate.train.progress import Progress
from striate.train.report import Mistake, write_report
from striate.train.training import Training

__all__ = ["finish", "first_filters", "mistakes_of"]

MISTAKES_SHOWN = 24


def finish(training: Training, *, journal: Journal, show: Progress) -> None:
    """Evaluate the best weights once on the test split (validation, where there is none) and write the report."""
    run, config = training.run, training.run.config
    splits, processes = training.splits, training.processes
    split_name, dataset = ("test", splits.test) if splits.test is not None else ("val", splits.val)
    if dataset is None:
        split_name, dataset = "train", splits.train
    network = _best_network(training)
    logits, targets = predict_logits(
        network,
        dataset,
        preprocessing=config.preprocessing,
        configuration=config.machine,
        tta=config.recipe.tta,
        processes=processes,
        computing=training.evaluating if network is training.evaluated_network else None,
    )
    if not processes.is_main:
        return
    probabilities = logits.softmax(dim=1)
    evaluation = metrics.measure(probabilities.numpy(), targets.numpy(), class_names=config.class_names)
    write_json(run.folder / "evaluation.json", evaluation.to_dict())
    journal.add("evaluation", split=split_name, accuracy=evaluation.top1, loss=evaluation.loss)
    report = _report(
        training, evaluation, dataset=dataset, split_name=split_name, probabilities=probabilities, network=network
    )
    low, high = evaluation.intervals["top1"]
    show.note(
        f"{split_name} accuracy {100 * evaluation.top1:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        f"{evaluation.num_samples:,} images)"
    )
    show.note(f"report   {report}")


def _best_network(training: Training) -> nn.Module:
    """Load the best weights into the evaluated network; the trained one keeps its own."""
    if training.splits.val is None or training.best_epoch == training.epoch:
        return training.evaluated_network
    import copy

    from striate.files import read_tensors

    network = copy.deepcopy(training.evaluated_network)
    network.load_state_dict(read_tensors(training.run.folder / "weights" / "best.safetensors"))
    return network


def _report(
    training: Training,
    evaluation: Evaluation,
    *,
    dataset: Dataset,
    split_name: str,
    probabilities: Tensor,
    network: nn.Module,
) -> Path:
    run, splits = training.run, training.splits
    return write_report(
        run.folder,
        config=run.config.to_dict(),
        history=run.history,
        evaluation=evaluation,
        mistakes=mistakes_of(dataset, probabilities, class_names=splits.class_names),
        filters=first_filters(network),
        skipped=splits.skipped,
        split=split_name,
    )


def mistakes_of(dataset: Dataset, probabilities: Tensor, *, class_names: tuple[str, ...]) -> list[Mistake]:
    """Pick the wrong answers the network was surest of."""
    sure, predicted = probabilities.max(dim=1)
    wrong = (predicted != dataset.labels).nonzero()[:, 0]
    order = wrong[sure[wrong].argsort(descending=True)][:MISTAKES_SHOWN]
    if not len(order):
        return []
    canvas = dataset.images.gather(order.numpy())
    is_picture = canvas.pixels.ndim == 4
    return [
        Mistake(
            name=dataset.identify(int(index)),
            target=class_names[int(dataset.labels[index])],
            prediction=class_names[int(predicted[index])],
            probability=float(sure[index]),
            target_probability=float(probabilities[index, dataset.labels[index]]),
            pixels=pixels[:, : int(height), : int(width)].numpy() if is_picture else None,
        )
        for index, pixels, (height, width) in zip(order, canvas.pixels, canvas.sizes, strict=True)
    ]


def first_filters(network: nn.Module) -> npt.NDArray[np.float32] | None:
    """Return the kernels of the first convolution (C_out, C_in, kH, kW), or None where there is no convolution."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights: npt.NDArray[np.float32] = module.weight.detach().to("cpu", torch.float32).numpy()
            return weights
    return None
