"""How the engine and its peers are timed: the same batches, rounds in turns, pairs repeated when others were busy."""

import importlib
import os
import sys

import pytest

np = pytest.importorskip("numpy")


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def fake_watch(others):
    values = iter(others)
    return lambda: type("Quiet", (), {"others": lambda self: next(values)})()


def pairs(peer, own, others=0.0):
    return [{"peer": p, "striate": s, "others": others} for p, s in zip(peer, own, strict=True)]


def test_wider_networks_and_other_image_sizes():
    pytest.importorskip("torch")
    create = module("_networks").create
    counts = {
        (width, size): sum(
            parameter.numel() for parameter in create("cnn_cifar", width=width, image_size=size).parameters()
        )
        for width, size in ((1.0, 32), (2.0, 32), (1.0, 16))
    }
    # 3x3x3-64, 3x3x64-128, 8192-256-10 with biases; and at 16 pixels 1024-128-10 in place of 4096-128-10.
    assert counts[2.0, 32] == 28 * 64 + (9 * 64 + 1) * 128 + 8193 * 256 + 257 * 10
    assert counts[1.0, 32] - counts[1.0, 16] == 3072 * 128
    with pytest.raises(ValueError, match="must be 1 for lenet5, got 2"):
        create("lenet5", width=2)


def test_every_side_gets_the_same_batches():
    random_batches = module("_networks").random_batches
    one, two = (random_batches("lenet5", batch_size=4, count=2) for _ in range(2))
    assert all(np.array_equal(a, b) for pair in zip(one, two, strict=True) for a, b in zip(*pair, strict=True))
    assert not np.array_equal(one[0][0], one[1][0])
    assert one[0][0].shape == (4, 1, 28, 28)
    assert one[0][0].dtype == np.float32
    assert random_batches("cnn_cifar", batch_size=2, count=1, image_size=16)[0][0].shape == (2, 3, 16, 16)


def test_macs_of_a_training_step_leave_out_the_gradient_of_the_input():
    torch, striate = pytest.importorskip("torch"), pytest.importorskip("striate")
    macs, network = module("_macs"), module("_networks").create("lenet5").eval()
    graph = striate.capture(network, torch.zeros(2, 1, 28, 28))
    # By hand, an image: 6 maps of 24 x 24 of 5 x 5, 16 of 8 x 8 of 6 x 5 x 5, dense 256-120-84-10.
    first, rest = 6 * 24**2 * 25, 16 * 8**2 * 150 + 256 * 120 + 120 * 84 + 84 * 10
    assert macs.forward_macs(graph) == 2 * (first + rest)
    assert macs.training_macs(graph) == 2 * (2 * first + 3 * rest)


def test_rounds_take_about_as_long_as_asked_and_finish_their_steps(monkeypatch):
    steps, clock, taken = module("_steps"), [0.0], []

    def step():
        clock[0] += 0.25
        taken.append(clock[0])

    def finish():
        clock[0] += 1.0  # steps that run behind: their time counts

    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    rounds = steps.Rounds(step, batch_size=10)
    assert rounds.run_round(seconds=1.0) == 40.0
    assert len(taken) == steps.WARMUP_STEPS + 4
    assert rounds.run_round(seconds=0) == 40.0  # one step at least
    assert len(taken) == steps.WARMUP_STEPS + 5
    late = steps.Rounds(step, batch_size=10, finish=finish)
    assert late.run_round(seconds=1.25) == 10 / 1.25


def test_trials_take_turns_and_the_fastest_wins(monkeypatch):
    steps, clock, order = module("_steps"), [0.0], []

    def way(name, seconds):
        def step():
            clock[0] += seconds
            order.append(name)

        return step

    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    speeds = steps.trial_speeds({"slow": way("slow", 2.0), "fast": way("fast", 1.0)}, batch_size=4, seconds=0.0)
    assert speeds == {"slow": 2.0, "fast": 4.0}
    assert order[-6:] == ["slow", "fast"] * 3
    assert steps.fastest(speeds) == "fast"


