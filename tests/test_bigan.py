"""The losses of BiGAN/ALI equal those of its papers, written here from the discriminator's scores of both pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import unpaired
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.models.model_folder import read_description
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import BiGAN
from unpaired.objectives.bigan import BiGANObjective
from unpaired.recipes import at_size, bigan
from unpaired.runs import train
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.trust.trust_file import read_reference


def build(a: int = 3, b: int = 3, **settings: Any) -> BiGANObjective:
    networks = ResNetGenerator(base_channels=2, num_blocks=1), PatchGAN(base_channels=2, num_layers=1)
    objective = BiGAN(**settings).build(*networks, a, b, 0).double()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.mul_(10)  # so that scores differ
    return objective


def batch_of(a: int = 3, b: int = 3) -> Batch:
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(2, a + b, 16, 16, generator=draw, dtype=torch.float64) * 2 - 1
    return Batch(a=images[:, :a], b=images[:, a:])


def scores(objective: BiGANObjective, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the scores of (a, G(a)) and of (F(b), b)."""
    g, f, judge = objective.translators["AtoB"], objective.translators["BtoA"], objective.discriminators["AB"]
    return judge(torch.cat([batch.a, g(batch.a)], 1)), judge(torch.cat([f(batch.b), batch.b], 1))


def losses(objective: BiGANObjective, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    images = objective.generate(batch)
    return objective.generator_losses(batch, images), objective.discriminator_losses(batch, images)


@pytest.mark.parametrize(("a", "b"), [(3, 3), (1, 3), (4, 2)])
def test_the_discriminator_separates_the_two_kinds_of_pairs_and_the_generators_exchange_its_labels(
    a: int, b: int
) -> None:
    objective, batch = build(a, b), batch_of(a, b)
    generator, discriminator = losses(objective, batch)
    encoded, decoded = scores(objective, batch)
    # Donahue et al., eq. 3: max over D of E log D(x, E(x)) + E log(1 - D(G(z), z)).
    value = F.logsigmoid(encoded).mean() + F.logsigmoid(-decoded).mean()
    assert discriminator["discriminator_ab"].item() == pytest.approx(-value.item() / 2, rel=1e-10)
    # Section 3.4: the inverse objective, for both generators.
    inverse = F.logsigmoid(-encoded).mean() + F.logsigmoid(decoded).mean()
    assert generator["adversarial_ab"].item() == pytest.approx(-inverse.item() / 2, rel=1e-10)
    assert (len(generator), len(discriminator)) == (1, 1)  # no cycle, no identity


def test_a_critic_has_the_opposite_of_the_generators_loss_and_a_penalty() -> None:
    objective, batch = build(adversarial="wgan_gp"), batch_of()
    generator, discriminator = losses(objective, batch)
    encoded, decoded = scores(objective, batch)
    assert generator["adversarial_ab"].item() == pytest.approx((encoded.mean() - decoded.mean()).item(), rel=1e-10)
    assert discriminator["discriminator_ab"].item() == pytest.approx(
        (decoded.mean() - encoded.mean()).item(), rel=1e-10
    )
    assert discriminator["penalty_ab"].item() > 0


def test_both_generators_learn_from_the_one_term() -> None:
    objective, batch = build(), batch_of()
    generator, _ = losses(objective, batch)
    generator["adversarial_ab"].backward()  # type: ignore[no-untyped-call]
    for network in objective.generators().values():
        assert sum(float(weight.grad.abs().sum()) for weight in network.parameters()) > 0


def test_a_discriminator_of_pairs_is_no_judge_of_trust_scores(tmp_path: Path) -> None:
    for name, style in (("trainA", "summer"), ("trainB", "winter")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, seed in enumerate(scene_seeds(name, 20, seed=1)):
            PIL.Image.fromarray(draw_scene(seed, style, 36)).save(tmp_path / "data" / name / f"{number:03d}.png")
    settings = {
        "data.root": str(tmp_path / "data"),
        "generator.base_channels": 2,
        "generator.num_blocks": 1,
        "discriminator.base_channels": 2,
        "discriminator.num_layers": 1,
        "schedule.num_steps": 2,
        "run.device": "cpu",
    }
    train(override(at_size(bigan(), 32), settings), out=tmp_path / "run")
    assert read_description(tmp_path / "run" / "model")["trust"]["judges"] == {}
    reference = read_reference(tmp_path / "run", unpaired.load(tmp_path / "run", device="cpu").info)
    assert set(reference.symptoms["AtoB"]) == {"typicality", "cycle"}
