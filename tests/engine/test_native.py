"""The compiled part behind its Python boundary: whatever is given, it refuses or runs, and never crashes.

Run as a program, ``test_native.py SEED COUNT``, it changes one number of real programs at a time, runs what is still
taken; with sanitizers (tools/sanitize.sh) nothing that is read or written out of place goes unseen.
"""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from striate.engine import _program
from striate.engine._machine import machine
from striate.engine.extension import extension, isa
from striate.engine.plan import Plan
from striate.engine.single import SinglePlan
from striate.engine.training_step import TrainingStep
from striate.errors import UsageError
from striate.graph import capture

pytestmark = pytest.mark.native

LOCAL, SHARED, EXTERNAL = 2, 3, 6
BLOCK, CHUNK, WHOLE = range(3)
EXTENT = (2, 3, 4)
"""Channels, rows, columns of the images here."""
FLOATS = 2 * 3 * 4
MOST_THREADS = 1024


# A program by hand --------------------------------------------------------------------------------------------------


def _lanes() -> tuple[list[int], int]:
    """Return a placement without borders, and the bytes of a block."""
    width = extension().width(isa())[0]
    return [12 * width, 4 * width, 0], FLOATS * width * 4


def _parts() -> dict[str, Any]:
    """Return the arguments of a program that loads images, takes max(x, 0) and stores it."""
    placement, size = _lanes()
    return {
        "isa": isa(),
        "buffers": [(EXTERNAL, 0, 0), (LOCAL, size, 0), (LOCAL, size, 0), (EXTERNAL, 0, 1)],
        "instructions": [
            ("load", BLOCK, [*EXTENT, *placement, 0], [], [0, 1], []),
            ("activate", BLOCK, [*EXTENT, *placement, *placement, 1], [0.0, 0.0], [1, 2], []),
            ("store", BLOCK, [*EXTENT, *placement, 0], [], [2, 3], []),
        ],
        "stages": [(False, 0, 3)],
        "most_chunk_blocks": 2,
        "externals": 2,
        "scalars": 0,
    }


def _make(**changes: Any) -> Any:
    return extension().Program(**(_parts() | changes))


def _activate(position: int, value: Any) -> Any:
    """Return a program whose second instruction is changed: name, scope, ints, floats, operands or tables."""
    instructions: list[Any] = _parts()["instructions"]
    changed = [*instructions[1]]
    changed[position] = value
    instructions[1] = tuple(changed)
    return _make(instructions=instructions)


def _prepared(program: Any, batch: int = 3, threads: int = 2) -> Any:
    workspace = extension().Workspace()
    workspace.prepare(program, batch, threads, False)
    return workspace


def _run(program: Any, workspace: Any, batch: int = 3) -> None:
    """Run a program and look at what comes out."""
    x = torch.randn(batch, *EXTENT)
    y = torch.full((batch, *EXTENT), -1.0)
    workspace.run(program, 0, 1, [x.data_ptr(), y.data_ptr()], [], 0)
    assert torch.equal(y, x.clamp(min=0))


def test_what_fits_runs():
    program = _make()
    for batch, threads in [(1, 1), (7, 3), (40, 2)]:
        _run(program, _prepared(program, batch, threads), batch)
    assert [program.external_bytes(n) for n in range(2)] == [(0, 4 * FLOATS)] * 2


# Types --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"isa": 1},
        {"isa": None},
        {"buffers": None},
        {"buffers": [1]},
        {"buffers": [(0, 1)]},
        {"buffers": [(0, "1", 0)]},
        {"buffers": [(0, 2**63, 0)]},
        {"instructions": {}},
        {"instructions": [("load",)]},
        {"stages": [(False, 0)]},
        {"most_chunk_blocks": 1.5},
        {"externals": 2**64},
        {"scalars": [0]},
    ],
    ids=str,
)
def test_arguments_of_other_types(changes):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _make(**changes)


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 3),
        (1, None),
        (2, [1.5]),
        (2, [2**63]),
        (2, None),
        (3, ["a"]),
        (4, [2**64]),
        (5, [[2**31]]),
        (5, [[-(2**31) - 1]]),
        (5, [1]),
    ],
)
def test_parts_of_an_instruction_of_other_types(position, value):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _activate(position, value)


