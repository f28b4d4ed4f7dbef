"""`--run.accumulate 4`: a batch that is learnt from in parts is the same step in less memory, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from test_graph import as_emulated
from test_methods import config_of
from test_ranks import together
from unpaired import ranks
from unpaired.artifacts.history import History
from unpaired.config import override
from unpaired.data.datasets import Batch
from unpaired.data.domains import open_domains
from unpaired.errors import ConfigError, NonFiniteError
from unpaired.networks import DCGANGenerator, PatchGAN, ResNetGenerator, UNetGenerator
from unpaired.objectives import CUT, GAN, CycleGAN, FeatureGAN, Pix2Pix
from unpaired.objectives.base import Objective
from unpaired.randomness import torch_seeded
from unpaired.ranks import possible_micro_batches, shard_of_micro_batches
from unpaired.recipes import Config
from unpaired.runs import build_objective, info, train
from unpaired.runs.footprint import footprint
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import detached, gradients_of, train_step
from unpaired.training.stepper import obstacle, stepper

CPU, BATCH, STEPS = torch.device("cpu"), 4, 3

GENERATOR = ResNetGenerator(base_channels=4, num_blocks=1)
JUDGE = PatchGAN(base_channels=4, num_layers=1)
UNET = UNetGenerator(base_channels=4, num_downs=5, norm="instance")
ALL_PLACES = 500  # of 22 x 22 padded pixels, so that no place is drawn for


def built(method: str) -> Objective[Any]:
    match method:
        case "cyclegan":
            return CycleGAN(pool_size=5).build(GENERATOR, JUDGE, 3, 3, 0)
        case "cyclegan, no identity":
            return CycleGAN(pool_size=5, identity_weight=0).build(GENERATOR, JUDGE, 3, 3, 0)
        case "cycle alone":
            return CycleGAN(adversarial_weight=0).build(GENERATOR, JUDGE, 3, 3, 0)
        case "pix2pix":
            return Pix2Pix().build(UNET, JUDGE, 3, 3, 0)
        case "l1 alone":
            return Pix2Pix(adversarial_weight=0).build(UNET, JUDGE, 3, 3, 0)
        case "cut":
            return CUT(num_patches=ALL_PLACES, head_channels=8).build(GENERATOR, JUDGE, 3, 3, 0)
        case "feature-gan":
            return FeatureGAN(pool_size=5).build(GENERATOR, JUDGE, 3, 3, 0)
        case "gan":
            networks = DCGANGenerator(base_channels=4, size=32, norm="instance"), replace(JUDGE, num_discriminators=2)
            return GAN(noise_channels=5).build(*networks, 5, 3, 0)
    raise AssertionError(method)


METHODS = ("cyclegan", "cyclegan, no identity", "cycle alone", "pix2pix", "l1 alone", "cut", "feature-gan", "gan")


def state_of(method: str, num_parts: int) -> TrainingState:
    objective = built(method).double()
    assert objective.prevents_accumulation() == ""
    objective.num_micro_batches = num_parts
    return TrainingState(objective, OptimizerConfig())


def batch_of(method: str, step: int) -> Batch:
    draw = torch.Generator().manual_seed(step)
    side = 32 if method in ("pix2pix", "l1 alone", "gan") else 16  # of five halvings, or of two
    real = (BATCH, 3, side, side)
    shape = (BATCH, 5, 1, 1) if method == "gan" else real
    a, b = (torch.rand(*each, generator=draw, dtype=torch.float64) * 2 - 1 for each in (shape, real))
    return Batch(a=a, b=b)


@cache
def taken(method: str, num_parts: int) -> tuple[list[dict[str, Tensor]], TrainingState]:
    state, terms = state_of(method, num_parts), []
    for step in range(1, STEPS + 1):
        with torch_seeded(0, "dropout", step):
            terms.append(train_step(state, batch_of(method, step), "fp32"))
        state.step = step
    return terms, state


def require_near(one: dict[str, Tensor], other: dict[str, Tensor], floor: float = 1e-3) -> None:
    """Return the error relative to the largest value of a tensor, or to `floor` if that is larger."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert (value - other[name]).abs().max() <= 1e-10 * value.abs().max().clamp(min=floor), name


def require_same_steps(method: str, num_parts: int) -> None:
    (terms, whole), (terms_of_parts, parts) = taken(method, 1), taken(method, num_parts)
    for one, other in zip(terms, terms_of_parts, strict=True):
        require_near(one, other)
    require_near(gradients_of(whole.objective), gradients_of(parts.objective))
    weights, others = whole.parts()["weights"], parts.parts()["weights"]
    biases = {name for name in weights if name.endswith("bias")}
    require_near(
        {key: weights[key] for key in weights.keys() - biases}, {key: others[key] for key in others.keys() - biases}
    )
    # In front of a norm a bias is nothing but rounding, which Adam's first steps magnify.
    require_near({key: weights[key] for key in biases}, {key: others[key] for key in biases}, floor=10)
    require_near(whole.parts()["pool"], parts.parts()["pool"])
    assert whole.counters() == parts.counters()


