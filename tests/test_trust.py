"""Trust in translations: shares of training images, the file of their reference, the table, the best share."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import safetensors.torch
import torch
from torch import Tensor

from unpaired.artifacts.run_folder import RunFolder
from unpaired.cli import main
from unpaired.config import read_yaml
from unpaired.errors import ConfigError, ModelError
from unpaired.images import Image, read_image
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.runs.verify import verify
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate import Job, Translator
from unpaired.trust.fitting import publish_trust
from unpaired.trust.ood import DistanceDistribution, OODScore, squares
from unpaired.trust.score import COMPONENTS, Trust, shares
from unpaired.trust.scored import best, load_scorer, parse_share
from unpaired.trust.trust_file import read_reference


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two steps on 24 scenes a domain, with averaged weights; never changed."""
    from unpaired.data.datasets import DataConfig
    from unpaired.networks import PatchGAN, ResNetGenerator
    from unpaired.objectives import CycleGAN
    from unpaired.training.run_config import RunConfig
    from unpaired.training.schedule import ScheduleConfig
    from unpaired.training.state import OptimizerConfig

    root = tmp_path_factory.mktemp("trust")
    for split, style in {"trainA": "summer", "trainB": "winter"}.items():
        _draw(root / "data" / split, style, split, 24)
    config = Config(
        data=DataConfig(root=str(root / "data"), load_size=36, crop_size=32),
        objective=CycleGAN(pool_size=3),
        generator=ResNetGenerator(base_channels=4, num_blocks=1),
        discriminator=PatchGAN(base_channels=4, num_layers=1),
        optimizer=OptimizerConfig(ema_decay=0.5),
        schedule=ScheduleConfig(num_steps=2),
        run=RunConfig(device="cpu", num_threads=1, log_every=1, sample_every=2, num_samples=1, checkpoint_every=2),
    )
    train(config, out=root / "run")  # which measures at its end
    return root / "run"


def _draw(folder: Path, style: str, split: str, count: int) -> None:
    folder.mkdir(parents=True)
    for number, seed in enumerate(scene_seeds(split, count, seed=1)):
        PIL.Image.fromarray(draw_scene(seed, style, 32)).save(folder / f"{style}-{number:03d}.png")


def _mixed(folder: Path) -> Path:
    """Four summer scenes and one picture of noise."""
    _draw(folder, "summer", "test", 4)
    noise = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    PIL.Image.fromarray(noise.numpy()).save(folder / "zz-noise.png")
    return folder


def _code(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_share_counts_those_that_are_as_large_and_the_value_itself() -> None:
    known = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert shares(torch.tensor([0.0, 2.0, 2.5, 9.0]), known).tolist() == pytest.approx([1.0, 0.8, 0.6, 0.2])
    assert shares(known, known, own=True).tolist() == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_a_finished_run_says_what_its_training_images_were_like(run: Path) -> None:
    entry = json.loads((run / "model" / "model.json").read_text())["trust"]
    data = (run / "model" / "trust.safetensors").read_bytes()
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    reference = read_reference(run, Translator.load(run).info)
    assert set(reference.symptoms) == {"AtoB", "BtoA"}
    for symptoms in reference.symptoms.values():
        assert tuple(symptoms) == COMPONENTS
        assert all(len(values) == 24 for values in symptoms.values())


def test_running_a_finished_run_again_adds_what_is_missing_and_changes_nothing_else(run: Path, tmp_path: Path) -> None:
    from unpaired.config import read_yaml

    copy = shutil.copytree(run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (copy / "model").iterdir()}
    described = json.loads(before["model.json"])
    del described["trust"]
    (copy / "model" / "model.json").write_text(json.dumps(described))
    (copy / "model" / "trust.safetensors").unlink()
    train(read_yaml(Config, copy / "config.yaml"), out=copy)
    publish_trust(RunFolder(copy), 256)
    assert {path.name: path.read_bytes() for path in (copy / "model").iterdir()} == before


def test_scores_of_training_images_are_spread_evenly(run: Path) -> None:
    translator = Translator.load(run, device="cpu")
    scorer = load_scorer(translator, run, "AtoB")
    scores = []
    for path in sorted((run.parent / "data" / "trainA").iterdir()):
        image = read_image(path)
        (made,) = translator.translate_images([image])
        scores.append(scorer(image, made).score)
    # OODScore includes each training image itself, so these are only about even.
    assert all(0 < score <= 1 for score in scores)
    assert min(scores) < 0.35 < 0.65 < max(scores)


@pytest.mark.parametrize(("resize", "said"), [("native", True), ("trained", False)])
def test_the_size_is_a_reason_only_if_images_keep_theirs(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], resize: str, said: bool
) -> None:
    noise = _mixed(tmp_path / "in") / "zz-noise.png"
    out = tmp_path / "out"
    assert _code("translate", run, noise, "--out", out, "--scores", "--device", "cpu", "--resize", resize) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 are out of distribution" in printed
    assert ("Training resized images to 36 pixels" in printed) is said