@pytest.mark.parametrize("arguments", [(), (None, 1, 1, False), ("program", 1, 1, False)])
def test_workspaces_want_programs(arguments):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        extension().Workspace().prepare(*arguments)


@pytest.mark.parametrize("addresses", [None, [-1], [2**64], ["a"], [1.5]])
def test_addresses_are_whole_numbers(addresses):
    program = _make()
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _prepared(program).run(program, 0, 1, addresses, [], 0)


# Numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"isa": "sse2"}, "no kernels for sse2 on this processor"),
        ({"stages": []}, "every instruction must belong to a stage"),
        ({"stages": [(False, 0, 4)]}, "stages must follow each other"),
        ({"stages": [(False, 0, 2**62)]}, "stages must follow each other"),
        ({"stages": [(False, -1, 3)]}, "stages must follow each other"),
        ({"stages": [(False, 0, 2), (False, 1, 3)]}, "stages must follow each other"),
        ({"stages": [(True, 0, 3)]}, "a stage is for the whole batch, or none"),
        ({"most_chunk_blocks": 0}, "most_chunk_blocks must be 1 to"),
        ({"most_chunk_blocks": 2**62}, "most_chunk_blocks must be 1 to"),
        ({"externals": 1}, "index of buffer 3 must be 0 to 0, got 1"),
        ({"externals": -1}, "externals must be 0 to"),
        ({"externals": 2**62}, "externals must be 0 to"),
        ({"scalars": -(2**62)}, "scalars must be 0 to"),
        ({"block_images": 2}, "block_images must be 1 or"),
        ({"block_images": 1}, r"instruction 0 \(load\): does not run on blocks of so many images"),
        ({"scratch_bytes": 2**62}, "scratch_bytes must be"),
        ({"buffers": []}, r"instruction 0 \(load\): an operand must be -1 to -1, got 0"),
    ],
    ids=str,
)
def test_numbers_of_a_program(changes, words):
    with pytest.raises(ValueError, match=words):
        _make(**changes)


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        ((8, 1, 0), "unknown kind of buffer"),
        ((-1, 1, 0), "unknown kind of buffer"),
        ((LOCAL, -1, 0), "bytes of buffer 1 must be 0 to"),
        ((LOCAL, 2**62, 0), "bytes of buffer 1 must be 0 to"),
        ((LOCAL, 4, 0), r"instruction 0 \(load\): operand 1 must have \d+ bytes at least, got 4"),
        ((LOCAL, 10_000, 1), "bytes an image of buffer 1 must be 0 to 0, got 1"),
        ((SHARED, 10_000, 0), r"instruction 0 \(load\): operand 1 cannot be of the kind `shared`"),
        ((EXTERNAL, 0, 2), "index of buffer 1 must be 0 to 1, got 2"),
    ],
)
def test_numbers_of_a_buffer(buffer, words):
    buffers = _parts()["buffers"]
    with pytest.raises(ValueError, match=words):
        _make(buffers=[buffers[0], buffer, *buffers[2:]])


@pytest.mark.parametrize(
    ("position", "value", "words"),
    [
        (0, "fly", "unknown instruction fly"),
        (1, 3, "unknown scope"),
        (1, CHUNK, r"instruction 1 \(activate\): operand 0 cannot be of the kind `local`"),
        (1, WHOLE, "a stage is for the whole batch, or none"),
        (2, [], "must have 10 ints, got 0"),
        (2, [1] * 11, "must have 10 ints, got 11"),
        (3, [], "must have 2 floats, got 0"),
        (4, [1], "must have 2 operands, got 1"),
        (4, [1, -1], r"instruction 1 \(activate\): needs operand 1"),
        (4, [1, 4], "an operand must be -1 to 3, got 4"),
        (4, [1, -2], "an operand must be -1 to 3, got -2"),
        (5, [[]], "must have 0 tables, got 1"),
    ],
)
def test_parts_of_an_instruction(position, value, words):
    with pytest.raises(ValueError, match=words):
        _activate(position, value)


