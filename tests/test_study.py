"""Making studies: one command, one page; no image is shown twice, and the page does not reveal its key."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from simulated import Person, lines_of, session_of, toy_key, written
from unpaired.cli import main
from unpaired.errors import ConfigError, DataError, NonFiniteError, OutputError
from unpaired.images import Image, write_image
from unpaired.models.domain_values import DomainValues
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.scenes.draw import draw_dataset
from unpaired.study.image_choice import Counts
from unpaired.study.making import PAGE, make_study
from unpaired.study.page_images import encoded
from unpaired.study.study_key import Rule, StudyKey, read_key
from unpaired.study.study_page import to_page
from unpaired.study.study_settings import StudySettings, consent_text
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

SMALL = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1)
COUNTS = Counts(practice=2, scored=6, checks=4)
SETTINGS = StudySettings(counts=COUNTS)
UNLIMITED = replace(COUNTS, practice=0)


def untrained(folder: Path, *, seed: int = 0, channels: tuple[int, int] = (3, 3), size: int = 32, **about: Any) -> Path:
    a, b = channels
    directions = {
        "AtoB": DirectionInfo(generator=SMALL, in_channels=a, out_channels=b),
        "BtoA": DirectionInfo(generator=SMALL, in_channels=b, out_channels=a),
    }
    training = TrainingInfo(step=0, seed=seed, load_size=size, crop_size=size, objective="cyclegan")
    info = ModelInfo(directions=directions, domains={"A": "summer", "B": "winter"}, training=training, **about)
    networks = {
        name: initialised(SMALL.build(one.in_channels, one.out_channels), seed, name)
        for name, one in directions.items()
    }
    write_model(folder, info, networks)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-six paired test scenes, and two for training."""
    folder = tmp_path_factory.mktemp("scenes") / "summer2winter"
    draw_dataset(folder, a="summer", b="winter", count=2, size=40, num_test=26)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three untrained models."""
    folder = tmp_path_factory.mktemp("models")
    return [untrained(folder / name, seed=seed) for seed, name in enumerate(("alpha", "beta", "gamma"))]


@pytest.fixture(scope="module")
def made(models: list[Path], scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of one model."""
    out = tmp_path_factory.mktemp("made") / "study"
    make_study(models[:1], scenes, out, settings=SETTINGS)
    return out


def data_of(folder: Path) -> dict[str, Any]:
    """Return the data that the page holds."""
    page = (folder / PAGE).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in data_of(folder)["images"].items()}


def chunks(png: bytes) -> list[str]:
    """Return the names of the chunks of a PNG file."""
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8].decode())
        at += 12 + length
    return found


def test_the_same_call_makes_the_same_files_and_another_seed_other_ones(
    made: Path, models: list[Path], scenes: Path, tmp_path: Path
) -> None:
    make_study(models[:1], scenes, tmp_path / "again", settings=SETTINGS)
    make_study(models[:1], scenes, tmp_path / "other", settings=replace(SETTINGS, seed=1))
    for name in (PAGE, Path("key.json")):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (made / name).read_bytes()
    assert read_key(made / "key.json").study != read_key(tmp_path / "other" / "key.json").study


def test_the_key_of_another_study_is_not_replaced(models: list[Path], scenes: Path, tmp_path: Path) -> None:
    make_study(models[:1], scenes, tmp_path, settings=SETTINGS)
    kept = (tmp_path / "key.json").read_bytes()
    make_study(models[:1], scenes, tmp_path, settings=SETTINGS)
    for other in (replace(SETTINGS, seed=1), replace(SETTINGS, rule=Rule(max_failed_checks=4))):
        with pytest.raises(OutputError, match="holds the key of another study, or of this one with another rule"):
            make_study(models[:1], scenes, tmp_path, settings=other)
    assert (tmp_path / "key.json").read_bytes() == kept
    (tmp_path / "key.json").write_bytes(b"{")
    with pytest.raises(OutputError, match=r"remove .*key\.json if nobody has answered"):
        make_study(models[:1], scenes, tmp_path, settings=SETTINGS)


