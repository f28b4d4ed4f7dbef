"""Checkpoint selection on held-out images publishes the best step, also after an interruption; early stopping on a
plateau.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from conftest import STYLES
from faults.toy import draw_data
from faults.toy import toy_config as toy_run
from test_report import Page
from test_report import page as report_page
from unpaired import cli
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.artifacts.history import History
from unpaired.config import override
from unpaired.data.domains import open_domains
from unpaired.data.held_out import digests, held_out_images
from unpaired.errors import ConfigError, Interrupted
from unpaired.evaluation import faults
from unpaired.evaluation.evaluating import Settings, evaluate
from unpaired.models.model_folder import read_description, read_model
from unpaired.objectives import CUT
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.runs.verify import verify
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.selection.best_weights import CheckpointSelection, published
from unpaired.selection.early_stopping import (
    MIN_EVALUATIONS,
    detect_plateau,
    early_stopping_reason,
    plateau_since,
    with_early_stopping,
)
from unpaired.selection.rule import distance, faithful, select_best, uncertainty
from unpaired.selection.validation import StepEvaluation, read_evaluations
from unpaired.selection.validation_metrics import LEAST, ValidationMetrics
from unpaired.training.schedule import Schedule, ScheduleConfig

STEPS = 8
NUM_TEST = 18


@pytest.fixture(scope="session")
def many_folders(drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn folders with enough test images for a choice: the same 18 scenes in both styles."""
    root = shutil.copytree(drawn_folders, tmp_path_factory.mktemp("many") / drawn_folders.name)
    for name in ("testA", "testB"):
        for number, seed in enumerate(scene_seeds("test", NUM_TEST, seed=1)):
            PIL.Image.fromarray(draw_scene(seed, STYLES[name[-1]], 40)).save(root / name / f"{number:03d}.png")
    return root


@pytest.fixture
def folders(many_folders: Path, tmp_path: Path) -> Path:
    return shutil.copytree(many_folders, tmp_path / many_folders.name)


@pytest.fixture
def config(toy_config: Config, folders: Path) -> Config:
    """A run that is looked at after every step, and saved after every other."""
    settings = {
        "data.root": str(folders),
        "optimizer.ema_decay": 0.5,
        "run.held_out_every": 1,
        "run.publish": "best",
        "run.checkpoint_every": 2,
        "run.sample_every": 0,
    }
    return override(toy_config, settings)


def evaluation(
    step: int, distance: float = 1.0, cycle: float = 0.1, structure: float = 0.5, interval: float = 0.0
) -> StepEvaluation:
    figures = {}
    for direction in ("AtoB", "BtoA"):
        figures[f"kernel_distance_{direction}"] = distance
        figures[f"kernel_interval_{direction}"] = interval
        figures[f"cycle_error_{direction}"] = cycle
        figures[f"self_similarity_correlation_{direction}"] = structure
    return StepEvaluation(step, figures)


def scripted(monkeypatch: pytest.MonkeyPatch, distance_at: Callable[[int], float]) -> None:
    """Replace the kernel distance at each step by the values of a test."""
    original = CheckpointSelection.evaluate

    def looked(self: CheckpointSelection, state: Any) -> None:
        self._measure = lambda translators: {"kernel_distance_AtoB": distance_at(state.step)}
        original(self, state)

    monkeypatch.setattr(CheckpointSelection, "evaluate", looked)


def stop_at(step: int, signum: int = signal.SIGTERM) -> Callable[[Any], None]:
    def listener(progress: Any) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signum)

    return listener


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = {}
    for direction, network in read_model(run)[1].items():
        found |= {f"{direction}.{name}": value for name, value in network.state_dict().items()}
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- the rule --------------------------------------------------------------------------------------


def test_the_best_look_is_the_nearest_one_that_is_as_faithful_as_usual() -> None:
    evaluations = [
        evaluation(1, 3.0),
        evaluation(2, 2.0),
        evaluation(3, 1.0, cycle=0.3),
        evaluation(4, 1.5),
        evaluation(5, 0.9, structure=0.2),
    ]
    assert select_best(evaluations) == evaluations[3]
    assert [faithful(each, evaluations) for each in evaluations] == [True, True, False, True, False]
    assert distance(evaluations[2]) == 1.0
    assert select_best([]) is None


