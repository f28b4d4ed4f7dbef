"""Held-out images for checkpoint selection: images that a run does not train on.

valA and valB (or val of pairs, if there is test too) if they exist; else every second test image, so that the other
half remains for reported scores. A run without either has none: taking them from the training images would change the
training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from unpaired.data.datasets import Batch, DataConfig
from unpaired.data.domains import Domains, chosen_pair
from unpaired.data.pairs import split_pairs
from unpaired.data.sources import FolderSource, holds_images, refuse_links_out

TEST_HALF = "every second test image"
"""The origin of held-out images without a validation set."""

SHORT = 16
"""Letters of the SHA-256 that identify an image used for checkpoint selection."""


@dataclass(frozen=True)
class HeldOutImages:
    """Equally many images of A and B. origin: their description, as part of a sentence."""

    a: FolderSource
    b: FolderSource
    origin: str

    def batch(self, domains: Domains, data: DataConfig, seed: int) -> Batch:
        """Return the images resized and centre-cropped. Raises ImageError if one cannot be read."""
        return replace(domains, preview_a=self.a, preview_b=self.b).previews(data, seed).preview(len(self.a))

    def digests(self) -> dict[str, list[str]]:
        """Return by domain the digests of the images, which do not depend on their names."""
        return {domain: digests(source) for domain, source in (("A", self.a), ("B", self.b))}


def held_out_images(domains: Domains, data: DataConfig, most: int) -> HeldOutImages | None:
    """Return at most `most` held-out images a domain, evenly spread; None if there are none.

    There are none either if A is noise, or if training uses masks, which these images do not have.
    """
    if domains.train_a is None or domains.masks is not None:
        return None
    found = _validation(data)
    if found is not None:
        (a, b), origin = found, "valA and valB" if data.pairing == "unpaired" else "val"
        every = 1
    elif domains.preview_a is None or domains.preview_b is domains.train_b:
        return None
    else:
        (a, b), origin = (domains.preview_a, domains.preview_b), TEST_HALF
        every = 2
    # From the second one on, so that the larger half of an odd number remains.
    places_a, places_b = (range(every - 1, len(source), every) for source in (a, b))
    count = min(most, len(places_a), len(places_b))
    if count == 0:
        return None
    spread = [[places[index * len(places) // count] for index in range(count)] for places in (places_a, places_b)]
    return HeldOutImages(*chosen_pair(a, b, *spread), origin)


def digests(source: FolderSource) -> list[str]:
    """Return the beginning of the SHA-256 of each image's file; for a volume followed by the number of the slice."""
    by_path = {path: _digest(path) for path in dict.fromkeys(source.paths)}  # a stack is read once for all its slices
    return [
        by_path[path] + (f"[{frame}]" if frame else "") for path, frame in zip(source.paths, source.frames, strict=True)
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:SHORT]


def _validation(data: DataConfig) -> tuple[FolderSource, FolderSource] | None:
    """Return the validation images: valA and valB, or the pairs of val if test exists for the previews."""
    root = Path(data.root)
    if not data.root or data.a:
        return None
    if data.pairing == "paired":
        found = split_pairs(root, "val") if split_pairs(root, "test") else None
    else:
        folders = root / "valA", root / "valB"
        found = (FolderSource(folders[0]), FolderSource(folders[1])) if all(map(holds_images, folders)) else None
    for source in found or ():
        if not data.follow_symlinks:
            refuse_links_out(source)
    return found
