"""`striate.diagnose` before a training: faults are named, healthy networks get silence, nothing is changed."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import striate
from striate.diagnose._rules_run import of_history
from striate.errors import UsageError


def adam(net, rate=3e-3):
    return torch.optim.Adam(net.parameters(), lr=rate)


class Behind(nn.Module):
    def __init__(self, inner, function):
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x):
        return self.function(self.inner(x))


def test_a_healthy_network_gets_one_line(net, data, held):
    diagnosis = striate.diagnose(net, data, optimizer=adam(net), validation=held)
    assert diagnosis.findings == ()
    assert str(diagnosis).count("\n") == 0
    assert "missing-zero-grad" in diagnosis.not_checked


@pytest.mark.parametrize("rate", [1e-3, 3e-3])
def test_arrays_and_loaders_are_taken(net, data, rate):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=32)
    assert striate.diagnose(net, loader, optimizer=adam(net, rate)).is_healthy
    assert striate.diagnose(net, tuple(part.numpy() for part in data), optimizer=adam(net, rate)).is_healthy


@pytest.mark.parametrize("fails", [False, True])
def test_everything_stays_as_it_was(net, data, fails):
    net.add_module("norm", nn.BatchNorm2d(1))
    net.conv1.eval()
    optimizer = adam(net)
    functional.cross_entropy(net(data[0][:8]), data[1][:8]).backward()
    optimizer.step()
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()]))
    modes, generator = [module.training for module in net.modules()], torch.get_rng_state()

    def loss_fn(outputs, targets):
        if fails:
            raise KeyError("broken loss")
        return functional.cross_entropy(outputs, targets)

    if fails:
        with pytest.raises(KeyError, match="broken loss"):
            striate.diagnose(net, data, loss_fn=loss_fn, optimizer=optimizer)
    else:
        striate.diagnose(net, data, loss_fn=loss_fn, optimizer=optimizer)
    after = (net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()])
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    for key, state in before[1]["state"].items():
        assert all(torch.equal(state[name], after[1]["state"][key][name]) for name in state)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)


def named(net, data, *, optimizer=None, **options):
    return striate.diagnose(net, data, optimizer=optimizer or adam(net), **options).causes


def test_softmax_before_the_loss(net, data):
    assert named(Behind(net, lambda z: z.softmax(1)), data) == ("softmax-before-loss",)
    one_hot = lambda out, y: functional.binary_cross_entropy_with_logits(out, functional.one_hot(y, 3).float())  # noqa: E731
    assert named(Behind(net, torch.sigmoid), data, loss_fn=one_hot) == ("softmax-before-loss",)


def test_probabilities_for_a_loss_that_wants_them_are_healthy(net, data):
    model = Behind(net, lambda z: z.log_softmax(1))
    assert named(model, data, loss_fn=nn.NLLLoss()) == ()


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.NLLLoss(),
        lambda out, y: -functional.cross_entropy(out, y),
        lambda out, y: functional.cross_entropy(out, y + 1),
    ],
)
def test_wrong_loss(net, data, loss_fn):
    assert named(net, data, loss_fn=loss_fn) == ("wrong-loss",)


def test_broadcast(net, data):
    net.head = nn.Linear(256, 1)
    answer = striate.diagnose(net, (data[0], data[1] % 2), loss_fn=lambda out, y: ((out - y) ** 2).mean(),
                              optimizer=adam(net))  # fmt: skip
    assert answer.causes[0] == "loss-broadcast"
    assert "(64, 1) and targets (64,) are stretched to (64, 64)" in answer.findings[0].evidence[0]


def test_inputs_not_normalised(net, data):
    assert named(net, (data[0] * 60 + 120, data[1]), optimizer=torch.optim.SGD(net.parameters(), lr=0.05)) == (
        "unnormalised-input",
    )


def test_learning_rates_come_with_a_suggestion(net, data):
    high = striate.diagnose(net, data, optimizer=torch.optim.SGD(net.parameters(), lr=30.0))
    low = striate.diagnose(net, data, optimizer=torch.optim.SGD(net.parameters(), lr=1e-7))
    assert (high.causes, low.causes) == (("learning-rate-too-high",), ("learning-rate-too-low",))
    assert high.findings[0].numbers["suggested"] < 30
    assert low.findings[0].numbers["suggested"] > 1e-5


def test_labels(net, data):
    order = torch.randperm(600, generator=torch.Generator().manual_seed(5))
    assert named(net, (data[0], data[1][order])) == ("shuffled-labels",)


def test_gradients_that_do_not_arrive(net, data):
    net.conv1.register_forward_hook(lambda module, inputs, output: output.detach())
    answer = striate.diagnose(net, data, optimizer=adam(net))
    assert answer.causes == ("gradient-not-reaching",)
    assert answer.findings[0].numbers["parameters"] == ["conv1.weight", "conv1.bias"]


def test_optimizer_of_an_old_head(net, data):
    optimizer = adam(net)
    net.head = nn.Linear(256, 3)
    assert named(net, data, optimizer=optimizer) == ("not-in-optimizer",)


def test_no_activation(data):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 3))
    assert named(net, data) == ("no-activation",)


def test_nan_names_layer_and_image(net, data):
    x = data[0].clone()
    x[17, 0, 0, 0] = float("nan")
    answer = striate.diagnose(net, (x, data[1]), optimizer=adam(net))
    assert (answer.causes, answer.findings[0].numbers["images"]) == (("nan-origin",), [17])
    answer = striate.diagnose(Behind(net, lambda z: (z * 0).log()), data, optimizer=adam(net))
    assert "(log)" in answer.findings[0].says


def test_leak(net, data, held):
    copies = (torch.cat([data[0][:30], held[0]]), torch.cat([data[1][:30], held[1]]))
    answer = striate.diagnose(net, data, optimizer=adam(net), validation=copies)
    assert answer.causes == ("train-validation-leak",)
    assert answer.findings[0].numbers["exact"] == 30


def test_batch_mixing_names_the_call(net, data):
    answer = striate.diagnose(Behind(net, lambda z: z - z.mean(0)), data, optimizer=adam(net))
    assert answer.causes == ("batch-mixing",)
    assert "(mean)" in answer.findings[0].says


def test_dead_relu_is_exact(net, data):
    net.conv2.bias.data -= 100
    answer = striate.diagnose(net, data, optimizer=adam(net))
    assert answer.causes == ("dead-relu",)
    assert list(answer.findings[0].numbers["dead"].values()) == [list(range(16))]


def test_opaque_operations_do_not_stop_it(net, data):
    answer = striate.diagnose(Behind(net, lambda z: z + torch.special.erfcx(z).clamp(max=0)), data, optimizer=adam(net))
    assert answer.is_healthy


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, None), {}, r"diagnose: `model` must be an nn.Module or a run, got int"),
        ((nn.Linear(4, 2), None), {}, r"diagnose: `data` must be \(x, y\) or a loader, got None"),
        ((nn.Linear(4, 2), 5), {}, r"diagnose: `data` must be \(x, y\) or a loader of such pairs, got int"),
        ((nn.Linear(4, 2), [1, 2]), {}, r"diagnose: `data` must yield pairs \(x, y\) of tensors, got int"),
        ((nn.Linear(4, 2), []), {}, r"diagnose: `data` must yield a batch at least, got none"),
        ((nn.Linear(4, 2), (torch.ones(3, 4), torch.ones(2))), {}, r"as many labels as images, .* got 3 and 2"),
        ((nn.Linear(4, 2), (torch.ones(3, 5), torch.ones(3))), {}, r"diagnose: `model` must run on the images"),
        ((nn.Linear(4, 2), (torch.ones(3, 4), torch.ones(3))), {"seconds": 0}, r"`seconds` must be above 0, got 0"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        striate.diagnose(*arguments, **options)


def test_a_run_is_diagnosed_without_touching_it(learned_run):
    before = sorted((path, path.stat().st_mtime_ns) for path in learned_run.folder.rglob("*"))
    answer = striate.diagnose(learned_run)
    assert answer.is_healthy, str(answer)
    assert {"dead-relu", "overfitting", "train-validation-leak"} <= set(answer.checked)
    assert sorted((path, path.stat().st_mtime_ns) for path in learned_run.folder.rglob("*")) == before


def test_a_run_that_ended_too_early(digits_run):
    # Two epochs leave it at 70 % of its training images; the nearest images alone are right for 98 %.
    assert striate.diagnose(digits_run.folder).causes == ("underfitting",)


def test_the_history_of_a_run_shows_overfitting():
    falling = [2.0, 1.0, 0.5, 0.2, 0.05, 0.02]
    rising = [2.0, 1.1, 0.9, 1.1, 1.4, 1.6]
    rows = [{"epoch": n + 1, "train_loss": a, "val_loss": b, "train_accuracy": 1 - a / 4, "val_accuracy": 0.7}
            for n, (a, b) in enumerate(zip(falling, rising, strict=True))]  # fmt: skip
    (finding,) = of_history(rows)
    assert (finding.cause, finding.numbers["best_epoch"]) == ("overfitting", 3)
    assert of_history([row | {"val_loss": row["train_loss"] + 0.3} for row in rows]) == []
    assert of_history(rows[:3]) == []
