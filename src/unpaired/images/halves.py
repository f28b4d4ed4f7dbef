"""Images that hold two pictures side by side, as pix2pix takes its pairs."""

from __future__ import annotations

from dataclasses import replace

from unpaired.images.image import Image


def half_of(image: Image, *, left: bool) -> Image:
    """Return the left or the right half of an image of even width."""
    assert image.width % 2 == 0
    half = slice(None, image.width // 2) if left else slice(image.width // 2, None)
    alpha, mask = (None if plane is None else plane[:, half] for plane in (image.alpha, image.mask))
    return replace(image, pixels=image.pixels[:, half], alpha=alpha, mask=mask)
