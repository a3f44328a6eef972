"""Deconvnet and guided backpropagation: what in the image made a unit answer, drawn in the image.

Both send the unit's activation back to the image and keep only what is positive at every rectifier; guided
backpropagation also stops where the rectifier was closed on the way forward. They depend less on the unit, and more on
the image, than they look: `striate.see.randomization_test` says how much, and belongs beside every such map.

Sources: Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014, section 2.1; Springenberg and
others, Striving for simplicity, 2015, section 3.3; Adebayo et al., Sanity checks for saliency maps, 2018.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from striate.see._looking import as_inputs, looking
from striate.see._rewriting import project, rules_for
from striate.see.attribution import Attribution
from striate.see.unit import Unit, parse_unit, unit_node

__all__ = ["deconvnet", "guided_backprop"]


def deconvnet(model: nn.Module, x: Any, *, of: Unit | str | int | None = None) -> Attribution:
    """Project a unit's activation to the image through the transposed network, as Zeiler and Fergus do.

    Pooling by maximum goes back to the place where the maximum was, a rectifier passes what is positive in the signal
    that comes back, a convolution applies its transposed filters. Biases play no part.

    Args:
        model: Any module; functional calls count, and it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: ``conv2[17]``, ``conv2[17,4,9]``, a class, or None: the predicted class.

    Returns:
        Values (N, C, H, W). `rewritten` lists the rectifiers; `by_gradient` the normalisations by the data, for which
        the method has no rule.

    Raises:
        UsageError: a nonlinearity on the way is no rectifier (GELU, sigmoid, a product of two layers), or unknown.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten())
        >>> _ = nn.init.constant_(net[0].weight, 2.0)
        >>> deconvnet(net, torch.tensor([[[[1.0, 3.0]]]]), of=1).values.tolist()
        [[[[0.0, 12.0]]]]
    """
    return _projection(model, x, of, method="deconvnet")


def guided_backprop(model: nn.Module, x: Any, *, of: Unit | str | int | None = None) -> Attribution:
    """Send a unit's activation back, past rectifiers only where signal and forward activation are both positive.

    Args:
        model: Any module; functional calls count, and it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: ``conv2[17]``, ``conv2[17,4,9]``, a class, or None: the predicted class.

    Returns:
        Values (N, C, H, W), as of `deconvnet`: the activation times what others call the guided gradient.

    Raises:
        UsageError: a nonlinearity on the way is no rectifier (GELU, sigmoid, a product of two layers), or unknown.
    """
    return _projection(model, x, of, method="guided_backprop")


def _projection(model: nn.Module, x: Any, of: Unit | str | int | None, *, method: str) -> Attribution:
    inputs, unit = as_inputs(model, x, what=method), parse_unit(of)
    with looking(model, *inputs) as graph:
        node = unit_node(graph, unit)
        rules = rules_for(graph, node, method=method)
        projection, found, scores = project(
            graph,
            inputs,
            rules,
            unit,
            node=node,
            is_guided=method == "guided_backprop",
        )
    return Attribution(
        method=method,
        values=projection.float().cpu().numpy(),
        units=found.names(),
        scores=scores.float().cpu().numpy(),
        inputs=inputs[0].float().cpu().numpy(),
        rewritten=rules.names,
        by_gradient=rules.by_gradient,
    )
