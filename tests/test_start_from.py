"""A run that starts from existing weights takes what fits, names the rest, and resumes without them, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from unpaired.artifacts.checkpoint import load_checkpoint
from unpaired.artifacts.history import History
from unpaired.artifacts.run_folder import RunFolder
from unpaired.cli import main
from unpaired.config import override
from unpaired.errors import ConfigError, Interrupted, ModelError
from unpaired.interop.official import to_official
from unpaired.models.model_folder import read_info
from unpaired.objectives import CUT
from unpaired.recipes import Config, build_objective
from unpaired.runs import info, train
from unpaired.runs.configure import configured
from unpaired.runs.start_source import read_source
from unpaired.runs.taken_weights import taken_weights, with_networks_of
from unpaired.training.progress import Progress
from unpaired.training.start_config import StartConfig

FEW = {
    "generator.num_blocks": 2,
    "run.sample_every": 0,
    "run.trust_images": 0,
    "run.guardian": "off",
    "schedule.num_steps": 4,
}


@pytest.fixture(scope="module")
def source(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with EMA weights, which no test changes."""
    run = tmp_path_factory.mktemp("source") / "first"
    train(override(toy_config, {"data.root": str(drawn_folders), "optimizer.ema_decay": 0.9, **FEW}), out=run)
    return run


@pytest.fixture
def config(toy_config: Config, drawn_folders: Path, source: Path) -> Config:
    """The settings of a run that starts from `source`."""
    return override(toy_config, {"data.root": str(drawn_folders), "start.weights": str(source), **FEW})


def saved(run: Path, step: int) -> dict[str, dict[str, torch.Tensor]]:
    return load_checkpoint(RunFolder(run).checkpoints / f"step-{step:08d}").parts


