"""What the guardian looks at: a dozen numbers about the networks at one step, from what the step left and one probe.

Nothing here leaves a trace: no weight, statistic, pool or random draw of training is touched.
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
from unpaired.selection.validation import NO_NUMBER
from unpaired.training.inference_weights import in_use
from unpaired.training.state import TrainingState

Figures = dict[str, float]

_COARSE = 16
_FLAT = 1e-3  # below this deviation an image has nothing to correlate with


@torch.no_grad()
def observe(state: TrainingState, probe: Batch, terms: Mapping[str, Tensor], *, unpaired: bool) -> Figures:
    """Return the figures of a step that was just taken, by name, each finite.

    probe: a few images of both domains, the same ones at every look. terms: the losses of the step. unpaired: whether
    colours should go with those of the input, as they need not where pairs tell the truth.
    discriminator_X: the loss of X's discriminator; gradient_PLAYER: root mean square of the gradient over a player's
    weights, as the step left them; correlation_D, spread_D, flat_D: of direction D, see the functions of these names.
    A figure that makes no sense for a method or for these images is left out.
    """
    figures = {name: term.item() for name, term in terms.items() if name.startswith("discriminator_")}
    for player, networks in state.objective.players().items():
        found = gradient(networks)
        if found is not None:
            figures[f"gradient_{player}"] = found
    with in_use(state.objective), torch_seeded(0, "guardian"):
        for direction, network in state.objective.generators().items():
            ends = (probe.a, probe.b) if direction == "AtoB" else (probe.b, probe.a)
            for name, value in _translating(network, *ends, unpaired=unpaired).items():
                figures[f"{name}_{direction}"] = value
    return {name: _finite(value) for name, value in figures.items()}


def _translating(network: nn.Module, source: Tensor, target: Tensor, *, unpaired: bool) -> Figures:
    """Return what one translator makes of the probe, by the names of the functions below."""
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
    """Return how the colours of translations go with those of their inputs, in [-1, 1], the mean over the images.

    Pearson's over 16 x 16 places and all channels (their mean where they differ in number), each channel about its
    own mean: -1 is a photographic negative. None where every image is flat.
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
    """Return how much translations of different inputs differ, relative to how much real images of their domain do.

    The deviation over images at each of 16 x 16 places, root mean square; 0 where there is one output for everything.
    None where the real images are all alike.
    """
    deviations = [coarse(images).var(dim=0, correction=0).mean().sqrt() for images in (made, real)]
    return float(deviations[0] / deviations[1]) if deviations[1] > _FLAT else None


def gradient(networks: nn.Module) -> float | None:
    """Return the root mean square of the gradient over the weights that have one; None where none has."""
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
    """Collect the largest absolute activation of every layer that is run in the body."""
    found: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            found.append(torch.linalg.vector_norm(output.float(), math.inf))

    layers = [layer for layer in network.modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def largest(found: list[Tensor]) -> float:
    """Return the largest of the peaks, infinity where one is no number."""
    values = torch.stack(found)
    return float(values.max()) if torch.isfinite(values).all() else math.inf


def _finite(value: float) -> float:
    return min(max(value, -NO_NUMBER), NO_NUMBER) if not math.isnan(value) else NO_NUMBER
