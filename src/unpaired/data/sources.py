"""Where images come from: anything with a length, images by index, and a name for each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from unpaired.errors import DataError
from unpaired.images import IMAGE_SUFFIXES, Image, read_image


class ImageSource(Protocol):
    """A sequence of images of one domain. `name` is what messages and outputs call an image."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> Image:
        """Return image `index`, 0 <= index < len; raises ImageError where it cannot be read faithfully."""
        ...

    def name(self, index: int) -> str:
        """Return the name of image `index`, unique within the source."""
        ...


class FolderSource:
    """The image files of a folder and its subfolders, sorted by their path; other files are passed over."""

    def __init__(self, folder: Path) -> None:
        """List `folder`; raises DataError when it is missing or holds no image."""
        self.folder = folder
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a folder of images.")
        self.paths = sorted(_image_files(folder), key=lambda path: path.relative_to(folder).as_posix())
        if not self.paths:
            raise DataError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); put some there.")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image:
        return read_image(self.paths[index])

    def name(self, index: int) -> str:
        """Return the path of the file below the folder, with forward slashes."""
        return self.paths[index].relative_to(self.folder).as_posix()


def holds_images(folder: Path) -> bool:
    """Return whether a folder is there and holds an image, in itself or below."""
    return next(_image_files(folder), None) is not None


def _image_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def fingerprint(source: FolderSource) -> str:
    """Return a SHA-256 over the sorted (name, size) of a folder's images: which files a run was trained on."""
    digest = hashlib.sha256()
    for index, path in enumerate(source.paths):
        digest.update(f"{source.name(index)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


def train_folders(root: str, a: str, b: str) -> tuple[Path, Path]:
    """Return the folders of training images of both domains: root/trainA and root/trainB, or `a` and `b`.

    Raises DataError when nothing or only half of it is given, or a folder is missing.
    """
    if a or b:
        if not (a and b):
            raise DataError(f"--{'a' if a else 'b'} is given alone; give both --a and --b, or one DATA folder.")
        return Path(a), Path(b)
    if not root:
        raise DataError("No data: give a DATA folder that holds trainA and trainB, or --a DIR --b DIR.")
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give one that holds trainA and trainB, or --a DIR --b DIR.")
    pair = folder / "trainA", folder / "trainB"
    missing = [path.name for path in pair if not path.is_dir()]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())[:8]) or "no folder"
        raise DataError(f"{folder} has no {' and no '.join(missing)} (it holds {there}); add it, or use --a and --b.")
    return pair


def preview_folders(root: str) -> tuple[Path, Path] | None:
    """Return root/testA and root/testB where both are there and hold images, else None."""
    if not root:
        return None
    pair = Path(root) / "testA", Path(root) / "testB"
    return pair if all(map(holds_images, pair)) else None
