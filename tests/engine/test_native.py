"""The compiled part behind its Python boundary: whatever is given, it refuses or runs, and never crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from striate.engine.extension import extension, isa

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


# Lives --------------------------------------------------------------------------------------------------------------


def test_a_program_may_go_before_its_workspace():
    program = _make()
    workspace = _prepared(program)
    del program
    other = _make()
    workspace.prepare(other, 3, 2, False)
    _run(other, workspace)


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
