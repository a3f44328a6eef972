"""Activation maximisation: an image, made from noise, to which a unit answers as strongly as it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph import run_nodes
from striate.see._looking import as_inputs, looking
from striate.see._plots import signed_image, subplots
from striate.see.unit import Located, Unit, parse_unit, unit_node

__all__ = ["Maximized", "activation_maximization"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Maximized:
    """Images to which units answer strongly."""

    values: Array
    """Images as the network takes them, float32, (N, C, H, W), one for each unit."""
    units: tuple[str, ...]
    scores: Array
    """The units' activations at them, (N,)."""
    trace: Array
    """The same at every step, under the random shifts, (steps, N)."""

    def figure(self) -> Any:
        """Return a matplotlib figure: the images with their units and activations.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure, axes = subplots(1, len(self.values))
        for axis, image, unit, score in zip(axes[0], self.values, self.units, self.scores, strict=True):
            axis.imshow(signed_image(image, around_zero=False), interpolation="nearest")
            axis.set_title(f"{unit}: {score:.3g}", fontsize=9)
        return figure


def activation_maximization(
    model: nn.Module,
    example: Any,
    *,
    of: Unit | str | int | list[Any],
    steps: int = 256,
    lr: float = 0.05,
    shift: int | None = None,
    low: float | Tensor = -2.0,
    high: float | Tensor = 2.0,
    seed: int = 0,
) -> Maximized:
    """Climb to an image that a unit answers to.

    The image is a sum of waves whose steps fall with their frequency, squeezed into the range of real pixels, and it is
    shifted at random before each step: what comes out is smooth and does not hang on single pixels. Channels with
    positions are maximised at the middle.

    Args:
        model: Any module; it is as it was afterwards.
        example: One input, (1, C, H, W): its shape is taken.
        of: A unit or a list of them: ``conv2[17]``, ``conv2[17,4,9]``, a class.
        steps: Of Adam.
        lr: Of Adam.
        shift: Largest shift in pixels; None: a sixteenth of the shorter side, at least 1.
        low: Smallest value of a pixel, as the network takes it; a number, or a tensor (C, 1, 1).
        high: Largest value.
        seed: Of the first waves and of the shifts.

    Raises:
        UsageError: no unit, no step, or an example that is no image.

    Source: Erhan et al., Visualizing higher-layer features of a deep network, 2009; Olah, Mordvintsev and Schubert,
    Feature visualization, 2017 (waves, shifts).
    """
    wanted = [parse_unit(one) for one in (of if isinstance(of, list) else [of])]
    (first,) = as_inputs(model, example, what="activation_maximization")[:1]
    if first.ndim != 4 or not wanted or steps < 1:
        raise UsageError(
            "activation_maximization: `example` must be one image (1, C, H, W), with at least one unit and one step, "
            f"got {tuple(first.shape)}, {len(wanted)} and {steps}."
        )
    shift = max(1, min(first.shape[2:]) // 16) if shift is None else shift
    generator = torch.Generator().manual_seed(seed)
    with looking(model, first[:1]) as graph:
        nodes = [unit_node(graph, unit) for unit in wanted]
        places = [
            _place(unit, value) for unit, value in zip(wanted, (node.output_shape for node in nodes), strict=True)
        ]
        waves = _Waves(first, len(wanted), generator, low=low, high=high)
        optimizer, trace = torch.optim.Adam([waves.spectrum], lr=lr), list[Tensor]()

        def scores(images: Tensor) -> Tensor:
            values = run_nodes(graph, images, nodes=nodes)
            rows = zip(nodes, places, strict=True)
            return torch.stack(
                [Located(node, place).score(values[node.index][i : i + 1])[0] for i, (node, place) in enumerate(rows)]
            )

        with torch.enable_grad():
            for _ in range(steps):
                move = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
                reached = scores(waves.images().roll(move, dims=(2, 3)))
                (waves.spectrum.grad,) = torch.autograd.grad(-reached.sum(), waves.spectrum)
                optimizer.step()
                trace.append(reached.detach())
        with torch.no_grad():
            images = waves.images()
            reached = scores(images)
    names = tuple(name for node, place in zip(nodes, places, strict=True) for name in Located(node, place).names())
    return Maximized(
        values=images.float().cpu().numpy(),
        units=names,
        scores=reached.float().cpu().numpy(),
        trace=torch.stack(trace).float().cpu().numpy(),
    )


class _Waves:
    """Images as sums of waves, in the range of real pixels."""

    def __init__(
        self, like: Tensor, count: int, generator: torch.Generator, *, low: float | Tensor, high: float | Tensor
    ) -> None:
        height, width = like.shape[2:]
        frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
        self.sides = (height, width)
        # Natural images have amplitudes of one over the frequency; the mean colour counts as the longest wave.
        weight = 1 / frequency.clamp(min=1 / max(height, width))
        self.weight = (weight / weight.square().mean().sqrt()).to(like)
        start = torch.randn((count, like.shape[1], *weight.shape, 2), generator=generator) * 0.01
        self.spectrum = start.to(like).requires_grad_()
        self.low, self.high = (torch.as_tensor(limit).to(like) for limit in (low, high))

    def images(self) -> Tensor:
        waves = torch.view_as_complex(self.spectrum) * self.weight
        share = torch.fft.irfft2(waves, s=self.sides, norm="ortho").sigmoid()
        images: Tensor = self.low + (self.high - self.low) * share
        return images


def _place(unit: Unit, shape: tuple[int, ...]) -> Tensor:
    """Return a unit's index in its node, (1, number of axes): a channel's at the middle."""
    sides = shape[2:]
    channel = unit.channel
    if channel is None or not 0 <= channel < shape[1]:
        raise UsageError(
            f"activation_maximization: `of` must be a channel or class from 0 to {shape[1] - 1}, got {unit}. Name one."
        )
    position = unit.position or tuple(side // 2 for side in sides)
    if len(position) != len(sides) or any(p >= side for p, side in zip(position, sides, strict=True)):
        raise UsageError(
            f"activation_maximization: `of` must be a position within {sides}, got {unit}. Write channel, row, column."
        )
    return torch.tensor([[channel, *position]])
