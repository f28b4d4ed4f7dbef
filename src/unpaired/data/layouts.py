"""Data folders in another layout than training reads: the command that trains on them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from unpaired.data.listing import is_training_image
from unpaired.data.pairs import looks_side_by_side, matched
from unpaired.data.sources import holds_images
from unpaired.data.training_masks import FOLDERS as MASKS
from unpaired.errors import DataError, LayoutError
from unpaired.storage import is_junk_folder, shown

HALVES = ("trainA", "trainB")

_HELD_OUT = re.compile(r"(?:test|testing|val|valid|validation|eval|dev)(?:[\W_]*[ab])?", re.IGNORECASE)
_TRAINING = re.compile(r"train(?:ing)?", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:train(?:ing)?|domain|images?|set|class|folder)?[\W_]*([ab])", re.IGNORECASE)
"""Names of a domain's folder: A, Train_A, traina, domain-b."""

_NAMED = 6  # maximum number of folders in a message


def require_halves(root: Path) -> None:
    """Raise LayoutError, with a command that trains, for a folder without trainA and trainB.

    Raises DataError for a model folder. Does nothing if the folder does not exist or has both.
    """
    if not root.is_dir() or all((root / name).is_dir() for name in HALVES):
        return
    _refuse_outputs(root)
    lead = f"{shown(root)} has no {' and no '.join(name for name in HALVES if not (root / name).is_dir())}"
    parent = root.absolute().parent
    if root.absolute().name in HALVES and all((parent / half).is_dir() for half in HALVES):
        raise LayoutError(f"{shown(root)} is one half of a data folder; give the whole one", (str(root.parent),))
    _suggest_domains(root, lead)
    if any(map(looks_side_by_side, (root, root / "train"))):
        raise LayoutError(
            f"{lead}; its images are twice as wide as high, and if each holds A and B side by side, these are pairs",
            (str(root), "--recipe", "pix2pix"),
        )
    _suggest_around(root, lead)


def suggest_for_pairs(root: Path) -> None:
    """Raise LayoutError, with a command that trains, for a folder without pairs if something in it or of it fits.

    Two folders without common names are suggested for unpaired training.
    """
    if not root.is_dir():
        return
    _refuse_outputs(root)
    try:
        _suggest_domains(root, f"{shown(root)} holds no pairs")
    except LayoutError as error:
        a, b = (Path(error.words[number]) for number in (1, 3))
        try:
            matched(a, b)
        except DataError:
            raise LayoutError(f"{error.lead} of an unpaired recipe", (*error.words, "--recipe", "paper")) from None
        raise


def _refuse_outputs(root: Path) -> None:
    """Raise LayoutError for a run, DataError for a model."""
    if (root / "config.yaml").is_file() and (root / "checkpoints").is_dir():
        words = ("--config", str(root / "config.yaml"), "--out", str(root))
        raise LayoutError(f"{shown(root)} is a run and no folder of images; to continue it", words, complete=True)
    if (root / "model.json").is_file():
        raise DataError(
            f"{shown(root)} is a model and no folder of images; use it with: unpaired translate {shown(root)} IMAGE..."
        )


def _suggest_domains(root: Path, lead: str) -> None:
    """Raise LayoutError for subfolders that can be the domains.

    First those named like domains (Train_A and Train_B), in the folder or in its train; then any that hold images.
    """
    folders = _image_folders(root)
    inside = [domain for folder in folders if _TRAINING.fullmatch(folder.name) for domain in _image_folders(folder)]
    outside = [
        folder for folder in folders if not (_TRAINING.fullmatch(folder.name) or _HELD_OUT.fullmatch(folder.name))
    ]
    for found in (outside, inside):
        lettered = {match[1].lower(): folder for folder in found if (match := _DOMAIN.fullmatch(folder.name))}
        if len(lettered) == 2:
            raise LayoutError(_as_domains(root, lead, found := [lettered["a"], lettered["b"]]), _both(*found))
    for found in (inside, outside):
        if len(found) >= 2:
            found.sort(key=_letter)
            raise LayoutError(_as_domains(root, lead, found), _both(*found[:2]))


def _as_domains(root: Path, lead: str, folders: list[Path]) -> str:
    names = [shown(folder.relative_to(root).as_posix()) for folder in folders[:_NAMED]]
    if len(folders) == 2:
        return f"{lead}; its folders {' and '.join(names)} can be the domains"
    return f"{lead}; two of its folders can be the domains ({', '.join(names)}{', ...' * (len(folders) > _NAMED)})"


def _suggest_around(root: Path, lead: str) -> None:
    """Raise LayoutError for a folder around a data folder, and for the images of one domain."""
    inside = _image_folders(root)
    itself = any(is_training_image(path) and path.is_file() for path in root.iterdir())
    if len(inside) == 1 and not itself:
        require_halves(inside[0])  # raises the suggestion for the folder inside, unless it has both halves
        raise LayoutError(f"{lead}, which are one folder further down", (str(inside[0]),))
    if not itself and not inside:
        return
    others = [folder for folder in _image_folders(root.parent) if folder.absolute() != root.absolute()]
    if len(others) == 1 and not _HELD_OUT.fullmatch(others[0].name):
        raise LayoutError(
            f"{lead}; it holds the images of one domain, and if {shown(others[0])} is the other one",
            _both(*sorted((root, others[0]))),
        )
    raise LayoutError(
        f"{lead}; it holds the images of one domain, so give the folder of the other one too",
        _both(root, Path("FOLDER")),
    )


def _image_folders(root: Path) -> list[Path]:
    """Return the subfolders that hold images, sorted by name; links to folders and junk are left out."""
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    usable = (name for name in names if not is_junk_folder(name) and name not in MASKS)
    return [root / name for name in usable if _holds_images(root / name)]


def _holds_images(folder: Path) -> bool:
    try:
        return holds_images(folder)
    except DataError:  # a folder that cannot be listed; this is only about suggestions
        return False


def _letter(folder: Path) -> tuple[str, str]:
    """Return the sorting key of a folder: that of A first, that of B last."""
    match = _DOMAIN.fullmatch(folder.name)
    return {"a": "0", "b": "2"}.get(match[1].lower(), "1") if match else "1", folder.name


def _both(a: Path, b: Path) -> tuple[str, ...]:
    return ("--a", str(a), "--b", str(b))
