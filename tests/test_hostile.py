"""Untrusted files: bombs, unsupported formats, odd names and links, corrupt bytes, private metadata in outputs."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch
from torch import nn

from fuzz import bombs, corpus
from unpaired import cli
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.download import download
from unpaired.errors import DataError, ImageError, OutputError, StorageError, UnpairedError
from unpaired.images import FORMATS, Image, read_header, read_image, write_image
from unpaired.models.model_folder import write_model
from unpaired.networks import ResNetGenerator
from unpaired.recipes import Config
from unpaired.storage import alone
from unpaired.translate import DirectionInfo, Job, ModelInfo, TrainingInfo, Translator, plan_outputs, translate_files
from unpaired.translate.jobs import RECORD
from unpaired.untrusted.archives import directory_length, unpack

TESTS = Path(__file__).parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
SMALL = ResNetGenerator(base_channels=2, num_blocks=1)


def measure(kind: str, *paths: Path) -> dict[str, Any]:
    """Return what `measure.py` found of each path, in a process that has read nothing else."""
    command = [sys.executable, str(TESTS / "fuzz" / "measure.py"), kind, *map(str, paths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_small_model(folder: Path) -> Path:
    torch.manual_seed(0)
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=SMALL)},
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=1, seed=0, load_size=8, crop_size=8, objective="cyclegan"),
    )
    write_model(folder, info, {"AtoB": SMALL.build(3, 3)})
    return folder


class Same(nn.Module):
    """Stands in for a generator that leaves images as they are."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def same() -> Translator:
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=SMALL)},
        domains={"A": "a", "B": "b"},
        training=TrainingInfo(step=1, seed=0, load_size=8, crop_size=8, objective="cyclegan"),
    )
    return Translator(info, {"AtoB": Same()}, device="cpu")


def picture(seed: int = 0, size: tuple[int, int] = (9, 8)) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


# --- bombs, and formats that are not read ----------------------------------------------------------


@LINUX
def test_every_bomb_is_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    for number, make in enumerate(bombs.images().values()):
        (tmp_path / f"{number}.png").write_bytes(make())
    found = measure("image", *(tmp_path / f"{number}.png" for number in range(len(bombs.images()))))
    for name, (outcome, seconds, megabytes) in zip(bombs.images(), found["results"].values(), strict=True):
        # Pixels beyond the last row are never unpacked, so that the picture before them may be read.
        assert outcome.startswith(str(tmp_path)) or (outcome == "read" and "pixels" in name), (name, outcome)
        assert "\n" not in outcome
        assert seconds <= 0.5, (name, seconds)
        assert megabytes <= 64, (name, megabytes)
    # ICO was not even tried: no parser is loaded that is not on the list.
    parsers = {"Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP"}
    assert {name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in found["parsers"]} <= parsers | {"Mpo"}


def test_of_too_many_pages_the_picture_is_read(tmp_path: Path) -> None:
    page = struct.pack("<H", 6) + b"".join(
        struct.pack("<2H2I", tag, 4, 1, value)
        for tag, value in ((256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (279, 1))
    )
    size = len(page) + 4
    pages = b"".join(page + struct.pack("<I", 8 + size * (number + 1)) for number in range(100_000))
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + pages)
    started = time.process_time()
    assert read_image(tmp_path / "x.tif").pixels.shape == (1, 1, 1)
    assert time.process_time() - started < 0.5


