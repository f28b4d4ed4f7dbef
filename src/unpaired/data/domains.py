"""The two domains of a run: which images they are, what they are called, and the training batches made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unpaired.data.check import check_images, check_pairs
from unpaired.data.datasets import DataConfig, PairedDataset, StepDataset, UnpairedDataset
from unpaired.data.noise import NoiseDataset, class_names, noise_source
from unpaired.data.pairs import HalfSource, paired_sources, preview_pairs
from unpaired.data.sources import FolderSource, fingerprint, preview_folders, train_folders


@dataclass(frozen=True)
class Domains:
    """The images of a run: training sources, preview sources (test images where there are any), names.

    Where domain A is noise, train_a and preview_a are None. classes: those of domain B, where they are asked for.
    """

    train_a: FolderSource | None
    train_b: FolderSource
    preview_a: FolderSource | None
    preview_b: FolderSource
    names: dict[str, str]
    classes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what data.json keeps: by domain its name, folder, count and fingerprint, and the classes' names."""
        facts: dict[str, Any] = {}
        for domain, source in {"A": self.train_a, "B": self.train_b}.items():
            facts[domain] = {
                "name": self.names[domain],
                "folder": str(source.folder) if source else "",
                "images": len(source) if source else 0,
                "fingerprint": fingerprint(source) if source else "",
            }
        if self.classes:
            facts["B"]["classes"] = list(self.classes)
        return facts

    def settled(self, data: DataConfig) -> DataConfig:
        """Return the settings with `channels_a` counted where A is noise: its numbers, and one for each class."""
        if data.pairing != "noise":
            return data
        return replace(data, channels_a=data.noise_channels + len(self.classes))

    def described(self, data: DataConfig) -> str:
        """Return what there is to look at: "6 + 5 images", "6 pairs" or "6 images of 2 classes"."""
        if self.train_a is None:
            return f"{len(self.train_b)} images" + (f" of {len(self.classes)} classes" if self.classes else "")
        if data.pairing == "paired":
            return f"{len(self.train_a)} pairs"
        return f"{len(self.train_a)} + {len(self.train_b)} images"

    def check(self, data: DataConfig, min_side: int = 1) -> list[str]:
        """Decode every image; returns what a person should know, or raises DataError with those that cannot be used.

        min_side: the smallest side that the networks can take.
        """
        notes = []
        pairs = dict.fromkeys([(self.train_a, self.train_b), (self.preview_a, self.preview_b)])
        for a, b in pairs:
            # Of files that hold both halves the left one is looked at, as the right one has nothing new.
            for source in (a,) if isinstance(b, HalfSource) else (a, b):
                if source is not None:
                    notes += check_images(source, data, min_side)
            if a is not None and data.pairing == "paired" and data.preprocess != "resize_and_crop":
                check_pairs(a, b)
        return notes

    def dataset(self, data: DataConfig, seed: int) -> StepDataset:
        """Return the training batches."""
        return self._dataset(self.train_a, self.train_b, data, seed)

    def previews(self, data: DataConfig, seed: int) -> StepDataset:
        """Return the batches that the sample grids are made of."""
        return self._dataset(self.preview_a, self.preview_b, data, seed)

    def _dataset(self, a: FolderSource | None, b: FolderSource, data: DataConfig, seed: int) -> StepDataset:
        if a is None:
            return NoiseDataset(b, data, seed, self.classes)
        return (PairedDataset if data.pairing == "paired" else UnpairedDataset)(a, b, data, seed)


def open_domains(data: DataConfig) -> Domains:
    """List the images of both domains; raises DataError when a folder is missing or empty, or names do not match."""
    names = domain_names(data)
    if data.pairing == "noise":
        source = noise_source(data.root, data.a, data.b)
        return Domains(None, source, None, source, names, class_names(source) if data.classes else ())
    if data.pairing == "paired":
        train_a, train_b = paired_sources(data.root, data.a, data.b)
        preview_a, preview_b = (preview_pairs(data.root) if not data.a else None) or (train_a, train_b)
        return Domains(train_a, train_b, preview_a, preview_b, names)
    train_a, train_b = map(FolderSource, train_folders(data.root, data.a, data.b))
    previews = preview_folders(data.root) if not data.a else None
    preview_a, preview_b = map(FolderSource, previews) if previews else (train_a, train_b)
    return Domains(train_a, train_b, preview_a, preview_b, names)


def domain_names(data: DataConfig) -> dict[str, str]:
    """Return the domains' names: name_a and name_b, else horse and zebra for horse2zebra, else the folders'.

    Noise is called noise, and what is made of it is called like the folder.
    """
    guess = ("A", "B")
    if data.pairing == "noise":
        guess = ("noise", Path(data.b or data.root).resolve().name)
    elif data.a:
        guess = (Path(data.a).resolve().name, Path(data.b).resolve().name)
    elif "2" in (stem := Path(data.root).resolve().name):
        left, right = stem.split("2", 1)
        guess = (left or "A", right or "B")
    return {"A": data.name_a or guess[0], "B": data.name_b or guess[1]}
