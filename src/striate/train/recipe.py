"""What a training run is made of: every number of it, under the names that timm users type from memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from striate.data.augment import Augmentation
from striate.errors import UsageError, nearest

__all__ = ["Recipe"]

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "cosine", "one-cycle", "plateau", "step", "triangle")
CLASS_WEIGHTS = ("balanced",)
TEST_TIME_AUGMENTATIONS = ("flip", "flip-shift")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train: optimizer, schedule, regularisation and augmentation, as plain numbers.

    A recipe is data. `striate.train.RECIPES` holds the named ones, `with_overrides` changes single values, and the
    run's ``config.json`` keeps the whole of it. ``None`` means off.

    Raises:
        UsageError: a value is outside its range; the message names the key and the rule.

    Example:
        >>> Recipe(epochs=3).with_overrides({"lr": "0.05"}).lr
        0.05
    """

    name: str = "custom"
    epochs: int = 20
    """Passes over the training split."""
    batch_size: int = 128
    """Images per optimizer step, over all processes together."""
    opt: str = "sgd"
    """Optimizer: sgd, adam, adamw or muon."""
    lr: float = 0.1
    """Highest learning rate of the schedule."""
    rest_lr: float | None = None
    """muon: highest learning rate of what is not a hidden weight matrix and takes SGD; None: `lr`."""
    normalize_weights: bool = False
    """muon: bring each hidden weight matrix back to the length sqrt(rows) at every step, in place of decay."""
    momentum: float = 0.9
    """Momentum of SGD and Muon; beta1 of Adam and AdamW."""
    rest_momentum: float | None = None
    """muon: momentum of what takes SGD; None: `momentum`."""
    nesterov: bool = True
    """Nesterov's form of the momentum (SGD, Muon)."""
    weight_decay: float = 5e-4
    """L2 decay: added to the gradient for sgd and adam, decoupled for adamw and muon."""
    decay_all: bool = False
    """Decay biases and normalisation weights too, as papers before 2018 do."""
    l1: float = 0.0
    """L1 decay: this times sign(w) is added to each decayed weight's gradient."""
    bias_lr_scale: float = 1.0
    """Factor on the learning rate of biases and normalisation scales."""
    clip_grad: float | None = None
    """Largest L2 norm of the whole gradient."""
    grad_noise: float = 0.0
    """Standard deviation at step 0 of Gaussian noise on the gradients; decays as (1 + step)^-0.275."""
    sched: str = "one-cycle"
    """Schedule: constant, step, plateau, cosine, one-cycle (linear up, cosine down) or triangle (linear both ways)."""
    warmup_epochs: float | None = None
    """Epochs of linear rise to `lr`, fractions allowed; None: a quarter of the run (one-cycle, triangle) or 0."""
    start_lr_fraction: float = 0.04
    """Learning rate of the first step, as a fraction of `lr` (schedules with a warm-up)."""
    end_lr_fraction: float = 0.0
    """Learning rate of the last step, as a fraction of `lr` (cosine, one-cycle, triangle)."""
    decay_epochs: int = 30
    """step: epochs between two drops; plateau: epochs without a better validation accuracy before a drop."""
    decay_rate: float = 0.1
    """step and plateau: factor of one drop."""
    smoothing: float = 0.0
    """Label smoothing: this share of the target is spread evenly over all classes."""
    class_weights: str | None = None
    """`balanced` weighs each class by the inverse of its frequency."""
    model_ema: float | None = None
    """Decay per step of an exponential moving average of the weights, which is what is evaluated and saved."""
    patience: int | None = None
    """Stop after this many epochs without a better validation accuracy."""
    dropout: float | None = None
    """Probability for every dropout layer of the network; None leaves the network's own."""
    init: str = "default"
    """Initialisation by name, see `striate.models.initialize`."""
    val_fraction: float = 0.1
    """Share of the training images held out for validation where the data has no validation split; 0 for none."""
    tta: str | None = None
    """Test-time augmentation: `flip` averages over the mirror image, `flip-shift` over shifts by one pixel too."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random changes of the training images."""

    def __post_init__(self) -> None:
        for key, rule, holds in _RULES:
            value = getattr(self, key)
            if value is not None and not (_is_finite(value) and holds(value)):
                raise UsageError(f"recipe: `{key}` must be {rule}, got {value!r}. See `striate train --help`.")
        for key, words in _WORDS.items():
            value = getattr(self, key)
            if value is not None and value not in words:
                raise UsageError(
                    f"recipe: `{key}` must be one of {', '.join(words)}, got {value!r}.{nearest(str(value), words)}"
                )

    def with_overrides(self, overrides: Mapping[str, Any]) -> Recipe:
        """Return a copy in which some values are replaced, each given as its type or as text.

        Args:
            overrides: Key to value; keys of `Augmentation` are found as well, hyphens and underscores are equal.

        Raises:
            UsageError: an unknown key (the nearest ones are named) or a value of the wrong type or range.
        """
        own, augmentation = dict[str, Any](), dict[str, Any]()
        for typed_key, value in overrides.items():
            key = typed_key.replace("-", "_")
            if key in _RECIPE_TYPES and key not in ("augmentation", "name"):
                own[key] = _parse(key, value, _RECIPE_TYPES[key])
            elif key in _AUGMENTATION_TYPES:
                augmentation[key] = _parse(key, value, _AUGMENTATION_TYPES[key])
            else:
                known = sorted((set(_RECIPE_TYPES) | set(_AUGMENTATION_TYPES)) - {"augmentation", "name"})
                raise UsageError(
                    f"recipe: `{typed_key}` is not a key.{nearest(key, known)} The keys are {', '.join(known)}."
                )
        if augmentation:
            own["augmentation"] = dataclasses.replace(self.augmentation, **augmentation)
        return dataclasses.replace(self, **own) if own else self

    def summary(self) -> str:
        """Return the recipe in one line.

        Example:
            >>> Recipe(epochs=3, lr=0.05).summary()
            'sgd, lr 0.05, one-cycle, 3 epochs, batch 128, weight decay 0.0005; augmentation none'
        """
        extras = [
            f"{words} {getattr(self, key)}"
            for key, words in (("smoothing", "smoothing"), ("model_ema", "average"), ("tta", "at test"))
            if getattr(self, key)
        ]
        words = [self.opt, f"lr {self.lr:g}", self.sched, f"{self.epochs} epochs", f"batch {self.batch_size}"]
        words += [f"weight decay {self.weight_decay:g}", *extras]
        return f"{', '.join(words)}; augmentation {self.augmentation.describe()}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with the augmentation as a nested object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Rebuild a recipe from `to_dict`; an unknown key is an error, never ignored."""
        flat = {key: value for key, value in values.items() if key not in ("augmentation", "name")}
        nested = values.get("augmentation", {})
        if not isinstance(nested, Mapping):
            raise UsageError(f"recipe: `augmentation` must be an object, got {nested!r}. Compare another config.json.")
        return cls(name=str(values.get("name", "custom"))).with_overrides({**flat, **nested})


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _parse(key: str, value: Any, kind: Any) -> Any:
    """Turn text or a JSON value into the type that the dataclass states for `key`."""
    text = value.strip() if isinstance(value, str) else value
    optional = "None" in str(kind)
    if optional and (text is None or text in ("none", "null", "off", "")):
        return None
    try:
        return _convert(text, str(kind).replace(" | None", ""))
    except (ValueError, TypeError, OverflowError) as error:
        wanted = str(kind).removeprefix("<class '").removesuffix("'>")
        raise UsageError(f"recipe: `{key}` must be of type {wanted}, got {value!r}. Write `{key}=VALUE`.") from error