# --- the same step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_parts", [2, 4])
@pytest.mark.parametrize("method", METHODS)
def test_the_step_is_that_of_the_whole_batch(method: str, num_parts: int) -> None:
    require_same_steps(method, num_parts)


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("num_parts", [2, 4])
@pytest.mark.usefixtures("two_threads")
def test_so_it_is_with_the_two_cycles_side_by_side(num_parts: int) -> None:
    objective, batch = built("cyclegan").double(), batch_of("cyclegan", 1)
    assert len(objective.independent_terms(batch, objective.generator_losses(batch, objective.generate(batch)))) == 2
    require_same_steps("cyclegan", num_parts)


def test_a_batch_is_cut_into_equal_parts_in_order() -> None:
    batch = batch_of("gan", 1)
    parts = batch.parts(2)
    assert [len(part.a) for part in parts] == [2, 2]
    assert torch.equal(torch.cat([part.a for part in parts]), batch.a)
    assert torch.equal(torch.cat([part.b for part in parts]), batch.b)
    assert batch.parts(1)[0] is batch


def test_images_that_are_kept_are_without_their_graph() -> None:
    objective = built("cyclegan, no identity").double()
    images = objective.generate(batch_of("cyclegan", 1))
    kept = detached(images)
    assert images.fake_b.requires_grad
    assert not kept.fake_b.requires_grad
    assert torch.equal(kept.rec_a, images.rec_a)
    assert kept.identity_a is None


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_what_is_no_number_in_one_part_is_found_and_leaves_no_trace(method: str) -> None:
    state = state_of(method, 4)
    train_step(state, batch_of(method, 1), "fp32")
    before = state.sha256()
    broken = batch_of(method, 2)
    broken.b[2, 0, 3, 3] = float("inf")
    with pytest.raises(NonFiniteError, match="the loss "):
        train_step(state, broken, "fp32")
    assert state.sha256() == before


# --- several processes -----------------------------------------------------------------------------


def gradients_on_ranks() -> tuple[dict[str, Any], str]:
    """The terms, gradients and pools after three steps of a batch in two parts, as arrays, and the state's hash."""
    with ranks.process_group(CPU):
        state = state_of("cyclegan", 2)
        for step in range(1, STEPS + 1):
            batch = batch_of("cyclegan", step)
            own = shard_of_micro_batches(range(BATCH), ranks.rank(), ranks.world_size(), 2)
            terms = train_step(state, Batch(a=batch.a[own], b=batch.b[own]), "fp32")
            state.step = step
    found = {**terms, **gradients_of(state.objective), **state.parts()["pool"]}
    return {name: value.numpy() for name, value in found.items()}, state.sha256()


def test_two_processes_that_take_their_parts_take_the_step_of_one_that_takes_all() -> None:
    (first, sha), (_, other_sha) = together(2, gradients_on_ranks)
    assert sha == other_sha
    terms, state = taken("cyclegan", 1)
    alone = {**terms[-1], **gradients_of(state.objective), **state.parts()["pool"]}
    assert alone.keys() == first.keys()
    for name, value in alone.items():  # Adam magnifies what gradients near 0 differ by
        assert (value - torch.from_numpy(first[name])).abs().max() <= 1e-7 * max(1, float(value.abs().max())), name


def test_each_part_is_dealt_out_to_all_processes_in_their_order() -> None:
    assert [shard_of_micro_batches("abcdefgh", rank, 2, 2) for rank in (0, 1)] == [list("abef"), list("cdgh")]
    assert [shard_of_micro_batches("abcdefgh", rank, 2, 1) for rank in (0, 1)] == [list("abcd"), list("efgh")]
    assert shard_of_micro_batches("abcd", 0, 1, 4) == list("abcd")


def test_a_process_loads_the_images_of_its_parts(drawn_folders: Path) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "data.batch_size": 4})
    dataset = open_domains(config.data).dataset(config.data, 0)
    whole = dataset[1].a
    dataset.share, dataset.accumulate = (1, 2), 2
    assert torch.equal(dataset[1].a, whole[[1, 3]])


# --- recorded steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix", "cut"])
def test_recorded_steps_in_parts_are_the_usual_ones_bit_for_bit(method: str) -> None:
    assert obstacle(state_of(method, 2).objective) == ""
    states = state_of(method, 2), state_of(method, 2)
    reported: list[str] = []
    seen: list[list[dict[str, float] | str]] = [[], []]
    for state, record, terms in zip(states, (None, as_emulated), seen, strict=True):

        def take(batch: Batch, names: Any, state: TrainingState = state) -> dict[str, Tensor]:
            return train_step(state, batch, "fp32", names)

        with stepper(state, "fp32", take, reported.append, capture=record) as step:
            for number in range(6):
                batch = batch_of(method, number)
                batch.b[3, 0, 0, 0] = float("nan") if number == 4 else 0
                try:
                    with torch_seeded(0, "dropout", number):
                        terms.append({name: value.item() for name, value in step(batch, list).items()})
                except NonFiniteError as error:
                    terms.append(error.finding)
                state.step = number + 1
    assert not reported
    assert seen[0] == seen[1]
    assert states[0].sha256() == states[1].sha256()