WRONG = [-1, 2**40, 2**40 + 1, 2**62, -(2**62), 2**63 - 1, -(2**63)]


@pytest.mark.parametrize(("position", "value"), [*((p, v) for p in range(10) for v in WRONG), (0, 0), (1, 0), (2, 0)])
def test_sizes_and_places(position, value):
    ints = [*_parts()["instructions"][1][2]]
    ints[position] = value
    with pytest.raises(ValueError, match=r"instruction 1 \(activate\)"):
        _activate(2, ints)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([[0], [10**6]], "operand 1 must have"),
        ([[10**6], [0]], "operand 0 must have"),
        ([[2**31 - 1], [0]], "operand 0 must have"),
        ([[0], [-64]], "operand 1 is reached before its beginning"),
        ([[1], [0]], "operand 0 is not in whole vectors"),
        ([[0, 0], [0]], "table 1 must hold 2 numbers, got 1"),
        ([[], []], "values must be 1 to"),
    ],
)
def test_places_in_tables(tables, words):
    parts = _parts()
    parts["instructions"][1] = ("move", BLOCK, [0, 0], [1.0], [1, 2], tables)
    with pytest.raises(ValueError, match=words):
        _make(instructions=parts["instructions"])


# Running ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "threads", "words"),
    [
        (0, 1, "`batch` must be 1 to"),
        (-1, 1, "`batch` must be 1 to"),
        (2**62, 1, "`batch` must be 1 to"),
        (1, 0, "`threads` must be 1 to"),
        (1, -1, "`threads` must be 1 to"),
        (1, MOST_THREADS + 1, "`threads` must be 1 to"),
        (1, 2**62, "`threads` must be 1 to"),
    ],
)
def test_divisions(batch, threads, words):
    program = _make()
    workspace = _prepared(program)
    with pytest.raises(ValueError, match=words):
        workspace.prepare(program, batch, threads, False)
    _run(program, workspace)


def test_more_memory_than_there_is():
    small, buffers = _make(), _parts()["buffers"]
    large = _make(buffers=[*buffers, (SHARED, 2**40, 2**40)])
    workspace = _prepared(small)
    for _ in range(2):
        with pytest.raises(MemoryError, match="bytes do not fit into memory"):
            workspace.prepare(large, 2**30, 1, False)
        with pytest.raises(ValueError, match="the workspace must be prepared for this program"):
            workspace.run(large, 0, 1, [0, 0], [], 0)
        workspace.prepare(small, 3, 2, False)
        _run(small, workspace)


@pytest.mark.parametrize(
    ("stages", "addresses", "words"),
    [
        ((0, 1), [], "there must be 2 external memories, got 0"),
        ((0, 1), [64, 64, 64], "there must be 2 external memories, got 3"),
        ((0, 1), [64, 0], "external memory 1 must have an address of whole floats, got 0"),
        ((0, 1), [65, 64], "external memory 0 must have an address of whole floats, got 65"),
        ((0, 2), [64, 64], "stages must be 0 to 1"),
        ((-1, 1), [64, 64], "stages must be 0 to 1"),
        ((1, 0), [64, 64], "stages must be 0 to 1"),
        ((0, 2**62), [64, 64], "stages must be 0 to 1"),
    ],
)
def test_runs(stages, addresses, words):
    program = _make()
    for run in (_prepared(program).run, _prepared(program).profile):
        with pytest.raises(ValueError, match=words):
            run(program, *stages, addresses, [], 0)


def test_scalars_are_missing():
    parts = _parts()
    parts["instructions"].append(("update_sgd", WHOLE, [4, 0], [], [0, 3, -1], []))
    with pytest.raises(ValueError, match="scalars must be 0 to -5"):
        _make(instructions=parts["instructions"], stages=[(False, 0, 3), (True, 3, 4)])
    program = _make(instructions=parts["instructions"], stages=[(False, 0, 3), (True, 3, 4)], scalars=5)
    with pytest.raises(ValueError, match="there must be 5 scalars, got 4"):
        _prepared(program).run(program, 0, 2, [64, 64], [0.0] * 4, 0)


