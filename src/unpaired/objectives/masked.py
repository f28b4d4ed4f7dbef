"""Training with given masks: translations are composites, and losses are weighted by the masks.

With a mask m in [0, 1] of the image x, a translation is the composite m G(x) + (1 - m) x, as in attention-guided
translation (Mejjati et al. 2018) with a given m instead of a learnt one. Reconstructions are composites with the
same mask. A discriminator sees m y of an image or composite y, because real and generated backgrounds differ, and it
would learn these alone. Pixel losses are means weighted by m, and so are the scores of patches.
Weights are normalised for each image, so that small objects count as much as large ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unpaired.objectives.losses import adversarial_loss, generator_adversarial, l1

_LEAST = 1e-8


def composite(given: Tensor, made: Tensor, mask: Tensor | None) -> Tensor:
    """Return m G(x) + (1 - m) x, n c h w: `given` where the mask n 1 h w is 0. Without a mask `made` itself."""
    if mask is None:
        return made
    return torch.where(mask == 0, given, given + mask * (made - given))


def attended(images: Tensor, mask: Tensor | None) -> Tensor:
    """Return m y, n c h w: mid-grey where the mask n 1 h w is 0. Without a mask the images themselves."""
    return images if mask is None else images * mask


def normalised(weights: Tensor) -> Tensor:
    """Return weights n ... that sum to 1 / n for each image, and to 0 for an image without weight."""
    total = weights.flatten(1).sum(1).clamp(min=_LEAST)
    return weights / (len(weights) * total.reshape(-1, *[1] * (weights.ndim - 1)))


def masked_l1(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean absolute difference n c h w, weighted by a mask n 1 h w; the mean over images of their means."""
    if mask is None:
        return l1(x, y)
    return ((x - y).abs().mean(1, keepdim=True) * normalised(mask)).sum()


def patch_weights(mask: Tensor, scores: Tensor) -> Tensor:
    """Return the normalised weight of each score n k h' w': the mean of the mask n 1 h w in its cell of the image."""
    height, width = scores.shape[-2:]
    cells = F.adaptive_avg_pool2d(mask, (height, width)).expand_as(scores)
    return normalised(cells)


def masked_generator_adversarial(kind: str, scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return the generator's adversarial loss, its scores weighted by the mask of their images."""
    if mask is None:
        return generator_adversarial(kind, scores)
    each = torch.vmap(adversarial_loss(kind).generator)(scores.flatten())
    return (each * patch_weights(mask, scores).flatten()).sum()


def masked_discriminator_adversarial(
    kind: str, real: Tensor, fake: Tensor, mask_real: Tensor, mask_fake: Tensor
) -> Tensor:
    """Return the discriminator's loss, its scores weighted by the masks of their images.

    The loss is a sum of a part of the real and a part of the generated scores; each is evaluated beside a score of 0.
    """
    loss, zero = adversarial_loss(kind).discriminator, real.new_zeros(())
    of_real = torch.vmap(lambda score: loss(score, zero, 1.0))(real.flatten())
    of_fake = torch.vmap(lambda score: loss(zero, score, 1.0))(fake.flatten())
    base = loss(zero, zero, 1.0)
    weight_real, weight_fake = patch_weights(mask_real, real).flatten(), patch_weights(mask_fake, fake).flatten()
    return ((of_real - base) * weight_real).sum() + ((of_fake - base) * weight_fake).sum() + base


def with_mask(images: Tensor, mask: Tensor | None) -> Tensor:
    """Return images n c h w with their mask as one more channel, so that an image pool keeps both together."""
    return images if mask is None else torch.cat([images, mask], 1)


def without_mask(images: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the images and the masks of `with_mask`. mask: None if they have none."""
    return (images, None) if mask is None else (images[:, :-1], images[:, -1:])
