import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.see.class_maps import grad_cam
from striate.see.mistaking import mistakes


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()


def _data():
    x = (
        torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        * torch.linspace(0.2, 3, 60)[:, None, None, None]
    )
    with torch.no_grad():
        answers = _network()(x).argmax(1)
    return x, answers


def test_the_images_of_a_cell_come_with_the_surest_first():
    net = _network()
    x, answers = _data()
    predicted = int(answers.mode().values)
    true = (predicted + 1) % 3
    targets = answers.clone()
    wrong = (answers == predicted).nonzero().flatten()[:5]
    targets[wrong] = true
    found = mistakes(net, x, targets, true=true, predicted=predicted)
    assert sorted(found.indices.tolist()) == sorted(wrong.tolist())
    assert (np.diff(found.probabilities[:, 1]) <= 0).all()
    with torch.no_grad():
        expected = net(x[found.indices]).softmax(1)[:, [true, predicted]].numpy()
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(found.for_true.values, grad_cam(net, x[found.indices], of=true).values, atol=1e-6)


def test_the_channels_add_up_to_the_difference_of_the_logits():
    # Behind the maps there are a mean and a dense layer only, so gradient times activation is the whole difference.
    net = _network()
    x, answers = _data()
    predicted = int(answers.mode().values)
    true = (predicted + 1) % 3
    targets = torch.where(answers == predicted, true, answers)
    found = mistakes(net, x, targets, true=true, predicted=predicted, count=8)
    with torch.no_grad():
        logits = net(x[found.indices]) - net[4].bias
    assert found.shares.sum() == pytest.approx(float((logits[:, predicted] - logits[:, true]).mean()), rel=1e-4)
    assert sorted(found.channels.tolist()) == list(range(6))
    assert found.layer == "1"
    assert len(found.figure(count=2).axes) == 6


def test_an_empty_cell_names_the_fullest():
    x, answers = _data()
    predicted = int(answers.mode().values)
    true, other = (predicted + 1) % 3, (predicted + 2) % 3
    targets = torch.where(answers == predicted, true, answers)
    with pytest.raises(UsageError, match=f"The fullest are {true} taken for {predicted}"):
        mistakes(_network(), x, targets, true=other, predicted=true)
    with pytest.raises(UsageError, match=f"The fullest are {'abc'[true]} taken for {'abc'[predicted]}"):
        mistakes(_network(), x, targets, true=other, predicted=true, class_names="abc")
    with pytest.raises(UsageError, match="makes no mistake"):
        mistakes(_network(), x, answers, true=true, predicted=predicted)
    with pytest.raises(UsageError, match="and `true` not `predicted`"):
        mistakes(_network(), x, targets, true=1, predicted=1)
