"""The two domains of a run: their images, their names, and their training batches."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unpaired.data import beside
from unpaired.data.axes import axes_note
from unpaired.data.check import SourceScan, check_pairs, scan_images, summary
from unpaired.data.datasets import DataConfig, PairedDataset, StepDataset, UnpairedDataset
from unpaired.data.layouts import require_halves, suggest_for_pairs
from unpaired.data.minority import types_note
from unpaired.data.noise import NoiseDataset, class_names, noise_source
from unpaired.data.pairs import HalfSource, NoPairsError, paired_sources, preview_pairs
from unpaired.data.ranges import resolved_values
from unpaired.data.sources import FolderSource, fingerprint, preview_folders, refuse_links_out, train_folders
from unpaired.data.training_masks import TrainingMasks, masks_beside
from unpaired.errors import DataError
from unpaired.storage import shown
from unpaired.words import counted

_SKIPPED, _SKIPPED_TEST = "skipped", "skipped_test"


@dataclass(frozen=True)
class Domains:
    """The images of a run: training sources, preview sources (test images if there are any), names.

    train_a, preview_a: None if domain A is noise.
    classes: those of domain B with data.classes.
    skipped: by domain the names of images that were left out of training and of the previews.
    masks: of the training images, None without. Previews are training images then.
    """

    train_a: FolderSource | None
    train_b: FolderSource
    preview_a: FolderSource | None
    preview_b: FolderSource
    names: dict[str, str]
    classes: tuple[str, ...] = ()
    skipped: Mapping[str, Any] = field(default_factory=dict)
    masks: TrainingMasks | None = None

    def training_sources(self) -> list[FolderSource]:
        """Return the sources of training images, one for files with both halves."""
        sources = [self.train_b] if self.train_a is None else [self.train_a, self.train_b]
        return sources[:1] if isinstance(self.train_b, HalfSource) else sources

    def facts(self) -> dict[str, Any]:
        """Return the content of data.json: by domain name, folder, count and fingerprint, and the classes' names."""
        facts: dict[str, Any] = {}
        for domain, source in {"A": self.train_a, "B": self.train_b}.items():
            facts[domain] = {
                "name": self.names[domain],
                "folder": str(source.folder) if source else "",
                "images": len(source) if source else 0,
                "fingerprint": fingerprint(source) if source else "",
            }
            facts[domain].update(self.skipped.get(domain, {}))
        if self.masks is not None and self.train_a is not None:
            for domain, digest in self.masks.facts(self.train_a, self.train_b).items():
                facts[domain]["masks"] = digest
        if self.classes:
            facts["B"]["classes"] = list(self.classes)
        return facts

    def resolved(self, data: DataConfig, saved: DataConfig | None = None) -> DataConfig:
        """Return the settings with the types of the images, and with numbers in place of percentiles.

        If A is noise, `channels_a` is computed: its length plus one for each class. saved: the settings at the start of
        the run. Raises ConfigError for settings that do not suit the images.
        """
        if data.pairing == "noise":
            data = replace(data, channels_a=data.noise_channels + len(self.classes))
        if self.masks is not None:
            data = replace(data, masks="on")
        return resolved_values(data, self.train_a, self.train_b, saved)

    def described(self, data: DataConfig) -> str:
        """Return a description of the images: "6 + 5 images", "6 pairs" or "6 images of 2 classes"."""
        if self.train_a is None:
            classes = f" of {len(self.classes)} classes" if self.classes else ""
            return counted(len(self.train_b), "image") + classes
        if data.pairing == "paired":
            return counted(len(self.train_a), "pair")
        return f"{len(self.train_a)} + {len(self.train_b)} images"

    def check(self, data: DataConfig, min_side: int = 1) -> list[str]:
        """Decode every image; returns notes for the user, or raises DataError with the unusable images.

        min_side: the smallest side that the networks accept.
        """
        return self.usable(data, min_side)[1]

    def usable(self, data: DataConfig, min_side: int = 1) -> tuple[Domains, list[str]]:
        """Decode every image; returns the domains with the usable ones, and notes for the user.

        Raises DataError that names all unusable ones, unless `data.bad_images` is skip. min_side: as for `check`.
        """
        splits = dict.fromkeys([(self.train_a, self.train_b), (self.preview_a, self.preview_b)])
        scans = [
            [scan_images(source, data, min_side, channels=count) for source, count in _whole(*pair, data)]
            for pair in splits
        ]
        everything = [scan for split in scans for scan in split]
        refusals = [scan.refusal() for scan in everything if scan.problems]
        if refusals and data.bad_images == "error":
            raise DataError("\n".join(refusals))
        domains = self.without(_skipped(scans), data) if refusals else self
        notes = [scan.omission() for scan in everything if scan.problems]
        notes += beside.remarks((domains.train_a, domains.train_b, domains.preview_a, domains.preview_b))
        notes += beside.mixed_classes(domains.train_a, domains.train_b, data)
        for a, b in dict.fromkeys([(domains.train_a, domains.train_b), (domains.preview_a, domains.preview_b)]):
            if a is not None and data.pairing == "paired" and data.preprocess != "resize_and_crop":
                check_pairs(a, b)
        notes += [note for scan in everything for note in scan.enlarged(data)]
        letters = "ab" if len(scans[0]) == 2 else "b" if self.train_a is None else "a"
        for scan, letter in zip(scans[0], letters, strict=True):
            notes += scan.bands(data.channels_a if letter == "a" else data.channels_b, letter)
            notes += types_note(scan.source.folder, scan.types())
        notes += axes_note(scan.source for scan in scans[0])
        if domains.masks is not None and domains.train_a is not None:
            notes += domains.masks.check(domains.train_a, domains.train_b)
        where = shlex.join(["--a", data.a, "--b", data.b]) if data.a else shlex.quote(data.root or data.b)
        return domains, notes + summary(scans[0], scans[1] if len(scans) > 1 else [], f"unpaired data check {where}")

    def without(self, facts: Mapping[str, Any], data: DataConfig) -> Domains:
        """Return the domains without the skipped images listed in `facts` (see `facts()`), and without their partners.

        Raises DataError if none is left.
        """
        skipped = {
            domain: {key: facts[domain][key] for key in (_SKIPPED, _SKIPPED_TEST) if facts[domain].get(key)}
            for domain in ("A", "B")
            if domain in facts
        }
        if not any(skipped.values()):
            return self
        for domain, lists in self.skipped.items():
            for key, names in lists.items():
                skipped[domain][key] = sorted({*names, *skipped[domain].get(key, ())})
        train_a, train_b = _kept(self.train_a, self.train_b, skipped, _SKIPPED, data)
        if self.preview_b is self.train_b:
            preview_a, preview_b = train_a, train_b
        else:
            preview_a, preview_b = _kept(self.preview_a, self.preview_b, skipped, _SKIPPED_TEST, data)
        classes = class_names(train_b) if self.classes else ()
        return Domains(train_a, train_b, preview_a, preview_b, self.names, classes, skipped, self.masks)

    def dataset(self, data: DataConfig, seed: int) -> StepDataset:
        """Return the training batches."""
        return self._dataset(self.train_a, self.train_b, data, seed)

    def previews(self, data: DataConfig, seed: int) -> StepDataset:
        """Return the batches for the sample grids."""
        return self._dataset(self.preview_a, self.preview_b, data, seed)

    def _dataset(self, a: FolderSource | None, b: FolderSource, data: DataConfig, seed: int) -> StepDataset:
        if a is None:
            return NoiseDataset(b, data, seed, self.classes)
        if self.masks is not None:
            return UnpairedDataset(a, b, data, seed, self.masks.sources(a, b))
        return (PairedDataset if data.pairing == "paired" else UnpairedDataset)(a, b, data, seed)


