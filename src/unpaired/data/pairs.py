"""Pairs for pix2pix: A and B side by side in one image, or in two folders under the same name."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from unpaired.data.axes import refuse_other_axes
from unpaired.data.check import listed
from unpaired.data.listing import is_training_image
from unpaired.data.sources import FolderSource, holds_images
from unpaired.errors import DataError, ImageError
from unpaired.images import Image, half_of, read_header
from unpaired.storage import shown

_TRIED = 8  # images whose headers decide whether a folder looks like pairs

Pair = tuple[FolderSource, FolderSource]
"""A and B of equal length; image k of one belongs to image k of the other."""


class NoPairsError(DataError):
    """A folder holds no layout of pairs."""


class HalfSource(FolderSource):
    """One half of every side-by-side image of a folder: the left one is domain A, the right one domain B."""

    def __init__(self, sheets: _Sheets, *, left: bool) -> None:
        self.folder, self.paths, self.frames = sheets.source.folder, sheets.source.paths, sheets.source.frames
        self._stacks, self._names = sheets.source._stacks, sheets.source._names
        self.links, self.known = sheets.source.links, sheets.source.known
        self._sheets, self._left = sheets, left

    def __getitem__(self, index: int) -> Image:
        """Return a half; raises DataError for an odd width, ImageError if the file cannot be read."""
        whole = self._sheets[index]
        if whole.width % 2:
            raise DataError(
                f"{shown(self.paths[index])} is {whole.width} pixels wide, which is odd, so it cannot be A and B side "
                "by side; fix or remove it."
            )
        return half_of(whole, left=self._left)

    def chosen(self, indices: list[int]) -> Pair:
        """Return both halves of only these images."""
        source = copy.copy(self._sheets.source)
        source.choose(indices)
        sheets = _Sheets(source)
        return HalfSource(sheets, left=True), HalfSource(sheets, left=False)


class _Sheets:
    """Side-by-side images; the last one is cached, so that its two halves cost one decoding."""

    def __init__(self, source: FolderSource) -> None:
        self.source = source
        self._last: tuple[int, Image] | None = None

    def __getitem__(self, index: int) -> Image:
        last = self._last  # read once: another thread may replace it
        if last is None or last[0] != index:
            last = self._last = (index, self.source[index])
        return last[1]


def side_by_side(folder: Path) -> Pair:
    """Return both halves of the images of a folder; raises DataError if it is missing or empty."""
    sheets = _Sheets(FolderSource(folder))
    return HalfSource(sheets, left=True), HalfSource(sheets, left=False)


def matched(folder_a: Path, folder_b: Path) -> Pair:
    """Return the images of two folders, matched by their paths below them without the suffix.

    Names match in Unicode's composed form (NFC): archives of a Mac have decomposed letters (u and a diaeresis for ü).
    If every name of A ends in _A and every one of B in _B, as in the published facades and
    maps, the ending is ignored.
    Raises DataError for a missing or empty folder, for two files of one name, for names without a partner, and for
    volumes whose axes differ from those of their partner.
    """
    a, b = FolderSource(folder_a), FolderSource(folder_b)
    marked = all(path.stem.endswith("_A") for path in a.paths) and all(path.stem.endswith("_B") for path in b.paths)
    cut = 2 if marked else 0
    by_name_a, by_name_b = (_by_name(source, cut) for source in (a, b))
    alone = [f"{shown(name)} is in {folder_a} only" for name in sorted(by_name_a.keys() - by_name_b.keys())]
    alone += [f"{shown(name)} is in {folder_b} only" for name in sorted(by_name_b.keys() - by_name_a.keys())]
    if alone:
        any_pair = by_name_a.keys() & by_name_b.keys()
        remedy = "add or remove them" if any_pair else "rename them, or treat the folders as unpaired"
        raise DataError(f"{len(alone)} images have no partner of the same name; {remedy}:{listed(alone)}")
    names = sorted(by_name_a, key=lambda name: a.stem(by_name_a[name], cut))
    a.choose([by_name_a[name] for name in names])
    b.choose([by_name_b[name] for name in names])
    refuse_other_axes(a, b)
    return a, b


def paired_sources(root: str, a: str, b: str) -> Pair:
    """Return the training pairs: those of the folders `a` and `b`, or those in `root`.

    That is root/train of side-by-side images, or matched names in root/train/A and train/B, trainA and trainB,
    A/train and B/train, A and B: the first that is there; else the images of root itself if they look like pairs.
    Raises NoPairsError if there is none, DataError if only half is given.
    """
    if a or b:
        if not (a and b):
            raise DataError(f"--{'a' if a else 'b'} is given alone; give both --a and --b, or one DATA folder.")
        return matched(Path(a), Path(b))
    if not root:
        raise DataError("No data: give a DATA folder of pairs, or --a DIR --b DIR with the same names in both.")
    folder = Path(root)
    found = split_pairs(folder, "train")
    if found is None and holds_images(folder / "A") and holds_images(folder / "B"):
        found = matched(folder / "A", folder / "B")
    if found is None and looks_side_by_side(folder):
        found = side_by_side(folder)
    if found is None:
        raise NoPairsError(
            f"{folder} holds no pairs; give a folder with train (A and B side by side in each image) or with trainA "
            "and trainB (the same names in both), or --a DIR --b DIR."
        )
    return found


def looks_side_by_side(folder: Path) -> bool:
    """Return whether the images in a folder itself, not below it, are twice as wide as high, judged by a few headers.

    So are the published pairs; a panorama may be too, so this is no proof.
    """
    if not folder.is_dir():
        return False
    paths = sorted(path for path in folder.iterdir() if is_training_image(path) and path.is_file())
    tried = [paths[number * len(paths) // _TRIED] for number in range(_TRIED)] if paths else []
    try:
        headers = [read_header(path) for path in dict.fromkeys(tried)]
    except ImageError:
        return False
    return bool(headers) and all(header.width == 2 * header.height for header in headers)


def preview_pairs(root: str) -> Pair | None:
    """Return the pairs of root/test, or of root/val, in any of the layouts of `paired_sources`; None without any."""
    found = (split_pairs(Path(root), split) for split in ("test", "val")) if root else ()
    return next((pair for pair in found if pair), None)


def split_pairs(root: Path, split: str) -> Pair | None:
    """Return the pairs of one split ("train", "test", "val"), or None if no layout of it holds images."""
    folders = [(root / f"{split}A", root / f"{split}B"), (root / "A" / split, root / "B" / split)]
    inside = (root / split / "A", root / split / "B")
    if holds_images(root / split) and not all(map(holds_images, inside)):
        return side_by_side(root / split)
    return next((matched(*pair) for pair in [inside, *folders] if all(map(holds_images, pair))), None)


def _by_name(source: FolderSource, cut: int) -> Mapping[str, int]:
    """Return the images by `pair_name`. Raises DataError for two files of one name."""
    found: dict[str, int] = {}
    for index, path in enumerate(source.paths):
        name = pair_name(source, index, cut)
        if name in found:
            other = source.paths[found[name]]
            letters = ", one with composed and one with decomposed letters"
            same = source.stem(index, cut) == source.stem(found[name], cut)
            raise DataError(
                f"{shown(other)} and {shown(path)} share a name{'' if same else letters}; a pair has one file on each "
                "side."
            )
        found[name] = index
    return found


def pair_name(source: FolderSource, index: int, cut: int = 0) -> str:
    """Return the common name of an image and its partner: the path below the folder, in composed letters (NFC).

    Without the suffix and the last `cut` letters of the stem.
    """
    return unicodedata.normalize("NFC", source.stem(index, cut))
