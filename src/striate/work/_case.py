"""An operation on typed arrays: its output, the working of one value of it, and of its gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._positions import named
from striate.ops.op import Array, Op
from striate.ops.working import Grid, Line, Sum, Working, number
from striate.work._answer import Answer, Part, Wording, grid, reword, reworded, times
from striate.work._places import parse_place, place_in
from striate.work.typed import as_array

__all__ = ["Case", "Place"]

Place = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One operation, the arrays as it takes them, and what the user calls them."""

    function: str
    """The topic, for messages."""
    op: Op
    x: Array
    parameters: Mapping[str, Array] = field(default_factory=dict)
    dims: int = 2
    """Axes that are drawn; axes of length 1 before them are left out of what the user sees."""
    words: Mapping[str, str] = field(default_factory=lambda: {"input": "input"})
    """What the user calls the arrays that have a gradient."""
    wording: Wording = ()
    """The operation's names of arrays, and the user's."""
    others: tuple[Array, ...] = ()
    """Inputs after the first."""

    @cached_property
    def y(self) -> Array:
        """The output."""
        self.op.output_shape(
            *(array.shape for array in (self.x, *self.others)),
            **{name: array.shape for name, array in self.parameters.items()},
        )
        return np.asarray(self.op.forward(self.x, *self.others, **self.parameters))

    def plain(self, array: Array) -> Array:
        """Return an array without the axes that the user did not type."""
        while array.ndim > self.dims and array.shape[0] == 1:
            array = array[0]
        return array

    def chosen(self, at: Any, *, has_gradients: bool) -> tuple[Place, dict[str, Place]]:
        """Return the place in the output, and places in arrays with a gradient, that `at` names."""
        words = [*self.words.values()] if has_gradients else []
        word, place = parse_place(self.function, at, names=["output", *words], default="output")
        if word == "output":
            return place_in(self.function, place, self.y.shape), {}
        of = next(of for of, each in self.words.items() if each == word)
        return place_in(self.function, None, self.y.shape), {of: place_in(self.function, place, self._array(of).shape)}

    def draw(self, label: str, array: Array, place: Place | None = None) -> Grid:
        """Draw an array, or the map of it that holds the place."""
        shown = self.plain(array)
        inside = None if place is None else place[array.ndim - shown.ndim :]
        if shown.ndim <= 2:
            return grid(label, shown, inside)
        leading = (inside or (0,) * shown.ndim)[:-2]
        name = f"{label}[{', '.join((*map(str, leading), ':', ':'))}]"
        return grid(name, shown[leading], None if inside is None else inside[-2:])

    def forward(self, place: Place) -> tuple[list[Part], Sum | None]:
        """Return what the operation shows of one value, and the sum that makes it, where that is what makes it."""
        inner = self.op.working(place, self.x, *self.others, **self.parameters)
        parts = reworded(inner.parts, self.wording)
        if isinstance(parts[-1], Sum):
            return parts[:-1], replace(parts[-1], label=self.name("output", place, self.y))
        return parts, None

    def equation(self, text: str | None = None) -> str:
        """Return an equation, by default the operation's own, in the user's words."""
        return reword(self.op.equation if text is None else text, self.wording)

    def name(self, word: str, place: Place, array: Array) -> str:
        """Name one value as the user sees it."""
        if array.ndim <= 1 and array.size == 1:
            return word
        return named(word, place[array.ndim - self.plain(array).ndim :]) if place else word

    def grad_output(self, backward: Any) -> Array:
        """Return dL/d(output) in the shape of the output from what the user gave: True for ones, or numbers."""
        if backward is True:
            return np.ones_like(self.y)
        given = as_array(backward, function=self.function, argument="grad_output")
        # A row and a matrix of one row are typed alike.
        if [length for length in given.shape if length > 1] != [length for length in self.y.shape if length > 1]:
            shape = times(self.plain(self.y).shape) or "one number"
            raise UsageError(
                f"{self.function}: `grad_output` must have the shape of the output, {shape}, "
                f"got {times(given.shape)}. Give dL/doutput for each value, or leave it out for ones."
            )
        return given.reshape(self.y.shape)

    def answer(
        self,
        title: str,
        parts: Sequence[Part],
        *,
        backward: Any = None,
        places: Mapping[str, Place] | None = None,
        equation: str | None = None,
        **numbers: Any,
    ) -> Answer:
        """Return the answer of a topic: its parts, the gradients where they are asked for, and all numbers by name.

        Args:
            title: What was computed, with its settings.
            parts: The working of the output.
            backward: dL/d(output), True for ones, None for no gradients.
            places: As in `backward`.
            equation: By default the operation's own in the user's words.
            **numbers: More numbers by name.
        """
        output = self.plain(self.y)
        numbers = {"output": output, **numbers}
        more, gradients = ([], {}) if backward is None else self.backward(backward, places or {})
        return Answer(
            title=title,
            equation=self.equation() if equation is None else equation,
            parts=(*parts, *more),
            value=output,
            numbers=numbers | gradients,
        )

    def backward(self, backward: Any, places: Mapping[str, Place]) -> tuple[list[Part], dict[str, Array]]:
        """Return the gradient of each array: drawn, and unfolded where a place is given; and all as arrays.

        Args:
            backward: dL/d(output), or True for ones.
            places: From an array's name in the operation to the place to unfold.
        """
        grad_output = self.grad_output(backward)
        gradients = self.op.backward(grad_output, self.x, *self.others, **self.parameters)
        parts: list[Part] = [self._arriving(grad_output)]
        numbers = {"grad_output": self.plain(grad_output)}
        for of in self.words:
            array = _find(of, gradients.inputs, gradients.parameters)
            numbers[f"grad_{of.rstrip('1')}"] = self.plain(array)
            parts.append(self._gradient(of, array, places.get(of), grad_output))
        return parts, numbers

    def _arriving(self, grad_output: Array) -> Part:
        """Show dL/d(output): in one line where all values are the same."""
        first = grad_output.flat[0]
        if (grad_output != first).any():
            return self.draw("dL/doutput", grad_output)
        return Line(f"dL/doutput = {number(first)}{' everywhere' if grad_output.size > 1 else ''}")

    def _gradient(self, of: str, array: Array, place: Place | None, grad_output: Array) -> Part:
        word = f"dL/d{self.words[of]}"
        if place is None:
            return self.draw(word, array)
        inner = self.op.gradient_working(of, place, grad_output, self.x, *self.others, **self.parameters)
        # A gradient that is the same everywhere has been said in one line.
        parts = [part for part in reworded(inner.parts, self.wording) if not _says_nothing(part)]
        value_name = self.name(word, place, array)
        if isinstance(parts[-1], Sum):
            parts[-1] = replace(parts[-1], label=value_name)
        if array.size > 1:
            parts.append(self.draw(word, array, place))
        return Working(value_name, self.equation(inner.equation), tuple(parts), float(array[place]))

    def _array(self, of: str) -> Array:
        return _find(of, (self.x, *self.others), self.parameters)


def _says_nothing(part: Part) -> bool:
    """Whether a part draws a gradient that is the same everywhere, with nothing marked on it."""
    if not isinstance(part, Grid) or not part.label.startswith("dL/doutput") or part.window is not None:
        return False
    return bool((part.values == part.values.flat[0]).all())


def _find(of: str, inputs: Sequence[Array], parameters: Mapping[str, Array]) -> Array:
    """Return the array that an operation calls ``input``, ``input1``, or by a parameter's name."""
    return inputs[int(of[len("input") :] or 0)] if of.startswith("input") else parameters[of]