def open_domains(data: DataConfig) -> Domains:
    """List the images of both domains; raises DataError if a folder is missing or empty, or names do not match.

    Raises DataError also for a link that leads out of its folder, unless data.follow_symlinks is set.
    """
    domains = _listed(data)
    if not data.follow_symlinks:
        for source in (domains.train_a, domains.train_b, domains.preview_a, domains.preview_b):
            if source is not None:
                refuse_links_out(source)
    return domains


def _listed(data: DataConfig) -> Domains:
    names = domain_names(data)
    if data.pairing == "noise":
        source = noise_source(data.root, data.a, data.b)
        return Domains(None, source, None, source, names, class_names(source) if data.classes else ())
    if data.pairing == "paired":
        try:
            train_a, train_b = paired_sources(data.root, data.a, data.b)
        except NoPairsError:
            suggest_for_pairs(Path(data.root))
            raise
        preview_a, preview_b = (preview_pairs(data.root) if not data.a else None) or (train_a, train_b)
        return Domains(train_a, train_b, preview_a, preview_b, names)
    if data.root and not (data.a or data.b):
        require_halves(Path(data.root))
    train_a, train_b = map(FolderSource, train_folders(data.root, data.a, data.b))
    masks = masks_beside(train_a, train_b, data.masks)
    if masks is not None:  # test images have none
        return Domains(train_a, train_b, train_a, train_b, names, masks=masks)
    previews = preview_folders(data.root) if not data.a else None
    preview_a, preview_b = map(FolderSource, previews) if previews else (train_a, train_b)
    return Domains(train_a, train_b, preview_a, preview_b, names)


