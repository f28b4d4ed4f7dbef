"""The losses of CUT equal eq. 1, 3, 4 and 5 of its paper, written here from the features of the encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unpaired.data.datasets import Batch
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CUT
from unpaired.objectives.cut import CUTImages, CUTObjective, patch_contrast

TEMPERATURE = 0.07


def build(antialias: bool = False, **settings: Any) -> CUTObjective:
    """CUT in miniature. So many patches are drawn that it is all there are, and no chance is left."""
    generator = ResNetGenerator(base_channels=2, num_blocks=2, antialias=antialias)
    networks = generator, PatchGAN(base_channels=2, num_layers=1)
    objective = CUT(num_patches=10_000, head_channels=4, **settings).build(*networks, 3, 3, 0).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():  # vectors that differ more than those of new weights
        for parameter in objective.translators["heads"].parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return objective


def batch_number(number: int, n: int = 2) -> Batch:
    draw = torch.Generator().manual_seed(number)
    a, b = torch.rand(2, n, 3, 12, 12, generator=draw, dtype=torch.float64) * 2 - 1
    return Batch(a=a, b=b)


def surprise(queries: Tensor, keys: Tensor) -> Tensor:
    """Eq. 3 for the patches p c of one image, the mean over its places."""
    nearness = torch.einsum("qc,kc->qk", queries, keys).div(TEMPERATURE).exp()
    return -(nearness.diagonal() / nearness.sum(1)).log().mean()


def contrast(objective: CUTObjective, source: Tensor, made: Tensor, mirrored: bool = False) -> float:
    """Eq. 4: the mean over images and layers, each vector through two linear layers to unit length."""
    generator, heads = objective.translators["AtoB"], objective.translators["heads"]
    per_layer = []
    for head, of_made, of_source in zip(heads, generator.features(made), generator.features(source), strict=True):
        first, _, second = head.layers
        vectors = []
        for features in (of_made.flip(3) if mirrored else of_made, of_source):
            hidden = features.permute(0, 2, 3, 1).flatten(1, 2) @ first.weight.T + first.bias
            out = hidden.relu() @ second.weight.T + second.bias
            vectors.append(out / (out**2).sum(2, keepdim=True).sqrt())
        per_layer.append(torch.stack([surprise(q, k) for q, k in zip(*vectors, strict=True)]).mean())
    return torch.stack(per_layer).mean().item()


def test_the_contrast_of_patches_is_its_formula() -> None:
    draw = torch.Generator().manual_seed(1)
    queries, keys = torch.nn.functional.normalize(torch.randn(2, 3, 7, 5, generator=draw, dtype=torch.float64), dim=3)
    expected = torch.stack([surprise(q, k) for q, k in zip(queries, keys, strict=True)]).mean()
    assert patch_contrast(queries, keys, TEMPERATURE).item() == pytest.approx(expected.item(), rel=1e-12)
    assert patch_contrast(keys, keys, TEMPERATURE) < patch_contrast(queries, keys, TEMPERATURE)


@pytest.mark.parametrize("antialias", [False, True])
@torch.no_grad()
def test_the_terms_of_cut_are_those_of_the_paper(antialias: bool) -> None:
    objective, batch = build(contrast_weight=3, antialias=antialias), batch_number(0)
    images = objective.generate(batch)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    translator, judge = objective.translators["AtoB"], objective.discriminators["B"]
    fake = translator(batch.a)
    expected = {
        "adversarial_b": float(((judge(fake) - 1) ** 2).mean()),
        # lambda_X = lambda_Y, and the published loss is the mean of both
        "contrast_a": 3 * contrast(objective, batch.a, fake) / 2,
        "contrast_b": 3 * contrast(objective, batch.b, translator(batch.b)) / 2,
        "discriminator_b": float(((judge(batch.b) - 1) ** 2).mean() + (judge(fake) ** 2).mean()) / 2,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_without_the_contrast_on_b_that_on_a_has_the_whole_weight() -> None:
    objective, batch = build(contrast_weight=10, identity_contrast=False), batch_number(0)
    terms = objective.generator_losses(batch, objective.generate(batch))
    assert set(terms) == {"adversarial_b", "contrast_a"}
    expected = 10 * contrast(objective, batch.a, objective.translators["AtoB"](batch.a))
    assert terms["contrast_a"].item() == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_mirrored_batches_are_compared_mirrored_back() -> None:
    objective, batch = build(identity_contrast=False, flip_equivariance=True), batch_number(0)
    made = objective.translators["AtoB"](batch.a.flip(3))
    terms = objective.generator_losses(batch, CUTImages(batch.a.flip(3), made, None, mirrored=True))
    assert terms["contrast_a"].item() == pytest.approx(contrast(objective, batch.a, made, mirrored=True), rel=1e-9)


@torch.no_grad()
def test_half_of_the_batches_are_mirrored_and_only_in_training() -> None:
    objective, batch = build(identity_contrast=False, flip_equivariance=True), batch_number(0, n=1)
    torch.manual_seed(0)
    drawn = [objective.generate(batch) for _ in range(40)]
    assert 8 < sum(images.mirrored for images in drawn) < 32
    for images in drawn:
        assert torch.equal(images.input_a, batch.a.flip(3) if images.mirrored else batch.a)
        assert torch.equal(images.fake_b, objective.translators["AtoB"](images.input_a))
    objective.eval()
    assert not any(objective.generate(batch).mirrored for _ in range(10))


def test_the_contrast_moves_the_translation_and_never_the_source() -> None:
    objective, batch = build(identity_contrast=False), batch_number(0, n=1)
    source, made = batch.a.requires_grad_(), batch.b.clone().requires_grad_()
    terms = objective.generator_losses(Batch(a=source, b=batch.b), CUTImages(source, made, None, mirrored=False))
    terms["contrast_a"].backward()
    assert source.grad is None
    assert made.grad is not None
    assert made.grad.any()