def test_a_look_that_turns_out_to_be_unfaithful_gives_way_to_a_faithful_one_further_away() -> None:
    evaluations = [
        evaluation(1, 1.0, cycle=0.5),
        evaluation(2, 2.0, cycle=0.1),
        evaluation(3, 2.5, cycle=0.1),
        evaluation(4, 2.0, cycle=0.1),
    ]
    assert [faithful(evaluations[0], evaluations[:number]) for number in (1, 2, 3)] == [True, False, False]
    assert select_best(evaluations[:3]) == evaluations[1]
    assert select_best(evaluations) == evaluations[3]


def test_of_looks_that_cannot_be_told_from_the_nearest_one_the_latest_is_taken() -> None:
    evaluations = [
        evaluation(1, 0.3, interval=0.2),
        evaluation(2, 0.1, interval=0.2),
        evaluation(3, 0.2),
        evaluation(4, 0.25),
        evaluation(5, 0.22),
    ]
    assert uncertainty(evaluations[0]) == pytest.approx(0.2 / 2**0.5)
    assert select_best(evaluations) == evaluations[4]
    assert select_best(evaluations[:4]) == evaluations[2]
    assert select_best([evaluation(1), evaluation(2)]) == evaluation(2)


def test_pairs_are_faithful_to_their_truth_whatever_they_keep_of_the_input() -> None:
    figures = {"kernel_distance_AtoB": 1.0, "l1_AtoB": 0.1, "self_similarity_correlation_AtoB": 0.9}
    evaluations = [
        StepEvaluation(1, figures),
        StepEvaluation(2, {**figures, "kernel_distance_AtoB": 0.5, "self_similarity_correlation_AtoB": 0.1}),
        StepEvaluation(3, {**figures, "kernel_distance_AtoB": 0.1, "l1_AtoB": 0.2}),
    ]
    assert select_best(evaluations) == evaluations[1]


# --- the figures -----------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_directions_there_are_and_see_what_is_wrong() -> None:
    drawn = [
        torch.stack([torch.from_numpy(draw_scene(seed, style, 32).copy()) for seed in scene_seeds("test", 12, 0)])
        for style in ("summer", "winter")
    ]
    a, b = (images.permute(0, 3, 1, 2).float() / 127.5 - 1 for images in drawn)
    held_out = ValidationMetrics(a, b)
    untranslated = held_out.figures({"AtoB": lambda x: x, "BtoA": lambda x: x})
    assert {name.rpartition("_")[0] for name in untranslated} == {
        "kernel_distance",
        "kernel_interval",
        "cycle_error",
        "self_similarity_correlation",
        "gradient_correlation",
    }
    assert untranslated["cycle_error_AtoB"] == 0
    assert untranslated["self_similarity_correlation_BtoA"] == pytest.approx(1)
    truth = iter([*torch.split(b, 4)])
    assert held_out.figures({"AtoB": lambda x: next(truth)})["kernel_distance_AtoB"] < 0.1
    assert untranslated["kernel_distance_AtoB"] > 1
    blurred = held_out.figures({"BtoA": lambda x: faults.blur(x, 2.0)})
    assert blurred["self_similarity_correlation_BtoA"] < 0.95
    assert "cycle_error_BtoA" not in blurred
    pairs = ValidationMetrics(a, b, paired=True, batch=1).figures({"AtoB": lambda x: x})
    assert pairs["l1_AtoB"] == pytest.approx(float((a - b).abs().mean() / 2), abs=1e-3)
    with pytest.raises(ValueError, match="At least 8 images"):
        ValidationMetrics(a[: LEAST - 1], b)


# --- which images ----------------------------------------------------------------------------------


def test_every_second_test_image_is_looked_at_and_the_others_are_left_for_tables(config: Config) -> None:
    domains = open_domains(config.data)
    found = held_out_images(domains, config.data, 32)
    assert found is not None
    assert [found.a.name(index) for index in range(len(found.a))] == [f"{n:03d}.png" for n in range(1, NUM_TEST, 2)]
    assert found.origin == "every second test image"
    few = held_out_images(domains, config.data, 3)
    assert few is not None
    assert [few.b.name(index) for index in range(3)] == ["001.png", "007.png", "013.png"]
    assert few.batch(domains, config.data, 0).a.shape == (3, 3, 32, 32)


