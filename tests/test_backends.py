"""What every backend keeps to, and a backend from outside of the package through everything that translates."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unpaired import cli
from unpaired.errors import ConfigError, DeviceError, ImageError, ModelError, UnknownKindError
from unpaired.images import Image, read_image, write_image
from unpaired.models.model_folder import read_info
from unpaired.models.scale_info import ScaleInfo
from unpaired.networks import ResNetGenerator, UNetGenerator
from unpaired.networks.coupled import CoupledGenerator
from unpaired.networks.layers import initialise
from unpaired.translate import (
    BACKENDS,
    DirectionInfo,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    translate_files,
    write_model,
)
from unpaired.translate.backends import Batch, Capabilities, LoadedGenerator, RunOptions
from unpaired.translate.pixel_limit import bytes_per_pixel, expected_bytes
from unpaired.translate.precision import Computed, Precision
from unpaired.trust.score import measure
from unpaired.trust.trust_file import pack

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)


class Inverted:
    """A generator that makes the negative of an image, in NumPy, two images at a time."""

    capabilities = Capabilities(max_batch=2, pixels_at_once=2**16, bytes_per_pixel=24)

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def run(self, images: Batch, options: RunOptions) -> Batch:
        self.batches.append(images.shape)
        return -images

    def hash_into(self, update: Callable[[bytes], object]) -> None:
        update(b"inverted")


class Inverting:
    """The backend of it."""

    kind = "inverting"
    devices = ("cpu",)

    def load(self, model: Path, direction: str, *, device: str, precision: Precision) -> Inverted:
        if device not in ("auto", *self.devices):
            raise DeviceError(f"Unknown device {device!r}; choose auto or cpu.")
        if not (model / "model.json").is_file():
            raise ModelError(f"{model} holds no model.json.")
        return Inverted()


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BACKENDS, "_parts", dict(BACKENDS._parts))
    BACKENDS.register(Inverting())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of both directions that knows 20 images of each domain; never changed."""
    folder = tmp_path_factory.mktemp("backends") / "run" / "model"
    directions = {name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")}
    torch.manual_seed(0)
    networks = {name: SMALL.build(3, 3) for name in directions}
    for network in networks.values():
        initialise(network)
    training = TrainingInfo(step=7, seed=0, load_size=36, crop_size=32, objective="cyclegan")
    info = ModelInfo(directions=directions, domains={"A": "summer", "B": "winter"}, training=training)
    images = {domain: torch.rand(20, 3, 32, 32) * 2 - 1 for domain in "AB"}
    folder.parent.mkdir()
    reference = measure(Translator(info, networks, device="cpu"), images, {}, {})
    write_model(folder, info, networks, trust=pack(reference, {}))
    return folder


def picture(seed: int, height: int = 30, width: int = 41) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


KINDS = sorted([*BACKENDS.kinds(), "inverting"])


# --- what every backend keeps to -------------------------------------------------------------------


def loaded(kind: str, model: Path, direction: str = "AtoB") -> LoadedGenerator:
    return BACKENDS.get(kind).load(model, direction, device="cpu", precision="auto")


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_says_what_it_can_do(kind: str, model: Path) -> None:
    part = BACKENDS.get(kind)
    assert part.kind == kind
    assert part.devices
    able = loaded(kind, model).capabilities
    assert able.device == "cpu"
    assert "fp32" in able.fast_precisions
    assert set(able.fast_precisions) | set(able.one_by_one) <= set(able.precisions) <= {"fp32", "bf16"}
    assert able.max_batch is None or able.max_batch >= 1
    assert able.pixels_at_once >= 1
    assert able.bytes_per_pixel >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_makes_a_batch_of_a_batch_and_leaves_what_it_is_given(kind: str, model: Path) -> None:
    generator = loaded(kind, model)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 24)).astype(np.float32)
    given = images.copy()
    for precision in generator.capabilities.precisions:
        for eight_bit in (False, True):
            options = RunOptions(precision=precision, eight_bit=eight_bit, size=(16, 24))
            made = generator.run(given, options)
            assert isinstance(made, np.ndarray)
            assert (made.shape, made.dtype) == ((2, 3, 16, 24), np.float32)
            assert np.isfinite(made).all()
            np.testing.assert_array_equal(given, images)
            np.testing.assert_array_equal(generator.run(given, options), made)
            alone = np.concatenate([generator.run(given[n : n + 1], options) for n in range(2)])
            np.testing.assert_allclose(made, alone, atol=1e-5 if precision == "fp32" else 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_refuses_devices_and_folders_that_are_not_there(kind: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="abacus"):
        BACKENDS.get(kind).load(model, "AtoB", device="abacus", precision="fp32")
    with pytest.raises(ModelError):
        BACKENDS.get(kind).load(tmp_path, "AtoB", device="cpu", precision="fp32")


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_is_that_of_the_model_and_of_the_backend(kind: str, model: Path, tmp_path: Path) -> None:
    first = Translator.load(model, device="cpu", backend=kind)
    copy = Translator.load(shutil.copytree(model, tmp_path / "copy"), device="cpu", backend=kind)
    assert first.fingerprint("AtoB") == copy.fingerprint("AtoB")
    assert first.fingerprint("AtoB") != first.fingerprint("BtoA") or kind == "inverting"  # which has no weights
    assert (first.fingerprint("AtoB") == Translator.load(model, device="cpu").fingerprint("AtoB")) == (kind == "torch")


# --- one from outside ------------------------------------------------------------------------------


def test_a_backend_translates_images_of_every_kind_and_size(model: Path) -> None:
    translator = Translator.load(model, backend="inverting")
    image = picture(0)
    np.testing.assert_array_equal(translator(image).pixels, 255 - image.pixels)
    np.testing.assert_array_equal(translator(image.pixels), 255 - image.pixels)
    np.testing.assert_array_equal(np.asarray(translator(image.to_pil())), 255 - image.pixels)
    deep = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(translator(deep), 65535 - deep)
    tensor = torch.rand(5, 3, 7, 9) * 2 - 1
    assert translator(tensor).equal(-tensor)
    generator = translator._loaded["AtoB"]
    assert isinstance(generator, Inverted)
    assert [shape[0] for shape in generator.batches[-3:]] == [2, 2, 1], "no more than it takes at once"
    assert all(side % SMALL.multiple == 0 for shape in generator.batches for side in shape[-2:])
    assert "inverting on cpu" in repr(translator)


def test_what_a_backend_cannot_do_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="backend inverting computes in fp32 here, not in bf16"):
        Translator.load(model, backend="inverting", precision="bf16")
    with pytest.raises(UnknownKindError, match="inverting"):
        Translator.load(model, backend="invertin")
    auto = Translator.load(model, backend="inverting", precision="auto")
    assert str(auto.choose(picture(0))) == "fp32 (this cpu has no instructions for bf16)"
    monkeypatch.setattr(Inverted, "run", lambda self, images, options: images[:, :1])
    with pytest.raises(ModelError, match="use another backend"):
        auto(picture(0))


