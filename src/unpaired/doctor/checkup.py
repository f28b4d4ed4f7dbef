"""The check of a data folder: every file is inspected, then files and domains are compared."""

from __future__ import annotations

import collections
import statistics
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unpaired.data.axes import minority, most_common
from unpaired.data.datasets import DataConfig
from unpaired.data.minority import other_types
from unpaired.data.pairs import paired_sources
from unpaired.data.sources import FolderSource
from unpaired.data.training_masks import FOLDERS as MASKS
from unpaired.data.training_masks import masks_beside
from unpaired.doctor.comparing import Group, How, same_pictures
from unpaired.doctor.findings import FAULTS, SEVERITIES, Finding, Item, Severity
from unpaired.doctor.folders import Place, find_places, walk
from unpaired.doctor.remarks import remarks, value_remarks
from unpaired.doctor.thumb_file import ThumbFile
from unpaired.errors import DataError
from unpaired.images import ImageHeader, is_image_name
from unpaired.images.labels import Part
from unpaired.live_line import erase, rewrite
from unpaired.scanning.file_faults import is_junk
from unpaired.scanning.inspection import Inspected, inspect_file
from unpaired.scanning.threads import NUM_THREADS, on_threads
from unpaired.words import counted

FEW_IMAGES = 100
COUNT_RATIO = 4.0
SIZE_RATIO = 2.0
LOSSY_SHARE = 0.5

_LOSSY = ("JPEG", "WEBP")
_MEDICAL = ("DICOM", "NIFTI")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PlaceScan:
    """The inspected files of one place, and the sound images among them."""

    place: Place
    files: list[Inspected]
    images: list[Inspected]

    def facts(self) -> dict[str, Any]:
        """Return counts, sizes, formats and colours, for the table, the page and JSON."""
        headers = [image.header for image in self.images if image.header]
        sides = sorted(min(header.width, header.height) for header in headers)
        return {
            "place": self.place.name,
            "domain": self.place.domain,
            "split": self.place.split,
            "files": len(self.files),
            "images": len(self.images),
            "formats": dict(collections.Counter(image.kind for image in self.images).most_common()),
            "modes": dict(collections.Counter(header.mode for header in headers).most_common()),
            "grey": sum(image.grey for image in self.images),
            "sizes": dict(collections.Counter(f"{header.width}x{header.height}" for header in headers).most_common(3)),
            "shorter_side": [sides[0], int(statistics.median(sides)), sides[-1]] if sides else [],
        }


@dataclass(frozen=True)
class Checkup:
    """The result of a data check: the scan of each place, and the findings, the most severe first."""

    title: str
    scans: list[PlaceScan]
    findings: list[Finding]

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.fault.severity == severity for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, with paths as given."""
        return {
            "data": self.title,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "places": [scan.facts() for scan in self.scans],
            "findings": [
                {
                    "code": finding.fault.code,
                    "severity": finding.fault.severity,
                    "title": finding.fault.title,
                    "place": finding.place,
                    "training": finding.fault.training,
                    "remedy": finding.fault.remedy,
                    "num_files": finding.num_files,
                    "items": [{"files": list(map(str, item.paths)), "detail": item.detail} for item in finding.items],
                }
                for finding in self.findings
            ],
        }


def check_data(
    config: DataConfig,
    *,
    pairing: str = "",
    num_threads: int = NUM_THREADS,
    progress: Progress = lambda done, total: None,
) -> Checkup:
    """Inspect every file of `config.root`, or of `config.a` and `config.b`, as training with `config` would.

    pairing: "paired" and "noise" search for their layouts; with "" the folders decide.
    progress: called with the number of inspected files and of all files.

    Raises DataError only if a given folder is missing.
    """
    places = find_places(config.root, config.a, config.b, pairing)
    found = _Findings()
    with ThumbFile() as thumbs:
        scans = _scan_places(places, config, num_threads, progress, thumbs)
        rewrite("Comparing the files")
        _check_groups(scans, thumbs, found)
    for scan in scans:
        _check_files(scan, config, pairing, found)
        _check_place(scan, found)
        _check_labels(scan, config, pairing, found)
    _check_domains(scans, found)
    _check_axes(scans, found)
    if pairing == "paired":
        _check_pairs(scans, config, found)
    else:
        _check_masks(scans, config, found)
    if config.root and (len(places) > 1 or places[0].folder != Path(config.root)):
        _check_outside(Path(config.root), places, found)
    title = config.root or f"{config.a} and {config.b}"
    erase()
    return Checkup(title, scans, found.sorted())


class _Findings:
    """Collector of findings, one for each code and place."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, code: str, place: str, paths: Iterable[Path] = (), detail: str = "") -> None:
        finding = self._found.setdefault((code, place), Finding(FAULTS[code], place))
        finding.items.append(Item(tuple(paths), sys.intern(detail)))

    def sorted(self) -> list[Finding]:
        order = {code: number for number, code in enumerate(FAULTS)}
        return sorted(self._found.values(), key=lambda finding: order[finding.fault.code])


