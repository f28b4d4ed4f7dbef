"""From a data folder to findings: every file is inspected, then files are compared, then domains."""

from __future__ import annotations

import collections
import statistics
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unpaired.data.axes import minority, most_common
from unpaired.data.datasets import DataConfig
from unpaired.data.minority import other_types
from unpaired.data.pairs import paired_sources
from unpaired.doctor.comparing import Group, How, same_pictures
from unpaired.doctor.findings import FAULTS, SEVERITIES, Finding, Item, Severity
from unpaired.doctor.folders import Place, find_places, walk
from unpaired.doctor.remarks import remarks, value_remarks
from unpaired.errors import DataError
from unpaired.images import is_image_name
from unpaired.images.labels import Part
from unpaired.scanning.file_faults import is_junk
from unpaired.scanning.inspection import Inspected, inspect_file
from unpaired.scanning.threads import NUM_THREADS, on_threads

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
        headers = [seen.header for seen in self.images if seen.header]
        sides = sorted(min(header.width, header.height) for header in headers)
        return {
            "place": self.place.name,
            "domain": self.place.domain,
            "split": self.place.split,
            "files": len(self.files),
            "images": len(self.images),
            "formats": dict(collections.Counter(seen.kind for seen in self.images).most_common()),
            "modes": dict(collections.Counter(header.mode for header in headers).most_common()),
            "grey": sum(seen.grey for seen in self.images),
            "sizes": dict(collections.Counter(f"{header.width}x{header.height}" for header in headers).most_common(3)),
            "shorter_side": [sides[0], int(statistics.median(sides)), sides[-1]] if sides else [],
        }


@dataclass(frozen=True)
class Checkup:
    """The outcome: the content of each place, and the findings, the gravest first."""

    title: str
    scans: list[PlaceScan]
    findings: list[Finding]

    def count(self, severity: Severity) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.fault.severity == severity for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return all of it for JSON; paths as they were given."""
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

    pairing: "paired" and "noise" search for their layouts; with "" the folders decide. `progress` is called with the
    number of inspected files and of all. Raises DataError only if a folder that was given is missing.
    """
    places = find_places(config.root, config.a, config.b, pairing)
    scans = _inspect_everywhere(places, config, num_threads, progress)
    found = _Findings()
    for scan in scans:
        _judge_files(scan, config, pairing, found)
        _judge_place(scan, found)
        _judge_labels(scan, config, pairing, found)
    _judge_domains(scans, found)
    _judge_axes(scans, found)
    _judge_groups(scans, found)
    if pairing == "paired":
        _judge_pairs(scans, config, found)
    if config.root and (len(places) > 1 or places[0].folder != Path(config.root)):
        _judge_outside(Path(config.root), places, found)
    title = config.root or f"{config.a} and {config.b}"
    return Checkup(title, scans, found.sorted())