FOREIGN = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n",
    "EPS with a preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, 99, 0, 0, 0, 0),
    "PDF": b"%PDF-1.7\n1 0 obj\n",
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3),
    "FLI": struct.pack("<IHHHHH", 128, 0xAF11, 1, 9, 9, 8) + bytes(114),
    "SGI": struct.pack(">HBBHHHH", 474, 0, 1, 3, 9, 9, 3) + bytes(500),
    "FITS": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "ICNS": b"icns" + struct.pack(">I", 8),
    "PCX": b"\x0a\5\1\x08" + bytes(124),
    "DDS": b"DDS \x7c\0\0\0" + bytes(120),
    "XPM": b"/* XPM */\nstatic char * x[] = {\n",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(16),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(100),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "NumPy": b"\x93NUMPY\1\0\x46\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_format_that_is_not_on_the_list_is_not_parsed_whatever_it_is_called(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawned(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", spawned)
    for suffix in (".png", ".jpg", ".tif", ".gif"):
        (tmp_path / f"x{suffix}").write_bytes(FOREIGN[kind])
        with pytest.raises(ImageError, match="no image of a known format"):
            read_image(tmp_path / f"x{suffix}")


# --- names and kinds of files ----------------------------------------------------------------------

NAMES = [
    b"a" * 251 + b".png",
    b"new\nline.png",
    b"\x1b[31mred\x1b]0;title\x07.png",
    "smile \U0001f600.png".encode(),
    unicodedata.normalize("NFC", "caf\u00e9.png").encode(),
    unicodedata.normalize("NFD", "th\u00e9.png").encode(),
    b"-rf.png",
    b"--out.png",
    b"not utf-8 \xff\xfe.png",
    "reversed \u202egnp.png".encode(),
    b"$(touch owned) `touch owned` ; touch owned.png",
    b"%s%n{0}[bold].png",
    b"<script>.png",
    b" .png",
]
"""Names as the disk has them."""


