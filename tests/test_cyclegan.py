"""One step of CycleGAN equals a transcription of the paper, written here in double precision without our modules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpaired.data.datasets import Batch
from unpaired.errors import ConfigError, NonFiniteError
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.objectives import cyclegan as module
from unpaired.objectives.cyclegan import CycleGANObjective, translate_both
from unpaired.objectives.losses import total
from unpaired.randomness import rng
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import player_losses, train_step

GENERATOR = ResNetGenerator(base_channels=3, num_blocks=2)
DISCRIMINATOR = PatchGAN(base_channels=3, num_layers=2)
TERMS = {
    "adversarial_a",
    "adversarial_b",
    "cycle_a",
    "cycle_b",
    "identity_a",
    "identity_b",
    "discriminator_a",
    "discriminator_b",
}


def batch_number(number: int, n: int = 1, dtype: torch.dtype = torch.float64, channels: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(number)
    a = torch.rand(n, channels, 20, 24, generator=generator, dtype=dtype) * 2 - 1
    return Batch(a=a, b=torch.rand(n, channels, 20, 24, generator=generator, dtype=dtype) * 2 - 1)


def build(seed: int = 0, **settings: Any) -> CycleGANObjective:
    return CycleGAN(**settings).build(GENERATOR, DISCRIMINATOR, 3, 3, seed).double()


def double_state(seed: int = 0, **settings: Any) -> TrainingState:
    return TrainingState(build(seed, **settings), OptimizerConfig())


# --- the transcription: weights in lists, formulas in the order of the paper -----------------------


def norm(x: Tensor) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean((2, 3), keepdim=True) + 1e-5) ** 0.5


def translate(weights: list[Tensor], image: Tensor) -> Tensor:
    w: Iterator[Tensor] = iter(weights)
    x = norm(F.conv2d(F.pad(image, (3, 3, 3, 3), "reflect"), next(w), next(w))).relu()
    for _ in range(2):
        x = norm(F.conv2d(x, next(w), next(w), stride=2, padding=1)).relu()
    for _ in range(GENERATOR.num_blocks):
        y = norm(F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), next(w), next(w))).relu()
        x = x + norm(F.conv2d(F.pad(y, (1, 1, 1, 1), "reflect"), next(w), next(w)))
    for _ in range(2):
        x = norm(F.conv_transpose2d(x, next(w), next(w), stride=2, padding=1, output_padding=1)).relu()
    return F.conv2d(F.pad(x, (3, 3, 3, 3), "reflect"), next(w), next(w)).tanh()


def judge(weights: list[Tensor], image: Tensor) -> Tensor:
    w: Iterator[Tensor] = iter(weights)
    x = F.leaky_relu(F.conv2d(image, next(w), next(w), stride=2, padding=1), 0.2)
    x = F.leaky_relu(norm(F.conv2d(x, next(w), next(w), stride=2, padding=1)), 0.2)
    x = F.leaky_relu(norm(F.conv2d(x, next(w), next(w), stride=1, padding=1)), 0.2)
    return F.conv2d(x, next(w), next(w), stride=1, padding=1)


@dataclass
class Network:
    """Leaves with the values of a module's parameters, and Adam's moments of each."""

    weights: list[Tensor]
    gradients: list[Tensor] = field(default_factory=list)
    moments: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def step(self, gradients: list[Tensor], number: int, rate: float = 2e-4) -> None:
        """Kingma & Ba 2015, algorithm 1, with the betas of the paper."""
        self.gradients = gradients
        self.moments = self.moments or [(torch.zeros_like(w), torch.zeros_like(w)) for w in self.weights]
        weights, moments = [], []
        for w, g, (m, v) in zip(self.weights, gradients, self.moments, strict=True):
            m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g * g
            update = rate * (m / (1 - 0.5**number)) / ((v / (1 - 0.999**number)) ** 0.5 + 1e-8)
            weights.append((w - update).detach().requires_grad_())
            moments.append((m, v))
        self.weights, self.moments = weights, moments


class Transcription:
    """Two translators G, F and two discriminators, stepped by the formulas of sections 3, 4 and 5.2."""

    def __init__(self, objective: CycleGANObjective, *, identity: float, pool_size: int, seed: int) -> None:
        def copied(network: nn.Module) -> Network:
            return Network([p.detach().clone().requires_grad_() for p in network.parameters()])

        self.g, self.f = copied(objective.a_to_b), copied(objective.b_to_a)
        self.d_a, self.d_b = copied(objective.discriminators["A"]), copied(objective.discriminators["B"])
        self.identity, self.pool_size, self.seed = identity, pool_size, seed
        self.pools: dict[str, list[Tensor]] = {"A": [], "B": []}
        self.number = 0
        self.exchanged = 0

    def shown(self, domain: str, fake: Tensor) -> Tensor:
        """The history of section 4, for batches of one."""
        held, draw = self.pools[domain], rng(self.seed, f"pool {domain}", self.number - 1)
        if self.pool_size == 0:
            return fake
        if len(held) < self.pool_size:
            held.append(fake)
            return fake
        if draw.random() < 0.5:
            return fake
        slot = int(draw.integers(self.pool_size))
        old, held[slot] = held[slot], fake
        self.exchanged += 1
        return old

    def step(self, a: Tensor, b: Tensor) -> dict[str, float]:
        self.number += 1
        g, f, d_a, d_b = self.g, self.f, self.d_a, self.d_b
        fake_b, fake_a = translate(g.weights, a), translate(f.weights, b)
        terms = {
            "adversarial_b": ((judge(d_b.weights, fake_b) - 1) ** 2).mean(),
            "adversarial_a": ((judge(d_a.weights, fake_a) - 1) ** 2).mean(),
            "cycle_a": 10 * (translate(f.weights, fake_b) - a).abs().mean(),
            "cycle_b": 10 * (translate(g.weights, fake_a) - b).abs().mean(),
        }
        if self.identity:
            terms["identity_a"] = self.identity * (translate(f.weights, a) - a).abs().mean()
            terms["identity_b"] = self.identity * (translate(g.weights, b) - b).abs().mean()
        gradients = torch.autograd.grad(sum(terms.values()), g.weights + f.weights)  # type: ignore[arg-type]
        old_b, old_a = self.shown("B", fake_b.detach()), self.shown("A", fake_a.detach())
        for name, network, real, fake in (("a", d_a, a, old_a), ("b", d_b, b, old_b)):
            on_real = ((judge(network.weights, real) - 1) ** 2).mean()
            on_fake = (judge(network.weights, fake) ** 2).mean()
            terms[f"discriminator_{name}"] = (on_real + on_fake) / 2
            loss = terms[f"discriminator_{name}"]
            network.step(list(torch.autograd.grad(loss, network.weights)), self.number)
        g.step(list(gradients[: len(g.weights)]), self.number)
        f.step(list(gradients[len(g.weights) :]), self.number)
        return {name: term.item() for name, term in terms.items()}

    def pairs(self, objective: CycleGANObjective) -> list[tuple[Network, nn.Module]]:
        judges = objective.discriminators
        return [
            (self.g, objective.a_to_b),
            (self.f, objective.b_to_a),
            (self.d_a, judges["A"]),
            (self.d_b, judges["B"]),
        ]


def distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max((x - y).detach().abs().max().item() for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("identity_weight", "pool_size"), [(0.5, 50), (0.0, 50), (0.5, 1), (0.5, 0)])
def test_steps_equal_the_transcription_of_the_paper(identity_weight: float, pool_size: int) -> None:
    state = double_state(seed=7, identity_weight=identity_weight, pool_size=pool_size)
    objective = state.objective
    paper = Transcription(objective, identity=identity_weight * 10, pool_size=pool_size, seed=7)  # type: ignore[arg-type]
    for number in range(1, 5 if pool_size == 1 else 2):
        batch = batch_number(number)
        seen = train_step(state, batch, "fp32")
        expected = paper.step(batch.a, batch.b)
        assert set(seen) == set(expected)
        for name, value in expected.items():
            assert seen[name].item() == pytest.approx(value, rel=1e-6), name  # terms are reported in float32
        for copy, network in paper.pairs(objective):  # type: ignore[arg-type]
            parameters = list(network.parameters())
            tolerance = 1e-10 if number == 1 else 1e-9  # a step moves a weight by 2e-4; roundings add up
            assert distance([p.grad for p in parameters], copy.gradients) <= tolerance  # type: ignore[misc]
            assert distance(parameters, copy.weights) <= tolerance
        state.step = number
    assert pool_size != 1 or paper.exchanged > 0


def test_the_terms_equal_the_transcription_in_double_precision() -> None:
    objective, batch = build(seed=2), batch_number(5)
    images = objective.generate(batch)
    terms = {**objective.generator_losses(batch, images), **objective.discriminator_losses(batch, images)}
    expected = Transcription(objective, identity=5.0, pool_size=50, seed=2).step(batch.a, batch.b)
    assert set(terms) == TERMS == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-10), name


# --- weights of the terms --------------------------------------------------------------------------


def generator_terms(**settings: Any) -> dict[str, float]:
    objective, batch = build(**settings), batch_number(1)
    terms = objective.generator_losses(batch, objective.generate(batch))
    return {name: term.item() for name, term in terms.items()}


def test_lazy_identity_terms_appear_every_few_steps_with_as_many_times_the_weight() -> None:
    state, usual = double_state(identity_every=3), generator_terms()
    for number in range(1, 7):
        batch = batch_number(number)
        assert ("identity_a" in train_step(state, batch, "fp32")) == (number % 3 == 0)
        state.step = number
    lazy, batch = build(identity_every=3), batch_number(1)
    lazy.step = 2
    terms = lazy.generator_losses(batch, lazy.generate(batch))
    assert terms["identity_a"].item() == pytest.approx(3 * usual["identity_a"], rel=1e-12)
    assert terms["cycle_a"].item() == pytest.approx(usual["cycle_a"], rel=1e-12)
    assert lazy.prevents_capture() == "objective.identity_every"
    assert lazy.prevents_accumulation() == ""
    assert build(identity_every=3, identity_weight=0).prevents_capture() == ""
    with pytest.raises(ConfigError, match="identity_every must be at least 1, not 0"):
        CycleGAN(identity_every=0)


def test_the_identity_weight_is_relative_to_the_cycle_weight_of_its_domain() -> None:
    objective, batch = build(cycle_weight_a=10, cycle_weight_b=4, identity_weight=0.5), batch_number(1)
    terms = objective.generator_losses(batch, objective.generate(batch))
    with torch.no_grad():
        assert terms["identity_a"].item() == pytest.approx(
            5 * (objective.b_to_a(batch.a) - batch.a).abs().mean().item()
        )
        assert terms["identity_b"].item() == pytest.approx(
            2 * (objective.a_to_b(batch.b) - batch.b).abs().mean().item()
        )


def test_every_weight_scales_its_own_terms_only() -> None:
    base = generator_terms()
    doubled = {
        "cycle_weight_a": {"cycle_a", "identity_a"},
        "cycle_weight_b": {"cycle_b", "identity_b"},
        "identity_weight": {"identity_a", "identity_b"},
        "adversarial_weight": {"adversarial_a", "adversarial_b"},
    }
    for setting, affected in doubled.items():
        other = generator_terms(**{setting: 2 * getattr(CycleGAN(), setting)})
        for name, value in base.items():
            assert other[name] == pytest.approx(value * (2 if name in affected else 1), rel=1e-9), (setting, name)


def test_without_identity_nothing_is_translated_into_its_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch, calls = build(identity_weight=0), batch_number(1), []
    for network in (objective.a_to_b, objective.b_to_a):
        network.register_forward_hook(lambda _, inputs, made: calls.append(len(made)))
    images = objective.generate(batch)
    assert calls == [1, 1, 1, 1]
    assert images.identity_a is None
    assert images.identity_b is None
    assert set(objective.generator_losses(batch, images)) == {"adversarial_a", "adversarial_b", "cycle_a", "cycle_b"}


def test_identity_needs_equal_channel_counts() -> None:
    with pytest.raises(ConfigError, match=r"objective\.identity_weight must be 0"):
        CycleGAN().build(GENERATOR, DISCRIMINATOR, 3, 1, 0)
    objective = CycleGAN(identity_weight=0).build(GENERATOR, DISCRIMINATOR, 3, 1, 0)
    batch = Batch(a=torch.rand(1, 3, 20, 20), b=torch.rand(1, 1, 20, 20))
    images = objective.generate(batch)
    assert images.fake_b.shape == images.rec_b.shape == batch.b.shape
    assert images.fake_a.shape == images.rec_a.shape == batch.a.shape
    assert set(objective.samples(batch)["AtoB"]) == {"real_a", "fake_b", "rec_a"}


@pytest.mark.parametrize("adversarial", ["lsgan", "cross_entropy", "hinge"])
def test_every_adversarial_loss_trains_all_four_networks(adversarial: str) -> None:
    state = double_state(adversarial=adversarial)
    before = {name: value.clone() for name, value in state.objective.state_dict().items()}
    terms = train_step(state, batch_number(1), "fp32")
    assert all(torch.isfinite(term) for term in terms.values())
    for name, value in state.objective.state_dict().items():
        if name.endswith("weight"):
            assert not torch.equal(value, before[name]), name


# --- gradients of each player ----------------------------------------------------------------------


def gradients(networks: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in networks.parameters()]


def test_the_generators_loss_reaches_both_translators_and_no_discriminator() -> None:
    objective, batch = build(), batch_number(1)
    total(player_losses(objective, "generator", batch, objective.generate(batch), "fp32")).backward()
    assert all(gradient is not None and gradient.any() for gradient in gradients(objective.translators))
    assert gradients(objective.discriminators) == [None] * len(gradients(objective.discriminators))
    assert all(parameter.requires_grad for parameter in objective.discriminators.parameters())


def test_the_discriminators_loss_reaches_both_discriminators_and_leaves_the_translators_alone() -> None:
    objective, batch = build(), batch_number(1)
    images = objective.generate(batch)
    total(player_losses(objective, "generator", batch, images, "fp32")).backward()
    before = [gradient.clone() for gradient in gradients(objective.translators)]  # type: ignore[union-attr]
    total(player_losses(objective, "discriminator", batch, images, "fp32")).backward()
    assert all(gradient is not None and gradient.any() for gradient in gradients(objective.discriminators))
    assert distance(gradients(objective.translators), before) == 0  # type: ignore[arg-type]


def test_each_discriminator_learns_from_its_own_domain_only() -> None:
    objective, batch = build(), batch_number(1)
    terms = player_losses(objective, "discriminator", batch, objective.generate(batch), "fp32")
    terms["discriminator_a"].backward()
    judge_a, judge_b = objective.discriminators["A"], objective.discriminators["B"]
    assert all(gradient is not None for gradient in gradients(judge_a))
    assert all(gradient is None for gradient in gradients(judge_b))


def test_the_generators_learn_first_and_all_are_judged_before_anyone_steps() -> None:
    state, batch, judged = double_state(pool_size=0), batch_number(1), []
    objective = state.objective
    assert objective.order == ("generator", "discriminator")
    with torch.no_grad():
        before = objective.generate(batch).fake_b  # type: ignore[attr-defined]
    weight = next(objective.translators.parameters())
    old = weight.detach().clone()
    objective.discriminators["B"].register_forward_hook(
        lambda _, inputs, made: judged.append((inputs[0].detach().clone(), torch.equal(weight, old)))
    )
    train_step(state, batch, "fp32")
    by_generator, *by_discriminator = judged
    # Images, gradients and so the result are those of the published order, in which the generators step in between.
    assert by_generator[1]
    assert all(unchanged for _, unchanged in by_discriminator)
    assert not torch.equal(weight, old)
    shown = torch.cat([images for images, _ in by_discriminator])
    assert any((image - before[0]).abs().max() < 1e-12 for image in shown)


def test_the_generators_are_always_judged_on_their_newest_images() -> None:
    state, judged = double_state(pool_size=1), []
    objective = state.objective
    for number in range(1, 5):
        batch = batch_number(number)
        with torch.no_grad():
            newest = objective.generate(batch).fake_b  # type: ignore[attr-defined]
        hook = objective.discriminators["B"].register_forward_hook(
            lambda _, inputs, made: judged.append(inputs[0].detach())
        )
        train_step(state, batch, "fp32")
        hook.remove()
        assert (judged[0] - newest).abs().max() < 1e-12
        judged.clear()


def test_a_loss_that_is_no_number_stops_before_the_weights_move() -> None:
    state = double_state()
    train_step(state, batch_number(1), "fp32")
    before = state.sha256()
    broken = batch_number(2)
    broken.a[0, 0, 3, 3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"cycle_a is nan.*horse\.png and zebra\.png"):
        train_step(state, broken, "fp32", lambda: ["horse.png and zebra.png"])
    assert state.sha256() == before


# --- two batches at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_translating_two_batches_in_one_forward_equals_two_forwards(n: int) -> None:
    objective, batch, sizes = build(), batch_number(3, n), []
    alone = objective.a_to_b(batch.a), objective.a_to_b(batch.b)
    objective.a_to_b.register_forward_hook(lambda _, inputs, made: sizes.append(len(made)))
    together = translate_both(objective.a_to_b, batch.a, batch.b)
    assert sizes == [2 * n]
    for one, other in zip(alone, together, strict=True):
        assert (one - other).abs().max() < 1e-12


def test_large_images_batch_norm_and_different_sizes_are_translated_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forwards(network: nn.Module, first: Tensor, second: Tensor) -> list[int]:
        sizes: list[int] = []
        hook = network.register_forward_hook(lambda _, inputs, made: sizes.append(len(made)))
        translate_both(network, first, second)
        hook.remove()
        return sizes

    images = torch.rand(1, 3, 20, 20)
    plain = GENERATOR.build(3, 3)
    assert forwards(plain, images, images) == [2]
    assert forwards(plain, images, torch.rand(1, 3, 20, 24)) == [1, 1]
    assert forwards(ResNetGenerator(base_channels=3, num_blocks=1, norm="batch").build(3, 3), images, images) == [1, 1]
    small, *_, large = module.MODES
    monkeypatch.setattr(module, "MODES", (dataclasses.replace(small, pixels=20 * 20 - 1), large))
    assert forwards(plain, images, images) == [1, 1]


# --- what people look at ---------------------------------------------------------------------------


def test_samples_show_each_direction_and_change_nothing() -> None:
    state, batch = double_state(pool_size=2), batch_number(4, n=2)
    train_step(state, batch_number(1), "fp32")
    before = state.sha256()
    objective = state.objective
    samples = objective.samples(batch)
    assert state.sha256() == before
    assert list(samples["AtoB"]) == ["real_a", "fake_b", "rec_a", "identity_a"]
    assert list(samples["BtoA"]) == ["real_b", "fake_a", "rec_b", "identity_b"]
    forward: Callable[[Tensor], Tensor] = objective.translators["AtoB"]
    backward: Callable[[Tensor], Tensor] = objective.translators["BtoA"]
    assert torch.equal(samples["AtoB"]["fake_b"], forward(batch.a))
    assert torch.equal(samples["AtoB"]["rec_a"], backward(forward(batch.a)))
    assert torch.equal(samples["AtoB"]["identity_a"], backward(batch.a))
    assert torch.equal(samples["BtoA"]["identity_b"], forward(batch.b))
    assert not any(image.requires_grad for columns in samples.values() for image in columns.values())


def test_the_published_generators_are_the_two_translators() -> None:
    objective = build()
    assert objective.generators() == {"AtoB": objective.a_to_b, "BtoA": objective.b_to_a}


def test_the_four_networks_start_from_weights_of_their_own_and_the_seed_decides() -> None:
    def stems(seed: int) -> list[Tensor]:
        objective = build(seed)
        networks = [*objective.translators.values(), *objective.discriminators.values()]
        return [next(network.parameters()).detach() for network in networks]

    g, f, d_a, d_b = stems(0)
    assert not torch.equal(g, f)
    assert not torch.equal(d_a, d_b)
    assert all(torch.equal(one, again) for one, again in zip((g, f, d_a, d_b), stems(0), strict=True))
    assert not any(torch.equal(one, other) for one, other in zip((g, f, d_a, d_b), stems(1), strict=True))
