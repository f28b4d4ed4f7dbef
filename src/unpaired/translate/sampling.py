"""Sampling: images generated from noise by a trained GAN or conditional GAN."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from unpaired.config import require
from unpaired.devices import resolve_device
from unpaired.errors import ConfigError, OutputError
from unpaired.images import Image, from_tensor, write_image
from unpaired.models.model_folder import ModelInfo, read_model
from unpaired.networks.protocols import makes_from_noise
from unpaired.randomness import rng
from unpaired.storage import shown, storage_error
from unpaired.suggestions import unknown

_DIRECTION = "AtoB"
_BATCH = 64


class Sampler:
    """Generates images with the generator of a GAN. `classes`: the class names, () for an unconditional GAN."""

    def __init__(self, info: ModelInfo, network: nn.Module, *, device: str = "auto") -> None:
        self.info, self.classes = info, info.classes
        self.device = resolve_device(device)
        self._network = network.to(self.device)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Sampler:
        """Return the sampler of a run or model folder. Raises ModelError; ConfigError for a translation model."""
        info, networks = read_model(path)
        direction = info.directions.get(_DIRECTION)
        if direction is None or not makes_from_noise(direction.generator):
            raise ConfigError(
                f"{shown(path)} translates images and does not generate any from noise; use `unpaired translate`."
            )
        return cls(info, networks[_DIRECTION], device=device)

    def __call__(self, count: int, *, seed: int = 0, class_name: str | None = None) -> Iterator[tuple[str, Image]]:
        """Yield `count` images with the class name of each, "" without classes.

        They have the dtype of the training images. Image k depends on (seed, k, class) only. Without `class_name` the
        classes alternate. Raises ConfigError for an unknown class and for a count below 1.
        """
        require(count >= 1, f"The number of images must be at least 1, not {count}.")
        if class_name is not None and class_name not in self.classes:
            if not self.classes:
                sentence = f"This model has no classes, so it cannot generate {class_name!r}; leave out class_name."
                raise ConfigError(sentence, setting="class_name")
            raise ConfigError(unknown(class_name, self.classes, "class"))
        names = self.classes if class_name is None else (class_name,)
        for start in range(0, count, _BATCH):
            rows = range(start, min(start + _BATCH, count))
            given = [names[row % len(names)] if names else "" for row in rows]
            noise = torch.stack([self._noise(seed, row, name) for row, name in zip(rows, given, strict=True)])
            with torch.inference_mode():
                made = self._network(noise.to(self.device)).cpu()
            yield from ((name, self._image(tensor)) for name, tensor in zip(given, made, strict=True))

    def _image(self, tensor: Tensor) -> Image:
        """Return an image with the dtype and range of the training images."""
        values = self.info.values["B"]
        return from_tensor(tensor, dtype=values.dtype or "uint8", values=values.range)

    def _noise(self, seed: int, row: int, name: str) -> Tensor:
        """Return the Gaussian noise of an image and its one-hot class, z+k 1 1, as in training."""
        length = self.info.directions[_DIRECTION].in_channels - len(self.classes)
        one_hot = torch.tensor([float(known == name) for known in self.classes])
        return torch.cat([torch.from_numpy(rng(seed, "sample", row).standard_normal(length)).float(), one_hot])[
            :, None, None
        ]


def sample_files(
    sampler: Sampler,
    out: Path,
    count: int,
    *,
    seed: int = 0,
    class_name: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write `count` images as PNG into `out` and return their paths: 0000.png, or CLASS-0000.png.

    Raises OutputError if a file exists and `overwrite` is not set, and as `Sampler` and `write_image` do.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, out) from None
    written = []
    for number, (name, image) in enumerate(sampler(count, seed=seed, class_name=class_name)):
        path = out / f"{f'{name}-' if name else ''}{number:04d}.png"
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"{shown(path)} exists already; add --overwrite or choose another --out.")
        write_image(path, image)
        written.append(path)
    return written
