"""The scan of all images before step one: unreadable and too small ones are reported now, not at step 9000."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unpaired.data.datasets import WHOLE_IMAGES, DataConfig, check_size
from unpaired.data.minority import band_note
from unpaired.data.ranges import channels_fit
from unpaired.data.scan_cache import sample
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError
from unpaired.headway import Headway
from unpaired.scanning.header_scan import headers_by_path
from unpaired.scanning.inspection import Inspected, inspect_image
from unpaired.scanning.predicates import file_digest
from unpaired.scanning.threads import on_threads
from unpaired.storage import shown

_MOST_NAMED = 10
_MOST_BAD_NAMED = 1000


@dataclass(frozen=True)
class SourceScan:
    """The scan of a source: the facts about each image, in the order of the source.

    problems: by index, a sentence about each image that cannot be trained on.
    """

    source: FolderSource
    images: list[Inspected]
    problems: dict[int, str]

    @property
    def sound(self) -> list[Inspected]:
        """The images that can be trained on."""
        return [one for index, one in enumerate(self.images) if index not in self.problems]

    def bad(self) -> frozenset[str]:
        """Return the names of the images that cannot be trained on."""
        return frozenset(map(self.source.name, self.problems))

    def refusal(self) -> str:
        """Return the message about the images that cannot be trained on."""
        problems = list(self.problems.values())
        if len(problems) == 1:
            return problems[0]
        count = f"{len(problems)} of {len(self.images)} images in {self.source.folder}"
        way = "fix or remove them, or leave them out with --data.bad-images skip"
        return f"{count} cannot be trained on; {way}:{listed(problems, _MOST_BAD_NAMED)}"

    def omission(self) -> str:
        """Return the sentence about the images that are left out."""
        count = f"{len(self.problems)} of {len(self.images)} images in {self.source.folder}"
        return f"{count} cannot be trained on and are left out; data.json and the report list them."

    def types(self) -> dict[Path, str]:
        """Return the type of each file that can be trained on."""
        return {one.path: one.dtype for one in self.sound}

    def bands(self, channels: int, letter: str) -> list[str]:
        """Return a sentence about images whose alpha looks like a band beyond `channels`; letter: a or b."""
        found = [
            index
            for index, one in enumerate(self.images)
            if index not in self.problems and one.alpha_is_a_band and one.channels + 1 != channels
        ]
        names = [self.source.name(index) for index in found]
        colours = self.images[found[0]].channels if found else 0
        return band_note(self.source.folder, names, len(self.images), colours, letter)

    def enlarged(self, config: DataConfig) -> list[str]:
        """Return a sentence about images that are enlarged for training, if there are any."""
        sides = [min(one.height, one.width) for one in self.sound]
        small = sum(side < config.crop_size for side in sides)
        if not small or config.preprocess in WHOLE_IMAGES:
            return []
        of = f"{small} of {len(sides)} images in {self.source.folder}"
        return [f"{of} are smaller than the crop ({config.crop_size}) and are enlarged; a smaller --size would not."]


def check_images(source: FolderSource, config: DataConfig, min_side: int = 1) -> list[str]:
    """Decode every image of a source; returns notes for the user, a sentence each.

    Raises DataError that names the unusable images. min_side: the smallest side that the networks accept.
    """
    scan = scan_images(source, config, min_side)
    if scan.problems:
        raise DataError(scan.refusal())
    return scan.enlarged(config)


def scan_images(
    source: FolderSource, config: DataConfig, min_side: int = 1, *, channels: int | None = None
) -> SourceScan:
    """Decode every image of a source on a few threads. channels: required of all images; None for any number."""

    known = source.known
    again = set(sample(np.flatnonzero(known.images >= 0)))  # a few known images are decoded as well

    def inspected(index: int) -> tuple[Inspected, str]:
        facts = None if index in again else known.image(index, source.paths[index])
        return _inspected(source, index, config, min_side, channels, facts)

    found, headway = list[tuple[Inspected, str]](), Headway(f"Scanning {shown(source.folder)}", len(source))
    for one in on_threads(inspected, range(len(source))):
        found.append(one)
        headway.advance()
    if any(known.image(index, source.paths[index]) != found[index][0] for index in again if not found[index][1]):
        known.forget()
        return scan_images(source, config, min_side, channels=channels)
    for index, (image, _) in enumerate(found):
        if image.dtype and known.images[index] < 0:
            known.add_image(index, image)
    problems = {index: problem for index, (_, problem) in enumerate(found) if problem}
    return SourceScan(source, [one for one, _ in found], problems)


def summary(training: Sequence[SourceScan], test: Sequence[SourceScan], command: str) -> list[str]:
    """Return at most one sentence, about training images that the user may want to fix.

    test: the scans of test images, in the order of `training`.
    command: the command that prints details.
    """
    twice, leaks = _identical(training, test)
    flat = sum(one.flat for scan in training for one in scan.sound)
    grey = sum(_few_grey(scan.sound) for scan in training)
    counts = {
        f"{leaks} test {'image is' if leaks == 1 else 'images are'} also trained on": leaks,
        f"{twice} {'file is a copy' if twice == 1 else 'files are copies'} of another": twice,
        f"{flat} of a single colour": flat,
        f"{grey} in grey among colour": grey,
    }
    found = [words for words, number in counts.items() if number]
    return [f"Among the images: {', '.join(found)}; `{command}` names them."] if found else []


def check_pairs(a: FolderSource, b: FolderSource) -> None:
    """Raise DataError that names the first ten pairs whose files differ in size; no pixel is decoded."""
    pairs = list(zip(a.paths, b.paths, strict=True))
    headers = headers_by_path(path for pair in pairs for path in pair)
    problems = []
    for path_a, path_b in pairs:
        one, other = headers[path_a], headers[path_b]
        if (one.width, one.height) != (other.width, other.height):
            sizes = f"{one.width}x{one.height} and {other.width}x{other.height} pixels"
            problems.append(f"{shown(path_a)} and {shown(path_b)} are {sizes}")
    if problems:
        raise DataError(
            f"{len(problems)} of {len(a)} pairs differ in size; make them equal, or let --data.preprocess "
            f"resize_and_crop do it:{listed(problems)}"
        )


def listed(problems: list[str], most: int = _MOST_NAMED) -> str:
    """Return the first `most` problems, a line each, and the number of the others."""
    rest = f"\n  and {len(problems) - most} more" if len(problems) > most else ""
    return "".join(f"\n  {problem}" for problem in problems[:most]) + rest


def _inspected(
    source: FolderSource,
    index: int,
    config: DataConfig,
    min_side: int,
    channels: int | None,
    facts: Inspected | None,
) -> tuple[Inspected, str]:
    """Decode one image; return its facts, and the reason why it cannot be trained on, "" if it can.

    facts: those that are known without decoding.
    """
    path, (red, green, blue) = source.paths[index], config.background
    name = shown(path)
    try:
        image = facts or inspect_image(path, lambda: source[index], (red, green, blue))
        check_size(name, image.height, image.width, config, min_side)
    except DataError as error:
        return Inspected(path=path), str(error)
    if channels is not None and not channels_fit(image.channels, image.has_alpha, channels):
        return image, f"{name} has {image.channels} channels, and {channels} are trained on; convert or remove it."
    return image, ""


def _few_grey(images: Sequence[Inspected]) -> int:
    """Return the number of images without colour in a domain, 0 if they are the majority; flat ones do not count."""
    grey = sum(one.grey and not one.flat for one in images)
    return grey if 2 * grey <= len(images) else 0


def _identical(training: Sequence[SourceScan], test: Sequence[SourceScan]) -> tuple[int, int]:
    """Return the number of training files that are copies of another of their domain, and of test files among them.

    Only files of equal size are read.
    """
    twice, leaks = 0, 0
    for number, scan in enumerate(training):
        own = list(dict.fromkeys(one.path for one in scan.sound))  # the slices of a volume are one file
        tests = dict.fromkeys(test[number].source.paths) if number < len(test) else ()
        sizes: dict[int, list[tuple[int, int]]] = {}
        everything = [*own, *tests]
        digests = _known_digests(scan.source) | (_known_digests(test[number].source) if number < len(test) else {})
        for index, path in enumerate(everything):
            with contextlib.suppress(OSError):
                sizes.setdefault(path.stat().st_size, []).append((index, index >= len(own)))
        for same in sizes.values():
            if len(same) > 1:
                seen = set[str]()
                for index, is_test in same:
                    digest = digests.get(everything[index]) or _digest(everything[index])
                    if not digest:
                        continue
                    leaks += is_test and digest in seen
                    twice += not is_test and digest in seen
                    if not is_test:
                        seen.add(digest)
    return twice, leaks


def _known_digests(source: FolderSource) -> dict[Path, str]:
    """Return the digests of the files that need not be read."""
    known = source.known
    return {source.paths[index]: digest for index in range(len(known)) if (digest := known.digest(index))}


def _digest(path: Path) -> str:
    """Return the digest of a file, "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file_digest(file)
    except OSError:
        return ""
