"""A model records the scale of its training, and translates at that scale or another on request."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from unpaired.cli import main
from unpaired.config import override
from unpaired.errors import ConfigError, ImageError, ModelError
from unpaired.images import Image, read_image, resize, write_image
from unpaired.models.model_folder import read_info, write_model
from unpaired.models.scale_info import FAR, ScaleInfo
from unpaired.networks import AttentionGenerator, ResNetGenerator
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.runs.earlier import translator_of_step
from unpaired.translate import DirectionInfo, Job, ModelInfo, TrainingInfo, Translator, translate_files
from unpaired.translate.far_scale import far_scale
from unpaired.translate.resizing import parse_resize, resizing_of
from unpaired.trust.score import Reference, Scorer, reference_size

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)
SQUARE = ScaleInfo(preprocess="resize_and_crop", load_size=40, crop_size=32, size_a=(160, 120), size_b=(160, 160))


class Seen(nn.Module):
    """Stands in for a generator: the photographic negative, and a record of the sizes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append((*images.shape[-2:],))
        return -images


def info(scale: ScaleInfo | None = SQUARE) -> ModelInfo:
    direction = DirectionInfo(generator=SMALL)
    return ModelInfo(
        directions={"AtoB": direction, "BtoA": direction},
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=7, seed=1, load_size=40, crop_size=32, objective="cyclegan"),
        scale=scale,
    )


def negative(resize: str | int, scale: ScaleInfo | None = SQUARE) -> tuple[Translator, Seen]:
    network = Seen()
    made = Translator(info(scale), {"AtoB": network, "BtoA": network}, device="cpu", resize=resize)  # type: ignore[arg-type]
    return made, network


