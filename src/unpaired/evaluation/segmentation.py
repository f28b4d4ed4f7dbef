"""Label maps against ground truth: pixel accuracy, class accuracy and class IoU, the figures of the FCN score.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015; used for labels to
photographs (on the labels that a network predicts for the result) and for photographs to labels by Isola et al. 2017
and Zhu et al. 2017. Everything is computed from one confusion matrix per image, so that images can be resampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from unpaired.evaluation.intervals import Interval, around, draws
from unpaired.images.tensors import levels

IGNORE = 255
"""The label of ignored pixels, as in the published data."""


def nearest_colours(images: Tensor, palette: Sequence[tuple[int, ...]]) -> Tensor:
    """Return the index of the nearest palette colour of each pixel: n h w, int64, of images n c h w.

    The palette holds 8-bit colours with as many values as the images have channels; the distance is Euclidean, and ties
    go to the earlier colour. Raises ValueError for an empty palette or another number of channels.
    """
    pixels = levels(images)
    if not palette or any(len(colour) != pixels.shape[1] for colour in palette):
        raise ValueError(f"A palette of colours of {pixels.shape[1]} values is needed for these images.")
    nearest = torch.full_like(pixels[:, 0], torch.inf)
    labels = torch.zeros_like(nearest, dtype=torch.int64)
    # A colour at a time, so that memory does not grow with the palette.
    for number, colour in enumerate(palette):
        distance = (pixels - torch.tensor(colour).to(pixels)[:, None, None]).square().sum(dim=1)
        labels.masked_fill_(distance < nearest, number)
        nearest = torch.minimum(nearest, distance)
    return labels


def confusions(found: Tensor, truth: Tensor, num_classes: int, *, ignore: int = IGNORE) -> Tensor:
    """Return the number of pixels of each true class (rows) with each predicted class (columns): n classes classes,
    int64.

    found, truth: labels n h w from 0 to num_classes - 1; pixels whose truth is `ignore` do not count. Raises ValueError
    if shapes differ or a label is out of range.
    """
    if found.shape != truth.shape or found.ndim != 3:
        raise ValueError(f"Two label maps n h w are needed, not {(*found.shape,)} and {(*truth.shape,)}.")
    counted = truth != ignore
    pair = truth.long() * num_classes + found.long()
    in_range = (truth >= 0) & (truth < num_classes) & (found >= 0) & (found < num_classes)
    if not bool((in_range | ~counted).all()):
        raise ValueError(f"Labels are from 0 to {num_classes - 1}; others were found.")
    rows = [torch.bincount(image[mask], minlength=num_classes**2) for image, mask in zip(pair, counted, strict=True)]
    return torch.stack(rows).reshape(-1, num_classes, num_classes)


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """Return the share of correctly labelled pixels, of confusions ... classes classes; in [0, 1]."""
    right = confusion.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return right / confusion.sum(dim=(-2, -1)).clamp(min=1)


def class_accuracy(confusion: Tensor) -> Tensor:
    """Return the mean, over the classes in truth, of the share of their pixels with the correct label; in [0, 1]."""
    right, size = confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(dim=-1)
    return _mean_where(size > 0, right / size.clamp(min=1))


def class_iou(confusion: Tensor) -> Tensor:
    """Return the mean, over the classes in truth or result, of intersection over union; in [0, 1]."""
    right = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(dim=-1) + confusion.sum(dim=-2) - right
    return _mean_where(union > 0, right / union.clamp(min=1))


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "pixel_accuracy": pixel_accuracy,
    "class_accuracy": class_accuracy,
    "class_iou": class_iou,
}


def segmentation_scores(parts: Iterable[Tensor], *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return the three figures, by name, of all pixels of a test set, from batches of `confusions`.

    Classes are averaged over the whole set, as published, not over images. Memory: one confusion matrix per image (8
    bytes x classes²). Raises ValueError if there is none.
    """
    kept = [part.cpu() for part in parts]
    if not sum(len(part) for part in kept):
        raise ValueError("Segmentation scores need at least one image.")
    each = torch.cat(kept).double()
    total = each.sum(dim=0)
    resampled = torch.einsum("rn,nij->rij", draws(len(each), resamples, seed, "segmentation"), each)
    return {
        name: around(float(score(total)), score(resampled), smallest=0, largest=1) for name, score in SCORES.items()
    }


def _mean_where(present: Tensor, values: Tensor) -> Tensor:
    return (values * present).sum(dim=-1) / present.sum(dim=-1).clamp(min=1)
