"""After the backend: a tensor becomes an image of the right type, with what the input had beside its values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from unpaired.images import Image, as_dtype, from_tensor, kept_where, restore
from unpaired.models.domain_values import DomainValues


def result_dtype(given: np.dtype[Any], source: DomainValues, target: DomainValues) -> np.dtype[Any]:
    """Return the type of the result: the image's, or the recorded one of the domain that it is translated to.

    The image's if both domains were trained on one type, or if it is a narrower type of whole numbers, and if it
    holds the range of that domain. Floats recorded for that domain stay floats, whatever the image is.
    """
    if not target.dtype:
        return given
    recorded = np.dtype(target.dtype)
    if source.dtype == target.dtype and recorded.kind == given.kind == "f":
        return given
    if not target.range.fits(given):
        return recorded
    if source.dtype == target.dtype and recorded.kind != "f":
        return given
    # Within a range of its own a narrower type holds the same values: one wide file decides nothing for others.
    same = target.range.bounds is not None and recorded.kind != "f" and np.can_cast(given, recorded)
    return given if same else recorded


def finished(
    before: Tensor, after: Tensor, image: Image, source: DomainValues, target: DomainValues, *, keep_icc: bool
) -> Image:
    """Return the result of an image: rounded, with its alpha, its no data and, if asked for, its profile.

    before, after: c h w in [-1, 1], as the generator took and made them. image: as its domain's `InputSpec` accepted
    it. What the generator left alone keeps the image's own values. Raises NonFiniteError for NaN.
    """
    dtype = result_dtype(image.dtype, source, target)
    result = from_tensor(after, dtype=dtype, values=target.range)
    alike = before.shape == after.shape and image.channels == before.shape[0] and source.range == target.range
    if alike and dtype == image.dtype:
        result = kept_where(before == after, image, result, source.range)
    result = restore(result, image)
    alpha = None if image.alpha is None else as_dtype(image.alpha, dtype)
    return replace(result, alpha=alpha, icc=image.icc if keep_icc else None)
