"""Masks of training images: folders maskA and maskB beside those of the images, files of equal names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from unpaired.data.sources import FolderSource, holds_images
from unpaired.errors import DataError, ImageError, UnpairedError
from unpaired.images import Image, read_header, read_image
from unpaired.images.mask_planes import mask_plane
from unpaired.scanning.threads import on_threads
from unpaired.storage import shown

FOLDERS = ("maskA", "maskB")

_NAMED = 5  # largest number of files in a sentence


class MaskSource:
    """The masks of the images of a source, by the index of the image: uint8 h w 1, 255 for pixels to translate."""

    def __init__(self, masks: FolderSource, images: FolderSource) -> None:
        """Raises DataError for images without a mask, and for several masks of one name."""
        places: dict[str, int] = {}
        for place in range(len(masks)):
            stem = masks.stem(place)
            if stem in places:
                raise DataError(
                    f"{shown(masks.name(places[stem]))} and {shown(masks.name(place))} in {shown(masks.folder)} are "
                    "both masks of one image; keep one of them."
                )
            places[stem] = place
        missing = [images.name(index) for index in range(len(images)) if images.stem(index) not in places]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise DataError(
                f"{shown(masks.folder)} has no mask for {', '.join(map(shown, missing[:_NAMED]))}{more}; a mask has "
                "the name of its image, with any suffix. --data.masks off trains without masks."
            )
        self._masks, self._images = masks, images
        self._places = [places[images.stem(index)] for index in range(len(images))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Image:
        """Return the mask of image `index`. Raises ImageError for a file that is no mask."""
        place = self._places[index]
        try:
            plane = mask_plane(read_image(self._masks.paths[place], frame=self._masks.frames[place]))
        except UnpairedError as error:
            name, reason = shown(self._masks.paths[place]), str(error)
            raise ImageError(reason if name in reason else f"{name}: {reason}") from None
        return Image(np.rint(255 * plane).astype(np.uint8)[:, :, None])

    def share(self, index: int) -> float:
        """Return the share of the pixels of image `index` to translate. Raises ImageError if the sizes differ."""
        mask, header = self[index], read_header(self._images.paths[index])
        if (mask.height, mask.width) != (header.height, header.width):
            raise ImageError(
                f"{shown(self._masks.paths[self._places[index]])} has {mask.width} x {mask.height} pixels and its "
                f"image {header.width} x {header.height}; make them equal."
            )
        return float(mask.pixels.mean()) / 255

    def fingerprint(self) -> str:
        """Return a SHA-256 of the content of all masks."""
        digest = hashlib.sha256()
        for place in dict.fromkeys(self._places):
            path = self._masks.paths[place]
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{self._masks.name(place)}\0{content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainingMasks:
    """The folders of masks of both domains."""

    a: FolderSource
    b: FolderSource

    def sources(self, a: FolderSource, b: FolderSource) -> tuple[MaskSource, MaskSource]:
        """Return the masks of the images of both domains. Raises as `MaskSource` does."""
        return MaskSource(self.a, a), MaskSource(self.b, b)

    def check(self, a: FolderSource, b: FolderSource) -> list[str]:
        """Decode every mask; return a sentence about their areas. Raises DataError, naming unusable masks."""
        notes = []
        for domain, source in zip("AB", self.sources(a, b), strict=True):
            shares = list(on_threads(partial(_share, source), list(range(len(source)))))
            faults = [share for share in shares if isinstance(share, str)]
            if faults:
                raise DataError("\n".join(faults))
            areas = [share for share in shares if isinstance(share, float)]
            empty = sum(share == 0 for share in areas)
            black = f"; {empty} are black everywhere, and these images are not translated" if empty else ""
            notes.append(f"The masks of {domain} cover {100 * sum(areas) / len(areas):.0f} % of its pixels{black}.")
        return notes

    def facts(self, a: FolderSource, b: FolderSource) -> dict[str, str]:
        """Return the fingerprint of the masks by domain, for data.json."""
        return {domain: source.fingerprint() for domain, source in zip("AB", self.sources(a, b), strict=True)}


def masks_beside(a: FolderSource, b: FolderSource, setting: str) -> TrainingMasks | None:
    """Return the masks beside two folders of images, None without.

    setting: of data.masks: "off" ignores masks, "on" needs them. Raises DataError for masks of one domain alone.
    """
    folders = [source.folder.parent / name for source, name in zip((a, b), FOLDERS, strict=True)]
    there = [holds_images(folder) for folder in folders]
    if setting == "off" or (setting == "auto" and not any(there)):
        return None
    if not all(there):
        absent = " and ".join(shown(folder) for folder, exists in zip(folders, there, strict=True) if not exists)
        raise DataError(
            f"Training with masks needs a mask for each image of both domains, and there are none in {absent}; add "
            "them, or give --data.masks off."
        )
    return TrainingMasks(*map(FolderSource, folders))


class MaskCache:
    """Masks at the size of their resized images, kept until a budget of bytes is full; crops and flips come later."""

    def __init__(self, source: MaskSource, budget: int) -> None:
        self._source, self._budget = source, budget
        self._held: dict[int, Image] = {}

    def at_size(self, index: int, height: int, width: int) -> Image:
        """Return mask `index`, resized by averaging areas."""
        if index in self._held:
            return self._held[index]
        mask = self._source[index]
        if (mask.height, mask.width) != (height, width):
            plane = torch.from_numpy(mask.pixels[:, :, 0].astype(np.float32))[None, None]
            averaged = F.interpolate(plane, (height, width), mode="area")[0, 0].numpy()
            mask = Image(np.rint(averaged).astype(np.uint8)[:, :, None])
        if mask.pixels.nbytes <= self._budget:
            self._budget -= mask.pixels.nbytes
            self._held[index] = mask
        return mask


def _share(source: MaskSource, index: int) -> float | str:
    try:
        return source.share(index)
    except UnpairedError as error:
        return str(error)
