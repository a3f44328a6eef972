"""Class probabilities for a whole data set, each sample counted once, in one process or several."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from striate.data import Batches, Dataset, Preprocessing
from striate.train.distributed import Processes, gather_rows
from striate.train.machine import Configuration
from striate.train.modes import modes_kept

__all__ = ["logits_of", "predict_logits"]

EVALUATION_BATCH_SIZE = 256


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    dataset: Dataset,
    *,
    preprocessing: Preprocessing,
    configuration: Configuration,
    tta: str | None = None,
    batch_size: int = EVALUATION_BATCH_SIZE,
    processes: Processes | None = None,
    computing: nn.Module | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the logits (N, num_classes), float32, and targets (N,) of every sample of a data set, in its order.

    Args:
        network: Any module that returns logits; evaluated in eval mode and given back in the mode it had.
        dataset: What to evaluate.
        preprocessing: The run's; the same code prepares images for `striate predict`.
        configuration: Device, engine, layout and number format.
        tta: Test-time augmentation, see `Recipe.tta`.
        batch_size: Images at a time; does not change the result.
        processes: Several processes take contiguous shares; all get the whole result.
        computing: What `Configuration.computing` returned for the network, to keep the plans that the engine has made
            from one evaluation to the next; None: made here.
    """
    computing = configuration.computing(network) if computing is None else computing
    processes = processes or Processes()
    batches = Batches(
        dataset,
        batch_size=batch_size,
        preprocessing=preprocessing,
        seed=0,
        epoch=0,
        shuffle=False,
        device=configuration.device,
        memory_format=configuration.memory_format,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    rows, positions, targets = list[Tensor](), list[Tensor](), list[Tensor]()
    with modes_kept(network):
        network.eval()
        for batch in batches:
            with configuration.autocast():
                rows.append(logits_of(computing, batch.inputs, tta=tta))
            positions.append(torch.as_tensor(np.asarray(batch.indices), device=batch.targets.device))
            targets.append(batch.targets)
    if not rows:  # fewer samples than processes: this one has none, and takes part in the exchange all the same
        rows = [torch.zeros((0, len(dataset.class_names)), device=configuration.device)]
        targets = positions = [torch.zeros(0, dtype=torch.int64, device=configuration.device)]
    everyone = [gather_rows(torch.cat(parts), processes=processes) for parts in (rows, targets, positions)]
    order = everyone[2].argsort()
    return everyone[0][order].cpu(), everyone[1][order].cpu()


def logits_of(network: nn.Module, inputs: Tensor, *, tta: str | None = None) -> Tensor:
    """Return float32 logits of prepared inputs, averaged over the mirror image and shifts that `tta` asks for.

    Args:
        network: In eval mode.
        inputs: (N, C, H, W), or (N, D) for vectors, which have no mirror image.
        tta: None, ``flip`` or ``flip-shift`` (half the weight on the image as it is, a quarter on each shift by one
            pixel along the diagonal).
    """
    if tta is None or inputs.ndim != 4:
        return network(inputs).float()  # type: ignore[no-any-return]
    straight: Tensor = _with_mirror(network, inputs)
    if tta == "flip":
        return straight
    height, width = inputs.shape[-2:]
    padded = nn.functional.pad(inputs, (1, 1, 1, 1), mode="reflect")
    up_left = _with_mirror(network, padded[:, :, :height, :width])
    down_right = _with_mirror(network, padded[:, :, 2 : height + 2, 2 : width + 2])
    return 0.5 * straight + 0.25 * (up_left + down_right)


def _with_mirror(network: nn.Module, inputs: Tensor) -> Tensor:
    mean: Tensor = (network(inputs).float() + network(inputs.flip(-1)).float()) / 2
    return mean