def smooth(height: int, width: int, dtype: type = np.uint8, *, alpha: bool = False) -> Image:
    rows, columns = np.mgrid[:height, :width]
    level = (np.sin(rows / height * 4) + np.cos(columns / width * 5) + 2) / 4
    top = np.iinfo(dtype).max
    pixels = np.repeat((level * top).astype(dtype)[:, :, None], 3, axis=2)
    return Image(pixels, np.full((height, width), top // 2, dtype) if alpha else None)


# --- the record ------------------------------------------------------------------------------------


def test_model_json_records_how_training_resized(tmp_path: Path) -> None:
    networks = {name: SMALL.build(3, 3) for name in ("AtoB", "BtoA")}
    write_model(tmp_path / "model", info(), networks)
    entry = json.loads((tmp_path / "model" / "model.json").read_text())["scale"]
    assert entry == {
        "preprocess": "resize_and_crop",
        "load_size": 40,
        "crop_size": 32,
        "size_a": [160, 120],
        "size_b": [160, 160],
    }
    assert read_info(tmp_path / "model").scale == SQUARE
    write_model(tmp_path / "older", info(None), networks)
    assert read_info(tmp_path / "older").scale is None


@pytest.mark.parametrize("change", [{"preprocess": "zoom"}, {"load_size": 0}, {"size_a": [3]}, {"size_b": [1, 2**40]}])
def test_an_impossible_record_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    write_model(tmp_path / "model", info(), {name: SMALL.build(3, 3) for name in ("AtoB", "BtoA")})
    path = tmp_path / "model" / "model.json"
    data = json.loads(path.read_text())
    data["scale"].update(change)
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="scale"):
        read_info(tmp_path / "model")


@pytest.mark.parametrize(
    ("preprocess", "size"),
    [
        ("resize_and_crop", (40, 40)),
        ("crop", (90, 120)),
        ("scale_width", (32, 40)),  # 30 rows, rounded to a multiple of 4
        ("scale_width_and_crop", (32, 40)),  # at least the crop
        ("none", (88, 120)),
    ],
)
def test_the_scale_of_training_follows_the_preprocessing(preprocess: str, size: tuple[int, int]) -> None:
    assert replace(SQUARE, preprocess=preprocess).trained(90, 120) == size  # type: ignore[arg-type]


def test_far_is_a_ratio_of_sides_of_one_and_a_half() -> None:
    assert FAR == 1.5
    assert SQUARE.is_far(60, 60)
    assert not SQUARE.is_far(59, 60)
    assert SQUARE.is_far(26, 26)
    assert not SQUARE.is_far(27, 27)
    assert not replace(SQUARE, preprocess="crop").is_far(4000, 4000)


# --- translation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("resize", "seen"), [("native", (96, 128)), ("trained", (40, 40)), (48, (48, 64))])
def test_the_network_sees_the_requested_size_and_the_result_has_that_of_the_image(
    resize: str | int, seen: tuple[int, int]
) -> None:
    translator, network = negative(resize)
    clear = smooth(96, 128, alpha=True)
    made = translator(clear)
    assert made.alpha is not None
    assert made.alpha.tobytes() == clear.alpha.tobytes()
    for image in (smooth(96, 128), smooth(96, 128, np.uint16)):
        made = translator(image)
        assert made.pixels.shape == image.pixels.shape
        assert made.dtype == image.dtype
        top = float(np.iinfo(image.dtype).max)
        assert np.abs(made.pixels / top + image.pixels / top - 1).max() < 0.02  # smooth images survive the resizing
    tensor = torch.from_numpy(smooth(96, 128).pixels).permute(2, 0, 1) / 127.5 - 1
    assert translator(tensor).shape == tensor.shape
    assert (translator(tensor) + tensor).abs().max() < 0.05
    assert set(network.sizes) == {seen}


def test_sixteen_bits_stay_sixteen_bits() -> None:
    made = negative("trained")[0](smooth(96, 128, np.uint16))
    assert len(np.unique(made.pixels)) > 2000


def test_the_result_at_the_scale_of_training_is_that_of_the_image_resized_as_in_training() -> None:
    image = smooth(96, 128)
    native, trained = negative("native")[0], negative("trained")[0]
    small = native(resize(image, (40, 40)))
    assert np.abs(trained(image).pixels.astype(int) - resize(small, (96, 128)).pixels).max() <= 1


def test_an_image_of_the_size_of_training_is_translated_as_it_is() -> None:
    translator, _ = negative("trained")
    image = smooth(40, 40)
    first, second = translator.translate_images([image, image], batch=2)
    assert (first.pixels == negative("native")[0](image).pixels).all()
    assert (second.pixels == first.pixels).all()


def test_detail_that_resizing_took_comes_back() -> None:
    network = nn.Identity()
    identity = Translator(info(), {"AtoB": network, "BtoA": network}, device="cpu", resize=24, detail=True)
    image = Image(np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8))
    assert np.array_equal(identity(image).pixels, image.pixels)
    assert "resized to 24, with detail" in repr(identity)
    tensor = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert identity(tensor).allclose(tensor, rtol=0, atol=1e-6)


def test_detail_is_added_to_the_change_of_the_model() -> None:
    trained, _ = negative("trained")
    detailed = copy.copy(trained)
    detailed.resizing = resizing_of(trained.info, "trained", detail=True)
    image = Image(np.random.default_rng(3).integers(96, 160, (96, 128, 3), np.uint8))
    small = resize(image, (40, 40))
    kept = image.pixels.astype(int) - resize(small, (96, 128)).pixels
    assert np.abs(detailed(image).pixels.astype(int) - trained(image).pixels - kept).max() <= 2
    assert detailed.fingerprint("AtoB") != trained.fingerprint("AtoB")


@pytest.mark.parametrize("detail_of", ["native", "channels"])
def test_detail_is_refused_where_nothing_can_be_added(detail_of: str) -> None:
    if detail_of == "native":
        with pytest.raises(ConfigError, match="give a resize"):
            resizing_of(info(), "native", detail=True)
        return
    one = info()
    directions = {name: replace(part, out_channels=1) for name, part in one.directions.items()}
    with pytest.raises(ConfigError, match="needs as many channels in both, not 3 and 1"):
        resizing_of(replace(one, directions=directions), 40, detail=True)


