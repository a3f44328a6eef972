"""Inference of ONNX Runtime: the network as an ONNX graph of fixed batch size, all graph optimizations on.

Weights, one batch and PyTorch's logits come in a file, so the environment needs onnx, onnxruntime and NumPy only; the
logits must agree before anything is timed. Numbers of threads up to the one asked for, and plain calls against bound
inputs and outputs, are timed for a moment, and the fastest counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._networks import NETWORKS, Conv, Network, Pool
from benchmarks._steps import Rounds, fastest, serve_or_print, step_parser, trial_speeds

__all__ = ["PACKAGES", "build_graph", "main", "onnx_nodes", "prepare", "write_case"]

PACKAGES = ("onnx", "onnxruntime")
OPSET, IR_VERSION = 17, 9
LARGEST_DIFFERENCE = 1e-4
"""Of a logit, relative to the largest one."""


def write_case(path: Path, network: Any, inputs: Any) -> None:
    """Write the weights of a PyTorch network, a batch and its logits to a NumPy file.

    Args:
        path: Ends in ``.npz``.
        network: Its parameters are weight and bias of each layer, in order.
        inputs: Tensor (N, C, H, W).
    """
    import torch

    with torch.inference_mode():
        logits = network.eval()(inputs)
    weights = {f"parameter{index}": value.detach().numpy() for index, value in enumerate(network.parameters())}
    np.savez(path, inputs=inputs.numpy(), logits=logits.numpy(), **weights)


def onnx_nodes(network: Network) -> Iterator[tuple[str, tuple[str, ...], str, dict[str, Any]]]:
    """Yield operator, inputs, output and attributes of each node, from ``inputs`` to ``logits``.

    Raises:
        ValueError: the network is not given as layers.
    """
    if not network.layers:
        raise ValueError("onnx_nodes: `network` must be given as layers, got none. Leave this peer out of the row.")
    numbers, now, is_flat = itertools.count(), "inputs", False
    for index, layer in enumerate(network.layers):
        name, is_last = f"layer{index}", index == len(network.layers) - 1
        if isinstance(layer, Pool):
            window = [layer.kernel_size] * 2
            yield "MaxPool", (now,), name, {"kernel_shape": window, "strides": window}
            now = name
            continue
        parameters = (f"parameter{next(numbers)}", f"parameter{next(numbers)}")
        output = "logits" if is_last else f"{name}.sum"
        if isinstance(layer, Conv):
            yield "Conv", (now, *parameters), output, {"pads": [layer.padding] * 4}
        else:
            if not is_flat:
                yield "Flatten", (now,), f"{name}.flat", {}
                now, is_flat = f"{name}.flat", True
            yield "Gemm", (now, *parameters), output, {"transB": 1}
        if not is_last:
            yield "Relu", (output,), name, {}
            now = name


def build_graph(name: str, case: dict[str, npt.NDArray[Any]]) -> bytes:
    """Return the ONNX file of a network with the weights of a case, for its batch size."""
    import onnx
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node(operator, list(inputs), [output], **attributes)
        for operator, inputs, output, attributes in onnx_nodes(NETWORKS[name])
    ]
    weights = [numpy_helper.from_array(value, key) for key, value in case.items() if key.startswith("parameter")]
    ends = [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, case[key].shape) for key in ("inputs", "logits")]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def prepare(graph: bytes, inputs: npt.NDArray[Any], *, threads: int, is_bound: bool) -> Callable[[], npt.NDArray[Any]]:
    """Return what computes the logits of a batch."""
    import onnxruntime

    choices = onnxruntime.SessionOptions()
    choices.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    choices.intra_op_num_threads, choices.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(graph, choices, providers=["CPUExecutionProvider"])
    if not is_bound:
        return lambda: session.run(["logits"], {"inputs": inputs})[0]
    binding = session.io_binding()
    binding.bind_ortvalue_input("inputs", onnxruntime.OrtValue.ortvalue_from_numpy(inputs))
    binding.bind_output("logits", "cpu")

    def run() -> npt.NDArray[Any]:
        session.run_with_iobinding(binding)
        logits: npt.NDArray[Any] = binding.get_outputs()[0].numpy()
        return logits

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Time inference alone, or serve rounds to `benchmarks.engine`."""
    parser = step_parser("benchmarks.peers.onnxruntime_inference", __doc__)
    parser.add_argument("--case", type=Path, metavar="FILE", help="what `write_case` wrote: weights, batch, logits")
    options = parser.parse_args(arguments)
    if options.case is None:
        parser.exit(2, "benchmarks.peers.onnxruntime_inference: give --case FILE; benchmarks.engine makes one.\n")
    import onnxruntime

    with np.load(options.case, allow_pickle=False) as file:
        case = dict(file)
    graph, ways = build_graph(options.model, case), dict[str, Callable[[], Any]]()
    for threads, is_bound in itertools.product(sorted({1, options.threads}), (False, True)):
        key = f"{threads} thread{'s' if threads != 1 else ''}, {'bound' if is_bound else 'plain call'}"
        ways[key] = prepare(graph, case["inputs"], threads=threads, is_bound=is_bound)
    difference = max(float(np.abs(way() - case["logits"]).max()) for way in ways.values())
    if not difference <= LARGEST_DIFFERENCE * float(np.abs(case["logits"]).max()):
        raise SystemExit(f"benchmarks.peers.onnxruntime_inference: logits differ from PyTorch's by {difference:g}.")
    batch_size = len(case["inputs"])
    speeds = trial_speeds(ways, batch_size=batch_size)
    best = fastest(speeds)
    about = {
        "onnxruntime": onnxruntime.__version__,
        "configuration": best,
        "tried": speeds,
        "largest_difference": difference,
    }
    serve_or_print(options, about, Rounds(ways[best], batch_size=batch_size).run_round)


if __name__ == "__main__":
    main()
