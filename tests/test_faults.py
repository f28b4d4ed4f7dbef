"""Faults in training: NaN or infinity, lost loader processes, changed images, settings and machines, memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from faults import orphans
from unpaired.artifacts.changes import machine_change
from unpaired.artifacts.checkpoint import list_checkpoints, load_newest
from unpaired.artifacts.history import History
from unpaired.config import override, read_yaml
from unpaired.data import loading
from unpaired.data.datasets import Batch, DataConfig, StepDataset
from unpaired.data.domains import Domains
from unpaired.data.loading import batches
from unpaired.errors import ConfigError, DataError, Interrupted, NonFiniteError, OutOfMemoryError, WorkerError
from unpaired.networks import DCGANDiscriminator, DCGANGenerator, PatchGAN, ResNetGenerator, UNetGenerator
from unpaired.objectives import GAN, CycleGAN, Pix2Pix
from unpaired.objectives.base import Objective
from unpaired.objectives.losses import total
from unpaired.recipes import Config
from unpaired.runs import RunInfo, build_objective, info, train
from unpaired.training import loop
from unpaired.training.progress import Progress
from unpaired.training.run_config import RunConfig
from unpaired.training.state import OptimizerConfig, TrainingState
from unpaired.training.step import player_losses, train_step

NAN = float("nan")
GOLDEN_RUN = Path(__file__).parent / "golden" / "run-0.1"


SETTINGS = {"optimizer.ema_decay": 0.9, "run.sample_every": 0}


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    return override(toy_config, {"data.root": str(two_folders), **SETTINGS})


@pytest.fixture(scope="module")
def whole(toy_config: Config, drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> RunInfo:
    """A run of `config`, made once, to compare with."""
    config = override(toy_config, {"data.root": str(drawn_folders), **SETTINGS})
    return train(config, out=tmp_path_factory.mktemp("uninterrupted") / "whole")


def stop_at(step: int) -> Callable[[Progress], None]:
    def listener(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return listener


def stopped(config: Config, run: Path, step: int = 5) -> Path:
    with pytest.raises(Interrupted):
        train(config, out=run, listener=stop_at(step))
    return run


def history(run: Path) -> list[dict[str, Any]]:
    return History(run).entries()


# --- NaN and infinity ------------------------------------------------------------------------------


def state_of(method: str) -> TrainingState:
    """CycleGAN steps the generators first, the others the discriminator; pix2pix and GAN have batch norms."""
    judge = PatchGAN(base_channels=4, num_layers=1, norm="batch")
    objective: Objective[Any]
    if method == "cyclegan":
        generator = ResNetGenerator(base_channels=4, num_blocks=1)
        objective = CycleGAN(pool_size=2).build(generator, replace(judge, norm="instance"), 3, 3, 0)
    elif method == "pix2pix":
        objective = Pix2Pix().build(UNetGenerator(base_channels=4, num_downs=5), judge, 3, 3, 0)
    else:
        small = DCGANGenerator(base_channels=4, size=32), DCGANDiscriminator(base_channels=4, size=32)
        objective = GAN(noise_channels=5).build(*small, 5, 3, 0)
    return TrainingState(objective, OptimizerConfig())


def batch_of(method: str, number: int) -> Batch:
    draw = torch.Generator().manual_seed(number)
    a = torch.randn(2, 5, 1, 1, generator=draw) if method == "gan" else torch.rand(2, 3, 32, 32, generator=draw)
    return Batch(a=a, b=torch.rand(2, 3, 32, 32, generator=draw) * 2 - 1)


class Slopeless(torch.autograd.Function):
    """The identity, with a NaN gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * NAN


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix", "gan"])
@pytest.mark.parametrize("place", ["input", "generator loss", "discriminator loss", "generator gradient",
                                   "discriminator gradient"])  # fmt: skip
