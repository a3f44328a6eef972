"""The training step of Keras 3 on JAX: the same network in Keras layers, compiled by XLA.

Two ways that users write it are timed for a moment and the faster one counts: ``model.train_on_batch``, and a step of
``stateless_call`` and ``stateless_apply`` under ``jax.jit`` that gives its old state away. Images are channels_last,
which Keras prefers, and lie in JAX's memory before the clock starts. Needs an environment with keras and jax only.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks._networks import NETWORKS, Conv, Network, Pool, random_batches
from benchmarks._steps import BATCHES, Rounds, fastest, limit_processors, serve_or_print, step_parser, trial_speeds

__all__ = ["PACKAGES", "build", "jitted_step", "keras_layers", "main"]

PACKAGES = ("keras", "jax")
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


def keras_layers(network: Network) -> list[tuple[str, dict[str, Any]]]:
    """Return the class names in ``keras.layers`` and the arguments of each layer.

    Raises:
        ValueError: the network is not given as layers.
    """
    if not network.layers:
        raise ValueError("keras_layers: `network` must be given as layers, got none. Leave this peer out of the row.")
    layers, is_flat = list[tuple[str, dict[str, Any]]](), False
    for layer in network.layers:
        if isinstance(layer, Conv):
            padding = {0: "valid", layer.kernel_size // 2: "same"}[layer.padding]
            arguments = {"filters": layer.out_channels, "kernel_size": layer.kernel_size, "padding": padding}
            layers.append(("Conv2D", {**arguments, "activation": "relu"}))
        elif isinstance(layer, Pool):
            layers.append(("MaxPooling2D", {"pool_size": layer.kernel_size}))
        else:
            layers += [] if is_flat else [("Flatten", {})]
            is_flat = True
            activation = None if layer is network.layers[-1] else "relu"
            layers.append(("Dense", {"units": layer.width, "activation": activation}))
    return layers


def build(name: str) -> Any:
    """Build and compile the network in Keras, and see that it has as many parameters as striate's.

    Raises:
        ValueError: it has not.
    """
    import keras

    network = NETWORKS[name]
    keras.utils.set_random_seed(0)
    layers = [getattr(keras.layers, kind)(**arguments) for kind, arguments in keras_layers(network)]
    model = keras.Sequential([keras.Input((network.image_size, network.image_size, network.in_channels)), *layers])
    if model.count_params() != network.num_params:
        raise ValueError(f"build: {name} must have {network.num_params:,} parameters, got {model.count_params():,}.")
    optimizer = keras.optimizers.SGD(LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=True)
    return model


def jitted_step(model: Any, batches: Sequence[tuple[Any, Any]]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what takes one step, and what waits for all steps taken."""
    import jax

    optimizer, loss_of = model.optimizer, model.loss
    optimizer.build(model.trainable_variables)

    def loss_and_rest(trainable: Any, rest: Any, inputs: Any, targets: Any) -> Any:
        logits, rest = model.stateless_call(trainable, rest, inputs, training=True)
        return loss_of(targets, logits), rest

    def update(state: Any, inputs: Any, targets: Any) -> Any:
        trainable, rest, moments = state
        differentiated = jax.value_and_grad(loss_and_rest, has_aux=True)
        (loss, rest), gradients = differentiated(trainable, rest, inputs, targets)
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return loss, (trainable, rest, moments)

    compiled, endless = jax.jit(update, donate_argnums=0), itertools.cycle(batches)
    values = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = [[[jax.numpy.array(variable.value) for variable in group] for group in values]]

    def step() -> None:
        _, state[0] = compiled(tuple(state[0]), *next(endless))

    return step, lambda: jax.block_until_ready(state[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the step alone, or serve rounds to `benchmarks.engine`."""
    options = step_parser("benchmarks.peers.keras_jax", __doc__).parse_args(arguments)
    limit_processors(options.threads)  # XLA makes a thread for each processor that it may use
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    model, batch_size = build(options.model), options.batch_size
    arrays = random_batches(options.model, batch_size=batch_size, count=BATCHES)
    batches = [(jax.numpy.array(x.transpose(0, 2, 3, 1)), jax.numpy.array(y)) for x, y in arrays]
    endless = itertools.cycle(batches)
    step, finish = jitted_step(model, batches)
    ways: dict[str, Callable[[], object]] = {
        "train_on_batch": lambda: model.train_on_batch(*next(endless)),
        "jax.jit": lambda: (step(), finish()),
    }
    speeds = trial_speeds(ways, batch_size=batch_size)
    best = fastest(speeds)
    rounds = Rounds(step if best == "jax.jit" else ways[best], batch_size=batch_size, finish=finish)
    about = {"keras": keras.__version__, "jax": jax.__version__, "configuration": best, "tried": speeds}
    serve_or_print(options, about, rounds.run_round)


if __name__ == "__main__":
    main()
