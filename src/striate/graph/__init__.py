"""The graph of what a network computes: captured from one run, read by everything that explains it."""

from __future__ import annotations

from striate.graph._untouched import untouched
from striate.graph.capture import capture, is_capturing
from striate.graph.check_shapes import check_shapes
from striate.graph.graph import Graph, Node, Parameter
from striate.graph.opaque import Constant, Input, Opaque
from striate.graph.rerun import rerun, run_nodes
from striate.graph.torch_call import Aside, Replay

__all__ = [
    "Aside",
    "Constant",
    "Graph",
    "Input",
    "Node",
    "Opaque",
    "Parameter",
    "Replay",
    "capture",
    "check_shapes",
    "is_capturing",
    "rerun",
    "run_nodes",
    "untouched",
]
