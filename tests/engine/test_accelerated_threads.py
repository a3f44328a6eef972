"""Threads, bits and memory of accelerated networks."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.engine import accelerate

pytestmark = pytest.mark.native


def bits(net, x, *, threads, independent=False):
    """Outputs and all gradients of a run with so many threads."""
    torch.set_num_threads(threads)
    net.zero_grad()
    own = x.detach().requires_grad_()
    y = accelerate(net, independent=independent)(own)
    y.square().sum().backward()
    return [y.detach(), own.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_threads_change_nothing_but_rounding(small, images, close, batch):
    net, x = small().eval(), images(batch)
    one = bits(net, x, threads=1)
    for threads in (2, 3, 5, 16):
        assert all(close(a, b) for a, b in zip(bits(net, x, threads=threads), one, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_bits_run_after_run(small, images, threads):
    net, x = small(), images(43)
    runs = [bits(copy.deepcopy(net), x, threads=threads) for _ in range(5)]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("batch", [3, 43, 150])
def test_independent_of_the_number_of_threads(small, images, batch):
    net, x = small(), images(batch)
    runs = [bits(copy.deepcopy(net), x, threads=threads, independent=True) for threads in (1, 2, 3, 7)]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True))


def test_training_independent_of_the_number_of_threads(small, images, classes):
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        net = small(dropout=0.3)
        fast, optimizer = accelerate(net, independent=True), torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(5)
        for step in range(5):
            optimizer.zero_grad()
            F.cross_entropy(fast(images(40, seed=step)), classes(40, seed=step)).backward()
            optimizer.step()
        results.append(net.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values(), strict=True))


def test_threads_that_change_between_forward_and_backward(small, images, close):
    net, x = small(), images(40)
    stock, fast = copy.deepcopy(net), accelerate(net)
    torch.set_num_threads(1)
    y = fast(x)
    torch.set_num_threads(4)
    y.square().sum().backward()
    stock(x).square().sum().backward()
    assert all(close(p.grad, q.grad) for p, q in zip(net.parameters(), stock.parameters(), strict=True))


def test_calls_from_several_threads(small, images, close):
    net, x = small().eval(), images(40)
    fast, expected, wrong = accelerate(net), net(images(40)).detach(), []
    fast(x)

    def work():
        for _ in range(20):
            with torch.no_grad():
                if not close(fast(x), expected):
                    wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def workspaces(fast):
    """Memory that is kept for later passes, of plans with gradients and without."""
    plans = [plan for program in fast._programs.values() for plan in program.plans]
    pools = [getattr(plan, "_workspaces", []) for plan in plans]
    pools += [vars(plan)["forward"]._pool for plan in plans if "forward" in vars(plan)]
    return [workspace for pool in pools for workspace in pool]


def test_memory_is_given_back(small, images):
    net = small()
    fast = accelerate(net)
    for batch in range(1, 51):
        fast.train()(images(batch)).sum().backward()
        with torch.no_grad():
            fast.eval()(images(batch))
    gc.collect()
    # One program with gradients and one without, which has a plan for many images and one for few.
    assert len(fast._programs) == 2
    assert 0 < len(workspaces(fast)) <= 6


def test_passes_that_are_never_gone_back_give_their_memory_back(small, images):
    fast = accelerate(small())
    kept = [fast(images()) for _ in range(6)]
    del kept
    gc.collect()
    assert len(workspaces(fast)) <= 2


def test_a_pass_after_a_large_one_keeps_less_of_it(small, images, close):
    net, x = small(), images(5)
    stock, fast = copy.deepcopy(net).eval(), accelerate(net).eval()
    for batch in (300, 1, 5):  # what a larger batch left in the memory must not show
        y = fast(images(batch, seed=batch))
        assert close(y, stock(images(batch, seed=batch)))
    assert close(fast(x), stock(x))


def test_sizes_do_not_pile_up():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    fast = accelerate(net)
    with torch.no_grad():
        for size in range(4, 104):
            fast(torch.randn(1, 2, size, 4))
    assert 0 < len(workspaces(fast)) <= 64
    assert torch.equal(fast(x := torch.randn(1, 2, 4, 4)), fast(x))


def test_everything_is_freed_with_the_module(small, images):
    net = small()
    fast = accelerate(net)
    fast(images()).sum().backward()
    gone = [weakref.ref(plan) for program in fast._programs.values() for plan in program.plans]
    assert gone
    del fast
    gc.collect()
    assert all(ref() is None for ref in gone)