def test_noise_among_scenes_is_called_foreign_though_a_share_of_24_images_cannot_say_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = _mixed(tmp_path / "in"), tmp_path / "out"
    assert _code("translate", run, folder, "--out", out, "--scores", "--device", "cpu") == 0
    assert f"1 of 5 are out of distribution for A: {folder / 'zz-noise.png'}" in capsys.readouterr().out
    rows = _rows(out / "scores.csv")
    assert [row["foreign"] for row in rows] == ["no"] * 4 + ["yes"]
    assert float(rows[-1]["typicality_spreads"]) > 5 > 2.6 > max(float(row["typicality_spreads"]) for row in rows[:-1])
    assert [Path(row["output"]).name for row in rows] == sorted(path.name for path in out.glob("*.png"))
    parts = [float(row["typicality"]) for row in rows]
    assert min(parts) == parts[-1] == pytest.approx(1 / 25, rel=1e-3)
    measured = [float(row["typicality_measured"]) for row in rows]
    assert measured[-1] > 2 * max(measured[:-1])


def test_only_the_best_are_written_and_the_others_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = _mixed(tmp_path / "in"), tmp_path / "out"
    assert _code("translate", run, folder, "--out", out, "--keep-best", "40 %", "--device", "cpu") == 0
    rows = _rows(out / "scores.csv")
    kept = [row for row in rows if row["output"]]
    assert len(rows) == 5
    assert sorted(row["output"] for row in kept) == sorted(path.name for path in out.glob("*.png"))
    assert len(kept) == 2
    assert min(float(row["score"]) for row in kept) >= max(float(row["score"]) for row in rows if not row["output"])
    assert "Kept the 2 most trusted of 5 and left out 3" in capsys.readouterr().out


def test_an_image_that_cannot_be_read_is_named_and_has_no_score(run: Path, tmp_path: Path) -> None:
    folder, out = _mixed(tmp_path / "in"), tmp_path / "out"
    (folder / "broken.png").write_bytes(b"no image")
    assert _code("translate", run, folder, "--out", out, "--keep-best", "0.2", "--device", "cpu") == 65
    assert len(_rows(out / "scores.csv")) == 5
    assert len(list(out.glob("*.png"))) == 1


