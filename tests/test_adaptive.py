"""Adaptive augmentation: its probability follows the discriminators' scores on training images, and is resumed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch

from unpaired.artifacts.checkpoint import load_checkpoint
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override
from unpaired.errors import ConfigError, Interrupted
from unpaired.objectives import CycleGAN
from unpaired.objectives.adaptive import MEMORY, RISE, AdaptiveProbability
from unpaired.objectives.augmentation import augmented
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.training.progress import Progress


def test_the_probability_rises_while_training_images_are_recognised_and_falls_otherwise() -> None:
    adaptive = AdaptiveProbability(0.6)
    recognised, undecided = torch.full((4, 1, 2, 2), 0.9), torch.tensor([0.9, 0.1, 0.9, 0.1]).view(4, 1, 1, 1)
    for _ in range(2 * MEMORY):
        adaptive.update(recognised, 0.5)
    assert float(adaptive.overfitting) == pytest.approx(1 - (1 - 1 / MEMORY) ** (2 * MEMORY), abs=1e-4)
    above = 2 * MEMORY - 58  # after 58 updates the mean sign is above 0.6
    assert float(adaptive.probability) == pytest.approx(above * 4 / RISE, abs=4 / RISE)
    for _ in range(8 * MEMORY):
        adaptive.update(undecided, 0.5)
    assert float(adaptive.overfitting) == pytest.approx(0, abs=1e-3)
    assert float(adaptive.probability) == 0


def test_the_probability_stays_below_the_given_one() -> None:
    adaptive = AdaptiveProbability(0.6, most=0.2)
    for _ in range(8 * MEMORY):
        adaptive.update(torch.ones(8, 1, 1, 1), 0.0)
    assert float(adaptive.probability) == pytest.approx(0.2)


def test_a_probability_in_a_tensor_augments_as_the_same_number() -> None:
    images = torch.rand(8, 3, 16, 16)
    for probability in (0.0, 0.4):
        torch.manual_seed(0)
        one = augmented(images, ("translation", "cutout"), probability)
        torch.manual_seed(0)
        assert torch.equal(one, augmented(images, ("translation", "cutout"), torch.tensor(probability)))
        assert torch.equal(one, images) == (probability == 0)


def test_it_is_logged_saved_and_resumed_bit_for_bit(toy_config: Config, drawn_folders: Path, tmp_path: Path) -> None:
    method = CycleGAN(pool_size=3, augmentation=("translation", "cutout"), augmentation_target=0.01)
    config = override(
        dataclasses.replace(toy_config, objective=method),
        {"data.root": str(drawn_folders), "run.sample_every": 0, "run.trust_images": 0, "run.guardian": "off"},
    )
    whole = train(config, out=tmp_path / "whole")
    last = RunFolder(tmp_path / "whole").records()[-1]["losses"]
    saved = load_checkpoint(RunFolder(tmp_path / "whole").checkpoints / "step-00000008").parts["weights"]
    assert last["augmentation_a"] == pytest.approx(float(saved["adaptive.A.probability"]), rel=1e-5)
    assert saved["adaptive.A.overfitting"] != 0

    def listener(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "stopped", listener=listener)
    train(config, out=tmp_path / "stopped")
    assert info(tmp_path / "stopped").state_sha256 == whole.state_sha256


def test_a_target_without_changes_or_with_a_critic_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"which is empty; add translation,cutout"):
        CycleGAN(augmentation_target=0.6)
    with pytest.raises(ConfigError, match=r"needs objective.adversarial lsgan, .* not wgan_gp"):
        CycleGAN(augmentation=("cutout",), augmentation_target=0.6, adversarial="wgan_gp")
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\)"):
        CycleGAN(augmentation=("cutout",), augmentation_target=1)
