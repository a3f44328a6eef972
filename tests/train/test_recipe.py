"""`Recipe`: values from text, ranges, unknown keys, and the way to JSON and back."""

from __future__ import annotations

import json
import math

import pytest

from striate.data.augment import Augmentation
from striate.errors import UsageError
from striate.train.recipe import Recipe


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "3", 3),
        ("epochs", "3.0", 3),
        ("lr", "5e-2", 0.05),
        ("lr", " 1 ", 1.0),
        ("nesterov", "No", False),
        ("decay_all", "1", True),
        ("clip_grad", "1.5", 1.5),
        ("clip_grad", "off", None),
        ("clip_grad", "", None),
        ("patience", "none", None),
        ("class_weights", "balanced", "balanced"),
        ("tta", "null", None),
        ("warmup-epochs", "0.5", 0.5),
    ],
)
def test_values_from_text(key, text, value):
    parsed = getattr(Recipe(clip_grad=3.0, patience=2, tta="flip").with_overrides({key: text}), key.replace("-", "_"))
    assert parsed == value
    assert type(parsed) is type(value)


def test_keys_of_the_augmentation_are_found():
    recipe = Recipe().with_overrides({"cutout": "8", "color-jitter": "0.1,0.2, 0.3", "horizontal_flip": "random"})
    assert recipe.augmentation == Augmentation(cutout=8, color_jitter=(0.1, 0.2, 0.3), horizontal_flip="random")
    assert recipe.with_overrides({"mixup": 0.2}).augmentation.cutout == 8


def test_overrides_leave_the_original_alone():
    recipe = Recipe(lr=0.3)
    assert recipe.with_overrides({"lr": 0.1}).lr == 0.1
    assert recipe.lr == 0.3
    assert recipe.with_overrides({}) is recipe


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", "2.5", r"`epochs` must be of type int, got '2.5'. Write `epochs=VALUE`"),
        ("epochs", True, "`epochs` must be of type int, got True"),
        ("epochs", "inf", "`epochs` must be of type int, got 'inf'"),
        ("epochs", "1e999", "`epochs` must be of type int"),
        ("epochs", "nan", "`epochs` must be of type int"),
        ("epochs", None, "`epochs` must be of type int, got None"),
        ("lr", "fast", "`lr` must be of type float, got 'fast'"),
        ("lr", False, "`lr` must be of type float"),
        ("nesterov", "maybe", "`nesterov` must be of type bool, got 'maybe'"),
        ("opt", 3, "`opt` must be of type str, got 3"),
        ("color_jitter", "0.1,x,0.2", "`color_jitter` must be of type tuple"),
        ("color_jitter", 0.5, "`color_jitter` must be of type tuple"),
    ],
)
def test_wrong_types(key, value, message):
    with pytest.raises(UsageError, match=message):
        Recipe().with_overrides({key: value})


@pytest.mark.parametrize(
    ("key", "values", "rule"),
    [
        ("epochs", ("0", "-1"), "at least 1"),
        ("batch_size", ("0",), "at least 1"),
        ("lr", ("nan", "inf", "-inf", "0", "-0.1"), "a finite number above 0"),
        ("momentum", ("1", "-0.1", "nan"), "from 0 up to, not including, 1"),
        ("weight_decay", ("-1e-4", "inf"), "0 or more"),
        ("l1", ("-1",), "0 or more"),
        ("bias_lr_scale", ("0",), "above 0"),
        ("clip_grad", ("0",), "above 0"),
        ("grad_noise", ("-1",), "0 or more"),
        ("warmup_epochs", ("-1",), "0 or more"),
        ("start_lr_fraction", ("-0.1", "1.1"), "from 0 to 1"),
        ("end_lr_fraction", ("1.5",), "from 0 to 1"),
        ("decay_epochs", ("0",), "at least 1"),
        ("decay_rate", ("0", "1"), "above 0 and below 1"),
        ("smoothing", ("1",), "from 0 up to, not including, 1"),
        ("model_ema", ("0", "1"), "above 0 and below 1"),
        ("patience", ("0",), "at least 1"),
        ("dropout", ("1", "-0.5"), "from 0 up to, not including, 1"),
        ("val_fraction", ("1", "-0.1"), "from 0 up to, not including, 1"),
    ],
)
def test_ranges(key, values, rule):
    for value in values:
        with pytest.raises(UsageError, match=f"recipe: `{key}` must be {rule}, got .*striate train --help"):
            Recipe().with_overrides({key: value})


@pytest.mark.parametrize(
    ("key", "word", "message"),
    [
        ("opt", "sdg", "must be one of sgd, adam, adamw, muon, got 'sdg'. Did you mean `sgd`"),
        ("sched", "cosin", "Did you mean `cosine`"),
        ("class_weights", "equal", "must be one of balanced"),
        ("tta", "flips", "Did you mean `flip`"),
    ],
)
def test_words(key, word, message):
    with pytest.raises(UsageError, match=message):
        Recipe().with_overrides({key: word})


@pytest.mark.parametrize(
    ("key", "near"),
    [("weigth_decay", "weight_decay"), ("learning-rate", None), ("cut_out", "cutout"), ("augmentation", None)],
)
def test_unknown_keys_name_the_nearest_and_all(key, near):
    hint = rf" Did you mean `{near}`" if near else ""
    with pytest.raises(UsageError, match=rf"recipe: `{key}` is not a key\.{hint}.*The keys are batch_size, .*mixup"):
        Recipe().with_overrides({key: "1"})


def test_there_and_back_through_json():
    recipe = Recipe(
        name="mine",
        patience=3,
        model_ema=0.99,
        augmentation=Augmentation(resized_crop_scale=(0.4, 1.0), horizontal_flip="alternating"),
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_from_dict_refuses_what_it_does_not_know():
    with pytest.raises(UsageError, match=r"`lrr` is not a key\. Did you mean `lr`"):
        Recipe.from_dict({"lrr": 0.1})
    with pytest.raises(UsageError, match="`augmentation` must be an object, got 3"):
        Recipe.from_dict({"augmentation": 3})


def test_every_number_has_a_rule():
    # A new number without a range would let NaN through.
    from striate.train.recipe import _RULES

    ruled = {key for key, _, _ in _RULES}
    numbers = {key for key, value in Recipe().to_dict().items() if type(value) in (int, float)}
    assert numbers <= ruled
    assert all(math.isfinite(getattr(Recipe(), key)) for key in numbers)


def test_summary_fits_a_line():
    assert len(Recipe().summary()) <= 120
