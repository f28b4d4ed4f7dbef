"""The precision of a run: resolved at its start from the device, and kept from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from test_methods import config_of
from unpaired import devices
from unpaired.config import override, read_yaml
from unpaired.recipes import Config, fast
from unpaired.runs import train
from unpaired.training import autocast as precision
from unpaired.training.autocast import precision_on, resolve_precision
from unpaired.training.run_config import RunConfig

CPU = torch.device("cpu")
AUTO = RunConfig(precision="auto")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    return monkeypatch


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    return monkeypatch


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, False),
        ({"avx512_bf16": False, "avx2": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_a_processor_is_asked_for_its_extensions(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert devices.has_bf16(CPU) is expected
    assert devices.has_bf16(torch.device("mps")) is False


@pytest.mark.usefixtures("known")
def test_auto_is_bf16_where_the_device_is_made_for_it(said: list[str]) -> None:
    assert precision_on(CPU, AUTO) == "bf16"
    assert resolve_precision(AUTO, None, CPU).precision == "bf16"
    assert said == []


@pytest.mark.usefixtures("unknown")
def test_auto_is_fp32_elsewhere_and_says_so(said: list[str]) -> None:
    assert precision_on(CPU, AUTO) == "fp32"
    assert resolve_precision(AUTO, None, CPU).precision == "fp32"
    assert said == ["This cpu has no instructions for bfloat16, so the run computes in float32."]


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("before", [None, "bf16"])
def test_bf16_on_such_a_device_is_done_and_its_price_told(before: str | None, said: list[str]) -> None:
    """Asked for by name, or by a run that was begun elsewhere and must not become another one."""
    asked = RunConfig(precision="bf16")
    found = resolve_precision(AUTO if before else asked, asked if before else None, CPU)
    assert found.precision == "bf16"
    (sentence,) = said
    assert "many times as long" in sentence
    assert "--run.precision auto" in sentence


def test_fast_takes_what_suits_the_device() -> None:
    assert fast().run.precision == "auto"


def test_a_run_keeps_the_precision_it_began_in(
    drawn_folders: Path, tmp_path: Path, unknown: pytest.MonkeyPatch
) -> None:
    settings = {"data.root": str(drawn_folders), "schedule.num_steps": 4, "run.precision": "auto"}
    config = override(config_of("cyclegan"), settings)
    whole = train(override(config, {"run.precision": "fp32"}), out=tmp_path / "whole")
    train(override(config, {"run.checkpoint_every": 2}), out=tmp_path / "run")
    assert read_yaml(Config, tmp_path / "run" / "config.yaml").run.precision == "fp32"
    for folder in (tmp_path / "run" / "checkpoints").glob("*4"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    unknown.setattr(precision, "has_bf16", lambda device: True)  # another machine
    again = train(config, out=tmp_path / "run")
    assert again.step == 4
    assert again.state_sha256 == whole.state_sha256
    assert read_yaml(Config, tmp_path / "run" / "config.yaml").run.precision == "fp32"