def _scan_places(
    places: Sequence[Place], config: DataConfig, num_threads: int, progress: Progress, thumbs: ThumbFile
) -> list[PlaceScan]:
    """Inspect every file of every place, on threads, because decoders release the interpreter lock.

    The thumbnails of sound images are moved to `thumbs`, in the order of the scans.
    """
    red, green, blue = config.background
    there = [place for place in places if place.folder.is_dir()]
    walked = [(place, path, trouble) for place in there for path, trouble in walk(place.folder)]

    def inspected(entry: tuple[Place, Path, str]) -> Inspected:
        _, path, trouble = entry
        if trouble == "linked_folder":
            return Inspected(path=path, fault="not_a_file", reason="a link to a folder, which is not followed")
        if trouble == "junk_folder":
            return Inspected(path=path, fault=trouble)
        if trouble:
            return Inspected(path=path, fault=trouble, reason="a folder that may not be listed")
        return inspect_file(path, (red, green, blue))

    by_place: dict[Place, list[Inspected]] = {place: [] for place in places}
    everything = zip(walked, on_threads(inspected, walked, num_threads), strict=True)
    headers: dict[ImageHeader | None, ImageHeader | None] = {}
    labels: dict[frozenset[Part], frozenset[Part]] = {}
    for done, (entry, file) in enumerate(everything, start=1):
        if file.thumb is not None:
            thumbs.append(file.thumb)
            file = replace(  # equal facts are one object
                file,
                thumb=None,
                header=headers.setdefault(file.header, file.header),
                labels=labels.setdefault(file.labels, file.labels),
                dtype=sys.intern(file.dtype),
            )
        by_place[entry[0]].append(file)
        progress(done, len(walked))
    return [PlaceScan(place, files, [file for file in files if not file.fault]) for place, files in by_place.items()]


# ---- single files ----


def _check_files(scan: PlaceScan, config: DataConfig, pairing: str, found: _Findings) -> None:
    sheet = pairing == "paired" and not scan.place.domain
    for file in scan.files:
        if file.fault:
            found.add(file.fault, scan.place.name, [file.path], file.reason)
            continue
        for code, detail in [*remarks(file, config, sheet), *value_remarks(file, config, scan.place)]:
            found.add(code, scan.place.name, [file.path], detail)


# ---- places and domains ----