def _convert(value: Any, kind: str) -> Any:
    if "tuple" in kind:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(float(part) for part in parts)
    if "bool" in kind and "str" not in kind:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise ValueError(value)
        return words[str(value).lower()]
    if "int" in kind:
        if isinstance(value, bool) or float(value) != int(float(value)):
            raise ValueError(value)
        return int(float(value))
    if "float" in kind:
        if isinstance(value, bool):
            raise TypeError(value)
        return float(value)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


_RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("epochs", "at least 1", lambda v: v >= 1),
    ("batch_size", "at least 1", lambda v: v >= 1),
    ("lr", "a finite number above 0", lambda v: v > 0),
    ("rest_lr", "above 0", lambda v: v > 0),
    ("momentum", "from 0 up to, not including, 1", lambda v: 0 <= v < 1),
    ("weight_decay", "0 or more", lambda v: v >= 0),
    ("rest_momentum", "from 0 up to, not including, 1", lambda v: 0 <= v < 1),
    ("l1", "0 or more", lambda v: v >= 0),
    ("bias_lr_scale", "above 0", lambda v: v > 0),
    ("clip_grad", "above 0", lambda v: v > 0),
    ("grad_noise", "0 or more", lambda v: v >= 0),
    ("warmup_epochs", "0 or more", lambda v: v >= 0),
    ("start_lr_fraction", "from 0 to 1", lambda v: 0 <= v <= 1),
    ("end_lr_fraction", "from 0 to 1", lambda v: 0 <= v <= 1),
    ("decay_epochs", "at least 1", lambda v: v >= 1),
    ("decay_rate", "above 0 and below 1", lambda v: 0 < v < 1),
    ("smoothing", "from 0 up to, not including, 1", lambda v: 0 <= v < 1),
    ("model_ema", "above 0 and below 1", lambda v: 0 < v < 1),
    ("patience", "at least 1", lambda v: v >= 1),
    ("dropout", "from 0 up to, not including, 1", lambda v: 0 <= v < 1),
    ("val_fraction", "from 0 up to, not including, 1", lambda v: 0 <= v < 1),
)
_WORDS: dict[str, tuple[str, ...]] = {
    "opt": OPTIMIZERS,
    "sched": SCHEDULES,
    "class_weights": CLASS_WEIGHTS,
    "tta": TEST_TIME_AUGMENTATIONS,
}
_RECIPE_TYPES: dict[str, Any] = get_type_hints(Recipe)
_AUGMENTATION_TYPES: dict[str, Any] = get_type_hints(Augmentation)