@pytest.fixture
def oddly_named(tmp_path: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    write_image(tmp_path / "x.png", picture())
    if sys.platform != "linux":
        pytest.skip("file systems of other systems refuse such names")
    for name in NAMES:
        shutil.copyfile(os.fsencode(tmp_path / "x.png"), os.fsencode(folder) + b"/" + name)
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder except the record of results."""
    return [path.name for path in folder.iterdir() if path.name != RECORD]


def control_characters(text: str) -> list[str]:
    return [c for c in text if not c.isprintable() and c != "\n"]


def test_oddly_named_images_are_translated_one_to_one(
    oddly_named: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = write_small_model(tmp_path / "model")
    started = time.process_time()
    assert run("translate", str(model), str(oddly_named), "--out", str(tmp_path / "out"), "--device", "cpu") == 0
    assert time.process_time() - started < 5
    out, err = capfd.readouterr()
    assert sorted(map(os.fsencode, names_in(tmp_path / "out"))) == sorted(NAMES)
    assert not control_characters(out + err)
    assert len(out.splitlines()) == len(NAMES) + 1
    assert not (tmp_path / "owned").exists()


def test_a_name_that_begins_with_a_dash_can_be_given_alone(
    oddly_named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_small_model(tmp_path / "model")
    monkeypatch.chdir(oddly_named)
    assert run("translate", "--out", str(tmp_path / "out"), "--device", "cpu", "--", str(model), "-rf.png") == 0
    assert names_in(tmp_path / "out") == ["-rf.png"]


def test_names_that_some_file_systems_take_for_one_are_never_written_over_one_another(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        folder = tmp_path / form
        folder.mkdir()
        write_image(folder / unicodedata.normalize(form, "caf\u00e9.png"), picture())
    with pytest.raises(OutputError, match="would both become"):
        plan_outputs([tmp_path / "NFC", tmp_path / "NFD"], tmp_path / "out")


def test_a_run_trains_on_oddly_named_images_and_its_report_is_clean(
    oddly_named: Path,
    two_folders: Path,
    toy_config: Config,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    said: list[str],
) -> None:
    root = tmp_path / os.fsdecode(b"odd \xff\x1b[31m <blink>2[bold]")
    shutil.copytree(two_folders, root)
    for path in oddly_named.iterdir():
        shutil.copyfile(path, root / "trainA" / path.name)
    arguments = ["train", str(root), "--out", str(tmp_path / "run"), "--recipe", "demo", "--steps", "2"]
    settings = {
        "--generator.base-channels": 2,
        "--generator.num-blocks": 1,
        "--discriminator.base-channels": 2,
        "--data.load-size": 36,
        "--data.crop-size": 32,
        "--device": "cpu",
        "--run.log-every": 1,
        "--run.sample-every": 2,
    }
    arguments += [str(part) for pair in settings.items() for part in pair]
    assert run(*arguments) == 0
    assert run("info", str(tmp_path / "run")) == 0
    out, err = capfd.readouterr()
    assert not control_characters(out + err)
    assert len(said) > 2
    for sentence in said:  # handlers that write UTF-8 need text that can be encoded
        assert not control_characters(sentence.encode().decode()), sentence
    for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in report
    assert "<blink>" not in report
    (root / "trainB" / "broken \x1b[2J\nname.png").write_bytes(b"no image")
    assert run("train", str(root), "--out", str(tmp_path / "other"), *arguments[4:]) == 65
    err = capfd.readouterr().err
    assert not control_characters(err)
    assert "broken \\x1b[2J\\nname.png" in err


def odd_things(folder: Path) -> None:
    """Put special files into a folder, under names of images."""
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "pipe.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "round").symlink_to(".")
    (folder / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's name is short
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(folder / "device.png", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, which never ends


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_devices_and_circles_are_passed_over_in_training_and_reported_in_translating(tmp_path: Path) -> None:
    odd_things(tmp_path / "in")
    write_image(tmp_path / "in" / "good.png", picture())
    started = time.process_time()
    sources = open_domains(DataConfig(a=str(tmp_path / "in"), b=str(tmp_path / "in")))
    assert [path.name for path in sources.train_b.paths] == ["good.png"]
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out").jobs
    failures = translate_files(same(), jobs)
    assert {failure.source.name for failure in failures} == {job.source.name for job in jobs} - {"good.png"}
    assert {"pipe.png", "circle.png", "dangling.png", "socket.png"} <= {failure.source.name for failure in failures}
    assert names_in(tmp_path / "out") == ["good.png"]
    assert time.process_time() - started < 5


def test_a_link_out_of_the_folder_is_read_only_when_asked(
    tmp_path: Path, two_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "private.png", picture())
    train_a = two_folders / "trainA"
    (train_a / "inside.png").symlink_to("000.png")
    assert len(open_domains(DataConfig(root=str(two_folders))).train_b) == 5
    (train_a / "out.png").symlink_to("../../private.png")
    with pytest.raises(DataError, match=r"out\.png in .* leads out of that folder; .* --data\.follow-symlinks yes"):
        open_domains(DataConfig(root=str(two_folders)))
    assert len(open_domains(DataConfig(root=str(two_folders), follow_symlinks=True)).train_a or ()) == 8
    model = write_small_model(tmp_path / "model")
    command = ["translate", str(model), str(train_a), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert run(*command) == 65
    assert "add --follow-symlinks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(*command, "--follow-symlinks") == 0
    assert (tmp_path / "out" / "out.png").is_file()
    # A folder of images, or a file, that is itself a link was named by the user.
    (tmp_path / "linked").symlink_to(two_folders / "trainB")
    assert len(plan_outputs([tmp_path / "linked", train_a / "out.png"], tmp_path / "more").jobs) == 6


@pytest.fixture
def barred(tmp_path: Path) -> Iterator[Path]:
    """A folder of things that their modes keep from being read, entered or written to."""
    folder = tmp_path / "barred"
    closed = {"file/b.png": 0, "tree/closed": 0, "listed": 0o444, "written": 0o555}
    for name in ("file/a.png", "file/b.png", "tree/a.png", "tree/closed/b.png", "listed/a.png", "written/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, picture())
    write_small_model(folder / "model")
    for name, mode in closed.items():
        (folder / name).chmod(mode)
    yield folder
    for name in closed:
        (folder / name).chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="root is bound to modes by Linux's capabilities")
def test_what_modes_forbid_is_named_and_never_passed_over(barred: Path, two_folders: Path, tmp_path: Path) -> None:
    b, out = two_folders / "trainB", tmp_path / "out"

    def translate(inputs: str, out: Path) -> list[str]:
        return ["translate", str(barred / "model"), str(barred / inputs), "--out", str(out), "--device", "cpu"]

    def train(a: Path, out: Path) -> list[str]:
        return ["train", "--a", str(a), "--b", str(b), "--out", str(out), "--device", "cpu"]

    refused = ": Permission denied; check its permissions.\n"
    cases: list[tuple[list[str], int, str]] = [
        (translate("file", out), 65, f"failed: Cannot open {barred}/file/b.png: Permission denied; check its name and"),
        (translate("tree", out), 65, f"unpaired: Cannot read {barred}/tree/closed{refused}"),
        (translate("tree/a.png", barred / "written"), 73, f"unpaired: Cannot write into {barred}/written; change its"),
        (train(barred / "file", out), 65, f"unpaired: Cannot open {barred}/file/b.png: Permission denied; check its"),
        (train(barred / "tree", out), 65, f"unpaired: Cannot read {barred}/tree/closed{refused}"),
        (train(barred / "tree" / "closed", out), 65, f"unpaired: Cannot read {barred}/tree/closed{refused}"),
        (train(barred / "listed", out), 65, f"unpaired: Cannot read {barred}/listed/a.png{refused}"),
        (train(b, barred / "written" / "run"), 73, f"unpaired: Cannot create {barred}/written/run: Permission denied;"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "faults.unprivileged"],
        cwd=TESTS,
        input=json.dumps([line for line, _, _ in cases]),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    for (line, code, sentence), (left, *printed) in zip(cases, json.loads(done.stdout), strict=True):
        assert (left, sentence in "".join(printed)) == (code, True), (line, left, printed)
    assert names_in(out) == ["a.png"]
    assert names_in(barred / "written") == ["c.png"]


# --- outputs ---------------------------------------------------------------------------------------

SECRET = "Kim at 52.0907N"


def tagged(path: Path) -> Path:
    """Write an image with personal metadata, in every way its format has."""
    exif = PIL.Image.Exif()
    exif[0x010E] = exif[0x013B] = SECRET  # description, artist
    exif.get_ifd(0x8825)[29] = SECRET  # a date of the GPS block
    exif.get_ifd(0x8825)[1] = "N"
    kind = FORMATS.writable[path.suffix]
    options: dict[str, Any] = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    if kind in ("JPEG", "WEBP"):
        options["xmp"] = f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()
    if kind == "JPEG":
        options["comment"] = SECRET.encode()
    if kind == "PNG":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", SECRET)
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", SECRET)
    picture(size=(40, 40)).to_pil().save(path, **options)
    if kind == "PPM":
        path.write_bytes(path.read_bytes().replace(b"P6\n", f"P6\n# {SECRET}\n".encode(), 1))
    return path


def test_no_output_tells_where_and_of_whom_the_input_was(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    reported = 0
    for suffix in sorted(key for key in FORMATS.writable if PIL.Image.registered_extensions().get(key)):
        source = tagged(tmp_path / "in" / f"{suffix[1:]}{suffix}")
        reported += SECRET.encode() in source.read_bytes()
        for target in FORMATS.writable:
            job = Job(source, tmp_path / "out" / f"{suffix[1:]}{target}")
            assert translate_files(same(), [job]) == []
            content = job.target.read_bytes()
            assert not [mark for mark in (SECRET.encode(), b"Exif", b"xmp", b"GPS") if mark in content], job
    assert reported >= 7


def test_neither_samples_nor_report_nor_model_hold_the_metadata_of_training_images(
    two_folders: Path, toy_config: Config, tmp_path: Path
) -> None:
    from dataclasses import replace

    from unpaired.runs import train

    for folder in ("trainA", "trainB", "testA", "testB"):
        for path in (two_folders / folder).iterdir():
            tagged(path)
    config = replace(toy_config, data=replace(toy_config.data, root=str(two_folders)))
    config = replace(config, schedule=replace(config.schedule, num_steps=2))
    train(config, out=tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_an_output_folder_that_cannot_be_used_is_found_before_the_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never(Same):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("an image was translated")

    write_image(tmp_path / "x.png", picture())
    translator = same()
    translator._loaded["AtoB"].network = Never().eval()  # type: ignore[attr-defined]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot create"):
        translate_files(translator, plan_outputs([tmp_path / "x.png"], tmp_path / "file" / "out").jobs)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="Cannot write into"):
        translate_files(translator, plan_outputs([tmp_path / "x.png"], tmp_path / "out").jobs)


def test_an_output_folder_that_disappears_is_said_and_what_was_made_before_is_whole(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "in" / f"{number}.png", picture(number)) if number else (tmp_path / "in").mkdir()
    jobs = plan_outputs([tmp_path / "in"], tmp_path / "out").jobs
    done: list[Path] = []

    def after(job: Job, failure: object) -> None:
        done.append(job.target)
        if len(done) == 1:
            (tmp_path / "out").rename(tmp_path / "moved")

    with pytest.raises(StorageError, match="has been removed, replaced or unmounted"):
        translate_files(same(), jobs, on_done=after)
    assert [path.name for path in done] == ["1.png"]
    assert not (tmp_path / "out").exists()
    assert names_in(tmp_path / "moved") == ["1.png"]
    assert read_image(tmp_path / "moved" / "1.png").pixels.shape == (9, 8, 3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a chosen system call")
def test_a_kill_at_any_call_leaves_no_part_of_an_output_under_its_name(tmp_path: Path) -> None:
    model = write_small_model(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_image(tmp_path / "in" / f"{number}.png", picture(number, (64, 64)))
    out, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "unpaired", "translate", str(model), str(tmp_path / "in"), "--device", "cpu"]
    calls = ("openat", "write", "close", "rename")

    def traced(call: str, at: int = 0) -> int:
        shutil.rmtree(out, ignore_errors=True)
        kill = ["-e", f"inject={call}:signal=KILL:when={at}"] if at else []
        watch = ["strace", "-qq", "-y", "-o", str(log), "-e", f"trace={call}", *kill, "--", *command, "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(watch, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert done.returncode in ((-signal.SIGKILL, 0) if at else (0,)), done.stderr
        return done.returncode

    def hits(call: str) -> list[int]:
        assert traced(call) == 0
        lines = log.read_text(errors="replace").splitlines()
        return [number for number, line in enumerate(lines, 1) if f"{out}/" in line]

    def killed_at(call: str, number: int, at: int) -> bool:
        """Kill at a hit; a thread can have made a call of the main one meanwhile, so that all come one earlier."""
        return any(traced(call, place) for place in itertools.chain([at], (hits(call)[number] for _ in range(2))))

    killed = 0
    for call in calls:
        for number, at in enumerate(hits(call)):
            assert killed_at(call, number, at), f"{call} at {at}"
            killed += 1
            whole = [path for path in out.iterdir() if not path.name.startswith(".unpaired-")]
            assert all(read_image(path).pixels.shape == (64, 64, 3) for path in whole)
    assert killed >= 8


# --- archives and downloads ------------------------------------------------------------------------


def test_two_downloads_into_one_folder_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    with (
        alone(tmp_path / ".h.lock", "held"),
        pytest.raises(OutputError, match="is being fetched by another process; wait for it"),
    ):
        download("horse2zebra", out=tmp_path / "h", url="http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_by_one_at_a_time_and_leaves_nothing(tmp_path: Path) -> None:
    inside, most, refused = [0], [0], [0]

    def work() -> None:
        for _ in range(50):
            try:
                with alone(tmp_path / "lock", "held"):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0.0005)
                    inside[0] -= 1
            except OutputError:
                refused[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert refused[0] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_million_entries_are_refused_within_two_seconds(tmp_path: Path) -> None:
    record = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    with (tmp_path / "archive").open("wb") as file:
        file.write(b"PK\3\4")
        for number in range(10**6 + 1):
            file.write(record + b"%07d" % number)
        length = file.tell() - 4
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**6 + 1, 10**6 + 1, length, 4))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, length + 4, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0))
    (tmp_path / "inside").mkdir()
    started = time.process_time()
    with pytest.raises(DataError, match="more than 1,000,000 entries"):
        unpack(tmp_path / "archive", tmp_path / "inside")
    assert time.process_time() - started < 2


def test_the_length_of_a_zips_directory_cannot_be_hidden_behind_a_second_end(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x", b"y")
    archive_path = tmp_path / "archive"
    archive_path.write_bytes(content.getvalue())
    length = directory_length(archive_path)
    assert 40 < length < 100
    # The mark of an end, within the end itself: as the place of the directory.
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, 10**9, int.from_bytes(b"PK\5\6", "little"), 0)
    archive_path.write_bytes(content.getvalue() + end)
    assert directory_length(archive_path) == 10**9


# --- broken bytes ----------------------------------------------------------------------------------


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """Return the bytes with some changed, cut out, doubled, or an extreme number put in."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 6))):
        at = int(draw.integers(len(changed) + 1))
        match int(draw.integers(5)):
            case 0:
                changed[at : at + 1] = draw.bytes(1)
            case 1:
                del changed[at : at + int(draw.integers(1, 20))]
            case 2:
                changed[at:at] = changed[at : at + int(draw.integers(1, 40))]
            case 3:
                changed[at : at + 4] = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)][int(draw.integers(3))]
            case _:
                changed[at:at] = draw.bytes(int(draw.integers(1, 8)))
    return bytes(changed)


