"""Starting weights by name, and dropout after the fact.

A layer with fan-in n_in (numbers it sums) and fan-out n_out draws its weights with variance

    glorot      2 / (n_in + n_out)   uniform; keeps the variance of activations and of gradients
    he          2 / n_in             normal; makes up for ReLU silencing half of the units
    xavier/2    2 / n_in             the name course texts give to He's: Xavier's 1 / n_in with n_in / 2

Biases start at 0 and normalisation layers as the identity.

Sources: Glorot and Bengio 2010, AISTATS, equation 16; He et al. 2015, arXiv:1502.01852, equation 10; Daugman 1985,
J. Opt. Soc. Am. A 2(7):1160-1169 (oriented filters as Gaussians times waves).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import ModelError, UsageError, nearest
from striate.models.lenet_layers import TableConv2d

__all__ = ["SCHEMES", "initialize", "oriented_edges", "set_dropout", "whitening_filters"]

SCHEMES = ("default", "glorot", "he", "xavier/2", "oriented-edges", "whitening")

_Weighted = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, TableConv2d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def initialize(model: nn.Module, scheme: str, *, seed: int, images: Tensor | None = None) -> None:
    """Give a network new starting weights, in place; the same seed gives the same weights.

    Args:
        model: Any network of convolutions, dense layers and layers with a `reset_parameters` of their own.
        scheme: "default" (what the network is built with: its paper's scheme where it has one, else PyTorch's),
            "glorot", "he", "xavier/2", "oriented-edges" (the first convolution as `oriented_edges`, the rest "he"), or
            "whitening" (the first convolution as `whitening_filters`, the rest as "default").
        seed: Any whole number.
        images: Normalised images (N, C, H, W) to whiten with; a thousand are enough.

    Raises:
        UsageError: there is no scheme of that name.
        ModelError: a layer that no scheme covers, or no first convolution to draw edges in.

    Example:
        >>> from striate import models
        >>> network = models.create("lenet5")
        >>> initialize(network, "oriented-edges", seed=0)
        >>> network.features.conv1.weight.sum().abs().item() < 1e-5
        True
    """
    if scheme not in SCHEMES:
        raise UsageError(
            f"initialize: `scheme` must be one of {', '.join(SCHEMES)}, got {scheme!r}.{nearest(str(scheme), SCHEMES)}"
        )
    if scheme in ("default", "whitening"):
        _reset_as_built(model, seed=seed)
        if scheme == "whitening":
            _whiten(_first_convolution(model), images)
        return
    edges = _first_convolution(model) if scheme == "oriented-edges" else None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, _Weighted):
                _draw(module, glorot=scheme == "glorot", generator=generator)
            elif next(module.parameters(recurse=False), None) is not None:
                _reset(module, name=name)
        if edges is not None:
            out_channels, in_channels, *kernel_size = edges.weight.shape
            edges.weight.copy_(oriented_edges(out_channels, in_channels, (kernel_size[0], kernel_size[1])))


def oriented_edges(out_channels: int, in_channels: int, kernel_size: tuple[int, int]) -> Tensor:
    """Hand-drawn filters of a first layer: edges and lines at all angles, in brightness and in colour contrast.

    Filter = Gaussian x wave(2 pi x' / k), x' along the filter's direction, k the larger side of the kernel; sine gives
    an edge, cosine a line. Each has sum 0 (blind to flat areas) and square sum 2, as He's filters have on average.

    Args:
        out_channels: Number of filters.
        in_channels: Channels of the image. Filters look at their sum, and, where there are several, at up to two
            contrasts between them (for RGB: red against blue, green against both).
        kernel_size: (kH, kW) in pixels, at least 2 each.

    Returns:
        (out_channels, in_channels, kH, kW)

    Raises:
        ModelError: a kernel of one pixel has no direction.

    Example:
        >>> oriented_edges(1, 1, (3, 3))[0, 0].sign().int()  # dark left, bright right
        tensor([[-1,  0,  1],
                [-1,  0,  1],
                [-1,  0,  1]], dtype=torch.int32)
    """
    if min(kernel_size) < 2:
        raise ModelError(
            f"oriented_edges: `kernel_size` must be at least 2 x 2, got {kernel_size}. Use the scheme 'he' instead."
        )
    # A line needs three pixels across; 2 x 2 kernels hold edges only.
    waves = (torch.sin, torch.cos) if min(kernel_size) > 2 else (torch.sin,)
    num_contrasts = min(in_channels, 3)
    num_angles = math.ceil(out_channels / (len(waves) * num_contrasts))
    rows, columns = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in kernel_size)
    envelope = torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * (max(kernel_size) / 4) ** 2))
    channels = torch.arange(in_channels, dtype=torch.float64)
    filters = torch.empty(out_channels, in_channels, *kernel_size, dtype=torch.float64)
    for index in range(out_channels):
        angle_index, rest = divmod(index, len(waves) * num_contrasts)
        contrast, wave = rest // len(waves), waves[rest % len(waves)]
        # An edge turned by 180 degrees is another filter after ReLU, a line is the same one.
        angle = (2 if wave is torch.sin else 1) * math.pi * angle_index / num_angles
        along = columns * math.cos(angle) + rows[:, None] * math.sin(angle)
        pattern = envelope * wave(2 * math.pi * along / max(kernel_size))
        pattern = pattern - pattern.mean()
        # Cosines over the channels: constant, first half against second, middle against ends.
        mix = torch.cos(math.pi * (channels + 0.5) * contrast / in_channels)
        kernel = mix[:, None, None] * pattern
        filters[index] = kernel * math.sqrt(2) / kernel.norm()
    return filters.to(torch.get_default_dtype())


def whitening_filters(images: Tensor, out_channels: int, kernel_size: tuple[int, int]) -> Tensor:
    r"""Return filters whose answers to the patches of these images are uncorrelated and of equal variance.

    With the covariance of the patches $E \Lambda E^\top$, filter i is $e_i / \sqrt{\lambda_i + \epsilon}$, strongest
    first; the second half of the filters are the negatives of the first, since what follows is one-sided.

    Args:
        images: (N, C, H, W), normalised.
        out_channels: Number of filters, even, at most twice the numbers in a patch.
        kernel_size: (kH, kW) in pixels.

    Returns:
        (out_channels, C, kH, kW)

    Raises:
        ModelError: there are more filters than directions, or an odd number of them.

    Source: Jordan 2024, arXiv:2404.00498, section 3.2; $\epsilon$ = 5e-4 as there.
    """
    channels, (height, width) = images.shape[1], kernel_size
    patch_size = channels * height * width
    if out_channels % 2 or out_channels > 2 * patch_size:
        raise ModelError(
            f"whitening_filters: `out_channels` must be even and at most {2 * patch_size} for patches of {channels} x "
            f"{height} x {width}, got {out_channels}. Use the scheme 'he', or the network airbench94."
        )
    patches = F.unfold(images.double(), kernel_size).transpose(1, 2).reshape(-1, patch_size)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    order = values.argsort(descending=True)[: out_channels // 2]
    filters = (vectors / (values + 5e-4).sqrt()).T[order].reshape(-1, channels, height, width)
    return torch.cat([filters, -filters]).to(images.dtype)


def set_dropout(model: nn.Module, p: float) -> int:
    """Set the probability of every dropout layer of a network, in place.

    Args:
        model: Any network.
        p: Probability of silencing a number in training, 0 (off) to below 1.

    Returns:
        The number of dropout layers that were set.

    Raises:
        UsageError: a probability out of range, or one above 0 for a network without dropout layers.

    Example:
        >>> from striate import models
        >>> set_dropout(models.create("mlp_mnist"), 0.2)
        2
    """
    if not 0 <= p < 1:
        raise UsageError(f"set_dropout: `p` must be at least 0 and below 1, got {p}.")
    layers = [module for module in model.modules() if isinstance(module, _DROPOUTS)]
    if not layers and p > 0:
        raise UsageError(
            f"set_dropout: `model` must have a dropout layer, got {type(model).__name__} without. Leave dropout out."
        )
    for layer in layers:
        layer.p = p
    return len(layers)


def _draw(module: nn.Module, *, glorot: bool, generator: torch.Generator) -> None:
    """New weights for one layer, drawn on the CPU so that every device starts from the same numbers."""
    weight = cast("Tensor", module.weight)
    fan_in, fan_out = _fans(module)
    if glorot:
        sample = torch.rand(weight.shape, generator=generator) * 2 - 1
        sample = sample * (6 / (fan_in + fan_out)).sqrt()
    else:
        sample = torch.randn(weight.shape, generator=generator) * (2 / fan_in).sqrt()
    weight.copy_(sample)
    if module.bias is not None:
        nn.init.zeros_(cast("Tensor", module.bias))


def _fans(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Numbers that one output of a layer sums, and outputs that one input goes into; shapes broadcast to the weight."""
    weight = cast("Tensor", module.weight)
    if isinstance(module, TableConv2d):
        return module.fan_in().cpu().float(), module.fan_out().cpu().float()
    groups = cast("int", getattr(module, "groups", 1))
    kernel = weight[0, 0].numel()
    return torch.tensor(float(weight.shape[1] * kernel)), torch.tensor(float(weight.shape[0] // groups * kernel))


def _reset(module: nn.Module, *, name: str) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is None:
        raise ModelError(
            f"initialize: layer `{name}` ({type(module).__name__}) must be a convolution, a dense layer or have "
            "`reset_parameters`, got neither. Give it that method."
        )
    reset()


def _reset_as_built(module: nn.Module, *, seed: int) -> None:
    devices = {parameter.device.index for parameter in module.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(index for index in devices if index is not None)):
        torch.manual_seed(seed)
        _reset_outermost(module, name="")


def _reset_outermost(module: nn.Module, *, name: str) -> None:
    """Call the `reset_parameters` nearest to the root: a network's own scheme covers all its layers."""
    if hasattr(module, "reset_parameters") or next(module.parameters(recurse=False), None) is not None:
        _reset(module, name=name)
        return
    for child_name, child in module.named_children():
        _reset_outermost(child, name=f"{name}.{child_name}".lstrip("."))


def _whiten(convolution: nn.Conv2d, images: Tensor | None) -> None:
    if images is None:
        raise UsageError(
            'initialize: `images` must be given for the scheme "whitening". Pass a thousand training images.'
        )
    height, width = convolution.kernel_size
    filters = whitening_filters(images, convolution.out_channels, (height, width))
    with torch.no_grad():
        convolution.weight.copy_(filters)


def _first_convolution(model: nn.Module) -> nn.Conv2d:
    """The first convolution in the order layers were defined."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module
    raise ModelError(
        f"initialize: `model` must have a convolution (Conv2d) for this scheme, got {type(model).__name__} without. "
        "Use the scheme 'he'."
    )
