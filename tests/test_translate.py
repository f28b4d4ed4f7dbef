"""A model folder becomes a translator; a translator turns images of any kind and size into others, and files too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
from torch import nn

from unpaired.devices import resolve_device
from unpaired.errors import ConfigError, DataError, DeviceError, ImageError, ModelError, NonFiniteError, OutputError
from unpaired.images import Image, from_tensor, read_image, to_tensor, write_image
from unpaired.networks import ResNetGenerator
from unpaired.translate import (
    DirectionInfo,
    Job,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    read_model,
    translate_files,
    write_model,
)
from unpaired.translate.preparing import padded as mirrored

SIZES = [(1, 1), (7, 5), (33, 70)]
SMALL = ResNetGenerator(base_channels=4, num_blocks=1)
TRAINING = TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan")


def model_info(channels: int = 3, out_channels: int = 3) -> ModelInfo:
    direction = DirectionInfo(generator=SMALL, in_channels=channels, out_channels=out_channels)
    return ModelInfo(
        directions={"AtoB": direction, "BtoA": direction},
        domains={"A": "summer", "B": "winter"},
        training=TRAINING,
        background=(255, 128, 0),
    )


def networks(info: ModelInfo) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        name: entry.generator.build(entry.in_channels, entry.out_channels) for name, entry in info.directions.items()
    }


class Negative(nn.Module):
    """Stands in for a generator whose result is known: the photographic negative."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[-1] % SMALL.multiple == images.shape[-2] % SMALL.multiple == 0
        assert min(images.shape[-2:]) >= SMALL.min_size
        return -images


def negative(channels: int = 3) -> Translator:
    info = model_info(channels, channels)
    return Translator(info, {name: Negative() for name in info.directions}, device="cpu")


