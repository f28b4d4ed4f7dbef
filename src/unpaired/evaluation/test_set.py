"""A test set: images of both domains, and whether they are pairs with ground truth."""

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
from unpaired.storage import at_home, shown, writable


@dataclass(frozen=True)
class TestSet:
    """Images of A and of B. truth: whether image k of A and image k of B are registered pixel by pixel."""

    __test__ = False  # not a test class, despite its name

    a: ImageSource
    b: ImageSource
    truth: bool

    @property
    def side_by_side(self) -> bool:
        """Whether each file holds an image of A and one of B side by side."""
        return isinstance(self.a, HalfSource)

    def side(self, domain: str) -> ImageSource:
        """Return the images of domain "A" or "B"."""
        return self.a if domain == "A" else self.b

    def seen(self, choice: ChoiceInfo | None) -> dict[str, list[bool]]:
        """Return by domain which images took part in the checkpoint selection, whatever their names here."""
        sides: dict[str, ImageSource] = {"A": self.a, "B": self.b}
        return {
            domain: choice.among(domain, digests(source))
            if choice is not None and isinstance(source, FolderSource)
            else [False] * len(source)
            for domain, source in sides.items()
        }

    def unseen(self, choice: ChoiceInfo | None) -> TestSet:
        """Return the images outside the checkpoint selection, pairs with both halves. Raises DataError if none is."""
        a, b = self.seen(choice).values()
        if self.truth:
            a = b = [one or other for one, other in zip(a, b, strict=True)]
        keep_a, keep_b = ([index for index, took_part in enumerate(each) if not took_part] for each in (a, b))
        if not (isinstance(self.a, FolderSource) and isinstance(self.b, FolderSource)):
            return self
        return TestSet(*chosen_pair(self.a, self.b, keep_a, keep_b), truth=self.truth)

    def check(self, counts: Mapping[str, int]) -> None:
        """Decode the first `counts[domain]` images of each domain. Raises DataError, listing all unreadable images.

        Otherwise such an image could stop an evaluation after hours.
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
        """Return a SHA-256 over the names and files of both domains, shown with each figure."""
        digest = hashlib.sha256()
        for source in (self.a, self.b):
            digest.update(f"{len(source)}\n".encode())
            for index in range(len(source)):
                digest.update(f"{writable(source.name(index))}\n".encode())
            paths = getattr(source, "paths", ())
            by_path = {path: _digest(path) for path in dict.fromkeys(paths)}  # a stack is hashed once
            for path in paths:
                digest.update(by_path[path])
        return digest.hexdigest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def open_test_set(root: str | Path, *, truth: bool | None = None) -> TestSet:
    """Open DATA/testA and DATA/testB, or the pairs of DATA/test or DATA/val.

    truth: whether files of the same name are pairs; None to infer it: all names match, or the images are side by side.
    Raises DataError if there is no test half, or if names do not match as required.
    """
    folder = at_home(root)
    folders = preview_folders(str(folder))
    if folders is None:
        pair = preview_pairs(str(folder))
        if pair is None:
            raise _no_test_half(folder)
        return TestSet(*pair, truth=truth is not False)
    a, b = map(FolderSource, folders)
    names = [{pair_name(source, index) for index in range(len(source))} for source in (a, b)]
    if truth or (truth is None and names[0] == names[1]):
        return TestSet(*matched(*folders), truth=True)
    return TestSet(a, b, truth=False)


def _no_test_half(folder: Path) -> DataError:
    """Return the error for a folder without test images; half of a data folder gets the whole one as advice."""
    if not folder.is_dir():
        return DataError(f"There is no folder {shown(folder)}; check the name.")
    whole = folder.absolute().parent
    if folder.name in ("testA", "testB") and preview_folders(str(whole)) is not None:
        return DataError(f"{shown(folder)} is one half of the test images; give the folder of both: {shown(whole)}")
    return DataError(
        f"{shown(folder)} has no test half: it needs testA and testB, or test (or val) of side-by-side pairs."
    )


def as_tested(image: Image, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return an image as an input of the evaluation: opaque, size x size, c h w in [-1, 1].

    Resized to a square without keeping the aspect ratio, as in the official test with its defaults; bicubic, or
    nearest-neighbour if training used that.
    """
    return spec_from_model(info, domain, channels)(image, (size, size))


def batch_of(source: ImageSource, indices: range, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return the images of a source with these indices, n c h w in [-1, 1]."""
    return torch.stack([tested_at(source, index, info, domain, channels, size) for index in indices])


def tested_at(source: ImageSource, index: int, info: ModelInfo, domain: str, channels: int, size: int) -> Tensor:
    """Return one image of a source like `as_tested`; errors name the image."""
    image = source[index]
    try:
        return as_tested(image, info, domain, channels, size)
    except ImageError as error:
        raise ImageError(f"{shown(source.name(index))}: {error}") from None


def index_batches(count: int, batch: int) -> list[range]:
    """Return the indices of the first `count` images of a source, `batch` at a time."""
    return [range(start, min(start + batch, count)) for start in range(0, count, batch)]
