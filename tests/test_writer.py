"""Files are written behind training: in order, of the state of their step; errors are raised in the training thread."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from unpaired.artifacts import checkpoint as module
from unpaired.artifacts.checkpoint import list_checkpoints, load_checkpoint
from unpaired.artifacts.writer import Writer
from unpaired.config import override
from unpaired.errors import Interrupted, StorageError
from unpaired.models.model_folder import read_model
from unpaired.recipes import Config
from unpaired.runs import info, train
from unpaired.tensor_files import buffers, serialised
from unpaired.training.progress import Progress
from unpaired.training.state import copied

WAIT = 20.0
"""Seconds after which a wait between threads counts as failed."""


# --- the thread ------------------------------------------------------------------------------------


def test_tasks_run_in_another_thread_in_their_order() -> None:
    writer, go, seen = Writer(), threading.Event(), list[Any]()
    writer.submit("samples", lambda: seen.append((go.wait(WAIT), threading.current_thread())))
    writer.submit("checkpoint", lambda: seen.append("second"))
    assert seen == []
    go.set()
    writer.finish()
    assert (seen[0][0], seen[1]) == (True, "second")
    assert seen[0][1] is not threading.current_thread()


def test_the_next_save_waits_for_the_one_before() -> None:
    writer, go, seen = Writer(), threading.Event(), list[str]()

    def slow() -> None:
        go.wait(WAIT)
        seen.append("first")

    writer.submit("checkpoint", slow)
    threading.Timer(0.05, go.set).start()
    writer.wait_for("checkpoint")
    assert seen == ["first"]


@pytest.mark.parametrize("call", ["check", "wait_for", "submit", "finish"])
def test_an_error_is_raised_once_in_the_training_thread(call: str) -> None:
    writer = Writer()

    def fail() -> None:
        raise StorageError("the disk is full")

    writer.submit("checkpoint", fail)
    threading.Event().wait(0.05)
    arguments = {"wait_for": ("samples",), "submit": ("samples", lambda: None)}.get(call, ())
    with pytest.raises(StorageError, match="the disk is full"):
        getattr(writer, call)(*arguments)
    writer.finish()


# --- the bytes -------------------------------------------------------------------------------------


def test_pieces_are_the_file_that_safetensors_writes() -> None:
    kinds = [torch.float32, torch.int64, torch.uint8, torch.bool, torch.bfloat16, torch.float64, torch.int8]
    values = torch.arange(30).view(5, 6)
    tensors = {f"Ü {kind}": values.to(kind) for kind in kinds} | {"none": torch.empty(0, 3), "one": torch.tensor(7.0)}
    tensors |= {"strided": values.float().T, "odd": torch.ones(3, dtype=torch.uint8)}
    content = b"".join(buffers(tensors))
    assert content == serialised(tensors)
    for name, tensor in safetensors.torch.load(content).items():
        assert torch.equal(tensor, tensors[name])
    assert b"".join(buffers({})) == serialised({})
    assert b"".join(buffers({"wide": torch.ones(2, dtype=torch.complex64)}))[8:].startswith(b'{"wide":{"dtype":"C64"')


def test_a_copy_has_the_bits_of_the_tensor_and_not_its_memory() -> None:
    channels_last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tensors = {
        "a": channels_last,
        "b": torch.tensor(3),
        "c": torch.ones(2, 2, dtype=torch.bfloat16),
        "d": torch.empty(0),
    }
    found = copied({"weights": tensors})["weights"]
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
        assert found[name].is_contiguous()
    channels_last.zero_()
    assert found["a"].abs().min() > 0


# --- whole runs ------------------------------------------------------------------------------------


@pytest.fixture
def config(toy_config: Config, two_folders: Path) -> Config:
    return override(toy_config, {"data.root": str(two_folders), "run.sample_every": 0})


def paused(monkeypatch: pytest.MonkeyPatch, go: threading.Event, waited: list[bool]) -> None:
    """Let the first file of a checkpoint wait for an event."""
    write = module.write_synced

    def slow(path: Path, content: Any) -> None:
        if not waited:
            waited.append(go.wait(WAIT))
        write(path, content)

    monkeypatch.setattr(module, "write_synced", slow)


def test_training_goes_on_during_a_save_which_holds_the_state_of_its_step(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, go, waited = train(config, out=tmp_path / "whole"), threading.Event(), list[bool]()
    expected = {path.name: load_checkpoint(path) for path in list_checkpoints(tmp_path / "whole" / "checkpoints")}
    paused(monkeypatch, go, waited)

    def listen(progress: Progress) -> None:  # the checkpoint of step 4 waits for the log line of step 7
        if progress.step == 7:
            assert waited == []
            go.set()

    found = train(override(config, {"run.log_every": 1}), out=tmp_path / "run", listener=listen)
    assert waited == [True]
    assert found.state_sha256 == whole.state_sha256
    for path in list_checkpoints(tmp_path / "run" / "checkpoints"):
        assert load_checkpoint(path).state_sha256 == expected[path.name].state_sha256
        assert path.name == "step-00000008" or load_checkpoint(path).log_lines == 4


def test_a_checkpoint_being_written_at_a_signal_is_finished_and_so_is_that_of_the_last_step(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, waited = threading.Event(), list[bool]()
    paused(monkeypatch, go, waited)

    def listen(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Timer(0.1, go.set).start()

    with pytest.raises(Interrupted, match="Stopped at step 5"):
        train(override(config, {"run.log_every": 1}), out=tmp_path, listener=listen)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path / "checkpoints")] == [5, 4]
    assert read_model(tmp_path)[0].training.step == 5
    assert "stopped; the same command continues it" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("step", [4, 8])
def test_a_save_that_fails_ends_training_in_one_sentence_and_the_run_goes_on_afterwards(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    write, seen = module.write_synced, list[int]()

    def full(path: Path, content: Any) -> None:
        if f"step-{step:08d}" in path.parent.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(module, "write_synced", full)
    logged = override(config, {"run.log_every": 1})
    with pytest.raises(StorageError, match=r"Cannot save below .*No space left .* MB needed"):
        train(logged, out=tmp_path / "run", listener=lambda progress: seen.append(progress.step))
    assert [path.name[-1] for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == (
        ["4"] if step == 8 else []
    )
    assert not (tmp_path / "run" / "model").exists() or info(tmp_path / "run").step == 4
    monkeypatch.setattr(module, "write_synced", write)
    assert train(logged, out=tmp_path / "run").step == 8


def test_an_exception_of_a_callback_waits_for_the_save_that_is_under_way(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, waited = threading.Event(), list[bool]()
    paused(monkeypatch, go, waited)

    def listen(progress: Progress) -> None:
        if progress.step == 5:
            threading.Timer(0.1, go.set).start()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(override(config, {"run.log_every": 1}), out=tmp_path, listener=listen)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path / "checkpoints")] == [4]
    assert read_model(tmp_path)[0].training.step == 4
