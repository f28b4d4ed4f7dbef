"""`translate --resume`: finished results are recognised by their input and model; one process per folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import forked
from unpaired import cli
from unpaired.errors import ImageError, OutputError, StorageError
from unpaired.images import Image, write_image
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.objectives.base import initialised
from unpaired.translate import (
    DirectionInfo,
    Failure,
    Job,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    translate_files,
    write_model,
)
from unpaired.translate.backends.torch_backend import TorchGenerator
from unpaired.translate.jobs import RECORD
from unpaired.translate.record import Record, alone_in

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)


def make_model(folder: Path, seed: int = 0) -> Path:
    import torch

    torch.manual_seed(seed)
    directions = {name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")}
    networks = {name: SMALL.build(3, 3) for name in directions}
    for network in networks.values():
        initialise(network)
    training = TrainingInfo(step=7, seed=seed, load_size=72, crop_size=64, objective="cyclegan")
    write_model(folder, ModelInfo(directions=directions, domains={"A": "a", "B": "b"}, training=training), networks)
    return folder


def picture(seed: int, side: int = 24) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model and, below "in", eight images, two of them in a folder of their own."""
    make_model(tmp_path / "model")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(8):
        folder = tmp_path / "in" / ("sub" if number > 5 else "")
        write_image(folder / f"{number}.png", picture(number))
    return tmp_path


def command(place: Path, *more: str, model: str = "model", out: str = "out") -> list[str]:
    arguments = ["translate", str(place / model), str(place / "in"), "--out", str(place / out), "--device", "cpu"]
    return [*arguments, "--precision", "fp32", *more]


def run(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, list[str], str]:
    """Return the exit code, the names of the results that were made, and all that was printed."""
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert isinstance(left.value.code, int)
    printed, err = capsys.readouterr()
    made = [Path(line.split(" -> ")[1]).name for line in printed.splitlines() if " -> " in line]
    return left.value.code, made, printed + err


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_what_is_finished_is_not_made_again_and_the_rest_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, command(place))[:2] == (0, [f"{n}.png" for n in range(8)])
    whole = tree(place / "out")
    (place / "out" / "2.png").unlink()
    code, made, printed = run(capsys, command(place, "--resume"))
    assert (code, made) == (0, ["2.png"])
    assert "7 of 8 were finished before." in printed
    assert "Translated 1 of 8 images" in printed
    assert tree(place / "out") == whole
    code, made, printed = run(capsys, command(place, "--resume"))
    assert (code, made) == (0, [])
    assert "8 of 8 were finished before." in printed


ALL = [f"{n}.png" for n in range(8)]
CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "an input": (lambda place: write_image(place / "in" / "3.png", picture(99)), ["3.png"]),
    "an input of equal size and date": (lambda place: same_date(place / "in" / "3.png"), ["3.png"]),
    "an input in a folder": (lambda place: write_image(place / "in" / "sub" / "7.png", picture(99)), ["7.png"]),
    "a result": (lambda place: (place / "out" / "4.png").write_bytes(b"something else"), ["4.png"]),
    "a result cut short": (lambda place: os.truncate(place / "out" / "4.png", 100), ["4.png"]),
    "a new input": (lambda place: write_image(place / "in" / "90.png", picture(90)), ["90.png"]),
    "dates alone": (lambda place: os.utime(place / "in" / "3.png", (1, 1)), []),
    "an input gone": (lambda place: (place / "in" / "3.png").unlink(), []),
    "a line cut off": (lambda place: cut_record(place, 30), ["7.png"]),
    "a line without its end": (lambda place: cut_record(place, 1), []),
    "a record of zeros": (lambda place: (place / "out" / RECORD).write_bytes(b"\0" * 5000), ALL),
    "a record of something else": (
        lambda place: (place / "out" / RECORD).write_text('[1]\n{"output": 3}\n"x"\n'),
        ALL,
    ),
}