def test_validation_images_are_preferred_and_then_all_of_them_are_looked_at(config: Config, folders: Path) -> None:
    for domain in "AB":
        shutil.copytree(folders / f"test{domain}", folders / f"val{domain}")
    found = held_out_images(open_domains(config.data), config.data, 32)
    assert found is not None
    assert (len(found.a), found.origin) == (NUM_TEST, "valA and valB")


def test_test_images_choose_only_where_somebody_says_so(
    config: Config, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, bowl)
    auto = override(config, {"run.publish": "auto"})
    train(auto, out=tmp_path / "test")
    model, _ = read_model(tmp_path / "test")
    assert (model.training.step, model.choice) == (STEPS, None)
    page = Page((tmp_path / "test" / "report.html").read_text()).text
    assert "is step 3 (dashed line), while model/ is of the last step (--run.publish)" in page
    for domain in "AB":
        shutil.copytree(folders / f"test{domain}", folders / f"val{domain}")
    train(auto, out=tmp_path / "val")
    model, _ = read_model(tmp_path / "val")
    assert model.choice is not None
    assert (model.training.step, model.choice.held_out) == (3, "valA and valB")
    assert Config().run.publish == "auto"


def test_ending_a_flat_run_without_held_out_images_is_refused(config: Config, folders: Path, tmp_path: Path) -> None:
    shutil.rmtree(folders / "testA")
    with pytest.raises(ConfigError, match="--stop-when-flat needs validation, but there are no validation images"):
        train(override(config, {"run.stop_when_flat": True}), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"needs validation, which run.held_out_every 0 turns off"):
        override(config, {"run.stop_when_flat": True, "run.held_out_every": 0})


def test_without_held_out_images_the_model_is_that_of_the_last_step_and_the_run_says_so(
    config: Config, folders: Path, tmp_path: Path, said: list[str]
) -> None:
    shutil.rmtree(folders / "testA")
    said.clear()
    train(config, out=tmp_path / "run")
    assert any("of the last step will be published: there are no validation images" in sentence for sentence in said)
    assert not (tmp_path / "run" / "held_out.jsonl").exists()
    assert "choice" not in read_description(tmp_path / "run" / "model")
    assert read_model(tmp_path / "run")[0].training.step == STEPS


# --- a run -----------------------------------------------------------------------------------------


def bowl(step: int) -> float:
    """Best at step 3, which no checkpoint is of."""
    return 1 + abs(step - 3)


def test_looking_changes_nothing_of_the_state(config: Config, tmp_path: Path) -> None:
    looked = train(config, out=tmp_path / "looked")
    alone = train(override(config, {"run.held_out_every": 0}), out=tmp_path / "alone")
    assert looked.state_sha256 == alone.state_sha256
    assert [each.step for each in read_evaluations(tmp_path / "looked" / "held_out.jsonl")] == list(range(1, STEPS + 1))
    assert not (tmp_path / "alone" / "held_out.jsonl").exists()
    assert History(tmp_path / "looked").entries() == []


def test_the_model_is_that_of_the_best_step_and_says_how_it_was_chosen(
    config: Config, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, bowl)
    train(config, out=tmp_path / "run")
    every = override(config, {"run.checkpoint_every": 1, "run.keep_checkpoints": 99, "run.publish": "last"})
    train(every, out=tmp_path / "every")
    third = load_checkpoint(tmp_path / "every" / "checkpoints" / "step-00000003").parts["average"]
    assert same(weights(tmp_path / "run"), third)
    model, _ = read_model(tmp_path / "run")
    assert model.training.step == 3
    assert model.choice is not None
    assert (model.choice.run_step, model.choice.looks, model.choice.held_out) == (8, 8, "every second test image")
    found = held_out_images(open_domains(config.data), config.data, 32)
    assert found is not None
    assert model.choice.images_a == tuple(digests(found.a))
    assert "3, selected by 8 evaluations" in (tmp_path / "run" / "model" / "README.md").read_text()
    last, _ = read_model(tmp_path / "every")
    assert (last.training.step, last.choice) == (STEPS, None)


def test_which_step_is_published_may_change_when_all_is_trained(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, bowl)
    for setting, step in (("last", STEPS), ("best", 3), ("last", STEPS)):
        train(override(config, {"run.publish": setting}), out=tmp_path / "run")
        model, _ = read_model(tmp_path / "run")
        assert (model.training.step, model.choice is None) == (step, setting == "last")


