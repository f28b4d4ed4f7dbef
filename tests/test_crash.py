"""Crashes on purpose: kills and failing system calls in the middle of a save, full disks, a second trainer.

A sample of the tests of `make faults` at every system call, and the tests that need no tracing.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

import forked
from faults import orphans, system_calls
from faults.order import violations
from faults.toy import METHODS, toy_config
from faults.tracing import CHANGING, Call, available, trace
from test_checkpoint import assert_holds, hidden, save, state_of
from unpaired import cli
from unpaired.artifacts import checkpoint as module
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint, load_newest, save_checkpoint
from unpaired.artifacts.run_folder import RunFolder
from unpaired.config import override, to_yaml
from unpaired.errors import CheckpointError, StorageError, UnpairedError
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo, write_model
from unpaired.networks import ResNetGenerator
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.runs.verify import verify
from unpaired.tensor_files import Buffer

needs_strace = pytest.mark.skipif(not available(), reason="strace is not installed, or may not trace here")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of steps 1 and 2, so that saving a third removes one; tests take a copy."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    for step in (1, 2):
        save(folder, step)
    return folder


# --- every system call of a save -------------------------------------------------------------------


def changing(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.name in CHANGING and (call.name != "openat" or "O_CREAT" in call.text)]


@needs_strace
def test_a_save_killed_at_any_change_of_the_disk_leaves_the_old_or_the_new_state(three: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "checkpoints", tmp_path / "log"
    shutil.copytree(three, folder)
    code, calls = trace(lambda: save(folder, 3), log, folder)
    points = [call for call in changing(calls) if call.name != "close"]
    assert code == 0
    assert {"write", "fsync", "rename", "mkdir", "unlinkat", "rmdir"} <= {call.name for call in points}
    newest = set()
    for call in points:
        shutil.rmtree(folder)
        shutil.copytree(three, folder)
        inject = f"{call.name}:signal=KILL:when={call.number}"
        assert trace(lambda: save(folder, 3), log, folder, inject)[0] == -signal.SIGKILL, call
        found = [load_checkpoint(path) for path in list_checkpoints(folder)]
        assert len(found) >= 2, call
        for checkpoint in found:
            assert_holds(checkpoint, checkpoint.step)
        newest.add(found[0].step)
        save(folder, 4)
        assert [path.name[-1] for path in list_checkpoints(folder)] == ["4", str(found[0].step)], call
        assert hidden(folder) == [], call
    assert newest == {2, 3}


@needs_strace
@pytest.mark.parametrize("code", ["EIO", "ENOSPC"])
def test_a_system_call_that_fails_anywhere_in_a_save_is_told_and_costs_nothing(
    three: Path, tmp_path: Path, code: str
) -> None:
    folder, log, said = tmp_path / "checkpoints", tmp_path / "log", tmp_path / "said"

    def tell() -> None:
        try:
            save(folder, 3)
        except UnpairedError as error:
            said.write_text(str(error))
            raise

    shutil.copytree(three, folder)
    points = changing(trace(tell, log, folder)[1])
    for call in points[:: 1 if code == "EIO" else 3]:
        shutil.rmtree(folder)
        shutil.copytree(three, folder)
        said.unlink(missing_ok=True)
        left, _ = trace(tell, log, folder, f"{call.name}:error={code}:when={call.number}")
        found = [load_checkpoint(path) for path in list_checkpoints(folder)]
        assert len(found) >= 2, call
        assert not list(folder.glob(".tmp-*")), call
        assert left == 0 or str(folder) in said.read_text(), call
        if left == 0:  # the close of a file that was only read
            assert [checkpoint.step for checkpoint in found] in ([3, 2], [3, 2, 1]), call
        for checkpoint in found:
            assert_holds(checkpoint, checkpoint.step)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], system_calls.Case]:
    """The save of a method, prepared once for several faults; each trial works on a copy of its folder."""

    @cache
    def prepared(method: str) -> system_calls.Case:
        return system_calls.prepare(tmp_path_factory.mktemp(method), "save", method)

    return prepared


@needs_strace
@pytest.mark.parametrize("method", METHODS)
def test_a_training_killed_in_its_last_save_ends_like_one_that_was_not(
    cases: Callable[[str], system_calls.Case], method: str
) -> None:
    result = system_calls.run_case(cases(method), "KILL", 3, print)
    assert result.problems == []
    assert result.tried == 3


@needs_strace
def test_a_training_whose_disk_fails_in_its_last_save_says_so_and_can_go_on(
    cases: Callable[[str], system_calls.Case],
) -> None:
    result = system_calls.run_case(cases("cyclegan"), "EIO", 3, print)
    assert result.problems == []
    assert result.tried == 3
    assert result.refused >= 1


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("fault", system_calls.FAULTS)
@pytest.mark.parametrize("scenario", system_calls.SCENARIOS)
@pytest.mark.parametrize("method", METHODS)
def test_a_fault_at_every_system_call_of_a_training_costs_nothing(
    tmp_path: Path, method: str, scenario: str, fault: str
) -> None:
    result = system_calls.run_case(system_calls.prepare(tmp_path, scenario, method), fault, None, print)
    assert result.problems == []
    assert result.tried > 50


# --- the order of writes ---------------------------------------------------------------------------


def model_info() -> tuple[ModelInfo, dict[str, torch.nn.Module]]:
    generator = ResNetGenerator(base_channels=2, num_blocks=1)
    training = TrainingInfo(step=1, seed=0, load_size=36, crop_size=32, objective="cyclegan")
    known = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=generator)}, domains={"A": "a", "B": "b"}, training=training
    )
    return known, {"AtoB": generator.build(3, 3)}


def publish_and_save(run: Path) -> None:
    """The operations of a run at a checkpoint, with the planted mistakes of a test."""
    folder = RunFolder(run)
    folder.append({"step": 3})
    folder.sync_log()
    save(folder.checkpoints, 3)
    write_model(folder.model, *model_info())


def traced_save(run: Path, three: Path) -> list[str]:
    RunFolder(run).create()
    shutil.copytree(three, run / "checkpoints", dirs_exist_ok=True)
    write_model(run / "model", *model_info())
    code, calls = trace(lambda: publish_and_save(run), run.parent / "log", run)
    assert code == 0
    return violations(calls, str(run))


@needs_strace
def test_a_power_cut_finds_every_file_on_the_disk_before_its_name(three: Path, tmp_path: Path) -> None:
    assert traced_save(tmp_path / "run", three) == []


def without_sync_of_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "write_synced", lambda path, content: path.write_bytes(b"".join(content)))


def without_sync_of_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "sync_folder", lambda folder: None)


def copied_instead_of_renamed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_put_in_place", lambda temporary, final: shutil.copytree(temporary, final))


def log_after_the_checkpoint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunFolder, "sync_log", lambda self: None)


def removed_before_the_removal_is_sure(patch: pytest.MonkeyPatch) -> None:
    def prune(folder: Path, newest: Path, keep: int) -> None:
        for path in list_checkpoints(folder)[keep:]:
            path.rename(folder / f".trash-{path.name}")
        module.sweep(folder)

    patch.setattr(module, "_prune", prune)


@needs_strace
@pytest.mark.parametrize(
    ("mistake", "reported"),
    [
        (without_sync_of_files, "is not on the disk when it becomes"),
        (without_sync_of_folders, "is not on the disk when it becomes"),
        (copied_instead_of_renamed, "is never synced after"),
        (log_after_the_checkpoint, "log.jsonl is not on the disk before"),
        (removed_before_the_removal_is_sure, "is removed before its folder's new name is on the disk"),
    ],
)
def test_a_saver_with_a_planted_mistake_is_caught(
    three: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
    reported: str,
) -> None:
    mistake(monkeypatch)
    assert any(reported in violation for violation in traced_save(tmp_path / "run", three))


# --- what an interrupted save or prune leaves ------------------------------------------------------


def test_a_checkpoint_displaced_by_a_save_that_was_cut_off_has_its_name_back(three: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    (folder / "step-00000002").rename(folder / ".old-step-00000002")
    assert_holds(load_newest(folder)[0], 2)
    shutil.copytree(folder / "step-00000002", folder / ".old-step-00000002")  # the new one was in place already
    save(folder, 3)
    assert hidden(folder) == []
    assert [load_checkpoint(path).step for path in list_checkpoints(folder)] == [3, 2]


def test_a_failing_rename_leaves_the_checkpoint_that_was_to_be_replaced(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.startswith(".tmp-"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    parts, counters = state_of(7)
    with pytest.raises(StorageError):
        save_checkpoint(folder, parts, {**counters, "step": 2}, log_lines=4, made_with={}, keep=2)
    assert [path.name for path in list_checkpoints(folder)] == ["step-00000002", "step-00000001"]
    assert_holds(load_newest(folder)[0], 2)
    assert hidden(folder) == []


def test_a_damaged_checkpoint_does_not_count_among_those_that_are_kept(three: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    (folder / "step-00000002" / "optim.safetensors").write_bytes(b"")
    save(folder, 3)
    assert [path.name[-1] for path in list_checkpoints(folder)] == ["3", "2", "1"]
    save(folder, 4)
    assert [path.name[-1] for path in list_checkpoints(folder)] == ["4", "3"]


def test_a_lost_newest_checkpoint_is_noticed(three: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    shutil.rmtree(folder / "step-00000002")
    checkpoint, (warning,) = load_newest(folder)
    assert_holds(checkpoint, 1)
    assert "step-00000002 is missing" in warning
    assert "step-00000001 is used" in warning
    with pytest.raises(CheckpointError, match="step-00000002 is missing"):
        load_newest(folder, strict=True)


# --- a whole training ------------------------------------------------------------------------------


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    return override(toy_config, {"data.root": str(two_folders), "run.sample_every": 0})


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_strict_refuses_a_damaged_checkpoint_and_leaves_it_where_it_is(
    capsys: pytest.CaptureFixture[str], config: Config, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "toy.yaml"
    file.write_text(to_yaml(config))
    train(config, out=run)
    flip_a_bit(run / "checkpoints" / "step-00000008" / "weights.safetensors")
    code, _, said = run_cli(capsys, "train", "--config", str(file), "--out", str(run), "--strict")
    assert code == 65
    assert "weights.safetensors" in said
    assert "without --strict" in said
    assert (run / "checkpoints" / "step-00000008").exists()
    assert run_cli(capsys, "train", "--config", str(file), "--out", str(run))[0] == 0
    assert info(run).step == 8


def test_a_finished_run_whose_model_was_not_published_is_caught_up_with(config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config, out=run)
    page, weights = (run / "report.html").read_text(), (run / "model" / "AtoB.safetensors").read_bytes()
    shutil.rmtree(run / "model")
    (run / "report.html").write_text("")
    shutil.copytree(run / "checkpoints" / "step-00000004", run / "checkpoints" / ".trash-step-00000000-left")
    train(config, out=run)
    assert (run / "model" / "AtoB.safetensors").read_bytes() == weights
    assert "finished" in (run / "report.html").read_text()
    assert len((run / "report.html").read_text()) > 0.9 * len(page)
    assert hidden(run / "checkpoints") == []


def test_what_is_saved_is_the_state_of_its_step_however_long_saving_takes(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unpaired.artifacts.recorder import RunRecorder
    from unpaired.training.state import TrainingState

    checkpoint, write, hashes = RunRecorder.checkpoint, module.write_synced, {}

    def slow(path: Path, content: list[Buffer]) -> None:
        time.sleep(0.02)
        write(path, content)

    def noted(self: RunRecorder, state: TrainingState) -> None:
        hashes[state.step] = state.sha256()
        checkpoint(self, state)
        assert state.sha256() == hashes[state.step]

    monkeypatch.setattr(module, "write_synced", slow)
    monkeypatch.setattr(RunRecorder, "checkpoint", noted)
    train(config, out=tmp_path / "run")
    found = [load_checkpoint(path) for path in list_checkpoints(tmp_path / "run" / "checkpoints")]
    assert {checkpoint.step: checkpoint.state_sha256 for checkpoint in found} == hashes
    assert set(hashes) == {4, 8}


def test_a_child_of_the_trainer_does_not_hold_its_lock(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    forked, begun = os.pipe()
    with folder.lock():
        pid = os.fork()
        if pid == 0:  # lives longer than the lock, as a loader process of a killed trainer does
            os.write(begun, b"!")
            time.sleep(30)
            os._exit(0)
        os.read(forked, 1)
    try:
        with folder.lock():
            assert (folder.path / "LOCK").exists()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(forked)
        os.close(begun)


LEAVES = """
import sys, time
from unpaired import cli
import unpaired.runs.entry
opened, data = [], sys.argv.pop(1)

