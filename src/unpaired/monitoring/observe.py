"""The measurements of the guardian: a dozen numbers about the networks at one step, from its gradients and a probe.

Measuring changes no weight, statistic, pool or random draw of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.data.datasets import Batch
from unpaired.randomness import torch_seeded
from unpaired.selection.validation import NON_FINITE
from unpaired.training.inference_weights import inference_mode
from unpaired.training.state import TrainingState

Figures = dict[str, float]

_COARSE = 16
_FLAT = 1e-3  # below this standard deviation an image counts as constant, without a correlation


@torch.no_grad()
def observe(state: TrainingState, probe: Batch, terms: Mapping[str, Tensor], *, unpaired: bool) -> Figures:
    """Return the measurements of the step just taken, by name, each finite.

    probe: a few images of both domains, the same ones in every check.
    terms: the losses of the step.
    unpaired: whether colours of translations should correlate with those of inputs; pairs need not.

    discriminator_X is the loss of X's discriminator; gradient_PLAYER the root mean square of a player's gradients after
    the step; correlation_D, spread_D and flat_D belong to direction D, see the functions of these names. A measurement
    without meaning for the method or the images is left out.
    """
    figures = {name: term.item() for name, term in terms.items() if name.startswith("discriminator_")}
    for player, networks in state.objective.players().items():
        found = gradient(networks)
        if found is not None:
            figures[f"gradient_{player}"] = found
    with inference_mode(state.objective), torch_seeded(0, "guardian"):
        for direction, network in state.objective.generators().items():
            ends = (probe.a, probe.b) if direction == "AtoB" else (probe.b, probe.a)
            for name, value in _translating(network, *ends, unpaired=unpaired).items():
                figures[f"{name}_{direction}"] = value
    return {name: _finite(value) for name, value in figures.items()}


def _translating(network: nn.Module, source: Tensor, target: Tensor, *, unpaired: bool) -> Figures:
    """Return the measurements of one translator on the probe, by the names of the functions below."""
    with peaks(network) as found:
        made = network(source)
    figures, usual = {}, largest(found)
    if unpaired:
        figures["correlation"] = correlation(source, made)
    if len(made) > 1:
        figures["spread"] = spread(made, target)
    if source.shape[2:].numel() > 1:
        with peaks(network) as found:
            network(source.mean(dim=(0, 2, 3), keepdim=True).expand_as(source[:1]).contiguous())
        figures["flat"] = largest(found) / max(usual, 1e-12)
    return {name: value for name, value in figures.items() if value is not None}


def correlation(source: Tensor, made: Tensor) -> float | None:
    """Return the correlation of the colours of translations and inputs, in [-1, 1], averaged over the images.

    Pearson's correlation over 16 x 16 cells and all channels (over their mean if the numbers of channels differ), each
    channel about its own mean: -1 is a photographic negative. None if every image is constant.
    """
    if source.shape[1] != made.shape[1]:
        source, made = source.mean(dim=1, keepdim=True), made.mean(dim=1, keepdim=True)
    x, y = (coarse(images).flatten(2) for images in (source, made))
    x, y = x - x.mean(dim=2, keepdim=True), y - y.mean(dim=2, keepdim=True)
    deviations = x.square().mean(dim=(1, 2)).sqrt(), y.square().mean(dim=(1, 2)).sqrt()
    used = (deviations[0] > _FLAT) & (deviations[1] > _FLAT)
    if not used.any():
        return None
    return float(((x * y).mean(dim=(1, 2)) / (deviations[0] * deviations[1]))[used].mean())


def spread(made: Tensor, real: Tensor) -> float | None:
    """Return the variation of translations of different inputs, relative to that of real images of their domain.

    Root mean square of the standard deviation over images in each of 16 x 16 cells; 0 if all outputs are the same.
    None if the real images are all the same.
    """
    deviations = [coarse(images).var(dim=0, correction=0).mean().sqrt() for images in (made, real)]
    return float(deviations[0] / deviations[1]) if deviations[1] > _FLAT else None


def gradient(networks: nn.Module) -> float | None:
    """Return the root mean square of the gradient over the weights that have one; None if none has."""
    found = [weight.grad for weight in networks.parameters() if weight.grad is not None]
    if not found:
        return None
    return float(torch.nn.utils.get_total_norm(found)) / math.sqrt(sum(each.numel() for each in found))


def coarse(images: Tensor) -> Tensor:
    """Return images n c h w as the means of at most 16 x 16 cells: colours without texture."""
    h, w = images.shape[2:]
    return F.adaptive_avg_pool2d(images.float(), (min(h, _COARSE), min(w, _COARSE)))


@contextmanager
def peaks(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the largest absolute activation of every layer that runs in the block."""
    found: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            found.append(torch.stack(torch.aminmax(output)).float().abs().max())  # a tenth of the time of a norm

    layers = [layer for layer in network.modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def largest(found: list[Tensor]) -> float:
    """Return the largest of the peaks, infinity if one is NaN or infinite."""
    values = torch.stack(found)
    return float(values.max()) if torch.isfinite(values).all() else math.inf


def _finite(value: float) -> float:
    return min(max(value, -NON_FINITE), NON_FINITE) if not math.isnan(value) else NON_FINITE
