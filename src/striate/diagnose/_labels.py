"""What images say about their labels without any network: nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Neighbours"]

NEIGHBOURS, MOST = 10, 1500
SHIFTS = (-3, -2, -1, 1, 2, 3)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest images of each image, in pixels that are averaged to 16 x 16 and centred."""

    inputs: Tensor
    """(N, ...)."""
    classes: Tensor
    """(N,)."""

    @cached_property
    def nearest(self) -> Tensor:
        """Rows of the nearest images (N, k), the image itself left out; copies of it too."""
        x = features(self.inputs[:MOST])
        distance = torch.cdist(x, x)
        distance[distance < 1e-2] = torch.inf  # copies; float32 knows these distances to within 1e-3
        return distance.topk(min(NEIGHBOURS, max(1, len(x) - 1)), largest=False).indices

    def agreement(self, shift: int = 0) -> float:
        """Return the share of images whose neighbours' commonest label is theirs, labels moved by some rows."""
        labels = self.classes[:MOST].roll(shift)
        return float((labels[self.nearest[:, :5]].mode(1).values == labels).float().mean())

    @property
    def chance(self) -> float:
        """What `agreement` would be at random, at most."""
        shares = self.classes[:MOST].bincount().double() / len(self.classes[:MOST])
        return float(shares.max())

    def is_above_chance(self, agreement: float) -> bool:
        """Say whether agreement is above chance by four standard errors."""
        count = len(self.nearest)
        return agreement > self.chance + 4 * math.sqrt(self.chance * (1 - self.chance) / count)

    @cached_property
    def suspects(self) -> Tensor:
        """Rows of images that at least 7 of 10 neighbours give one other class."""
        labels = self.classes[:MOST]
        votes = labels[self.nearest]
        most = votes.mode(1).values
        count = (votes == most[:, None]).sum(1)
        return ((most != labels) & (count >= 0.7 * votes.shape[1])).nonzero()[:, 0]

    def suggested(self, rows: Tensor) -> Tensor:
        """Return the class that the neighbours of some images have."""
        commonest: Tensor = self.classes[:MOST][self.nearest[rows]].mode(1).values
        return commonest


def features(inputs: Tensor, *, side: int = 16) -> Tensor:
    """Return vectors (N, D), float32, centred and of length 1, in which images are compared."""
    x = inputs.detach().float().cpu()
    if x.ndim == 4 and max(x.shape[-2:]) > side:
        x = functional.adaptive_avg_pool2d(x, side)
    x = x.flatten(1).nan_to_num()
    x = x - x.mean(1, keepdim=True)
    unit: Tensor = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit
