"""The reference vectors of the `onnx` package against `striate.ops`, operator by operator.

Every case of an operator either passes or stands in UNSUPPORTED with the reason. Values are compared, not types: the
operations compute in floating point, also where a vector holds whole numbers. In onnx 1.23.2 these operators have
383 cases, of which 345 pass.
"""

from __future__ import annotations

import importlib
import math
import warnings

import numpy as np
import pytest

from striate import ops
from striate.errors import UsageError

RTOL, ATOL = 1e-5, 1e-6  # the vectors are float32; onnx itself asks for 1e-3 and 1e-7
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}  # written down with 4 digits

VECTOR = "a vector as a factor: matmul wants matrices"
SLOPE = "another slope: hardsigmoid has PyTorch's 1/6"
EMPTY = "an axis of length 0: refused, since there is nothing to take a part or the largest of"
WHOLE = "whole numbers, whose quotient is cut off"
SEQUENCE = "a list of arrays"
OWN_DRAW = "the mask is onnx's own random draw and not among its outputs"
OUTSIDE = "a class that is none of the classes and ignored; one of them is ignored by a weight of 0"
ADAM = "step 0 goes without the correction of the running means, and eps is added to the uncorrected root"
UNSUPPORTED = {
    **dict.fromkeys(("test_matmul_1d_3d", "test_matmul_4d_1d", "test_matmul_1d_1d"), VECTOR),
    **dict.fromkeys(("test_hardsigmoid_example", "test_hardsigmoid", "test_hardsigmoid_default"), SLOPE),
    "test_clip_min_greater_than_max": "bounds the wrong way round, which are refused",
    **dict.fromkeys(("test_identity_sequence", "test_identity_opt"), SEQUENCE),
    **dict.fromkeys((f"test_split_zero_size_splits_opset{number}" for number in (13, 18)), EMPTY),
    "test_slice_neg_steps": "backward steps, which are refused",
    "test_col2im_5d": "volumes: col2im knows images",
    **dict.fromkeys((f"test_div_{kind}" for kind in ("int8", "int16", "int32_trunc")), WHOLE),
    **dict.fromkeys((f"test_div_uint{bits}" for bits in (8, 16, 32, 64)), WHOLE),
    **dict.fromkeys(("test_training_dropout_default", "test_training_dropout"), OWN_DRAW),
    **dict.fromkeys(
        (f"test_reduce_{kind}" for kind in ("max_empty_set", "max_empty_set_bool", "sum_empty_set")), EMPTY
    ),
    "test_onehot_negative_indices": "indices counted from the end, which are refused",
    "test_onehot_out_of_range_indices": "indices outside the classes, which are refused",
    "test_nllloss_NCd1_mean_weight_negative_ii": OUTSIDE,
    "test_nllloss_NCd1d2d3_none_no_weight_negative_ii": OUTSIDE,
    "test_nllloss_NCd1d2d3_sum_weight_high_ii": OUTSIDE,
    **dict.fromkeys((f"test_sce_NCd1_mean_weight_negative_ii{end}" for end in ("", "_log_prob")), OUTSIDE),
    **dict.fromkeys((f"test_sce_NCd1d2d3_none_no_weight_negative_ii{end}" for end in ("", "_log_prob")), OUTSIDE),
    **dict.fromkeys((f"test_sce_NCd1d2d3_sum_weight_high_ii{end}" for end in ("", "_log_prob")), OUTSIDE),
    **dict.fromkeys(("test_adam", "test_adam_multiple"), ADAM),
}


class Unsupported(Exception):
    """An attribute or input that no operation of striate has."""


def pairs(pads):
    """Turn (before, before, ..., after, after) into one (before, after) an axis."""
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:], strict=True))


def window(sizes, kernel, strides=None, pads=None, dilations=None, auto_pad="NOTSET"):
    """Return stride, pads and dilation of a window in their canonical form."""
    dims = len(sizes)
    strides, dilations = tuple(strides or (1,) * dims), tuple(dilations or (1,) * dims)
    if auto_pad in ("NOTSET", "VALID"):
        return strides, pairs(pads or (0,) * 2 * dims), dilations
    found = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return strides, tuple(found), dilations


def conv(x, weight, bias=None, *, kernel_shape=None, group=1, **options):
    stride, padding, dilation = window(x.shape[2:], weight.shape[2:], **options)
    function = getattr(ops, f"conv{x.ndim - 2}d")
    return function(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=group)


def conv_transpose(
    x, weight, bias=None, *, kernel_shape=None, group=1, output_padding=None, output_shape=None, **options
):
    auto_pad = options.pop("auto_pad", "NOTSET")
    stride, pads, dilation = window(x.shape[2:], weight.shape[2:], **options)
    extra = list(output_padding or (0,) * len(stride))
    if auto_pad != "NOTSET":
        output_shape = [size * step for size, step in zip(x.shape[2:], stride, strict=True)]
    if output_shape:
        pads = []
        for axis, wanted in enumerate(output_shape):
            extent = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
            surplus = (x.shape[2 + axis] - 1) * stride[axis] + extra[axis] + extent - wanted
            extra[axis] += max(0, -surplus)
            less, more = max(0, surplus) // 2, max(0, surplus) - max(0, surplus) // 2
            pads.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    function = getattr(ops, f"conv_transpose{x.ndim - 2}d")
    return function(x, weight, bias, stride=stride, padding=pads, dilation=dilation, output_padding=extra, groups=group)


def pool(kind, x, *, kernel_shape, ceil_mode=0, **options):
    own = {name: options.pop(name) for name in ("count_include_pad", "norm_type", "absolute") if name in options}
    stride, pads, dilation = window(x.shape[2:], kernel_shape, **options)
    return kind(tuple(kernel_shape), stride, pads, dilation, bool(ceil_mode), **own)


def max_pool(x, *, storage_order=0, **options):
    x = x.astype(np.result_type(x, np.float32))
    values, switches = pool(ops.MaxPool, x, **options).forward_with_switches(x)
    if storage_order:
        rows, columns = np.divmod(switches, x.shape[-1])
        switches = columns * x.shape[-2] + rows
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return values, switches + planes * math.prod(x.shape[2:])


def average_pool(x, *, count_include_pad=0, **options):
    return pool(ops.AvgPool, x, count_include_pad=bool(count_include_pad), **options).forward(x)


def lp_pool(x, *, p=2, **options):
    return pool(ops.LpPool, x, norm_type=float(p), absolute=True, **options).forward(x)


def max_unpool(x, switches, output_shape=None, *, kernel_shape, strides):
    # The switches count in the smaller image also where a larger one is asked for.
    sizes = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel_shape, strict=True)]
    larger = sizes if output_shape is None else output_shape[2:]
    after = [(0, int(wanted - size)) for wanted, size in zip(larger, sizes, strict=True)]
    return ops.pad(ops.place_at_switches(x, switches, sizes=sizes), padding=after)


def batch_norm(x, weight, bias, mean, variance, *, epsilon=1e-5, momentum=0.9, training_mode=0):
    y = ops.batch_norm(x, mean, variance, weight, bias, training=bool(training_mode), eps=epsilon)
    # onnx's running variance is made of variances over m values, PyTorch's and ours of those over m - 1.
    batch = ops.batch_statistics(x)
    return y, *(momentum * old + (1 - momentum) * new for old, new in zip((mean, variance), batch, strict=True))


def layer_norm(x, weight, bias=None, *, axis=-1, epsilon=1e-5):
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = ops.mean(x, axis=axes, keepdim=True)
    deviation = np.sqrt(ops.mean((x - mean) ** 2, axis=axes, keepdim=True) + epsilon)
    return ops.layer_norm(x, x.shape[axes[0] :], weight, bias, eps=epsilon), mean, 1 / deviation


def lrn(x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    if size % 2 == 0:
        raise Unsupported("the odd channel of an even window is on the other side")
    return ops.local_response_norm(x, size, alpha=alpha, beta=beta, k=bias)


def gemm(a, b, c=0.0, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    product = ops.linear(a.T if transA else a, b if transB else b.T)
    return ops.add(ops.multiply(alpha, product), ops.multiply(beta, c))


def hard_sigmoid(x, *, alpha=0.2, beta=0.5):
    if (alpha, beta) != (1 / 6, 0.5):
        raise Unsupported(SLOPE)
    return ops.hardsigmoid(x)


def dropout(x, ratio=0.5, training=False, *, seed=None, mask=None):
    if training and ratio and mask is None:
        raise Unsupported(OWN_DRAW)
    kept = np.ones(x.shape) if mask is None else mask
    return ops.dropout(x, p=float(ratio), mask=kept, training=bool(training)), kept


def reshape(x, shape, *, allowzero=0):
    return ops.reshape(x, shape=[int(n) or (0 if allowzero else x.shape[i]) for i, n in enumerate(shape)])


def flatten(x, *, axis=1):
    return ops.reshape(x, shape=(math.prod(x.shape[: axis % x.ndim if axis < 0 else axis]), -1))


def pad(x, pads, value=0.0, axes=None, *, mode="constant"):
    whole = [(0, 0)] * x.ndim
    for axis, pair in zip(range(x.ndim) if axes is None else axes, pairs(pads.tolist()), strict=True):
        whole[axis] = pair
    names = {"edge": "replicate", "wrap": "circular"}
    return ops.pad(x, padding=whole, mode=names.get(mode, mode), value=float(value))


def split(x, sizes=None, *, axis=0, num_outputs):
    if sizes is None:
        return ops.chunk(x, chunks=num_outputs, axis=axis)
    ends = np.cumsum(sizes)
    return tuple(
        ops.slice_axis(x, axis=axis, start=int(end - size), stop=int(end))
        for size, end in zip(sizes, ends, strict=True)
    )


def cut(x, starts, ends, axes=None, steps=None):
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = int(axes[i]) if axes is not None else i, int(steps[i]) if steps is not None else 1
        x = ops.slice_axis(x, axis=axis, start=int(start), stop=int(end), step=step)
    return x


def reduced(function, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    is_all = axes is None or (len(axes) == 0 and not noop_with_empty_axes)
    return function(x, axis=None if is_all else tuple(int(axis) for axis in axes), keepdim=bool(keepdims))


def one_hot(indices, depth, values, *, axis=-1):
    off, on = values.astype(np.float64)
    flags = ops.one_hot(indices, num_classes=int(depth))
    return off + (on - off) * np.moveaxis(flags, -1, axis)


def class_loss(function, x, targets, weight=None, *, reduction="mean", ignore_index=None):
    if ignore_index is not None:
        if not 0 <= ignore_index < x.shape[1]:
            raise Unsupported(OUTSIDE)
        weight = np.ones(x.shape[1], x.dtype) if weight is None else weight.copy()
        weight[ignore_index] = 0
    return function(x, targets, weight=weight, reduction=reduction), ops.log_softmax(x, axis=1)


def momentum(rate, step, *tensors, alpha, beta, mode, norm_coefficient):
    if step > 0 and beta != 1:
        raise Unsupported("a factor of the gradient from the second step on")
    options = {"lr": float(rate), "momentum": alpha, "nesterov": mode == "nesterov", "weight_decay": norm_coefficient}
    parts = np.split(np.arange(len(tensors)), 3)
    steps = [ops.momentum_step(*(tensors[i] for i in group), **options) for group in zip(*parts, strict=True)]
    return *(w for w, _ in steps), *(v for _, v in steps)


def adam(rate, step, *tensors, **options):
    raise Unsupported(ADAM)


def col2im(x, image_shape, block_shape, **options):
    if len(image_shape) != 2:
        raise Unsupported("col2im knows images, not volumes")
    stride, padding, dilation = window(image_shape, block_shape, **options)
    sizes, kernel = image_shape.tolist(), block_shape.tolist()
    return ops.col2im(x, output_size=sizes, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)


def clip(x, low=None, high=None):
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    return ops.hardtanh(x, min_val=float(low), max_val=float(high))


def identity(x):
    if isinstance(x, list):
        raise Unsupported(SEQUENCE)
    return ops.identity(x)


def swish(x, *, alpha=1.0):
    if alpha != 1:
        raise Unsupported("another slope")
    return ops.silu(x)


# Operator: its file in onnx.backend.test.case.node, and how its inputs and attributes become a call.
OPERATORS = {
    "Conv": ("conv", conv),
    "ConvTranspose": ("convtranspose", conv_transpose),
    "MaxPool": ("maxpool", max_pool),
    "AveragePool": ("averagepool", average_pool),
    "GlobalAveragePool": ("globalaveragepool", ops.global_avg_pool2d),
    "GlobalMaxPool": ("globalmaxpool", ops.global_max_pool2d),
    "LpPool": ("lppool", lp_pool),
    "MaxUnpool": ("maxunpool", max_unpool),
    "BatchNormalization": ("batch_normalization", batch_norm),
    "InstanceNormalization": (
        "instance_normalization",
        lambda x, weight, bias, epsilon=1e-5: ops.instance_norm(x, weight=weight, bias=bias, eps=epsilon),
    ),
    "GroupNormalization": (
        "groupnormalization",
        lambda x, weight, bias, num_groups, epsilon=1e-5: ops.group_norm(x, num_groups, weight, bias, eps=epsilon),
    ),
    "LayerNormalization": ("layernormalization", layer_norm),
    "LRN": ("lrn", lrn),
    "Softmax": ("softmax", lambda x, axis=-1: ops.softmax(x, axis=axis)),
    "LogSoftmax": ("logsoftmax", lambda x, axis=-1: ops.log_softmax(x, axis=axis)),
    "Gemm": ("gemm", gemm),
    "MatMul": ("matmul", ops.matmul),
    "Relu": ("relu", ops.relu),
    "LeakyRelu": ("leakyrelu", lambda x, alpha=0.01: ops.leaky_relu(x, negative_slope=alpha)),
    "Elu": ("elu", lambda x, alpha=1.0: ops.elu(x, alpha=alpha)),
    "Sigmoid": ("sigmoid", ops.sigmoid),
    "Tanh": ("tanh", ops.tanh),
    "Softplus": ("softplus", ops.softplus),
    "HardSigmoid": ("hardsigmoid", hard_sigmoid),
    "HardSwish": ("hardswish", ops.hardswish),
    "Gelu": ("gelu", lambda x, approximate="none": ops.gelu(x, approximate=approximate)),
    "Swish": ("swish", swish),
    "Clip": ("clip", clip),
    "Identity": ("identity", identity),
    "Flatten": ("flatten", flatten),
    "Reshape": ("reshape", reshape),
    "Transpose": ("transpose", lambda x, perm=None: ops.permute(x, axes=perm or range(x.ndim)[::-1])),
    "Concat": ("concat", ops.concat),
    "Split": ("split", split),
    "Slice": ("slice", cut),
    "Pad": ("pad", pad),
    "Col2Im": ("col2im", col2im),
    "Add": ("add", ops.add),
    "Sub": ("sub", ops.subtract),
    "Mul": ("mul", ops.multiply),
    "Div": ("div", ops.divide),
    "Dropout": ("dropout", dropout),
    "ReduceMean": ("reducemean", lambda *given, **options: reduced(ops.mean, *given, **options)),
    "ReduceMax": ("reducemax", lambda *given, **options: reduced(ops.amax, *given, **options)),
    "ReduceSum": ("reducesum", lambda *given, **options: reduced(ops.sum, *given, **options)),
    "OneHot": ("onehot", one_hot),
    "NegativeLogLikelihoodLoss": (
        "negativeloglikelihoodloss",
        lambda *given, **options: class_loss(ops.nll_loss, *given, **options),
    ),
    "SoftmaxCrossEntropyLoss": (
        "softmax_cross_entropy_loss",
        lambda *given, **options: class_loss(ops.cross_entropy, *given, **options),
    ),
    "Momentum": ("momentum", momentum),
    "Adam": ("adam", adam),
}


def cases(operator):
    """Return the cases of one operator, without its expansions into others."""
    state = np.random.get_state()  # noqa: NPY002 - onnx sets NumPy's own seed when it makes its vectors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx divides by 0 where a window lies in the padding
        node = importlib.import_module("onnx.backend.test.case.node")
        importlib.import_module(f"onnx.backend.test.case.node.{OPERATORS[operator][0]}")
    np.random.set_state(state)  # noqa: NPY002
    found = [case for case in node._NodeTestCases if case.model.graph.node[0].op_type == operator]
    return [case for case in found if "_expanded" not in case.name]


def answer(case):
    """Return what the operation makes of a case, and what onnx expects."""
    from onnx import helper

    (node,), ((inputs, outputs),) = case.model.graph.node, case.data_sets
    given = dict(zip((name for name in node.input if name), inputs, strict=True))
    arguments = [given.get(name) for name in node.input]
    attributes = {found.name: helper.get_attribute_value(found) for found in node.attribute}
    attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
    while arguments and arguments[-1] is None:
        arguments.pop()
    if node.op_type == "Split":
        attributes["num_outputs"] = len(outputs)
    if node.op_type == "Dropout" and len(outputs) == 2:
        attributes["mask"] = outputs[1]
    found = OPERATORS[node.op_type][1](*arguments, **attributes)
    return found if isinstance(found, tuple) else (found,), outputs


def passes(case):
    try:
        found, expected = answer(case)
    except (Unsupported, UsageError):
        return False
    assert len(found) >= len(expected), case.name
    rtol = ROUNDED.get(case.name, RTOL)
    return all(
        ours.shape == np.shape(theirs) and np.allclose(ours, np.asarray(theirs, np.float64), rtol=rtol, atol=ATOL)
        for ours, theirs in zip(found, expected, strict=False)
    )


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_vector_passes_or_is_listed(operator):
    names = {case.name for case in cases(operator)}
    assert names
    assert {case.name for case in cases(operator) if passes(case)} == names - set(UNSUPPORTED)


def test_all_that_is_listed_exists():
    assert set(UNSUPPORTED) <= {case.name for operator in OPERATORS for case in cases(operator)}