def random_image(height: int, width: int, channels: int = 3, alpha: bool = False, dtype: type = np.uint8) -> Image:
    rng = np.random.default_rng(height + width)
    top = np.iinfo(dtype).max + 1
    pixels = rng.integers(0, top, (height, width, channels), dtype=dtype)
    return Image(pixels, rng.integers(0, top, (height, width), dtype=dtype) if alpha else None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    info = model_info()
    write_model(tmp_path / "run" / "model", info, networks(info))
    return tmp_path / "run" / "model"


# --- the model folder ------------------------------------------------------------------------------


def test_a_model_folder_comes_back_as_it_was_written(model: Path) -> None:
    info, loaded = read_model(model)
    assert info == model_info()
    for name, network in networks(info).items():
        assert not loaded[name].training
        for key, value in network.state_dict().items():
            assert loaded[name].state_dict()[key].equal(value)


def test_a_run_folder_stands_for_its_model(model: Path) -> None:
    assert read_model(model.parent)[0] == model_info()


def test_the_folder_says_what_it_is_to_people(model: Path) -> None:
    card = (model / "README.md").read_text()
    assert "summer to winter" in card
    assert "unpaired translate" in card
    assert sorted(path.name for path in model.iterdir()) == [
        "AtoB.safetensors",
        "BtoA.safetensors",
        "README.md",
        "model.json",
    ]
    data = json.loads((model / "model.json").read_text())
    assert data["directions"]["AtoB"]["generator"]["kind"] == "resnet"
    assert data["domains"] == {"A": "summer", "B": "winter"}


def test_a_second_writing_replaces_the_first_and_leaves_nothing_beside_it(model: Path) -> None:
    info = ModelInfo(directions=model_info().directions, domains={"A": "x", "B": "y"}, training=TRAINING)
    write_model(model, info, networks(info))
    assert read_model(model)[0].domains == {"A": "x", "B": "y"}
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_a_crash_between_the_two_renames_loses_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def crash_at_second(self: Path, target: Path) -> Path:
        if target == model:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", crash_at_second)
    with pytest.raises(KeyboardInterrupt):
        write_model(model, model_info(), networks(model_info()))
    monkeypatch.undo()
    assert not model.exists()
    assert read_model(model.parent)[0] == read_model(model)[0] == model_info()
    write_model(model, model_info(), networks(model_info()))
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def edit_json(edit: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        data = json.loads((model / "model.json").read_text())
        edit(data)
        (model / "model.json").write_text(json.dumps(data))

    return damage


def edit_weights(edit: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        import hashlib

        file = model / "AtoB.safetensors"
        tensors = safetensors.torch.load(file.read_bytes())
        edit(tensors)
        file.write_bytes(safetensors.torch.save(tensors))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        edit_json(lambda data: data["directions"]["AtoB"].update(sha256=digest))(model)

    return damage


def flip_a_bit(model: Path) -> None:
    data = bytearray((model / "AtoB.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "AtoB.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_bit, "AtoB.safetensors is damaged: its SHA-256"),
        (lambda model: (model / "AtoB.safetensors").unlink(), "No such file"),
        (lambda model: (model / "model.json").write_text("{"), "not JSON"),
        (edit_json(lambda data: data.update(schema=2)), "schema 2"),
        (edit_json(lambda data: data.pop("training")), "training"),
        (edit_json(lambda data: data.update(background=[1])), "does not describe a model"),
        (edit_json(lambda data: data.update(value_range="0..4095")), "value_range"),
        (edit_json(lambda data: data["directions"].update(CtoD={})), "CtoD"),
        (edit_json(lambda data: data["directions"]["AtoB"].update(weights="../x")), "AtoB.safetensors"),
        (
            edit_json(lambda data: data["directions"]["AtoB"]["generator"].update(base_channels=8)),
            "stem.1.weight is [4, 3, 7, 7] instead of [8, 3, 7, 7]",
        ),
        (
            edit_json(lambda data: data["directions"]["AtoB"]["generator"].update(base_channels=10**9)),
            "base_channels must be 1 to 1024",
        ),
        (edit_json(lambda data: data["directions"]["AtoB"]["generator"].update(kind="vgg")), "vgg is not installed"),
        (edit_weights(lambda tensors: tensors.pop("head.1.bias")), "head.1.bias is missing"),
        (edit_weights(lambda tensors: tensors.update(more=torch.ones(1))), "more is unknown"),
        (edit_weights(lambda tensors: tensors["head.1.bias"].fill_(torch.nan)), "NaN"),
    ],
)
def test_a_damaged_model_is_refused_with_the_reason(model: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(model)
    with pytest.raises(ModelError) as caught:
        read_model(model)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no run or model folder"):
        read_model(tmp_path / "missing")
    (tmp_path / "latest_net_G.pth").touch()
    with pytest.raises(ModelError, match="is a file"):
        read_model(tmp_path / "latest_net_G.pth")
    with pytest.raises(ModelError, match="neither a run nor a model"):
        read_model(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ModelError, match="no model yet; train it"):
        read_model(tmp_path)


# --- the translator: kinds and sizes ---------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_the_output_is_exactly_as_large_as_the_input(model: Path, size: tuple[int, int]) -> None:
    translator = Translator.load(model.parent, device="cpu")
    assert translator.directions == ("AtoB", "BtoA")
    made = translator(random_image(*size), direction="BtoA")
    assert (made.height, made.width) == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_each_kind_of_image_comes_back_as_its_own_kind(size: tuple[int, int], dtype: type, alpha: bool) -> None:
    image = random_image(*size, 3, alpha, dtype)
    wanted = np.iinfo(dtype).max - image.over((255, 128, 0)).pixels
    made = negative()(image)
    np.testing.assert_array_equal(made.pixels, wanted)
    assert made.alpha is image.alpha
    array = negative()(image.interleaved)
    np.testing.assert_array_equal(array, made.interleaved)
    if dtype == np.uint8:
        picture = negative()(image.to_pil())
        assert picture.mode == ("RGBA" if alpha else "RGB")
        np.testing.assert_array_equal(np.array(picture), made.interleaved)


def test_grey_comes_out_of_a_colour_model_in_colour() -> None:
    grey = random_image(7, 5, 1)
    assert negative()(grey.to_pil()).mode == "RGB"
    assert negative()(grey.pixels[:, :, 0]).shape == (7, 5, 3)


def test_a_grey_model_takes_colour_and_gives_grey() -> None:
    translator = negative(channels=1)
    grey = random_image(7, 5, 1)
    np.testing.assert_array_equal(translator(grey.pixels[:, :, 0]), 255 - grey.pixels[:, :, 0])
    assert translator(random_image(7, 5)).channels == 1
    assert translator(random_image(7, 5, 1, dtype=np.uint16).to_pil()).mode == "I;16"


@pytest.mark.parametrize("shape", [(3, 7, 5), (2, 3, 7, 5)])
def test_tensors_keep_their_leading_shape(shape: tuple[int, ...]) -> None:
    tensor = torch.rand(shape) * 2 - 1
    made = negative()(tensor)
    assert made.equal(-tensor)
    assert not made.is_inference()


def test_lists_of_different_sizes_come_back_in_order() -> None:
    images = [random_image(*size) for size in [(7, 5), (7, 5), (33, 70), (7, 5)]]
    made = negative()([image.to_pil() for image in images], batch=2)
    for picture, image in zip(made, images, strict=True):
        np.testing.assert_array_equal(np.array(picture), 255 - image.pixels)


def test_a_batch_gives_what_single_images_give(model: Path) -> None:
    translator = Translator.load(model, device="cpu")
    tensors = torch.stack([to_tensor(random_image(h, 70 - h), 3)[:, :20, :20] for h in (20, 30, 40)])
    together = translator(tensors)
    alone = torch.stack([translator(tensor) for tensor in tensors])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_bf16_stays_near_fp32(model: Path) -> None:
    tensor = to_tensor(random_image(20, 20), 3)
    exact = Translator.load(model, device="cpu")(tensor)
    near = Translator.load(model, device="cpu", precision="bf16")(tensor)
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().max() < 0.05


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_padding_mirrors_to_and_fro_from_any_size(size: int) -> None:
    row = torch.arange(float(size)).reshape(1, 1, 1, size)
    wanted = np.pad(np.arange(size), (0, 16 - size), mode="reflect")
    padded = mirrored(row, 16, 4)
    assert padded.shape == (1, 1, 16, 16)
    assert padded[0, 0, 9].tolist() == wanted.tolist()


def test_what_cannot_be_translated_is_said() -> None:
    translator = negative()
    with pytest.raises(ConfigError, match="AtoB"):
        translator(random_image(2, 2), direction="summer")
    with pytest.raises(ConfigError, match=r"\[-1, 1\]"):
        translator(torch.full((3, 4, 4), 255.0))
    with pytest.raises(ConfigError, match="c = 3"):
        translator(torch.zeros(1, 4, 4))
    with pytest.raises(ConfigError, match="Cannot translate bytes"):
        translator(b"image.png")  # type: ignore[call-overload]
    with pytest.raises(ImageError, match=r"image\.png"):
        translator("image.png")
    with pytest.raises(ImageError, match="float64"):
        translator(np.zeros((4, 4, 3)))
    with pytest.raises(ConfigError, match="precision"):
        Translator(model_info(), {}, precision="fp8")  # type: ignore[arg-type]


def test_devices_that_are_not_here_are_named() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cpu:1", "cuda:x"):
        with pytest.raises(DeviceError, match="Unknown device"):
            resolve_device(name)
    with pytest.raises(DeviceError, match="cuda:99"):
        resolve_device("cuda:99")


# --- files -----------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.png", "deep/c.GIF", "deep/d.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        random_image(8, 8).to_pil().save(folder / name)
    (folder / "notes.txt").touch()
    (folder / "._a.png").touch()
    return folder


def test_a_folder_keeps_its_structure_and_its_suffixes(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_outputs([str(photos)], out)
    assert [job.target for job in plan.jobs] == [out / n for n in ("a.png", "b.jpg", "deep/c.png", "deep/d.tif")]
    assert plan.num_ignored == 2
    assert {job.target.suffix for job in plan_outputs([str(photos)], out, format="webp").jobs} == {".webp"}


def test_files_and_globs_go_into_the_folder_itself(photos: Path, tmp_path: Path) -> None:
    inputs = [str(photos / "deep" / "d.tif"), str(photos / "*.*"), str(photos / "a.png")]
    plan = plan_outputs(inputs, tmp_path / "out")
    assert [job.target.name for job in plan.jobs] == ["d.tif", "a.png", "b.jpg"]


def test_a_name_that_looks_like_a_glob_is_a_name_first(tmp_path: Path) -> None:
    write_image(tmp_path / "x[1].png", random_image(2, 2))
    plan = plan_outputs([str(tmp_path / "x[1].png")], tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["x[1].png"]


def test_results_inside_the_input_folder_are_not_inputs_of_the_next_time(photos: Path) -> None:
    out = photos / "translated"
    translate_files(negative(), plan_outputs([str(photos)], out).jobs)
    assert len(plan_outputs([str(photos)], out, overwrite=True).jobs) == 4


def test_inputs_that_are_not_there_are_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given in ("missing.png", "*.webp"):
        with pytest.raises(DataError, match="no file, folder or match"):
            plan_outputs([str(photos / given)], tmp_path / "out")
    with pytest.raises(DataError, match="no image to translate"):
        plan_outputs([str(tmp_path / "empty")], tmp_path / "out")
    with pytest.raises(ConfigError, match="output format jpgg; did you mean jpg"):
        plan_outputs([str(photos)], tmp_path / "out", format="jpgg")


def test_clashing_names_are_found_before_any_work(tmp_path: Path) -> None:
    for name in ("one/a.png", "two/A.png", "a.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        random_image(2, 2).to_pil().save(tmp_path / name)
    for inputs in (("one", "two"), ("one", "a.gif")):
        with pytest.raises(OutputError, match=f"{inputs[0]}.*{inputs[1]}.*both become") as caught:
            plan_outputs([str(tmp_path / name) for name in inputs], tmp_path / "out")
        assert caught.value.exit_code == 73


def test_existing_results_are_kept_unless_asked(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("precious")
    with pytest.raises(OutputError, match=r"1 of 4 outputs exist already .*a\.png"):
        plan_outputs([str(photos)], out)
    assert len(plan_outputs([str(photos)], out, overwrite=True).jobs) == 4
    with pytest.raises(OutputError, match="is an input"):
        plan_outputs([str(photos)], photos, overwrite=True)


def test_every_file_is_translated_and_bad_ones_are_reported(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_text("no image")
    out = tmp_path / "out"
    jobs = plan_outputs([str(photos)], out).jobs
    seen: list[tuple[str, bool]] = []
    failures = translate_files(
        negative(), jobs, batch=3, on_done=lambda job, failure: seen.append((job.source.name, failure is None))
    )
    assert [failure.source.name for failure in failures] == ["broken.png"]
    assert sorted(seen) == [
        ("a.png", True),
        ("b.jpg", True),
        ("broken.png", False),
        ("c.GIF", True),
        ("d.tif", True),
    ]
    np.testing.assert_array_equal(read_image(out / "a.png").pixels, 255 - read_image(photos / "a.png").pixels)
    assert sorted(path.name for path in out.rglob("*.*")) == ["a.png", "b.jpg", "c.png", "d.tif"]


def test_one_image_that_fails_in_a_batch_does_not_take_the_others_along(tmp_path: Path) -> None:
    class FailsOnWhite(Negative):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            made = super().forward(images)
            made[images.mean(dim=(1, 2, 3)) == 1] = torch.nan
            return made

    for index, value in enumerate((0, 255, 7)):
        write_image(tmp_path / f"{index}.png", Image(np.full((8, 8, 3), value, np.uint8)))
    info = model_info()
    translator = Translator(info, {name: FailsOnWhite() for name in info.directions}, device="cpu")
    failures = translate_files(translator, plan_outputs([str(tmp_path)], tmp_path / "out").jobs, batch=3)
    assert [(failure.source.name, type(failure.error)) for failure in failures] == [("1.png", NonFiniteError)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


def test_transparency_is_kept_in_files_and_laid_over_the_background_where_it_cannot_be(tmp_path: Path) -> None:
    image = random_image(8, 8, alpha=True)
    write_image(tmp_path / "x.png", image)
    jobs = [Job(tmp_path / "x.png", tmp_path / name) for name in ("y.png", "y.bmp")]
    assert translate_files(negative(), jobs) == []
    kept = read_image(tmp_path / "y.png")
    np.testing.assert_array_equal(kept.alpha, image.alpha)
    np.testing.assert_array_equal(read_image(tmp_path / "y.bmp").pixels, kept.over((255, 128, 0)).pixels)


def test_16_bits_go_through_files_whole(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", random_image(9, 9, 1, dtype=np.uint16))
    translate_files(negative(1), [Job(tmp_path / "x.png", tmp_path / "y.png")])
    total = read_image(tmp_path / "x.png").pixels.astype(int) + read_image(tmp_path / "y.png").pixels
    assert np.unique(total).tolist() == [65535]


def test_turned_photographs_come_out_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    random_image(8, 12).to_pil().save(tmp_path / "x.jpg", exif=exif)
    translate_files(negative(), [Job(tmp_path / "x.jpg", tmp_path / "y.jpg")])
    with PIL.Image.open(tmp_path / "y.jpg") as picture:
        assert picture.size == (8, 12)
        assert 0x0112 not in picture.getexif()
    with PIL.Image.open(tmp_path / "x.jpg") as picture:
        assert negative()(picture).size == (8, 12)


def test_rounding_not_cutting_off_on_the_way_out() -> None:
    assert from_tensor(torch.full((3, 1, 1), 0.7 / 127.5 - 1)).pixels.ravel().tolist() == [1, 1, 1]
