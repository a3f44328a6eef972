"""`Run`: the folder a training leaves behind, and all that can be asked of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from striate import data as data_room
from striate.data import Preprocessing, Splits
from striate.errors import ModelError, UsageError
from striate.files import read_json, read_tensors, write_json
from striate.train import metrics
from striate.train.engine import is_usable
from striate.train.machine import Configuration, is_present
from striate.train.metrics import Evaluation
from striate.train.network import ModelSpec, build_network
from striate.train.predict import Prediction, predict_images
from striate.train.recipe import Recipe

__all__ = ["Run", "RunConfig", "epoch_name", "new_run_folder"]

FORMAT = 1
MODELS = nn.Module | Callable[..., nn.Module] | str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The content of ``config.json``: everything that decided the run, as plain data."""

    model: ModelSpec
    data: dict[str, Any]
    """Arguments of `striate.data.load` that find the data again."""
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    machine: Configuration
    seed: int
    num_train: int
    """Samples of the training split, so that a resumed run notices other data."""
    num_params: int
    environment: dict[str, Any]
    """Processor and versions, for the reader of a figure; nothing is decided by it."""
    measured: dict[str, float] = field(default_factory=dict)
    """Images per second of the configurations that were tried before the choice in `machine`."""
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "format": FORMAT,
            "model": self.model.to_dict(),
            "data": self.data,
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing.to_dict(),
            "recipe": self.recipe.to_dict(),
            "machine": self.machine.to_dict(),
            "seed": self.seed,
            "num_train": self.num_train,
            "num_params": self.num_params,
            "environment": self.environment,
            "measured": self.measured,
            "command": self.command,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, path: Path) -> RunConfig:
        """Rebuild from ``config.json``.

        Raises:
            ModelError: another format, a missing key or a value that does not fit; the message names the file.
        """
        if not isinstance(values, Mapping) or values.get("format") != FORMAT:
            raise ModelError(
                f"Run: `{path}` must have format {FORMAT}, got {_get(values, 'format')!r}. "
                "Use the striate version that wrote it."
            )
        try:
            return cls(
                model=ModelSpec(**values["model"]),
                data=dict(values["data"]),
                class_names=tuple(str(name) for name in values["class_names"]),
                preprocessing=Preprocessing.from_dict(values["preprocessing"]),
                recipe=Recipe.from_dict(values["recipe"]),
                machine=Configuration.from_dict(values["machine"]),
                seed=int(values["seed"]),
                num_train=int(values["num_train"]),
                num_params=int(values["num_params"]),
                environment=dict(values.get("environment", {})),
                measured=dict(values.get("measured", {})),
                command=str(values.get("command", "")),
            )
        except KeyError as error:
            raise ModelError(f"Run: `{path}` lacks the key {error}. Restore the file from a copy.") from error
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ModelError(f"Run: `{path}` cannot be used ({error})") from error


