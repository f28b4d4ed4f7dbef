"""`unpaired translate --style`: the optimisation of Gatys et al. behind the same reading and writing as a model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from unpaired import cli
from unpaired.errors import ConfigError, DataError, ImageError
from unpaired.images.input_spec import InputSpec
from unpaired.networks.feature_sources import open_features
from unpaired.networks.gram import gram, style_distance
from unpaired.scenes.draw import draw_dataset
from unpaired.scenes.scene import draw_scene, scene_seeds
from unpaired.translate.lbfgs import minimise
from unpaired.translate.style_images import StyleImages, scaled
from unpaired.translate.style_transfer import StyleTransfer, style_translator

FEW = StyleTransfer(num_iterations=6)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def winter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("winter")
    for number, seed in enumerate(scene_seeds("trainB", 3, seed=2)):
        PIL.Image.fromarray(np.asarray(draw_scene(seed, "winter", 32))).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def summer() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.asarray(draw_scene(scene_seeds("trainA", 1, seed=5)[0], "summer", 40)))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


def test_lbfgs_finds_the_minimum_of_a_stretched_bowl() -> None:
    scales = torch.logspace(0, 3, 12)
    counted: list[int] = []

    def bowl(x: Tensor) -> Tensor:
        return (scales * (x - 0.5).square()).sum()

    found = minimise(bowl, torch.zeros(12), 60, counted.append)
    torch.testing.assert_close(found, torch.full((12,), 0.5), atol=1e-3, rtol=0)
    assert counted == list(range(1, len(counted) + 1))


def test_lbfgs_never_goes_uphill_and_avoids_nan() -> None:
    values = []

    def valley(x: Tensor) -> Tensor:  # Rosenbrock, undefined on one side
        value = (1 - x[0]).square() + 100 * (x[1] - x[0].square()).square() + 0 * (x[0] + 3).sqrt()
        values.append(float(value.detach()))
        return value

    found = minimise(valley, torch.tensor([-1.2, 1.0], dtype=torch.float64), 200, lambda step: None)
    torch.testing.assert_close(found, torch.ones(2, dtype=torch.float64), atol=1e-3, rtol=0)
    flat = minimise(lambda x: 0 * x.sum(), torch.ones(2), 5, lambda step: None)
    assert torch.equal(flat, torch.ones(2))


def test_the_style_of_a_collection_is_the_average_of_its_gram_matrices(winter: Path) -> None:
    features, spec = open_features("random", 3), InputSpec()
    together = StyleImages.of_files(files(winter)).grams(features, spec, 32 * 32, CPU)
    alone = [StyleImages.of_files([path]).grams(features, spec, 32 * 32, CPU) for path in files(winter)]
    for layer, matrix in together.items():
        torch.testing.assert_close(matrix, sum(each[layer] for each in alone) / 3)


def test_style_images_are_scaled_down_to_the_area_of_the_content_and_never_up(winter: Path) -> None:
    (image,) = (StyleImages.of_files(files(winter)[:1])[0],)
    assert scaled(image, 10**6, 16) == (32, 32)
    assert scaled(image, 20 * 20, 16) == (20, 20)
    assert scaled(image, 8 * 8, 16) == (16, 16)


def test_the_result_has_the_style_and_keeps_the_arrangement(winter: Path, summer: PIL.Image.Image) -> None:
    styles = StyleImages.of_files(files(winter))
    made = style_translator(styles, StyleTransfer(num_iterations=30))(summer)
    features = open_features("random", 3)
    target = styles.grams(features, InputSpec(), 40 * 40, CPU)
    before, after = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] for image in (summer, made))
    distances = [float(style_distance(features(image, features.style), target)) for image in (before, after)]
    assert distances[1] < distances[0] / 5
    winter_colour = np.mean([styles[index].pixels.mean((0, 1)) for index in range(3)], axis=0)
    colour = [np.abs(np.asarray(image).mean((0, 1)) - winter_colour).mean() for image in (summer, made)]
    assert colour[1] < colour[0] / 2
    grey = [np.asarray(image.convert("L"), float) for image in (summer, made)]
    edges = [np.hypot(*np.gradient(each)).ravel() for each in grey]
    assert np.corrcoef(*edges)[0, 1] > 0.4


def test_a_result_does_not_depend_on_its_neighbours_nor_on_inference_mode(
    winter: Path, summer: PIL.Image.Image
) -> None:
    translator = style_translator(StyleImages.of_files(files(winter)), FEW)
    other = summer.rotate(90)
    alone = translator(summer).tobytes()
    assert translator([other, summer], batch=2)[1].tobytes() == alone
    with torch.inference_mode():
        assert translator(summer).tobytes() == alone
    assert style_translator(StyleImages.of_files(files(winter)), FEW)(summer).tobytes() == alone


def test_sizes_depth_alpha_and_grey_are_treated_as_with_a_model(winter: Path) -> None:
    translator = style_translator(StyleImages.of_files(files(winter)[:1]), StyleTransfer(num_iterations=2))
    draw = np.random.default_rng(0)
    deep = draw.integers(0, 65536, (21, 37), dtype=np.uint16)
    assert translator(deep).dtype == np.uint16
    assert translator(deep).shape == (21, 37, 3)
    alpha = PIL.Image.fromarray(draw.integers(0, 256, (19, 30, 4), dtype=np.uint8))
    made = translator(alpha)
    assert made.mode == "RGBA"
    assert np.array_equal(np.asarray(made)[..., 3], np.asarray(alpha)[..., 3])
    assert translator(PIL.Image.new("RGB", (3, 5), "teal")).size == (3, 5)


def test_images_too_large_for_the_memory_are_refused_in_a_sentence(winter: Path, summer: PIL.Image.Image) -> None:
    translator = style_translator(StyleImages.of_files(files(winter)[:1]), FEW, max_pixels=1000)
    with pytest.raises(ImageError, match="more than the limit of 1,000"):
        translator(summer)


def test_fingerprints_know_the_style_images_and_the_settings(winter: Path, tmp_path: Path) -> None:
    def fingerprint(paths: list[Path], settings: StyleTransfer = FEW) -> str:
        return style_translator(StyleImages.of_files(paths), settings).fingerprint("AtoB")

    first, *others = files(winter)
    prints = [fingerprint([first]), fingerprint(others), fingerprint([first], StyleTransfer(strength=3))]
    assert len(set(prints)) == 3
    copy = tmp_path / "copy.png"
    copy.write_bytes(first.read_bytes())
    assert fingerprint([copy]) == prints[0]


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="strength"):
        StyleTransfer(strength=-1)
    with pytest.raises(ConfigError, match="iterations"):
        StyleTransfer(num_iterations=0)


def test_the_verb_writes_results_and_resumes(
    winter: Path, summer: PIL.Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summer.save(tmp_path / "summer.png")
    (tmp_path / "more").mkdir()
    summer.convert("L").save(tmp_path / "more" / "grey.jpg")
    command = ["translate", "--style", winter, tmp_path / "summer.png", tmp_path / "more"]
    command += ["--iterations", "2", "--out", tmp_path / "out"]
    code, printed, _ = run(capsys, *command)
    assert code == 0
    assert "Style of 3 images, averaged" in printed
    assert re.search(r"Translated 2 of 2 images into .* in fp32 \(the only precision of style transfer\)", printed)
    with PIL.Image.open(tmp_path / "out" / "summer.png") as made:
        assert made.size == summer.size
    assert (tmp_path / "out" / "grey.jpg").exists()
    code, printed, _ = run(capsys, *command, "--resume")
    assert "2 of 2 were finished before." in printed
    code, printed, _ = run(capsys, *command, "--resume", "--strength", "5")
    assert "Translated 2 of 2 images" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["{image}", "--strength", "3", "{image}"], 78, "not 3; that of a style needs --style"),
        (["{image}", "--iterations", "3", "{image}"], 78, "--iterations is an option of style transfer; add --style"),
        (["{image}", "--style", "{winter}", "--strength", "0,1"], 78, "--strength takes one number with --style"),
        (["{image}", "--style", "{winter}", "--direction", "BtoA"], 78, "--direction BtoA cannot be combined"),
        (["{image}", "--style", "{winter}", "--keep-best", "20%"], 78, "--scores and --keep-best cannot be combined"),
        (["{image}", "--style", "{winter}", "--precision", "bf16"], 78, "--precision bf16 cannot be combined"),
        (["{empty}", "--style", "{winter}"], 65, "There is no image to translate in"),
        (["{image}", "--style", "{empty}"], 65, "There is no style image in"),
        (["{image}", "--style", "{winter}", "--features", "vgg"], 78, "source of features 'vgg'"),
        (["{image}", "--style", "{winter}", "--features", "vgg19:none.pth"], 65, "Cannot read none.pth"),
        (["{image}", "--style", "{winter}", "--detail"], 78, "--detail cannot be combined with --style"),
        (["{image}"], 64, "Give images to translate after the model"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    winter: Path,
    summer: PIL.Image.Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summer.save(tmp_path / "summer.png")
    (tmp_path / "empty").mkdir()
    places = {"image": tmp_path / "summer.png", "winter": winter, "empty": tmp_path / "empty"}
    given = [argument.format(**places) for argument in arguments]
    found, _, err = run(capsys, "translate", *given, "--out", tmp_path / "out")
    assert found == code
    assert sentence in err
    assert err.count("\n") == 1


def test_a_model_and_a_style_exclude_one_another(
    winter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.json").write_text("{}")
    code, _, err = run(capsys, "translate", tmp_path, winter, "--style", winter)
    assert code == 78
    assert "is a model or a run, and --style uses none" in err
    code, _, err = run(capsys, "translate", winter, "--style", tmp_path)  # not its sample grids as styles
    assert code == 78
    assert f"{tmp_path} is a model or a run, and --style uses none" in err


def test_a_damaged_style_image_is_named(tmp_path: Path, summer: PIL.Image.Image) -> None:
    (tmp_path / "style.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    with pytest.raises(DataError, match=r"style\.png"):
        style_translator(StyleImages.of_files([tmp_path / "style.png"]))


def test_a_style_image_that_does_not_fit_the_others_is_named(
    winter: Path, summer: PIL.Image.Image, tmp_path: Path
) -> None:
    first, other = files(winter)[0], tmp_path / "cut.png"
    other.write_bytes(first.read_bytes()[:-200])  # its header is whole
    translator = style_translator(StyleImages.of_files([first, other]), FEW)
    with pytest.raises(ImageError, match=r"The style image .*cut\.png cannot be used: "):
        translator(summer)


def test_gram_matrices_of_a_batch_are_those_of_its_images() -> None:
    maps = torch.rand(3, 4, 5, 5)
    torch.testing.assert_close(gram(maps)[1:2], gram(maps[1:2]))


def test_the_baseline_of_an_evaluation_is_on_the_same_images(tmp_path: Path) -> None:
    from test_evaluate import SMALL
    from unpaired.evaluation.evaluating import Settings, evaluate
    from unpaired.evaluation.page import baseline_cells, to_html
    from unpaired.evaluation.style_baseline import StyleBaseline
    from unpaired.objectives.base import initialised
    from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

    data = tmp_path / "scenes"
    draw_dataset(data, a="summer", b="winter", count=3, size=32, num_test=4)
    training = TrainingInfo(step=0, seed=0, load_size=32, crop_size=32, objective="cyclegan")
    info = ModelInfo(
        directions={name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")},
        domains={"A": "summer", "B": "winter"},
        training=training,
    )
    write_model(tmp_path / "model", info, {name: initialised(SMALL.build(3, 3), 0, name) for name in info.directions})
    baseline = StyleBaseline(count=2, transfer=StyleTransfer(num_iterations=2))
    found = evaluate(tmp_path / "model", data, settings=Settings(baseline=baseline))
    plain = evaluate(tmp_path / "model", data)
    assert not plain.baseline
    assert {name: result.images.keys() for name, result in found.directions.items()} == {
        name: result.images.keys() for name, result in plain.directions.items()
    }
    compared = found.baseline["AtoB"]
    assert compared.baseline.names == compared.model.names == plain.directions["AtoB"].names[:2]
    assert torch.equal(compared.model.images["l1"], plain.directions["AtoB"].images["l1"][:2])
    assert not torch.equal(compared.baseline.images["l1"], compared.model.images["l1"])
    assert "baseline_figures" in found.to_json()
    assert all(len(cells) == 3 for _, cells in baseline_cells(compared))
    assert "Style transfer, the first 2 images" in to_html(found, str(tmp_path / "model"), str(data))
    with pytest.raises(ConfigError, match="baseline-count"):
        StyleBaseline(count=0)


@pytest.mark.parametrize("option", [["--baseline-count", "3"], ["--features", "random"]])
def test_options_of_the_baseline_need_it(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "evaluate", tmp_path, tmp_path, *option)
    assert code == 78
    assert f"{option[0]} belongs to --baseline style" in err
