"""The threads of the compiled part in processes that fork, and at the end of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.native


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


SHARED_THREADS = """
import os, torch, striate
torch.set_num_threads(3)
a = torch.randn(700, 700)
a @ a, (torch.randn(3_000_000) + 1).sum()
before = len(os.listdir("/proc/self/task"))
fast = striate.accelerate(torch.nn.Conv2d(3, 16, 3))
fast(torch.randn(200, 3, 16, 16)).sum().backward()
print(before, len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and PyTorch has GNU's OpenMP on Linux")
def test_threads_are_those_of_pytorch():
    if "STRIATE_NATIVE_DIR" in os.environ:
        pytest.skip("a build for sanitizers may have threads of its own")
    if not list((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        pytest.skip("this PyTorch does not bring GNU's OpenMP")
    environment = os.environ | {"OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", SHARED_THREADS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    # Autograd's own thread may come in addition; a pool of the engine would be two more.
    assert after <= before + 1
