"""What a training method is: networks, the images it makes, and the losses of its two players."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from unpaired.compat.torch_private import BatchNorm
from unpaired.data.datasets import Batch
from unpaired.networks.layers import initialise
from unpaired.objectives.losses import adversarial_loss, discriminator_adversarial, gradient_penalty
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
    """One published training method. Everything it learns is in `translators` and `discriminators`.

    translators: the generator's side, keyed by direction. discriminators: keyed by the domain they judge.
    pools: the image pools of the method, keyed by the domain of their images. order: who steps first.
    uses_training_mode: whether the generators stay in training mode when they are used. num_parts: the parts, one after
    the other, that a batch is learnt from in.
    """

    order: ClassVar[tuple[Player, Player]] = ("generator", "discriminator")
    uses_training_mode: ClassVar[bool] = False
    num_parts = 1

    def __init__(self) -> None:
        super().__init__()
        self.translators = nn.ModuleDict()
        self.discriminators = nn.ModuleDict()
        self.pools: dict[str, ImagePool] = {}

    @abstractmethod
    def generate(self, batch: Batch) -> ImagesT:
        """Make every image the losses need, once a step; the graph is kept for the generator's step."""

    @abstractmethod
    def generator_losses(self, batch: Batch, images: ImagesT) -> dict[str, Tensor]:
        """Return the generators' weighted terms by name; their sum is minimised, discriminators frozen."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch, images: ImagesT) -> dict[str, Tensor]:
        """Return the discriminators' terms by name, on detached images."""

    @abstractmethod
    def samples(self, batch: Batch) -> Samples:
        """Return what a person looks at, by direction and column (real_a, fake_b, ...); no graph, no side effect."""

    def judged(self, domain: str, real: Tensor, fake: Tensor, kind: str, real_label: float = 1.0) -> dict[str, Tensor]:
        """Return the terms of one domain's discriminator on real and on detached generated images (or stacks).

        With WGAN-GP its gradient penalty, weighted 10 as published, is a term of its own.
        """
        judge, name = self.discriminators[domain], domain.lower()
        terms = {
            f"discriminator_{name}": discriminator_adversarial(kind, judge(real), judge(fake), real_label=real_label)
        }
        if adversarial_loss(kind).penalised:
            alpha = draw_for_own_images(lambda count: torch.rand(count, 1, 1, 1, device=real.device), len(real))
            terms[f"penalty_{name}"] = PENALTY_WEIGHT * gradient_penalty(judge, real, fake, alpha)
        return terms

    def generators(self) -> dict[Direction, nn.Module]:
        """Return what is published: the translators by direction."""
        directions: tuple[Direction, ...] = ("AtoB", "BtoA")
        return {name: self.translators[name] for name in directions if name in self.translators}

    def varying(self) -> str:
        """Return the setting by which a step is not always the same operations, "" where there is none."""
        return ""

    def indivisible(self) -> str:
        """Return the setting by which parts of a batch do not teach what the whole does, "" where there is none.

        Where the discriminators step first, the images of each part are made twice and must be the same.
        """
        for player, networks in self.players().items():
            if any(isinstance(module, BatchNorm) for module in networks.modules()):
                return f"{player}.norm batch"
        dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.translators.modules())
        return "generator.dropout" if dropout and self.order[0] == "discriminator" else self.varying()

    def halves(self, batch: Batch, terms: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """Return the terms in one part, or in two that share nothing but weights, to be differentiated side by side."""
        return [terms]

    def players(self) -> dict[Player, nn.ModuleDict]:
        """Return the networks that each player's optimizer updates."""
        return {"generator": self.translators, "discriminator": self.discriminators}


@contextmanager
def frozen(networks: nn.Module) -> Iterator[None]:
    """Keep gradients from the networks' weights, not from what flows through them to their inputs."""
    networks.requires_grad_(False)
    try:
        yield
    finally:
        networks.requires_grad_(True)


def initialised(network: nn.Module, seed: int, name: str) -> nn.Module:
    """Return `network` with the published initial weights, drawn for this seed and name alone."""
    with torch_seeded(seed, f"initial weights of {name}"):
        initialise(network)
    return network
