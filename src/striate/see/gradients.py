"""The gradient of a unit by the image, averaged over noise, and integrated from a baseline to the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.see._looking import as_inputs, looking
from striate.see._seen import Seen
from striate.see.attribution import Attribution
from striate.see.unit import Unit, parse_unit

__all__ = ["gradient", "integrated_gradients", "smoothgrad"]

FIRST_STEPS, MOST_STEPS = 32, 1024
GAP = 0.01


def gradient(model: nn.Module, x: Any, *, of: Unit | str | int | None = None) -> Attribution:
    """Return the gradient of a unit by every number of the image, as PyTorch computes it, at no rectifier rewritten.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: ``conv2[17]``, ``conv2[17,4,9]``, a class (before a softmax that ends the network), or None: the predicted
            class.

    Returns:
        Values (N, C, H, W).

    Source: Simonyan et al., Deep inside convolutional networks, 2014, section 3.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
        >>> _ = nn.init.constant_(net[1].weight, 3.0)
        >>> gradient(net, torch.ones(1, 1, 1, 2)).values.tolist()
        [[[[3.0, 3.0]]]]
    """
    inputs = as_inputs(model, x, what="gradient")
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        values, _ = seen.gradients(inputs[0], seen.unit, *inputs[1:])
    return seen.attribution("gradient", values)


def smoothgrad(
    model: nn.Module,
    x: Any,
    *,
    of: Unit | str | int | None = None,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
) -> Attribution:
    """Average the gradient over images with normal noise added.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: As of `gradient`.
        samples: Noisy copies of each image.
        noise: Standard deviation as a share of each image's range, from its smallest to its largest number.
        seed: Of the noise; an image's noise does not depend on the images beside it.

    Raises:
        UsageError: no sample, or negative noise.

    Source: Smilkov et al., SmoothGrad, 2017.
    """
    if samples < 1 or not 0 <= noise < np.inf:
        raise UsageError(
            f"smoothgrad: `samples` must be at least 1 and `noise` at least 0, got {samples} and {noise}. "
            "The paper takes 50 samples and noise from 0.1 to 0.2."
        )
    inputs = as_inputs(model, x, what="smoothgrad")
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn((samples, *inputs[0].shape[1:]), generator=generator).to(inputs[0])
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        ranges = [float(image.max() - image.min()) for image in inputs[0]]
        total = torch.zeros_like(inputs[0])
        for which in range(len(inputs[0])):
            made = inputs[0][which] + noise * ranges[which] * shared
            total[which] = seen.gradients_of_one(made, which)[0].mean(dim=0)
    return seen.attribution("smoothgrad", total, notes=(f"{samples} samples, noise {noise:g} of the range",))


def integrated_gradients(
    model: nn.Module,
    x: Any,
    *,
    of: Unit | str | int | None = None,
    baseline: Tensor | float = 0.0,
    steps: int | None = None,
) -> Attribution:
    """Integrate the gradient along the straight line from a baseline to the image, times the difference.

    The sum of the values is the unit at the image less the unit at the baseline (completeness); `notes` says how far it
    is off. Steps are the middles of equal parts of the line.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: As of `gradient`.
        baseline: What stands for no image: a number, or a tensor that fits (C, H, W). Of normalised images 0 is the
            mean colour of the training images.
        steps: On the line; None: 32, doubled until the sum is right to 1 %, at most 1,024.

    Raises:
        UsageError: less than one step, or a baseline of another shape.

    Source: Sundararajan et al., Axiomatic attribution for deep networks, 2017.
    """
    if steps is not None and steps < 1:
        raise UsageError(
            f"integrated_gradients: `steps` must be at least 1, got {steps}. None finds how many it takes."
        )
    inputs = as_inputs(model, x, what="integrated_gradients")
    start = torch.as_tensor(baseline).to(inputs[0])
    try:
        start = start.expand(inputs[0].shape[1:])
    except RuntimeError as error:
        raise UsageError(
            f"integrated_gradients: `baseline` must be a number or fit one image, {tuple(inputs[0].shape[1:])}, got "
            f"{tuple(start.shape)}. Leave the batch axis out."
        ) from error
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        maps, notes = list[Tensor](), list[str]()
        for which in range(len(inputs[0])):
            values, note = _integrate(seen, which, start, steps)
            maps.append(values)
            notes.append(note)
    return seen.attribution("integrated_gradients", torch.stack(maps), notes=tuple(notes))


def _integrate(seen: Seen, which: int, start: Tensor, steps: int | None) -> tuple[Tensor, str]:
    """Return the map of one image, and how many steps it took and how far its sum is off."""
    image = seen.inputs[0][which]
    ends = seen.gradients_of_one(torch.stack([start, image]), which)[1]
    rise = float(ends[1] - ends[0])
    count = steps or FIRST_STEPS
    while True:
        at = (torch.arange(count, device=image.device, dtype=image.dtype) + 0.5) / count
        made = start + at.reshape(-1, *[1] * image.ndim) * (image - start)
        values = seen.gradients_of_one(made, which)[0].mean(dim=0) * (image - start)
        gap = abs(float(values.double().sum()) - rise)
        if steps is not None or gap <= GAP * abs(rise) or count >= MOST_STEPS:
            share = gap / abs(rise) if rise else gap
            return values, f"{count} steps; the sum is off by {100 * share:.2g} %"
        count *= 2
