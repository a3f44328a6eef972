"""Activations: by themselves, or as the last step of what is computed before them."""

from __future__ import annotations

from dataclasses import dataclass

from striate.engine._builder import Builder, Value
from striate.engine._codes import IDENTITY, PLAIN, Code
from striate.engine._instructions import Encoded
from striate.engine._lanes import Extent, Lanes, Shared

__all__ = ["Epilogue", "activate", "before_activation", "multiply_by_slope", "output_of"]


@dataclass(frozen=True)
class Epilogue:
    """What happens to sums before they are stored."""

    code: Code = PLAIN
    pools: bool = False
    """2 x 2 max pooling with stride 2."""
    coefficients: Shared | None = None
    """Of a batch norm with fixed statistics that comes first, folded into weights and bias."""
    added: Lanes | None = None
    """What is added before the activation."""

    @property
    def kind(self) -> int:
        """The number of the activation."""
        return self.code.kind

    @property
    def numbers(self) -> tuple[float, float]:
        """The numbers of the activation, as a slope or a limit."""
        return self.code.numbers


def output_of(b: Builder, extent: Extent, epilogue: Epilogue) -> Lanes:
    """Return a layer's new output."""
    y = b.lanes(extent)
    if epilogue.added is not None:
        y.borders = epilogue.added.borders  # the same places in both
    return y


def activate(b: Builder, x: Value, code: Code) -> Value:
    """Emit an activation of its own."""
    extent = x.lanes.extent
    y = b.lanes(extent)
    b.emit("activate", (x.lanes, y), lambda: Encoded([*b.pointwise_ints(extent, x.lanes, y), code.kind], code.numbers))

    def backward() -> None:
        dy = b.gradient(y)
        if dy is not None:
            dx, accumulate = b.add_to_gradient(x.lanes)
            multiply_by_slope(b, dy, x.lanes if code.needs_input else y, dx, code, accumulate=accumulate)

    if x.needs_gradient:
        b.on_backward(backward)
    return Value(y, x.shape, x.needs_gradient)


def before_activation(b: Builder, y: Lanes, epilogue: Epilogue, argmax: Lanes | None, extent: Extent) -> Lanes | None:
    """Emit the way back from the gradient of an output to that of the sums before the epilogue.

    Args:
        b: The builder.
        y: The output.
        epilogue: What happened to the sums.
        argmax: Which sum of each window was the largest, where it pools.
        extent: Of the sums.

    Returns:
        The gradient of the sums; None where no gradient reached the output.
    """
    dy = b.gradient(y)
    if dy is None:
        return None
    if epilogue.pools:
        sums = b.lanes(extent, name=f"d {y.name} before pooling")
        plane = 0 if argmax is None else argmax.plane * b.machine.width
        b.emit("unpool", (dy, argmax, sums), lambda: Encoded([*b.pointwise_ints(y.extent, dy, sums), plane]))
        return sums
    if epilogue.kind != IDENTITY:
        # Nobody else reads this gradient: it becomes that of the sums in its place.
        multiply_by_slope(b, dy, y, dy, epilogue.code, accumulate=False)
    return dy


def multiply_by_slope(b: Builder, dy: Lanes, v: Lanes, dx: Lanes, code: Code, *, accumulate: bool) -> None:
    """Emit dx = dy times the slope at v, the output or the input of the activation."""
    b.emit(
        "slope",
        (dy, v, dx),
        lambda: Encoded([*b.pointwise_ints(dy.extent, dy, v, dx), code.kind, accumulate], code.numbers),
    )