# --- settings --------------------------------------------------------------------------------------


SIX_LEVELS = {"data.crop_size": 64, "data.load_size": 64, "generator.num_downs": 6, "generator.norm": "instance"}
"""Of a U-Net, one of them with dropout."""


def config_with(name: str, **settings: Any) -> Config:
    return override(config_of(name), {"data.batch_size": 4, "run.accumulate": 2, **settings})


@pytest.mark.parametrize(
    ("name", "settings", "setting"),
    [
        ("cyclegan", {"generator.norm": "batch"}, "generator.norm batch"),
        ("cyclegan", {"discriminator.norm": "batch"}, "discriminator.norm batch"),
        ("gan", {}, "generator.norm batch"),
        ("pix2pix", {"discriminator.norm": "instance", **SIX_LEVELS}, "generator.dropout"),
        ("cut", {"generator.dropout": True}, "generator.dropout"),
        ("fastcut", {}, "objective.flip_equivariance"),
    ],
)
def test_what_parts_would_teach_otherwise_is_refused_by_name(name: str, settings: Any, setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_objective(config_with(name, **settings))
    assert str(refused.value) == (
        f"run.accumulate with {setting} would not be equivalent to a step on the whole batch; remove one of them."
    )
    assert build_objective(config_with(name, **{**settings, "run.accumulate": 1})).num_micro_batches == 1


@pytest.mark.parametrize(("name", "settings"), [("cyclegan", {"generator.dropout": True}), ("cyclegan-wgan", {})])
def test_what_only_draws_otherwise_is_not_refused(name: str, settings: Any) -> None:
    config = config_with(name, **settings)
    state = TrainingState(build_objective(config), config.optimizer)
    assert state.objective.num_micro_batches == 2
    batch = batch_of("cyclegan", 1)
    terms = train_step(state, Batch(a=batch.a.float(), b=batch.b.float()), "fp32")
    assert all(torch.isfinite(term) for term in terms.values())


def test_parts_are_at_least_one_and_of_as_many_images_each(
    drawn_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"^run\.accumulate must be at least 1, not 0\.$"):
        config_with("cyclegan", **{"run.accumulate": 0})
    config = config_with("cyclegan", **{"data.root": str(drawn_folders), "run.accumulate": 3})
    with pytest.raises(ConfigError) as refused:
        train(config, out=tmp_path / "run")
    assert str(refused.value) == (
        "run.accumulate is 3, and the per-process batch of 4 images cannot be split into as many micro-batches of "
        "equal size; give a divisor of 4."
    )
    assert not (tmp_path / "run").exists()
    assert possible_micro_batches(12) == [1, 2, 3, 4, 6, 12]
    assert possible_micro_batches(12, 3) == [3, 4, 6, 12]
    for name, text in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, text)
    assert possible_micro_batches(12) == [1, 3]
    with pytest.raises(
        ConfigError, match=r"run\.accumulate is 2, and the per-process batch of 1 image cannot be split"
    ):
        ranks.require_equal_micro_batches(4, 2, "run.accumulate")


def test_a_run_may_go_on_in_other_parts(drawn_folders: Path, tmp_path: Path) -> None:
    settings = {"data.root": str(drawn_folders), "schedule.num_steps": 4, "run.held_out_every": 0}
    config = config_with("cyclegan", **settings, **{"run.accumulate": 1})
    whole = train(config, out=tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 4:
            raise StopError

    with pytest.raises(StopError):
        train(config, out=tmp_path / "parts", listener=stop)
    assert info(tmp_path / "parts").step == 3
    rest = train(override(config, {"run.accumulate": 4}), out=tmp_path / "parts")
    assert rest.step == 4
    assert not rest.bit_exact
    (entry,) = History(tmp_path / "parts").entries()
    assert (
        "different environment (accumulate: 1 -> 4). Training is valid but no longer bit-identical" in entry["sentence"]
    )
    assert rest.losses == pytest.approx(whole.losses, rel=1e-4)


# --- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cyclegan", "cut"])
def test_parts_take_the_memory_of_a_small_batch(name: str) -> None:
    config = override(config_of(name), {"data.batch_size": 4, "data.crop_size": 64, "data.load_size": 64})
    takes = {parts: footprint(override(config, {"run.accumulate": parts})).step for parts in (1, 2, 4)}
    one = footprint(override(config, {"data.batch_size": 1})).step
    assert takes[4] < takes[2] < takes[1]
    kept = 4 * 4 * (2 + 6) * 3 * 64**2  # bytes: the batch and its activations
    assert one < takes[4] < one + kept + 0.03 * takes[1]
