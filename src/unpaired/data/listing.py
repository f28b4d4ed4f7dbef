"""The image files of a folder and those below it, with their sizes and dates, in one pass."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unpaired.images import FORMATS, is_image_name
from unpaired.storage import refuse_folder, without_junk

Stamp = tuple[int, int, int, int]
"""Size in bytes, times of the last change of content and of status in nanoseconds, and inode of a file."""


@dataclass
class Listing:
    """Files in the order of their names, the paths below the folder with forward slashes. links: symbolic ones."""

    names: list[str]
    paths: list[Path]
    stamps: list[Stamp]
    links: set[Path]


def list_images(folder: Path) -> Listing:
    """Return the image files of a folder and those below it, links to folders not followed.

    Raises DataError for a folder that cannot be listed, because a data set should not shrink unnoticed.
    """
    found: list[tuple[str, Path, Stamp]] = []
    links: set[Path] = set()
    is_image = _by_suffix()
    for place, folders, names in os.walk(folder, onerror=refuse_folder):
        without_junk(place, folders)
        here = Path(place)
        below = here.relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        inside = os.path.join(place, "")  # noqa: PTH118 - a path would lose the separator
        for name in names:
            if not is_image(name):
                continue
            status, is_link = _status(inside + name)
            if status is not None and stat.S_ISREG(status.st_mode):
                path = here / name
                found.append((prefix + name, path, stamp_of(status)))
                if is_link:
                    links.add(path)
    found.sort(key=lambda entry: entry[0])
    return Listing([name for name, _, _ in found], [path for _, path, _ in found], [one for _, _, one in found], links)


def is_training_image(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of a folder is an image by its name; metadata files of macOS (._x.jpg) are not."""
    return is_image_name(path) and not os.path.basename(path).startswith("._")  # noqa: PTH119 - as above


def _by_suffix() -> Callable[[str], bool]:
    """Return `is_training_image` for names of files, in a form that remembers simple suffixes."""
    compound = {suffix[suffix.rfind(".") :] for suffix in FORMATS.suffixes if suffix.count(".") > 1}
    remembered: dict[str, bool] = {}

    def is_image(name: str) -> bool:
        dot = name.rfind(".")
        suffix = name[dot:]
        if dot <= 0 or name.startswith("._") or suffix in compound:
            return is_training_image(name)
        found = remembered.get(suffix)
        if found is None:
            found = remembered[suffix] = is_training_image(name)
        return found

    return is_image


def stamp_of(status: os.stat_result) -> Stamp:
    """Return size, times and inode of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _status(path: str) -> tuple[os.stat_result | None, bool]:
    """Return the status of a file, of the target of a link, and whether it is one; None if it leads nowhere.

    Raises DataError for a file of a folder that can be listed but not entered.
    """
    is_link = False
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        return (os.stat(path) if is_link else status), is_link  # noqa: PTH116 - as above
    except PermissionError as error:
        refuse_folder(error)
    except (OSError, ValueError):
        return None, is_link
