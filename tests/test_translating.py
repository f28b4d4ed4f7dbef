"""Files become files while others are read and encoded: in order, in batches, whole, and in bf16 where near enough."""

from __future__ import annotations

import copy
import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import nn

import forked
from unpaired.cli import main
from unpaired.cli.quick import importing
from unpaired.errors import ImageError, OutputError, StorageError, UnpairedError
from unpaired.images import Image, ValueRange, read_image, write_image
from unpaired.networks import AttentionGenerator, ResNetGenerator, UNetGenerator
from unpaired.networks.layers import initialise
from unpaired.translate import (
    DirectionInfo,
    DomainValues,
    Job,
    ModelInfo,
    TrainingInfo,
    Translator,
    choose_precision,
    fast,
    overlap,
    plan_outputs,
    translate_files,
    translating,
    write_model,
)
from unpaired.translate.backends import torch_backend
from unpaired.translate.fast import Interleaved, LargeTiles, Winograd, _lowered, fast_form
from unpaired.translate.overlap import WriteQueue, read_ahead
from unpaired.translate.precision import agreement

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)
CPU = torch.device("cpu")


class Identity(nn.Module):
    """Stands in for a generator that changes nothing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


class Rough(nn.Module):
    """Stands in for a generator that magnifies what bfloat16 leaves out."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images * 60).sin()


class Spotty(nn.Module):
    """A generator with NaN outputs for white images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        made = images.clone()
        made[images.mean(dim=(1, 2, 3)) == 1] = torch.nan
        return made


def info(channels: int = 3, values: DomainValues | None = None, generator: ResNetGenerator = SMALL) -> ModelInfo:
    direction = DirectionInfo(generator=generator, in_channels=channels, out_channels=channels)
    same = values or DomainValues()
    return ModelInfo(
        directions={"AtoB": direction},
        domains={"A": "a", "B": "b"},
        training=TrainingInfo(step=7, seed=1, load_size=72, crop_size=64, objective="cyclegan"),
        values={"A": same, "B": same},
    )


def of(network: nn.Module, precision: str = "fp32", *, about: ModelInfo | None = None) -> Translator:
    return Translator(about or info(), {"AtoB": network.eval()}, device="cpu", precision=precision)  # type: ignore[arg-type]


def real(base_channels: int = 8, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = ResNetGenerator(base_channels=base_channels, num_blocks=1).build(3, 3)
    initialise(network)
    return network.eval()


def picture(seed: int, side: int = 24, channels: int = 3, dtype: type = np.uint8) -> Image:
    top = np.iinfo(dtype).max + 1
    return Image(np.random.default_rng(seed).integers(0, top, (side, side, channels), dtype=dtype))


def write_pictures(folder: Path, count: int, side: int = 24) -> Path:
    folder.mkdir()
    for number in range(count):
        write_image(folder / f"{number:03d}.png", picture(number, side))
    return folder


@pytest.fixture
def known_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this processor have instructions for bf16; without them it computes the same, slowly."""
    monkeypatch.setattr(torch_backend, "has_bf16", lambda device: True)


