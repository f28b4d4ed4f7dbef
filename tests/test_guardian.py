"""The guardian reports each problem with figure and remedy, nothing for healthy runs, and changes no bit."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unpaired.artifacts.history import History
from unpaired.config import flatten, override, read_yaml
from unpaired.errors import Interrupted
from unpaired.monitoring.guardian import EXPLODED, INVERTED, WON_CHECKS, judge
from unpaired.monitoring.observe import correlation, gradient, largest, spread
from unpaired.monitoring.rewind import remedied
from unpaired.networks.resnet import ResNetModule
from unpaired.objectives.cyclegan import CycleGANObjective
from unpaired.recipes import Config
from unpaired.runs import RunInfo, info, train
from unpaired.selection.validation import StepEvaluation, read_evaluations

SETTINGS = flatten(Config())
ONSET = 6
"""The step from which runs below are made ill."""

Patch = Callable[[pytest.MonkeyPatch], None]


SHORT = {"run.guardian_every": 1, "schedule.num_steps": 14}


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    """A run that is looked at after every step."""
    return override(toy_config, {"data.root": str(two_folders), **SHORT})


def checks(name: str, *values: float) -> list[StepEvaluation]:
    return [StepEvaluation(10 * (i + 1), {name: value}) for i, value in enumerate(values)]


def names(found: list[Any]) -> list[str]:
    return [finding.ailment for finding in found]


# --- measurements ----------------------------------------------------------------------------------


def test_a_negative_correlates_by_minus_one_and_another_brightness_by_one() -> None:
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    assert correlation(images, -images) == pytest.approx(-1, abs=1e-5)
    assert correlation(images, 0.5 * images + 0.3) == pytest.approx(1, abs=1e-5)
    assert correlation(images, (-images).mean(dim=1, keepdim=True)) == pytest.approx(-1, abs=1e-5)
    assert correlation(torch.zeros_like(images), images) is None


def test_one_output_for_everything_has_no_spread_and_real_images_have_one() -> None:
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    assert spread(images[:1].expand(3, -1, -1, -1), images) == 0
    assert spread(images, images) == 1
    assert spread(images, images[:1].expand(3, -1, -1, -1)) is None


def test_the_gradient_is_the_root_mean_square_over_the_weights_that_have_one() -> None:
    layers = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1)])
    assert gradient(layers) is None
    layers[0].weight.grad = torch.tensor([[3.0, 4.0]])
    assert gradient(layers) == pytest.approx(math.sqrt(12.5))


def test_an_activation_that_is_no_number_is_the_largest() -> None:
    assert largest([torch.tensor(2.0), torch.tensor(5.0)]) == 5
    assert largest([torch.tensor(2.0), torch.tensor(math.nan)]) == math.inf


# --- problems --------------------------------------------------------------------------------------


def test_a_figure_must_be_bad_at_several_looks_in_a_row() -> None:
    assert judge(checks("correlation_AtoB", 0.5, -0.9, -0.9), SETTINGS) == []
    assert judge(checks("correlation_AtoB", -0.9, -0.9, 0.5, -0.9, -0.9), SETTINGS) == []
    (found,) = judge(checks("correlation_AtoB", 0.5, -0.9, -0.9, -0.9), SETTINGS)
    assert found.healthy_until == 10
    assert "AtoB correlate by -0.9, below -0.3 at 3 checks in a row" in found.sentence(40)


def test_a_new_network_may_take_its_time_to_tell_its_inputs_apart_and_an_awake_one_may_not() -> None:
    assert judge(checks("spread_AtoB", *[0.01] * 9), SETTINGS) == []
    assert names(judge(checks("spread_AtoB", *[0.01] * 10), SETTINGS)) == ["collapse to one output"]
    assert names(judge(checks("spread_AtoB", 0.8, 0.01, 0.01, 0.01), SETTINGS)) == ["collapse to one output"]


@pytest.mark.parametrize(
    ("kind", "loss", "won"),
    [("lsgan", 0.009, True), ("lsgan", 0.02, False), ("cross_entropy", 0.02, True), ("cross_entropy", 0.05, False)],
)
def test_a_discriminator_has_won_where_its_loss_is_next_to_nothing_for_its_kind(
    kind: str, loss: float, won: bool
) -> None:
    found = judge(checks("discriminator_b", *[loss] * WON_CHECKS), {**SETTINGS, "objective.adversarial": kind})
    assert names(found) == (["discriminator has won"] if won else [])


def test_a_critic_cannot_win() -> None:
    found = judge(checks("discriminator_b", *[-9.0] * 9), {**SETTINGS, "objective.adversarial": "wgan_gp"})
    assert found == []


def test_a_gradient_explodes_relative_to_what_it_was() -> None:
    usual = [0.01, 0.02, 0.01, 0.03, 0.01]
    assert judge(checks("gradient_generator", *usual, 0.2, 0.2), SETTINGS) == []
    assert judge(checks("gradient_generator", *usual, 0.9, 0.01), SETTINGS) == []
    found = judge(checks("gradient_generator", *usual, 0.9, 0.9), SETTINGS)
    assert names(found) == ["exploding gradient"]
    assert found[0].healthy_until == 50
    assert EXPLODED * 0.01 < 0.9


def test_each_remedy_is_a_change_of_settings_that_a_configuration_takes() -> None:
    ill = {
        "correlation_AtoB": -0.8,
        "spread_AtoB": 0.0,
        "discriminator_a": 1e-4,
        "gradient_generator": 0.0,
        "flat_AtoB": 1e30,
    }
    found = judge(
        [StepEvaluation(10, {**ill, "spread_AtoB": 1.0}), *[StepEvaluation(20 + i, ill) for i in range(5)]], SETTINGS
    )
    assert len(found) == 5
    remedies = {finding.ailment: finding.remedy for finding in found}
    for remedy in remedies.values():
        assert flatten(override(Config(), remedy)) == {**SETTINGS, **remedy}
    halved = {"optimizer.learning_rate": 1e-4, "optimizer.discriminator_learning_rate": 2e-4}
    assert remedies["discriminator has won"] == {"optimizer.discriminator_learning_rate": 1e-4}
    assert remedies["collapse to one output"] == remedies["vanishing gradient"] == halved
    without = {**SETTINGS, "objective.identity_weight": 0.0}
    assert judge(checks("correlation_AtoB", -1, -1, -1), without)[0].remedy == {"objective.identity_weight": 0.5}
    assert judge(checks("correlation_AtoB", -1, -1, -1), SETTINGS)[0].remedy == halved
    assert INVERTED > -1


def test_a_remedy_is_in_a_configuration_once_whoever_wrote_it() -> None:
    change = {"optimizer.learning_rate": {"saved": 2e-4, "given": 1e-4}}
    again = {"optimizer.learning_rate": {"saved": 1e-4, "given": 5e-5}}
    entries = [{"kind": "remedy", "settings": each} for each in (change, again)]
    assert remedied(Config(), entries).optimizer.learning_rate == 5e-5
    assert remedied(remedied(Config(), entries), entries).optimizer.learning_rate == 5e-5
    other = override(Config(), {"optimizer.learning_rate": 3e-4})
    assert remedied(other, entries) == other


# --- provoked in training --------------------------------------------------------------------------


def scaled(method: str, factor: float, onset: int = 1) -> Patch:
    """Multiply a player's losses from a step on; the pools count the steps and are restored with the state."""
    original = getattr(CycleGANObjective, method)

    def ill(self: CycleGANObjective, batch: Any, images: Any) -> dict[str, Tensor]:
        seen = self.pools["A"].num_seen + 1
        terms: dict[str, Tensor] = original(self, batch, images)
        return {name: term * (factor if seen >= onset else 1) for name, term in terms.items()}

    return lambda patch: patch.setattr(CycleGANObjective, method, ill)