def test_nothing_is_prepared():
    program = _make()
    with pytest.raises(ValueError, match="must be prepared for this program"):
        extension().Workspace().run(program, 0, 1, [64, 64], [], 0)
    with pytest.raises(ValueError, match="must be prepared for this program"):
        _prepared(_make()).run(program, 0, 1, [64, 64], [], 0)


def test_infer_looks_at_no_more_than_there_is():
    program, workspace = _make(), extension().Workspace()
    x, y = torch.ones(3, *EXTENT), torch.empty(3, *EXTENT)
    for counts in ([], [2**62] * 2, [-(2**62)] * 5):
        workspace.infer(program, 3, 1, False, 0, False, [x.data_ptr(), y.data_ptr()], counts, 0)
        assert torch.equal(x, y)
    for packing in (-1, 2, 2**62):
        with pytest.raises(ValueError, match="stages must be 0 to 1"):
            workspace.infer(program, 3, 1, False, packing, False, [x.data_ptr(), y.data_ptr()], [], 0)
    with pytest.raises(ValueError, match="there must be 2 external memories"):
        workspace.infer(program, 3, 1, False, 0, False, [], [5, 5], 0)


@pytest.mark.parametrize("index", [-1, 2, 2**62])
def test_external_bytes_of_none(index):
    with pytest.raises(IndexError):
        _make().external_bytes(index)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sse2", 1, 0.1), "no kernels for sse2"),
        ((isa, 0, 0.1), "`threads` must be 1 to"),
        ((isa, 2**62, 0.1), "`threads` must be 1 to"),
        ((isa, 1, float("inf")), "`seconds` must be 0 to 60"),
        ((isa, 1, float("nan")), "`seconds` must be 0 to 60"),
    ],
)
def test_peak(arguments, words):
    name = arguments[0] if isinstance(arguments[0], str) else arguments[0]()
    with pytest.raises(ValueError, match=words):
        extension().peak_gflops(name, *arguments[1:])


def test_targets_that_fit_no_class():
    width = extension().width(isa())[0]
    program = extension().Program(
        isa(),
        [(EXTERNAL, 0, 0), (0, 3 * width * 4, 0), (EXTERNAL, 0, 1), (0, 3 * width * 4, 0), (5, 8, 0), (EXTERNAL, 0, 2)],
        [
            ("load", BLOCK, [3, 1, 1, width, width, 0, 0], [], [0, 1], []),
            ("cross_entropy", CHUNK, [3, width, 0, width, 0], [0.0], [1, 2, 3, 4], []),
            ("sum_losses", WHOLE, [], [], [4, 5], []),
        ],
        [(False, 0, 2), (True, 2, 3)],
        *(2, 3, 0),
    )
    assert program.external_bytes(1) == (0, 8)
    x, targets, loss = torch.zeros(50, 3), torch.zeros(50, dtype=torch.int64), torch.zeros(())
    workspace = _prepared(program, 50, 3)
    addresses = [x.data_ptr(), targets.data_ptr(), loss.data_ptr()]
    for wrong in (-1, 3, 2**62):
        targets[40] = wrong
        with pytest.raises(IndexError, match=f"`targets` must be 0 to 2, got {wrong}"):
            workspace.run(program, 0, 2, addresses, [], 0)
    targets[40] = 2
    workspace.run(program, 0, 2, addresses, [], 0)
    assert loss.item() == pytest.approx(np.log(3.0))


# Lives --------------------------------------------------------------------------------------------------------------


def test_a_program_may_go_before_its_workspace():
    program = _make()
    workspace = _prepared(program)
    del program
    other = _make()
    workspace.prepare(other, 3, 2, False)
    _run(other, workspace)