def same_date(path: Path) -> None:
    """Change the content and nothing else that a listing shows."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_record(place: Path, num_bytes: int) -> None:
    path = place / "out" / RECORD
    os.truncate(path, path.stat().st_size - num_bytes)


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_counts_as_finished_where_input_and_result_are_as_recorded(
    place: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    run(capsys, command(place))
    alter, expected = CHANGES[change]
    alter(place)
    code, made, _ = run(capsys, command(place, "--resume"))
    assert (code, made) == (0, expected)
    assert run(capsys, command(place, "--resume"))[:2] == (0, [])


@pytest.mark.parametrize(
    ("options", "model"),
    [(["--direction", "BtoA"], "model"), (["--keep-icc"], "model"), ([], "other"), (["--precision", "bf16"], "model")],
)
def test_results_of_another_model_direction_or_option_are_made_again(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], model: str
) -> None:
    make_model(place / "other", seed=1)
    run(capsys, command(place))
    given = command(place, "--resume", model=model)
    if options[:1] == ["--precision"]:
        given[given.index("fp32")] = "bf16"
        options = []
    assert run(capsys, [*given, *options])[:2] == (0, [f"{n}.png" for n in range(8)])
    assert run(capsys, [*given, *options])[:2] == (0, [])


def test_a_copy_of_the_model_elsewhere_is_the_same_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, command(place))
    shutil.copytree(place / "model", place / "copy")
    assert run(capsys, command(place, "--resume", model="copy"))[:2] == (0, [])


def test_a_first_run_may_be_given_resume_and_failures_are_tried_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "in" / "5.png").write_bytes(b"no image")
    code, made, printed = run(capsys, command(place, "--resume"))
    assert (code, len(made)) == (65, 7)
    assert "finished before" not in printed
    code, made, printed = run(capsys, command(place, "--resume"))
    assert (code, made) == (65, [])
    assert "Translated 0 of 8" in printed
    write_image(place / "in" / "5.png", picture(5))
    assert run(capsys, command(place, "--resume"))[:2] == (0, ["5.png"])


def test_without_resume_existing_results_are_refused_and_the_sentence_says_what_can_be_done(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, command(place))
    code, made, printed = run(capsys, command(place))
    assert (code, made) == (73, [])
    assert "add --resume to continue, --overwrite to replace them, or choose another --out" in printed
    code, _, printed = run(capsys, command(place, "--resume", "--overwrite"))
    assert code == 78
    assert "--resume keeps finished results and --overwrite replaces all of them" in printed
    (place / "out" / RECORD).unlink()
    code, made, printed = run(capsys, command(place, "--resume"))
    assert (code, made) == (73, [])
    assert "has no record of their inputs; add --overwrite instead of --resume" in printed
    code, made, printed = run(capsys, command(place))
    assert "add --overwrite or choose another --out" in printed
    assert "--resume" not in printed


def test_the_scores_of_a_resumed_run_are_those_of_all_images(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.trust import scored
    from unpaired.trust.score import measure

    def scorer(translator: Translator, model: Path, direction: str) -> object:
        import torch

        torch.manual_seed(0)
        some = {domain: torch.rand(20, 3, 24, 24) * 2 - 1 for domain in "AB"}
        return scored.Scorer(translator.in_fp32(), measure(translator, some, {}, {}), direction)

    monkeypatch.setattr(scored, "load_scorer", scorer)
    assert run(capsys, command(place, "--scores"))[0] == 0
    whole, table = tree(place / "out"), (place / "out" / "scores.csv").read_bytes()
    assert table.count(b"\n") == 9
    (place / "out" / "6.png").unlink(missing_ok=True)
    (place / "out" / "sub" / "6.png").unlink()
    (place / "out" / "scores.csv").unlink()
    assert run(capsys, command(place, "--scores", "--resume"))[:2] == (0, ["6.png"])
    assert (tree(place / "out"), (place / "out" / "scores.csv").read_bytes()) == (whole, table)
    assert run(capsys, command(place, "--keep-best", "50%", "--resume"))[:2] == (0, [])
    assert (place / "out" / "scores.csv").read_bytes() != table


# --- the record ------------------------------------------------------------------------------------


def made_jobs(place: Path, count: int) -> list[Job]:
    (place / "made").mkdir()
    jobs = [Job(place / "in" / f"{n}.png", place / "made" / f"{n}.png") for n in range(count)]
    for job in jobs:
        job.target.write_bytes(b"made of " + job.source.read_bytes())
    return jobs


def test_an_input_that_changes_while_it_is_translated_is_not_noted(place: Path) -> None:
    jobs = made_jobs(place, 3)
    record = Record(place / "made", jobs, {"model": "x"})
    record.start()
    write_image(jobs[1].source, picture(77))
    for job in jobs:
        record.add(job)
    assert Record(place / "made", jobs, {"model": "x"}).finished(jobs) == {jobs[0], jobs[2]}
    assert Record(place / "made", jobs, {"model": "y"}).finished(jobs) == set()


def test_the_record_does_not_grow_with_every_run(place: Path) -> None:
    jobs = made_jobs(place, 3)
    for _ in range(120):
        record = Record(place / "made", jobs, {"model": "x"})
        record.start()
        for job in jobs:
            record.add(job)
    assert (place / "made" / RECORD).read_bytes().count(b"\n") < 130
    assert Record(place / "made", jobs, {"model": "x"}).finished(jobs) == set(jobs)


def test_names_that_are_no_text_are_recorded(place: Path) -> None:
    (place / "made").mkdir()
    for name in (b"\xff.png", b"two\nlines.png", b'"quote\\.png'):
        job = Job(place / "in" / "1.png", place / "made" / os.fsdecode(name))
        job.target.write_bytes(name)
        record = Record(place / "made", [job], {})
        record.start()
        record.add(job)
        assert Record(place / "made", [job], {}).finished([job]) == {job}
    for line in (place / "made" / RECORD).read_bytes().splitlines():
        json.loads(line)


def test_a_record_of_50_000_results_costs_little(place: Path) -> None:
    jobs = made_jobs(place, 1)
    line = {"output": "", "output_sha256": "0" * 64, "source_bytes": 1, "source_sha256": "0" * 64, "run": "x"}
    lines = [json.dumps({**line, "output": f"{number}.png"}) for number in range(50_000)]
    (place / "made" / RECORD).write_text("\n".join(lines) + "\n")
    started = time.process_time()
    record = Record(place / "made", jobs, {})
    record.start()
    record.add(jobs[0])
    assert Record(place / "made", jobs, {}).finished(jobs) == set(jobs)
    assert time.process_time() - started < 2


# --- killed, and in one another's way --------------------------------------------------------------


def started(place: Path, *more: str, out: str = "out") -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return forked.Popen(
        [sys.executable, "-m", "unpaired", *command(place, *more, out=out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.skipif(os.name != "posix", reason="processes are killed")
def test_killed_at_any_moment_a_resumed_run_ends_as_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_model(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for number in range(40):
        write_image(tmp_path / "in" / f"{number:02d}.png", picture(number, 96))
    assert run(capsys, command(tmp_path, out="whole"))[0] == 0
    rng = np.random.default_rng(5)
    for wait_for in (1, 25):
        process = started(tmp_path, "--resume")
        assert process.stdout is not None
        for _ in range(wait_for):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, "it was done before it was killed"
    (tmp_path / "out" / ".unpaired-0123456789ab.tmp").write_bytes(b"half a fi")
    code, made, _ = run(capsys, command(tmp_path, "--resume"))
    assert code == 0
    assert len(made) < 40
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*tree(tmp_path / "whole"), RECORD}


@pytest.mark.skipif(os.name != "posix", reason="a process is stopped and killed")
def test_of_two_processes_into_one_folder_the_second_leaves_at_once(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10, 60):
        write_image(place / "in" / f"{number}.png", picture(number, 96))
    process = started(place)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    for more in ([], ["--overwrite"], ["--resume"], ["--format", "webp"]):
        code, made, printed = run(capsys, command(place, *more))
        assert (code, made) == (73, [])
        if more:
            assert f"Another process is writing to {place / 'out'}; wait for it, choose another --out" in printed
            assert printed.count("\n") == 1
    process.kill()
    process.communicate()
    code, made, _ = run(capsys, command(place, "--resume"))
    assert code == 0
    assert 0 < len(made) < 58
    assert not list((place / "out").glob(".unpaired-lock"))


def test_what_another_process_wrote_while_this_one_planned_is_not_replaced(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from unpaired.cli import translation

    @contextmanager
    def late(folder: Path) -> object:  # type: ignore[misc]
        (folder / "1.png").write_bytes(b"of another process")
        with alone_in(folder):
            yield

    monkeypatch.setattr(translation, "alone_in", late)
    code, made, printed = run(capsys, command(place))
    assert (code, made) == (73, [])
    assert "1 of 8 outputs exist already" in printed
    assert (place / "out" / "1.png").read_bytes() == b"of another process"


# --- folders that vanish ---------------------------------------------------------------------------

VANISH: dict[str, Callable[[Path], object]] = {
    "removed": shutil.rmtree,
    "renamed": lambda out: out.rename(out.with_name("elsewhere")),
    "replaced": lambda out: (shutil.rmtree(out), out.mkdir()),
    "a file by now": lambda out: (shutil.rmtree(out), out.write_text("x")),
    "a folder in it removed": lambda out: shutil.rmtree(out / "sub"),
}


@pytest.mark.parametrize("kind", VANISH)
def test_an_output_folder_that_vanishes_ends_it_at_once(place: Path, kind: str) -> None:
    jobs = plan_outputs([str(place / "in")], place / "out").jobs
    order = (*jobs[6:], *jobs[:6])  # those of the folder within first
    reported: list[Failure | None] = []

    def vanish(job: Job, failure: Failure | None) -> None:
        reported.append(failure)
        if len(reported) == 1:
            VANISH[kind](place / "out")

    with pytest.raises(StorageError, match="has been removed, replaced or unmounted since the start") as ended:
        translate_files(Translator.load(place / "model", device="cpu"), order, on_done=vanish)
    assert ended.value.exit_code == 74
    assert reported == [None]
    if kind == "replaced":
        assert list((place / "out").iterdir()) == []


def test_a_folder_that_may_not_be_written_into_any_more_ends_it_at_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.translate import outputs, translating

    jobs = plan_outputs([str(place / "in")], place / "out").jobs
    reported: list[Failure | None] = []

    def close(job: Job, failure: Failure | None) -> None:
        reported.append(failure)
        monkeypatch.setattr(outputs.os, "access", lambda *_: False)

    def refused(path: Path, data: bytes) -> None:
        if reported:
            raise OutputError("Permission denied.")

    monkeypatch.setattr(translating, "write_bytes", refused)
    with pytest.raises(StorageError, match=r"Cannot write into .*; change its permissions"):
        translate_files(Translator.load(place / "model", device="cpu"), jobs, on_done=close)
    assert reported == [None]


def test_the_command_leaves_with_one_sentence_when_its_folder_vanishes(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.translate import translating

    write = translating.write_bytes

    def gone(path: Path, data: bytes) -> None:
        if path.name == "2.png":
            shutil.rmtree(place / "out")
        write(path, data)

    monkeypatch.setattr(translating, "write_bytes", gone)
    code, made, printed = run(capsys, command(place))
    assert (code, made) == (74, ["0.png", "1.png"])
    assert printed.count("has been removed, replaced or unmounted") == 1
    assert "failed:" not in printed


# --- failures name their file ----------------------------------------------------------------------


def test_every_failure_names_its_file(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "in" / "0.png").write_bytes(b"no image")
    write_image(place / "in" / "1.png", picture(1, 64))
    write_image(place / "in" / "2.tif", Image(np.full((24, 24, 3), np.nan, np.float32)))
    write_image(place / "in" / "3.tif", Image(np.zeros((24, 24, 3), np.int32)))
    write_image(place / "in" / "4.png", Image(picture(4).pixels))
    forward = TorchGenerator._forward

    def starved(self: TorchGenerator, images: object, network: object) -> object:
        if images.shape[-1] == 64:  # type: ignore[attr-defined]
            raise MemoryError
        return forward(self, images, network)  # type: ignore[arg-type]

    monkeypatch.setattr(TorchGenerator, "_forward", starved)
    code, _, printed = run(capsys, command(place, "--batch", "8"))
    assert code == 65
    failed = [line for line in printed.splitlines() if line.startswith("failed: ")]
    names = ["0.png", "1.png", "2.tif", "3.tif"]
    assert len(failed) == len(names)
    assert all(sum(name in line for line in failed) == 1 for name in names)
    assert "1 x 64 x 64 pixels do not fit into memory; scale it down." in "".join(failed)
    assert "--range" not in printed


def test_a_failure_is_named_once() -> None:
    source = Path("in/a\x1b.png")
    for text in (r"in/a\x1b.png is damaged; remove it.", "It is damaged; remove it."):
        reported = str(Failure(source, ImageError(text)))
        assert reported.count(r"in/a\x1b.png") == 1
        assert reported.isprintable()
    assert "in/a.png: Cannot create out/b.png" in str(Failure(Path("in/a.png"), OutputError("Cannot create out/b.png")))


def test_a_model_with_batch_norm_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    config = ResNetGenerator(base_channels=2, num_blocks=1, num_downs=1, norm="batch")
    found = set()
    for seed in (0, 1):
        info = ModelInfo(
            directions={"AtoB": DirectionInfo(generator=config)},
            domains={"A": "a", "B": "b"},
            training=TrainingInfo(step=0, seed=seed, load_size=32, crop_size=32, objective="pix2pix"),
        )
        write_model(tmp_path / str(seed), info, {"AtoB": initialised(config.build(3, 3), seed, "AtoB")})
        found.add(Translator.load(tmp_path / str(seed), device="cpu").fingerprint("AtoB"))
    assert len(found) == 2