def test_no_image_is_shown_twice_and_a_pair_is_of_two_scenes(made: Path) -> None:
    key = read_key(made / "key.json")
    (trials,) = key.sets
    assert [len(trials.of(part)) for part in ("practice", "scored", "check")] == [2, 6, 4]  # type: ignore[arg-type]
    shown = [name for trial in trials.trials for name in trial.images]
    assert len(set(shown)) == len(shown) == len(key.images) == 24
    files = list(files_of(made).values())
    assert len(set(files)) == 24 - 1  # mid-grey occurs twice
    for trial in trials.trials:
        origins = [key.images[name] for name in trial.images]
        assert "real" in {origin.source for origin in origins}
        assert len({origin.name for origin in origins}) == 2
        if trial.part == "check":
            assert {origin.source for origin in origins} in ({"real", "noise"}, {"real", "flat"})
    for source, count in (("real", 12), ("model", 8)):
        names = [origin.name for origin in key.images.values() if origin.source == source]
        assert len(set(names)) == len(names) == count


@pytest.mark.parametrize("num_test", [8, 9])
def test_pairs_are_of_two_scenes_even_if_every_image_is_needed(
    models: list[Path], tmp_path: Path, num_test: int
) -> None:
    draw_dataset(tmp_path / "data", a="summer", b="winter", count=1, size=32, num_test=num_test)
    counts = Counts(practice=2, scored=6, checks=num_test - 8)
    key = make_study(models[:1], tmp_path / "data", tmp_path / "out", settings=replace(SETTINGS, counts=counts))
    for trial in key.sets[0].trials:
        assert len({key.images[name].name for name in trial.images}) == 2


def test_the_page_holds_the_answers_of_the_practice_trials_alone(made: Path) -> None:
    key, page = read_key(made / "key.json"), (made / PAGE).read_text(encoding="utf-8")
    data = data_of(made)
    for trial in data["sets"][0]["practice"]:
        assert key.images[trial["real"]].source == "real"
    for part in ("scored", "check"):
        assert all(set(trial) == {"trial", "images"} for trial in data["sets"][0][part])
    for word in (*key.models, "noise", "scene-", "testB", "testA", str(key.facts["data"]), key.facts["data_sha256"]):
        assert word not in page
    assert set(data) == {"schema", "study", "kind", "seconds", "size", "sets", "images"}


def test_files_of_real_and_translated_images_are_of_one_kind_and_length(made: Path) -> None:
    files = files_of(made)
    assert len({len(file) for file in files.values()}) == 1
    assert {tuple(chunks(file)) for file in files.values()} == {("IHDR", "IDAT", "IEND")}
    for file in files.values():
        with PIL.Image.open(io.BytesIO(file)) as picture:
            assert (picture.mode, picture.size, picture.info) == ("RGB", (32, 32), {})


def test_neither_order_nor_side_nor_name_reveals_the_real_image(
    models: list[Path], scenes: Path, tmp_path: Path
) -> None:
    first = by_name = earlier = count = 0
    for seed in range(12):
        key = make_study(models[:1], scenes, tmp_path / str(seed), settings=replace(SETTINGS, seed=seed))
        names = list(data_of(tmp_path / str(seed))["images"])
        assert names == sorted(names)
        for part in ("practice", "scored", "check"):
            trials = key.sets[0].of(part)  # type: ignore[arg-type]
            assert [trial.id for trial in trials] == sorted(trial.id for trial in trials)
            real_first = [key.images[trial.images[0]].source == "real" for trial in trials]
            assert sum(real_first) == len(trials) / 2
            first += sum(real_first[::2])
            earlier += len(real_first[::2])
            by_name += sum(
                (trial.images[0] < trial.images[1]) == one for trial, one in zip(trials, real_first, strict=True)
            )
            count += len(trials)
    assert 0.3 < first / earlier < 0.7
    assert 0.38 < by_name / count < 0.62


