"""model.json, its "trust", config.yaml and data.json with any value anywhere: they load, or fail with one sentence."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from unpaired import cli
from unpaired.errors import DataError, ModelError, UnpairedError
from unpaired.images import Image, write_image
from unpaired.models.selection_info import ChoiceInfo
from unpaired.networks import DCGANGenerator, PatchGAN, ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.recipes import Config
from unpaired.runs import info as run_info
from unpaired.runs import train
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, Translator, write_model
from unpaired.translate.sampling import Sampler
from unpaired.trust.score import measure
from unpaired.trust.scored import load_scorer
from unpaired.trust.trust_file import JudgeInfo, pack

SMALL = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1)
JUDGE = PatchGAN(base_channels=2, num_layers=1)
BLACK = Image(np.zeros((40, 40, 3), np.uint8))

VALUES = {
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "nan": math.nan,
    "huge": 10**400,
    "beyond 64 bits": 2**64,
    "below zero": -1,
    "zero": 0,
    "a half": 0.5,
    "no text": "",
    "infinite text": "1e999",
    "no letter": "\udcff",
    "control": "\x1b]0;title\x07\n",
    "long": "a" * 10**5,
    "null": None,
    "list": [],
    "nested": [[None, {}]],
    "infinities": [math.inf] * 3,
    "mapping": {"a": {"b": [1]}},
    "true": True,
}


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value within."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


def with_value(data: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value in one place."""
    if not at:
        return value
    changed = copy.deepcopy(data)
    node = changed
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = value
    return changed


