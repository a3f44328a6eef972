"""`striate.watch` around a loop of one's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import striate
from striate.errors import UsageError


def loop(
    net, data, held, *, clear=True, late=False, step=True, evaluate=True, softmax=False, rate=0.05, epochs=3, parts=1
):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()
    with striate.watch(net, optimizer) as looking:
        for _ in range(epochs):
            net.train()
            for number, rows in enumerate(torch.arange(600).split(30)):
                outputs = net(data[0][rows])
                loss = loss_fn(outputs.softmax(1) if softmax else outputs, data[1][rows])
                if clear and number % parts == 0:
                    optimizer.zero_grad()
                loss.backward()
                if late:
                    optimizer.zero_grad()
                if step and (number + 1) % parts == 0:
                    optimizer.step()
            net.train(not evaluate)
            with torch.no_grad():
                functional.cross_entropy(net(held[0]), held[1])
    return looking


def test_a_healthy_loop_gets_silence_and_the_overhead(net, data, held):
    looking = loop(net, data, held)
    report = looking.report()
    assert report.is_healthy, str(report)
    assert report.notes[0].startswith("watched 60 steps; overhead ")
    assert "zero_grad" not in vars(looking.optimizer)
    assert functional.cross_entropy.__module__ == "torch.nn.functional"
    assert not hasattr(functional.cross_entropy, "__wrapped__")


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"clear": False}, "missing-zero-grad"),
        ({"late": True}, "gradient-not-reaching"),
        ({"step": False}, "gradient-not-reaching"),
        ({"evaluate": False}, "eval-in-train-mode"),
        ({"softmax": True}, "softmax-before-loss"),
        ({"rate": 50.0}, "learning-rate-too-high"),
    ],
)
def test_faults_of_loops(net, data, held, options, cause):
    assert loop(net, data, held, **options).report().causes == (cause,)


def test_gradients_added_up_on_purpose_are_healthy(net, data, held):
    assert loop(net, data, held, parts=4, rate=0.01).report().is_healthy


def test_the_loop_trains_as_it_does_unwatched(net, data):
    def trained(watched):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
        optimizer = torch.optim.Adam(model.parameters())
        with striate.watch(model, optimizer) if watched else torch.enable_grad():
            for rows in torch.arange(600).split(30):
                optimizer.zero_grad()
                functional.cross_entropy(model(data[0][rows]), data[1][rows]).backward()
                optimizer.step()
        return [*model.parameters()]

    assert all(map(torch.equal, trained(watched=True), trained(watched=False)))


def test_training_in_evaluation_mode(data):
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with striate.watch(net, optimizer) as looking:
        for rows in torch.arange(600).split(30):
            optimizer.zero_grad()
            functional.cross_entropy(net(data[0][rows]), data[1][rows]).backward()
            optimizer.step()
    assert looking.report().causes == ("batch-norm-misuse",)


def test_a_loss_of_ones_own_limits_what_is_checked(net, data):
    optimizer = torch.optim.Adam(net.parameters())
    with striate.watch(net, optimizer) as looking:
        for rows in torch.arange(600).split(60):
            optimizer.zero_grad()
            (-net(data[0][rows]).log_softmax(1).gather(1, data[1][rows, None]).mean()).backward()
            optimizer.step()
    report = looking.report()
    assert report.is_healthy
    assert report.not_checked["softmax-before-loss"].startswith("no loss of torch.nn.functional was called")


def test_errors(net):
    with pytest.raises(UsageError, match=r"watch: `model` must be an nn.Module, got int"):
        striate.watch(3, None)
    with pytest.raises(UsageError, match=r"watch: `optimizer` must be a torch.optim.Optimizer, got str"):
        striate.watch(net, "adam")