def test_the_images_are_the_ones_that_the_key_names(made: Path, scenes: Path) -> None:
    from unpaired.images import read_image, resize

    key, files = read_key(made / "key.json"), files_of(made)
    for name, origin in key.images.items():
        pixels = np.asarray(PIL.Image.open(io.BytesIO(files[name]))).astype(int)
        if origin.source == "real":
            expected = resize(read_image(scenes / "testB" / origin.name), (32, 32)).pixels
            assert np.abs(pixels - expected).max() <= 1
        elif origin.source == "flat":
            assert set(pixels.ravel()) == {128}
        elif origin.source == "noise":
            assert pixels.std() > 60


def test_each_of_several_models_has_a_set_with_its_own_real_images(
    models: list[Path], scenes: Path, tmp_path: Path
) -> None:
    key = make_study(models[:2], scenes, tmp_path / "two", settings=SETTINGS)
    assert (key.models, [each.models for each in key.sets]) == (("alpha", "beta"), [(0,), (1,)])
    real: list[set[str]] = []
    fake: list[set[str]] = []
    for number, trials in enumerate(key.sets):
        origins = [key.images[name] for trial in trials.trials for name in trial.images]
        assert {origin.model for origin in origins} == {-1, number}
        real.append({origin.name for origin in origins if origin.source == "real"})
        fake.append({origin.name for origin in origins if origin.source == "model"})
    assert not real[0] & real[1]
    assert fake[0] == fake[1]
    with pytest.raises(
        DataError, match="needs 36 test images of domain B, as no image is shown twice, and there are 26"
    ):
        make_study(models, scenes, tmp_path / "three", settings=SETTINGS)


def test_a_preference_shows_an_input_and_two_translations_of_it(
    models: list[Path], scenes: Path, tmp_path: Path
) -> None:
    settings = StudySettings(kind="preference", counts=UNLIMITED)
    key = make_study(models[:2], scenes, tmp_path / "out", settings=settings)
    (trials,) = key.sets
    assert (key.seconds, trials.models, len(trials.of("scored")), len(trials.of("check"))) == (0, (0, 1), 6, 4)
    for trial in trials.trials:
        assert key.images[trial.given].source == "input"
        origins = [key.images[name] for name in trial.images]
        if trial.part == "scored":
            assert {origin.model for origin in origins} == {0, 1}
            assert {origin.name for origin in origins} == {key.images[trial.given].name}
    assert {key.images[name].model for trial in trials.of("check") for name in trial.images} == {-1, 0, 1}
    assert "real" not in (tmp_path / "out" / PAGE).read_text(encoding="utf-8").split("<script>")[0]


def test_readers_rank_the_models_and_the_real_image_of_paired_data(
    models: list[Path], scenes: Path, tmp_path: Path
) -> None:
    counts = Counts(practice=0, scored=5, checks=0)
    settings = StudySettings(kind="readers", counts=counts, rank_real=True)
    key = make_study(models, scenes, tmp_path / "out", settings=settings)
    orders = set()
    for trial in key.sets[0].trials:
        origins = [key.images[name] for name in trial.images]
        assert sorted(origin.model for origin in origins) == [-1, 0, 1, 2]
        assert len({origin.name for origin in (*origins, key.images[trial.given])}) == 1
        orders.add(tuple(origin.model for origin in origins))
    assert len(orders) > 1
    unpaired = replace(settings, truth=False)
    with pytest.raises(ConfigError, match="--rank-real needs paired test images"):
        make_study(models, scenes, tmp_path / "no", settings=unpaired)


