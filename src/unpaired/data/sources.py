"""Image sources: a length, images by index, and a name for each."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypedDict

from unpaired.compat.collector import collector_paused
from unpaired.data.known_files import KnownFiles
from unpaired.data.listing import is_training_image, list_images
from unpaired.errors import DataError, ImageError
from unpaired.images import FORMATS, Image, count_slices, read_image, suffix_of
from unpaired.images.foreign import instead
from unpaired.scanning.threads import on_threads
from unpaired.storage import leads_out, refuse_folder, shown, without_junk


class ImageSource(Protocol):
    """A sequence of images of one domain. `name` is used for messages and outputs."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> Image:
        """Return image `index`, 0 <= index < len; raises ImageError if it cannot be read faithfully."""
        ...

    def name(self, index: int) -> str:
        """Return the name of image `index`, unique within the source."""
        ...


class FolderSource:
    """The image files of a folder and its subfolders, sorted by their path.

    Skipped are other files, hidden folders, folders of a desktop or a disk, and metadata files ("._x.jpg") of macOS.
    Each slice of a volume or a stack is an image: `paths` has its file once for each slice, and `frames` the slice's
    number.
    """

    @collector_paused()
    def __init__(self, folder: Path) -> None:
        """List `folder`; raises DataError if it is missing, holds no image, or cannot be listed."""
        self.folder = folder
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a folder of images.")
        listed = list_images(folder)
        if not listed.paths:
            others = instead(sorted(_files(folder)))
            known = "" if others else f" ({', '.join(sorted(FORMATS.suffixes))})"
            raise DataError(f"{folder} holds no images{known}; {others or 'put some there'}.")
        counts, self._stacks = _counts(listed.paths)
        self.frames = [frame for count in counts for frame in range(count)]
        places = [place for place, count in enumerate(counts) for _ in range(count)]
        self.paths = [listed.paths[place] for place in places]
        self._names = [listed.names[place] for place in places]
        self.known = KnownFiles([listed.stamps[place] for place in places])
        self.links = frozenset(listed.links)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image:
        return read_image(self.paths[index], frame=self.frames[index])

    def name(self, index: int) -> str:
        """Return the path of the file below the folder, with forward slashes; for a volume followed by [slice]."""
        return self._names[index] + self._slice(index)

    def stem(self, index: int, cut: int = 0) -> str:
        """Return the name without the suffix of the file and the `cut` letters before it."""
        name = self._names[index]
        return name[: len(name) - len(suffix_of(name)) - cut] + self._slice(index)

    def choose(self, indices: list[int]) -> None:
        """Keep only these images, in this order."""
        self.paths, self.frames = [self.paths[i] for i in indices], [self.frames[i] for i in indices]
        self._names = [self._names[i] for i in indices]
        self.known = self.known.chosen(indices)

    def names(self) -> list[str]:
        """Return the names of all images."""
        return list(map(self.name, range(len(self)))) if self._stacks else self._names

    def _slice(self, index: int) -> str:
        if not self._stacks:  # most sources
            return ""
        return f"[{self.frames[index]}]" if self.paths[index] in self._stacks else ""


def holds_images(folder: Path) -> bool:
    """Return whether a folder exists and holds an image, in itself or below."""
    return folder.is_dir() and next(_image_files(folder), None) is not None


