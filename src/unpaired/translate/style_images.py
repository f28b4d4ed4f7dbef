"""The images of a style, and their averaged Gram matrices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from unpaired.errors import ImageError, UnpairedError
from unpaired.images import Image, is_stack, read_header, read_image
from unpaired.images.input_spec import InputSpec
from unpaired.networks.gram import gram
from unpaired.networks.perceptual import FeatureNetwork
from unpaired.storage import shown


class StyleImages:
    """One image or a collection, read when its Gram matrices are computed.

    read: a function for each image. sha256: of all files, which results depend on. names: of the images, for errors.
    """

    def __init__(self, read: Sequence[Callable[[], Image]], sha256: str, names: Sequence[str] = ()) -> None:
        self._read, self.sha256 = list(read), sha256
        self._names = list(names) or [f"number {index + 1}" for index in range(len(self._read))]

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> StyleImages:
        """Return the images of files, each slice of a stack being one. Raises ImageError for a file that is no image.

        Pixels are decoded later, when Gram matrices are computed.
        """
        digest, read, names = hashlib.sha256(), list[Callable[[], Image]](), list[str]()
        for path in paths:
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ImageError(f"Cannot read the style {shown(path)}: {error.strerror}; check the file.") from None
            frames = read_header(path).frames
            count = frames if is_stack(path) else 1
            read += [partial(read_image, path, frame=number) for number in range(count)]
            names += [shown(path)] * count
        return cls(read, digest.hexdigest(), names)

    def __len__(self) -> int:
        return len(self._read)

    def __getitem__(self, index: int) -> Image:
        return self._read[index]()

    def grams(
        self, features: FeatureNetwork, spec: InputSpec, pixels: int, device: torch.device
    ) -> Mapping[str, Tensor]:
        """Return the Gram matrices 1 c c by layer, averaged over the images (CycleGAN, section 5.2).

        As published, images are scaled to the area of the content image, `pixels`, so that textures keep their scale
        relative to it; smaller ones are not enlarged. Layers that a small image lacks are averaged over the others.
        Raises ImageError, with the name of the image, if one is damaged or does not fit `spec`.
        """
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for index in range(len(self)):
            images = self._tensor(index, features, spec, pixels).to(device)
            for layer, maps in features(images, features.style).items():
                sums[layer] = sums.get(layer, 0) + gram(maps)
                counts[layer] = counts.get(layer, 0) + 1
        return {layer: total / counts[layer] for layer, total in sums.items()}

    def _tensor(self, index: int, features: FeatureNetwork, spec: InputSpec, pixels: int) -> Tensor:
        """Return an image as a tensor 1 c h w, scaled to at most `pixels`."""
        try:
            image = self[index]
            return spec(image, scaled(image, pixels, features.min_size))[None]
        except UnpairedError as error:
            raise ImageError(f"The style image {self._names[index]} cannot be used: {error}") from None


def scaled(image: Image, pixels: int, least: int) -> tuple[int, int]:
    """Return height and width of an image scaled to at most `pixels`, with sides of at least `least`."""
    scale = min(1.0, (pixels / (image.height * image.width)) ** 0.5)
    return max(round(image.height * scale), least), max(round(image.width * scale), least)
