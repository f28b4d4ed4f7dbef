"""Opens feature networks by a text: random, vgg16:FILE, vgg19:FILE or discriminator:PATH."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.errors import ConfigError
from unpaired.networks.discriminator_files import TrainedDiscriminator, read_discriminator
from unpaired.networks.perceptual import FeatureNetwork, as_buffers, outside_modes
from unpaired.networks.random_pyramid import RandomPyramid
from unpaired.networks.vgg import PUBLISHED, Depth, relu_places, vgg_layers
from unpaired.storage import at_home, shown
from unpaired.suggestions import unknown

if TYPE_CHECKING:
    from unpaired.untrusted.weights import Weights

KINDS = ("random", "vgg16:FILE", "vgg19:FILE", "discriminator:PATH")
"""The forms of a source of features."""

# Of the weights that PyTorch publishes, on the scale [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# Content and style: Gatys et al. 2016, section 3 and figure 1; for VGG-16 Johnson et al. 2016, section 4.1.
_CONTENT: dict[Depth, tuple[str, ...]] = {16: ("relu2_2",), 19: ("relu4_2",)}
_STYLE: dict[Depth, tuple[str, ...]] = {
    16: ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    19: ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
}


def open_features(source: str, channels: int, *, sha256: str = "") -> FeatureNetwork:
    """Return the feature network that a text names, for images with this number of channels.

    Raises ConfigError if the text or the channels do not fit, ModelError if a file is missing, damaged or another one.

    Args:
        source: "random"; "vgg16:FILE" or "vgg19:FILE" with a state dict as PyTorch publishes it;
            "discriminator:PATH" with a run, one of its checkpoints, or a model folder.
        channels: channels of the images; VGG takes 3, or 1, which it repeats.
        sha256: the required hash of the file or weights, all 64 digits or its first 8 or more; "" for any.
    """
    kind, colon, place = source.partition(":")
    if source == "random":
        found: FeatureNetwork = RandomPyramid(channels)
        return _checked(found, source, sha256)
    require(
        kind in ("vgg16", "vgg19", "discriminator") and bool(colon),
        unknown(repr(source), KINDS, "source of features"),
    )
    require(bool(place), f"{source} names no file; write {kind}:PATH.")
    if kind == "discriminator":
        trained = outside_modes(lambda: read_discriminator(at_home(place), channels))
        return _checked(DiscriminatorFeatures(trained), source, sha256)
    require(channels in (1, 3), f"{kind} takes images with 3 channels, or 1, not {channels}; use features random.")
    depth: Depth = 16 if kind == "vgg16" else 19
    return VGGFeatures(depth, *outside_modes(lambda: _read_vgg(depth, place, sha256)))


class VGGFeatures(FeatureNetwork):
    """All ReLUs of VGG-16 or VGG-19, with the normalisation of PyTorch's weights and max pooling."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, depth: Depth, network: nn.Sequential, weights: Weights) -> None:
        places = relu_places(depth)
        published = weights.named(PUBLISHED[depth])
        super().__init__(
            title=f"VGG-{depth}, {'published weights' if published else 'other weights'}, SHA-256 {weights.sha256[:8]}",
            sha256=weights.sha256,
            layers=tuple(places),
            content=_CONTENT[depth],
            style=_STYLE[depth],
            min_size=16,
        )
        self.network = as_buffers(network)
        self._names = {place: name for name, place in places.items()}
        self.register_buffer("mean", _column(_MEAN), persistent=False)
        self.register_buffer("deviation", _column(_DEVIATION), persistent=False)

    def maps(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the named maps of images n 3 h w, or n 1 h w, which are repeated."""
        x = ((images.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.deviation
        assert isinstance(self.network, nn.Sequential)
        return _taps(x, self.network, {place: name for place, name in self._names.items() if name in layers})


class DiscriminatorFeatures(FeatureNetwork):
    """The activations of a trained discriminator: layer1, layer2, ... of a PatchGAN, without its scores."""

    def __init__(self, trained: TrainedDiscriminator) -> None:
        network = _sequence(trained.network)
        require(
            network is not None,
            f"The discriminator {trained.config.kind} of {shown(trained.path)} has no sequence of layers; use one of "
            "kind patchgan, or features random.",
        )
        assert network is not None
        places = [place for place, module in enumerate(network) if isinstance(module, (nn.LeakyReLU, nn.ReLU))]
        names = tuple(f"layer{number}" for number in range(1, len(places) + 1))
        super().__init__(
            title=f"the discriminator of {trained.domain} in {shown(trained.path.name)}",
            sha256=trained.sha256,
            layers=names,
            content=names[-1:],
            style=names,
            min_size=trained.config.min_size,
        )
        self._names = dict(zip(places, names, strict=True))
        self.network = as_buffers(network)

    def maps(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the named maps of images with the channels that the discriminator was trained on."""
        assert isinstance(self.network, nn.Sequential)
        return _taps(images, self.network, {place: name for place, name in self._names.items() if name in layers})


def _taps(x: Tensor, network: nn.Sequential, names: dict[int, str]) -> dict[str, Tensor]:
    """Run the layers up to the last named one, and return the outputs of the named ones."""
    found = {}
    for place, layer in enumerate(network.children()):
        x = layer(x)
        if place in names:
            found[names[place]] = x
        if len(found) == len(names):
            break
    return found


def _sequence(network: nn.Module) -> nn.Sequential | None:
    """Return the layers of a discriminator, those of the first one if there are several."""
    several = getattr(network, "networks", None)
    first = several[0] if isinstance(several, nn.ModuleList) and len(several) else network
    layers = getattr(first, "layers", None)
    return layers if isinstance(layers, nn.Sequential) else None


def _read_vgg(depth: Depth, place: str, sha256: str) -> tuple[nn.Sequential, Weights]:
    from unpaired.untrusted.weights import fill

    path = at_home(place)
    stat = path.stat() if path.is_file() else None
    weights = _vgg_weights(path, sha256, (stat.st_size, stat.st_mtime_ns) if stat else (0, 0))
    network = vgg_layers(depth)
    fill(network, weights, f"VGG-{depth}")
    return network, weights


@lru_cache(maxsize=1)
def _vgg_weights(path: Path, sha256: str, version: tuple[int, int]) -> Weights:
    """Read the convolutions of a file; cached, since a run opens its features several times before it starts."""
    from unpaired.untrusted.weights import Weights, read_weights

    weights = read_weights(path, sha256=sha256 or None)
    prefix = "features."
    state = {key.removeprefix(prefix): value for key, value in weights.state.items() if key.startswith(prefix)}
    return Weights(weights.path, weights.sha256, state)


def _checked(features: FeatureNetwork, source: str, sha256: str) -> FeatureNetwork:
    """Return the features if their weights have the required hash. Raises ConfigError."""
    wanted = sha256.lower().strip()
    if sha256 and (len(wanted) < 8 or not features.sha256.startswith(wanted)):
        raise ConfigError(
            f"The features {shown(source)} are others: their SHA-256 is {features.sha256}, not {shown(sha256)[:80]}; "
            "give the path of the former ones."
        )
    return features


def _column(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values)[:, None, None]
