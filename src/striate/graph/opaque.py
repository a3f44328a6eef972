"""What stands in a graph besides the operations of the field: inputs, constants, and calls that striate does not know.

They stand in the place of an `Op`, so that every node has one. What they cannot say they refuse to say: an opaque node
has no cost of zero, it has no known cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from striate.errors import UsageError
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Working, number

__all__ = ["Constant", "Input", "Opaque"]


@dataclass(frozen=True)
class Input(Op):
    """A tensor of the example that was given to the network; its values come with each run."""

    name: ClassVar[str] = "input"
    equation: ClassVar[str] = "the example"

    shape: Shape

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the example."""
        return self.shape

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Refuse: an input is given, not computed."""
        raise UsageError("input: `forward` must not be called on an input. Give its values yourself.")

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Return nothing: there is nothing before an input."""
        return Gradients(())

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Refuse: an input is given, not computed."""
        raise UsageError("input: `working` must be asked of a computed node; an input has none. Ask a later node.")


@dataclass(frozen=True)
class Constant(Op):
    """A tensor used as an operand that does not depend on the input: its one parameter, ``value``.

    A parameter or a buffer that is added or multiplied directly, or a tensor made inside the network.
    """

    name: ClassVar[str] = "constant"
    equation: ClassVar[str] = "y = value"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the value."""
        return parameters["value"]

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Return the value."""
        return parameters["value"]

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Hand the gradient to the value."""
        return Gradients((), {"value": grad_output})

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """State the number."""
        value = float(parameters["value"][position])
        return Working(f"constant at {list(position)}", self.equation, (Line(f"y = {number(value)}"),), value)


@dataclass(frozen=True)
class Opaque(Op):
    """A call that striate has no operation for: its name and its arguments that are not tensors.

    A reader of a graph checks for it with ``isinstance(node.op, Opaque)`` and says what it cannot say because of it.
    """

    name: ClassVar[str] = "opaque"
    equation: ClassVar[str] = "unknown"

    call: str
    """The name in PyTorch."""
    arguments: tuple[tuple[str, Any], ...] = ()
    """Position (as text) or keyword, and value."""
    output: int | None = None
    """Which of several outputs of the call this is; None: it has one."""

    @property
    def text(self) -> str:
        """The call as one would write it, without its tensors.

        Example:
            >>> Opaque("roll", (("1", 2), ("dims", 3))).text
            'roll(2, dims=3)'
        """
        words = [repr(value) if key.isdigit() else f"{key}={value!r}" for key, value in self.arguments]
        return f"{self.call}({', '.join(words)})" + ("" if self.output is None else f"[{self.output}]")

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Refuse: only the shape that was captured is known, `Node.output_shape`."""
        self._refuse("an output shape for other inputs", "Read `output_shape` of the node.")

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Refuse."""
        self._refuse("a definition", "Read the value that PyTorch computed: capture(..., keep_values=True).")

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Refuse."""
        self._refuse("a gradient", "Read the one that PyTorch computed: capture(..., loss=...).")

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Refuse."""
        self._refuse("a working", "Ask a node that it knows.")

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Refuse: unknown is not zero."""
        self._refuse("a cost", "Leave the node out, and say so.")

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Refuse: unknown is not the position itself."""
        self._refuse("a receptive field", "Leave the node out, and say so.")

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise UsageError(f"opaque: `{self.call}` must be an operation that striate knows to have {what}. {instead}")