def test_an_object_that_was_not_made():
    program = extension().Program.__new__(extension().Program)
    # What nanobind warns of is what it refuses.
    with (
        pytest.warns(RuntimeWarning, match="uninitialized instance"),
        pytest.raises(TypeError, match="incompatible function arguments"),
    ):
        extension().Workspace().prepare(program, 1, 1, False)


def test_several_threads_run_one_program():
    program, failures = _make(), []

    def work(batch: int) -> None:
        try:
            for _ in range(50):
                _run(program, _prepared(program, batch, batch), batch)
        except Exception as error:  # noqa: BLE001 - whatever a thread raises must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_two_threads_in_one_workspace():
    placement, _ = _lanes()
    parts = _parts()
    again = [("activate", BLOCK, [*EXTENT, *placement, *placement, 6], [0.0, 0.0], [1, 2], [])] * 20_000
    program = extension().Program(
        isa(), parts["buffers"], [parts["instructions"][0], *again], [(False, 0, 20_001)], 2, 2, 0
    )
    workspace = _prepared(program, 64, 1)
    x = torch.zeros(64, *EXTENT)
    refused = set[str]()

    def attempt(call: Callable[..., object], *arguments: Any) -> bool:
        try:
            call(*arguments)
        except RuntimeError as error:
            refused.add(str(error))
            return False
        return True

    def work() -> None:
        while not attempt(workspace.run, program, 0, 1, [x.data_ptr(), x.data_ptr()], [], 0):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        attempt(workspace.prepare, program, 64, 1, False)  # as it is already: nothing moves if the other has not begun
    assert refused == {"workspace: it is in use by another thread"}


PROLOGUE = """
import os, sys, threading, time, torch
from striate.engine import accelerate
torch.manual_seed(0)
torch.set_num_threads(4)
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))
fast, x = accelerate(net), torch.randn(100, 3, 8, 8)
y = fast(x)
"""


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROLOGUE + program], env=os.environ.copy(), capture_output=True, text=True, timeout=300
    )


def test_a_forked_process_computes_the_same():
    program = """
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(fast(x), y) else 1)
_, status = os.waitpid(child, 0)
assert torch.equal(fast(x), y)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = _python(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "",  # threads sleep, or look for work
        "time.sleep(0.2)",
        "threading.Thread(target=lambda: [fast(x) for _ in range(200)]).start()",
        "sys.modules['kept'] = fast, y",
    ],
)
def test_the_interpreter_ends(program):
    done = _python(program)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_parameters_of_another_size_or_type():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4))
    plan = _plan(net, (2, 4, 4), trains=True)
    x, good = torch.randn(3, 2, 4, 4), [p.tensor for p in plan.parameters]
    plan.run_forward([x], good)
    for bad in (torch.zeros(3, 2, 3, 2), good[0].double(), good[0].transpose(0, 1), good[0][:1].expand(3, 2, 3, 3)):
        with pytest.raises(
            UsageError, match=r"`0\.weight` must be torch\.float32, contiguous and of at least 54 numbers"
        ):
            plan.run_forward([x], [bad, *good[1:]])
    with pytest.raises(UsageError, match=r"`input0` must be torch\.float32, contiguous and of at least 96 numbers"):
        plan.memory.address(0, torch.zeros(95), batch=3)


# Change one number --------------------------------------------------------------------------------------------------


def _plan(net: nn.Module, shape: tuple[int, ...], *, trains: bool) -> Plan:
    graph = capture(net, torch.randn(3, *shape))
    nodes = [node for node in graph.nodes if node not in graph.inputs]
    return Plan(graph, nodes, graph.inputs, graph.outputs, machine(), trains, [trains])


def _parts_of(plan: Any, *, scalars: int = 0) -> list[Any]:
    """Return the arguments of a plan's program."""
    trains, is_single = getattr(plan, "trains", False), isinstance(plan, SinglePlan)
    encoding = _program.encode(plan.machine, plan.stages, kinds=_program.kinds_of(plan.stages), trains=trains)
    externals = len(plan.builder.externals)
    return [isa(), *encoding, 1 if is_single else 4, externals, scalars, int(is_single), 0]


