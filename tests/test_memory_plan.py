"""`--memory 6GB`: measured memory, its estimate, and settings chosen to fit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
from test_methods import METHODS, batch_of, config_of
from unpaired.artifacts.checkpoint import save_checkpoint
from unpaired.config import override, read_yaml
from unpaired.data.domains import open_domains
from unpaired.errors import ConfigError
from unpaired.recipes import Config, at_size, cut, fastcut, gan, paper, pix2pix
from unpaired.runs import build_objective, train
from unpaired.runs import memory_plan as planning
from unpaired.runs.footprint import Footprint, fill_state, footprint, saving_bytes
from unpaired.runs.memory_plan import alternatives, changes, decoded, expected_memory, fitting, plan_sentence
from unpaired.runs.validation_setup import max_validation_images
from unpaired.training.run_config import memory_bytes
from unpaired.training.state import TrainingState
from unpaired.training.step import train_step

CPU, GB = torch.device("cpu"), 10**9


def small(**settings: Any) -> Config:
    return override(config_of("cyclegan"), settings)


# --- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("6GB", 6e9), ("1.5 GB", 1.5e9), ("800MB", 8e8), ("2GiB", 2**31), ("512 mib", 2**29), ("6gb", 6e9), ("", 0)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: float) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize("text", ["6", "GB", "six GB", "-1GB", "0GB", "6TBs", "6GB free", "1e3MB"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.memory .* e\.g\. 6GB"):
        small(**{"run.memory": text})


# --- counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_weights_moments_gradients_and_pools_of_every_method_are_counted(name: str) -> None:
    config = config_of(name)
    objective = build_objective(config)
    weights = sum(4 * weight.numel() for weight in objective.parameters())
    pools = sum(4 * pool.size * 3 * 32 * 32 for pool in objective.pools.values())
    counted = footprint(config)
    assert counted.step > 4 * weights + pools
    assert counted.samples > 4 * weights + pools
    largest = max(sum(4 * w.numel() for w in network.parameters()) for network in objective.generators().values())
    ema = bool(config.optimizer.ema_decay) * sum(4 * w.numel() for w in objective.translators.parameters())
    assert counted.checkpoint == pytest.approx(3 * weights + pools + ema + 2 * largest, rel=0.02)


def test_counting_draws_nothing_and_leaves_no_memory_behind() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert footprint(small()) == footprint(small())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix", "cut"])
def test_a_step_of_the_state_that_is_counted_is_the_usual_one(name: str) -> None:
    config = config_of(name)
    state = TrainingState(build_objective(config), config.optimizer)
    fill_state(state, config)
    assert all(torch.isfinite(term) for term in train_step(state, batch_of(name), "fp32").values())
    assert all(len(pool.images) == pool.size for pool in state.objective.pools.values())


def test_a_checkpoint_makes_what_is_counted_of_it(tmp_path: Path) -> None:
    config = config_of("pix2pix")
    state = TrainingState(build_objective(config), config.optimizer)
    fill_state(state, config)
    saved = save_checkpoint(tmp_path, state.parts(), state.counters(), log_lines=0, made_with={}, keep=2)
    size = sum(path.stat().st_size for path in saved.glob("*.safetensors"))
    generator = sum(4 * weight.numel() for weight in state.objective.translators.parameters())
    assert saving_bytes(state) == pytest.approx(size + 2 * generator, rel=0.1)


def test_what_takes_more_memory_is_counted_as_more() -> None:
    config = at_size(small(**{"objective.pool_size": 0}), 64)
    whole = footprint(config).step
    assert footprint(override(config, {"data.batch_size": 4})).step > 1.5 * whole
    assert footprint(at_size(config, 128)).step > 2 * whole
    lazy = {"objective.identity_every": 3}
    assert footprint(override(config, lazy)).step == whole  # the steps with the identity terms decide
    assert footprint(override(config, {"run.recompute": True})).step < 0.8 * whole
    assert footprint(override(config, {"run.precision": "bf16"})).step < 0.95 * whole


# --- choosing --------------------------------------------------------------------------------------


def takes(config: Config) -> float:
    """A stub of the model: GB by crop, halved by recomputing and again by bfloat16; a share of it for parts."""
    share = (0.5 if config.run.recompute else 1) * (0.5 if config.run.precision == "bf16" else 1)
    share /= config.run.accumulate
    return 4 * GB * share * (config.data.crop_size / 256) ** 2


def choose(limit: float, images: float = 0, **settings: Any) -> tuple[Config, list[str]]:
    config = override(paper(), {"run.memory": "6GB", **settings})
    plan = fitting(config, list(alternatives(config)), limit * planning.MARGIN * GB, takes, images * GB)
    assert plan.expected <= limit * GB
    return plan.config, changes(config, plan.config)


@pytest.mark.parametrize(
    ("limit", "images", "changed"),
    [
        (9, 1, []),
        (4.5, 1, ["at most 476 MB of decoded images are cached"]),
        (4.01, 1, ["at most 9 MB of decoded images are cached"]),
        (4.01, 0, []),
        (2.5, 0, ["activation checkpointing, for the same result in more time"]),
        (1.9, 0, ["crops are 192 pixels wide, not 256, and generator.num_blocks is 6",
                  "activation checkpointing, for the same result in more time"]),
        (1.1, 0, ["crops are 128 pixels wide, not 256, and generator.num_blocks is 6"]),
        (0.13, 0, ["crops are 64 pixels wide, not 256, and generator.num_blocks is 6",
                   "activation checkpointing, for the same result in more time"]),
    ],
)  # fmt: skip
def test_what_changes_least_is_chosen_first(limit: float, images: float, changed: list[str]) -> None:
    assert sorted(choose(limit, images)[1]) == sorted(changed)


def test_precision_is_changed_only_where_that_is_allowed_and_before_the_crop() -> None:
    config, changed = choose(1.9, **{"run.memory_bf16": True})
    assert (config.run.precision, config.data.crop_size) == ("bf16", 256)
    assert any("bfloat16" in each for each in changed)
    assert choose(1.9)[0].run.precision == "fp32"


@pytest.mark.parametrize(
    ("limit", "changed"),
    [
        (4.1, []),
        (2.1, ["2 micro-batches (gradient accumulation), for the same step"]),
        (1.9, ["3 micro-batches (gradient accumulation), for the same step"]),
        (0.7, ["6 micro-batches (gradient accumulation), for the same step"]),
        (0.5, ["6 micro-batches (gradient accumulation), for the same step",
               "activation checkpointing, for the same result in more time"]),
    ],
)  # fmt: skip
def test_a_batch_is_taken_in_the_fewest_parts_that_fit_before_anything_is_computed_again(
    limit: float, changed: list[str]
) -> None:
    config, found = choose(limit, **{"data.batch_size": 6})
    assert found == changed
    assert (config.run.precision, config.data.crop_size, config.data.batch_size) == ("fp32", 256, 6)


def test_alternatives_are_as_it_is_then_parts_then_computed_again_then_bfloat16() -> None:
    config = override(paper(), {"data.batch_size": 4, "run.memory_bf16": True})
    whole = [(each.run.precision, each.run.recompute, each.run.accumulate) for each in next(alternatives(config))]
    assert whole[:6] == [("fp32", again, parts) for again in (False, True) for parts in (1, 2, 4)]
    assert whole[6:] == [("bf16", again, parts) for again in (False, True) for parts in (1, 2, 4)]
    begun = override(config, {"run.accumulate": 2, "run.memory_bf16": False})
    assert [each.run.accumulate for each in next(alternatives(begun))] == [2, 4, 2, 4]


def test_where_parts_are_made_twice_computing_again_comes_before_them() -> None:
    config = override(cut(), {"data.batch_size": 4})
    ways = [(each.run.recompute, each.run.accumulate) for each in next(alternatives(config))]
    assert ways == [(False, 1), (True, 1), (False, 2), (False, 4), (True, 2), (True, 4)]
    begun = next(alternatives(override(config, {"run.accumulate": 2})))
    assert [(each.run.recompute, each.run.accumulate) for each in begun] == [
        (False, 2),
        (False, 4),
        (True, 2),
        (True, 4),
    ]
    chosen = [
        fitting(config, list(alternatives(config)), limit * planning.MARGIN * GB, takes, 0).config.run
        for limit in (4.1, 2.1, 1.1, 0.6)
    ]
    assert [(each.recompute, each.accumulate) for each in chosen] == [(False, 1), (True, 1), (False, 4), (True, 4)]


def test_bfloat16_is_neither_taken_nor_advised_where_the_device_is_not_made_for_it() -> None:
    config = override(paper(), {"run.memory": "6GB", "run.memory_bf16": True})
    choices = list(alternatives(config, bf16=False))
    assert all(each.run.precision == "fp32" for size in choices for each in size)
    unasked = override(config, {"run.memory_bf16": False})
    with pytest.raises(ConfigError, match=r" needs 0\.14 GB; allow that\.$"):
        fitting(unasked, list(alternatives(unasked, bf16=False)), 0.1 * GB, takes, 0, bf16=False)


@pytest.mark.parametrize("known", [False, True])
def test_a_run_planned_in_bfloat16_goes_on_in_it_on_any_processor(
    known: bool, monkeypatch: pytest.MonkeyPatch, two_folders: Path
) -> None:
    monkeypatch.setattr(planning, "has_bf16", lambda device: known)
    monkeypatch.setattr(planning, "expected_memory", lambda config, *_: takes(config))
    monkeypatch.setattr(planning, "footprint", lambda config: None)
    config = override(paper(), {"run.memory": "2.1GB", "run.memory_bf16": True, "data.root": str(two_folders)})
    domains = open_domains(config.data)
    fresh = planning.planned(config, domains, None, CPU)
    assert (fresh.run.precision, fresh.data.crop_size) == (("bf16", 256) if known else ("fp32", 192))
    begun = override(config, {"run.precision": "bf16", "run.recompute": True})
    assert planning.planned(config, domains, begun, CPU).run.precision == "bf16"


def test_only_batches_that_can_be_taken_in_parts_are() -> None:
    for recipe in (pix2pix, fastcut, gan):
        config = override(recipe(), {"data.batch_size": 4})
        assert all(each.run.accumulate == 1 for size in alternatives(config) for each in size)
    assert all(each.run.accumulate == 1 for size in alternatives(paper()) for each in size)


def test_neither_batch_nor_method_is_ever_touched() -> None:
    for recipe in (paper, pix2pix, cut, fastcut, gan):
        config = override(recipe(), {"data.batch_size": 3, "run.memory_bf16": True})
        for each in (each for size in alternatives(config) for each in size):
            assert (each.data.batch_size, each.objective, each.optimizer) == (3, config.objective, config.optimizer)
            assert each.data.crop_size >= 64


def test_generators_that_cannot_compute_again_are_not_asked_to() -> None:
    assert not any(each.run.recompute for size in alternatives(gan()) for each in size)


def test_where_nothing_fits_one_sentence_says_what_the_smallest_plan_needs() -> None:
    with pytest.raises(ConfigError) as refused:
        choose(0.1)
    assert str(refused.value) == (
        "run.memory 6GB is too little: the smallest plan (activation checkpointing, for the same result in more "
        "time; crops are 64 pixels wide, not 256, and generator.num_blocks is 6) needs 0.14 GB; allow that or take "
        "--run.memory-bf16."
    )
    with pytest.raises(ConfigError, match=r" needs 0\.07 GB; allow that or lower --data\.batch-size\.$"):
        choose(0.01, **{"run.memory_bf16": True, "data.batch_size": 2, "discriminator.norm": "batch"})
    with pytest.raises(
        ConfigError, match=r"\(2 micro-batches \(gradient accumulation\), .* needs 0\.04 GB; allow that\.$"
    ):
        choose(0.01, **{"run.memory_bf16": True, "data.batch_size": 2})


def test_loaders_and_the_images_they_keep_are_part_of_it() -> None:
    config = override(paper(), {"run.memory": "6GB", "data.num_workers": 2, "data.cache_mb": 1000})
    images = decoded(config.data, 1000)
    assert images == 2 * 1000 * 286 * 286 * 3
    whole = fitting(config, list(alternatives(config)), 9 * GB, takes, images)
    assert whole.expected == 4 * GB + images + 2 * planning.LOADER
    less = fitting(config, list(alternatives(config)), 4.7 * GB * planning.MARGIN, takes, images)
    assert less.config.data.cache_mb == int(0.1 * GB / 2**20)
    assert less.expected <= 4.7 * GB


def test_held_out_images_and_the_networks_of_the_best_step_are_part_of_it() -> None:
    config, counted = paper(), Footprint(GB, GB, GB, best=GB // 10)
    more = expected_memory(config, counted, CPU, 16) - expected_memory(config, counted, CPU)
    assert more == pytest.approx(0.2 * GB + 16 * 4 * 3 * 256**2, abs=0.02 * GB)


@pytest.mark.parametrize(("size", "channels", "most"), [(64, 3, 32), (512, 3, 21), (512, 4, 16), (2048, 3, 8)])
def test_the_larger_held_out_images_are_the_fewer_are_looked_at(size: int, channels: int, most: int) -> None:
    data = replace(at_size(paper(), size).data, channels_a=channels)
    assert max_validation_images(data) == most
    assert most == 8 or most * 4 * size**2 * channels <= 64 << 20


def test_the_plan_counts_as_many_held_out_images_as_are_looked_at(
    drawn_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: dict[int, int] = {}

    def expected(config: Config, footprint: Footprint, device: torch.device, num_held_out: int) -> float:
        counted[config.data.crop_size] = num_held_out
        return config.data.crop_size * GB

    monkeypatch.setattr(planning, "expected_memory", expected)
    monkeypatch.setattr(planning, "footprint", lambda config: Footprint(0, 0, 0))
    monkeypatch.setattr(planning, "max_validation_images", lambda data: 0 if data.crop_size > 64 else 32)
    config = override(at_size(paper(), 128), {"data.root": str(drawn_folders), "run.memory": "90GB"})
    planning.planned(config, open_domains(config.data), None, CPU)
    assert counted == {128: 0, 96: 0, 64: 2}  # every second of the two test images of a domain


def test_images_of_unknown_size_take_the_whole_cache() -> None:
    config = override(paper(), {"data.preprocess": "crop"})
    assert decoded(config.data, 2) == float("inf")
    assert decoded(override(config, {"data.preprocess": "resize_and_crop"}).data, 2) == 2 * 286 * 286 * 3


def test_a_gpu_has_the_step_again_where_it_is_recorded_and_is_said_to_be_unmeasured() -> None:
    counted, gpu, config = Footprint(5, 7, 100), torch.device("cuda"), paper()
    assert expected_memory(override(config, {"run.acceleration": "graph"}), counted, gpu) == 12
    assert expected_memory(override(config, {"run.acceleration": "none"}), counted, gpu) == 7
    assert expected_memory(override(config, {"run.acceleration": "none"}), counted, gpu, 2) == 7 + 2 * 4 * 3 * 256**2
    plan = planning.Plan(config, 3 * GB)
    assert "never measured on a GPU" in plan_sentence(config, plan, measured=False)
    assert "never measured" not in plan_sentence(config, plan, measured=True)


# --- runs ------------------------------------------------------------------------------------------


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Have a run expected to take `whole` bytes, and `again` where activations are computed again."""

    def expect(whole: float, again: float) -> None:
        def expected(config: Config, counted: Footprint, *rest: Any) -> float:
            return again if config.run.recompute else whole

        monkeypatch.setattr(planning, "expected_memory", expected)
        monkeypatch.setattr(planning, "footprint", lambda config: Footprint(0, 0, 0))

    return expect


