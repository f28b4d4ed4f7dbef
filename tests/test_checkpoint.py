"""A checkpoint is whole or absent, damage of any kind is noticed, and a failing disk costs nothing that was saved."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unpaired.artifacts import checkpoint as module
from unpaired.artifacts.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_newest,
    read_manifest,
    save_checkpoint,
)
from unpaired.data.datasets import Batch
from unpaired.errors import CheckpointError, StorageError
from unpaired.networks import PatchGAN, ResNetGenerator
from unpaired.objectives import CycleGAN
from unpaired.training.state import OptimizerConfig, Parts, TrainingState, state_sha256
from unpaired.training.step import train_step


def state_of(step: int) -> tuple[Parts, dict[str, int]]:
    """A state of a few hundred bytes, another one for every step."""
    values = torch.arange(24.0).view(4, 6) + step
    parts: Parts = {
        "weights": {"AtoB.weight": values, "AtoB.bias": values[0] / 7},
        "optim": {"step": torch.tensor(float(step)), "exp_avg": values * 0.1},
        "pool": {"A": torch.empty(0), "B": values.view(2, 3, 2, 2)},
    }
    return parts, {"step": step, "pool.A.num_seen": step, "pool.B.num_seen": 0}


def save(folder: Path, step: int, *, keep: int = 2) -> Path:
    parts, counters = state_of(step)
    return save_checkpoint(folder, parts, counters, log_lines=step * 2, made_with={"torch": "2"}, keep=keep)


def assert_holds(checkpoint: Checkpoint | None, step: int) -> None:
    parts, counters = state_of(step)
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.counters, checkpoint.log_lines) == (step, counters, step * 2)
    assert state_sha256(checkpoint.parts, checkpoint.counters) == state_sha256(parts, counters)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# --- a real training state -------------------------------------------------------------------------


def trained(seed: int, steps: int) -> TrainingState:
    objective = CycleGAN(pool_size=2).build(
        ResNetGenerator(base_channels=3, num_blocks=1), PatchGAN(base_channels=3, num_layers=1), 3, 3, seed
    )
    state = TrainingState(objective, OptimizerConfig(ema_decay=0.9))
    advance(state, steps)
    return state


def advance(state: TrainingState, steps: int) -> None:
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.step)
        images = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
        train_step(state, Batch(a=images[:1], b=images[1:]), "fp32")
        state.step += 1
        assert state.ema is not None
        state.ema.update(state.objective.translators, state.step)


def save_state(state: TrainingState, folder: Path) -> Path:
    return save_checkpoint(folder, state.parts(), state.counters(), log_lines=0, made_with={}, keep=2)


def test_a_state_comes_back_from_disk_with_the_same_hash_and_goes_on_the_same(tmp_path: Path) -> None:
    first = trained(seed=0, steps=4)
    saved = load_checkpoint(save_state(first, tmp_path))
    second = trained(seed=0, steps=1)  # everything it has is to be replaced
    assert second.sha256() != first.sha256()
    second.restore(saved.parts, saved.counters)
    assert second.sha256() == first.sha256()
    advance(first, 3)
    advance(second, 3)
    assert second.sha256() == first.sha256()


def test_a_state_before_the_first_step_comes_back_too(tmp_path: Path) -> None:
    first, second = trained(seed=0, steps=0), trained(seed=1, steps=0)
    saved = load_checkpoint(save_state(first, tmp_path))
    second.restore(saved.parts, saved.counters)
    advance(first, 2)
    advance(second, 2)
    assert second.sha256() == first.sha256()


def test_a_restored_state_shares_no_memory_with_what_it_came_from() -> None:
    first, second = trained(seed=0, steps=3), trained(seed=1, steps=0)
    second.restore(first.parts(), first.counters())
    before = first.sha256()
    advance(second, 1)
    assert first.sha256() == before


def test_every_tensor_and_every_counter_of_a_state_counts_for_its_hash() -> None:
    state = trained(seed=0, steps=2)
    base, parts, counters = state.sha256(), state.parts(), state.counters()
    assert {name.split(".")[0] for name in parts["weights"]} == {"translators", "discriminators"}
    assert set(parts) == {"weights", "optim", "pool", "average"}
    assert len(parts["optim"]) == 3 * len(list(state.objective.parameters()))
    assert set(counters) == {"step", "skipped", "pool.A.num_seen", "pool.B.num_seen"}
    assert state_sha256(parts, counters) == base
    seen = {base}
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            other = tensor.detach().clone()
            flat = other.view(-1)
            flat[-1] = torch.nextafter(flat[-1], torch.tensor(99.0))  # the last bit of the last number
            seen.add(state_sha256({**parts, part: {**tensors, name: other}}, counters))
            left_out = {key: value for key, value in tensors.items() if key != name}
            seen.add(state_sha256({**parts, part: left_out}, counters))
    for name, value in counters.items():
        seen.add(state_sha256(parts, {**counters, name: value + 1}))
    num_tensors = sum(map(len, parts.values()))
    assert len(seen) == 1 + 2 * num_tensors + len(counters)


def test_the_hash_knows_shape_type_and_name_but_neither_order_nor_layout() -> None:
    values = torch.arange(16.0).view(1, 4, 2, 2)
    base = state_sha256({"weights": {"a": values, "b": values + 1}}, {"step": 1})
    assert state_sha256({"weights": {"b": values + 1, "a": values}}, {"step": 1}) == base
    strided = values.to(memory_format=torch.channels_last)
    assert state_sha256({"weights": {"a": strided, "b": values + 1}}, {"step": 1}) == base
    others: list[dict[str, Tensor]] = [
        {"a": values.view(4, 4), "b": values + 1},
        {"a": values.view(torch.int32), "b": values + 1},
        {"c": values, "b": values + 1},
        {"a": values + 1, "b": values},
    ]
    assert len({base, *(state_sha256({"weights": other}, {"step": 1}) for other in others)}) == 5


@pytest.mark.parametrize("part", ["weights", "optim", "pool", "average"])
def test_a_checkpoint_of_another_configuration_is_refused_in_one_sentence(part: str) -> None:
    state = trained(seed=0, steps=1)
    parts = {name: tensors for name, tensors in state.parts().items() if name != part}
    with pytest.raises(CheckpointError, match="does not fit this configuration"):
        trained(seed=0, steps=0).restore(parts, state.counters())
    smaller = TrainingState(
        CycleGAN().build(
            ResNetGenerator(base_channels=2, num_blocks=1), PatchGAN(base_channels=3, num_layers=1), 3, 3, 0
        ),
        OptimizerConfig(),
    )
    with pytest.raises(CheckpointError, match="does not fit this configuration") as error:
        smaller.restore(state.parts(), state.counters())
    assert "\n" not in str(error.value)


# --- saving and keeping ----------------------------------------------------------------------------


def test_a_checkpoint_holds_what_was_saved_in_files_anyone_can_read(tmp_path: Path) -> None:
    path = save(tmp_path, 12)
    assert path == tmp_path / "step-00000012"
    assert_holds(load_checkpoint(path), 12)
    names = {"weights.safetensors", "optim.safetensors", "pool.safetensors", "state.json", "MANIFEST.json"}
    assert {file.name for file in path.iterdir()} == names
    assert json.loads((path / "state.json").read_text())["counters"]["step"] == 12
    manifest = read_manifest(path)
    assert manifest["made_with"] == {"torch": "2"}
    assert manifest["state_sha256"] == state_sha256(*state_of(12))
    assert (tmp_path / "LATEST").read_text() == "step-00000012\n"


@pytest.mark.parametrize(
    ("keep", "left"), [(0, [5, 4]), (1, [5, 4]), (2, [5, 4]), (3, [5, 4, 3]), (9, [5, 4, 3, 2, 1])]
)
def test_the_newest_are_kept_and_never_fewer_than_two(tmp_path: Path, keep: int, left: list[int]) -> None:
    for step in range(1, 6):
        save(tmp_path, step, keep=keep)
        assert len(list_checkpoints(tmp_path)) >= min(step, 2)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == left
    assert hidden(tmp_path) == []


def test_newest_means_the_highest_step_and_not_the_latest_date(tmp_path: Path) -> None:
    for step in (9, 10, 100_000_000):
        os.utime(save(tmp_path, step, keep=9), (10**9 - step, 10**9 - step))
    assert [int(path.name[5:]) for path in list_checkpoints(tmp_path)] == [100_000_000, 10, 9]
    assert list_checkpoints(tmp_path / "missing") == []
    assert load_newest(tmp_path / "missing") == (None, [])


def test_what_an_interrupted_save_left_behind_is_never_read_and_swept_by_the_next_one(tmp_path: Path) -> None:
    shutil.copytree(save(tmp_path, 1), tmp_path / ".tmp-step-00000009-abcd")
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".trash-step-00000008-abcd")
    (tmp_path / "step-notes").mkdir()
    checkpoint, warnings = load_newest(tmp_path)
    assert_holds(checkpoint, 1)
    assert warnings == []
    save(tmp_path, 2)
    assert hidden(tmp_path) == []


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 1)
    parts, counters = state_of(5)
    save_checkpoint(tmp_path, parts, {**counters, "step": 1}, log_lines=7, made_with={}, keep=2)
    assert load_checkpoint(tmp_path / "step-00000001").log_lines == 7
    assert hidden(tmp_path) == []


def test_every_file_is_on_the_disk_before_the_checkpoint_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        events.append(f"{path.name} -> {target.name}")
        return rename(path, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell which file is synced")
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    path = save(tmp_path, 3)
    named = next(i for i, event in enumerate(events) if event.endswith(f"-> {path.name}"))
    files = {file.name for file in path.iterdir()}
    assert files < set(events[:named])
    manifest_at, folder_at = events.index("MANIFEST.json"), events.index(events[named].split(" ")[0])
    assert all(events.index(name) <= manifest_at for name in files)
    assert manifest_at < folder_at < named
    assert tmp_path.name in events[named:]


# --- damage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of steps 1 and 2; tests take a copy."""
    folder = tmp_path_factory.mktemp("pair") / "checkpoints"
    for step in (1, 2):
        save(folder, step)
    return folder