class _Findings:
    """Findings as they are collected, one for each code and place."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, code: str, place: str, paths: Iterable[Path] = (), detail: str = "") -> None:
        finding = self._found.setdefault((code, place), Finding(FAULTS[code], place))
        finding.items.append(Item(tuple(paths), detail))

    def sorted(self) -> list[Finding]:
        order = {code: number for number, code in enumerate(FAULTS)}
        return sorted(self._found.values(), key=lambda finding: order[finding.fault.code])


def _inspect_everywhere(
    places: Sequence[Place], config: DataConfig, num_threads: int, progress: Progress
) -> list[PlaceScan]:
    """Inspect every file of every place, on several threads."""
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
    for done, (entry, seen) in enumerate(everything, start=1):
        by_place[entry[0]].append(seen)
        progress(done, len(walked))
    return [PlaceScan(place, files, [seen for seen in files if not seen.fault]) for place, files in by_place.items()]


# ---- single files ----


def _judge_files(scan: PlaceScan, config: DataConfig, pairing: str, found: _Findings) -> None:
    sheet = pairing == "paired" and not scan.place.domain
    for seen in scan.files:
        if seen.fault:
            found.add(seen.fault, scan.place.name, [seen.path], seen.reason)
            continue
        for code, detail in [*remarks(seen, config, sheet), *value_remarks(seen, config, scan.place)]:
            found.add(code, scan.place.name, [seen.path], detail)


# ---- places and domains ----


def _judge_place(scan: PlaceScan, found: _Findings) -> None:
    name = scan.place.name
    if not scan.place.folder.is_dir():
        found.add("layout", name, detail=f"{scan.place.folder} is missing")
    elif not scan.images:
        found.add("layout", name, detail=f"{scan.place.folder} holds no image that can be used")
    elif scan.place.split == "train" and len(scan.images) < FEW_IMAGES:
        found.add("few_images", name, detail=f"{len(scan.images)} images")
    coloured = [seen for seen in scan.images if not seen.flat]  # one colour is grey by accident
    grey = [seen for seen in coloured if seen.grey]
    if 0 < len(grey) <= len(coloured) / 2:
        for seen in grey:
            one_channel = seen.header is not None and seen.header.channels == 1
            found.add("grey", name, [seen.path], "one channel" if one_channel else "three equal channels")
    elif 0 < len(grey) < len(coloured):
        for seen in coloured:
            if not seen.grey:
                found.add("grey", name, [seen.path], "in colour, where most are grey")
    others, most = other_types({seen.path: seen.header.dtype for seen in scan.images if seen.header})
    for path, kind in others:
        found.add("mixed_types", name, [path], f"{kind}, where most are {most}")
    medical = [seen for seen in scan.images if seen.header is not None and seen.header.format in _MEDICAL]
    if len(medical) <= len(scan.images) / 2:
        for seen in medical:
            found.add("medical", name, [seen.path], "" if seen.header is None else seen.header.format)
    _judge_names(scan, found)


def _judge_labels(scan: PlaceScan, config: DataConfig, pairing: str, found: _Findings) -> None:
    """Find domains of maps of classes, most of whose images look like one, where resizing would mix their values."""
    if config.preprocess == "crop":  # which resizes nothing
        return
    place = scan.place
    parts: dict[Part, str] = {"whole": place.domain or "A"}
    if pairing == "paired" and not place.domain:
        parts = {"left": "A", "right": "B"}
    pictures = [seen for seen in scan.images if not seen.flat]
    for part, domain in parts.items():
        maps = [seen for seen in pictures if seen.labels & {part, "whole"}]
        how = config.resize_a if domain == "A" else config.resize_b
        if len(maps) > len(pictures) / 2 and how == "bicubic":
            option = f"--data.resize-{domain.lower()} nearest"
            for seen in maps:
                found.add("label_map", place.name, [seen.path], option)


def _judge_names(scan: PlaceScan, found: _Findings) -> None:
    """Find names that are one on a file system that folds case or accents, or once the suffix is another."""
    by_name: dict[str, list[Path]] = {}
    for seen in scan.files:
        if is_image_name(seen.path):
            name = str(seen.path.with_suffix(""))
            by_name.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(seen.path)
    for paths in by_name.values():
        if len(paths) > 1:
            found.add("name_clash", scan.place.name, paths)


def _judge_domains(scans: Sequence[PlaceScan], found: _Findings) -> None:
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
    lossy = [statistics.fmean(seen.kind in _LOSSY for seen in scan.images) for scan in pair]
    if abs(lossy[0] - lossy[1]) > LOSSY_SHARE:
        formats = [next(iter(scan.facts()["formats"])) for scan in pair]
        found.add("unequal_formats", where, detail=f"mostly {formats[0]} and mostly {formats[1]}")
    grey = [statistics.fmean(seen.grey for seen in scan.images) for scan in pair]
    if abs(grey[0] - grey[1]) > LOSSY_SHARE:
        found.add("unequal_colour", where, detail=f"{grey[0]:.0%} and {grey[1]:.0%} in grey")


def _judge_axes(scans: Sequence[PlaceScan], found: _Findings) -> None:
    """Find volumes that lie otherwise than most of all places."""
    headers = {seen.path: (scan.place.name, seen.header) for scan in scans for seen in scan.images}
    axes = {path: header.axes for path, (_, header) in headers.items() if header is not None and header.axes}
    for path, text in minority(axes).items():
        found.add("axes", headers[path][0], [path], f"{text}, where most are {most_common(axes)}")


# ---- several files ----


def _judge_groups(scans: Sequence[PlaceScan], found: _Findings) -> None:
    everything = [(scan.place, seen) for scan in scans for seen in scan.images]
    seen = [one for _, one in everything]
    for group in same_pictures(seen):
        members: dict[Place, list[Inspected]] = {}
        for index in group.members:
            members.setdefault(everything[index][0], []).append(seen[index])
        for place, same in members.items():
            if len(same) > 1:
                how = _how(group, same)
                code = "mirrored" if how == "mirrored" else "duplicate"
                found.add(code, place.name, [one.path for one in same], how)
        _judge_shared(group, members, found)


def _judge_shared(group: Group, members: dict[Place, list[Inspected]], found: _Findings) -> None:
    """Judge one picture that stands in several places."""
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
    """Return how alike some files of a group are, at worst as alike as the whole group."""
    if len({one.file_sha256 for one in same}) == 1:
        return "same bytes"
    if len({one.pixel_sha256 for one in same}) == 1:
        return "same pixels"
    return group.how


def _judge_pairs(scans: Sequence[PlaceScan], config: DataConfig, found: _Findings) -> None:
    """Match names as training would, and compare sizes if one crop must show the same place in both."""
    try:
        a, b = paired_sources(config.root, config.a, config.b)
    except DataError as error:
        found.add("pairs", "A, B", detail=str(error))
        return
    if config.preprocess == "resize_and_crop" or a.paths == b.paths:
        return
    headers = {seen.path: seen.header for scan in scans for seen in scan.images}
    for one, other in zip(a.paths, b.paths, strict=True):
        left, right = headers.get(one), headers.get(other)
        if left and right and (left.width, left.height) != (right.width, right.height):
            sizes = f"{left.width}x{left.height} and {right.width}x{right.height}"
            found.add("pairs", "A, B", [one, other], sizes)


def _judge_outside(root: Path, places: Sequence[Place], found: _Findings) -> None:
    for path, trouble in walk(root, tuple(place.folder for place in places)):
        is_image = is_image_name(path) and not trouble
        code = "junk" if is_junk(path) else "outside" if is_image else "other"
        found.add("junk_folder" if trouble == "junk_folder" else code, root.name, [path])