def test_pairs_in_which_others_were_busy_are_taken_again():
    measure, speeds = module("_engine_measure"), iter(range(1, 100))

    def turns(others, allowance):
        return measure.take_turns(
            lambda: float(next(speeds)), lambda: 8.0, rounds=2, watch=fake_watch(others), allowance=allowance
        )

    assert [pair["peer"] for pair in turns([0.0, 1.5, 0.05], 1)] == [1.0, 3.0]
    assert [pair["others"] for pair in turns([0.0, 1.5], 0)] == [0.0, 1.5]  # nothing left to repeat: it counts
    assert [pair["others"] for pair in turns([None, None], 2)] == [None, None]


def test_engine_figures_are_medians_of_neighbouring_ratios():
    compare = module("_engine_measure").compare
    figures = compare(pairs([10, 30, 25], [40, 90, 125]), reach=4)
    assert (figures["ratio"], figures["ratio_min"], figures["ratio_max"], figures["n"]) == (4, 3, 5, 3)
    assert figures["is_met"]
    assert not compare(pairs([10], [39]), reach=4)["is_met"]
    assert compare(pairs([100], [97]), reach=1, tolerance=0.03)["is_met"]
    assert not compare(pairs([100], [96]), reach=1, tolerance=0.03)["is_met"]
    assert compare(pairs([100], [96]), reach=None)["is_met"] is None


def test_rounds_take_turns_with_a_process(monkeypatch):
    rounds = module("_rounds")
    code = (
        "from benchmarks._rounds import answer_rounds\n"
        "answer_rounds({'threads': 7}, lambda steps: 2.0 * steps)\n"
    )  # fmt: skip
    monkeypatch.setattr(rounds.subprocess, "Popen", _running(code, rounds.subprocess.Popen))
    with rounds.Side(["ignored"]) as side:
        assert side.about == {"threads": 7}
        assert [side.round(steps=3), side.round(steps=4)] == [6.0, 8.0]


def test_a_side_that_dies_is_an_error(monkeypatch):
    rounds = module("_rounds")
    monkeypatch.setattr(rounds.subprocess, "Popen", _running("raise SystemExit(5)", rounds.subprocess.Popen))
    with pytest.raises(RuntimeError, match="ended with exit code 5"):
        rounds.Side(["ignored"])


def _running(code, popen):
    return lambda command, **options: popen([sys.executable, "-c", code], **options)


def test_a_side_may_have_an_interpreter_of_its_own(monkeypatch):
    rounds, commands = module("_rounds"), []

    def popen(command, **options):
        commands.append(command)
        return start_process([sys.executable, "-c", "print('{}')"], **options)

    start_process = rounds.subprocess.Popen
    monkeypatch.setattr(rounds.subprocess, "Popen", popen)
    with rounds.Side(["one"], python="other-python") as side:
        assert side.process_id > 0
    with rounds.Side(["two"]):
        pass
    assert commands == [["other-python", "-m", "one"], [sys.executable, "-m", "two"]]


def test_watch_subtracts_the_own_programs(tmp_path, monkeypatch):
    quiet, clock = module("_quiet"), [0.0]
    monkeypatch.setattr(quiet.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(quiet.os, "sysconf", lambda name: 100, raising=False)

    def write(busy, own):
        # user nice system idle iowait irq softirq steal guest guest_nice; idle and iowait do not count.
        (tmp_path / "stat").write_text(f"cpu  {busy} 10 10 {999 + busy} 7 1 1 1 0 0\ncpu0 1\n")
        for process_id in (5, os.getpid()):
            (tmp_path / str(process_id)).mkdir(exist_ok=True)
            before = f"{process_id} (a name) in it) S" + " 0" * 10
            (tmp_path / str(process_id) / "stat").write_text(f"{before} {own} {own} {own} {own} 0\n")

    write(busy=1000, own=10)
    watch = quiet.Watch([5], proc=tmp_path)
    write(busy=1000 + 250, own=10 + 25)  # 250 ticks in all, 8 x 25 of them the own ones
    clock[0] = 2.0
    assert watch.others() == pytest.approx((250 - 200) / 100 / 2.0)
    assert quiet.Watch([6], proc=tmp_path).others() is None
    assert quiet.Watch([], proc=tmp_path / "none").others() is None
