"""Capture: run a network once and return the graph of what it computed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from striate.errors import UsageError
from striate.graph._calls import tensors_in
from striate.graph._drafts import Draft, finish
from striate.graph._origins import Origins
from striate.graph._recorder import Recorder
from striate.graph._untouched import untouched
from striate.graph.graph import Graph

__all__ = ["capture", "is_capturing"]


def capture(
    model: nn.Module,
    example: Any,
    *,
    keep_values: bool = False,
    loss: Callable[[Any], Tensor] | None = None,
) -> Graph:
    """Run a network once, as it is, and return what it computed as a graph of operations.

    Modules and functional calls are seen alike, control flow is what ran. The network runs in the mode it is in
    (training or evaluation). Afterwards it is as it was, as are the random generators, the gradients and PyTorch
    itself, also when the forward pass raises.

    Args:
        model: Any module that runs.
        example: Its input: a tensor, an array, or a tuple of them for several. Arrays take the network's type and
            device. The example is not written on.
        keep_values: Keep each node's output for `Graph.value`.
        loss: A function of the network's output that returns one number. Its calls are recorded too, and
            `Graph.gradient` answers for every node and parameter; ``.grad`` is left alone.

    Raises:
        UsageError: the loss is not one number, or does not depend on anything; a parameter has no shape yet.

    Whatever the forward pass raises is passed on as it is; `striate.check_shapes` explains it.

    Example:
        >>> from torch import nn
        >>> graph = capture(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4))
        >>> [(node.name, node.call, node.output_shape) for node in graph.nodes]
        [('input', 'input', (2, 4)), ('0', 'linear', (2, 3)), ('1', 'relu', (2, 3))]
    """
    run = Run(model, example, loss=loss)
    with untouched(run.model) as guard:
        run.start(Origins(guard, keep_values=keep_values, keep_edges=loss is not None))
        return run.graph()


def is_capturing() -> bool:
    """Say whether this thread is running a network to capture its graph, and so wants to see PyTorch's own calls.

    A network that computes by other means than PyTorch's functions then leaves them aside.

    Example:
        >>> from torch import nn
        >>> class Absolute(nn.Module):
        ...     def forward(self, x):
        ...         return x.abs() if is_capturing() else torch.from_numpy(abs(x.numpy()))
        >>> [node.call for node in capture(Absolute(), torch.ones(3)).nodes]
        ['input', 'abs']
        >>> is_capturing()
        False
    """
    return any(isinstance(mode, Recorder) for mode in _get_current_function_mode_stack())


class Run:
    """One recorded run; `striate.check_shapes` looks into one that failed."""

    def __init__(self, model: nn.Module, example: Any, *, loss: Callable[[Any], Tensor] | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"capture: `model` must be an nn.Module, got {type(model).__name__}. Give the network.")
        self.model = getattr(model, "_orig_mod", model)  # of torch.compile, the network as written
        self.example = example if isinstance(example, tuple | list) else (example,)
        self.loss = loss
        self.inputs: list[Draft] = []
        self.outputs: list[Draft] = []
        self.structure: Any = None
        self.network_end: int | None = None
        self.loss_draft: Draft | None = None
        self.gradients: dict[int, Tensor] | None = None
        self.parameter_gradients: dict[int, Tensor] = {}

    def start(self, origins: Origins) -> None:
        """Run the network, and the loss and its gradients where there is one."""
        self.origins = origins
        has_loss = self.loss is not None
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(torch.is_grad_enabled() or has_loss))
            self.recorder = recorder = Recorder(origins)
            stack.enter_context(recorder.modules())
            given = [_given(value, self.model, requires_grad=has_loss) for value in self.example]
            tensors = [value for value in given if isinstance(value, Tensor)]
            for index, tensor in enumerate(tensors):
                self.inputs.append(recorder.add_input(tensor, f"input{index or ''}"))
            with recorder:
                output = self.model(*given)
            self.outputs = [origins.operand(tensor) for tensor in tensors_in(output)]
            self.structure, self.network_end = recorder.repeats.end(output), len(origins.drafts)
            if self.loss is not None:
                recorder.begin_loss()
                with recorder:
                    value = self.loss(output)
                self._differentiate(value)

    def graph(self) -> Graph:
        """Return what was recorded; of a run that failed, all that came before."""
        self.recorder.repeats.settle()
        return finish(
            self.origins.drafts,
            inputs=self.inputs,
            outputs=self.outputs,
            loss=self.loss_draft,
            read=self.recorder.read,
            gradients=self.gradients,
            parameter_gradients=self.parameter_gradients,
            asides=self.recorder.repeats.asides,
            network_end=self.network_end,
            structure=self.structure,
        )

    def _differentiate(self, value: Any) -> None:
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"capture: `loss` must return a tensor with one number, got {got}. Take its mean or sum.")
        if not value.requires_grad:
            raise UsageError(
                "capture: `loss` must depend on the network's output through PyTorch, got a number without a gradient. "
                "Leave out detach, item and no_grad."
            )
        self.loss_draft = self.origins.operand(value)
        drafts = [draft for draft in self.origins.drafts if draft.edge is not None]
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        targets: list[Any] = [*(draft.edge for draft in drafts), *parameters]
        gradients = torch.autograd.grad(value, targets, allow_unused=True)
        of_nodes, of_parameters = gradients[: len(drafts)], gradients[len(drafts) :]
        self.gradients = {
            draft.index: gradient
            for draft, gradient in zip(drafts, of_nodes, strict=True)
            if draft.index is not None and gradient is not None
        }
        self.parameter_gradients = {id(p): g for p, g in zip(parameters, of_parameters, strict=True) if g is not None}


def _given(value: Any, model: nn.Module, *, requires_grad: bool) -> Any:
    """Return what the network is run on: a copy, so that in-place calls cannot reach the example."""
    if isinstance(value, np.ndarray | np.generic):
        value = torch.from_numpy(np.array(value))
        like = next((p for p in model.parameters() if p.is_floating_point()), value)
        value = value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
    if not isinstance(value, Tensor):
        return value
    copy = value.detach().clone()
    if requires_grad and (copy.is_floating_point() or copy.is_complex()):
        return copy.requires_grad_().clone()  # not a leaf: the network may write on it
    return copy