def test_a_run_interrupted_at_any_step_chooses_as_one_that_was_not(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, bowl)
    config = override(config, {"run.trust_images": 0})
    train(config, out=tmp_path / "whole")
    for step in range(1, STEPS):  # each copy is continued to the end, the run itself to its next interruption
        with pytest.raises(Interrupted):
            train(config, out=tmp_path / "run", listener=stop_at(step))
        run = shutil.copytree(tmp_path / "run", tmp_path / f"stopped-at-{step}")
        train(config, out=run)
        assert info(run).state_sha256 == info(tmp_path / "whole").state_sha256
        assert (run / "held_out.jsonl").read_bytes() == (tmp_path / "whole" / "held_out.jsonl").read_bytes()
        assert read_description(run / "model") == read_description(tmp_path / "whole" / "model")


def test_the_best_is_back_after_a_damaged_checkpoint_and_after_a_crash_before_the_model(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, lambda step: -step if step > 6 else bowl(step))
    run = tmp_path / "run"
    train(config, out=run)
    assert read_model(run)[0].training.step == STEPS
    shutil.rmtree(run / "checkpoints" / "step-00000008")
    monkeypatch.undo()
    scripted(monkeypatch, bowl)  # so what came after the checkpoint of step 6 is no longer the best
    train(config, out=run)
    assert read_model(run)[0].training.step == 3
    before = weights(run)
    shutil.rmtree(run / "model")
    train(config, out=run)
    assert same(weights(run), before)
    assert read_model(run)[0].choice is not None


def test_every_checkpoint_holds_the_best_step_up_to_it_beside_its_state(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, bowl)
    train(override(config, {"run.keep_checkpoints": 99}), out=tmp_path / "run")
    found = {each.step: each for each in map(load_checkpoint, list_checkpoints(tmp_path / "run" / "checkpoints"))}
    assert {step: each.best_step for step, each in found.items()} == {2: 2, 4: 3, 6: 3, 8: 3}
    assert [step for step, each in sorted(found.items()) if each.best] == [4, 6, 8]
    assert same(published(found[4].best), published(found[8].best))
    assert not [finding for finding in verify(tmp_path / "run") if finding.problem]


def test_other_held_out_images_begin_the_choice_again(
    config: Config, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    scripted(monkeypatch, bowl)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "run", listener=stop_at(5))
    PIL.Image.new("RGB", (40, 40), (9, 9, 9)).save(folders / "testA" / "003.png")
    said.clear()
    train(config, out=tmp_path / "run")
    assert any("validation images changed" in sentence for sentence in said)
    assert [each.step for each in read_evaluations(tmp_path / "run" / "held_out.jsonl")] == [6, 7, 8]
    assert read_model(tmp_path / "run")[0].training.step == 6


def test_pairs_and_one_sided_methods_choose_and_noise_does_not(config: Config, tmp_path: Path) -> None:
    one_sided = replace(config, objective=CUT(), generator=replace(config.generator, num_blocks=2))
    train(one_sided, out=tmp_path / "cut")
    assert set(read_evaluations(tmp_path / "cut" / "held_out.jsonl")[0].figures) == {
        f"{name}_AtoB"
        for name in ("kernel_distance", "kernel_interval", "self_similarity_correlation", "gradient_correlation")
    }
    assert read_model(tmp_path / "cut")[0].choice is not None
    data = draw_data(tmp_path / "pairs", "pix2pix")
    for number in range(2, NUM_TEST):
        shutil.copy(data / "train" / f"{number:03d}.png", data / "test" / f"{number:03d}.png")
    paired = override(toy_run(data, "pix2pix", steps=4), {"run.held_out_every": 2})
    looked = train(paired, out=tmp_path / "paired")
    assert "l1_AtoB" in read_evaluations(tmp_path / "paired" / "held_out.jsonl")[0].figures
    assert (
        looked.state_sha256 == train(override(paired, {"run.held_out_every": 0}), out=tmp_path / "alone").state_sha256
    )