def test_a_step_in_which_anything_is_no_number_changes_nothing(
    method: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(method)
    for number in range(3):  # the pools are full then
        train_step(state, batch_of(method, number), "fp32")
    state.step, batch = 3, batch_of(method, 9)
    before = state.sha256()
    if place == "input":
        batch.b[0, 0, 3, 3] = NAN
    else:
        player, kind = place.split()
        original = getattr(state.objective, f"{player}_losses")
        spoilt: Callable[[Tensor], Tensor] = Slopeless.apply if kind == "gradient" else lambda term: term * NAN

        def poisoned(batch: Batch, images: Any) -> dict[str, Tensor]:
            terms = original(batch, images)
            return {name: spoilt(term) if index == 0 else term for index, (name, term) in enumerate(terms.items())}

        monkeypatch.setattr(state.objective, f"{player}_losses", poisoned)
    with pytest.raises(NonFiniteError) as raised:
        train_step(state, batch, "fp32", lambda: ["horse.png and zebra.png"])
    assert state.sha256() == before
    finding = raised.value.finding
    assert finding.startswith("At step 4 the ")
    assert finding.endswith("(images: horse.png and zebra.png)")
    if place != "input":
        assert (f"the gradient of {place.split()[0]} " in finding) == place.endswith("gradient")
        assert ("the loss " in finding) == place.endswith("loss")


def published_step(state: TrainingState, batch: Batch) -> None:
    """One step in the order the methods publish: each player's loss, gradient and update before the next player's."""
    objective = state.objective
    images = objective.generate(batch)
    for player in objective.order:
        loss = total(player_losses(objective, player, batch, images, "fp32"))
        state.optimizers[player].zero_grad(set_to_none=True)
        loss.backward()
        state.optimizers[player].step()


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix", "gan"])
def test_healthy_steps_are_the_published_ones_bit_for_bit(method: str) -> None:
    ours, published = state_of(method), state_of(method)
    for number in range(4):
        for state, step in ((ours, train_step), (published, published_step)):
            torch.manual_seed(number)  # of dropout
            step(state, batch_of(method, number), *(["fp32"] if step is train_step else []))  # type: ignore[operator]
    assert ours.sha256() == published.sha256()


def test_a_skipped_step_leaves_even_the_moments_as_they_were_and_the_next_one_is_the_same() -> None:
    with_fault, without = state_of("pix2pix"), state_of("pix2pix")
    for number in range(3):
        for state in (with_fault, without):
            torch.manual_seed(number)
            train_step(state, batch_of("pix2pix", number), "fp32")
        broken = batch_of("pix2pix", 7)
        with pytest.raises(NonFiniteError):
            train_step(with_fault, Batch(a=broken.a * NAN, b=broken.b), "fp32")
    assert with_fault.sha256() == without.sha256()


def poison(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    original = loop.train_step

    def poisoned(state: TrainingState, batch: Batch, *rest: Any) -> dict[str, Tensor]:
        bad = state.step + 1 in steps
        return original(state, Batch(a=batch.a * NAN, b=batch.b) if bad else batch, *rest)

    monkeypatch.setattr(loop, "train_step", poisoned)


def test_a_step_may_be_skipped_on_request_and_is_counted_and_recorded(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 3, 6)
    with pytest.raises(NonFiniteError, match=r"skip:1 skips the step"):
        train(config, out=tmp_path / "stops")
    assert info(tmp_path / "stops").step == 0
    skipping = override(config, {"run.on_nonfinite": "skip:2"})
    first = train(skipping, out=tmp_path / "skips")
    assert first.finished
    assert [(entry["step"], entry["kind"]) for entry in history(tmp_path / "skips")] == [(3, "skipped"), (6, "skipped")]
    assert "cycle_a is nan" in history(tmp_path / "skips")[0]["sentence"]
    assert ".png and " in history(tmp_path / "skips")[0]["sentence"]
    state = list_checkpoints(tmp_path / "skips" / "checkpoints")[0] / "state.json"
    assert json.loads(state.read_text())["counters"]["skipped"] == 2
    # The count belongs to the state: it goes on after an interruption, and the result is the same.
    run = stopped(skipping, tmp_path / "parts")
    assert train(skipping, out=run).state_sha256 == first.state_sha256
    assert history(run) == history(tmp_path / "skips")


def test_no_more_steps_than_allowed_are_skipped_however_often_the_run_is_continued(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 3, 6)
    once = override(config, {"run.on_nonfinite": "skip:1"})
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="At step 6 the loss"):
            train(once, out=tmp_path / "run")
        assert info(tmp_path / "run").step == 4
        assert [entry["step"] for entry in history(tmp_path / "run")] == [3]


def test_what_to_do_about_no_numbers_is_stop_or_skip_with_a_number() -> None:
    assert [RunConfig(on_nonfinite=word).max_skipped for word in ("stop", "skip:0", "skip:12")] == [0, 0, 12]
    for word in ("skip", "skip:", "skip:-1", "3", "ignore"):
        with pytest.raises(ConfigError, match="must be stop or skip:N"):
            RunConfig(on_nonfinite=word)


# --- loader processes ------------------------------------------------------------------------------


class Faulty(StepDataset):
    """Another data set, whose step `at` fails once: afterwards the file `mark` exists."""

    def __init__(self, inner: StepDataset, at: int, fault: str, mark: Path) -> None:
        super().__init__(inner.length, DataConfig(load_size=36, crop_size=32), 0)
        self._inner, self._at, self._fault, self._mark = inner, at, fault, mark

    def __getitem__(self, step: int) -> Batch:
        if step == self._at and not self._mark.exists():
            self._mark.touch()
            if self._fault == "raises":
                raise ValueError("the shelf is empty")
            os.kill(os.getpid(), {"killed": signal.SIGKILL, "hangs": signal.SIGSTOP}[self._fault])
        return self._inner[step]

    def names_of(self, step: int) -> list[str]:
        return self._inner.names_of(step)

    def preview(self, count: int) -> Batch:
        return self._inner.preview(count)

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _name(self, sample: int) -> str:
        raise NotImplementedError


class Numbers(StepDataset):
    """A batch of a step holds its number."""

    def _sample(self, sample: int) -> tuple[Tensor, Tensor]:
        return torch.full((3, 200, 200), sample + 1.0), torch.zeros(1)

    def _name(self, sample: int) -> str:
        return f"{sample + 1:03d}.png"

    def preview(self, count: int) -> Batch:
        raise NotImplementedError


def numbers() -> Numbers:
    return Numbers(10, DataConfig(load_size=36, crop_size=32), 0)


def first_values(delivered: Any) -> list[float]:
    return [batch.a[0, 0, 0, 0].item() for batch in delivered]


SAYINGS = {
    "killed": r"Loader process \d+ was killed by SIGKILL, as the system does when memory runs out,",
    "raises": r"Loader process \d+ failed with ValueError: the shelf is empty",
    "hangs": r"Loader process \d+ has hung for 2 seconds",
}


@pytest.mark.parametrize("fault", SAYINGS)
def test_a_lost_loader_process_is_named_with_the_step_and_the_images(fault: str, tmp_path: Path) -> None:
    faulty, start = Faulty(numbers(), 5, fault, tmp_path / "mark"), time.monotonic()
    with pytest.raises(WorkerError, match=SAYINGS[fault] + r" at step 5 \(images: 005\.png\); the checkpoints are"):
        list(batches(faulty, 1, 9, 2, patience=2))
    assert time.monotonic() - start < 30
    assert loading.PATIENCE < 30


@pytest.mark.parametrize("fault", SAYINGS)
def test_a_lost_loader_process_is_replaced_on_request(fault: str, tmp_path: Path) -> None:
    notes: list[int] = []
    faulty = Faulty(numbers(), 5, fault, tmp_path / "mark")
    delivered = batches(faulty, 1, 9, 2, retries=1, patience=2, note=lambda step, sentence: notes.append(step))
    assert first_values(delivered) == list(range(1, 10))
    assert notes == [5]


def test_no_loader_process_outlives_its_use() -> None:
    delivered = batches(numbers(), 1, 1000, 3)
    next(delivered)
    frame: Any = delivered.gi_frame
    processes = [worker._process for worker in frame.f_locals["workers"].values()]
    assert len(processes) == 3
    delivered.close()
    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loader processes leave when they next send a batch")
@pytest.mark.parametrize(
    ("trainer", "num_helpers"),
    # the server, its loader processes, and the tracker of resources, which Python starts beside them
    [("with_two_stuck_loaders", 4), ("while_the_server_imports_torch", 2)],
)
def test_no_process_outlives_a_killed_trainer(
    trainer: str, num_helpers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path, Path(__file__).parent, Path(loading.__file__).parents[2]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    line = [sys.executable, "-c", f"from faults import orphans; orphans.{trainer}()"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "ready\n"
        helpers = orphans.descendants(process.pid)
        process.kill()
    assert len(helpers) == num_helpers
    assert not orphans.still_running(helpers, seconds=5)


def test_a_run_that_lost_a_loader_process_ends_in_the_same_state(
    config: Config, whole: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, mark = Domains.dataset, tmp_path / "mark"

    def faulty(self: Domains, data: DataConfig, seed: int) -> StepDataset:
        return Faulty(original(self, data, seed), 6, "killed", mark)

    monkeypatch.setattr(Domains, "dataset", faulty)
    two = override(config, {"data.num_workers": 2})
    with pytest.raises(WorkerError, match=r"SIGKILL.* at step 6 \(images: 00\d\.png and 00\d\.png\)") as lost:
        train(two, out=tmp_path / "continued")
    assert lost.value.exit_code == 71
    assert info(tmp_path / "continued").step == 4
    assert train(two, out=tmp_path / "continued").state_sha256 == whole.state_sha256
    mark.unlink()
    retried = train(override(two, {"data.worker_retries": 1}), out=tmp_path / "retried")
    assert retried.state_sha256 == whole.state_sha256
    assert retried.bit_exact
    (entry,) = history(tmp_path / "retried")
    assert (entry["step"], entry["kind"]) == (6, "loader")
    assert "SIGKILL" in entry["sentence"]


# --- images ----------------------------------------------------------------------------------------


def edit_in_place(path: Path) -> None:
    """Change one byte behind the image's end, at the same size and with the same dates."""
    content, dates = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def test_changed_images_are_refused_by_name_even_with_the_same_size_and_dates(
    config: Config, two_folders: Path, tmp_path: Path
) -> None:
    run = stopped(config, tmp_path / "run")
    edit_in_place(two_folders / "trainA" / "003.png")
    with pytest.raises(DataError, match=r"\(1 edited\); put them back .*--allow-data-change.*:\n  A: 003.png edited$"):
        train(config, out=run)
    (two_folders / "trainA" / "000.png").rename(two_folders / "trainA" / "new.png")
    with pytest.raises(DataError) as refused:
        train(config, out=run)
    listed = ["A: new.png added", "A: 000.png removed", "A: 003.png edited"]
    assert str(refused.value).split("\n  ")[1:] == listed
    for number in range(12):
        shutil.copy(two_folders / "trainB" / "000.png", two_folders / "trainB" / f"copy{number}.png")
    with pytest.raises(DataError, match=r"13 added, 1 removed, 1 edited") as refused:
        train(config, out=run)
    assert str(refused.value).count("\n  ") == 11
    assert str(refused.value).endswith("and 5 more")


def test_changed_images_are_accepted_on_request_and_recorded(config: Config, two_folders: Path, tmp_path: Path) -> None:
    run = stopped(config, tmp_path / "run")
    edit_in_place(two_folders / "trainA" / "003.png")
    (two_folders / "trainB" / "001.png").unlink()
    with pytest.raises(Interrupted):
        train(config, out=run, allow_data_change=True, listener=stop_at(6))
    (entry,) = history(run)
    assert (entry["step"], entry["kind"]) == (5, "data")
    assert (entry["added"], entry["removed"], entry["edited"]) == ([], ["B: 001.png"], ["A: 003.png"])
    assert not info(run).bit_exact
    assert info(run).num_images == {"A": 6, "B": 4}
    assert "Images were changed on request" in (run / "report.html").read_text()
    assert train(config, out=run).finished  # accepted changes need no second confirmation
    assert len(history(run)) == 1


def test_new_images_are_looked_at_before_they_are_accepted(config: Config, two_folders: Path, tmp_path: Path) -> None:
    run = stopped(config, tmp_path / "run")
    (two_folders / "trainA" / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        train(config, out=run, allow_data_change=True)
    assert history(run) == []


def test_a_run_from_before_there_were_lists_of_images_continues(
    config: Config, whole: RunInfo, two_folders: Path, tmp_path: Path
) -> None:
    run = stopped(config, tmp_path / "old")
    (run / "images.json").unlink()
    extra = two_folders / "trainB" / "extra.png"
    shutil.copy(two_folders / "trainB" / "000.png", extra)
    with pytest.raises(DataError, match=r"domain B changed since .*B: 5 images then, 6 now"):
        train(config, out=run)
    extra.unlink()
    assert train(config, out=run).state_sha256 == whole.state_sha256
    assert set(json.loads((run / "images.json").read_text())["A"]["000.png"]) == {"size", "sha256"}


# --- settings --------------------------------------------------------------------------------------


def test_settings_that_change_the_result_are_accepted_on_request_and_recorded(config: Config, tmp_path: Path) -> None:
    run = stopped(config, tmp_path / "run")
    other = override(config, {"optimizer.learning_rate": 1e-3, "objective.pool_size": 2, "run.log_every": 2})
    with pytest.raises(ConfigError, match=r"--allow-config-change to continue") as refused:
        train(other, out=run)
    assert str(refused.value).split("\n  ")[1:] == [
        "objective.pool_size: saved 3, given 2",
        "optimizer.learning_rate: saved 0.0002, given 0.001",
    ]
    assert train(other, out=run, allow_config_change=True).finished
    (entry,) = history(run)
    assert (entry["step"], entry["kind"]) == (5, "settings")
    assert entry["settings"]["optimizer.learning_rate"] == {"saved": 2e-4, "given": 1e-3}
    assert read_yaml(Config, run / "config.yaml").optimizer == other.optimizer
    assert not info(run).bit_exact


@pytest.mark.parametrize(
    ("setting", "value", "saying"),
    [
        ("generator.dropout", True, r"define the networks.*:\n  generator.dropout: saved False, given True"),
        ("discriminator.num_layers", 2, r"define the networks"),
        ("optimizer.ema_decay", 0.0, ""),
    ],
)
def test_networks_stay_what_they_are_whatever_is_allowed(
    config: Config, tmp_path: Path, setting: str, value: Any, saying: str
) -> None:
    run = stopped(config, tmp_path / "run")
    other = override(config, {setting: value, "optimizer.beta1": 0.6})
    if not saying:
        assert train(other, out=run, allow_config_change=True).finished
        return
    with pytest.raises(ConfigError, match=saying) as refused:
        train(other, out=run, allow_config_change=True)
    assert refused.value.exit_code == 78
    assert "beta1" not in str(refused.value)
    assert train(config, out=run).bit_exact


def test_settings_that_the_state_does_not_fit_are_refused_and_the_run_stays_as_it_was(
    config: Config, tmp_path: Path
) -> None:
    plain = override(config, {"optimizer.ema_decay": 0.0})
    run = stopped(plain, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"cannot continue with these settings.*average"):
        train(config, out=run, allow_config_change=True)
    assert read_yaml(Config, run / "config.yaml").optimizer == plain.optimizer
    assert history(run) == []


# --- clock and machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("years", [-1, 1])
def test_no_decision_depends_on_the_clock_or_on_dates(
    config: Config, whole: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    run, true, jump = stopped(config, tmp_path / "run"), time.time, years * 365 * 86400.0
    oldest, newest = sorted(list_checkpoints(run / "checkpoints"))[:2]
    for path in [oldest, *oldest.iterdir()]:
        os.utime(path, (true() + 1e8, true() + 1e8))
    os.utime(newest, (0, 0))
    calls: list[float] = []

    def jumping(*_: Any) -> float:
        calls.append(jump if len(calls) % 2 else 0.0)
        return true() + calls[-1]

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "strftime", lambda *_: f"{jumping():.0f}")
    steps: list[int] = []
    again = train(config, out=run, listener=lambda progress: steps.append(progress.step))
    assert steps == [6, 7, 8]
    assert calls
    assert again.state_sha256 == whole.state_sha256


def test_another_machine_is_named_and_the_run_counts_as_exact_no_more(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    from unpaired.runs import start

    original = start.made_with
    monkeypatch.setattr(start, "made_with", lambda *given: {**original(*given), "torch": "1.0", "threads": 64})
    run = stopped(config, tmp_path / "run")
    monkeypatch.undo()
    said.clear()
    assert not train(config, out=run).bit_exact
    (entry,) = history(run)
    assert (entry["step"], entry["kind"]) == (5, "machine")
    assert entry["machine"] == {
        "torch": {"saved": "1.0", "given": torch.__version__},
        "threads": {"saved": 64, "given": 1},
    }
    assert entry["sentence"] in said
    assert "torch: 1.0 ->" in entry["sentence"]
    assert "no longer bit-identical" in entry["sentence"]


def test_the_same_machine_and_facts_without_influence_are_no_change() -> None:
    facts = {"torch": "2.13", "cores": 2, "python": "3.11.1"}
    assert machine_change(facts, facts) == []
    assert machine_change(facts, {**facts, "cores": 64, "python": "3.12.0"}) == []
    assert machine_change(facts, {**facts, "gpu": "new"}) != []


def test_a_checkpoint_of_version_0_1_loads_and_trains_on(tmp_path: Path) -> None:
    run = shutil.copytree(GOLDEN_RUN, tmp_path / "run")
    assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 200_000
    config = read_yaml(Config, run / "config.yaml")
    state = TrainingState(build_objective(config), config.optimizer)
    newest, warnings = load_newest(run / "checkpoints")
    assert warnings == []
    assert newest is not None
    state.restore(newest.parts, newest.counters)
    assert state.step == newest.step == 3
    assert state.sha256() == newest.state_sha256
    assert len(state.objective.pools["A"].images) == 2
    assert state.ema is not None
    assert all(torch.isfinite(term) for term in train_step(state, batch_of("cyclegan", 1), "fp32").values())


# --- memory ----------------------------------------------------------------------------------------


def refuse_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def ask_too_much() -> None:
    torch.empty(10**16)


def refuse_numpy() -> None:
    raise MemoryError


@pytest.mark.parametrize("refuse", [refuse_cuda, ask_too_much, refuse_numpy])
def test_too_little_memory_is_one_sentence_with_the_peak_and_what_to_lower(
    config: Config, whole: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[], None]
) -> None:
    original = loop.train_step

    def hungry(state: TrainingState, *rest: Any) -> dict[str, Tensor]:
        if state.step + 1 == 6:
            refuse()
        return original(state, *rest)

    monkeypatch.setattr(loop, "train_step", hungry)
    monkeypatch.setattr(loop, "has_bf16", lambda device: True)
    with pytest.raises(OutOfMemoryError) as reported:
        train(config, out=tmp_path / "run")
    assert reported.value.exit_code == 71
    assert re.sub(r"\d\.\d\d GB", "N GB", str(reported.value)) == (
        "Out of memory at step 6 on cpu (peak: N GB); the checkpoints are whole. Continue with --run.recompute, which "
        "trains the same in less memory, or take --run.precision bf16 in a new --out."
    )
    monkeypatch.undo()
    assert info(tmp_path / "run").step == 4
    assert train(config, out=tmp_path / "run").state_sha256 == whole.state_sha256


def test_another_error_of_torch_is_not_taken_for_too_little_memory(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> dict[str, Tensor]:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(loop, "train_step", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(config, out=tmp_path / "run")