def message_of(read: Callable[[Path], object], path: Path) -> str:
    """Return the message of an UnpairedError, "" without one; any other error is raised."""
    try:
        read(path)
    except UnpairedError as error:
        return str(error)
    return ""


def test_broken_bytes_are_an_image_or_one_sentence_and_never_take_long(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    corpus.write(tmp_path / "corpus")
    files = sorted((tmp_path / "corpus").iterdir())
    assert len({path.suffix for path in files}) >= 8
    refused = 0
    for number in range(600):
        source = files[number % len(files)]
        path = tmp_path / f"x{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), draw))
        started = time.process_time()
        for read in (read_header, lambda path: read_image(path, max_pixels=2**20)):
            message = message_of(read, path)
            refused += bool(message)
            assert message.isprintable()
            assert not message or str(path) in message
        assert time.process_time() - started < 2, source
    assert 200 < refused < 1200


CORRUPT: dict[str, Callable[[], bytes]] = {
    "jpeg of markers": lambda: b"\xff\xd8" + b"\xff\xfe" * 9,
    "jpeg that ends in a marker": lambda: b"\xff\xd8\xff",
    "png without chunks": lambda: b"\x89PNG\r\n\x1a\n",
    "tiff whose page is nowhere": lambda: b"II*\0\xff\xff\xff\xff",
    "large tiff whose page is nowhere": lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8,
    "gif without a frame": lambda: b"GIF89a",
    "gif cut in a block": lambda: b"GIF89a" + bytes(7) + b"!\xfe\x09",
    "ppm without numbers": lambda: b"P6",
    "dicom in name alone": lambda: bytes(128) + b"DICM",
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_the_end_of_a_file_can_come_anywhere(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(CORRUPT[kind]())
    for read in (read_header, read_image):
        with pytest.raises(UnpairedError, match=r"x\.png"):
            read(tmp_path / "x.png")
