"""Notes before step one on unused data: files that are no images, and contents of image files beside the image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from unpaired.data.datasets import DataConfig
from unpaired.data.listing import is_training_image
from unpaired.data.sources import FolderSource
from unpaired.errors import DataError
from unpaired.images import Carried
from unpaired.images.carried import in_order, lost_from
from unpaired.images.foreign import passed_over
from unpaired.images.labels import label_parts
from unpaired.scanning.threads import on_threads
from unpaired.storage import left_out, shown, without_junk

_TRIED = 5  # images inspected to detect a domain of label maps

_UNUSED: dict[Carried, str] = {
    "pages": "hold further pages, such as thumbnails and masks, beside the image that is trained on",
    "frames": "hold further frames, of which the first is trained on",
    "pyramid": "hold smaller copies of the image, of which the largest is trained on",
}
"""Contents that training leaves unused. A georeference or the size of a pixel needs no note."""


def remarks(sources: Iterable[FolderSource | None]) -> list[str]:
    """Return sentences about skipped files in the folders of sources and unused contents of their images."""
    there = [source for source in sources if source is not None]
    folders = list(dict.fromkeys(source.folder for source in there))
    sentences: dict[str, None] = {}  # each remedy once, however many folders need it
    for folder in folders:
        others, junk = _beside(folder)
        sentences |= dict.fromkeys([*passed_over(others, folder), *left_out(junk)])
    return [*sentences, *_unused(there)]


def mixed_classes(a: FolderSource | None, b: FolderSource, config: DataConfig) -> list[str]:
    """Return a sentence for each domain of label maps that resizing would mix, judged by a few of its images."""
    sentences = []
    for letter, source, how in (("a", a, config.resize_a), ("b", b, config.resize_b)):
        if source is not None and how == "bicubic" and config.preprocess != "crop" and _are_maps(source):
            sentences.append(
                f"The images in {shown(source.folder)} look like label maps, and bicubic resizing mixes their classes: "
                f"if they are, add --data.resize-{letter} nearest."
            )
    return sentences


def _are_maps(source: FolderSource) -> bool:
    """Return whether a few evenly spread images are all label maps."""
    for number in range(_TRIED):
        try:
            image = source[number * len(source) // _TRIED]
        except DataError:  # reported by the scan of every image
            continue
        if "whole" not in label_parts(image):
            return False
    return True


def _beside(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of a folder that are not trained on and the skipped folders, sorted."""
    others: list[Path] = []
    junk: list[Path] = []
    for place, folders, names in os.walk(folder):
        junk += without_junk(place, folders)
        others += (path for path in map(Path(place).joinpath, folders) if path.is_symlink())
        files = map(Path(place).joinpath, names)
        others += (path for path in files if not is_training_image(path) or not path.is_file())
    return sorted(others), sorted(junk)


def _unused(sources: Iterable[FolderSource]) -> list[str]:
    """Return a sentence for each kind of contents that training does not use."""
    paths = list(dict.fromkeys(path for source in sources for path in source.paths))
    carried = list(on_threads(lambda path: lost_from(path, ""), paths))
    sentences = []
    for kind in in_order(_UNUSED):
        having = [path for path, kinds in zip(paths, carried, strict=True) if kind in kinds]
        if len(having) == 1:
            words = _UNUSED[kind].replace("hold", "holds", 1)
            sentences.append(f"1 of {len(paths):,} files {words} ({shown(having[0])}).")
        elif having:
            sentences.append(f"{len(having):,} of {len(paths):,} files {_UNUSED[kind]} (first: {shown(having[0])}).")
    return sentences
