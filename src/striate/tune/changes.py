"""How far tuning has moved each stage."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from striate.tune.stages import Stage

__all__ = ["changes_of"]


def changes_of(before: nn.Module, after: nn.Module, stages: Sequence[Stage]) -> dict[str, float]:
    """Return the distance of each stage's weights from what they were, as a share of their length.

    Args:
        before: With the source's weights (and the new head's first ones).
        after: The same network, tuned.
        stages: Of both.
    """
    found = {}
    for stage in stages:
        moved = length = 0.0
        for path in stage.layers:
            own = dict(after.get_submodule(path).named_parameters(recurse=False))
            for name, old in before.get_submodule(path).named_parameters(recurse=False):
                old_values = old.detach().cpu().double()
                moved += float((own[name].detach().cpu().double() - old_values).square().sum())
                length += float(old_values.square().sum())
        found[stage.name] = (moved / length) ** 0.5 if length else float(moved > 0)
    return found
