"""Check that a network's shapes fit, and where they do not, say which layer, what arrived, and what to edit."""

from __future__ import annotations

from typing import Any

from torch import nn

from striate.errors import ModelError
from striate.graph._origins import Origins
from striate.graph._shape_errors import explain
from striate.graph._untouched import untouched
from striate.graph.capture import Run
from striate.graph.graph import Graph

__all__ = ["check_shapes"]


def check_shapes(model: nn.Module, example: Any) -> Graph:
    """Run a network once, and explain the error if its shapes or number formats do not fit.

    The network, the random generators and PyTorch are left as they were, as by `capture`.

    Args:
        model: Any module.
        example: Its input, as for `capture`.

    Returns:
        The captured graph, when all fits.

    Raises:
        ModelError: something does not fit; the message names the layer, what arrived, and the edit. What else the
            forward pass raises is passed on unchanged.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(1, 16, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))
        >>> check_shapes(model, torch.zeros(1, 1, 14, 14))
        Traceback (most recent call last):
        striate.errors.ModelError: 3: Linear(in_features=256) received 400 values: set in_features=400 = 16 x 5 x 5.
    """
    run = Run(model, example)
    with untouched(run.model) as guard:
        try:
            run.start(Origins(guard, keep_values=False, keep_edges=False))
        except Exception as error:
            message = explain(run.recorder, error)
            if message is None:
                raise
            raise ModelError(message) from error
        return run.graph()