class Run:
    """A finished or interrupted training: a folder with weights, configuration, metrics and report.

    Args:
        folder: What `striate train` printed, such as ``runs/mnist-lenet5``.
        model: Only for a network outside `striate.models`: the module, a callable that makes it, or
            ``package.module:callable``.
        config: Only for a run that is about to begin; None reads ``config.json``.

    Raises:
        ModelError: the folder is not a run, or its configuration cannot be used.

    Example:
        ``Run("runs/mnist-lenet5").predict("seven.png")[0].class_name``
    """

    def __init__(self, folder: str | Path, *, model: MODELS | None = None, config: RunConfig | None = None) -> None:
        self.folder = Path(folder)
        self._source = model
        self._network: nn.Module | None = None
        path = self.folder / "config.json"
        if config is None and not path.is_file():
            raise ModelError(_not_a_run(self.folder))
        self.config = config or RunConfig.from_dict(read_json(path), path=path)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.config.class_names

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary an epoch: losses, accuracies, learning rate, images per second."""
        return [event for event in self.events if event.get("event") == "epoch"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything in ``metrics.jsonl``; a last line cut off by a kill is left out."""
        from striate.train.journal import read_events

        return read_events(self.folder / "metrics.jsonl")

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation at the end of the training, on the test split (or the validation split without one)."""
        path = self.folder / "evaluation.json"
        return Evaluation.from_dict(read_json(path)) if path.is_file() else None

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """Epochs of which the weights were kept, 0 before the first; empty without `keep_epochs`."""
        names = (path.stem.removeprefix("epoch-") for path in (self.folder / "weights").glob("epoch-*.safetensors"))
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def model(self, *, weights: str | int = "best") -> nn.Module:
        """Build the network with its trained weights, in eval mode.

        Args:
            weights: ``best`` (by validation accuracy), ``last``, or an epoch of `kept_epochs`.

        Raises:
            ModelError: the weights file is missing or damaged, or was written for another network.
        """
        name = epoch_name(weights) if isinstance(weights, int) else weights
        path = self.folder / "weights" / f"{name}.safetensors"
        if not path.is_file():
            raise ModelError(
                f"Run: `{path}` is not there. The run may have stopped before its first epoch ended: "
                f"`striate resume {self.folder}`."
            )
        network = build_network(self.config.model, source=self._source)
        if network is self._source:  # a module of the user's own stays as it is
            network = copy.deepcopy(network)
        models_load(network, path)
        return network.eval()

    def predict(self, images: Any, *, top: int = 5) -> list[Prediction]:
        """Classify images: a path, a folder, an array, or a list of those.

        Args:
            images: Paths (files, folders, globs), or uint8 arrays (H, W), (H, W, C) or (C, H, W).
            top: Classes to return for each image, most probable first.
        """
        return list(predict_images(self, images, top=top))

    def evaluate(self, data: Any = None, *, split: str | None = None) -> Evaluation:
        """Measure the run on data: top-1 and top-5 accuracy, confusion, precision, recall, F1, calibration error.

        Args:
            data: Anything `striate.data.load` takes, with the run's class names; None for the run's own data.
            split: ``train``, ``val`` or ``test``; None takes test, else val, else everything there is.
        """
        from striate.train.evaluate import predict_logits

        dataset = self.load_data(data).pick(split)
        logits, targets = predict_logits(
            self.network,
            dataset,
            preprocessing=self.config.preprocessing,
            configuration=self.machine,
            tta=self.config.recipe.tta,
        )
        return metrics.measure(logits.softmax(dim=1).numpy(), targets.numpy(), class_names=self.class_names)

    @property
    def network(self) -> nn.Module:
        """The best weights' network, built once and kept."""
        if self._network is None:
            self._network = self.model().to(self.machine.device)
        return self._network

    @property
    def machine(self) -> Configuration:
        """How the network is run here: as in training, but in float32 on the processor where that device is missing.

        Where the engine cannot compute as it did, PyTorch takes its place: its outputs are the same to rounding.
        """
        trained_with = self.config.machine
        if not is_present(trained_with.device):
            return replace(trained_with, device="cpu", bf16=False)
        if trained_with.engine == "striate" and not is_usable("auto", device="cpu", bf16=trained_with.bf16):
            return replace(trained_with, engine="torch", bf16=False)
        return trained_with

    def load_data(self, data: Any = None) -> Splits:
        """Load the run's own data, or other data prepared as the run's was."""
        if data is None:
            if not self.config.data:
                raise UsageError(
                    f"Run: `{self.folder}` was trained on arrays, which are not stored. Give them again: "
                    "run.evaluate((images, labels))."
                )
            return data_room.load(**self.config.data)
        preprocessing = self.config.preprocessing
        is_images = self.config.model.image_size is not None
        return data_room.load(
            data,
            image_size=preprocessing.image_size,
            resize_size=preprocessing.resize_size,
            in_channels=preprocessing.channels if is_images else None,
            class_names=self.class_names,
        )

    def save_config(self) -> None:
        """Write ``config.json``."""
        write_json(self.folder / "config.json", self.config.to_dict())


def models_load(network: nn.Module, path: Path) -> None:
    """Load a run's own weights file; every key must match."""
    try:
        network.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise ModelError(
            f"Run: `{path}` holds weights of another network ({' '.join(lines)}). Check that config.json belongs to it."
        ) from error


def epoch_name(epoch: int) -> str:
    """Name the weights after so many epochs.

    Example:
        >>> epoch_name(3)
        'epoch-003'
    """
    return f"epoch-{epoch:03d}"


def new_run_folder(output: Path, name: str) -> Path:
    """Create ``output/name``, or ``output/name-2`` and so on where it exists: a run is never overwritten.

    Raises:
        ResourceError: the folder cannot be created.
    """
    from striate.files import create_folder

    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    number = 1
    while True:
        folder = output / (stem if number == 1 else f"{stem}-{number}")
        if create_folder(folder):
            for part in ("weights", "checkpoints"):
                create_folder(folder / part)
            return folder
        number += 1


def _get(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, Mapping) else type(values).__name__


def _not_a_run(folder: Path) -> str:
    """Say what is wrong with a folder that is no run, and which runs there are near it."""
    if not folder.exists():
        what = f"Run: `{folder}` does not exist."
    elif folder.is_file():
        what = f"Run: `{folder}` is a file; a run is the folder that holds it."
    else:
        what = f"Run: `{folder}` is not a run folder: it holds no config.json."
    near = [path.parent for path in _configs(folder, folder.parent, Path("runs"))]
    return what + (
        f" Runs nearby: {', '.join(str(path) for path in near[:5])}." if near else " `striate train` makes one."
    )


def _configs(*folders: Path) -> Iterable[Path]:
    found = dict.fromkeys(
        path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*/config.json"))
    )
    return list(found)