def test_an_old_table_is_not_replaced_unasked(run: Path, tmp_path: Path) -> None:
    folder, out = _mixed(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    (out / "scores.csv").write_text("mine")
    assert _code("translate", run, folder, "--out", out, "--scores", "--device", "cpu") == 73
    assert (out / "scores.csv").read_text() == "mine"


def test_a_score_is_that_of_the_parts_a_model_has(run: Path) -> None:
    translator = Translator.load(run, device="cpu")
    scorer = load_scorer(translator, run, "AtoB")
    found = scorer.of_symptoms({name: float(values.median()) for name, values in scorer.known.items()})
    assert tuple(found.parts) == COMPONENTS
    assert all(0.4 < part < 0.6 for part in found.parts.values())
    # Nothing is more trusted than an image without any symptom, nothing less than one with all of them.
    assert scorer.of_symptoms(dict.fromkeys(COMPONENTS, -1e9)).score == 1
    assert scorer.of_symptoms(dict.fromkeys(COMPONENTS, 1e9)).score == pytest.approx(1 / 25)


@pytest.mark.parametrize("text", ["20 %", "20%", "0.2", " 0.20 "])
def test_a_share_may_be_written_as_people_do(text: str) -> None:
    assert parse_share(text) == pytest.approx(0.2)


@pytest.mark.parametrize("text", ["0", "120%", "-1", "best", "nan", "20", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--keep-best"):
        parse_share(text)


def test_of_equal_scores_the_one_with_fewer_symptoms_is_kept() -> None:
    jobs = [Job(Path(f"{name}.png"), Path(f"out/{name}.png")) for name in "abc"]
    trusts = {job: Trust(0.5, {}, {"cycle": value}) for job, value in zip(jobs, (0.3, 0.1, 0.2), strict=True)}
    assert best(trusts, 0.34) == [jobs[1]]
    assert best(trusts, 0.01) == [jobs[1]]
    assert best(trusts, 1.0) == jobs


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("typical.A.features"), "typical.A.features"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda tensors: tensors.update({"symptoms.AtoB.cycle": torch.full((24,), float("nan"))}), "NaN"),
        (lambda tensors: tensors.update({"symptoms.AtoB.cycle": torch.zeros(3)}), "symptoms of AtoB"),
        (lambda tensors: tensors.update({"typical.A.features": torch.zeros(24, 641)}), "features of A"),
        (lambda tensors: tensors.update({"judge.B.layers.0.weight": torch.zeros(1)}), "size mismatch"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_a_sentence(run: Path, tmp_path: Path, change, reason: str) -> None:
    model = _changed(run, tmp_path, change)
    with pytest.raises(ModelError, match=reason):
        read_reference(model, Translator.load(model).info)


def test_a_damaged_file_is_refused_and_a_missing_one_explained(run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(run / "model", tmp_path / "model")
    info = Translator.load(model).info
    file = model / "trust.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="SHA-256"):
        read_reference(model, info)
    described = json.loads((model / "model.json").read_text())
    del described["trust"]
    (model / "model.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="unpaired train"):
        read_reference(model, info)


def test_squares_cover_an_image_of_any_size() -> None:
    image = torch.arange(70 * 33, dtype=torch.float32).reshape(1, 70, 33)
    assert set(squares(image, 32).flatten().tolist()) == set(image.flatten().tolist())
    assert squares(image, 32).shape == (6, 1, 32, 32)
    assert squares(image[:, :5, :1], 32).shape == (1, 1, 32, 32)


def test_a_training_image_is_not_compared_with_itself(run: Path) -> None:
    images = _tensor([read_image(path) for path in sorted((run.parent / "data" / "trainA").iterdir())])
    typicality = OODScore.of(images)
    among = typicality.among_themselves()
    alone = torch.tensor([typicality.distance(image) for image in images])
    assert (among > alone).all()


def _tensor(images: list[Image]) -> Tensor:
    from unpaired.images import to_tensor

    return torch.stack([to_tensor(image, 3) for image in images])


# --- out of distribution ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def summers() -> Tensor:
    """456 summer scenes, n 3 32 32."""
    return _scenes("summer", "trainA", 456)


def _scenes(style: str, split: str, count: int) -> Tensor:
    drawn = [draw_scene(seed, style, 32) for seed in scene_seeds(split, count, seed=2)]
    return torch.stack([torch.from_numpy(pixels).permute(2, 0, 1) for pixels in drawn]) / 127.5 - 1


def _rate(images: Tensor, typical: OODScore, spread: DistanceDistribution) -> float:
    """Return the share of images that are called out of distribution."""
    return sum(bool(spread.out_of_distribution(typical.distance(image))) for image in images) / len(images)


@pytest.mark.parametrize("count", [20, 50, 99, 256])
def test_one_in_a_hundred_of_the_same_kind_is_foreign_and_every_image_of_another_kind(
    summers: Tensor, count: int
) -> None:
    own, near = [], []
    for start in range(0, 200, 50):  # of new images, each quarter beside other training images
        new, rest = summers[start : start + 50], torch.cat([summers[:start], summers[start + 50 :]])
        typical = OODScore.of(rest[start : start + count])
        distances = typical.among_themselves()
        own.append(_rate(new, typical, DistanceDistribution(distances)))
        found = torch.tensor([typical.distance(image) for image in new])
        near.append(float((shares(found, distances) <= 0.1).float().mean()))
    assert sum(own) / 4 <= 0.02
    assert 0.03 <= sum(near) / 4 <= 0.17  # a share of x occurs with frequency x
    noise = torch.rand((10, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    strangers = {
        "winter": _scenes("winter", "test", 10),
        "night": _scenes("night", "test", 10),
        "inverted": -summers[:10],
        "upside down": summers[:10].flip(2),
        "noise": noise,
        "one colour": torch.linspace(-1, 1, 10)[:, None, None, None].expand(10, 3, 32, 32),
    }
    assert {
        name: _rate(some, typical, DistanceDistribution(distances)) for name, some in strangers.items()
    } == dict.fromkeys(strangers, 1.0)


def test_a_training_image_is_as_far_from_the_others_as_if_it_had_never_been_among_them(summers: Tensor) -> None:
    among = OODScore.of(summers[:25]).among_themselves()
    for index in (0, 7, 24):
        others = torch.cat([summers[:index], summers[index + 1 : 25]])
        assert float(among[index]) == pytest.approx(OODScore.of(others).distance(summers[index]), rel=1e-4)


def test_the_limit_is_the_upper_end_of_a_prediction_interval() -> None:
    # Student's t at .99 with 19, 49, 98 and 255 degrees of freedom, times the root of 1 + 1 / n.
    for count, quantile in ((20, 2.53948), (50, 2.40489), (99, 2.36500), (256, 2.34106)):
        spread = DistanceDistribution(torch.linspace(1, 2, count))
        assert spread.limit == pytest.approx(quantile * (1 + 1 / count) ** 0.5, abs=2e-4)


def test_an_outlier_among_the_training_images_hides_no_stranger(summers: Tensor) -> None:
    mixed = torch.cat([summers[:49], _scenes("labels", "test", 1)])
    typical = OODScore.of(mixed)
    assert _rate(-summers[:20], typical, DistanceDistribution(typical.among_themselves())) == 1.0


def test_it_cannot_be_told_from_fewer_than_twenty_images_or_from_one_image_many_times(summers: Tensor) -> None:
    assert DistanceDistribution(torch.linspace(1, 2, 19)).out_of_distribution(100.0) is None
    assert DistanceDistribution(torch.linspace(1, 2, 20)).out_of_distribution(100.0) is True
    assert DistanceDistribution(torch.linspace(1, 2, 20)).out_of_distribution(1.5) is False
    assert DistanceDistribution(torch.ones(40)).out_of_distribution(100.0) is None
    same = OODScore.of(summers[:1].repeat(40, 1, 1, 1))
    assert DistanceDistribution(same.among_themselves()).out_of_distribution(same.distance(-summers[1])) is None
    # Six copies of one image are at no distance from one another; those of the others remain.
    typical = OODScore.of(torch.cat([summers[:30], summers[:1].repeat(6, 1, 1, 1)]))
    spread = DistanceDistribution(typical.among_themselves())
    assert spread.count == 29
    assert _rate(-summers[:20], typical, spread) == 1.0


def test_a_model_that_does_not_describe_its_images_says_that_it_cannot_be_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _changed(
        run,
        tmp_path,
        lambda tensors: [tensors.pop(key) for key in list(tensors) if "typical" in key],
    )
    out = tmp_path / "out"
    assert _code("translate", model, _mixed(tmp_path / "in"), "--out", out, "--scores", "--device", "cpu") == 0
    assert {row["foreign"] for row in _rows(out / "scores.csv")} == {"unknown"}
    assert "is unknown: the model describes fewer than 20 distinct training images" in capsys.readouterr().out


def test_a_file_of_an_earlier_version_has_its_distances_measured_again(run: Path, tmp_path: Path) -> None:
    model = _changed(run, tmp_path, lambda tensors: tensors["symptoms.AtoB.typicality"].mul_(0.5))
    described = json.loads((model / "model.json").read_text())
    info = Translator.load(model).info
    now = read_reference(run, info).symptoms["AtoB"]["typicality"]
    assert torch.equal(read_reference(model, info).symptoms["AtoB"]["typicality"], now / 2)
    assert described["trust"].pop("distances") == "left out"
    (model / "model.json").write_text(json.dumps(described))
    assert torch.allclose(read_reference(model, info).symptoms["AtoB"]["typicality"], now)


def _changed(run: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """Return a copy of a model folder whose trust.safetensors was changed and fits model.json."""
    model = shutil.copytree(run / "model", tmp_path / "model")
    tensors = safetensors.torch.load_file(model / "trust.safetensors")
    change(tensors)
    data = safetensors.torch.save(tensors)
    (model / "trust.safetensors").write_bytes(data)
    described = json.loads((model / "model.json").read_text())
    described["trust"]["sha256"] = hashlib.sha256(data).hexdigest()
    (model / "model.json").write_text(json.dumps(described))
    return model


def test_too_few_training_images_say_nothing(toy_config: Config, two_folders: Path, tmp_path: Path) -> None:
    config = replace(toy_config, data=replace(toy_config.data, root=str(two_folders)))
    config = replace(config, schedule=replace(config.schedule, num_steps=1))
    train(config, out=tmp_path / "run")
    publish_trust(RunFolder(tmp_path / "run"), 256)
    assert not (tmp_path / "run" / "model" / "trust.safetensors").exists()


def test_training_publishes_it_unless_told_not_to(run: Path, tmp_path: Path) -> None:
    assert (run / "model" / "trust.safetensors").is_file()
    copy = shutil.copytree(run, tmp_path / "run")
    config = read_yaml(Config, copy / "config.yaml")
    described = json.loads((copy / "model" / "model.json").read_text())
    del described["trust"]
    (copy / "model" / "model.json").write_text(json.dumps(described))
    (copy / "model" / "trust.safetensors").unlink()
    train(replace(config, run=replace(config.run, trust_images=0)), out=copy)
    assert not (copy / "model" / "trust.safetensors").exists()
    train(config, out=copy)
    assert (copy / "model" / "trust.safetensors").is_file()


def test_verify_holds_it_against_its_hash(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run / "model", tmp_path / "model")
    assert not any(finding.problem for finding in verify(copy))
    file = copy / "trust.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert any("trust.safetensors" in finding.problem for finding in verify(copy))