def test_a_run_keeps_its_plan_and_goes_on_with_it(
    drawn_folders: Path, tmp_path: Path, stub: Callable[[float, float], None], said: list[str]
) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 3})
    whole = train(config, out=tmp_path / "whole")
    stub(3 * GB, 1 * GB)
    said.clear()
    fits = override(config, {"run.memory": "2GB"})
    made = train(fits, out=tmp_path / "run")
    assert made.state_sha256 == whole.state_sha256
    (plan,) = (each for each in said if each.startswith("Memory: "))
    assert plan.startswith("Memory: activation checkpointing, for the same result in more time. 1.0")
    assert plan.endswith(" GB are expected, 2GB allowed.")
    assert re.search(r"^Peak memory: \d\.\d\d GB, 2GB allowed\.$", "\n".join(said), re.M)
    assert read_yaml(Config, tmp_path / "run" / "config.yaml").run.recompute

    stub(1 * GB, 9 * GB)  # what is expected later plays no part
    longer = override(fits, {"schedule.num_steps": 3, "run.log_every": 2})
    assert train(longer, out=tmp_path / "run").state_sha256 == whole.state_sha256
    assert read_yaml(Config, tmp_path / "run" / "config.yaml").run.recompute


def test_a_run_goes_on_in_the_parts_that_were_chosen(
    drawn_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(planning, "expected_memory", lambda config, *rest: 4 * GB / config.run.accumulate)
    monkeypatch.setattr(planning, "footprint", lambda config: Footprint(0, 0, 0))
    settings = {"data.root": str(drawn_folders), "schedule.num_steps": 1, "run.memory": "2.5GB", "data.batch_size": 4}
    config, kept = override(config_of("cyclegan"), settings), tmp_path / "run" / "config.yaml"
    said.clear()
    train(config, out=tmp_path / "run")
    assert any(each.startswith("Memory: 2 micro-batches (gradient accumulation), for the same step. ") for each in said)
    assert read_yaml(Config, kept).run.accumulate == 2

    monkeypatch.setattr(
        planning, "expected_memory", lambda config, *rest: 9 * GB
    )  # what is expected later plays no part
    train(config, out=tmp_path / "run")
    assert read_yaml(Config, kept).run.accumulate == 2


def test_another_size_is_still_another_run(
    drawn_folders: Path, tmp_path: Path, stub: Callable[[float, float], None]
) -> None:
    stub(1 * GB, 1 * GB)
    config = override(
        config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 1, "run.memory": "2GB"}
    )
    train(config, out=tmp_path / "run")
    other = replace(config, data=replace(config.data, crop_size=36))
    with pytest.raises(ConfigError, match=r"data\.crop_size"):
        train(other, out=tmp_path / "run")


