"""Feature networks for losses on images: fixed weights, named maps, and gradients with respect to the images.

Three kinds, chosen by a text as in settings and options (`unpaired.networks.feature_sources.open_features`): random
convolutions, the layers of a trained discriminator, and VGG-16 or VGG-19.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.images.tensors import floats

ResultT = TypeVar("ResultT")


class FeatureNetwork(nn.Module, ABC):
    """Maps images n c h w in [-1, 1] to feature maps n c' h' w' by name, from shallow to deep.

    The weights are buffers outside the state dict: they follow `to(device)`, are neither trained nor saved, and belong
    to no average. The network stays in evaluation mode.

    title: the name in logs and model cards.
    sha256: of the weights; for VGG of the file.
    layers: the names of all maps.
    content: the maps to compare at each position, by default.
    style: the maps whose Gram matrices describe a style, by default.
    min_size: the smallest side of an image in pixels.
    """

    def __init__(
        self,
        *,
        title: str,
        sha256: str,
        layers: tuple[str, ...],
        content: tuple[str, ...],
        style: tuple[str, ...],
        min_size: int,
    ) -> None:
        super().__init__()
        self.title, self.sha256, self.min_size = title, sha256, min_size
        self.layers, self.content, self.style = layers, content, style

    def forward(self, images: Tensor, layers: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the maps with these names (all if none is given), float32; small images may lack some of them.

        Only the layers that are needed are computed. `images` are n c h w in [-1, 1], or uint8. Raises ConfigError if
        a side is below `min_size`, ValueError if a name is unknown.
        """
        images = floats(images)
        height, width = images.shape[-2:]
        require(
            min(height, width) >= self.min_size,
            f"Features from {self.title} need images of at least {self.min_size}x{self.min_size} pixels, not "
            f"{height}x{width}.",
        )
        unknown = [name for name in layers if name not in self.layers]
        if unknown:
            raise ValueError(f"{self.title} has no layer {unknown[0]}; it has {', '.join(self.layers)}.")
        return self.maps(images, layers or self.layers)

    @abstractmethod
    def maps(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the named maps of checked float images."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: features of an image must not depend on the rest of a batch or on random numbers."""
        return super().train(False)


def as_buffers(network: nn.Module) -> nn.Module:
    """Replace the weights of a network by buffers of the same values outside its state dict, and return it."""
    values = outside_modes(lambda: {name: value.numpy() for name, value in network.state_dict().items()})
    for path, value in values.items():
        parent, _, name = path.rpartition(".")
        module = network.get_submodule(parent)
        if name in dict(module.named_parameters(recurse=False)):
            delattr(module, name)
        # A new tensor: under FakeTensorMode it is a fake one.
        module.register_buffer(name, torch.tensor(value), persistent=False)
    return network.eval()


def outside_modes(read: Callable[[], ResultT]) -> ResultT:
    """Call a function that reads a file, without effect on torch's random generator.

    Another thread is outside FakeTensorMode, in which memory is counted and no tensor has values to check.
    """
    with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()