def test_the_command_translates_scores_and_resumes_with_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        write_image(tmp_path / "in" / f"{number}.png", picture(number))
    command = ["translate", str(model), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--backend", "inverting"]
    for more, printed in (["--scores"], "Translated 4 of 4"), (["--resume"], "4 of 4 were finished before"):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, *more])
        assert ended.value.code == 0
        assert printed in capsys.readouterr().out
    for number in range(4):
        made = read_image(tmp_path / "out" / f"{number}.png").pixels
        np.testing.assert_array_equal(made, 255 - picture(number).pixels)
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8") as file:
        measured = [float(row["cycle_measured"]) for row in csv.DictReader(file)]
    assert measured == pytest.approx([0] * 4, abs=1e-4), "inverted twice, an image is what it was"
    with pytest.raises(SystemExit) as ended:  # results of one backend are not those of another
        cli.main([*command[:-2], "--resume"])
    assert ended.value.code == 0
    assert "finished before" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cli.main([*command[:-1], "invertin", "--overwrite"])
    assert ended.value.code == 78
    assert "inverting" in capsys.readouterr().err


def test_info_is_that_of_the_model_whatever_runs_it(model: Path) -> None:
    translator = Translator.load(model.parent, backend="inverting")
    assert translator.info == Translator.load(model, device="cpu").info
    assert translator.directions == ("AtoB", "BtoA")
    assert translator.device == torch.device("cpu")


