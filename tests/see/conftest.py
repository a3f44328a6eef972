"""Networks with rectifiers of every kind, and the slow reference of the two projections, written with `striate.ops`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import striate
from striate.graph import Input
from striate.graph.replay import inputs_of, parameters_of
from striate.train.progress import Progress

RECTIFIERS = ("module", "in place", "F.relu", "torch.relu", "relu_", "clamp", "reused", "maximum", "relu6")


class Rectifier(nn.Module):
    """One of the ways in which networks rectify."""

    def __init__(self, kind, shared):
        super().__init__()
        self.kind = kind
        self.own = {"module": nn.ReLU, "relu6": nn.ReLU6}.get(kind, nn.Identity)()
        self.inplace = nn.ReLU(inplace=True)
        self.shared = shared

    def forward(self, x):
        return {
            "module": self.own,
            "relu6": self.own,
            "in place": self.inplace,
            "F.relu": F.relu,
            "torch.relu": torch.relu,
            "relu_": lambda x: x.relu_(),
            "clamp": lambda x: x.clamp(min=0),
            "reused": self.shared,
            "maximum": lambda x: torch.maximum(x, torch.zeros(())),
        }[self.kind](x)


class RandomNetwork(nn.Module):
    """Convolutions with skips, concatenations, pooling and normalisation, drawn by a seed."""

    def __init__(self, seed, *, kinds=RECTIFIERS):
        super().__init__()
        draw = np.random.default_rng(seed)
        self.draws = [
            (str(draw.choice(["plain", "skip", "concat", "pool", "mean"])), str(draw.choice(kinds))) for _ in range(3)
        ]
        shared = nn.ReLU()
        self.convolutions, self.norms, self.rectifiers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = 2
        for form, kind in self.draws:
            self.convolutions.append(nn.Conv2d(channels, channels, 3, padding=1, bias=bool(draw.integers(2))))
            norm = nn.BatchNorm2d(channels)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
            self.norms.append(norm if draw.integers(2) else nn.Identity())
            self.rectifiers.append(Rectifier(kind, shared))
            channels *= 2 if form == "concat" else 1
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        for (form, _), convolution, norm, rectifier in zip(
            self.draws, self.convolutions, self.norms, self.rectifiers, strict=True
        ):
            y = norm(convolution(x))
            y = rectifier(y + x if form == "skip" else y)
            if form == "concat":
                y = torch.cat([y, x], dim=1)
            x = F.max_pool2d(y, 2) if form == "pool" else F.avg_pool2d(y, 2) if form == "mean" else y
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def random_network():
    def make(seed, **options):
        torch.manual_seed(seed)
        return RandomNetwork(seed, **options).double(), torch.randn(2, 2, 8, 8, dtype=torch.float64)

    return make


@pytest.fixture
def projected():
    """The reference: `ops` backwards, node by node, with what comes back rectified at every rectifier."""

    def reference(graph, node, index, *, is_guided):
        seed = np.zeros(node.output_shape)
        seed[index] = graph.value(node).numpy()[index]
        grads = {node.index: seed}
        for current in reversed(graph.nodes[: node.index + 1]):
            if current.index not in grads or isinstance(current.op, Input) or not current.inputs:
                continue
            grad = grads.pop(current.index)
            before = graph.value(current.inputs[0]).numpy()
            if current.op.name in ("relu", "relu6", "clamp", "maximum"):
                ceiling = 6 if current.op.name == "relu6" else np.inf
                back = (np.maximum(grad, 0) * (((before > 0) & (before < ceiling)) if is_guided else 1),)
            else:
                back = current.op.backward(grad, *inputs_of(graph, current), **parameters_of(graph, current)).inputs
            for source, part in zip(current.inputs, back, strict=False):
                grads[source.index] = grads.get(source.index, 0) + part
        return grads[graph.inputs[0].index]

    return reference


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A short training on digits whose epochs were kept."""
    return striate.train(
        "digits", epochs=2, keep_epochs=True, engine="torch", output=tmp_path_factory.mktemp("runs"),
        progress=Progress(quiet=True),
    )  # fmt: skip