@pytest.mark.parametrize(
    ("settings", "count", "sentence"),
    [
        ({"kind": "quiz"}, 1, "Unknown kind of study 'quiz'"),
        ({"seconds": 0.01}, 1, "--seconds must be 0 or 0.05 to 60, not 0.01"),
        ({"seconds": float("nan")}, 1, "--seconds must be 0 or 0.05 to 60, not nan"),
        ({"seed": -1}, 1, "--seed must be at least 0, not -1"),
        ({"rank_real": True}, 1, "--rank-real needs --kind readers"),
        ({"kind": "readers"}, 1, "Readers rank 2 to 9 images, not 1"),
        ({"kind": "readers", "seconds": 1.0}, 2, "A readers' study is untimed"),
        ({"kind": "readers", "counts": COUNTS}, 2, "neither practice trials nor attention checks"),
        ({"kind": "preference"}, 1, "A preference study compares two models, not 1; give RUN RUN2 DATA"),
        ({"kind": "preference"}, 3, "A preference study compares two models, not 3"),
        ({}, 0, "A study needs at least one RUN, and DATA after it"),
        ({"size": 3}, 1, "--size must be"),
        ({}, 1, "needs 50 test images of domain A"),
    ],
)
def test_settings_that_make_no_study_are_refused_in_one_sentence(
    models: list[Path], scenes: Path, tmp_path: Path, settings: dict[str, Any], count: int, sentence: str
) -> None:
    with pytest.raises((ConfigError, DataError)) as error:
        make_study(models[:count], scenes, tmp_path / "out", settings=StudySettings(**settings))
    assert sentence in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"scored": 0}, {"practice": -1}, {"checks": -1}])
def test_counts_without_sense_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least"):
        Counts(**change)


def test_models_of_different_sizes_need_a_size(models: list[Path], scenes: Path, tmp_path: Path) -> None:
    other = untrained(tmp_path / "other", size=40)
    settings = replace(SETTINGS, counts=Counts(practice=0, scored=2, checks=1))
    with pytest.raises(ConfigError, match="trained at different or unknown sizes; give --size"):
        make_study([models[0], other], scenes, tmp_path / "out", settings=settings)
    key = make_study([models[0], other], scenes, tmp_path / "out", settings=replace(settings, size=40))
    assert key.facts["size"] == 40


def test_models_of_one_name_are_named_by_their_folders(models: list[Path], scenes: Path, tmp_path: Path) -> None:
    settings = StudySettings(kind="preference", counts=Counts(practice=0, scored=2, checks=0))
    paths = [untrained(tmp_path / name / "run", seed=seed) for seed, name in enumerate("xy")]
    assert make_study(paths, scenes, tmp_path / "out", settings=settings).models == ("x/run", "y/run")
    same = make_study([paths[0]] * 2, scenes, tmp_path / "same", settings=settings)
    assert same.models == ("run (1)", "run (2)")