def test_what_translations_are_scored_by_is_measured_with_the_networks_of_the_best_step(
    config: Config, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain in "AB":
        for number in range(NUM_TEST):
            shutil.copy(folders / f"test{domain}" / f"{number:03d}.png", folders / f"train{domain}" / f"t{number}.png")
    scripted(monkeypatch, bowl)
    train(config, out=tmp_path / "run")
    description = read_description(tmp_path / "run" / "model")
    assert description["training"]["step"] == 3
    assert description["choice"]["run_step"] == STEPS
    assert "trust" in description


# --- reports ---------------------------------------------------------------------------------------


def test_evaluating_the_images_that_chose_is_told_and_they_can_be_left_out(
    config: Config, folders: Path, tmp_path: Path, said: list[str]
) -> None:
    train(config, out=tmp_path / "run")
    said.clear()
    found = evaluate(tmp_path / "run", folders)
    assert any(
        sentence.startswith("9 of these images of A and 9 of B took part in the checkpoint selection")
        for sentence in said
    )
    assert found.facts["images_that_chose"] == {"A": 9, "B": 9}
    said.clear()
    unseen = evaluate(tmp_path / "run", folders, settings=Settings(unseen=True))
    assert unseen.directions["AtoB"].names == tuple(f"{number:03d}.png" for number in range(0, NUM_TEST, 2))
    assert not any("took part in the checkpoint selection" in sentence for sentence in said)


def test_the_report_draws_the_figures_in_both_directions_and_marks_the_best_step(tmp_path: Path) -> None:
    evaluations = [evaluation(100, 3.0), evaluation(200, 1.0), evaluation(300, 2.0)]
    text = report_page(tmp_path, held_out=evaluations, best_step=200)
    labels = [svg["aria-label"] or "" for svg in Page(text).all("svg")]
    assert (
        labels[0]
        == "Kernel distance to real images, 0 is best over 300 steps: kernel_distance_AtoB, kernel_distance_BtoA"
    )
    assert text.count('class="mark"') == 3
    assert "The best of 3 validations is step 200 (dashed line), which model/ holds." in Page(text).text
    assert 'class="mark"' not in report_page(tmp_path)


def test_verify_counts_the_looks_and_names_a_damaged_file(config: Config, tmp_path: Path) -> None:
    train(config, out=tmp_path / "run")
    facts = {finding.part: finding.fact for finding in verify(tmp_path / "run")}
    assert facts["held_out.jsonl"] == "8 validations"
    assert facts["held_out.json"] == "9 + 9 images, every second test image"
    assert "selected in 8 validations" in facts["model"]
    for name in ("held_out.json", "held_out.jsonl"):
        (tmp_path / "run" / name).write_text("{\n")
        assert [finding.part for finding in verify(tmp_path / "run") if finding.problem][-1] == name


# --- a plateau -------------------------------------------------------------------------------------

LONG = Schedule(ScheduleConfig(num_steps=400), epoch_length=10, batch_size=1)


def test_looks_are_flat_when_the_last_third_and_eight_at_least_improves_nothing() -> None:
    falling = [evaluation(step, 100.0 - step) for step in range(1, 40)]
    assert plateau_since(falling) is None
    level = [evaluation(step, max(10.0 - step, 2.0)) for step in range(1, 40)]
    assert plateau_since(level[: 7 + MIN_EVALUATIONS]) is None
    assert plateau_since(level) == 8
    assert plateau_since(level, after=20) == 8
    assert plateau_since(level, after=30) is None
    noisy = [evaluation(step, 2.0 + 0.1 * (-1) ** step) for step in range(1, 40)]
    assert plateau_since(noisy) == 1
    small = [*noisy[:-1], evaluation(39, 1.85)]  # an improvement smaller than what neighbours differ by
    assert plateau_since(small) == 1
    assert plateau_since([*noisy[:-1], evaluation(39, 1.6)]) is None
    assert plateau_since([*level[:-1], evaluation(39, 2.0, cycle=0.05)]) is None  # which is an improvement as well
    creeping = [evaluation(step, 2.0, cycle=0.1 * 0.998**step) for step in range(1, 40)]
    assert plateau_since(creeping) == 1  # two in a thousand an evaluation, 2.6 % in a third of them
    assert plateau_since([evaluation(step, 2.0, cycle=0.1 * 0.99**step) for step in range(1, 40)]) is None


def test_flat_looks_bring_the_decay_forward_and_in_the_decay_end_the_run() -> None:
    level = [evaluation(10 * number, 1.0) for number in range(1, 17)]
    found = detect_plateau(level, LONG)
    assert found is not None
    assert found.details == {"decay_from": 160}
    assert "the learning rate decays from here on, and the run ends at step 320 instead of 400" in found.sentence
    entries = [{"kind": "flat", "step": 160, "sentence": found.sentence, **found.details}]
    shorter = with_early_stopping(LONG, entries)
    assert (shorter.num_steps, shorter.decays_after) == (320, 160)
    assert shorter.multiplier(160) == 1
    assert shorter.multiplier(161) == pytest.approx(160 / 161)
    assert shorter.multiplier(320) == pytest.approx(1 / 161)
    later = [evaluation(10 * number, 1.0) for number in range(1, 24)]
    assert detect_plateau(later, shorter) is None  # there are not yet enough evaluations of the decay
    end = detect_plateau([*later, evaluation(240, 1.0), evaluation(250, 1.0)], shorter)
    assert end is not None
    assert end.details == {"end": 250}
    entries.append({"kind": "flat", "step": 250, "sentence": end.sentence, **end.details})
    assert with_early_stopping(LONG, entries).num_steps == 250
    assert early_stopping_reason(entries) == end.sentence
    entries.append({"kind": "went on", "step": 250, "sentence": ""})
    assert with_early_stopping(LONG, entries).num_steps == 320
    assert early_stopping_reason(entries) == ""


def test_without_a_decay_a_flat_run_ends_at_once() -> None:
    constant = Schedule(ScheduleConfig(num_epochs_constant=40, num_epochs_decay=0), epoch_length=10, batch_size=1)
    found = detect_plateau([evaluation(10 * number, 1.0) for number in range(1, 17)], constant)
    assert found is not None
    assert found.details == {"end": 160}


@pytest.fixture
def flat(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of 60 steps whose evaluations improve until step 5: its decay begins at 16 and it ends at 24."""
    scripted(monkeypatch, lambda step: max(10.0 - step, 5.0 + 1e-3 * step))
    settings = {"schedule.num_steps": 60, "run.stop_when_flat": True, "run.checkpoint_every": 3, "run.guardian": "off"}
    return override(config, settings)


def test_a_flat_run_ends_early_says_why_and_is_not_started_again_unless_asked(
    flat: Config, tmp_path: Path, said: list[str]
) -> None:
    run = tmp_path / "run"
    found = train(flat, out=run)
    first, second = (entry for entry in History(run).entries() if entry["kind"] == "flat")
    assert (first["decay_from"], second["end"]) == (16, 24)
    assert first["sentence"] in said
    assert (found.step, found.num_steps, found.finished, found.ended) == (24, 24, True, second["sentence"])
    assert found.bit_exact
    rates = [json.loads(line)["learning_rate"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert rates[:16] == [2e-4] * 16
    assert rates[16] == pytest.approx(2e-4 * 16 / 17, rel=1e-4)
    assert "<dd>finished early</dd>" in (run / "report.html").read_text()
    assert read_model(run)[0].training.step == 5
    last = train(override(flat, {"run.publish": "last"}), out=run)
    assert (last.step, read_model(run)[0].training.step) == (24, 24)
    assert "no longer improved" in read_description(run / "model")["choice"]["rule"]  # of images that ended the run
    for setting in (True, None):
        assert train(override(flat, {"run.stop_when_flat": setting}), out=run).step == 24
    assert "--no-stop-when-flat continues it" in said[-1]
    on = train(override(flat, {"run.stop_when_flat": False}), out=run)
    assert (on.step, on.num_steps, on.ended) == (32, 32, "")
    assert "<dd>finished</dd>" in (run / "report.html").read_text()


def test_a_flat_run_interrupted_anywhere_ends_at_the_same_step_in_the_same_state(flat: Config, tmp_path: Path) -> None:
    flat = override(flat, {"run.sample_every": 0, "run.trust_images": 0})
    whole = train(flat, out=tmp_path / "whole")
    for step in (4, 15, 16, 17, 24):  # each copy is continued to the end, the run itself to its next interruption
        with pytest.raises(Interrupted):
            train(flat, out=tmp_path / "run", listener=stop_at(step))
        run = shutil.copytree(tmp_path / "run", tmp_path / f"stopped-at-{step}")
        assert train(flat, out=run).state_sha256 == whole.state_sha256
        assert History(run).entries() == History(tmp_path / "whole").entries()


def test_the_command_line_takes_both_answers(capsys: pytest.CaptureFixture[str], folders: Path) -> None:
    for option, value in (("--stop-when-flat", "true"), ("--no-stop-when-flat", "false")):
        with pytest.raises(SystemExit):
            cli.main(["train", str(folders), "--dry-run", option])
        assert f"stop_when_flat: {value}" in capsys.readouterr().out