# --- in order, whatever fails ----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_what_cannot_be_read_translated_or_encoded_is_reported_in_its_place_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int | None
) -> None:
    folder = write_pictures(tmp_path / "in", 12)
    for name in ("000", "005", "006", "011"):
        (folder / f"{name}.png").write_bytes(b"no image")
    write_image(folder / "003.png", Image(np.full((24, 24, 3), 255, np.uint8)))
    encode = translating.encode_image

    def refuse_one(path: Path, image: Image, **options: object) -> bytes:
        if path.name == "008.png":
            raise OutputError("Not this one.")
        return encode(path, image, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(translating, "encode_image", refuse_one)
    jobs = plan_outputs([str(folder)], tmp_path / "out").jobs
    seen: list[tuple[str, bool, bool]] = []
    failures = translate_files(
        of(Spotty()),
        jobs,
        batch=batch,
        on_done=lambda job, failure: seen.append((job.source.stem, failure is None, job.target.exists())),
    )
    bad = ["000", "003", "005", "006", "008", "011"]
    assert [failure.source.stem for failure in failures] == bad
    assert seen == [(f"{n:03d}", f"{n:03d}" not in bad, f"{n:03d}" not in bad) for n in range(12)]
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [
        f"{n:03d}" for n in range(12) if f"{n:03d}" not in bad
    ]


def test_a_full_disk_ends_it_and_nothing_is_written_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, write = write_pictures(tmp_path / "in", 8), translating.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name == "002.png":
            raise StorageError("The disk is full.")
        write(path, data)

    monkeypatch.setattr(translating, "write_bytes", full)
    with pytest.raises(StorageError):
        translate_files(of(Identity()), plan_outputs([str(folder)], tmp_path / "out").jobs)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000.png", "001.png"]


def test_reading_goes_ahead_by_a_bounded_number_of_images_and_bytes() -> None:
    started: list[int] = []

    def read(job: int) -> int:
        started.append(job)
        if job % 10 == 3:
            raise ImageError("Broken.")
        return job

    with ThreadPoolExecutor(1) as pool:
        for size, most in ((1, overlap.MOST), (overlap.ROOM // 4, 4), (overlap.ROOM * 2, 1)):
            started.clear()
            for number, (job, result) in enumerate(read_ahead(pool, read, range(100), lambda _, size=size: size)):
                assert job == number
                assert isinstance(result, UnpairedError) if job % 10 == 3 else result == job
                assert len(started) <= number + 1 + most
            assert number == 99


def test_results_wait_in_bounded_number_and_are_finished_in_order_by_the_caller() -> None:
    gate, finished = Event(), []

    def slow() -> bytes:
        gate.wait(60)
        return b"x"

    with ThreadPoolExecutor(1) as pool:
        queue: WriteQueue[int] = WriteQueue(pool, lambda job, bytes_of: finished.append((job, bytes_of())))
        queue.add(0, slow, 1)
        for job in range(1, overlap.MOST):
            queue.add(job, lambda: b"y", 1)
        assert finished == []
        gate.set()
        queue.add(overlap.MOST, lambda: b"y", 1)
        assert finished[0] == (0, b"x")
        queue.drain()
    assert [job for job, _ in finished] == list(range(overlap.MOST + 1))


def test_failures_are_told_as_they_come(tmp_path: Path) -> None:
    jobs = []
    for number in range(40):
        (tmp_path / f"{number:03d}.png").write_bytes(b"no image")
        jobs.append(Job(tmp_path / f"{number:03d}.png", tmp_path / "out" / f"{number:03d}.png"))
    reported: list[int] = []

    def stop_at_third(job: Job, failure: object) -> None:
        reported.append(int(job.source.stem))
        if len(reported) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_files(of(Identity()), jobs, on_done=stop_at_third)
    assert reported == [0, 1, 2]


@pytest.mark.skipif(os.name != "posix", reason="a process is killed")
def test_a_process_killed_in_the_middle_of_a_folder_leaves_whole_files_and_can_be_run_again(tmp_path: Path) -> None:
    folder, out = write_pictures(tmp_path / "in", 60, side=64), tmp_path / "out"
    write_model(tmp_path / "model", info(), {"AtoB": real(4)})
    command = [sys.executable, "-m", "unpaired", "translate", str(tmp_path / "model"), str(folder), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = forked.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for _ in range(5):
        assert " -> " in process.stdout.readline()
    process.kill()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    whole = [path for path in out.iterdir() if not path.name.startswith(".unpaired-")]
    assert len(whole) >= 5
    assert all(read_image(path).pixels.shape == (64, 64, 3) for path in whole)
    with pytest.raises(SystemExit) as ended:
        main([*command[3:], "--out", str(out), "--overwrite"])
    assert ended.value.code == 0
    assert len(list(out.glob("*.png"))) == 60


# --- batches ---------------------------------------------------------------------------------------


def test_the_files_are_the_same_whatever_the_batch(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 7, side=64)
    write_image(folder / "003.png", picture(3, 40))
    made = {}
    for batch in (None, 1, 2, 7):
        out = tmp_path / f"out{batch}"
        assert translate_files(of(real(), "bf16"), plan_outputs([str(folder)], out).jobs, batch=batch) == []
        made[batch] = [path.read_bytes() for path in sorted(out.iterdir())]
    assert made[None] == made[1] == made[2] == made[7]


def test_a_batch_in_fp32_is_off_by_rounding_at_most(tmp_path: Path) -> None:
    images = [picture(number, 64) for number in range(4)]
    together = of(real()).translate_images(images, batch=4)
    for image, made in zip(images, together, strict=True):
        difference = made.pixels.astype(int) - of(real())(image).pixels
        assert abs(difference).max() <= 1
        assert (difference != 0).mean() < 0.001


@pytest.mark.parametrize(
    ("precision", "side", "sizes"),
    [("fp32", 32, [1, 1, 1, 1, 1, 1]), ("bf16", 32, [6]), ("bf16", 64, [4, 2]), ("bf16", 128, [1, 1, 1, 1, 1, 1])],
)
def test_small_images_share_a_batch_by_default_where_that_changes_nothing(
    tmp_path: Path, precision: str, side: int, sizes: list[int]
) -> None:
    counts: list[int] = []

    class Counting(Identity):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            counts.append(len(images))
            return images

    network = Counting()
    network.__deepcopy__ = lambda _: network  # type: ignore[assignment]
    folder = write_pictures(tmp_path / "in", 6, side=side)
    translate_files(of(network, precision), plan_outputs([str(folder)], tmp_path / "out").jobs)
    assert counts == sizes


# --- the form that is fast -------------------------------------------------------------------------

KINDS = {
    "resnet": ResNetGenerator(base_channels=32, num_blocks=1),
    "resize": ResNetGenerator(base_channels=8, num_blocks=1, upsampling="resize"),
    "antialias": ResNetGenerator(base_channels=8, num_blocks=1, antialias=True),
    "zeros": ResNetGenerator(base_channels=8, num_blocks=1, upsampling="resize_zeros"),
    "batch norm": ResNetGenerator(base_channels=8, num_blocks=1, norm="batch"),
    "dropout": ResNetGenerator(base_channels=8, num_blocks=1, dropout=True),
    "unet": UNetGenerator(base_channels=8, num_downs=5),
    "attention": AttentionGenerator(base_channels=8, num_blocks=1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_every_generator_has_a_fast_form_near_it(kind: str, winograd: bool, training: bool) -> None:
    torch.manual_seed(0)
    network = KINDS[kind].build(3, 3)
    initialise(network)
    network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    near = _lowered(copy.deepcopy(network), winograd)
    images = torch.nn.functional.interpolate(torch.rand(3, 3, 8, 8) * 2 - 1, size=(64, 64), mode="bicubic").clamp(-1, 1)
    lower = images.to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.manual_seed(5)
        exact = network(images[:1])
        torch.manual_seed(5)
        made = near(lower[:1])
        assert made.dtype == torch.bfloat16
        assert agreement(exact, made) > 35
        if not training:
            together = near(lower)
            assert torch.cat([near(image) for image in lower.split(1)]).equal(together)
    if not training:
        assert all(value.equal(before[name]) for name, value in network.state_dict().items())


def test_the_network_itself_stays_as_it_is() -> None:
    network = real()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast_form(network, CPU)
    fast_form(network, CPU, torch.float32)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_in_float32_the_fast_form_of_every_generator_is_nearer_than_8_bits_show(kind: str, training: bool) -> None:
    torch.manual_seed(0)
    network = KINDS[kind].build(3, 3)
    initialise(network)
    network.train(training)
    images = torch.rand(1, 3, 64, 96) * 2 - 1
    near = fast_form(network, CPU, torch.float32)
    assert any(isinstance(module, LargeTiles) for module in near.modules()) == (kind == "resnet")
    with torch.inference_mode():
        torch.manual_seed(5)
        exact = network(images)
        torch.manual_seed(5)
        made = near(images.contiguous(memory_format=torch.channels_last))
    assert made.dtype == torch.float32
    assert agreement(exact, made) > 90


def test_images_of_8_bits_are_translated_in_the_fast_form_in_float32_where_a_processor_gains_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast, "_INSTRUCTIONS", torch.backends.cpu.get_cpu_capability())
    monkeypatch.setattr(fast, "_LEAST_PIXELS", 32 * 32)
    wide, shapes = of(real(32)), []
    whole = LargeTiles.forward

    def noted(layer: LargeTiles, x: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(x.shape))
        return whole(layer, x)

    monkeypatch.setattr(LargeTiles, "forward", noted)
    made = wide(picture(1, 38))
    assert shapes == [(1, 128, 12, 12)] * 2  # padded to 40 pixels, a quarter, and a border of one
    monkeypatch.setattr(fast, "_INSTRUCTIONS", "another processor's")
    difference = made.pixels.astype(int) - wide(picture(1, 38)).pixels
    assert abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.001
    assert len(shapes) == 2

    monkeypatch.setattr(fast, "_INSTRUCTIONS", torch.backends.cpu.get_cpu_capability())
    wide(picture(1, 38, dtype=np.uint16))
    wide(torch.zeros(3, 40, 40))
    wide(picture(1, 31))  # too small
    of(real(16))(picture(1, 38))  # too narrow
    assert len(shapes) == 2


@pytest.mark.parametrize("shape", [(1, 128, 10, 14), (2, 129, 9, 15), (3, 128, 4, 4), (1, 128, 130, 70)])
@pytest.mark.parametrize("bias", [False, True])
def test_large_tiles_are_the_convolution(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(shape[1], 130, 3, bias=bias).requires_grad_(False)
    x = torch.randn(shape)
    wanted = convolution.double()(x.double())
    layer = LargeTiles(convolution.float())
    made = layer(x.contiguous(memory_format=torch.channels_last))
    assert made.shape == wanted.shape
    assert (made - wanted).abs().max() < 2e-5 * wanted.abs().max()
    assert made.equal(torch.cat([layer(image) for image in x.split(1)]))


@pytest.mark.parametrize("shape", [(1, 128, 10, 12), (2, 128, 9, 12), (3, 128, 4, 4)])
def test_winograd_is_the_convolution(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(128, 130, 3)
    x = torch.randn(shape)
    with torch.no_grad():
        wanted = convolution.double()(x.double())
        made = Winograd(convolution.float())(x.to(torch.bfloat16, memory_format=torch.channels_last))
    assert made.shape == wanted.shape
    assert (made - wanted).pow(2).mean().sqrt() < 0.02 * wanted.std()


@pytest.mark.parametrize("shape", [(1, 16, 12, 14), (2, 16, 13, 14), (1, 16, 7, 7)])
@pytest.mark.parametrize("kernel", [7, 3, (3, 5)])
def test_interleaved_is_the_convolution(shape: tuple[int, ...], kernel: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 3, kernel)
    x = torch.randn(shape)
    with torch.no_grad():
        wanted = convolution.double()(x.double())
        made = Interleaved(convolution.float())(x.to(torch.bfloat16, memory_format=torch.channels_last))
    assert made.shape == wanted.shape
    assert (made - wanted).pow(2).mean().sqrt() < 0.02 * wanted.std()


# --- in bf16 where that is near enough -------------------------------------------------------------


def test_agreement_is_the_peak_signal_to_noise_ratio() -> None:
    exact = torch.zeros(4)
    assert agreement(exact, exact + 0.02) == pytest.approx(40)
    assert agreement(exact, exact) == np.inf
    assert agreement(exact, exact * torch.nan) == -np.inf


@pytest.mark.usefixtures("known_bf16")
def test_auto_is_bf16_where_the_first_image_agrees(tmp_path: Path) -> None:
    jobs = plan_outputs([str(write_pictures(tmp_path / "in", 4))], tmp_path / "out").jobs
    made = of(real(), "auto")
    choice = choose_precision(made, jobs)
    assert choice.precision == "bf16"
    assert choice.decibels is not None
    assert choice.decibels >= 40
    assert str(choice) == f"bf16 ({choice.decibels:.1f} dB from fp32 on the first image)"
    image = read_image(jobs[1].source)
    np.testing.assert_array_equal(made(image).pixels, of(real(), "bf16")(image).pixels)
    assert not np.array_equal(made(image).pixels, of(real())(image).pixels)


@pytest.mark.usefixtures("known_bf16")
def test_auto_is_fp32_where_the_first_image_does_not_agree_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pictures(tmp_path / "in", 4)
    monkeypatch.setattr(Translator, "load", lambda model, **options: of(Rough(), options["precision"]))
    for precision in ("auto", "fp32"):
        with pytest.raises(SystemExit) as ended:
            main(["translate", "m", str(folder), "--out", str(tmp_path / precision), "--precision", precision])
        assert ended.value.code == 0
    auto, exact = capsys.readouterr().out.split("Translated ")[1:]
    assert auto.startswith(f"4 of 4 images into {tmp_path / 'auto'} in fp32 (bf16 is ")
    assert " dB from it on the first image, below the limit of 40)" in auto
    assert "in fp32 (as requested)" in exact
    for path in (tmp_path / "fp32").iterdir():
        assert path.read_bytes() == (tmp_path / "auto" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("known", "count", "sentence"),
    [
        (False, 3, "fp32 (this cpu has no instructions for bf16)"),
        (True, 2, "fp32 (comparing bf16 with it pays from 3 images on)"),
    ],
)
def test_auto_says_why_it_is_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, count: int, sentence: str
) -> None:
    monkeypatch.setattr(torch_backend, "has_bf16", lambda device: known)
    jobs = plan_outputs([str(write_pictures(tmp_path / "in", count))], tmp_path / "out").jobs
    made = of(real(), "auto")
    assert str(choose_precision(made, jobs)) == sentence
    image = read_image(jobs[0].source)
    np.testing.assert_array_equal(made(image).pixels, of(real())(image).pixels)


@pytest.mark.usefixtures("known_bf16")
def test_the_first_image_of_8_bits_decides_and_broken_ones_are_passed_over(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 4)
    write_image(folder / "000.png", picture(0, channels=1, dtype=np.uint16))
    (folder / "001.png").write_bytes(b"no image")
    jobs = plan_outputs([str(folder)], tmp_path / "out").jobs
    assert choose_precision(of(Identity(), "auto"), jobs).precision == "bf16"
    deep = of(Identity(), "auto")
    for number in range(4):
        write_image(folder / f"{number:03d}.png", picture(0, channels=1, dtype=np.uint16))
    assert str(choose_precision(deep, jobs)) == "fp32 (no result of 8 bits among the first 8 images)"
    assert deep.choose(picture(1)).precision == "fp32"


@pytest.mark.parametrize("precision", ["bf16", "auto"])
@pytest.mark.usefixtures("known_bf16")
def test_results_of_more_than_8_bits_are_never_made_in_bf16(precision: str) -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.uint16, np.int16, np.int32, np.float32):
        values = DomainValues(range=ValueRange((0, 1000)), dtype=np.dtype(dtype).name)
        about = info(values=values if dtype in (np.int32, np.float32) else None)
        near, exact = of(real(), precision, about=about), of(real(), about=about)
        pixels = rng.integers(0, 1000, (24, 24, 3)).astype(dtype)
        assert near.choose(picture(0)).precision == (
            "fp32" if precision == "auto" and about.values["B"].dtype else "bf16"
        )
        np.testing.assert_array_equal(near(pixels), exact(pixels))
    assert not np.array_equal(near_8_bits(precision), near_8_bits("fp32"))
    narrow = info(values=DomainValues(range=ValueRange((0, 7)), dtype="uint8"))
    assert not of(real(), precision, about=narrow).is_coarse(picture(0), "AtoB")


def near_8_bits(precision: str) -> np.ndarray:
    return of(real(), precision)(picture(1)).pixels


@pytest.mark.parametrize("precision", ["bf16", "auto"])
@pytest.mark.usefixtures("known_bf16")
def test_a_network_that_changes_nothing_gives_the_pixels_back_in_bf16(tmp_path: Path, precision: str) -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(
        [Image(every), Image(every[..., :1]), picture(2, channels=1, dtype=np.uint16), picture(3), picture(4)]
    ):
        write_image(tmp_path / "in" / f"{number}.png", image)
    out = tmp_path / "out"
    for channels in (1, 3):
        made = of(Identity(), precision, about=info(channels))
        jobs = [
            job
            for job in plan_outputs([str(tmp_path / "in")], out, overwrite=True).jobs
            if read_image(job.source).channels == channels
        ]
        choose_precision(made, jobs)
        assert translate_files(made, jobs) == []
        for job in jobs:
            np.testing.assert_array_equal(read_image(job.target).pixels, read_image(job.source).pixels)
            assert read_image(job.target).dtype == read_image(job.source).dtype
    floats = np.random.default_rng(0).random((9, 9, 3), np.float32)
    exact = of(Identity(), precision, about=info(values=DomainValues(range=ValueRange((0, 1)), dtype="float32")))
    np.testing.assert_array_equal(exact(floats), floats)


# --- starting fast ---------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
def test_importing_leaves_the_collector_as_it_was(enabled: bool) -> None:
    try:
        (gc.enable if enabled else gc.disable)()
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()


def python(code: str) -> str:
    """Return the output of a Python process."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_what_compilers_alone_need_is_imported_when_something_asks_for_it() -> None:
    code = """
import sys
from unpaired.cli.quick import SHAPES, import_shapes, without_shapes
without_shapes()
import torch
print("torch._refs" in sys.modules)
from torch._meta_registrations import meta_conv  # as torch's own code does
print("torch._refs" in sys.modules, sys.modules[SHAPES].meta_conv is meta_conv, import_shapes() is sys.modules[SHAPES])
"""
    assert python(code).split() == ["False", "True", "True", "True"]


def test_shapes_are_told_as_ever_once_they_are_imported() -> None:
    code = """
from unpaired.cli.quick import import_shapes, without_shapes
without_shapes()
import torch
import_shapes()
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    grown = torch.nn.Conv2d(3, 4, 3)(torch.empty(2, 3, 8, 8))
    print(*torch.nn.functional.pad(grown, (1, 1, 1, 1), mode="reflect").shape)
"""
    assert python(code) == "2 4 8 8"


def test_a_torch_that_is_imported_already_is_left_alone() -> None:
    code = """
import sys, torch
from unpaired.cli.quick import SHAPES, without_shapes
before = sys.modules[SHAPES]
without_shapes()
print(sys.modules[SHAPES] is before)
"""
    assert python(code) == "True"


def test_the_shell_translates_to_the_bit_as_the_library_does(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "in", 1)
    write_model(tmp_path / "model", info(), {"AtoB": real(4)})
    command = ["translate", str(tmp_path / "model"), str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]
    forked.run([sys.executable, "-m", "unpaired", *command], check=True, capture_output=True)
    expected = Translator.load(tmp_path / "model", device="cpu")(read_image(images / "000.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "000.png").pixels, expected.pixels)
