"""A test set: images of both domains, and whether they are each other's truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unpaired.data.check import listed
from unpaired.data.domains import chosen_pair
from unpaired.data.held_out import digests
from unpaired.data.pairs import HalfSource, matched, pair_name, preview_pairs
from unpaired.data.sources import FolderSource, ImageSource, preview_folders
from unpaired.errors import DataError, ImageError
from unpaired.images import Image
from unpaired.models.input_specs import spec_from_model
from unpaired.models.model_folder import ModelInfo
from unpaired.models.selection_info import ChoiceInfo
from unpaired.scanning.threads import on_threads
from unpaired.storage import shown, writable


@dataclass(frozen=True)
class TestSet:
    """Images of A and of B. truth: whether image k of A and image k of B show the same thing, pixel by pixel."""

    __test__ = False  # not a test, whatever pytest makes of the name

    a: ImageSource
    b: ImageSource
    truth: bool

    @property
    def side_by_side(self) -> bool:
        """Whether each file holds an image of A and, beside it, one of B."""
        return isinstance(self.a, HalfSource)

    def side(self, domain: str) -> ImageSource:
        """Return the images of domain "A" or "B"."""
        return self.a if domain == "A" else self.b

    def seen(self, choice: ChoiceInfo | None) -> dict[str, list[bool]]:
        """Return by domain which images the step of a model was chosen by, whatever they are called here."""
        sides: dict[str, ImageSource] = {"A": self.a, "B": self.b}
        return {
            domain: choice.among(domain, digests(source))
            if choice is not None and isinstance(source, FolderSource)
            else [False] * len(source)
            for domain, source in sides.items()
        }

    def unseen(self, choice: ChoiceInfo | None) -> TestSet:
        """Return the images that a model was not chosen by, pairs with both halves; raises DataError without any."""
        a, b = self.seen(choice).values()
        if self.truth:
            a = b = [one or other for one, other in zip(a, b, strict=True)]
        keep_a, keep_b = ([index for index, took_part in enumerate(each) if not took_part] for each in (a, b))
        if not (isinstance(self.a, FolderSource) and isinstance(self.b, FolderSource)):
            return self
        return TestSet(*chosen_pair(self.a, self.b, keep_a, keep_b), truth=self.truth)

    def check(self, counts: Mapping[str, int]) -> None:
        """Decode the first `counts[domain]` images of each domain; raises DataError that names all that cannot be read.

        So that none is found after hours of translating the others.
        """

        def problem(chosen: tuple[ImageSource, int]) -> str:
            source, index = chosen
            try:
                source[index]
            except DataError as error:
                return str(error)
            return ""

        chosen = [(self.side(domain), index) for domain, count in counts.items() for index in range(count)]
        problems = list(dict.fromkeys(filter(None, on_threads(problem, chosen))))
        if len(problems) == 1:
            raise DataError(problems[0])
        if problems:
            raise DataError(f"{len(problems)} test images cannot be read; fix or remove them:{listed(problems)}")

    def fingerprint(self) -> str:
        """Return a SHA-256 over the names and pixels' files of both domains, to stand beside each figure."""
        digest = hashlib.sha256()
        for source in (self.a, self.b):
            digest.update(f"{len(source)}\n".encode())
            for index in range(len(source)):
                digest.update(f"{writable(source.name(index))}\n".encode())
            paths = getattr(source, "paths", ())
            by_path = {path: _digest(path) for path in dict.fromkeys(paths)}  # a stack is read once for all its slices
            for path in paths:
                digest.update(by_path[path])
        return digest.hexdigest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def open_test_set(root: str | Path, *, truth: bool | None = None) -> TestSet:
    """Open DATA/testA and DATA/testB, or the pairs of DATA/test or DATA/val.

    truth: True where files of the same name are pairs, False where they are not, None to tell from the names: all
    of them match, or the images are side by side. Raises DataError where there is no test half, or names that should
    match do not.
    """
    folder = Path(root)
    folders = preview_folders(str(folder))
    if folders is None:
        pair = preview_pairs(str(folder))
        if pair is None:
            raise DataError(
                f"{shown(folder)} has no test half: it needs testA and testB, or test (or val) of side-by-side pairs."
            )
        return TestSet(*pair, truth=truth is not False)
    a, b = map(FolderSource, folders)
    names = [{pair_name(source, index) for index in range(len(source))} for source in (a, b)]
    if truth or (truth is None and names[0] == names[1]):
        return TestSet(*matched(*folders), truth=True)
    return TestSet(a, b, truth=False)


def as_seen(image: Image, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return an image as the model is tested with it: opaque, size x size, c h w in [-1, 1].

    Resized to a square without keeping the aspect ratio, as the official test does with its defaults; bicubic, or by
    nearest pixels where training did so.
    """
    return spec_from_model(info, domain, channels)(image, (size, size))


def batch_of(source: ImageSource, indices: range, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return the images of a source with these numbers, n c h w in [-1, 1]."""
    return torch.stack([seen_at(source, index, info, domain, channels, size) for index in indices])


def seen_at(source: ImageSource, index: int, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return one image of a source as `as_seen` does; an error of the image names it."""
    image = source[index]
    try:
        return as_seen(image, info, domain, channels, size)
    except ImageError as error:
        raise ImageError(f"{shown(source.name(index))}: {error}") from None


def dealt(count: int, batch: int) -> list[range]:
    """Return the numbers of the first `count` images of a source, `batch` at a time."""
    return [range(start, min(start + batch, count)) for start in range(0, count, batch)]
