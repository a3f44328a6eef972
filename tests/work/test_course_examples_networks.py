"""The worked numbers of the course texts: sizes, receptive fields, parameters and costs of layers and networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from striate import models, ops, work
from striate.errors import UsageError
from striate.work.stack import parse_layers

GROUP = "networks"


def output_size(*, size: str, layers: str) -> Any:
    return work.output_size(size, layers).value


def output_sizes(*, size: str, layers: dict[str, str]) -> Any:
    return {name: work.output_size(size, text).value for name, text in layers.items()}


def without_a_setting(*, layers: str) -> Any:
    with pytest.raises(UsageError, match="`size` must be rows and columns"):
        work.output_size("", layers)
    return "refused"


def shapes(*, size: str, layers: str) -> Any:
    return work.output_size(size, layers).numbers["shapes"]


def feature_maps(*, size: str, layers: str) -> Any:
    return int(work.output_size(size, layers).value[0])


def layer(*, size: str, layers: str) -> Any:
    return {"shape": output_size(size=size, layers=layers), "total": work.parameters(layers, size=size).value}


def receptive_field(*, layers: dict[str, str]) -> Any:
    return {name: work.receptive_field(text).value for name, text in layers.items()}


def inputs_of_a_unit(*, layers: str) -> Any:
    return math.prod(work.receptive_field(layers).value.tolist())


def dilation(*, kernel: int, dilation: int) -> Any:
    extent = int(work.receptive_field(f"{kernel} d{dilation}").value[0])
    # Between two taps lie as many pixels as the window is longer than its taps, shared by the gaps.
    return {"skipped": (extent - kernel) // (kernel - 1), "effective": extent}


def parameters(*, layers: str, size: str | None = None) -> Any:
    numbers = work.parameters(layers, size=size).numbers
    counts = dict.fromkeys(("conv", "pool", "dense"), 0)
    for each, count in zip(parse_layers(layers), numbers["parameters"], strict=True):
        counts[each.kind] = counts.get(each.kind, 0) + count
    return counts | {name: numbers[name] for name in ("weights", "biases", "total")}


def of_stacks(*, stacks: dict[str, str]) -> Any:
    return {name: work.parameters(layers).value for name, layers in stacks.items()}


def first_dense_layer(*, size: str, units: int) -> Any:
    (pixels,) = work.output_size(size, "flatten").value.tolist()
    return {"pixels": pixels, "weights": work.parameters(f"dense {units} nobias", size=size).value}


def weight_layers(*, layers: str, model: str, size: str | None = None) -> Any:
    answer = work.parameters(layers, size=size)
    assert answer.value == models.info(model).num_params  # the layers are those of the network
    return answer.numbers["weight_layers"]


def ratios(*, pairs: dict[str, list[str]]) -> Any:
    counts = {name: [models.info(model).num_params for model in pair] for name, pair in pairs.items()}
    return {name: larger / smaller for name, (larger, smaller) in counts.items()}


def implied(*, model: str, rounded_to: int, ratio: int, smaller: str) -> Any:
    rounded = round(models.info(model).num_params / rounded_to) * rounded_to
    found = rounded / ratio
    return {"implied": found, "agrees with the network": abs(models.info(smaller).num_params - found) < 0.1 * found}


def sharing(*, side: int, kernel: int) -> Any:
    x = np.ones((1, 1, side, side))
    local = np.ones((side, side, 1, 1, kernel, kernel))  # a kernel of its own for each output
    assert ops.tiled_conv2d(x, local, tiles=side, padding="same").shape == x.shape
    return {
        "dense": work.parameters(f"dense {side**2}->{side**2} nobias").value,
        "sparse": local.size,
        "shared": work.parameters(f"{kernel} c1 f1 nobias").value,
    }


def cost_of_1x1(*, size: int, channels: int, reduced: int, kernel: int) -> Any:
    def multiplies(incoming: int, outgoing: int, width: int) -> int:
        op = ops.Convolution(2, (1, 1), ((width // 2, width // 2),) * 2, (1, 1))
        return op.macs((1, incoming, size, size), weight=(outgoing, incoming, width, width))

    pixels = size**2
    return {
        "before": multiplies(channels, 1, kernel) / pixels,
        "after": multiplies(reduced, 1, kernel) / pixels,
        "of the 1x1 layer": multiplies(channels, reduced, 1) / pixels,
        "volume": work.output_size(f"{channels}x{size}x{size}", f"1x1 f{reduced}").value,
    }


ANSWERS = {
    "cost of 1x1": cost_of_1x1,
    "dilation": dilation,
    "feature maps": feature_maps,
    "first dense layer": first_dense_layer,
    "implied parameters": implied,
    "inputs of a unit": inputs_of_a_unit,
    "layer": layer,
    "output size": output_size,
    "output sizes": output_sizes,
    "parameters": parameters,
    "parameters of stacks": of_stacks,
    "ratios of models": ratios,
    "receptive field": receptive_field,
    "shapes": shapes,
    "sharing": sharing,
    "size without a setting": without_a_setting,
    "weight layers": weight_layers,
}


def test_example(example, assert_right):
    assert_right(ANSWERS[example["kind"]](**example["inputs"]), example)