def translating(forward: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> Patch:
    original = ResNetModule.forward
    return lambda patch: patch.setattr(
        ResNetModule, "forward", lambda self, x: forward(lambda each: original(self, each), x)
    )


def collapsing(patch: pytest.MonkeyPatch) -> None:
    """Put the last layer's weights to 0 from a step on, so that its bias alone is left."""
    original = CycleGANObjective.discriminator_losses

    def ill(self: CycleGANObjective, batch: Any, images: Any) -> dict[str, Tensor]:
        if self.pools["A"].num_seen + 1 >= ONSET:
            for network in self.translators.values():
                last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
                last.weight.data.zero_()
        return original(self, batch, images)

    patch.setattr(CycleGANObjective, "discriminator_losses", ill)


PROVOKED: dict[str, Patch] = {
    "colour inversion": translating(lambda network, x: 0.05 * network(x) - 0.9 * x),
    "collapse to one output": collapsing,
    "discriminator has won": scaled("discriminator_losses", 1e-4),
    "vanishing gradient": scaled("generator_losses", 1e-9),
    "exploding gradient": scaled("generator_losses", 1e4, onset=ONSET + 2),
    "flat-image blow-up": translating(lambda network, x: network(x / (x.std(dim=(2, 3), keepdim=True) + 1e-7))),
}


@pytest.mark.parametrize("ailment", PROVOKED)
def test_an_ailment_is_named_once_with_figure_and_remedy_in_history_log_and_report(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ailment: str, said: list[str]
) -> None:
    PROVOKED[ailment](monkeypatch)
    said.clear()
    train(config, out=tmp_path / "run")
    entries = [entry["sentence"] for entry in History(tmp_path / "run").entries() if entry["kind"] == "guardian"]
    (sentence,) = [entry for entry in entries if f", {ailment}: " in entry]
    assert "; remedy: " in sentence
    assert " checks in a row" in sentence
    assert sentence in said
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert ailment in last["ailments"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert f", {ailment}: " in page
    assert "Spread of translations" in page


def test_a_healthy_run_raises_no_alarm_and_ends_in_the_same_state_with_and_without_a_guardian(
    config: Config, tmp_path: Path
) -> None:
    watched = train(config, out=tmp_path / "watched")
    alone = train(override(config, {"run.guardian": "off"}), out=tmp_path / "alone")
    assert watched.state_sha256 == alone.state_sha256
    assert [check.step for check in read_evaluations(tmp_path / "watched" / "guardian.jsonl")] == list(range(1, 15))
    assert not (tmp_path / "alone" / "guardian.jsonl").exists()
    assert History(tmp_path / "watched").entries() == []
    assert all("ailments" not in line for line in (tmp_path / "watched" / "log.jsonl").read_text().splitlines())


# --- resuming and going back -----------------------------------------------------------------------


def stop_at(step: int) -> Callable[[Any], None]:
    def listener(progress: Any) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return listener


def test_a_run_stopped_while_it_is_ill_goes_on_as_if_it_had_not_stopped(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PROVOKED["collapse to one output"](monkeypatch)
    train(config, out=tmp_path / "whole")
    for step in (7, 10):
        with pytest.raises(Interrupted):
            train(config, out=tmp_path / "parts", listener=stop_at(step))
    assert train(config, out=tmp_path / "parts").state_sha256 == info(tmp_path / "whole").state_sha256
    for name in ("guardian.jsonl", "history.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.fixture
def losing(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run whose discriminators win from a step on, which goes back for it; checkpoints at 4, 8, 12 and the end."""
    scaled("discriminator_losses", 1e-4, onset=ONSET)(monkeypatch)
    return override(config, {"run.guardian": "rewind"})


@pytest.fixture(scope="module")
def rewound(
    toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunInfo, list[int]]:
    """The run of `losing`, never interrupted, made once, and the steps that it took."""
    steps: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        scaled("discriminator_losses", 1e-4, onset=ONSET)(patch)
        losing = override(toy_config, {"data.root": str(drawn_folders), **SHORT, "run.guardian": "rewind"})
        out = tmp_path_factory.mktemp("rewound") / "whole"
        return train(losing, out=out, listener=lambda progress: steps.append(progress.step)), steps


def test_the_run_goes_back_to_the_last_good_checkpoint_once_and_then_only_warns(
    rewound: tuple[RunInfo, list[int]],
) -> None:
    whole, steps = rewound
    run = whole.path
    assert whole.finished
    assert steps == [*range(1, 10), *range(5, 15)]
    entries = History(run).entries()
    assert [entry["kind"] for entry in entries] == ["remedy", "guardian"]
    assert entries[0]["step"] == 4
    assert "discriminator has won" in entries[0]["sentence"]
    assert "rewound to step 4" in entries[0]["sentence"]
    assert read_yaml(Config, run / "config.yaml").optimizer.discriminator_learning_rate == 1e-4
    assert [record["step"] for record in map(json.loads, (run / "log.jsonl").read_text().splitlines())] == [
        *range(1, 15)
    ]


def test_a_run_that_went_back_continues_with_the_same_command_in_the_same_state(
    losing: Config, rewound: tuple[RunInfo, list[int]], tmp_path: Path
) -> None:
    whole, run = rewound[0], tmp_path / "parts"
    for step in (5, 8):
        with pytest.raises(Interrupted):
            train(losing, out=run, listener=stop_at(step))
    back = [entry for entry in History(run).entries() if entry["kind"] == "remedy"]
    assert back == []
    with pytest.raises(Interrupted):
        train(losing, out=run, listener=stop_at(7))  # which comes only after it went back
    assert [entry["kind"] for entry in History(run).entries()] == ["remedy"]
    assert train(losing, out=run).state_sha256 == whole.state_sha256
    assert History(run).entries() == History(whole.path).entries()


def test_a_crash_while_going_back_leaves_a_run_that_goes_back_again(
    losing: Config, rewound: tuple[RunInfo, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(Exception):
        pass

    note = History.note

    def crash(self: History, step: int, kind: str, sentence: str, **details: Any) -> None:
        if kind == "remedy":
            raise CrashError
        note(self, step, kind, sentence, **details)

    with monkeypatch.context() as patch:
        patch.setattr(History, "note", crash)
        with pytest.raises(CrashError):
            train(losing, out=tmp_path / "crashed")
    assert info(tmp_path / "crashed").step == 4
    assert train(losing, out=tmp_path / "crashed").state_sha256 == rewound[0].state_sha256


def test_without_a_checkpoint_from_before_the_run_begins_again(
    losing: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = override(losing, {"run.checkpoint_every": 0})
    assert train(never, out=tmp_path / "run").finished
    assert "rewound to the beginning" in History(tmp_path / "run").entries()[0]["sentence"]
