"""The entry from Python: a folder with a recipe and settings, or a Config; and the settings that a run ends up with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import unpaired
from unpaired.cli.settings import resolve
from unpaired.config import override, read_yaml, to_yaml
from unpaired.devices import has_bf16
from unpaired.errors import ConfigError, DataError
from unpaired.recipes import Config, at_size, named
from unpaired.runs import dry_run, train
from unpaired.runs.configure import configured
from unpaired.runs.resolvers import RESOLVERS

SMALL: dict[str, Any] = {
    "generator.base_channels": 4,
    "generator.num_blocks": 1,
    "discriminator.base_channels": 4,
    "run.num_threads": 1,
    "run.device": "cpu",
    "run.trust_images": 0,
    "run.held_out_every": 0,
}


def test_a_folder_a_recipe_and_settings_are_a_configuration(two_folders: Path, tmp_path: Path) -> None:
    by_name = train(two_folders, recipe="demo", size=32, steps=2, settings=SMALL, out=tmp_path / "named", quiet=True)
    config = override(at_size(named("demo"), 32), {**SMALL, "data.root": str(two_folders), "schedule.num_steps": 2})
    whole = unpaired.train(config, out=str(tmp_path / "whole"), quiet=True)
    assert by_name.finished
    assert by_name.state_sha256 == whole.state_sha256
    assert read_yaml(Config, by_name.path / "config.yaml") == read_yaml(Config, whole.path / "config.yaml")


def test_two_folders_may_be_named(two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = two_folders / "trainA", two_folders / "trainB"
    run = train(a=a, b=str(b), recipe="demo", size=32, steps=1, settings=SMALL, quiet=True)
    assert run.path == Path("runs") / "trainA2trainB"
    assert run.domains == {"A": "trainA", "B": "trainB"}


def test_the_command_line_and_python_resolve_alike_and_name_their_own_parameters() -> None:
    given = {"data.root": "x", "run.seed": 5}
    assert resolve("fast", None, 128, None, 30, given, ["objective.identity-weight=0"]).config == (
        configured("fast", size=128, epochs=30, settings={**given, "objective.identity_weight": 0}).config
    )
    with pytest.raises(ConfigError, match=r"^--steps and --epochs are both given"):
        resolve("fast", None, None, 1, 2, {}, ())
    with pytest.raises(ConfigError, match=r"^steps and epochs are both given"):
        train("x", steps=1, epochs=2)


def test_a_configuration_leaves_nothing_to_be_named(toy_config: Config) -> None:
    with pytest.raises(TypeError, match=r"train\(\) takes size, settings with a folder, not with a Config"):
        train(toy_config, size=32, settings={"run.seed": 1})  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="recepi"):
        train("x", recepi="fast")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"Unknown setting objective\.identity_wieght; did you mean"):
        train("x", settings={"objective.identity_wieght": 0})


# --- the settings of a run -------------------------------------------------------------------------


def test_a_dry_run_has_the_settings_that_training_begins_with(
    toy_config: Config, two_folders: Path, tmp_path: Path, said: list[str]
) -> None:
    given = {"data.root": str(two_folders), "schedule.num_steps": 1, "run.precision": "auto", "run.memory": "500GB"}
    config, out = override(toy_config, given), tmp_path / "run"
    dry = dry_run(config, out)
    assert not out.exists()
    assert any(sentence.startswith("Memory: no setting has to change.") for sentence in said)
    assert dry.run.precision == ("bf16" if has_bf16(torch.device("cpu")) else "fp32")
    train(config, out=out)
    kept = read_yaml(Config, out / "config.yaml")
    # Types of images are known only when they were decoded.
    assert kept == override(dry, {"data.dtype_a": "uint8", "data.dtype_b": "uint8"})
    # A run that goes on keeps its precision, wherever it does.
    (out / "config.yaml").write_text(
        (out / "config.yaml").read_text().replace(f"precision: {dry.run.precision}", "precision: bf16")
    )
    assert dry_run(config, out).run.precision == "bf16"


def test_a_dry_run_needs_images_for_the_memory_plan_alone(toy_config: Config, tmp_path: Path) -> None:
    config = override(toy_config, {"data.root": str(tmp_path / "missing")})
    assert dry_run(config, tmp_path / "run") == config
    with pytest.raises(DataError, match="missing"):
        dry_run(override(config, {"run.memory": "6GB"}), tmp_path / "run")


def test_every_resolver_says_what_it_is_for() -> None:
    assert [resolver.__name__ for resolver in RESOLVERS] == [
        "repeat_remedies",
        "pin_files",
        "read_values",
        "choose_precision",
        "fit_memory",
        "pin_start",
    ]
    assert all(resolver.__doc__ and source for resolver, source in RESOLVERS.items())


def test_arguments_of_another_type_are_one_sentence(two_folders: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe takes a name, .* not Config; give a configuration in place of the"):
        train(two_folders, recipe=Config())  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"size takes a whole number, not 'large'"):
        train(two_folders, size="large")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"'crup' for data\.preprocess; did you mean crop\?"):
        unpaired.check(two_folders, preprocess="crup")
    with pytest.raises(ConfigError, match="'pairs' for pairing; "):
        unpaired.check(two_folders, pairing="pairs")


def test_a_run_without_the_record_of_its_images_is_not_called_no_run(
    toy_config: Config, two_folders: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(toy_config))
    with pytest.raises(DataError, match=r"lacks data\.json, the record of its images"):
        unpaired.info(tmp_path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"callbacks": 3}, "callbacks must be a list of callbacks, not int"),
        ({"settings": "data.batch_size"}, "settings must map dotted paths of settings to values, not be str"),
        ({"steps": 0}, "The number of steps .--steps. must be at least 1, not 0"),
    ],
)
def test_wrong_arguments_of_train_are_named(given: dict[str, Any], sentence: str, two_folders: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        train(two_folders, **given)
