"""What `benchmarks.engine` measures and what is to be reached, as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GOALS", "ROWS", "SCALINGS", "Goal", "Point", "Row", "Scaling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A network and a batch size, and how many times as fast as each peer striate is to be."""

    name: str
    model: str
    """Name in `benchmarks._networks`."""
    batch_size: int
    reaches: tuple[tuple[str, float | None], ...]
    """Peers of `benchmarks._engine_peers` with the ratio to reach; None: shown beside, nothing to reach."""
    kind: str = "step"
    """What striate's side does: ``step`` (`TrainingStep`), ``auto`` (what ``striate train --engine auto`` takes), or
    ``inference``."""
    tolerance: float = 0.0
    """Share by which the ratio may fall short: where both sides may run the very same code, noise decides."""
    trial_batch_size: int | None = None
    """Images in the steps with which tuned PyTorch chooses its setting, where the batch would take minutes."""

    @property
    def trains(self) -> bool:
        """Whether it is a training step."""
        return self.kind != "inference"


def _training(
    model: str, batch_size: int, *, stock: float | None, tuned: float, bf16: float | None = None, keras: bool = False
) -> Row:
    reaches: list[tuple[str, float | None]] = [("stock", stock), ("tuned", tuned)]
    reaches += [] if bf16 is None else [("tuned-bf16", bf16)]
    reaches += [("keras", None)] if keras else []
    name = f"{model.removesuffix('_cifar').removesuffix('_mnist').replace('_', '-')}-{batch_size}"
    return Row(name=name, model=model, batch_size=batch_size, reaches=tuple(reaches))


def _inference(model: str, batch_size: int) -> Row:
    name = f"{model.removesuffix('_cifar')}-inference-{batch_size}"
    return Row(
        name=name, model=model, batch_size=batch_size, reaches=(("onnxruntime", 2.0), ("torch", None)), kind="inference"
    )


ROWS = (
    _training("lenet5", 64, stock=5, tuned=4, keras=True),
    _training("lenet5", 128, stock=5, tuned=4, keras=True),
    _training("lenet5", 512, stock=5, tuned=4, keras=True),
    _training("cnn_cifar", 64, stock=4, tuned=2, bf16=2, keras=True),
    _training("cnn_cifar", 128, stock=4, tuned=2, bf16=2, keras=True),
    _training("cnn_cifar", 512, stock=6, tuned=2, bf16=2, keras=True),
    _training("mlp_mnist", 128, stock=3, tuned=2, keras=True),
    _training("resnet20", 128, stock=3, tuned=1.3),
    _training("mobilenet_v2_cifar", 128, stock=2, tuned=1.3),
    Row(name="resnet18-128", model="resnet18_cifar", batch_size=128, kind="auto", tolerance=0.03, trial_batch_size=32,
        reaches=(("stock", None), ("tuned", 1.0), ("tuned-bf16", 1.0))),
    _inference("lenet5", 1),
    _inference("lenet5", 512),
    _inference("cnn_cifar", 1),
    _inference("cnn_cifar", 512),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One measurement of a plot."""

    at: float
    """Position on the axis."""
    batch_size: int = 128
    width: float = 1.0
    image_size: int | None = None
    """None: the network's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """One property that is varied while the others stay."""

    name: str
    title: str
    axis: str
    model: str
    points: tuple[Point, ...]


BATCH_SIZES = tuple(Point(at=size, batch_size=size) for size in (16, 32, 64, 128, 256, 512, 1024))
SCALINGS = (
    Scaling(name="batch-lenet5", title="LeNet-5", axis="images in a batch", model="lenet5", points=BATCH_SIZES),
    Scaling(name="batch", title="CNN 545,098", axis="images in a batch", model="cnn_cifar", points=BATCH_SIZES),
    Scaling(name="width", title="CNN, batch 128", axis="factor on channels and hidden units", model="cnn_cifar",
            points=tuple(Point(at=width, width=width) for width in (0.5, 1.0, 2.0))),
    Scaling(name="image-size", title="CNN, batch 128", axis="side of the images in pixels", model="cnn_cifar",
            points=tuple(Point(at=side, image_size=side) for side in (16, 32, 64))),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A test accuracy of LeNet-5 on MNIST, to be reached by a whole process within a time."""

    name: str
    accuracy: float
    seconds: float
    flags: str
    """Of ``striate train mnist --model lenet5``; the recipe that is measured."""


GOALS = (
    Goal(name="fast", accuracy=0.99, seconds=5, flags="--recipe mnist-fast"),
    Goal(name="accurate", accuracy=0.9945, seconds=60, flags="--recipe lenet5-mnist"),
)
