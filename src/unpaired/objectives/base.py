"""The base class of training methods: networks, generated images, and the losses of generators and discriminators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from unpaired.compat.torch_private import BatchNorm
from unpaired.config import require
from unpaired.data.datasets import Batch
from unpaired.networks.layers import initialise
from unpaired.networks.perceptual import FeatureNetwork
from unpaired.networks.protocols import HasMask
from unpaired.objectives.losses import adversarial_loss, discriminator_adversarial, gradient_penalty
from unpaired.objectives.masked import masked_discriminator_adversarial
from unpaired.objectives.pool import ImagePool
from unpaired.randomness import torch_seeded
from unpaired.ranks import draw_for_own_images

ImagesT = TypeVar("ImagesT")
Player = Literal["generator", "discriminator"]
Direction = Literal["AtoB", "BtoA"]
Samples = Mapping[Direction, Mapping[str, Tensor]]

PENALTY_WEIGHT = 10.0
"""Weight of the gradient penalty of WGAN-GP (Gulrajani et al. 2017, lambda)."""


class Objective(nn.Module, ABC, Generic[ImagesT]):
    """A published training method. All trainable modules are in `translators` and `discriminators`.

    translators: the generator's modules, keyed by direction.
    discriminators: keyed by the domain they score.
    pools: the image pools, keyed by the domain of their images.
    order: the order of the two optimizer steps.
    uses_training_mode: whether the generators stay in training mode during inference.
    num_micro_batches: micro-batches per step, for gradient accumulation.
    step: steps taken before the one at hand, for losses that depend on it.
    masked: whether batches have masks.
    """

    order: ClassVar[tuple[Player, Player]] = ("generator", "discriminator")
    uses_training_mode: ClassVar[bool] = False
    num_micro_batches = 1
    step = 0
    masked = False

    def __init__(self) -> None:
        super().__init__()
        self.translators = nn.ModuleDict()
        self.discriminators = nn.ModuleDict()
        self.pools: dict[str, ImagePool] = {}

    @abstractmethod
    def generate(self, batch: Batch) -> ImagesT:
        """Generate all images that the losses need, once per step, with gradients for the generator's step."""

    @abstractmethod
    def generator_losses(self, batch: Batch, images: ImagesT) -> dict[str, Tensor]:
        """Return the generators' weighted terms by name; their sum is minimised while discriminators are frozen."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch, images: ImagesT) -> dict[str, Tensor]:
        """Return the discriminators' terms by name, on detached images."""

    @abstractmethod
    def samples(self, batch: Batch) -> Samples:
        """Return images of the sample grid by direction and column (real_a, fake_b, ...), without side effects."""

    def discriminator_terms(
        self,
        domain: str,
        real: Tensor,
        fake: Tensor,
        kind: str,
        real_label: float = 1.0,
        masks: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return one discriminator's terms on real and on detached generated images (or stacked pairs).

        For WGAN-GP the gradient penalty is a separate term, with weight 10 as published. masks: of the real and of the
        generated images, n 1 h w; patches are weighted by them.
        """
        judge, name = self.discriminators[domain], domain.lower()
        real_scores = judge(real)
        self.observe(domain, real_scores)
        if masks is not None:
            return {f"discriminator_{name}": masked_discriminator_adversarial(kind, real_scores, judge(fake), *masks)}
        terms = {
            f"discriminator_{name}": discriminator_adversarial(kind, real_scores, judge(fake), real_label=real_label)
        }
        if adversarial_loss(kind).penalised:
            alpha = draw_for_own_images(lambda count: torch.rand(count, 1, 1, 1, device=real.device), len(real))
            terms[f"penalty_{name}"] = PENALTY_WEIGHT * gradient_penalty(judge, real, fake, alpha)
        return terms

    def observe(self, domain: str, real_scores: Tensor) -> None:
        """Take note of a discriminator's scores on training images, for methods that adapt to them."""

    def shown(self) -> dict[str, Tensor]:
        """Return values to log beside the losses, by name; scalars on the device."""
        return {}

    def generators(self) -> dict[Direction, nn.Module]:
        """Return the generators to publish, by direction."""
        directions: tuple[Direction, ...] = ("AtoB", "BtoA")
        return {name: self.translators[name] for name in directions if name in self.translators}

    def steps_to_all_terms(self) -> int:
        """Return the steps from one that has all terms to the next, whose number is a multiple of it; usually 1."""
        return 1

    def prevents_capture(self) -> str:
        """Return the setting that prevents CUDA graph capture because operations differ between steps, else ""."""
        return "data.masks" if self.masked else ""

    def prevents_accumulation(self) -> str:
        """Return the setting with which gradient accumulation is not equivalent to the whole batch, else "".

        If the discriminators step first, the images of each micro-batch are generated twice and must be the same.
        """
        for player, networks in self.players().items():
            if any(isinstance(module, BatchNorm) for module in networks.modules()):
                return f"{player}.norm batch"
        dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.translators.modules())
        return "generator.dropout" if dropout and self.order[0] == "discriminator" else self.prevents_capture()

    def independent_terms(self, batch: Batch, terms: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """Return the terms as one group, or as two that share only weights, for concurrent backward passes."""
        return [terms]

    def changing_buffers(self) -> list[Tensor]:
        """Return the buffers that a step may change: all but those of feature networks, whose weights are fixed."""
        buffers = list(self.buffers())
        if not buffers:
            return []
        features = (module for module in self.modules() if isinstance(module, FeatureNetwork))
        fixed = {id(buffer) for network in features for buffer in network.buffers()}
        return [buffer for buffer in buffers if id(buffer) not in fixed]

    def players(self) -> dict[Player, nn.ModuleDict]:
        """Return the networks that each player's optimizer updates."""
        return {"generator": self.translators, "discriminator": self.discriminators}


@torch.no_grad()
def samples_with_masks(objective: Objective[Any], batch: Batch) -> Samples:
    """Return the samples of a method, with a column mask_a or mask_b, n 1 h w in [-1, 1], for generators with masks."""
    samples = dict(objective.samples(batch))
    for direction, network in objective.generators().items():
        source = direction[0].lower()
        if isinstance(network, HasMask) and f"real_{source}" in samples.get(direction, {}):
            columns = dict(samples[direction])
            real = columns.pop(f"real_{source}")
            samples[direction] = {f"real_{source}": real, f"mask_{source}": 2 * network.mask(real) - 1, **columns}
    return samples


@contextmanager
def frozen(networks: nn.Module) -> Iterator[None]:
    """Disable gradients of the networks' weights; gradients of their inputs are still computed."""
    trained = [weight for weight in networks.parameters() if weight.requires_grad]
    networks.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:  # and none that the user's own network keeps fixed
            weight.requires_grad_(True)


def initialised(network: nn.Module, seed: int, name: str) -> nn.Module:
    """Return `network` with the published initial weights, which depend only on the seed and the name.

    Raises ConfigError if a user's own network is no module.
    """
    require(
        isinstance(network, nn.Module),
        f"The build of the network {name} returned {type(network).__name__}; it must return a torch.nn.Module.",
    )
    with torch_seeded(seed, f"initial weights of {name}"):
        initialise(network)
    return network
