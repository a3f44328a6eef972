"""Observations: everything the rules ask about one setup, measured when it is first asked for, and once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from striate.diagnose._activity import Activity, measure_activity
from striate.diagnose._gradients import LayerGradient, ParameterGradients, by_layer, of_parameters
from striate.diagnose._labels import Neighbours
from striate.diagnose._loss_probe import LossProbe
from striate.diagnose._setup import Setup, Trained, Trial
from striate.graph import Graph, capture

__all__ = ["Look"]

PROBE = 64
"""Images of the batch on which gradients and outputs are looked at."""


@dataclass(frozen=True, eq=False)
class Look:
    """One setup, looked at."""

    setup: Setup

    @cached_property
    def rows(self) -> Tensor:
        """Rows of the probe, spread over the data."""
        count = len(self.setup.samples)
        return torch.linspace(0, count - 1, min(PROBE, count)).long()

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Images (n, ...) and targets of the probe, on the network's device."""
        samples, device = self.setup.samples, self.setup.device
        return samples.inputs[self.rows].to(device), samples.targets[self.rows].to(device)

    @cached_property
    def classes(self) -> Tensor | None:
        """The class of each sample, or None where the targets are none."""
        return self.setup.samples.classes

    @cached_property
    def counts(self) -> Tensor | None:
        """How many samples each class has."""
        return None if self.classes is None else self.classes.bincount()

    @cached_property
    def calm(self) -> Trial:
        """A copy in evaluation mode."""
        trial = self.setup.trial()
        trial.model.eval()
        return trial

    @cached_property
    def outputs(self) -> Any:
        """What the network says about the probe, in evaluation mode."""
        with torch.no_grad():
            return self.calm.outputs(self.batch[0])

    @cached_property
    def loss(self) -> LossProbe | None:
        """The loss, questioned; None where the network returns no single tensor."""
        if not isinstance(self.outputs, Tensor):
            return None
        classes = None if self.classes is None else self.classes[self.rows].to(self.setup.device)
        return LossProbe(self.calm.loss_fn, self.outputs, self.batch[1], classes)

    @cached_property
    def parameters(self) -> ParameterGradients:
        """Which parameters one backward pass reaches."""
        return of_parameters(self.setup.trial(), *self.batch)

    @cached_property
    def graph(self) -> Graph | None:
        """The network in evaluation mode, as a graph with values; None where it cannot be captured."""
        return self._captured(self.calm, keep_values=True)

    @cached_property
    def learning_graph(self) -> Graph | None:
        """The network in training mode with the loss and its gradients."""
        trial = self.setup.trial()
        trial.model.train()
        return self._captured(trial, loss=True)

    def _captured(self, trial: Trial, *, keep_values: bool = False, loss: bool = False) -> Graph | None:
        inputs = self.setup.prepare(self.batch[0])
        given = (lambda outputs: trial.loss(self.setup.finish(outputs), self.batch[1])) if loss else None
        torch.manual_seed(self.setup.seed)
        try:
            with torch.enable_grad():
                return capture(trial.model, inputs, keep_values=keep_values, loss=given)
        except (RuntimeError, ValueError, TypeError):
            return None

    @cached_property
    def layers(self) -> tuple[LayerGradient, ...]:
        """Gradients by layer; empty where they are not known."""
        return () if self.learning_graph is None else by_layer(self.learning_graph)

    @cached_property
    def activity(self) -> list[Activity]:
        """What each activation does over all samples, in evaluation mode."""
        inputs = self.setup.prepare(self.setup.samples.inputs.to(self.setup.device))
        return measure_activity(self.calm.model, inputs, graph=self.graph)

    @cached_property
    def baseline(self) -> Trained:
        """A brief training as it is."""
        return self.setup.train()

    @cached_property
    def learns(self) -> bool:
        """Whether the brief training went well: nothing that only costs learning need be looked for then."""
        trained = self.baseline
        if not trained.is_finite:
            return False
        if trained.accuracy == trained.accuracy and self.counts is not None:
            chance = float(self.counts.max()) / float(self.counts.sum())
            return trained.accuracy > chance + 0.6 * (1 - chance)
        return trained.end < 0.3 * trained.start

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """What nearest images say about the labels; None without classes."""
        if self.classes is None or len(self.classes) < 50:
            return None
        return Neighbours(self.setup.samples.inputs, self.classes)

    @property
    def batch_norms(self) -> list[tuple[str, nn.modules.batchnorm._BatchNorm]]:
        """Layers of batch normalisation, as the user's network has them."""
        named = self.setup.model.named_modules()
        return [(name, module) for name, module in named if isinstance(module, nn.modules.batchnorm._BatchNorm)]