# The 2 of horse2zebra, not that of dataset2024 or v2.
_HALVES = re.compile(r"(.*[^\W\d])2([^\W\d].*)", re.DOTALL)


def domain_names(data: DataConfig) -> dict[str, str]:
    """Return the domains' names: name_a and name_b, else horse and zebra for horse2zebra, else the folders'.

    Noise is named noise, and domain B then has the name of its folder.
    """
    guess = ("A", "B")
    if data.pairing == "noise":
        guess = ("noise", Path(data.b or data.root).resolve().name)
    elif data.a:
        guess = (Path(data.a).resolve().name, Path(data.b).resolve().name)
    elif halves := _HALVES.fullmatch(Path(data.root).resolve().name):
        guess = (halves[1], halves[2])
    # Names of folders may be no valid text; a domain name must be.
    return {"A": shown(data.name_a or guess[0]), "B": shown(data.name_b or guess[1])}


def _whole(a: FolderSource | None, b: FolderSource, data: DataConfig) -> list[tuple[FolderSource, int]]:
    """Return the sources to scan, each with its channels in training.

    For files with both halves only the left one: the right one would be the same file.
    """
    both = [(a, data.channels_a)] if isinstance(b, HalfSource) else [(a, data.channels_a), (b, data.channels_b)]
    return [(source, channels) for source, channels in both if source is not None]


def _skipped(scans: list[list[SourceScan]]) -> dict[str, Any]:
    """Return the unusable images by domain, as in data.json. scans: of training images, then of test images."""
    facts: dict[str, Any] = {"A": {}, "B": {}}
    for key, split in zip((_SKIPPED, _SKIPPED_TEST), scans, strict=False):
        for domain, scan in zip("AB" if len(split) == 2 else "B", split, strict=True):
            facts[domain][key] = sorted(scan.bad())
    return facts


def _kept(
    a: FolderSource | None, b: FolderSource, skipped: Mapping[str, Any], key: str, data: DataConfig
) -> tuple[FolderSource | None, FolderSource]:
    """Return the sources without the skipped images; of pairs without both."""
    bad_a, bad_b = (set(skipped.get(domain, {}).get(key, ())) for domain in ("A", "B"))
    keep_b = [index for index in range(len(b)) if b.name(index) not in bad_b]
    if a is None:
        return None, _chosen(b, keep_b)
    keep_a = [index for index in range(len(a)) if a.name(index) not in bad_a]
    if data.pairing == "paired":
        keep_a = keep_b = sorted({*keep_a} & {*keep_b})
    return chosen_pair(a, b, keep_a, keep_b)


def chosen_pair(
    a: FolderSource, b: FolderSource, keep_a: list[int], keep_b: list[int]
) -> tuple[FolderSource, FolderSource]:
    """Return the sources with only these images; for files with both halves by `keep_a`."""
    if isinstance(a, HalfSource) and keep_a:
        return a.chosen(keep_a)
    return _chosen(a, keep_a), _chosen(b, keep_b)


def _chosen(source: FolderSource, indices: list[int]) -> FolderSource:
    if not indices:
        raise DataError(f"None of the images in {source.folder} can be trained on; see `unpaired data check`.")
    chosen = copy.copy(source)
    chosen.choose(indices)
    return chosen