def _check_place(scan: PlaceScan, found: _Findings) -> None:
    name = scan.place.name
    if not scan.place.folder.is_dir():
        found.add("layout", name, detail=f"{scan.place.folder} is missing")
    elif not scan.images:
        found.add("layout", name, detail=f"{scan.place.folder} holds no image that can be used")
    elif scan.place.split == "train" and len(scan.images) < FEW_IMAGES:
        found.add("few_images", name, detail=counted(len(scan.images), "image"))
    coloured = [image for image in scan.images if not image.flat]  # images of one colour can be grey by accident
    grey = [image for image in coloured if image.grey]
    if 0 < len(grey) <= len(coloured) / 2:
        for image in grey:
            one_channel = image.header is not None and image.header.channels == 1
            found.add("grey", name, [image.path], "one channel" if one_channel else "three equal channels")
    elif 0 < len(grey) < len(coloured):
        for image in coloured:
            if not image.grey:
                found.add("grey", name, [image.path], "in colour, while most are grey")
    if len({image.dtype for image in scan.images}) > 1:  # else without a table of all files
        others, most = other_types({image.path: image.header.dtype for image in scan.images if image.header})
        for path, kind in others:
            found.add("mixed_types", name, [path], f"{kind}, while most are {most}")
    medical = [image for image in scan.images if image.header is not None and image.header.format in _MEDICAL]
    if len(medical) <= len(scan.images) / 2:
        for image in medical:
            found.add("medical", name, [image.path], "" if image.header is None else image.header.format)
    _check_names(scan, found)


def _check_labels(scan: PlaceScan, config: DataConfig, pairing: str, found: _Findings) -> None:
    """Find domains of label maps whose values resizing would mix: most of their images look like one."""
    if config.preprocess == "crop":  # without resizing
        return
    place = scan.place
    parts: dict[Part, str] = {"whole": place.domain or "A"}
    if pairing == "paired" and not place.domain:
        parts = {"left": "A", "right": "B"}
    pictures = [image for image in scan.images if not image.flat]
    for part, domain in parts.items():
        maps = [image for image in pictures if image.labels & {part, "whole"}]
        how = config.resize_a if domain == "A" else config.resize_b
        if len(maps) > len(pictures) / 2 and how == "bicubic":
            option = f"--data.resize-{domain.lower()} nearest"
            for image in maps:
                found.add("label_map", place.name, [image.path], option)


def _check_names(scan: PlaceScan, found: _Findings) -> None:
    """Find names that are equal on a file system that folds case or accents, or without their suffix."""
    by_name: dict[str, list[Path]] = {}
    for file in scan.files:
        if is_image_name(file.path):
            name = str(file.path.with_suffix(""))
            by_name.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(file.path)
    for paths in by_name.values():
        if len(paths) > 1:
            found.add("name_clash", scan.place.name, paths)


def _check_domains(scans: Sequence[PlaceScan], found: _Findings) -> None:
    pair = [scan for scan in scans if scan.place.split == "train" and scan.place.domain and scan.images]
    if len(pair) != 2:
        return
    a, b = pair
    where = f"{a.place.name}, {b.place.name}"
    counts = [len(scan.images) for scan in pair]
    if max(counts) > COUNT_RATIO * min(counts):
        found.add("unequal_counts", where, detail=f"{counts[0]} and {counts[1]} images")
    sides = [scan.facts()["shorter_side"][1] for scan in pair]
    if max(sides) >= SIZE_RATIO * min(sides):
        found.add("unequal_sizes", where, detail=f"half of them are below {sides[0]} and {sides[1]} pixels")
    lossy = [statistics.fmean(image.kind in _LOSSY for image in scan.images) for scan in pair]
    if abs(lossy[0] - lossy[1]) > LOSSY_SHARE:
        formats = [next(iter(scan.facts()["formats"])) for scan in pair]
        found.add("unequal_formats", where, detail=f"mostly {formats[0]} and mostly {formats[1]}")
    grey = [statistics.fmean(image.grey for image in scan.images) for scan in pair]
    if abs(grey[0] - grey[1]) > LOSSY_SHARE:
        found.add("unequal_colour", where, detail=f"{grey[0]:.0%} and {grey[1]:.0%} in grey")


