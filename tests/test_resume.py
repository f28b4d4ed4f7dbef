"""An interrupted run that continues ends in the state of the run that was never interrupted, bit for bit."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

import forked
from unpaired.artifacts.checkpoint import list_checkpoints
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override, to_yaml
from unpaired.errors import (
    ConfigError,
    DataError,
    Interrupted,
    MissingExtraError,
    NonFiniteError,
    OutputError,
    StorageError,
)
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.training.progress import Progress

STEPS = 8


SETTINGS = {"optimizer.ema_decay": 0.9, "generator.dropout": True}


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    return override(toy_config, {"data.root": str(two_folders), **SETTINGS})


@pytest.fixture(scope="module")
def uninterrupted(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `config`, made once, to compare with."""
    run = tmp_path_factory.mktemp("uninterrupted") / "whole"
    train(override(toy_config, {"data.root": str(drawn_folders), **SETTINGS}), out=run)
    return run


@pytest.fixture
def own(uninterrupted: Path, tmp_path: Path) -> Path:
    """A run of `config` that a test may change or continue."""
    return shutil.copytree(uninterrupted, tmp_path / "whole")


def stop_at(step: int, signum: int = signal.SIGTERM) -> Any:
    def listener(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signum)

    return listener


def losses(run: Path) -> list[tuple[int, dict[str, float]]]:
    return [(record["step"], record["losses"]) for record in RunFolder(run).records()]