def about(**settings: Any) -> ModelInfo:
    chosen = ChoiceInfo(run_step=3, looks=2, rule="r", held_out="h", images_a=("aa",), images_b=("bb",))
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    return ModelInfo(domains={"A": "summer", "B": "winter"}, training=training, choice=chosen, **settings)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of both directions, with all that `--scores` compares with."""
    folder = tmp_path_factory.mktemp("described") / "model"
    info = about(directions={name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")})
    networks = {name: initialised(SMALL.build(3, 3), 0, name) for name in info.directions}
    translator = Translator(info, networks, device="cpu")
    images = {domain: torch.rand(20, 3, 32, 32) * 2 - 1 for domain in "AB"}
    reference = measure(translator, images, {domain: JUDGE.build(3) for domain in "AB"}, networks)
    judges = {domain: JudgeInfo(discriminator=JUDGE, in_channels=3) for domain in "AB"}
    write_model(folder, info, networks, trust=pack(reference, judges))
    return folder


def sentence_of(work: Callable[[Path], object], folder: Path) -> str:
    """Return the error message of an action, "" if it succeeds."""
    try:
        work(folder)
    except UnpairedError as error:
        return str(error)
    return ""


def use(folder: Path) -> None:
    """Use a model for all that it is for."""
    translator = Translator.load(folder, device="cpu")
    scorer = load_scorer(translator, folder, "AtoB")
    json.dumps(vars(translator.info.training), allow_nan=False)
    assert 0 < scorer(BLACK, translator(BLACK)).score <= 1


def used(folder: Path) -> str:
    """Return the error message when a model is used, "" if that succeeds."""
    sentence = sentence_of(use, folder)
    assert sentence.isprintable()
    assert len(sentence) < 1000
    return sentence


@pytest.mark.parametrize("name", VALUES)
def test_any_value_anywhere_in_model_json_is_used_or_refused_in_one_sentence(model: Path, name: str) -> None:
    path = model / "model.json"
    whole = path.read_text(encoding="utf-8")
    data = json.loads(whole)
    try:
        found = {}
        for at in places(data):
            path.write_text(json.dumps(with_value(data, at, VALUES[name])), encoding="utf-8")
            found[at] = used(model)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert len(found) > 60
    assert found[()]
    assert all(found["directions", "AtoB", "generator", key] for key in ("kind", "norm"))
    if name in ("infinity", "minus infinity", "nan", "infinities"):
        loads = {at for at, sentence in found.items() if not sentence}
        assert loads <= {("trust", "weights")}, "all but a name that nothing reads is refused"
    assert not used(model)


@pytest.mark.parametrize("colour", [[1, 2], [1, 2, 3, 4], [256, 0, 0], [-1, 0, 0], [1.0, 2, 3], [True, 1, 1], "123", 7])
def test_a_background_that_is_no_colour_is_refused(model: Path, colour: Any) -> None:
    path = model / "model.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(json.dumps({**json.loads(whole), "background": colour}), encoding="utf-8")
    sentence = used(model)
    path.write_text(whole, encoding="utf-8")
    assert "which is not a colour; publish it again" in sentence


def test_a_size_of_training_that_no_image_had_costs_no_memory(model: Path) -> None:
    path = model / "model.json"
    whole = path.read_text(encoding="utf-8")
    for key, side in (("crop_size", 2**13 + 1), ("load_size", 2**20 + 1), ("crop_size", 0)):
        path.write_text(json.dumps(with_value(json.loads(whole), ("training", key), side)), encoding="utf-8")
        sentence = used(model)
        path.write_text(whole, encoding="utf-8")
        assert f"training.{key} is {side}" in sentence


@pytest.mark.parametrize("verb", ["translate", "evaluate", "sample", "info"])
@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e999", "null", '{"a": [NaN]}'])
def test_every_verb_that_reads_it_leaves_with_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, value: str
) -> None:
    write_image(tmp_path / "x.png", BLACK)
    path = model / "model.json"
    whole = path.read_text(encoding="utf-8")
    try:
        for key in ('"background": [', '"training": {', '"directions": {', '"schema": '):
            start = whole.index(key) + len(key)
            end = whole.index({"[": "]", "{": "}"}.get(key[-1], ","), start)
            path.write_text(whole[:start] + (f'"seed": {value}' if key[-1] == "{" else value) + whole[end:])
            more = [] if verb in ("info", "sample") else [str(tmp_path / "x.png")]
            with pytest.raises(SystemExit) as left:
                cli.main([verb, str(model), *more])
            assert left.value.code in (65, 78)
            err = capsys.readouterr().err
            assert err.startswith("unpaired: ")
            assert err.count("\n") == 1
    finally:
        path.write_text(whole, encoding="utf-8")


def test_a_model_that_draws_is_checked_alike(tmp_path: Path) -> None:
    drawing = DCGANGenerator(size=32, base_channels=2)
    direction = DirectionInfo(generator=drawing, in_channels=4)
    info = about(directions={"AtoB": direction}, classes=("one", "two"))
    write_model(tmp_path / "model", info, {"AtoB": initialised(drawing.build(4, 3), 0, "AtoB")})
    path = tmp_path / "model" / "model.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    assert Sampler.load(tmp_path / "model", device="cpu").classes == ("one", "two")
    for at in [at for at in places(data) if at[:1] in (("classes",), ("directions",), ("value_range",))]:
        for value in (math.inf, math.nan, 10**400, None, [math.inf], {"a": [1]}):
            path.write_text(json.dumps(with_value(data, at, value)), encoding="utf-8")
            with pytest.raises(ModelError):
                Sampler.load(tmp_path / "model", device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, drawn_folders: Path) -> tuple[Path, Config]:
    """A run of one step, and its command."""
    from unpaired.config import override

    settings = {
        "data.root": str(drawn_folders),
        "data.load_size": 36,
        "data.crop_size": 32,
        "generator.base_channels": 2,
        "generator.num_blocks": 1,
        "discriminator.base_channels": 2,
        "discriminator.num_layers": 1,
        "schedule.num_steps": 1,
        "run.device": "cpu",
    }
    config = override(Config(), settings)
    run = train(config, out=tmp_path_factory.mktemp("run") / "run").path
    return run, config


@pytest.mark.parametrize("file", ["data.json", "config.yaml"])
def test_any_value_anywhere_in_what_a_run_was_started_with_is_used_or_refused(
    trained: tuple[Path, Config], file: str
) -> None:
    path, is_yaml = trained[0] / file, file.endswith("yaml")
    whole = path.read_text(encoding="utf-8")
    data = yaml.safe_load(whole) if is_yaml else json.loads(whole)
    values: list[Any] = [math.inf, {"a": {"b": [1]}}] if is_yaml else list(VALUES.values())
    try:
        for at in places(data):
            for value in values:
                changed = with_value(data, at, value)
                path.write_text(yaml.safe_dump(changed) if is_yaml else json.dumps(changed), encoding="utf-8")
                assert sentence_of(run_info, trained[0]).isprintable()
    finally:
        path.write_text(whole, encoding="utf-8")
    assert run_info(trained[0]).step == 1


@pytest.mark.parametrize("file", ["data.json", "images.json"])
@pytest.mark.parametrize(
    "text", ["", "[", "[]", "3", '{"A": 1, "B": []}', '{"A": Infinity}', '{"A": 1e999}', "[" * 10**5]
)
def test_a_run_whose_record_of_its_images_is_damaged_does_not_go_on(
    trained: tuple[Path, Config], file: str, text: str
) -> None:
    run, config = trained
    path = run / file
    whole = path.read_bytes()
    path.write_text(text)
    try:
        with pytest.raises(DataError, match=rf"{file} is damaged \(.*\); copy the run folder again"):
            train(config, out=run)
    finally:
        path.write_bytes(whole)
    assert train(config, out=run).step == 1
