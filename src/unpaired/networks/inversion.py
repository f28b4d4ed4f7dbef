"""Inversion of a generator: the latent vector whose image is closest to a given one, found by optimisation.

Liu & Tuzel 2016, section 5, minimise the Euclidean distance with L-BFGS. Here Adam refines the best of many fixed
latent vectors within the support of the noise. A search in latent space has local minima, so several run side by side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unpaired.randomness import rng

CANDIDATES = 64
"""Fixed latent vectors whose images are compared with the given one; the best of them are refined."""

LEARNING_RATE = 0.1
"""Largest rate of Adam, for latent values in [-1, 1]; it decays linearly to a tenth."""

_AT_ONCE = 32
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's defaults


def nearest_latent(render: Callable[[Tensor], Tensor], image: Tensor, channels: int, starts: int, steps: int) -> Tensor:
    """Return the latent vector, 1 channels 1 1 in [-1, 1], whose rendering is closest to an image 1 c h w.

    The distance is the mean squared difference. Deterministic: the candidates are the same for every image. Works
    within torch.no_grad and torch.inference_mode; the gradients of the weights stay untouched.

    render: maps latent vectors n channels 1 1 to images n c h w; images must not depend on their neighbours.
    starts: candidates to refine. steps: steps of Adam for each.
    """
    with torch.inference_mode(False), torch.enable_grad():
        target = image.detach().clone()  # out of inference mode
        latents = _best_candidates(render, target, channels, starts).requires_grad_()
        adam = _Adam(latents)
        for step in range(steps):
            distance = _distances(render(latents), target).sum()  # no start influences another
            (gradient,) = torch.autograd.grad(distance, latents)
            with torch.no_grad():
                adam.step(gradient, LEARNING_RATE * (1 - 0.9 * step / steps))
                latents.clamp_(-1, 1)
        with torch.no_grad():
            best = _distances(render(latents), target).argmin(0, keepdim=True)
            return latents.detach()[best]


class _Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) for one tensor, which it changes; the same numbers as torch.optim.Adam.

    That one imports torch's compiler at its first use, which takes seconds, and fails in commands that defer a part of
    torch (`compat.torch_private.without_shapes`).
    """

    def __init__(self, values: Tensor) -> None:
        self._values, self._count = values, 0
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, gradient: Tensor, rate: float) -> None:
        """Take one step against the gradient; without recording of gradients."""
        self._count += 1
        self._mean.lerp_(gradient, 1 - _BETA1)
        self._square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        deviation = self._square.sqrt() / (1 - _BETA2**self._count) ** 0.5
        self._values.addcdiv_(self._mean, deviation + _EPSILON, value=-rate / (1 - _BETA1**self._count))


@torch.no_grad()
def _best_candidates(render: Callable[[Tensor], Tensor], target: Tensor, channels: int, count: int) -> Tensor:
    """Return the `count` candidates whose renderings are closest, closest first, n channels 1 1."""
    drawn = rng(0, "inversion").uniform(-1, 1, (max(CANDIDATES, count), channels, 1, 1))
    latents = torch.from_numpy(drawn).to(target)
    distances = torch.cat([_distances(render(part), target) for part in torch.split(latents, _AT_ONCE)])
    return latents[distances.argsort(stable=True)[:count]].clone()


def _distances(images: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference of each image n c h w from the target 1 c h w."""
    return (images - target).square().flatten(1).mean(1)