def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(data):
        opened.append(arguments[0])

sys.addaudithook(note)
started = time.monotonic()
try:
    cli.main(sys.argv[1:])
finally:
    print(len(opened), time.monotonic() - started)
"""
"""A command line that prints how often files below a folder were opened or listed, and the time taken."""


def test_a_second_trainer_leaves_before_it_opens_an_image(config: Config, two_folders: Path, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "toy.yaml"
    file.write_text(to_yaml(override(config, {"schedule.num_steps": 1})))
    line = [sys.executable, "-c", LEAVES, str(two_folders), "train", "--config", str(file), "--out", str(run)]
    for begun, starting in ((False, subprocess), (True, forked)):  # the first of them imports all it needs in its time
        with RunFolder(run).lock():
            second = starting.run(line, capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 73, second.stderr
        assert second.stderr == f"unpaired: {run} is in use by another training; wait for it or choose --out.\n"
        num_opened, seconds = second.stdout.split()
        assert int(num_opened) == 0
        assert float(seconds) <= 1
        assert run.exists() == begun
        if not begun:
            first = forked.run(line, capture_output=True, text=True, timeout=120, check=True)
            assert int(first.stdout.splitlines()[-1].split()[0]) >= 11  # only files that training opens are counted


def test_a_run_that_cannot_begin_leaves_no_folder_behind(config: Config, two_folders: Path, tmp_path: Path) -> None:
    shutil.rmtree(two_folders / "trainB")
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "runs" / "new", tmp_path / "mine"):
        with pytest.raises(UnpairedError, match="trainB"):
            train(config, out=out)
    assert not (tmp_path / "runs").exists()
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_second_trainer_leaves_and_a_second_signal_stops_at_once(config: Config, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "toy.yaml"
    file.write_text(to_yaml(override(config, {"schedule.num_steps": 100_000, "data.num_workers": 2})))
    line = [sys.executable, "-m", "unpaired", "train", "--config", str(file), "--out", str(run)]
    first = forked.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, loaders=True)
    while not (run / "model").exists() and first.poll() is None:
        time.sleep(0.05)
    second = forked.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 73, second.stderr
    assert "in use by another training" in second.stderr
    before = len(RunFolder(run).records())
    while len(RunFolder(run).records()) < before + 3:
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in said
    assert not [finding for finding in verify(run) if finding.problem]


LEAVING = """
import atexit, os, signal, time
from unpaired import cli