def test_whole_images_of_any_size_cannot_be_planned_for(drawn_folders: Path, tmp_path: Path) -> None:
    settings = {"data.root": str(drawn_folders), "data.preprocess": "none", "data.batch_size": 1, "run.memory": "2GB"}
    with pytest.raises(ConfigError, match=r"run\.memory plans for crops of one size"):
        train(override(config_of("cyclegan"), settings), out=tmp_path / "run")


def test_the_log_tells_the_peak(drawn_folders: Path, tmp_path: Path) -> None:
    config = override(config_of("cyclegan"), {"data.root": str(drawn_folders), "schedule.num_steps": 1})
    train(config, out=tmp_path / "run")
    assert '"peak_memory": ' in (tmp_path / "run" / "log.jsonl").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the model was measured on Linux")
@pytest.mark.parametrize("recompute", ["no", "yes"])
def test_what_is_expected_is_what_a_run_takes_within_15_percent(
    drawn_folders: Path, tmp_path: Path, recompute: str
) -> None:
    """A process of its own, without the decoded images and its start: only the memory of the model remains.

    It saves while it takes the next steps, as longer runs do.
    """
    options = (
        "--steps 3 --run.checkpoint-every 1 --size 64 --memory 20GB --data.batch-size 3 "
        "--generator.base-channels 32 --generator.num-blocks 6 "
        f"--discriminator.base-channels 32 --run.trust-images 0 --run.num-threads 1 --run.recompute {recompute}"
    ).split()
    command = [sys.executable, "-m", "unpaired", "train", drawn_folders, "--out", tmp_path / "run", *options]
    starting = subprocess if recompute == "no" else forked  # one of them is started as users do
    done = starting.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    expected = float(re.search(r"([0-9.]+) GB are expected", done.stdout)[1])
    peak = float(re.search(r"Peak memory: ([0-9.]+) GB", done.stdout)[1])
    assert peak == pytest.approx(expected, rel=0.15)