# --- memory ----------------------------------------------------------------------------------------


def test_an_image_too_large_for_the_memory_is_refused_by_its_header(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    write_image(tmp_path / "a" / "large.png", picture(0))
    write_image(tmp_path / "a" / "small.png", picture(1, 20, 20))
    cut = (tmp_path / "a" / "large.png").read_bytes()[:300]  # decoding it would fail
    (tmp_path / "a" / "large.png").write_bytes(cut)
    monkeypatch.setattr("unpaired.translate.backends.torch_backend.pixels_that_fit", lambda *_: 500)
    translator = Translator.load(model, device="cpu")
    jobs = plan_outputs([str(tmp_path / "a")], tmp_path / "out").jobs
    (failure,) = translate_files(translator, jobs)
    assert failure.source.name == "large.png"
    assert "1 x 41 x 30 pixels are more than the limit of 500 per forward pass" in str(failure.error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]
    with pytest.raises(ImageError, match=r"large\.png: 1 x 41 x 30 pixels .* free some memory"):
        translator(tmp_path / "a" / "large.png")


class Masking(Inverted):
    """The same with masks, and with an estimate of its memory by precision."""

    capabilities = Capabilities(precisions=("fp32", "bf16"), masks=True)

    def run_masks(self, images: Batch) -> Batch:
        return (images[:, :1] + 1) / 2

    def expected_bytes(self, pixels: int, precision: Computed) -> int:
        return pixels * (10**9 if precision == "fp32" else 10**8)

    def pixels_that_fit(self, precision: Computed) -> int | None:
        return 100 if precision == "fp32" else 1000


def test_any_backend_may_have_masks_and_know_its_memory_by_precision(model: Path) -> None:
    info = replace(read_info(model), scale=ScaleInfo(preprocess="resize_and_crop", load_size=9, crop_size=8))
    translator = Translator(info, dict.fromkeys(("AtoB", "BtoA"), Masking()), backend="masking")
    image = torch.rand(3, 8, 8) * 2 - 1
    assert torch.allclose(translator.masks(image), (image[:1] + 1) / 2)
    trained = r"scale it down, translate it at the scale of training \(9 x 9\) with --resize trained or free"
    with pytest.raises(ImageError, match=rf"the limit of 100 per forward pass \(they need about 400.0 GB\); {trained}"):
        translator.refuse_large(20, 20)
    translator.refuse_large(20, 20, precision="bf16")
    translator.refuse_large(9, 8)
    with pytest.raises(ImageError, match=r"1 x 10 x 9 pixels .* about 144.0 GB"):  # sides are padded to multiples of 4
        translator.refuse_large(10, 9)
    with pytest.raises(ImageError, match=r"the limit of 1,000 .* about 160.0 GB"):
        translator.refuse_large(40, 40, precision="bf16")
    plain = Translator(info, dict.fromkeys(("AtoB", "BtoA"), Inverted()), backend="inverting")
    plain.refuse_large(4000, 4000)
    with pytest.raises(ConfigError, match="has no masks on the backend inverting"):
        plain.masks(image)


def test_the_memory_in_bf16_is_less_and_has_a_fixed_part() -> None:
    published = ResNetGenerator()
    exact, coarse = (expected_bytes(published, 1024**2, precision) for precision in ("fp32", "bf16"))
    assert 2 * coarse < exact
    assert expected_bytes(published, 0) == expected_bytes(published, 0, "bf16") == published.buffer_bytes > 0
    assert bytes_per_pixel(UNetGenerator(), "bf16") < bytes_per_pixel(UNetGenerator())
    other = CoupledGenerator()  # measured in fp32 alone
    assert bytes_per_pixel(other, "bf16") == bytes_per_pixel(other) // 2
    assert expected_bytes(other, 10) == 10 * other.bytes_per_pixel
