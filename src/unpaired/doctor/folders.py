"""The places of a data folder: folders by domain and split, and all files in them and beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unpaired.data.sources import holds_images
from unpaired.errors import DataError
from unpaired.storage import without_junk

Domain = Literal["A", "B", ""]
_SPLITS = ("train", "test", "val")


@dataclass(frozen=True)
class Place:
    """A folder of images: its name in reports, its domain ("": both, or one without a name), its split."""

    name: str
    folder: Path
    domain: Domain
    split: str


def find_places(root: str, a: str, b: str, pairing: str = "") -> list[Place]:
    """Return the folders that training reads from DATA `root`, or `a` and `b`; any other folder is a single place.

    pairing: "paired" and "noise" search for their layouts first. Raises DataError if a folder is missing.
    """
    if a or b:
        if (a and not b) or (b and not a and pairing != "noise"):
            raise DataError(f"--{'a' if a else 'b'} is given alone; give both --a and --b, or one DATA folder.")
        domains: tuple[tuple[str, Domain], ...] = ((a, "A"), (b, "B"))
        return [_there(Place(given, Path(given), domain, "train")) for given, domain in domains if given]
    if not root:
        raise DataError("No data: give a folder of images, or one that holds trainA and trainB, or --a DIR --b DIR.")
    whole = _there(Place(Path(root).resolve().name, Path(root), "", "train"))
    splits = [layout for split in _SPLITS if (layout := _split(whole.folder, split, pairing))]
    if splits and splits[0][0].split == "train":
        return [place for layout in splits for place in layout]
    both = [Place(domain, whole.folder / domain, domain, "train") for domain in ("A", "B")]
    return both if all(holds_images(place.folder) for place in both) else [whole]


def walk(folder: Path, without: tuple[Path, ...] = ()) -> Iterator[tuple[Path, str]]:
    """Yield every file below a folder, sorted, with the reason why it cannot be inspected ("" in most cases).

    Links to folders are not followed, as in training, and have the reason "linked_folder"; those that cannot be listed
    have "unreadable"; hidden folders and those of a desktop or a disk "junk_folder". Folders in `without` are left out.
    """
    refused: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: refused.append(Path(error.filename))):
        here = Path(place)
        folders[:] = sorted(name for name in folders if here / name not in without)
        yield from ((path, "junk_folder") for path in without_junk(here, folders))
        yield from ((here / name, "linked_folder") for name in folders if (here / name).is_symlink())
        yield from ((here / name, "") for name in sorted(files))
    yield from ((path, "unreadable") for path in refused)


def _there(place: Place) -> Place:
    if not place.folder.is_dir():
        raise DataError(f"{place.folder} is not a folder; give a folder of images, or one that holds some.")
    return place


def _split(root: Path, split: str, pairing: str) -> list[Place]:
    """Return the places of one split, in the layout that training would choose; empty if there is none."""
    apart = [(root / f"{split}A", root / f"{split}B"), (root / split / "A", root / split / "B")]
    apart.append((root / "A" / split, root / "B" / split))
    if pairing != "noise":
        # trainA without trainB is half of a layout: training refuses it, and the report should show it.
        for pair in apart[1::-1] + apart[2:] if pairing == "paired" else apart:
            found = any if split == "train" and pair is apart[0] else all
            if found(folder.is_dir() for folder in pair) and not _sheets_first(root / split, pairing):
                return [_place(root, folder, domain, split) for folder, domain in zip(pair, ("A", "B"), strict=True)]
    alone = [root / split, root / f"{split}B"] if pairing == "noise" else [root / split]
    return [_place(root, folder, "", split) for folder in alone if holds_images(folder)][:1]


def _sheets_first(folder: Path, pairing: str) -> bool:
    """Return whether pix2pix would take the images of a folder as pairs side by side."""
    inside = all(holds_images(folder / domain) for domain in ("A", "B"))
    return pairing == "paired" and holds_images(folder) and not inside


def _place(root: Path, folder: Path, domain: str, split: str) -> Place:
    kind: Domain = "A" if domain == "A" else "B" if domain == "B" else ""
    return Place(folder.relative_to(root).as_posix(), folder, kind, split)