def stop_at(step: int) -> Any:
    def listener(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return listener


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


def sentence(config: Config) -> str:
    return taken_weights(config, build_objective(config)).sentence()


def test_a_run_starts_with_the_networks_of_another_at_step_0(config: Config, source: Path, tmp_path: Path) -> None:
    train(config, out=tmp_path / "second")
    first, second = saved(source, 4), saved(tmp_path / "second", 0)
    for name, value in second["weights"].items():
        before = first["average"].get(name.removeprefix("translators."), first["weights"][name])
        assert torch.equal(value, before), name
    assert not second["optim"]
    pinned = configured("paper", file=tmp_path / "second" / "config.yaml").config.start
    assert (pinned.step, pinned.sha256) == (4, read_source(config.start).sha256)
    (entry,) = History(tmp_path / "second").entries()
    assert entry["kind"] == "start"
    assert entry["sentence"] == (
        "Starting from the run first at step 4: the generators AtoB and BtoA, the discriminators A and B."
    )
    assert info(tmp_path / "second").bit_exact


def test_the_model_and_its_card_name_the_source_without_its_place(config: Config, source: Path, tmp_path: Path) -> None:
    train(override(config, {"schedule.num_steps": 1}), out=tmp_path / "second")
    start = read_info(tmp_path / "second").start
    assert start is not None
    assert (start.source, start.step) == ("first", 4)
    card = (tmp_path / "second" / "model" / "README.md").read_text()
    assert f"| started from | first, step 4 (SHA-256 of its weights `{start.sha256}`) |" in card
    assert str(source.parent) not in card + (tmp_path / "second" / "model" / "model.json").read_text()
    assert "started_from" not in json.loads((source / "model" / "model.json").read_text())


def test_a_resumed_run_never_reads_its_source_again_and_is_bit_identical(
    config: Config, source: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(source / "model", moved)
    config = override(config, {"start.weights": str(moved), "start.warmup": 2})
    whole = train(config, out=tmp_path / "whole").state_sha256
    for step in (1, 3):
        run = tmp_path / f"stopped-{step}"
        with pytest.raises(Interrupted):
            train(config, out=run, listener=stop_at(step))
        moved.rename(tmp_path / "away")
        assert train(config, out=run).state_sha256 == whole
        (tmp_path / "away").rename(moved)


def test_in_a_warm_up_only_new_networks_learn(config: Config, source: Path, tmp_path: Path) -> None:
    config = override(config, {"start.weights": str(source / "model"), "start.warmup": 2, "run.checkpoint_every": 1})
    config = override(config, {"run.keep_checkpoints": 9})
    train(config, out=tmp_path / "second")
    assert "these alone learn in the first 2 steps" in History(tmp_path / "second").entries()[0]["sentence"]
    weights = [saved(tmp_path / "second", step)["weights"] for step in range(4)]

    def same(name: str, one: int, other: int) -> bool:
        return torch.equal(weights[one][name], weights[other][name])

    for name in weights[0]:
        if name.endswith("weight"):
            assert same(name, 0, 2) == name.startswith("translators."), name
            assert not same(name, 2, 3), name
    records = RunFolder(tmp_path / "second").records()
    assert set(records[0]["losses"]) == {"discriminator_a", "discriminator_b"}
    assert "cycle_a" in records[2]["losses"]


def test_layers_of_another_shape_start_new_as_a_whole(config: Config) -> None:
    grey = override(config, {"data.channels_b": 1, "objective.identity_weight": 0, "start.warmup": 3})
    assert sentence(grey).endswith(
        "New: layers of other shapes (AtoB.head.1, BtoA.stem.1, B.layers.0); these alone learn in the first 3 steps."
    )
    taken = taken_weights(grey, build_objective(grey))
    assert {name for name in taken.new if name.startswith("translators.AtoB")} == {
        "translators.AtoB.head.1.weight",
        "translators.AtoB.head.1.bias",
    }


def test_cut_starts_from_cyclegan_and_cyclegan_from_cut(config: Config, source: Path, tmp_path: Path) -> None:
    cut = dataclasses.replace(config, objective=CUT(num_patches=16, head_channels=8))
    cut = override(cut, {"start.warmup": 1})
    assert sentence(cut).endswith(
        "the generator AtoB, the discriminator B. New: the projection heads; these alone learn in the first step. "
        "Left out: the generator BtoA, the discriminator A."
    )
    train(cut, out=tmp_path / "cut")
    back = override(config, {"start.weights": str(tmp_path / "cut"), "start.exchange": True, "start.warmup": 0})
    assert sentence(back) == (
        "Starting from the run cut at step 4: the generator BtoA, the discriminator A. New: the generator AtoB, the "
        "discriminator B. Left out: the projection heads."
    )


def test_official_files_are_a_source_with_their_discriminators(config: Config, source: Path, tmp_path: Path) -> None:
    weights = saved(source, 4)["weights"]
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, prefix, part in (
        ("G_A", "translators.AtoB.", config.generator),
        ("G_B", "translators.BtoA.", config.generator),
        ("D_A", "discriminators.B.", config.discriminator),
    ):
        state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        torch.save(to_official(part, state), folder / f"latest_net_{name}.pth")
    start = StartConfig(weights=str(folder / "latest_net_G_B.pth"), warmup=0)
    adopted = with_networks_of(Config(), read_source(start))
    assert (adopted.generator, adopted.discriminator) == (config.generator, config.discriminator)
    own = dataclasses.replace(config, start=start)
    assert sentence(own) == (
        "Starting from the weights latest_net_G_B.pth: the generators AtoB and BtoA, the discriminator B. New: the "
        "discriminator A."
    )
    taken = taken_weights(own, build_objective(own))
    assert all(torch.equal(value, weights[name]) for name, value in taken.weights.items())
    assert "discriminator" not in sentence(override(own, {"start.parts": "generators"})).partition("New")[0]


def test_the_whole_state_of_a_run_is_taken_on_request(config: Config, source: Path, tmp_path: Path) -> None:
    everything = override(config, {"optimizer.ema_decay": 0.9, "start.parts": "all", "schedule.num_steps": 1})
    train(everything, out=tmp_path / "second")
    first, second = saved(source, 4), saved(tmp_path / "second", 0)
    for part in ("weights", "average", "optim"):
        assert first[part].keys() == second[part].keys()
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    with pytest.raises(ConfigError, match=r"does not fit this run \(the EMA weights\); use the same method"):
        sentence(override(config, {"start.parts": "all"}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"generator.num_blocks": 1}, r"blocks\.1\.\S+, which this run's lacks\); give --generator.num-blocks 2"),
        ({"start.sha256": "00"}, "The weights of .* are others: their SHA-256 is"),
        ({"start.step": 3}, "does not hold step 3, only 0, 4|does not hold step 3, only 4; give one of these"),
        ({"start.warmup": 4, "data.channels_a": 1, "objective.identity_weight": 0}, "give a shorter warm-up"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_sentence(
    config: Config, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        train(override(config, settings), out=tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_model_folder_has_no_steps_and_a_missing_path_is_named(config: Config, source: Path, tmp_path: Path) -> None:
    model = override(config, {"start.weights": str(source / "model"), "start.step": 2})
    with pytest.raises(ConfigError, match="from-step\\) needs a run folder with checkpoints"):
        sentence(model)
    with pytest.raises(ModelError, match="There is no run or model folder"):
        sentence(override(config, {"start.weights": str(tmp_path / "none")}))
    with pytest.raises(ConfigError, match="need weights to start from"):
        StartConfig(step=3)


def test_the_settings_of_a_run_are_those_of_its_source_unless_a_recipe_is_given(
    config: Config, source: Path, drawn_folders: Path, tmp_path: Path
) -> None:
    settings = {"data.root": str(drawn_folders), "start.weights": str(source)}
    made = configured(out=tmp_path / "second", settings={**settings, "run.seed": 9}).config
    assert (made.generator, made.schedule, made.data.crop_size) == (config.generator, config.schedule, 32)
    assert (made.run.seed, made.data.root, made.start.weights) == (9, str(drawn_folders), str(source))
    other = configured("cut", out=tmp_path / "second", size=64, settings=settings).config
    assert (other.objective.kind, other.generator, other.data.crop_size) == ("cut", config.generator, 64)
    wide = configured("cut", out=tmp_path / "b", settings={**settings, "generator.base_channels": 8}).config
    assert wide.generator.base_channels == 8


def test_the_command_line_trains_from_a_run_and_continues_without_it(
    source: Path, drawn_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(source, tmp_path / "own")
    words = ["train", str(drawn_folders), "--from", str(own), "--steps", "2", "--out", str(tmp_path / "second")]
    run([*words, "--dry-run"])
    printed = capsys.readouterr()
    assert "Starting from the run own at step 4: the generators AtoB and BtoA" in printed.err
    assert f"weights: {own}" in printed.out
    assert not (tmp_path / "second").exists()
    run(words)
    shutil.rmtree(own)
    run(words)
    assert "This run is finished: 2 of 2 steps are done." in capsys.readouterr().out
