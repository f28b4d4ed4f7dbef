"""The look at every image before step one: what cannot be read, or is too small, is named now and not at step 9000."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from unpaired.data.datasets import WHOLE_IMAGES, DataConfig, check_size
from unpaired.data.minority import alpha_is_a_band, band_note
from unpaired.data.ranges import channels_fit
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError
from unpaired.images import read_header
from unpaired.images.predicates import file_digest, is_flat, is_grey, over_background
from unpaired.storage import shown

_MOST_NAMED = 10
_MOST_BAD_NAMED = 1000


@dataclass(frozen=True)
class Found:
    """What was found of one image: why it cannot be trained on ("" if it can), its shorter side, its colours."""

    problem: str
    side: int = 0
    flat: bool = False
    grey: bool = False
    alpha_is_a_band: bool = False
    channels: int = 0
    dtype: str = ""


@dataclass(frozen=True)
class SourceLook:
    """What was found of each image of a source, in its order."""

    source: FolderSource
    found: list[Found]

    @property
    def problems(self) -> list[str]:
        """The sentences about images that cannot be trained on."""
        return [one.problem for one in self.found if one.problem]

    def bad(self) -> frozenset[str]:
        """Return the names of the images that cannot be trained on."""
        return frozenset(self.source.name(index) for index, one in enumerate(self.found) if one.problem)

    def refusal(self) -> str:
        """Return the message about the images that cannot be trained on."""
        if len(self.problems) == 1:
            return self.problems[0]
        count = f"{len(self.problems)} of {len(self.found)} images in {self.source.folder}"
        way = "mend or remove them, or leave them out with --data.bad-images skip"
        return f"{count} cannot be trained on; {way}:{listed(self.problems, _MOST_BAD_NAMED)}"

    def omission(self) -> str:
        """Return the sentence about the images that are left out."""
        count = f"{len(self.problems)} of {len(self.found)} images in {self.source.folder}"
        return f"{count} cannot be trained on and are left out; data.json and the report list them."

    def types(self) -> dict[Path, str]:
        """Return the type of each file that can be trained on."""
        found = zip(self.source.paths, self.found, strict=True)
        return {path: one.dtype for path, one in found if not one.problem}

    def bands(self, channels: int, letter: str) -> list[str]:
        """Return a sentence about images whose alpha looks like a band that `channels` leave out; letter: a or b."""
        found = [index for index, one in enumerate(self.found) if one.alpha_is_a_band and one.channels + 1 != channels]
        names = [self.source.name(index) for index in found]
        colours = self.found[found[0]].channels if found else 0
        return band_note(self.source.folder, names, len(self.found), colours, letter)

    def enlarged(self, config: DataConfig) -> list[str]:
        """Return a sentence about images that are enlarged for training, where there are any."""
        sides = [one.side for one in self.found if not one.problem]
        small = sum(side < config.crop_size for side in sides)
        if not small or config.preprocess in WHOLE_IMAGES:
            return []
        of = f"{small} of {len(sides)} images in {self.source.folder}"
        return [f"{of} are smaller than the crop ({config.crop_size}) and are enlarged; a smaller --size would not."]


def check_images(source: FolderSource, config: DataConfig, min_side: int = 1) -> list[str]:
    """Decode every image of a source; returns what a person should know, a sentence each.

    Raises DataError that names the images which training cannot use. min_side: the smallest side that the networks can
    take.
    """
    look = look_through(source, config, min_side)
    if look.problems:
        raise DataError(look.refusal())
    return look.enlarged(config)


def look_through(
    source: FolderSource, config: DataConfig, min_side: int = 1, *, channels: int | None = None
) -> SourceLook:
    """Decode every image of a source, on a few threads, as the decoder releases the interpreter.

    channels: what every image is taken as; None for any.
    """

    def look(index: int) -> Found:
        return _look_at(source, index, config, min_side, channels)

    with ThreadPoolExecutor(max_workers=4) as threads:
        return SourceLook(source, list(threads.map(look, range(len(source)))))


def summary(training: Sequence[SourceLook], test: Sequence[SourceLook], command: str) -> list[str]:
    """Return one sentence, or none, of what the training images hold that a person may want to mend.

    test: the looks at test images, which belong to those of training in this order. command: what says more.
    """
    twice, leaks = _identical(training, test)
    sound = [[one for one in look.found if not one.problem] for look in training]
    flat = sum(one.flat for found in sound for one in found)
    grey = sum(number for number in map(_few_grey, sound))
    counts = {
        f"{leaks} test {'image is' if leaks == 1 else 'images are'} also trained on": leaks,
        f"{twice} {'file is a copy' if twice == 1 else 'files are copies'} of another": twice,
        f"{flat} of a single colour": flat,
        f"{grey} in grey among colour": grey,
    }
    told = [words for words, number in counts.items() if number]
    return [f"Among the images: {', '.join(told)}; `{command}` names them."] if told else []


def check_pairs(a: FolderSource, b: FolderSource) -> None:
    """Raise DataError that names the first ten pairs whose files differ in size; no pixel is decoded."""
    problems = []
    for path_a, path_b in zip(a.paths, b.paths, strict=True):
        one, other = read_header(path_a), read_header(path_b)
        if (one.width, one.height) != (other.width, other.height):
            sizes = f"{one.width}x{one.height} and {other.width}x{other.height} pixels"
            problems.append(f"{shown(path_a)} and {shown(path_b)} are {sizes}")
    if problems:
        raise DataError(
            f"{len(problems)} of {len(a)} pairs differ in size; make them equal, or let --data.preprocess "
            f"resize_and_crop do it:{listed(problems)}"
        )


def listed(problems: list[str], most: int = _MOST_NAMED) -> str:
    """Return the first problems, ten unless told otherwise, a line each, and how many more there are."""
    rest = f"\n  and {len(problems) - most} more" if len(problems) > most else ""
    return "".join(f"\n  {problem}" for problem in problems[:most]) + rest


def _look_at(source: FolderSource, index: int, config: DataConfig, min_side: int, channels: int | None) -> Found:
    """Decode one image and describe it."""
    name = shown(source.paths[index])
    try:
        image = source[index]
        check_size(name, image.height, image.width, config, min_side)
    except DataError as error:
        return Found(str(error))
    if channels is not None and not channels_fit(image.channels, image.alpha is not None, channels):
        return Found(f"{name} has {image.channels} channels, and {channels} are trained on; convert or remove it.")
    red, green, blue = config.background
    opaque = over_background(image, (red, green, blue))
    flat = is_flat(opaque)
    return Found(
        problem="",
        side=min(image.height, image.width),
        flat=flat,
        grey=not flat and is_grey(opaque),
        alpha_is_a_band=alpha_is_a_band(source.paths[index], image),
        channels=image.channels,
        dtype=str(image.dtype),
    )


def _few_grey(found: Sequence[Found]) -> int:
    """Return how many images of a domain are grey, where most are not."""
    grey = sum(one.grey for one in found)
    return grey if 2 * grey <= len(found) else 0


def _identical(training: Sequence[SourceLook], test: Sequence[SourceLook]) -> tuple[int, int]:
    """Return how many training files are copies of another of their domain, and how many test files of one of them.

    Only files of equal size are read.
    """
    twice, leaks = 0, 0
    for number, look in enumerate(training):
        sound = (path for path, one in zip(look.source.paths, look.found, strict=True) if not one.problem)
        own = list(dict.fromkeys(sound))  # the slices of a volume are one file
        tests = dict.fromkeys(test[number].source.paths) if number < len(test) else ()
        sizes: dict[int, list[tuple[int, int]]] = {}
        everything = [*own, *tests]
        for index, path in enumerate(everything):
            with contextlib.suppress(OSError):
                sizes.setdefault(path.stat().st_size, []).append((index, index >= len(own)))
        for same in sizes.values():
            if len(same) > 1:
                seen = set[str]()
                for index, is_test in same:
                    try:
                        with everything[index].open("rb") as file:
                            digest = file_digest(file)
                    except OSError:
                        continue
                    leaks += is_test and digest in seen
                    twice += not is_test and digest in seen
                    if not is_test:
                        seen.add(digest)
    return twice, leaks
