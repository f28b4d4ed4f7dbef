"""The mask of each image to translate: files of the same stem in a folder, or one file for all images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unpaired.errors import DataError, ImageError, UnpairedError
from unpaired.images import Image, count_slices, half_of, is_image_name, read_image
from unpaired.images.image import Array
from unpaired.storage import shown
from unpaired.translate.blending import FEATHER, mask_weight, require_feather
from unpaired.translate.jobs import Job, stem_of

_NAMED = 5  # largest number of files in a sentence


@dataclass(frozen=True)
class MaskFiles:
    """The file of the mask of each image. feather: pixels of the feathered edge."""

    files: dict[Path, Path]
    feather: int = FEATHER

    def weight(self, job: Job, image: Image, page: int = 0, pages: int = 1) -> Array:
        """Return the weight of each pixel of an image, float64 h w in [0, 1].

        Raises ImageError for a mask that cannot be read, has another size, or has neither one page nor one for each of
        the `pages` slices of the image.
        """
        path = self.files[job.source]
        try:
            given = count_slices(path)
            if given not in (1, pages):
                raise ImageError(f"The mask has {given} pages and its image {pages}; give one, or one for each.")
            mask = read_image(path, frame=page if given > 1 else 0)
            if job.half and mask.width == 2 * image.width:
                mask = half_of(mask, left=job.half == "left")
            return mask_weight(mask, (image.height, image.width), self.feather)
        except UnpairedError as error:
            name, reason = shown(path), str(error)
            raise ImageError(reason if name in reason else f"{name}: {reason}") from None

    def fingerprint(self) -> str:
        """Return a SHA-256 of the masks and the feather, for the record of results."""
        digest = hashlib.sha256(str(self.feather).encode())
        for source, path in sorted(self.files.items()):
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                content = ""
            digest.update(f"{source.name} {content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def find_masks(masks: Path, jobs: Sequence[Job], out: Path, feather: int = FEATHER) -> MaskFiles:
    """Return the mask of each job. Raises DataError for missing and ambiguous masks, ConfigError for the feather.

    Args:
        masks: one file for all images; or a folder with a file of the same stem for each image, in the same subfolder
            as the image or beside the others.
        jobs: from `plan_outputs`.
        out: the folder of the results, whose structure is that of the inputs.
        feather: pixels of the feathered edge.
    """
    require_feather(feather)
    if masks.is_file():
        return MaskFiles({job.source: masks for job in jobs}, feather)
    if not masks.is_dir():
        raise DataError(f"There is no mask {shown(masks)}; give a file, or a folder with a mask for each image.")
    found: dict[Path, Path] = {}
    missing: list[Path] = []
    listed: dict[Path, dict[str, list[Path]]] = {}
    for job in jobs:
        inner = job.target.relative_to(out).parent
        stem = stem_of(job.source)
        for folder in dict.fromkeys((masks / inner, masks)):
            if folder not in listed:
                listed[folder] = by_stem(folder)
            if stem in listed[folder]:
                found[job.source] = _only(listed[folder][stem])
                break
        else:
            missing.append(job.source)
    if missing:
        raise DataError(
            f"{shown(masks)} has no mask for {named(missing)}; a mask has the name of its image, with any suffix."
        )
    return MaskFiles(found, feather)


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the image files directly in a folder by their stem; {} if there is no folder."""
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if is_image_name(path) and not path.name.startswith(".") and path.is_file():
                found.setdefault(stem_of(path), []).append(path)
    return found


def named(paths: Sequence[Path]) -> str:
    """Return the names of the first paths, and the number of the others."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(shown(path.name) for path in paths[:_NAMED]) + more


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise DataError(f"{shown(paths[0])} and {shown(paths[1].name)} are both masks of one image; keep one of them.")
    return paths[0]
