"""`--scores` and `--keep-best` in one pass: one decode and one forward per image, scores of the written pixels."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from unpaired import cli
from unpaired.errors import StorageError
from unpaired.images import Image, read_image, write_image
from unpaired.images.files import Refuse
from unpaired.networks import ResNetGenerator
from unpaired.networks.layers import initialise
from unpaired.storage import put_held
from unpaired.translate import (
    DirectionInfo,
    Job,
    ModelInfo,
    TrainingInfo,
    Translator,
    plan_outputs,
    reading,
    translating,
    write_model,
)
from unpaired.translate.backends import RunOptions
from unpaired.translate.backends.torch_backend import TorchGenerator
from unpaired.translate.jobs import RECORD
from unpaired.trust import keeping
from unpaired.trust.keeping import ScoringSorter
from unpaired.trust.score import Scorer, Trust, measure
from unpaired.trust.scored import TABLE, GrowingTable, best, load_scorer
from unpaired.trust.trust_file import pack

SMALL = ResNetGenerator(base_channels=4, num_blocks=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of both directions that knows 20 images of each domain; never changed."""
    folder = tmp_path_factory.mktemp("scoring") / "model"
    directions = {name: DirectionInfo(generator=SMALL) for name in ("AtoB", "BtoA")}
    torch.manual_seed(0)
    networks = {name: SMALL.build(3, 3) for name in directions}
    for network in networks.values():
        initialise(network)
    training = TrainingInfo(step=7, seed=0, load_size=36, crop_size=32, objective="cyclegan")
    info = ModelInfo(directions=directions, domains={"A": "a", "B": "b"}, training=training)
    images = {domain: torch.rand(20, 3, 32, 32) * 2 - 1 for domain in "AB"}
    reference = measure(Translator(info, networks, device="cpu"), images, {}, {})
    write_model(folder, info, networks, trust=pack(reference, {}))
    return folder


