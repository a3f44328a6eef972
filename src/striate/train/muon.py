"""Muon: momentum whose update is made orthogonal, for convolutions and dense layers; the rest takes SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalize"]

# Newton-Schulz coefficients of the quintic. Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, *, steps: int = 3) -> Tensor:
    r"""Return a matrix with the singular vectors of the given one and singular values near 1 (about 0.5 to 1.5).

    Each step computes $X \leftarrow aX + (bA + cA^2)X$ with $A = XX^\top$, after dividing by the Frobenius norm.

    Args:
        matrix: (M, N), float.
        steps: Newton-Schulz steps; three suffice for training.

    Example:
        >>> values = torch.linalg.svdvals(orthogonalize(torch.diag(torch.tensor([3.0, 1.0])), steps=5))
        >>> bool((values > 0.5).all() and (values < 1.5).all())
        True
    """
    a, b, c = COEFFICIENTS
    transposed = matrix.shape[0] > matrix.shape[1]
    x_MN: Tensor = matrix.mT if transposed else matrix
    x_MN = x_MN / (x_MN.norm() + 1e-7)
    for _ in range(steps):
        gram_MM = x_MN @ x_MN.mT
        x_MN = a * x_MN + (b * gram_MM + c * gram_MM @ gram_MM) @ x_MN
    return x_MN.mT if transposed else x_MN


class Muon(torch.optim.Optimizer):
    """SGD with momentum whose update of each weight matrix is orthogonalised.

    A convolution's kernels (C_out, C_in, kH, kW) count as a matrix (C_out, C_in kH kW). Groups without
    ``orthogonal=True`` take plain SGD with momentum. The orthogonal update is scaled by
    ``max(1, rows / columns) ** 0.5``, so that one learning rate serves layers of all shapes.

    Args:
        groups: Parameter groups as in `torch.optim`; ``weight_decay`` is decoupled.
        lr: Learning rate.
        momentum: Decay of the velocity.
        nesterov: Look one step ahead.
        normalize: Scale each orthogonal matrix to Frobenius norm sqrt(rows) before its update.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool, normalize: bool = False
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": 0.0,
            "orthogonal": False,
            "normalize": normalize,
        }
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        velocity = self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
        velocity.mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        if group["orthogonal"]:
            matrix = direction.reshape(len(direction), -1)
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            if group["normalize"]:
                parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp(min=1e-12))
            direction = scale * orthogonalize(matrix).reshape(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