def interrupted(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

cli.app = interrupted
atexit.register(interrupted)
cli.main([])
"""
"""A command that gets one signal while it works, and another while the interpreter clears up after it."""


def test_a_second_signal_while_the_interpreter_clears_up_ends_it_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (130, "unpaired: Stopped.\n")


BUSY = """
import sys, torch
from unpaired import cli
from unpaired.training import loop

train_step = loop.train_step

def slow(state, *rest):
    if state.step == 5:
        ones = torch.ones(8192, 8192)
        print("busy", flush=True)
        torch.mm(ones, ones)
    return train_step(state, *rest)

loop.train_step = slow
cli.main(sys.argv[1:])
"""
"""A command line whose sixth step of training is one call of torch that takes ten seconds or more."""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_second_signal_ends_a_training_in_the_middle_of_a_call_that_takes_long(
    config: Config, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "toy.yaml"
    config = override(config, {"schedule.num_steps": 24})  # so many that the loader processes are not done
    file.write_text(to_yaml(override(config, {"data.num_workers": 2})))
    line = [sys.executable, "-c", BUSY, "train", "--config", str(file), "--out", str(run)]
    process = forked.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, loaders=True)
    with process:
        assert process.stdout is not None
        assert "busy\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline().endswith("a second Ctrl-C leaves at once, without saving.\n")
        helpers, sent = orphans.descendants(process.pid), time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - sent <= 2
    assert len(helpers) == 4
    assert not orphans.still_running(helpers, seconds=5)
    assert not [finding for finding in verify(run) if finding.problem]
    assert info(run).step == 4
    assert train(config, out=run).state_sha256 == train(config, out=tmp_path / "whole").state_sha256


# --- verify ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(drawn_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    train(override(toy_config(drawn_folders, "cyclegan", steps=4, every=2), {"run.sample_every": 0}), out=run)
    return run


def test_verify_names_every_part_of_a_whole_run_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], trained: Path
) -> None:
    before = tree(trained)
    code, printed, _ = run_cli(capsys, "verify", str(trained))
    assert code == 0
    lines = printed.splitlines()
    assert all(line.startswith("whole ") for line in lines)
    for part in ("config.yaml", "data.json", "step-00000004", "step-00000002", "log.jsonl", "AtoB and BtoA of step 4"):
        assert any(part in line for line in lines), part
    assert info(trained).state_sha256 in printed
    code, printed, _ = run_cli(capsys, "verify", str(trained), "--json")
    assert json.loads(printed)["whole"] is True
    assert len(json.loads(printed)["parts"]) == len(lines)
    assert tree(trained) == before


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("config.yaml", lambda path: path.write_text("objective: [1"), "config.yaml"),
    ("config.yaml", Path.unlink, "config.yaml"),
    ("data.json", cut, "data.json"),
    ("images.json", cut, "images.json"),
    ("history.jsonl", lambda path: path.write_text('{"step": 1, "ki'), "history.jsonl"),
    ("log.jsonl", lambda path: path.write_text(path.read_text().replace("step", "st\x00", 1)[5:]), "log.jsonl"),
    ("log.jsonl", lambda path: path.write_text(""), "log.jsonl"),
    ("checkpoints/step-00000004/optim.safetensors", flip_a_bit, "optim.safetensors"),
    ("checkpoints/step-00000002/MANIFEST.json", flip_a_bit, "step-00000002/MANIFEST.json"),
    ("checkpoints/step-00000004/state.json", Path.unlink, "state.json"),
    ("checkpoints/step-00000004", shutil.rmtree, "step-00000004 is missing"),
    ("model/AtoB.safetensors", flip_a_bit, "AtoB.safetensors"),
    ("model/model.json", cut, "model.json"),
    ("model", shutil.rmtree, "no model"),
]


@pytest.mark.parametrize(
    ("part", "damage", "named"), DAMAGE, ids=[f"{part}-{n}" for n, (part, _, _) in enumerate(DAMAGE)]
)
def test_verify_names_what_is_damaged_and_leaves_with_65(
    capsys: pytest.CaptureFixture[str],
    trained: Path,
    tmp_path: Path,
    part: str,
    damage: Callable[[Path], None],
    named: str,
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    damage(run / part)
    before = tree(run)
    code, printed, _ = run_cli(capsys, "verify", str(run))
    assert code == 65
    (line,) = [line for line in printed.splitlines() if line.startswith("damaged")]
    assert named in line
    assert tree(run) == before


def test_verify_takes_a_model_folder_alone_and_tells_what_is_no_run(
    capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(trained / "model", tmp_path / "model")
    assert run_cli(capsys, "verify", str(model))[0] == 0
    flip_a_bit(model / "BtoA.safetensors")
    code, printed, _ = run_cli(capsys, "verify", str(model))
    assert code == 65
    assert "BtoA.safetensors" in printed
    assert run_cli(capsys, "verify", str(tmp_path))[0] == 65
    assert run_cli(capsys, "verify", str(tmp_path / "nothing"))[0] == 65


def test_what_a_crash_leaves_by_design_is_told_and_no_damage(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(run / "checkpoints" / "step-00000004", run / "checkpoints" / ".tmp-step-00000006-aa")
    (run / "checkpoints" / "step-00000002").rename(run / "checkpoints" / ".corrupt-step-00000002-bb")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "los')
    findings = verify(run)
    assert [finding for finding in findings if finding.problem] == []
    reported = " ".join(f"{finding.part} {finding.fact}" for finding in findings)
    assert "unfinished" in reported
    assert "set aside" in reported
    assert "a truncated one" in reported