def test_a_large_number_is_refused_before_anything_is_resized() -> None:
    network = Seen()
    translator = Translator(info(), {"AtoB": network, "BtoA": network}, device="cpu", resize=4000, max_pixels=10_000)
    with pytest.raises(ImageError, match=r"4000 x 4000.*smaller resize"):
        translator(smooth(64, 64))
    assert not network.sizes


def test_every_slice_of_a_stack_is_translated_at_that_size(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    grey = replace(info(), directions={"AtoB": DirectionInfo(generator=SMALL, in_channels=1, out_channels=1)})
    network = Seen()
    translator = Translator(grey, {"AtoB": network}, device="cpu", resize="trained")
    volume = np.stack([smooth(96, 128).pixels[:, :, 0]] * 3, axis=2)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "volume.nii")
    job = Job(tmp_path / "volume.nii", tmp_path / "out" / "volume.nii")
    assert translate_files(translator, [job]) == []
    made = nibabel.load(job.target)
    assert (made.shape, made.get_data_dtype()) == ((96, 128, 3), np.uint8)
    assert set(network.sizes) == {(40, 40)}


def test_masks_have_the_size_of_the_image() -> None:
    generator = AttentionGenerator(base_channels=4, num_blocks=1)
    direction = DirectionInfo(generator=generator)
    described = replace(info(), directions={"AtoB": direction})
    translator = Translator(described, {"AtoB": generator.build(3, 3).eval()}, device="cpu", resize="trained")
    mask = translator.masks(smooth(96, 128))
    assert mask.shape == (96, 128)
    assert 0 <= mask.min() <= mask.max() <= 1
    tensor = torch.zeros(2, 3, 50, 60)
    assert translator.masks(tensor).shape == (2, 1, 50, 60)


def test_scores_are_measured_at_the_size_of_translation() -> None:
    symptoms = {"AtoB": {"cycle": torch.linspace(0, 1, 20).double()}, "BtoA": {}}
    for resize_to, seen in (("native", (96, 128)), ("trained", (40, 40))):
        translator, network = negative(resize_to)
        image = smooth(96, 128)
        made = translator(image)
        network.sizes.clear()
        Scorer(translator, Reference({}, symptoms, {}, {}), "AtoB").symptoms(image, made)
        assert network.sizes == [seen]


def test_the_record_of_results_tells_sizes_apart() -> None:
    prints = {negative(size)[0].fingerprint("AtoB") for size in ("native", "trained", 48)}
    assert len(prints) == 3


def test_an_image_is_compared_with_training_images_at_their_scale_which_is_that_of_the_crops() -> None:
    assert reference_size(resizing_of(info(), "trained"), 96, 128) == (32, 32)
    assert reference_size(resizing_of(info(), "native"), 96, 128) == (96, 128)
    assert reference_size(resizing_of(info(), 48), 96, 128) == (48, 64)
    wide = replace(SQUARE, preprocess="scale_width")
    assert reference_size(resizing_of(info(wide), "trained"), 96, 128) == (24, 32)


def test_a_model_without_the_record_translates_and_refuses_trained() -> None:
    assert negative("native", None)[0](smooth(9, 7)).pixels.shape == (9, 7, 3)
    assert negative(8, None)[0](smooth(9, 7)).pixels.shape == (9, 7, 3)
    with pytest.raises(ConfigError, match=r"does not record how training resized.*give 40"):
        negative("trained", None)


@pytest.mark.parametrize("text", ["half", "-3", "1.5", ""])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="native, trained or a number"):
        parse_resize(text)
    with pytest.raises(ConfigError, match="1 to 32768"):
        negative(0)


# --- the sentence ----------------------------------------------------------------------------------


def jobs_of(folder: Path, *sizes: tuple[int, int]) -> list[Job]:
    jobs = []
    for number, (height, width) in enumerate(sizes):
        path = folder / f"{number}.png"
        write_image(path, smooth(height, width))
        jobs.append(Job(path, folder / "out" / path.name))
    return jobs


