"""After the backend: a tensor becomes an image of the right dtype, with the alpha, no-data values and profile of its
input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from unpaired.images import Image, as_dtype, from_tensor, kept_where, restore
from unpaired.models.domain_values import DomainValues


def result_dtype(given: np.dtype[Any], source: DomainValues, target: DomainValues) -> np.dtype[Any]:
    """Return the dtype of a result: that of the image, or the one recorded for the target domain.

    It is the image's if it holds the range of the target domain, and either both domains were trained on one dtype or
    the image has a narrower integer dtype. A float dtype recorded for the target domain is always used.
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
    # In a recorded range a narrower dtype holds the same values: one wide training file must not widen all results.
    same = target.range.bounds is not None and recorded.kind != "f" and np.can_cast(given, recorded)
    return given if same else recorded


def finished(
    before: Tensor, after: Tensor, image: Image, source: DomainValues, target: DomainValues, *, keep_icc: bool
) -> Image:
    """Return the result of an image: rounded, with the alpha and the no-data values of the input.

    Pixels that the generator left unchanged keep the values of the image, unless it was resized. Raises NonFiniteError
    for NaN.

    Args:
        before: the input of the generator, c h w in [-1, 1].
        after: its output, c' h w in [-1, 1].
        image: the input as accepted by the `InputSpec` of its domain.
        source: the values of the source domain.
        target: the values of the target domain.
        keep_icc: keep the colour profile of the image.
    """
    dtype = result_dtype(image.dtype, source, target)
    result = from_tensor(after, dtype=dtype, values=target.range)
    alike = before.shape == after.shape and image.channels == before.shape[0] and source.range == target.range
    if alike and dtype == image.dtype:
        result = kept_where(before == after, image, result, source.range)
    result = restore(result, image)
    alpha = None if image.alpha is None else as_dtype(image.alpha, dtype)
    return replace(result, alpha=alpha, icc=image.icc if keep_icc else None)