def _image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files of a folder and those below it, links to folders not followed.

    Raises DataError for a folder that cannot be listed, because a data set should not shrink unnoticed.
    """
    yield from (path for path in _files(folder) if is_training_image(path) and _is_file(path))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=refuse_folder):
        without_junk(place, folders)
        yield from map(Path(place).joinpath, names)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:  # the folder can be listed but not entered
        refuse_folder(error)


def refuse_links_out(source: FolderSource) -> None:
    """Raise DataError if files of a source are links that lead out of its folder, which may be untrusted."""
    if not source.links:
        return
    links = [path for path in dict.fromkeys(source.paths) if path in source.links and leads_out(path, source.folder)]
    if links:
        more = f" and {len(links) - 1} more" if len(links) > 1 else ""
        raise DataError(
            f"{shown(links[0])}{more} in {shown(source.folder)} is a link that leads out of that folder; copy the "
            "image there, or give --data.follow-symlinks yes if the links are your own."
        )


def _counts(paths: list[Path]) -> tuple[list[int], frozenset[Path]]:
    """Return the number of images in each file, and the files that are stacks.

    An unreadable stack counts as one image: reading it raises the error.
    """
    counts, stacks = [], []
    compound, known_by = FORMATS.lookup.compound, FORMATS.lookup.by_suffix
    single = tuple(
        suffix
        for suffix, known in known_by.items()
        if not (known.stacks or known.volumes or any(other.endswith(suffix) for other in compound))
    )
    for path in paths:
        if path.name.endswith(single):
            counts.append(1)
            continue
        known = FORMATS.named(path)
        count = 1
        if known is not None and known.stacks:
            with contextlib.suppress(ImageError):
                count = count_slices(path)
        counts.append(count)
        if count > 1 or (known is not None and known.volumes):
            stacks.append(path)
    return counts, frozenset(stacks)


def fingerprint(source: FolderSource) -> str:
    """Return a SHA-256 over the sorted (name, size) of a folder's images, to identify the training data."""
    digest = hashlib.sha256()
    for name, size in zip(source.names(), source.known.sizes(), strict=True):
        digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


class FileFacts(TypedDict):
    """Size and digest of a file's content."""

    size: int
    sha256: str


ImageList = dict[str, FileFacts]
"""The files of a source by name."""


def image_list(source: FolderSource) -> ImageList:
    """Return size and SHA-256 of every file of a source; files whose digest is not known are read.

    Raises ImageError for a file that cannot be read.
    """
    known = source.known
    unread = [index for index in range(len(source)) if not known.has_digest[index]]
    files = list(dict.fromkeys(source.paths[index] for index in unread))  # a volume is listed once per slice
    facts = dict(zip(files, on_threads(_file_facts, files), strict=True))
    for index in unread:
        known.add_digest(index, facts[source.paths[index]]["sha256"])
    with collector_paused():
        listing: ImageList = {
            name: {"sha256": digest, "size": size}
            for name, digest, size in zip(source.names(), known.all_digests(), known.sizes(), strict=True)
        }
    return listing | {source.name(index): facts[source.paths[index]] for index in unread}


def _file_facts(path: Path) -> FileFacts:
    try:
        with path.open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": file.tell()}
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); fix or remove it.") from None


def train_folders(root: str, a: str, b: str) -> tuple[Path, Path]:
    """Return the folders of training images of both domains: root/trainA and root/trainB, or `a` and `b`.

    Raises DataError if nothing or only one domain is given, or if a folder is missing.
    """
    if a or b:
        if not (a and b):
            raise DataError(f"--{'a' if a else 'b'} is given alone; give both --a and --b, or one DATA folder.")
        return Path(a), Path(b)
    if not root:
        raise DataError("No data: give a DATA folder that holds trainA and trainB, or --a DIR --b DIR.")
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; give one that holds trainA and trainB, or a folder for each domain (--a DIR "
            "--b DIR)."
        )
    pair = folder / "trainA", folder / "trainB"
    missing = [path.name for path in pair if not path.is_dir()]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:8]) or "no folder"
        raise DataError(f"{folder} has no {' and no '.join(missing)} (it holds {there}); add it, or use --a and --b.")
    return pair


def preview_folders(root: str) -> tuple[Path, Path] | None:
    """Return root/testA and root/testB if both exist and hold images, else None."""
    if not root:
        return None
    pair = Path(root) / "testA", Path(root) / "testB"
    return pair if all(map(holds_images, pair)) else None