def test_a_run_interrupted_at_any_step_ends_in_the_same_state_and_log(
    config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    for step in range(1, STEPS):  # each copy is continued to the end, the run itself to its next interruption
        with pytest.raises(Interrupted) as stopped:
            train(config, out=tmp_path / "run", listener=stop_at(step))
        run = shutil.copytree(tmp_path / "run", tmp_path / f"stopped-at-{step}")
        assert stopped.value.signum == signal.SIGTERM
        page = (run / "report.html").read_text()
        assert "<dd>stopped; the same command continues it</dd>" in page
        assert "time left" not in page
        assert info(run).step == step
        train(config, out=run)
        assert info(run).state_sha256 == info(uninterrupted).state_sha256
        assert losses(run) == losses(uninterrupted)


def test_a_run_interrupted_many_times_ends_in_the_same_state(
    config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "stuttering"
    for step in (1, 2, 5, 6):
        with pytest.raises(Interrupted):
            train(config, out=run, listener=stop_at(step))
    assert train(config, out=run).state_sha256 == info(uninterrupted).state_sha256


def test_work_after_the_last_checkpoint_is_repeated_exactly_after_a_crash(
    config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    class CrashError(Exception):
        pass

    def listener(progress: Progress) -> None:
        if progress.step == 6:  # two steps after the checkpoint at 4
            raise CrashError

    with pytest.raises(CrashError):
        train(config, out=tmp_path / "crashed", listener=listener)
    assert info(tmp_path / "crashed").step == 4
    assert train(config, out=tmp_path / "crashed").state_sha256 == info(uninterrupted).state_sha256
    assert losses(tmp_path / "crashed") == losses(uninterrupted)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_do_not_change_the_state(
    config: Config, uninterrupted: Path, tmp_path: Path, workers: int
) -> None:
    other = override(config, {"data.num_workers": workers})
    assert train(other, out=tmp_path / "workers").state_sha256 == info(uninterrupted).state_sha256


def test_what_is_shown_and_kept_on_the_way_does_not_change_the_state(
    config: Config, uninterrupted: Path, tmp_path: Path
) -> None:
    other = override(
        config,
        {
            "run.sample_every": 1,
            "run.num_samples": 1,
            "run.log_every": 3,
            "run.checkpoint_every": 0,
            "data.cache_mb": 0,
        },
    )
    assert train(other, out=tmp_path / "other").state_sha256 == info(uninterrupted).state_sha256


def test_another_seed_ends_in_another_state(config: Config, uninterrupted: Path, tmp_path: Path) -> None:
    other = train(override(config, {"run.seed": 4}), out=tmp_path / "seed")
    assert other.state_sha256 != info(uninterrupted).state_sha256


def test_a_finished_run_is_left_as_it_is(config: Config, own: Path, said: list[str]) -> None:
    log = (own / "log.jsonl").read_bytes()
    said.clear()
    assert train(config, out=own).finished
    assert any("finished" in sentence for sentence in said)
    assert (own / "log.jsonl").read_bytes() == log


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_continues(
    config: Config, own: Path, tmp_path: Path, said: list[str]
) -> None:
    newest = list_checkpoints(own / "checkpoints")[0]
    before = info(own).state_sha256
    path = newest / "optim.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    said.clear()
    assert train(config, out=own).state_sha256 == before
    assert any("optim.safetensors" in sentence and "set aside" in sentence for sentence in said)


def test_a_run_folder_of_another_configuration_is_refused_with_the_differing_settings(
    config: Config, own: Path
) -> None:
    other = override(config, {"optimizer.learning_rate": 1e-3, "objective.pool_size": 7, "run.log_every": 2})
    with pytest.raises(ConfigError) as refused:
        train(other, out=own)
    assert "optimizer.learning_rate: saved 0.0002, given 0.001" in str(refused.value)
    assert "objective.pool_size: saved 3, given 7" in str(refused.value)
    assert "log_every" not in str(refused.value)


def test_changed_images_are_refused(config: Config, own: Path, two_folders: Path) -> None:
    next((two_folders / "trainB").glob("*.png")).unlink()
    with pytest.raises(DataError, match=r"images changed since .* \(1 removed\)"):
        train(config, out=own)


def test_two_trainers_cannot_share_a_run_folder(config: Config, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "busy")
    folder.create()
    with folder.lock(), pytest.raises(OutputError, match="in use by another training"):
        train(config, out=folder.path)
    assert train(config, out=folder.path).finished


def test_a_loss_that_is_no_number_stops_before_anything_is_updated(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.objectives.cyclegan import CycleGANObjective

    original = CycleGANObjective.generator_losses

    def poisoned(self: Any, batch: Any, images: Any) -> Any:
        poisoned.calls += 1
        terms = original(self, batch, images)
        return {**terms, "cycle_a": terms["cycle_a"] * float("nan")} if poisoned.calls == 6 else terms

    poisoned.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(CycleGANObjective, "generator_losses", poisoned)
    with pytest.raises(NonFiniteError, match=r"At step 6 the loss cycle_a is nan \(images: \d+\.png and \d+\.png\)"):
        train(config, out=tmp_path / "nan")
    assert info(tmp_path / "nan").step == 4


def test_a_gradient_that_is_no_number_stops_before_anything_is_updated(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.objectives.cyclegan import CycleGANObjective

    original = CycleGANObjective.generator_losses

    def poisoned(self: Any, batch: Any, images: Any) -> Any:
        terms = original(self, batch, images)
        zero = images.fake_b.sum() * 0  # the square root has no slope there
        return {**terms, "cycle_a": terms["cycle_a"] + zero.abs().sqrt()}

    monkeypatch.setattr(CycleGANObjective, "generator_losses", poisoned)
    with pytest.raises(NonFiniteError, match=r"At step 1 the gradient of generator AtoB.* is NaN or infinite"):
        train(config, out=tmp_path / "nan")


def test_the_run_folder_holds_what_the_manual_says(config: Config, drawn_folders: Path, own: Path) -> None:
    from_images = {"data.dtype_a": "uint8", "data.dtype_b": "uint8"}
    reported = override(config, {"data.root": str(drawn_folders), **from_images})
    assert (own / "config.yaml").read_text() == to_yaml(reported)
    assert [record["step"] for record in RunFolder(own).records()] == list(range(1, STEPS + 1))
    assert [path.name for path in RunFolder(own).sample_paths()] == [f"step-{step:08d}.png" for step in (0, 4, 8)]
    manifest = json.loads((own / "checkpoints" / "step-00000008" / "MANIFEST.json").read_text())
    assert manifest["step"] == STEPS
    assert len(manifest["state_sha256"]) == 64
    assert set(manifest["files"]) == {f"{part}.safetensors" for part in ("weights", "optim", "pool", "average")} | {
        "state.json"
    }
    assert manifest["made_with"]["torch"] == torch.__version__
    data = json.loads((own / "data.json").read_text())
    assert data["A"]["images"] == 6
    assert data["A"]["name"] == "summer"
    assert len(json.loads((own / "images.json").read_text())["A"]["000.png"]["sha256"]) == 64
    assert (own / "report.html").stat().st_size > 10_000
    assert dataclasses.asdict(info(own))["step"] == STEPS


@pytest.mark.parametrize("preprocess", ["none", "scale_width"])
def test_whole_images_of_different_sizes_are_trained_on_and_continued(
    config: Config, two_folders: Path, tmp_path: Path, preprocess: str
) -> None:
    for number, path in enumerate(sorted(two_folders.glob("*/*.png"))):
        with PIL.Image.open(path) as image:
            changed = image.resize((37 + 5 * (number % 3), 50 - 3 * (number % 4)))
        changed.save(path)
    whole = override(config, {"data.preprocess": preprocess})
    train(whole, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(whole, out=tmp_path / "parts", listener=stop_at(5))
    assert train(whole, out=tmp_path / "parts").state_sha256 == info(tmp_path / "whole").state_sha256


def test_tensorboard_is_an_extra_and_says_how_to_get_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unpaired\[tensorboard\]'"):
        train(override(config, {"run.tensorboard": True}), out=tmp_path / "board")


def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoint_before(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.artifacts import checkpoint

    def full(folder: Path, needed: int) -> None:
        if list_checkpoints(folder):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_check_space", full)
    with pytest.raises(StorageError, match="No space left on device; the checkpoints already there are untouched"):
        train(config, out=tmp_path / "full")
    monkeypatch.undo()
    assert info(tmp_path / "full").step == 4
    assert train(config, out=tmp_path / "full").finished


def command(config: Config, run: Path, tmp_path: Path) -> list[str]:
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    return [sys.executable, "-m", "unpaired", "train", "--config", str(file), "--out", str(run)]


def wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        records = RunFolder(run).records()
        if records and records[-1]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached")


LONG = {"schedule.num_steps": 40, "run.sample_every": 0, "data.num_workers": 2}


@pytest.fixture(scope="module")
def long_state(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state in which `config` with `LONG` ends, made once."""
    whole = override(toy_config, {"data.root": str(drawn_folders), **SETTINGS, **LONG, "data.num_workers": 0})
    return train(whole, out=tmp_path_factory.mktemp("long") / "whole").state_sha256


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signalled_process_leaves_with_its_code_and_the_same_command_continues(
    config: Config, long_state: str, tmp_path: Path, signum: int, code: int
) -> None:
    long = override(config, LONG)
    line = command(long, tmp_path / "run", tmp_path)
    if signum == signal.SIGINT:  # one of them is started as users do
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    else:
        process = forked.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, loaders=True)
    wait_for_step(tmp_path / "run", 10)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    if signum != signal.SIGKILL:
        assert errors.startswith("unpaired: Stopped at step ")
        assert errors.count("\n") == 1
    assert info(tmp_path / "run").step < LONG["schedule.num_steps"]
    again = forked.run(line, capture_output=True, text=True, timeout=120, loaders=True)
    assert again.returncode == 0, again.stderr
    assert info(tmp_path / "run").state_sha256 == long_state
