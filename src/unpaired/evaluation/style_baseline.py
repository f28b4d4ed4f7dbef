"""Style transfer as a baseline: each test image gets the averaged style of the target's training images.

The CycleGAN paper compares with it in section 5.2. It sees no pairs and learns nothing; a model that does not beat it
has only matched textures and colours.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from unpaired.config import require
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.sources import ImageSource, fingerprint
from unpaired.images import Image, resize
from unpaired.translate.style_images import StyleImages
from unpaired.translate.style_transfer import StyleTransfer, stylised
from unpaired.translate.translator import Translator

MAX_STYLES = 256
"""The most training images whose Gram matrices are averaged; they are evenly spaced."""

_log = logging.getLogger("unpaired")


@dataclass(frozen=True, kw_only=True)
class StyleBaseline:
    """The settings of the baseline. count: the most test images of each direction. transfer: those of the method."""

    count: int = 24
    transfer: StyleTransfer = field(default_factory=StyleTransfer)

    def __post_init__(self) -> None:
        require(self.count >= 1, f"--baseline-count must be at least 1, not {self.count}.")

    def facts(self) -> dict[str, Any]:
        """Return the settings that figures depend on."""
        return {
            "baseline": f"style transfer, features {self.transfer.features}, strength {self.transfer.strength:g}, "
            f"{self.transfer.num_iterations} iterations",
            "baseline_images": self.count,
        }


def style_translators(
    data: str | Path, translator: Translator, size: int, baseline: StyleBaseline, *, side_by_side: bool
) -> dict[str, Translator]:
    """Return a translator for each direction of the model whose style is that of the target's training images.

    A direction between domains of different channels has none. Raises DataError if `data` has no training images.

    side_by_side: whether training images hold A and B side by side.
    """
    domains = open_domains(DataConfig(root=str(data), pairing="paired" if side_by_side else "unpaired"))
    sources: dict[str, ImageSource | None] = {"A": domains.train_a, "B": domains.train_b}
    found = {}
    for direction in translator.directions:
        info, source = translator.info.directions[direction], sources[direction[-1]]
        assert source is not None
        if info.in_channels != info.out_channels:
            _log.info(f"No style baseline {direction}: its domains differ in channels.")
            continue
        styles = _collection(source, size)
        _log.info(f"Style baseline {direction}: averaged over {len(styles)} training images.")
        found[direction] = stylised(
            translator.info, {direction: styles}, baseline.transfer, device=str(translator.device)
        )
    return found


def _collection(source: Any, size: int) -> StyleImages:
    """Return evenly spaced images of a source, resized like test images."""
    count = min(len(source), MAX_STYLES)
    chosen = [number * len(source) // count for number in range(count)]
    digest = hashlib.sha256(f"{fingerprint(source)} {size}".encode()).hexdigest()
    return StyleImages([partial(_at_size, source, index, size) for index in chosen], digest)


def _at_size(source: ImageSource, index: int, size: int) -> Image:
    return resize(source[index], (size, size))
