"""The verb `evaluate`: a model's translations of a test set, its figures, its page."""

from __future__ import annotations

import json
import math
import shutil
import unicodedata
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch

from unpaired.cli import main
from unpaired.errors import ConfigError, DataError
from unpaired.evaluation.describe import describe
from unpaired.evaluation.evaluating import Evaluation, Settings, evaluate, evenly_spaced
from unpaired.evaluation.page import ranking, to_html
from unpaired.evaluation.test_set import open_test_set
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.scenes.draw import draw_dataset, draw_pairs
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

SMALL = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen test scenes a domain, of the same names and places."""
    folder = tmp_path_factory.mktemp("scenes") / "summer2winter"
    draw_dataset(folder, a="summer", b="winter", count=2, size=32, num_test=16)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of both directions."""
    directions = {name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")}
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    info = ModelInfo(directions=directions, domains={"A": "summer", "B": "winter"}, training=training)
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, info, {name: initialised(SMALL.build(3, 3), 0, name) for name in directions})
    return folder


@pytest.fixture(scope="module")
def found(model: Path, scenes: Path) -> Evaluation:
    """The evaluation that the tests look at."""
    return evaluate(model, scenes)


def test_matched_names_are_truth_and_both_directions_are_told(found: Evaluation) -> None:
    assert list(found.directions) == ["AtoB", "BtoA"]
    rows = found.directions["AtoB"].rows
    assert {"l1", "psnr", "ssim", "within_5", "cycle_error", "kernel_distance", "swd_1", "coverage"} <= set(rows)
    ssim = rows["ssim"].made
    assert ssim.low <= ssim.value <= ssim.high
    assert rows["ssim"].untranslated is not None
    assert rows["ssim"].untranslated.value > ssim.value  # an untrained network loses more than it wins


def test_an_untrained_model_is_further_from_the_domain_than_its_real_images_are(found: Evaluation) -> None:
    for name in ("kernel_distance", "swd_1"):
        row = found.directions["AtoB"].rows[name]
        assert row.floor is not None
        assert row.made.value > row.floor.value
    assert found.directions["AtoB"].two_sample_p is not None


def test_an_image_left_alone_has_the_figures_of_the_untranslated(scenes: Path, model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    from unpaired.evaluation import evaluating
    from unpaired.translate.translator import Translator

    translator = Translator.load(copy)
    for loaded in translator._loaded.values():
        loaded._forward = lambda images, network: images  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluating.Translator, "load", classmethod(lambda *_, **__: translator))
        same = evaluate(copy, scenes)
    for name in ("l1", "psnr", "ssim"):
        row = same.directions["AtoB"].rows[name]
        assert row.untranslated is not None
        assert row.made.value == pytest.approx(row.untranslated.value, rel=1e-6)
    assert same.directions["AtoB"].rows["cycle_error"].made.value < 1e-6
    assert same.directions["AtoB"].rows["gradient_correlation"].made.value == pytest.approx(1, abs=1e-4)


def test_without_truth_only_what_needs_none_is_told(model: Path, scenes: Path) -> None:
    found = evaluate(model, scenes, settings=Settings(truth=False, count=13))
    assert "psnr" not in found.directions["AtoB"].rows
    assert "coverage" in found.directions["AtoB"].rows
    assert ranking(found.directions["AtoB"])[0] == "cycle_error"


def test_few_images_are_not_compared_as_a_set(model: Path, scenes: Path) -> None:
    found = evaluate(model, scenes, settings=Settings(count=5, batch=2))
    assert "kernel_distance" not in found.directions["AtoB"].rows
    assert len(found.directions["AtoB"].images["ssim"]) == 5
    assert found.directions["AtoB"].two_sample_p is None