def _training_parts(kind: Callable[..., torch.optim.Optimizer], *, scalars: int) -> list[Any]:
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    )
    step = TrainingStep(net, optimizer=kind(net.parameters(), lr=0.1))
    return _parts_of(step.plan(torch.randn(4, 2, 6, 6)), scalars=scalars)


LAYERS = {
    "lenet": (
        (1, 12, 12),
        lambda: [
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.Tanh()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 5)),
        ],
    ),
    "convolutions": (
        (4, 9, 8),
        lambda: [
            *(nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1), nn.ELU(), nn.Conv2d(6, 6, 3, groups=6, padding=1)),
            *(nn.Conv2d(6, 4, (1, 3), dilation=(1, 2), padding=(0, 2)), nn.BatchNorm2d(4), nn.ReLU6()),
        ],
    ),
    "filters": (
        (16, 13, 12),
        lambda: [
            *(nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 5, padding=2, groups=16)),
            *(nn.Conv2d(16, 9, 3, padding=1), nn.SiLU()),
        ],
    ),
    "pooling": (
        (3, 11, 10),
        lambda: [
            *(
                nn.MaxPool2d(3, 2, 1),
                nn.AvgPool2d(3, 1, 1),
                nn.MaxPool2d(2, 2, ceil_mode=True),
                nn.LocalResponseNorm(3),
            ),
            *(nn.AvgPool2d(2, 1, ceil_mode=True, count_include_pad=False), nn.AdaptiveMaxPool2d(2)),
            *(nn.AdaptiveAvgPool2d((1, 2)), nn.Sigmoid()),
        ],
    ),
}


