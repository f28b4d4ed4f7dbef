"""LPIPS: a perceptual distance of two images, from the features of a classifier.

Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
2018, version 0.1, in plain torch, with weights from two files of the user: AlexNet or VGG-16 in its usual file, and the
authors' channel weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from unpaired.images.tensors import floats
from unpaired.networks.vgg import PUBLISHED as PUBLISHED_VGG
from unpaired.networks.vgg import vgg_layers
from unpaired.untrusted.weights import Weights, fill, read_weights

Trunk = Literal["alex", "vgg"]

PUBLISHED: dict[Trunk, str] = {"alex": "7be5be79", "vgg": PUBLISHED_VGG[16]}
"""How the SHA-256 of the published classifiers begin: alexnet-owt-7be5be79.pth and vgg16-397923af.pth say it."""

MIN_SIZE: dict[Trunk, int] = {"alex": 31, "vgg": 16}

# Of ImageNet, on the scale [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class LPIPS:
    """The two networks and the origin of their weights; call it with two batches of images."""

    def __init__(self, trunk: Trunk, network: LPIPSModule, classifier: Weights, channels: Weights) -> None:
        self.trunk, self.network = trunk, network
        self.classifier_sha256, self.channels_sha256 = classifier.sha256, channels.sha256
        self.is_published = classifier.named(PUBLISHED[trunk])

    @classmethod
    def load(
        cls,
        classifier: str | Path,
        channels: str | Path,
        *,
        trunk: Trunk = "alex",
        classifier_sha256: str | None = None,
        channels_sha256: str | None = None,
        device: str = "cpu",
    ) -> LPIPS:
        """Read both files; layers of the classifier that are not needed are left out.

        Raises ModelError if a hash differs or the weights do not fit.

        Args:
            classifier: the file of AlexNet or VGG-16.
            channels: the authors' weights/v0.1/alex.pth or vgg.pth.
            trunk: "alex" or "vgg".
            classifier_sha256: the required hash of the first file, None for any.
            channels_sha256: that of the second one.
            device: the device of the networks.
        """
        network = LPIPSModule(trunk)
        first = read_weights(classifier, sha256=classifier_sha256)
        fill(network.features, _within(first, "features."), f"the {trunk} classifier of LPIPS")
        second = read_weights(channels, sha256=channels_sha256)
        fill(network.lin, _renamed(second), f"the {trunk} channel weights of LPIPS")
        return cls(trunk, network.to(device).eval(), first, second)

    @property
    def title(self) -> str:
        """The name of the network, shown with each of its figures; with other weights it is not called LPIPS."""
        hashes = f"SHA-256 {self.classifier_sha256[:8]} and {self.channels_sha256[:8]}"
        return f"LPIPS {self.trunk}, {hashes}" if self.is_published else f"perceptual distance, other weights, {hashes}"

    @torch.inference_mode()
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return n distances, 0 for equal images, of two batches n c h w in [-1, 1] or uint8; c is 1 or 3.

        Raises ValueError if shapes differ, c is another number, or a side is below 31 (alex) or 16 (vgg) pixels.
        """
        if x.shape != y.shape or x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"Two batches n 3 h w or n 1 h w are needed, not {(*x.shape,)} and {(*y.shape,)}.")
        smallest = MIN_SIZE[self.trunk]
        if min(x.shape[-2:]) < smallest:
            raise ValueError(f"LPIPS {self.trunk} needs images of at least {smallest}x{smallest} pixels.")
        device = next(self.network.parameters()).device
        u, v = (floats(images).float().to(device).expand(-1, 3, -1, -1) for images in (x, y))
        distances: Tensor = self.network(u, v)
        return distances.cpu()


class LPIPSModule(nn.Module):
    """Maps two batches n 3 h w in [-1, 1] to n distances.

    features: the convolutions of the classifier, numbered as in its files. lin: a weight for each channel of each
    layer.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.features = _alexnet() if trunk == "alex" else vgg_layers(16)
        # The layers that are compared, and their channels.
        taps = (
            {1: 64, 4: 192, 7: 384, 9: 256, 11: 256} if trunk == "alex" else {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}
        )
        self.taps = tuple(taps)
        self.lin = nn.ParameterList(torch.ones(1, channels, 1, 1) for channels in taps.values())
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared differences of unit-length features, weighted, averaged over positions, summed over
        layers.
        """
        x, y = (x - self.shift) / self.scale, (y - self.shift) / self.scale
        total: Tensor = x.new_zeros(len(x))
        for number, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if number in self.taps:
                weights = self.lin[self.taps.index(number)]
                total = total + ((_unit_length(x) - _unit_length(y)).square() * weights).sum(dim=1).mean(dim=(1, 2))
        return total


def _unit_length(features: Tensor) -> Tensor:
    length: Tensor = features.norm(dim=1, keepdim=True)
    return features / (length + _EPSILON)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _within(weights: Weights, prefix: str) -> Weights:
    """Return the part of a state dict with a prefix, without that prefix."""
    state = {key.removeprefix(prefix): value for key, value in weights.state.items() if key.startswith(prefix)}
    return Weights(weights.path, weights.sha256, state)


def _renamed(weights: Weights) -> Weights:
    """Return the state dict with the name 0 for lin0.model.1.weight of the authors, and so on."""
    state = {key.removeprefix("lin").removesuffix(".model.1.weight"): value for key, value in weights.state.items()}
    return Weights(weights.path, weights.sha256, state)