def _check_axes(scans: Sequence[PlaceScan], found: _Findings) -> None:
    """Find volumes with other axes than most volumes of all places."""
    volumes = [
        (scan.place.name, image) for scan in scans for image in scan.images if image.header and image.header.axes
    ]
    places = {image.path: place for place, image in volumes}
    axes = {image.path: image.header.axes for _, image in volumes if image.header}
    for path, text in minority(axes).items():
        found.add("axes", places[path], [path], f"{text}, while most are {most_common(axes)}")


# ---- several files ----


def _check_groups(scans: Sequence[PlaceScan], thumbs: ThumbFile, found: _Findings) -> None:
    everything = [(scan.place, image) for scan in scans for image in scan.images]
    images = [one for _, one in everything]
    for group in same_pictures(images, thumbs):
        members: dict[Place, list[Inspected]] = {}
        for index in group.members:
            members.setdefault(everything[index][0], []).append(images[index])
        for place, same in members.items():
            if len(same) > 1:
                how = _how(group, same)
                code = "mirrored" if how == "mirrored" else "duplicate"
                found.add(code, place.name, [one.path for one in same], how)
        _check_shared(group, members, found)


def _check_shared(group: Group, members: dict[Place, list[Inspected]], found: _Findings) -> None:
    """Report one image that is in several places."""
    for domain in dict.fromkeys(place.domain for place in members):
        within = [place for place in members if place.domain == domain]
        train = [place for place in within if place.split == "train"]
        for test in within:
            if train and test.split != "train":
                same = members[train[0]] + members[test]
                where = f"{train[0].name}, {test.name}"
                found.add("leak", where, [one.path for one in same], _how(group, same))
    if {"A", "B"} <= {place.domain for place in members}:
        same = [one for place in members for one in members[place]]
        found.add("both_domains", "A, B", [one.path for one in same], _how(group, same))


def _how(group: Group, same: Sequence[Inspected]) -> How:
    """Return the similarity of some files of a group, at most as close as the whole group unless digests are equal."""
    if len({one.file_sha256 for one in same}) == 1:
        return "same bytes"
    if len({one.pixel_sha256 for one in same}) == 1:
        return "same pixels"
    return group.how


def _check_pairs(scans: Sequence[PlaceScan], config: DataConfig, found: _Findings) -> None:
    """Match names as training would, and compare sizes if one crop must show the same place in both."""
    try:
        a, b = paired_sources(config.root, config.a, config.b)
    except DataError as error:
        found.add("pairs", "A, B", detail=str(error))
        return
    if config.preprocess == "resize_and_crop" or a.paths == b.paths:
        return
    headers = {image.path: image.header for scan in scans for image in scan.images}
    for one, other in zip(a.paths, b.paths, strict=True):
        left, right = headers.get(one), headers.get(other)
        if left and right and (left.width, left.height) != (right.width, right.height):
            sizes = f"{left.width}x{left.height} and {right.width}x{right.height}"
            found.add("pairs", "A, B", [one, other], sizes)


def _check_masks(scans: Sequence[PlaceScan], config: DataConfig, found: _Findings) -> None:
    """Match the masks of training images with them, and compare sizes, if there are masks."""
    pair = [scan for scan in scans if scan.place.split == "train" and scan.place.domain and scan.images]
    if len(pair) != 2:
        return
    try:
        a, b = (FolderSource(scan.place.folder) for scan in pair)
        masks = masks_beside(a, b, config.masks)
        if masks is not None:
            masks.check(a, b)
    except DataError as error:
        for sentence in str(error).splitlines():
            found.add("masks", ", ".join(MASKS), detail=sentence)


def _check_outside(root: Path, places: Sequence[Place], found: _Findings) -> None:
    for path, trouble in walk(root, (*(place.folder for place in places), *(root / name for name in MASKS))):
        is_image = is_image_name(path) and not trouble
        code = "junk" if is_junk(path) else "outside" if is_image else "other"
        found.add("junk_folder" if trouble == "junk_folder" else code, root.name, [path])
