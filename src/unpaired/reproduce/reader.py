"""The segmentation network for generated photographs, trained on real ones.

The paper uses FCN-8s (Long et al. 2015), pretrained on ImageNet. Here it is a small U-Net trained from scratch on the
training pairs. Its scores are comparable between methods and with its scores on real images, not with the paper's.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.data.pairs import side_by_side
from unpaired.data.stacked import stacked
from unpaired.evaluation.segmentation import nearest_colours
from unpaired.randomness import rng, torch_seeded
from unpaired.reproduce.labelled import Labelled
from unpaired.storage import write_bytes

_log = logging.getLogger("unpaired")

_BATCH = 8


class Reader(nn.Module):
    """A small segmentation U-Net: images n 3 h w in [-1, 1] to logits n classes h w; sides are multiples of 4."""

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.top = nn.Sequential(_unit(3, width), _unit(width, width))
        self.middle = nn.Sequential(nn.MaxPool2d(2), _unit(width, 2 * width), _unit(2 * width, 2 * width))
        self.bottom = nn.Sequential(nn.MaxPool2d(2), _unit(2 * width, 4 * width), _unit(4 * width, 4 * width))
        self.up_middle = _unit(6 * width, 2 * width)
        self.up_top = _unit(3 * width, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the classes, n classes h w."""
        top = self.top(images)
        middle = self.middle(top)
        low = F.interpolate(self.bottom(middle), scale_factor=2.0)
        high = F.interpolate(self.up_middle(torch.cat([low, middle], 1)), scale_factor=2.0)
        scores: Tensor = self.head(self.up_top(torch.cat([high, top], 1)))
        return scores

    @torch.inference_mode()
    def read(self, images: Tensor) -> Tensor:
        """Return the predicted class of each pixel, n h w."""
        return torch.cat([self(images[start : start + 16]).argmax(1) for start in range(0, len(images), 16)])


def trained_reader(data: Labelled, folder: Path, *, num_steps: int = 1000, seed: int = 0) -> Reader:
    """Return the segmentation network trained on the pairs of the data; it is cached in `folder`."""
    path = folder / f"reader-{num_steps}-{seed}.safetensors"
    with torch_seeded(seed, "reader"):
        reader = Reader(len(data.palette))
    if path.exists():
        reader.load_state_dict(safetensors.torch.load_file(path))
        return reader.eval()
    _log.info(f"Training the segmentation network, {num_steps} steps.")
    images, classes = training_images(data)
    optimizer = torch.optim.Adam(reader.parameters(), lr=2e-3)
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / num_steps)
        draw = rng(seed, "reader batch", step)
        chosen = torch.from_numpy(draw.integers(len(images), size=_BATCH))
        x, y = images[chosen], classes[chosen]
        if draw.random() < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        ignored = -100 if data.void is None else data.void
        loss = F.cross_entropy(reader(x), y, ignore_index=ignored)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % 250 == 0:
            _log.info(f"  step {step + 1}: cross-entropy {loss.item():.3f}")
    reader.eval()
    write_bytes(path, safetensors.torch.save(dict(reader.state_dict())))
    return reader


def reader_sha256(reader: Reader) -> str:
    """Return the SHA-256 of the weights."""
    return hashlib.sha256(safetensors.torch.save(dict(reader.state_dict()))).hexdigest()


def training_images(data: Labelled) -> tuple[Tensor, Tensor]:
    """Return the photographs of the pairs, n 3 h w, and their class maps, n h w."""
    labels, photos = side_by_side(data.pairs / "train")
    return stacked(photos), nearest_colours(stacked(labels), list(data.palette.values()))


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
