"""Neural style transfer by optimising each image (Gatys, Ecker, Bethge, CVPR 2016), as the generator of a Translator.

So images are read, prepared, finished and written as with a trained model. There is no training; each image takes
minutes instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.devices import resolve_device
from unpaired.errors import ConfigError
from unpaired.images.input_spec import InputSpec
from unpaired.models.input_specs import target_spec
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo
from unpaired.networks.feature_sources import open_features
from unpaired.networks.gram import content_distance, style_distance, total_variation
from unpaired.networks.perceptual import FeatureNetwork
from unpaired.translate.backends.backend_protocol import Batch, Capabilities, RunOptions
from unpaired.translate.lbfgs import minimise
from unpaired.translate.pixel_limit import expected_bytes, pixels_that_fit
from unpaired.translate.precision import Computed, PrecisionPolicy
from unpaired.translate.style_images import StyleImages
from unpaired.translate.translator import Translator

Progress = Callable[[int, int], None]
"""Called with the finished iterations of an image and their number."""

_OUTSIDE_WEIGHT = 10.0  # of values outside [-1, 1], which no file holds
_MOST_GRAMS = 4  # content areas whose Gram matrices are kept


@dataclass(frozen=True, kw_only=True)
class StyleTransfer:
    """Settings of the optimisation; they stand in place of a generator's.

    features: a text as in `open_features`. strength: weight of the style distance relative to the content distance.
    variation_weight: weight of the total variation, which suppresses noise (Johnson et al. 2016, section 3.2; 0 in
    Gatys et al.).
    num_iterations: steps of L-BFGS for each image. min_size: smallest side of an image; smaller ones are padded.
    """

    kind: ClassVar[str] = "style-transfer"
    searches: ClassVar[bool] = True
    features: str = "random"
    features_sha256: str = ""
    strength: float = 30.0
    variation_weight: float = 1.0
    num_iterations: int = 100
    multiple: int = field(default=1, init=False)
    min_size: int = 16

    def __post_init__(self) -> None:
        for name in ("strength", "variation_weight"):
            require(getattr(self, name) >= 0, f"The {name} of a style must not be negative, not {getattr(self, name)}.")
        most = 10_000
        ok = 1 <= self.num_iterations <= most
        require(ok, f"The iterations of a style must be 1 to {most}, not {self.num_iterations}.")

    @property
    def bytes_per_pixel(self) -> int:
        """Peak bytes per pixel of an image, measured (2,600 with random features, 3,300 with VGG-19) and rounded up."""
        return 3_000 if self.features == "random" else 4_500

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """Raise ConfigError: style transfer has no network that could be trained or loaded."""
        raise ConfigError("style-transfer is no generator of a model; train a network for a style with --recipe style.")


class StyleGenerator:
    """Optimises images one at a time; the `LoadedGenerator` of a direction."""

    def __init__(
        self,
        settings: StyleTransfer,
        features: FeatureNetwork,
        styles: StyleImages,
        spec: InputSpec,
        device: torch.device,
        progress: Progress | None = None,
    ) -> None:
        """spec: converts the style images to tensors."""
        self.settings, self.torch_device = settings, device
        self._features, self._styles, self._spec = features.to(device), styles, spec
        self._progress = progress or (lambda iteration, number: None)
        self._grams: dict[int, Mapping[str, Tensor]] = {}
        self.capabilities = Capabilities(
            device=str(device), max_batch=1, one_by_one=("fp32",), bytes_per_pixel=settings.bytes_per_pixel
        )

    def run(self, images: Batch, options: RunOptions) -> Batch:
        """Translate n c h w, as documented in `LoadedGenerator`."""
        made: Batch = np.asarray(self.run_tensor(torch.from_numpy(images), options).cpu().numpy())
        return made

    def run_tensor(self, images: Tensor, options: RunOptions) -> Tensor:
        """Return images n c h w with the content of `images` and the style of the style images, on the device."""
        try:
            # Also under inference mode, where no gradient could be computed.
            with torch.inference_mode(False), torch.enable_grad():
                return torch.cat([self._optimised(image[None].clone()) for image in images.to(self.torch_device)])
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "memory" not in str(error):
                raise
            raise MemoryError from None

    def expected_bytes(self, pixels: int, precision: Computed = "fp32") -> int:
        """Return the approximate memory of an image with this many pixels."""
        return expected_bytes(self.settings, pixels)

    def pixels_that_fit(self, precision: Computed = "fp32") -> int | None:
        """Return the pixels of an image for which there is free memory; None if unknown."""
        return pixels_that_fit(self.settings, self.torch_device)

    def hash_into(self, update: Callable[[bytes], object]) -> None:
        """Call `update` with the hashes of the features and of the style images."""
        update(f"{self._features.sha256} {self._styles.sha256}\n".encode())

    def _optimised(self, image: Tensor) -> Tensor:
        """Return the image 1 c h w after the optimisation, which starts from it."""
        features, number = self._features, self.settings.num_iterations
        strength, variation = self.settings.strength, self.settings.variation_weight
        image = image.contiguous()
        with torch.no_grad():
            content = features(image, features.content)
            style = self._style_of(image.shape[-2] * image.shape[-1])
        layers = {*features.content, *style}

        def loss(candidate: Tensor) -> Tensor:
            maps = features(candidate, layers)
            distance = content_distance(maps, content) + strength * style_distance(maps, style)
            outside = (candidate.abs() - 1).clamp(min=0).square().mean()
            return distance + variation * total_variation(candidate) + _OUTSIDE_WEIGHT * outside

        made = minimise(loss, image, number, lambda iteration: self._progress(iteration, number))
        self._progress(number, number)  # also if it ended early
        return made.clamp(-1, 1)

    def _style_of(self, pixels: int) -> Mapping[str, Tensor]:
        """Return the averaged Gram matrices for contents of this area."""
        if pixels not in self._grams:
            if len(self._grams) >= _MOST_GRAMS:
                self._grams.pop(next(iter(self._grams)))
            self._grams[pixels] = self._styles.grams(self._features, self._spec, pixels, self.torch_device)
        return self._grams[pixels]


def style_translator(
    styles: StyleImages,
    settings: StyleTransfer | None = None,
    *,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Translator:
    """Return a translator AtoB that gives any image the style of an image or of a collection.

    Results have the bands of the style images: three for grey and colour. Raises ConfigError, ModelError, ImageError.
    """
    bands = styles[0].channels
    channels = 3 if bands in (1, 3) else bands
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=StyleTransfer(), in_channels=channels, out_channels=channels)},
        domains={"A": "content", "B": "style"},
        training=TrainingInfo(step=None, seed=None, load_size=None, crop_size=None, objective="style-transfer"),
    )
    return stylised(info, {"AtoB": styles}, settings, device=device, max_pixels=max_pixels, progress=progress)


def stylised(
    info: ModelInfo,
    styles: Mapping[str, StyleImages],
    settings: StyleTransfer | None = None,
    *,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Translator:
    """Return a translator with the values, channels and domains of a model that transfers styles instead.

    styles: by direction. Raises ConfigError if input and output of a direction differ in channels.
    """
    on, described, generators = resolve_device(device), {}, {}
    for direction, images in styles.items():
        known = info.directions[direction]
        require(
            known.in_channels == known.out_channels,
            f"Style transfer keeps the channels of an image, and {direction} turns {known.in_channels} into "
            f"{known.out_channels}; it has no such baseline.",
        )
        chosen = settings or StyleTransfer()
        features = open_features(chosen.features, known.in_channels, sha256=chosen.features_sha256)
        chosen = replace(chosen, features_sha256=features.sha256, min_size=features.min_size)
        described[direction] = DirectionInfo(
            generator=chosen, in_channels=known.in_channels, out_channels=known.in_channels
        )
        spec = target_spec(info, direction)
        generators[direction] = StyleGenerator(chosen, features, images, spec, on, progress)
    made = Translator(replace(info, directions=described), generators, max_pixels=max_pixels)
    made.policy = PrecisionPolicy("fp32", "the only precision of style transfer")
    return made