def test_images_far_from_the_scale_of_training_are_reported_in_one_sentence(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, (44, 40), (120, 160), (100, 100))
    sentence = far_scale(jobs, info(), "AtoB")
    assert "2 of 3 images" in sentence
    assert "1.png has 160 x 120 pixels" in sentence
    assert "from 160 x 120 (median) to 40 x 40" in sentence
    assert "3.5 times as large" in sentence
    assert "--resize trained" in sentence
    assert far_scale(jobs[:1], info(), "AtoB") == ""
    assert far_scale(jobs, info(None), "AtoB") == ""
    assert far_scale(jobs, info(replace(SQUARE, preprocess="crop")), "AtoB") == ""


def test_halves_count_as_halves_and_unreadable_files_not_at_all(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, (50, 100))
    assert far_scale([job], info(), "AtoB")
    assert not far_scale([replace(job, half="left")], info(), "AtoB")
    job.source.write_bytes(b"no image")
    assert not far_scale([job], info(), "AtoB")


# --- a run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps with a checkpoint each, of which the last two are kept."""
    out = tmp_path_factory.mktemp("scale") / "run"
    settings = {
        "data.root": str(drawn_folders),
        "schedule.num_steps": 3,
        "run.checkpoint_every": 1,
        "run.sample_every": 3,
        "run.trust_images": 0,
        "optimizer.ema_decay": 0.5,
    }
    train(override(toy_config, settings), out=out)
    return out


def test_a_run_records_its_scale_and_its_report_names_that_of_the_grids(run: Path) -> None:
    scale = read_info(run).scale
    assert scale == ScaleInfo(
        preprocess="resize_and_crop", load_size=36, crop_size=32, size_a=(40, 40), size_b=(40, 40)
    )
    sentence = "centre crops of 32 x 32 of images at the scale of training: resized from 40 x 40 (median) to 36 x 36"
    assert sentence in (run / "report.html").read_text()


def test_the_command_translates_at_the_scale_of_training(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "large.png"
    PIL.Image.fromarray(smooth(80, 60).pixels).save(picture)
    for options, said in (([], True), (["--resize", "trained"], False)):
        with pytest.raises(SystemExit) as left:
            main(["translate", str(run), str(picture), "--out", str(tmp_path / "_".join(["out", *options])), *options])
        assert left.value.code == 0
        assert ("--resize trained translates at that scale" in capsys.readouterr().out) == said
    one, other = (read_image(folder / "large.png") for folder in sorted(tmp_path.glob("out*")))
    assert one.pixels.shape == other.pixels.shape == (80, 60, 3)
    assert (one.pixels != other.pixels).any()


def test_an_earlier_step_is_translated_with_the_weights_that_were_published_then(run: Path, tmp_path: Path) -> None:
    image = smooth(24, 24)
    last, earlier = Translator.load(run, device="cpu"), translator_of_step(run, 2, device="cpu")
    assert earlier.info.training.step == 2
    assert (last(image).pixels != earlier(image).pixels).any()
    assert (translator_of_step(run, 3, device="cpu")(image).pixels == last(image).pixels).all()
    # If the model folder is of another step, step 3 comes from its checkpoint, with the same EMA weights.
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy" / "model" / "model.json"
    path.write_text(path.read_text().replace('"step": 3', '"step": 99'))
    assert (translator_of_step(tmp_path / "copy", 3, device="cpu")(image).pixels == last(image).pixels).all()


def test_a_step_that_is_not_kept_lists_those_that_are(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["translate", str(run), "x.png", "--step", "1"])
    assert left.value.code == ModelError.exit_code
    message = capsys.readouterr().err
    assert "does not hold step 1, only 2, 3" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("option", [["--scores"], ["--style", "x.png"], ["--backend", "other"]])
def test_options_that_need_the_published_model_are_refused_with_a_step(run: Path, option: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["translate", str(run), "x.png", "--step", "2", *option])
    assert left.value.code == ConfigError.exit_code