def test_a_page_that_would_be_too_large_is_refused(
    models: list[Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.study import making

    monkeypatch.setattr(making, "MAX_PAGE", 50_000)
    with pytest.raises(ConfigError, match="more than the limit of 0; lower --size or --trials"):
        make_study(models[:1], scenes, tmp_path / "out", settings=SETTINGS)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_channels_are_shown_in_colour_files_of_one_length(channels: int) -> None:
    image = torch.rand(channels, 24, 24) * 2 - 1
    picture = PIL.Image.open(io.BytesIO(encoded(image)))
    pixels = (image.clamp(-1, 1) * 127.5 + 127.5).round().permute(1, 2, 0).numpy()
    expected = pixels[:, :, :3] if channels >= 3 else pixels[:, :, :1].repeat(3, axis=2)
    assert np.array_equal(np.asarray(picture), expected)
    assert len(encoded(image)) == len(encoded(torch.zeros(3, 24, 24)))


def test_a_translation_with_nan_is_an_error() -> None:
    with pytest.raises(NonFiniteError):
        encoded(torch.full((3, 8, 8), float("nan")))


def test_images_of_16_bits_and_label_maps_are_shown_as_the_evaluation_takes_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for domain in "AB":
        (tmp_path / "data" / f"test{domain}").mkdir(parents=True)
        for number in range(6):
            if domain == "A":
                pixels = generator.integers(0, 4096, (36, 40, 1)).astype(np.uint16)
            else:
                pixels = np.repeat(np.repeat(generator.integers(0, 3, (9, 10, 1)), 4, 0), 4, 1).astype(np.uint8) * 100
            write_image(tmp_path / "data" / f"test{domain}" / f"{domain}{number}.png", Image(pixels))
    values = {
        "A": DomainValues(range=_range(0, 4095), dtype="uint16"),
        "B": DomainValues(resize="nearest", dtype="uint8"),
    }
    model = untrained(tmp_path / "model", channels=(1, 1), values=values)
    settings = replace(SETTINGS, counts=Counts(practice=1, scored=2, checks=2))
    for direction in ("AtoB", "BtoA"):
        out = tmp_path / direction
        key = make_study([model], tmp_path / "data", out, settings=replace(settings, direction=direction))
        for name, file in files_of(out).items():
            pixels = np.asarray(PIL.Image.open(io.BytesIO(file)))
            assert pixels.shape == (32, 32, 3)
            if key.images[name].source == "real" and direction == "AtoB":
                assert set(pixels.ravel()) <= {0, 100, 200}  # nearest neighbours mix no classes
            elif key.images[name].source == "real":
                assert pixels.max() > 200  # the whole range of 12 bits is used


def _range(low: float, high: float) -> Any:
    from unpaired.images import ValueRange

    return ValueRange((low, high))


def test_the_consent_of_the_researcher_is_shown_as_text(models: list[Path], scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "consent.txt").write_text("Ethics vote 12.\n\nAsk <b>us</b>.\n", encoding="utf-8")
    settings = replace(SETTINGS, consent=consent_text(tmp_path / "consent.txt"), question="Which <is> real?")
    make_study(models[:1], scenes, tmp_path / "out", settings=settings)
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert "<p>Ethics vote 12.</p><p>Ask &lt;b&gt;us&lt;/b&gt;.</p>" in page
    assert "Which &lt;is&gt; real?" in page
    (tmp_path / "consent.txt").write_bytes(b" \n")
    with pytest.raises(ConfigError, match="is empty"):
        consent_text(tmp_path / "consent.txt")
    (tmp_path / "consent.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not text in UTF-8"):
        consent_text(tmp_path / "consent.txt")
    with pytest.raises(ConfigError, match="Cannot read --consent"):
        consent_text(tmp_path / "none.txt")


def text_of(key: StudyKey) -> str:
    """Return the instructions on the page of a study without its images."""
    page = to_page(key, {})
    return " ".join(page.partition("</h1>\n<p>")[2].partition("</p>")[0].split())


def test_the_instructions_are_those_of_the_kind_and_its_times() -> None:
    key = toy_key()
    assert text_of(key) == (
        "You will see pairs of images, one real and one made by a computer. They disappear after 1 second; there is no "
        "time limit for your answer. Choose the real one. 46 trials without feedback follow."
    )
    assert "disappear" not in text_of(replace(key, seconds=0))
    preference = toy_key("preference", models=("a", "b"), seconds=0.5)
    assert "The translations disappear after 0.5 seconds" in text_of(preference)
    assert text_of(preference).endswith("Choose the better translation, in 46 trials.")
    readers = toy_key("readers", models=("a", "b"), scored=1, checks=0, seconds=0)
    assert "add a comment if you like, in 1 case. There is no time limit." in text_of(readers)


def test_a_study_is_made_answered_and_analysed_from_the_shell(
    models: list[Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    small = ["--trials", "8", "--practice", "1", "--checks", "4", "--out", str(out)]
    with pytest.raises(SystemExit) as left:
        main(["study", "make", str(models[0]), str(scenes), *small])
    assert left.value.code == 0
    assert "participants/study.html, and keep" in capsys.readouterr().out
    key: StudyKey = read_key(out / "key.json")
    generator = np.random.default_rng(0)
    for number in range(5):
        session = session_of(Person(0.25), key, generator)
        written(out / "answers" / f"{number}.jsonl", lines_of(session, key))
    (out / "answers" / "damaged.jsonl").write_bytes(b"{")
    with pytest.raises(SystemExit) as left:
        main(["study", "analyse", str(out)])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "| alpha |" in printed
    assert "damaged.jsonl is not an answer file of a study page; leave it out." in printed
    assert "26.8 ± 2.8" in printed
    assert (out / "analysis.md").read_text(encoding="utf-8") in printed
    data = json.loads((out / "analysis.json").read_bytes())
    assert data["fooled"]["alpha"]["num_participants"] == 5
    with pytest.raises(SystemExit) as left:
        main(["study", "analyse", str(tmp_path / "nowhere")])
    assert left.value.code == 65
    assert "There is no key.json" in capsys.readouterr().err