FILES = ["weights.safetensors", "optim.safetensors", "pool.safetensors", "state.json", "MANIFEST.json"]


def flip(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def assert_falls_back(folder: Path, file: str) -> None:
    """The damaged newest checkpoint is noticed, set aside and named; the one before it is used."""
    with pytest.raises(CheckpointError):
        load_checkpoint(folder / "step-00000002")
    checkpoint, warnings = load_newest(folder)
    assert_holds(checkpoint, 1)
    (warning,) = warnings
    (aside,) = hidden(folder)
    assert aside.startswith(".corrupt-step-00000002-")
    assert aside in warning
    assert file in warning
    assert load_newest(folder)[1] == []


@settings(max_examples=200)
@given(
    file=st.sampled_from(FILES),
    place=st.floats(0, 1, exclude_max=True),
    kind=st.sampled_from(["flip", "cut", "longer", "gone"]),
)
def test_a_flipped_bit_a_cut_or_a_loss_anywhere_is_noticed_and_the_one_before_is_used(
    pair: Path, tmp_path_factory: pytest.TempPathFactory, file: str, place: float, kind: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pair, folder)
    path = folder / "step-00000002" / file
    content = path.read_bytes()
    if kind == "flip":
        path.write_bytes(flip(content, int(place * 8 * len(content))))
    elif kind == "cut":
        path.write_bytes(content[: int(place * len(content))])
    elif kind == "longer":
        path.write_bytes(content + content[: 1 + int(place * len(content))])
    else:
        path.unlink()
    assert_falls_back(folder, file)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_noticed_by_name(pair: Path, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    (folder / "step-00000002" / file).unlink()
    assert_falls_back(folder, file)


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_another_checkpoint_is_noticed(pair: Path, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    shutil.copy(folder / "step-00000001" / file, folder / "step-00000002" / file)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder / "step-00000002")


def test_every_byte_of_the_manifest_counts(pair: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    path = folder / "step-00000002" / "MANIFEST.json"
    content = path.read_bytes()
    unnoticed = set()
    for byte in range(len(content) - 1):  # the last one is a line break
        for damaged in (flip(content, 8 * byte + byte % 7), content[:byte])[: 2 if byte % 9 == 0 else 1]:
            path.write_bytes(damaged)
            try:
                load_checkpoint(path.parent)
                unnoticed.add(content[:byte].count(b"\n"))
            except CheckpointError:
                pass
    lines = content.decode().splitlines()
    assert [lines[number] for number in sorted(unnoticed)] == []


def test_when_every_checkpoint_is_damaged_all_are_named_and_none_is_used(pair: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    for step in (1, 2):
        (folder / f"step-0000000{step}" / "optim.safetensors").write_bytes(b"")
    checkpoint, warnings = load_newest(folder)
    assert checkpoint is None
    assert ["step-00000002" in warnings[0], "step-00000001" in warnings[1], len(warnings)] == [True, True, 2]
    save(folder, 3)
    assert_holds(load_newest(folder)[0], 3)
    assert len(hidden(folder)) == 2  # kept for inspection


def test_a_hint_that_points_nowhere_changes_nothing(pair: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    (folder / "LATEST").write_text("step-00000077\n")
    assert_holds(load_newest(folder)[0], 2)
    (folder / "LATEST").unlink()
    assert_holds(load_newest(folder)[0], 2)


def test_a_checkpoint_of_a_newer_format_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "MANIFEST.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="format 1"):
        load_checkpoint(path.parent)


# --- a failing disk --------------------------------------------------------------------------------

CALLS: list[tuple[Any, str]] = [
    (os, "fsync"),
    (os, "open"),
    (Path, "mkdir"),
    (Path, "open"),
    (Path, "rename"),
    (Path, "replace"),
    (shutil, "rmtree"),
]
"""What saving asks of the system."""


@contextmanager
def failing_at(number: int, code: int) -> Iterator[list[str]]:
    """Let the call number `number` (0, 1, ...) of CALLS fail; yields the names of the calls made."""
    made: list[str] = []

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            made.append(name)
            if len(made) - 1 == number and not named.get("ignore_errors"):
                path = str(arguments[0]) if isinstance(arguments[0], Path) else None  # fsync knows no name
                raise OSError(code, os.strerror(code), path)
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CALLS:
            patch.setattr(owner, name, wrapped(f"{owner.__name__}.{name}", getattr(owner, name)))
        yield made


def count_calls(folder: Path, step: int) -> list[str]:
    with failing_at(-1, 0) as made:
        save(folder, step)
    return made


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", [3, 2])
def test_a_disk_that_fails_at_any_call_leaves_what_was_saved_and_says_so(
    pair: Path, tmp_path: Path, code: int, step: int
) -> None:
    """Step 3 is new; step 2 was saved before and is saved again."""
    start = shutil.copytree(pair, tmp_path / "start")
    shutil.copytree(start / "step-00000001", start / ".tmp-step-00000007-left")
    calls = count_calls(shutil.copytree(start, tmp_path / "counted"), step)
    assert len(calls) > (12 if step == 3 else 3)
    for number, name in enumerate(calls):
        folder = shutil.copytree(start, tmp_path / f"{number}")
        failed = f"call {number}, {name}"
        error = None
        with failing_at(number, code):
            try:
                save(folder, step)
            except StorageError as raised:
                error = raised
        if error is None:  # one that was there could not be read: saved anew, or not counted among those kept
            assert name == "Path.open", failed
            assert hidden(folder) == [], failed
            assert [path.name for path in list_checkpoints(folder)][1:] == (
                ["step-00000002", "step-00000001"] if step == 3 else ["step-00000001"]
            ), failed
            assert_holds(load_newest(folder)[0], step)
            continue
        assert str(folder) in str(error), failed
        assert not list(folder.glob(".tmp-step-0000000[23]*")), failed
        kept = [load_checkpoint(path) for path in list_checkpoints(folder)]
        assert [checkpoint.step for checkpoint in kept] in ([2, 1], [3, 2, 1], [3, 2]), failed
        for checkpoint in kept:
            assert_holds(checkpoint, checkpoint.step)
        save(folder, 3)  # the disk is well again
        assert_holds(load_newest(folder)[0], 3)
        assert hidden(folder) == [], failed


def test_a_full_disk_is_noticed_before_the_first_byte_with_both_figures(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(pair, tmp_path / "checkpoints")
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=300))
    with pytest.raises(StorageError, match=r"MB needed, 0\.0 MB free"):
        save(folder, 3)
    assert_holds(load_newest(folder)[0], 2)
    assert hidden(folder) == []
