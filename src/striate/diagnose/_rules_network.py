"""Rules about the network itself: what learns, what mixes images, what depends on the mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from striate.diagnose._look import Look
from striate.diagnose._repairs import include, with_activations
from striate.diagnose._rule import Found, percent
from striate.diagnose._setup import is_clearly_better
from striate.diagnose._structure import affine_pairs, has_activation, is_meant, weight_nodes
from striate.diagnose.finding import Finding
from striate.graph import Graph, capture
from striate.graph.graph import Node

__all__ = ["batch_mixing", "dropout_at_evaluation", "gradient_not_reaching", "no_activation", "not_in_optimizer"]


def gradient_not_reaching(look: Look) -> Found | str | None:
    """Find trainable parameters without a gradient, and layers that are frozen above layers that learn."""
    found = look.parameters
    if not found.loss_has_gradient and len(found.frozen) < len([*look.setup.model.parameters()]):
        return _unreached("the loss has no gradient at all: a detach, argmax, .item() or no_grad cuts it off",
                          "loss.requires_grad is False", "one backward pass was tried on a copy", ())  # fmt: skip
    if found.missing and found.loss_has_gradient:
        names = found.missing
        others = f" and {len(names) - 1} more parameters" if len(names) > 1 else ""
        says = f"no gradient reaches `{_layer(names[0])}`{others}"
        evidence = f"after a backward pass .grad is None for {_listed(names)}"
        return _unreached(says, evidence, "one backward pass on a copy", names)
    frozen = _frozen_above(look)
    if not frozen:
        return None
    repaired = look.setup.edited(include(frozen))
    trained = repaired.train(steps=2 * look.setup.steps)
    before = look.setup.train(steps=2 * look.setup.steps)
    if not is_clearly_better(trained, before):
        return None
    finding = _unreached_finding(
        f"`{_layer(frozen[0])}` is frozen, and layers before it learn.",
        f"requires_grad is off for {_listed(frozen)}",
        f"unfrozen: {trained.text()}; as it is: {before.text()}", frozen)  # fmt: skip
    return Found(finding, repaired)


def _frozen_above(look: Look) -> tuple[str, ...]:
    """Return frozen weights that come later than weights which learn: a base frozen on purpose comes before them."""
    if look.graph is None or not look.parameters.frozen:
        return ()
    frozen, learned = set(look.parameters.frozen), False
    later = list[str]()
    for node in weight_nodes(look.graph):
        names = [p.name for p in node.parameters.values() if p.kind == "parameter"]
        if learned:
            later += [name for name in names if name in frozen]
        learned = learned or any(name not in frozen for name in names)
    sizes = {name: p.numel() for name, p in look.setup.model.named_parameters()}
    # Where little learns (adapters, biases, norms), the rest is frozen on purpose.
    learning = sum(size for name, size in sizes.items() if name not in frozen)
    return tuple(later) if learning > 0.1 * sum(sizes.values()) or len(later) <= 2 else ()


def _unreached(says: str, evidence: str, confirmed: str, names: tuple[str, ...]) -> Found:
    return Found(_unreached_finding(says + ".", evidence, confirmed, names))


def _unreached_finding(says: str, evidence: str, confirmed: str, names: tuple[str, ...]) -> Finding:
    numbers = {"parameters": list(names)}
    says = says if says.endswith(".") else says + "."
    return Finding(cause="gradient-not-reaching", says=says, evidence=(evidence,), confirmed_by=confirmed,
                   numbers=numbers)  # fmt: skip


def not_in_optimizer(look: Look) -> Found | str | None:
    """Find parameters that should learn and are not in the optimizer: a new head, a layer in a plain list."""
    optimizer, model = look.setup.optimizer, look.setup.model
    if optimizer is None:
        return "no optimizer was given"
    held = [p for group in optimizer.param_groups for p in group["params"]]
    ids, own = {id(p) for p in held}, {id(p) for p in model.parameters()}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in ids]
    foreign = [p for p in held if id(p) not in own]
    hidden = _hidden(look.graph)
    if hidden:
        says = f"the network does not know its own layer at `{hidden[0]}`, so no optimizer gets it."
        evidence = f"{len(hidden)} weights are used that model.parameters() does not list"
        confirmed = "weights used in the forward pass were compared with model.parameters()"
        return Found(_left_out(says, evidence, confirmed, hidden))
    if not missing or not (foreign or _is_late(missing, look)):
        return None
    repaired = look.setup.edited(include(missing))
    trained = repaired.train()
    # That a head is left out needs no improvement to be a slip: nothing above it can make up for it.
    head = [p.name for p in weight_nodes(look.graph)[-1].parameters.values()] if look.graph is not None else []
    if not foreign and not set(head) & set(missing) and not is_clearly_better(trained, look.baseline):
        return None
    evidence = f"not in the optimizer: {_listed(missing)}"
    more = f"; {len(foreign)} of its parameters belong to no layer of this network" if foreign else ""
    finding = _left_out(f"the optimizer does not hold `{_layer(missing[0])}`.", evidence + more,
                        f"with them: {trained.text()}; as it is: {look.baseline.text()}", missing)  # fmt: skip
    return Found(finding, repaired)


def _is_late(missing: list[str], look: Look) -> bool:
    """Say whether a missing parameter comes after one that learns; a base left out on purpose comes before."""
    names = [name for name, p in look.setup.model.named_parameters() if p.requires_grad]
    if look.graph is not None:
        ran = [p.name for p in look.graph.parameters]
        names = sorted((n for n in names if n in ran), key=ran.index)
    first_held = next((i for i, name in enumerate(names) if name not in missing), len(names))
    return first_held == len(names) or any(names.index(name) > first_held for name in missing if name in names)


def _hidden(graph: Graph | None) -> tuple[str, ...]:
    """Return nodes whose weights are parameters that no module of the network registers."""
    if graph is None:
        return ()
    own = {id(p.tensor) for p in graph.parameters}
    found = list[str]()
    for node in weight_nodes(graph):
        constants = [s.parameters["value"].tensor for s in node.sources if s.call == "constant" and s.parameters]
        plain = [p.tensor for p in node.parameters.values() if p.kind == "constant"]
        learnable = [t for t in (*constants, *plain) if isinstance(t, torch.nn.Parameter) and id(t) not in own]
        found += [node.name] if learnable else []
    return tuple(found)


def _left_out(says: str, evidence: str, confirmed: str, names: Any) -> Finding:
    return Finding(cause="not-in-optimizer", says=says, evidence=(evidence,), confirmed_by=confirmed,
                   numbers={"parameters": list(names)})  # fmt: skip


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _listed(names: Any) -> str:
    shown = ", ".join(f"`{name}`" for name in [*names][:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def batch_mixing(look: Look) -> Found | str | None:
    """Change one image of a batch and see whether the outputs of the others change."""
    graph, inputs = look.graph, look.setup.prepare(look.batch[0][:8])
    if len(inputs) < 3:
        return "fewer than three images"
    if not isinstance(look.outputs, Tensor) or look.outputs.shape[:1] != look.batch[0].shape[:1]:
        return "the network's output has no axis of images"
    changed = inputs.clone()
    changed[0] = changed[0].flip(-1) * 1.5 + 0.5 * (changed[0].float().std() + 1e-3).to(changed.dtype)
    both = []
    with torch.no_grad():
        for given in (inputs, changed):
            torch.manual_seed(0)
            both.append(look.calm.model(given))
    scale = float((both[0][0] - both[1][0]).abs().max())
    moved = float((both[0][1:] - both[1][1:]).abs().max())
    # Float32 rounding in kernels that take another path for another image stays under 1e-5 of the outputs.
    if not moved > 1e-4 * max(scale, float(both[0].abs().max())):
        return None
    node = None if graph is None else _first_mixing(look, inputs, changed)
    cause = "batch-norm-misuse" if node is not None and "batch_norm" in node.call else "batch-mixing"
    where = f"`{node.name}` ({node.call})" if node is not None else "the network"
    finding = Finding(
        cause=cause,
        says=f"{where} lets one image change what the network says about the others, in evaluation mode.",
        evidence=(f"outputs of the other {len(inputs) - 1} images moved by up to {moved:.2g}, its own by {scale:.2g}",),
        confirmed_by="one image of a batch was changed; nothing else",
        numbers={"layer": None if node is None else node.name, "moved": moved},
    )
    return Found(finding, look.setup if cause == "batch-norm-misuse" else None)


def _first_mixing(look: Look, inputs: Tensor, changed: Tensor) -> Node | None:
    """Return the first node at which images that were not changed differ."""
    graphs = []
    for given in (inputs, changed):
        torch.manual_seed(0)
        graphs.append(capture(look.calm.model, given, keep_values=True))
    for a, b in zip(graphs[0].nodes, graphs[1].nodes, strict=False):
        old, new = graphs[0].value(a), graphs[1].value(b)
        if not old.is_floating_point() or old.ndim == 0 or old.shape != new.shape or a.call == "constant":
            continue
        differ = (old - new).abs() > 1e-5 * old.abs().max().clamp(min=1e-6)
        if len(old) != len(inputs) or bool(differ[1:].any()):
            return a
    return None


def dropout_at_evaluation(look: Look) -> Found | str | None:
    """Run the network twice in evaluation mode."""
    if not isinstance(look.outputs, Tensor):
        return "the network returns no single tensor"
    torch.manual_seed(1)
    with torch.no_grad():
        again = look.calm.outputs(look.batch[0])
    moved = float((again - look.outputs).abs().max())
    if not moved > 1e-4 * max(float(look.outputs.abs().max()), 1e-12):
        return None
    calls = [] if look.graph is None else [node for node in look.graph.nodes if "dropout" in node.call]
    if look.graph is not None and not calls:
        return "outputs in evaluation mode are random, but not by dropout"
    where = f"`{calls[0].name}`" if calls else "a dropout"
    finding = Finding(
        cause="dropout-at-evaluation",
        says=f"{where} is active in evaluation mode: the same images get different answers.",
        evidence=(f"outputs of {len(again)} images differ by up to {moved:.2g} between two runs",),
        confirmed_by="the network was run twice in evaluation mode on the same images",
        numbers={"layer": calls[0].name if calls else None, "moved": moved},
    )
    return Found(finding, look.setup)


def no_activation(look: Look) -> Found | str | None:
    """Find layers with weights that are together one affine map."""
    graph = look.graph
    if graph is None:
        return "the network cannot be captured as a graph"
    nodes, pairs = weight_nodes(graph), affine_pairs(graph)
    bent = has_activation(graph)
    found = [pair for pair in pairs if not is_meant(pair)] if bent else [*pairs]
    if len(nodes) < 2 or (bent and not found):
        return None
    evidence = f"{len(found)} of {len(nodes) - 1} transitions between layers with weights are affine"
    if not bent:
        evidence = f"{len(nodes)} layers with weights and no activation in the whole network"
    repaired = look.setup.edited(calls=with_activations(len(nodes)))
    where = f"`{found[0].first.name}` and `{found[0].second.name}`" if found else f"`{nodes[0].name}` and what follows"
    finding = Finding(
        cause="no-activation",
        says=f"nothing non-linear stands between {where}.",
        evidence=(evidence,),
        confirmed_by="every operation between them was read from the graph: " + _affinity(look, found)
        + f"; with ReLU there: {repaired.train().text()}, as it is: {look.baseline.text()}",
        fix=f"Put an activation such as nn.ReLU() between {where}.",
        numbers={"pairs": [[pair.first.name, pair.second.name] for pair in found]},
    )  # fmt: skip
    return Found(finding, repaired)


def _affinity(look: Look, found: list[Any]) -> str:
    """Say what is affine; where the whole network is, by numbers."""
    x = look.setup.prepare(look.batch[0][:2]).float()
    if len(x) < 2:
        return "all are affine"
    with torch.no_grad():
        a, b, middle = (look.calm.model(part[None]) for part in (x[0], x[1], (x[0] + x[1]) / 2))
    apart = float(((a + b) / 2 - middle).abs().max() / (a.abs().max() + 1e-12))
    return f"the answer to the mean of two images is the mean of the answers to within {percent(apart)}"