def picture(seed: int, side: int = 40) -> Image:
    """Noise, smoother the higher the seed, so that scores differ."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (side // (1 + seed % 4), side // (1 + seed % 4), 3), dtype=np.uint8)
    return Image(noise.repeat(1 + seed % 4, 0).repeat(1 + seed % 4, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(10):
        write_image(tmp_path / "in" / f"{number}.png", picture(number))
    return tmp_path / "in"


def run(*arguments: str | Path, precision: str = "fp32") -> int | str | None:
    given = ["translate", *map(str, arguments), "--device", "cpu", "--precision", precision]
    with pytest.raises(SystemExit) as stopped:
        cli.main(given)
    return stopped.value.code


def rows(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("more", [["--scores"], ["--keep-best", "30%"], []])
def test_each_image_is_decoded_and_translated_once(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    decoded: Counter[str] = Counter()
    forwards: Counter[int] = Counter()
    read, forward = reading.read_image_if, TorchGenerator.run_tensor

    def counted_read(path: Path, refuse: Refuse, **options: object) -> Image:
        decoded[path.name] += 1
        return read(path, refuse, **options)  # type: ignore[arg-type]

    def counted_forward(self: TorchGenerator, images: torch.Tensor, options: RunOptions) -> torch.Tensor:
        forwards[id(self)] += len(images)
        return forward(self, images, options)

    monkeypatch.setattr(reading, "read_image_if", counted_read)
    monkeypatch.setattr(TorchGenerator, "run_tensor", counted_forward)
    translator = Translator.load(model, device="cpu")
    monkeypatch.setattr(Translator, "load", lambda *_, **__: translator)
    assert run(model, folder, "--out", tmp_path / "out", *more) == 0
    assert decoded == {f"{number}.png": 1 for number in range(10)}
    assert forwards[id(translator._loaded["AtoB"])] == 10
    assert forwards[id(translator._loaded["BtoA"])] == (10 if more else 0)  # back again, for the cycle


def test_the_first_image_is_decoded_once_though_it_decides_the_precision(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()
    read = reading.read_image_if

    def counted_read(path: Path, refuse: Refuse, **options: object) -> Image:
        decoded[path.name] += 1
        return read(path, refuse, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_image_if", counted_read)
    write_image(folder / "0.png", Image(np.zeros((9, 9, 1), np.uint16)))  # which decides nothing
    assert run(model, folder, "--out", tmp_path / "out", precision="auto") == 0
    assert decoded == {f"{number}.png": 1 for number in range(10)}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_scores_are_those_of_the_pixels_that_are_written(
    model: Path, folder: Path, tmp_path: Path, precision: str
) -> None:
    out = tmp_path / "out"
    assert run(model, folder, "--out", out, "--scores", precision=precision) == 0
    scorer = load_scorer(Translator.load(model, device="cpu"), model, "AtoB")
    found = rows(out)
    assert len(found) == 10
    for row in found:
        given, made = read_image(row["input"]), read_image(out / row["output"])
        trust = scorer(given, made)
        assert float(row["score"]) == pytest.approx(trust.score, rel=1e-4)
        assert float(row["cycle_measured"]) == pytest.approx(trust.symptoms["cycle"], rel=1e-4)


def test_the_table_grows_by_a_row_with_each_image_and_keeps_to_the_order_of_the_images(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown, out, add = list[bytes](), tmp_path / "out", GrowingTable.add

    def added(self: GrowingTable, job: Job, trust: Trust) -> None:
        add(self, job, trust)
        grown.append((out / TABLE).read_bytes())

    monkeypatch.setattr(GrowingTable, "add", added)
    assert run(model, folder, "--out", out, "--scores") == 0
    assert [text.count(b"\n") for text in grown] == list(range(2, 12))  # with the header
    assert grown[-1] == (out / TABLE).read_bytes()
    assert run(model, folder, "--out", tmp_path / "best", "--keep-best", "30%") == 0
    assert len(grown) == 10  # the rows of a share are known at the end


def test_the_best_are_those_of_the_scores_and_the_same_bytes(model: Path, folder: Path, tmp_path: Path) -> None:
    every, out = tmp_path / "every", tmp_path / "out"
    assert run(model, folder, "--out", every, "--scores") == 0
    assert run(model, folder, "--out", out, "--keep-best", "30%") == 0
    ranked = sorted(rows(every), key=lambda row: float(row["score"]), reverse=True)
    kept = [row["output"] for row in rows(out) if row["output"]]
    assert len(kept) == 3
    assert min(float(row["score"]) for row in rows(out) if row["output"]) == float(ranked[2]["score"])
    assert sorted(path.name for path in out.iterdir()) == sorted([*kept, RECORD, TABLE])
    for name in kept:
        assert (out / name).read_bytes() == (every / name).read_bytes()


def test_no_more_results_wait_on_the_disk_than_are_kept_and_none_after_a_failure(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, waiting = tmp_path / "out", list[int]()
    hold = keeping.hold_bytes

    def counted(place: Path, data: bytes) -> Path:
        held = hold(place, data)
        waiting.append(len(list(out.glob(".unpaired-*.tmp"))))
        return held

    monkeypatch.setattr(keeping, "hold_bytes", counted)
    assert run(model, folder, "--out", out, "--keep-best", "20%") == 0
    assert waiting
    assert max(waiting) <= 2

    def full(held: Path, path: Path) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(translating, "put_held", full)
    assert run(model, folder, "--out", tmp_path / "second", "--keep-best", "50%") == 74
    assert not list((tmp_path / "second").glob("*.tmp"))
    assert not list((tmp_path / "second").glob("*.png"))


@pytest.mark.skipif(os.name != "posix", reason="a process is killed")
def test_a_process_killed_while_results_wait_leaves_no_result_and_can_be_continued(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        write_image(tmp_path / "in" / f"{number:02d}.png", picture(number, 64))
    command = [str(model), str(tmp_path / "in"), "--keep-best", "90%", "--resume"]
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "unpaired", "translate", *command, "--out", str(out), "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    while len(list(out.glob(".unpaired-*.tmp"))) < 3:
        assert process.poll() is None, "it was done before it was killed"
        threading.Event().wait(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert list(out.glob("*.png")) == []
    assert not (out / TABLE).exists()
    assert run(*command, "--out", out) == 0
    assert run(*command, "--out", tmp_path / "whole") == 0
    for file in (tmp_path / "whole").glob("*.png"):
        assert (out / file.name).read_bytes() == file.read_bytes()
    assert len(list(out.iterdir())) == 27 + 2
    assert (out / TABLE).read_bytes() == (tmp_path / "whole" / TABLE).read_bytes()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_what_waits_is_what_is_kept_whatever_the_order_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, seed: int
) -> None:
    jobs = [Job(tmp_path / f"{n}.png", tmp_path / f"out{n}.png") for n in range(37)]
    scores = np.random.default_rng(seed).integers(0, 9, len(jobs)) / 10  # with many equal ones
    trusts = {job: Trust(float(score), {}, {"cycle": 0.5}) for job, score in zip(jobs, scores, strict=True)}
    monkeypatch.setattr(keeping, "from_messages", lambda messages, jobs, scorer: trusts)
    sorter = ScoringSorter(object(), jobs, share, finished=jobs[:5])  # type: ignore[arg-type]
    for job in jobs:
        monkeypatch.setattr(sorter, "_scored", lambda given, made, job=job: trusts[job])
        if sorter.fate(job, [], []) == "hold":
            sorter.hold(job, job.source.name.encode())
    released = sorter.release()
    assert [job for job, _ in released] == [job for job in best(trusts, share) if job not in jobs[:5]]
    for job, held in released:
        put_held(held, job.target)
    sorter.close()
    assert sorted(tmp_path.iterdir()) == sorted(job.target for job, _ in released)
    assert all(job.target.read_bytes() == job.source.name.encode() for job, _ in released)


def test_what_cannot_be_scored_is_written(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.errors import ImageError

    symptoms = Scorer.symptoms

    def some(self: Scorer, given: Image, made: Image, **options: bool) -> dict[str, float]:
        if given.pixels[0, 0].tolist() == read_image(folder / "4.png").pixels[0, 0].tolist():
            raise ImageError("Not this one.")
        return symptoms(self, given, made, **options)

    monkeypatch.setattr(Scorer, "symptoms", some)
    assert run(model, folder, "--out", tmp_path / "out", "--keep-best", "10%") == 0
    assert len(rows(tmp_path / "out")) == 9
    assert (tmp_path / "out" / "4.png").exists()
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_stacks_are_scored_by_the_mean_of_their_slices_and_wait_as_pictures_do(model: Path, tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "in").mkdir()
    for number in range(3):
        slices = np.stack([picture(number + k, 24).pixels for k in range(2)])
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", slices, photometric="rgb")
    jobs = plan_outputs([str(tmp_path / "in")], tmp_path / "every").jobs
    assert run(model, tmp_path / "in", "--out", tmp_path / "every", "--scores") == 0
    assert run(model, tmp_path / "in", "--out", tmp_path / "out", "--keep-best", "34%") == 0
    (kept,) = (tmp_path / "out").glob("*.tif")
    assert kept.read_bytes() == (tmp_path / "every" / kept.name).read_bytes()
    scorer = load_scorer(Translator.load(model, device="cpu"), model, "AtoB")
    measured = [
        scorer.symptoms(read_image(jobs[0].source, frame=k), read_image(jobs[0].target, frame=k))["cycle"]
        for k in range(2)
    ]
    assert float(rows(tmp_path / "every")[0]["cycle_measured"]) == pytest.approx(sum(measured) / 2, rel=1e-4)