class _Residual(nn.Module):
    """A block with batch norm, an addition, channels that are gated, cut off and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm2(self.second(torch.relu(self.norm1(self.first(x))))) + x)
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return torch.cat([y[:, :3], x], 1)


def _programs() -> dict[str, list[Any]]:
    """Return the arguments of programs with all that the engine has."""
    programs = {
        "Adam": _training_parts(torch.optim.Adam, scalars=8),
        "SGD": _training_parts(partial(torch.optim.SGD, momentum=0.9), scalars=5),
    }
    networks: dict[str, tuple[tuple[int, ...], nn.Module]] = {
        name: (shape, nn.Sequential(*make())) for name, (shape, make) in LAYERS.items()
    }
    networks["residual"] = ((4, 8, 8), _Residual())
    for name, (shape, net) in networks.items():
        programs[f"{name}, training"] = _parts_of(_plan(net.train(), shape, trains=True))
        graph = capture(net.eval(), torch.randn(3, *shape))
        nodes = [node for node in graph.nodes if node not in graph.inputs]
        programs[f"{name}, one image"] = _parts_of(SinglePlan(graph, nodes, graph.inputs, graph.outputs, machine()))
        with torch.no_grad():
            programs[f"{name}, inference"] = _parts_of(_plan(net, shape, trains=False))
    return programs


def _other(rng: random.Random, value: int, others: list[int]) -> int:
    """Return another number: near, far, of the neighbourhood, or absurd."""
    width = machine().width
    near = [value + d for d in (-1, 1, -width, width, -4 * width, 4 * width)]
    far = [2 * value, value // 2, -value, 0, 1, -1, 7, 255, 256, 10_000]
    absurd = [2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**31), -(2**40), -(2**62), -(2**63)]
    return rng.choice([*near, *near, *far, *absurd, rng.choice(others), rng.choice(others)])


def _changed(rng: random.Random, parts: list[Any]) -> tuple[str, list[Any]]:
    """Change one number of a program, or leave one out; return what was done, and the program."""
    parts = copy.copy(parts)
    where = rng.choices(["instruction", "buffer", "stage", "size"], [90, 6, 2, 2])[0]
    if where == "size":
        index = rng.randrange(4, 9)
        parts[index] = _other(rng, parts[index], parts[4:9])
        return f"argument {index} = {parts[index]}", parts
    position = {"buffer": 1, "instruction": 2, "stage": 3}[where]
    entries = parts[position] = [*parts[position]]
    number = rng.randrange(len(entries))
    entry = entries[number] = [*entries[number]]
    if where != "instruction":
        index = rng.randrange(1 if where == "stage" else 0, 3)
        entry[index] = _other(rng, entry[index], [e[index] for e in entries])
        text = f"{where} {number} [{index}] = {entry[index]}"
    else:
        text = f"instruction {number} ({entry[0]}) {_change_instruction(rng, entry, len(parts[1]))}"
    entries[number] = tuple(entry)
    return text, parts


def _change_instruction(rng: random.Random, entry: list[Any], buffers: int) -> str:
    kinds = [(1, 1), (2, 10), (4, 3), (5, 10)]
    kind = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
    if kind == 1:
        entry[1] = rng.randrange(-1, 4)
        return f"scope = {entry[1]}"
    table = 0
    numbers = entry[kind] = [*entry[kind]]
    if kind == 5 and numbers:
        table = rng.randrange(len(numbers))
        numbers[table] = [*numbers[table]]
        numbers = numbers[table]
    if not numbers:
        return "as it is"
    index = rng.randrange(len(numbers))
    if rng.random() < 0.05:
        numbers.pop(index)
        return f"[{kind}][{table}] without {index}"
    numbers[index] = rng.randrange(-2, buffers + 1) if kind == 4 else _other(rng, numbers[index], numbers)
    return f"[{kind}][{table}][{index}] = {numbers[index]}"


MOST_BYTES = 1 << 26
"""Of memory, above which a program that was taken is not run here."""


def _try(rng: random.Random, parts: list[Any]) -> str:
    """Make a program and run it on memory that is as small as it says; return what became of it."""
    try:
        program = extension().Program(*parts)
    except (ValueError, TypeError, MemoryError):
        return "refused"
    batch, threads = rng.choice([1, 3, machine().width + 1]), rng.randrange(1, 4)
    needs = [program.external_bytes(n) for n in range(parts[5])]
    sizes = [max(once, of_image * batch) for once, of_image in needs]
    if sum(sizes) + 4 * sum(size + image * batch for _, size, image in parts[1]) > MOST_BYTES:
        return "large"
    # Zeros are numbers of every type, and targets that fit.
    memory = [
        np.zeros(size, dtype=np.uint8) if of == 8 else _numbers(size)
        for size, (_, of) in zip(sizes, needs, strict=True)
    ]
    try:
        workspace = extension().Workspace()
        workspace.prepare(program, batch, threads, bool(rng.randrange(2)))
        addresses = [m.ctypes.data if m.size else 64 for m in memory]
        scalars = [0.5] * min(parts[6], 1000)
        workspace.run(program, 0, len(parts[3]), addresses, scalars, 1)
    except (ValueError, MemoryError, IndexError) as error:
        return f"raised {type(error).__name__}"
    return "ran"


def _numbers(size: int) -> Any:
    return (np.arange(-(-size // 4), dtype=np.float32) % 7 - 3).view(np.uint8)[:size]


def _main(seed: int, count: int) -> None:
    """Change each program `count` times. The last line before a crash says what was being tried."""
    results: dict[str, int] = {}
    for name, parts in _programs().items():
        if (result := _try(random.Random(seed), parts)) != "ran":
            raise RuntimeError(f"{name}: {result}")
        for number in range(count):
            rng = random.Random(f"{seed} {name} {number}")
            text, changed = _changed(rng, parts)
            print(f"{name}, {number}: {text}", flush=True)
            result = _try(rng, changed)
            results[result] = results.get(result, 0) + 1
    print(results)


@pytest.mark.parametrize("seed", [0])
def test_one_number_changed(seed):
    done = subprocess.run(
        [sys.executable, __file__, str(seed), "250"], env=os.environ.copy(), capture_output=True, text=True, timeout=900
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}\n{done.stderr}"
    assert "'refused'" in lines[-1]
    assert "'ran'" in lines[-1]


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