def test_sets_with_more_patches_than_a_description_keeps_by_default_are_compared(
    model: Path, scenes: Path, found: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(describe.__kwdefaults__, "max_patch_bytes", 1)
    again = evaluate(model, scenes, settings=Settings(truth=False))
    assert again.directions["AtoB"].rows["swd_1"] == found.directions["AtoB"].rows["swd_1"]


def test_batches_do_not_change_the_figures(model: Path, scenes: Path, found: Evaluation) -> None:
    again = evaluate(model, scenes, settings=Settings(batch=5))
    for name, row in again.directions["BtoA"].rows.items():
        # A level of 255 may round the other way in a batch of another length.
        assert row.made.value == pytest.approx(found.directions["BtoA"].rows[name].made.value, rel=5e-2, abs=5e-2), name


def test_side_by_side_pairs_are_truth(model: Path, tmp_path: Path, said: list[str]) -> None:
    draw_pairs(tmp_path / "pairs", a="summer", b="winter", count=2, size=32, num_test=3)
    tests = open_test_set(tmp_path / "pairs")
    assert (tests.truth, len(tests.a), len(tests.b)) == (True, 3, 3)
    said.clear()
    assert "ssim" in evaluate(model, tmp_path / "pairs").directions["AtoB"].rows
    assert said[0] == (
        "Images of A and B are pairs side by side, and taken as each other's truth; --no-truth if they are not."
    )


def test_names_of_composed_and_of_decomposed_letters_are_truth(model: Path, tmp_path: Path, said: list[str]) -> None:
    draw_dataset(tmp_path, a="summer", b="winter", count=1, size=32, num_test=2)
    for domain, form in (("A", "NFC"), ("B", "NFD")):
        (tmp_path / f"test{domain}" / "scene-000000.png").rename(
            tmp_path / f"test{domain}" / f"{unicodedata.normalize(form, 'año')}.png"
        )
    tests = open_test_set(tmp_path)
    assert tests.truth
    assert [unicodedata.normalize("NFC", tests.b.name(index)) for index in range(2)] == [
        unicodedata.normalize("NFC", tests.a.name(index)) for index in range(2)
    ]
    said.clear()
    evaluate(model, tmp_path)
    assert said[0].startswith("Images of A and B are matched by name, and taken as each other's truth")


def test_other_names_are_no_truth_and_asking_for_it_is_an_error(scenes: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(scenes, tmp_path / "copy")
    (copy / "testA" / "scene-000000.png").rename(copy / "testA" / "other.png")
    assert not open_test_set(copy).truth
    with pytest.raises(DataError, match="no partner"):
        open_test_set(copy, truth=True)


def test_a_folder_without_test_half_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="testA and testB"):
        open_test_set(tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        open_test_set(tmp_path / "absent")


def test_the_fingerprint_knows_every_byte(scenes: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(scenes, tmp_path / "copy")
    assert open_test_set(copy).fingerprint() == open_test_set(scenes).fingerprint()
    path = copy / "testB" / "scene-000003.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert open_test_set(copy).fingerprint() != open_test_set(scenes).fingerprint()


def test_json_has_intervals_images_and_no_infinity(found: Evaluation) -> None:
    reported = json.loads(found.to_json())
    row = reported["directions"]["AtoB"]["figures"]["ssim"]
    assert row["made"]["low"] <= row["made"]["value"] <= row["made"]["high"]
    assert len(reported["directions"]["AtoB"]["images"]) == 16
    assert reported["data_sha256"] == found.facts["data_sha256"]
    assert "Infinity" not in found.to_json()
    infinite = found.directions["AtoB"].images["psnr"].clone().fill_(math.inf)
    found.directions["BtoA"].images["psnr"][:1] = infinite[:1]
    assert "Infinity" not in found.to_json()


def test_the_page_ranks_worst_to_best_and_escapes(found: Evaluation, model: Path, scenes: Path) -> None:
    result = found.directions["AtoB"]
    name, order = ranking(result)
    values = result.images[name][order]
    assert name == "ssim"
    assert torch.equal(values, values.sort().values)
    page = to_html(found, str(model), str(scenes), command="unpaired evaluate <b>")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count("data:image/png;base64,") == 2 * 3 * 4
    assert "http" not in page.replace("http-equiv", "")


def test_spread_takes_images_from_everywhere() -> None:
    assert evenly_spaced(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly_spaced(3, 3).tolist() == [0, 1, 2]


def test_settings_out_of_range_are_told() -> None:
    with pytest.raises(ConfigError, match="--count"):
        Settings(count=0)
    with pytest.raises(ConfigError, match="--size"):
        Settings(size=8)


def test_a_model_of_images_too_small_for_the_figures_is_told_what_to_give(scenes: Path, tmp_path: Path) -> None:
    training = TrainingInfo(step=0, seed=0, load_size=8, crop_size=8, objective="cyclegan")
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=SMALL)}, domains={"A": "summer", "B": "winter"}, training=training
    )
    write_model(tmp_path / "model", info, {"AtoB": initialised(SMALL.build(3, 3), 0, "AtoB")})
    with pytest.raises(ConfigError, match=r"trained at 8 x 8 pixels, and figures need at least 16; .*--size"):
        evaluate(tmp_path / "model", scenes)
    assert evaluate(tmp_path / "model", scenes, settings=Settings(size=16, count=2)).facts["size"] == 16


def test_the_verb_writes_json_and_page(
    model: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["unpaired", "evaluate", "MODEL", "DATA"])
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(model), str(scenes), "--out", str(tmp_path / "out"), "--count", "4"])
    assert end.value.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.html", "evaluation.json"]
    printed = capsys.readouterr().out
    assert "summer → winter" in printed
    assert "Verdict: summer to winter: " in printed
    reported = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert reported["command"] == "unpaired evaluate MODEL DATA"
    verdict = reported["directions"]["AtoB"]["verdict"]
    assert verdict["sentence"] in printed.replace("\n", " ")
    assert escape(verdict["sentence"]) in (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "sentence"), [({"count": 0}, "number of images"), ({"metrics": (3,)}, "3 is no metric")]
)
def test_wrong_settings_of_an_evaluation_are_named(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Settings(**given)
