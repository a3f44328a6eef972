"""Real programs: on any number of threads, and with one number changed, when they are refused or run, and never crash.

Run as a program, ``test_native_programs.py SEED COUNT``, it changes one number of real programs at a time, runs what is
still taken; with sanitizers (tools/sanitize.sh) nothing that is read or written out of place goes unseen.
"""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from striate.engine import _program
from striate.engine._machine import has_bf16, machine
from striate.engine.extension import extension, isa
from striate.engine.lowering import tiles
from striate.engine.plan import Plan
from striate.engine.single import SinglePlan
from striate.engine.training_step import TrainingStep
from striate.graph import capture

pytestmark = pytest.mark.native


def _plan(net: nn.Module, shape: tuple[int, ...], *, trains: bool, precision: str = "float32") -> Plan:
    graph = capture(net, torch.randn(3, *shape))
    nodes = [node for node in graph.nodes if node not in graph.inputs]
    return Plan(graph, nodes, graph.inputs, graph.outputs, machine(precision), trains, [trains])


def _parts_of(plan: Any, *, scalars: int = 0) -> list[Any]:
    """Return the arguments of a plan's program."""
    trains, is_single = getattr(plan, "trains", False), isinstance(plan, SinglePlan)
    encoding = _program.encode(plan.machine, plan.stages, kinds=_program.kinds_of(plan.stages), trains=trains)
    externals = len(plan.builder.externals)
    scratch = max(one.scratch for stage in plan.stages for one in stage.instructions)
    return [isa(), *encoding, 1 if is_single else 4, externals, scalars, int(is_single), scratch]


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
    tiles.LEAST_DEPTH = 1  # this process tries small layers, and in bfloat16 too
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
        if has_bf16():
            programs[f"{name}, bfloat16"] = _parts_of(_plan(net.train(), shape, trains=True, precision="bf16"))
    return programs


def _memory(program: Any, externals: int, batch: int) -> list[Any]:
    """Return memory that is as small as a program says."""
    # Zeros are numbers of every type, and targets that fit.
    needs = [program.external_bytes(n) for n in range(externals)]
    sizes = [max(once, of_image * batch) for once, of_image in needs]
    return [
        np.zeros(size, dtype=np.uint8) if of == 8 else _numbers(size)
        for size, (_, of) in zip(sizes, needs, strict=True)
    ]


def test_no_bit_depends_on_the_number_of_threads():
    width = machine().width
    for name, parts in _programs().items():
        program, workspace = extension().Program(*parts), extension().Workspace()
        for batch in (1, 3, width + 1, 5 * width - 1, 12 * width + 3):
            bits = set[bytes]()
            for threads in (1, 2, 3, 5, 8):
                memory = _memory(program, parts[5], batch)
                workspace.prepare(program, batch, threads, True)
                addresses = [m.ctypes.data if m.size else 64 for m in memory]
                workspace.run(program, 0, len(parts[3]), addresses, [0.5] * parts[6], 1)
                bits.add(b"".join(m.tobytes() for m in memory))
            assert len(bits) == 1, f"{name}, {batch} images"


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
    memory_bytes = sum(max(once, image * batch) for once, image in map(program.external_bytes, range(parts[5])))
    if memory_bytes + 4 * sum(size + image * batch for _, size, image in parts[1]) > MOST_BYTES:
        return "large"
    memory = _memory(program, parts[5], batch)
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
