"""The named recipes and the choice among them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from striate.errors import UsageError
from striate.train.recipes import RECIPES, check_overrides, choose_recipe, get_recipe


def test_each_recipe_bears_its_own_name():
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError, match="item assignment"):
        RECIPES["small"] = RECIPES["cifar"]


def test_the_recipe_of_2015_is_as_published():
    # He et al. 2016, arXiv:1512.03385, section 3.4: SGD, batch 256, rate 0.1 divided by 10 on plateaus, decay 1e-4,
    # momentum 0.9, no dropout.
    recipe = get_recipe("resnet-2015")
    values = (recipe.opt, recipe.batch_size, recipe.lr, recipe.weight_decay, recipe.momentum, recipe.dropout)
    assert values == ("sgd", 256, 0.1, 1e-4, 0.9, 0.0)
    assert (recipe.sched, recipe.decay_rate, recipe.nesterov) == ("plateau", 0.1, False)


def test_an_unknown_name():
    with pytest.raises(UsageError, match=r"`recipe` 'cifer' is not known\. Did you mean `cifar`\? There are cifar, "):
        get_recipe("cifer")


def test_values_are_checked_beside_those_of_the_named_recipe():
    # cifar-fast has an early_size, the default recipe has none: the one stands only beside the other.
    assert check_overrides({"early_epochs": 5}, base=RECIPES["cifar-fast"]).augmentation.early_epochs == 5
    with pytest.raises(UsageError, match="must be given together, got 5 and 0"):
        check_overrides({"early_epochs": 5}, base=RECIPES["cifar"])


def test_without_a_name_values_are_refused_when_no_recipe_takes_them():
    assert check_overrides({"early_epochs": 5}, base=None).augmentation.early_epochs == 5
    assert check_overrides({"epochs": "7"}, base=None).epochs == 7
    with pytest.raises(UsageError, match="`epochs` must be at least 1, got 0"):
        check_overrides({"epochs": 0}, base=None)


def _splits(name, *, size, kind="images"):
    return SimpleNamespace(name=name, kind=kind, image_size=size)


@pytest.mark.parametrize(
    ("model", "data", "size", "expected"),
    [
        ("lenet5", "mnist", 28, "lenet5-mnist"),
        ("mlp_mnist", "mnist", 28, "mlp-mnist"),
        ("resnet20", "mnist", 28, "small"),
        ("cnn_cifar", "digits", 8, "small"),
        ("resnet18", "glyphs", 12, "small"),
        ("resnet20", "cifar10", 32, "cifar"),
        ("resnet18", "photos", None, "photographs"),
        ("resnet18", "photos", 128, "photographs"),
    ],
)
def test_choice(model, data, size, expected):
    assert choose_recipe(model, _splits(data, size=size)).name == expected


def test_networks_without_normalisation_learn_at_lower_rates():
    plain = choose_recipe("mine", _splits("photos", size=32), has_normalization=False)
    assert (plain.name, plain.clip_grad) == ("cifar-plain", 1.0)
    assert plain.lr < RECIPES["cifar"].lr
    assert choose_recipe("mine", _splits("photos", size=128), has_normalization=False).name == "photographs-plain"


def test_choice_for_vectors():
    assert choose_recipe("mlp_iris", _splits("iris", size=None, kind="vectors")).name == "vectors"


def test_characters_are_never_mirrored():
    for data in ("digits", "mnist", "fashion-mnist"):
        for model in ("lenet5", "mlp_mnist", "resnet20"):
            recipe = choose_recipe(model, _splits(data, size=28))
            assert recipe.augmentation.horizontal_flip is None
