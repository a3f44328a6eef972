r"""ReLU units that too large a step has silenced, and what a lower learning rate or a Leaky ReLU changes.

A unit whose sum is negative for every sample has $\sigma'(z) = 0$ for every sample: its weights get no gradient and
stay as they are. With the slope $\alpha$ on the negative side they get $\alpha$ times the gradient.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import numpy.typing as npt

from striate.ops.activation import LeakyReLU, ReLU
from striate.work._scene import Scene
from striate.work._small_network import HIDDEN, PATCH, SAMPLES, SmallNetwork
from striate.work.measurement import Finding, Measurement, value_text

__all__ = ["RATES", "dead_units_stay", "dying_units"]

RATES = (0.1, 0.5, 1.0, 1.5, 2.0, 4.0)
"""Learning rates, from one that suits the task to one that is far too high."""
HIGH, LOW = 1.5, RATES[0]
STEPS = 200


def dying_units(scene: Scene) -> Finding:
    """Train with ReLU and with Leaky ReLU at several learning rates, and count the dead units."""
    rows, dead, right = [], [], []
    for lr in RATES:
        networks = [SmallNetwork(scene, activation) for activation in (ReLU(), LeakyReLU(0.01))]
        for network in networks:
            network.train(lr=lr, steps=STEPS)
        dead.append([network.dead for network in networks])
        right.append([network.right for network in networks])
        rows.append(Measurement(what=f"learning rate {lr:g}", values=(*dead[-1], *right[-1])))
    most, leaky = (max((pair[i] for pair in dead if not math.isnan(pair[i])), default=math.nan) for i in (0, 1))
    apart = abs(right[0][1] - right[0][0])
    rows += [
        Measurement(what=f"ReLU: dead at rate {LOW:g}", values=(dead[0][0],), most=0.05),
        Measurement(what="ReLU: dead at most", values=(most,), least=0.1),
        Measurement(what="Leaky ReLU: dead at most", values=(leaky,), most=0),
        Measurement(what=f"right at rate {LOW:g}, ReLU against Leaky ReLU", values=(apart,), most=0.05),
    ]
    return Finding(
        method=f"{SAMPLES} patches of {PATCH} x {PATCH}, which way do they get brighter? {HIDDEN[0]} + {HIDDEN[1]} "
        f"hidden units, {STEPS} steps; Leaky has slope 0.01.",
        rows=tuple(rows),
        columns=("dead, ReLU", "dead, Leaky", "right, ReLU", "right, Leaky"),
        verdict=f"At rate {LOW:g}, {value_text(dead[0][0])} of the ReLU units are dead, at higher rates up to "
        f"{value_text(most)}; of the Leaky units {value_text(leaky)}. At the low rate both are right equally often, "
        f"to {value_text(apart)}. {_divergence(right)}",
    )


def dead_units_stay(scene: Scene) -> Finding:
    """Train on at a low rate after a high one, as ReLU and as Leaky ReLU."""
    activations = {"as ReLU": ReLU(), "as Leaky 0.01": LeakyReLU(0.01), "as Leaky 0.1": LeakyReLU(0.1)}
    start = SmallNetwork(scene, ReLU())
    start.train(lr=HIGH, steps=STEPS)
    units = start.silent()
    reached, still, right = [], [], []
    for activation in activations.values():
        network = copy.deepcopy(start)
        network.activation = activation
        reached.append(_reached(network, units))
        network.train(lr=LOW, steps=STEPS)
        both = [old & new for old, new in zip(units, network.silent(), strict=True)]
        count = int(np.concatenate(units).sum())
        still.append(math.nan if network.has_diverged else float(np.concatenate(both).sum()) / max(1, count))
        right.append(network.right)
    return Finding(
        method=f"The network of dying-relu: {STEPS} steps with ReLU at rate {HIGH:g}, then {STEPS} at {LOW:g} in "
        "three ways.",
        rows=(
            Measurement(what=f"dead units after rate {HIGH:g}", values=(start.dead,), least=0.01),
            Measurement(what=f"right after rate {HIGH:g}", values=(start.right,)),
            Measurement(what="gradient of the dead, of the others'", values=tuple(reached)),
            Measurement(what=f"of the dead, silent after rate {LOW:g}", values=tuple(still)),
            Measurement(what=f"right after rate {LOW:g}", values=tuple(right)),
            Measurement(what="gradient of the dead as ReLU", values=(reached[0],), most=0),
            Measurement(what="gradient of the dead as Leaky ReLU, the smaller", values=(min(reached[1:]),), least=1e-6),
        ),
        columns=tuple(activations),
        verdict=f"The dead units get a gradient of {reached[0]:g}, and {value_text(still[0])} of them are silent "
        f"after {STEPS} steps at rate {LOW:g} too. As Leaky ReLU they get one again: of slope 0.01 "
        f"{value_text(still[1])}, of slope 0.1 {value_text(still[2])} are still silent then.",
    )


def _divergence(right: list[list[float]]) -> str:
    """Say at which learning rates training diverged."""
    at = {
        name: [f"{lr:g}" for lr, pair in zip(RATES, right, strict=True) if math.isnan(pair[i])]
        for i, name in enumerate(("ReLU", "Leaky ReLU"))
    }
    words = [f"{name} at {', '.join(rates)}" for name, rates in at.items() if rates]
    return f"Training diverged with {' and with '.join(words)}." if words else "No training diverged."


def _reached(network: SmallNetwork, units: list[npt.NDArray[np.bool_]]) -> float:
    """Return the gradient that some units' weights get over all samples, of that of the other units; 0 without any."""
    sizes = np.concatenate([np.abs(grad_weight).mean(axis=1) for grad_weight, _ in network.gradients()[:-1]])
    chosen = np.concatenate(units)
    if not chosen.any() or not sizes[~chosen].any():
        return 0.0
    return float(sizes[chosen].mean() / sizes[~chosen].mean())
