"""Checkpoints: directories of safetensors and JSON, written so that a crash at any moment loses nothing.

    checkpoints/step-00000500/  weights.safetensors optim.safetensors pool.safetensors [average.safetensors]
                                best.safetensors    the networks of the best step so far, if that is an earlier one
                                state.json          the counters, and the best step
                                MANIFEST.json       step, state_sha256, size and SHA-256 of each file, and one of
                                                    itself; written last
    checkpoints/LATEST          the newest name, a hint for people

A checkpoint is built in a hidden directory beside its final place, every file flushed to the disk, and renamed in one
step. Names that start with a dot are unfinished or being deleted, and are never read. If a crash interrupts the
replacement of a checkpoint by one of the same step, the old one gets its name back first.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import operator
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from unpaired.artifacts.manifests import FORMAT
from unpaired.artifacts.manifests import MANIFEST as _MANIFEST
from unpaired.artifacts.manifests import json_bytes as _json
from unpaired.artifacts.manifests import list_checkpoints as list_checkpoints
from unpaired.artifacts.manifests import named_as_checkpoint as _is_name
from unpaired.artifacts.manifests import read_manifest as read_manifest
from unpaired.artifacts.manifests import sealed as _sealed
from unpaired.artifacts.manifests import step_of as _step
from unpaired.errors import CheckpointError, StorageError
from unpaired.storage import make_folder, shown, sweep_partial, sync_folder, write_bytes
from unpaired.tensor_files import Buffer, buffers
from unpaired.training.state import Parts, state_sha256

_BEST = "best"
_DISPLACED = ".old-"
_BUFFERED = 1 << 20  # bytes of small tensors that are written in one call
_NOTHING_LEFT = "no other one is left, so the run begins again"
_WITHOUT_STRICT = "Run the same command without --strict to continue from the checkpoint before it."


@dataclass(frozen=True)
class Checkpoint:
    """One verified checkpoint in memory.

    log_lines: number of lines of log.jsonl when it was saved.
    best_step: the best step so far, None without validation.
    best: the networks of the best step (`best_weights.Kept`), if it is an earlier one.
    The last two are not part of the state, since training does not depend on them.
    """

    step: int
    parts: Parts
    counters: dict[str, int]
    log_lines: int
    state_sha256: str
    best_step: int | None = None
    best: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    parts: Parts,
    counters: Mapping[str, int],
    *,
    log_lines: int,
    made_with: Mapping[str, Any],
    keep: int,
    best_step: int | None = None,
    best: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a checkpoint below `folder`, then remove all but the newest `keep` (at least two); return its path.

    An existing undamaged checkpoint of the same state is left as it is. The checkpoints to keep are read again before
    others are removed, and damaged ones do not count.

    parts, best: tensors that nothing changes before this returns. made_with: versions and machine for the manifest.
    Raises StorageError if the disk fails; existing checkpoints are then unchanged.
    """
    step, sha256 = counters["step"], state_sha256(parts, counters)
    final = folder / _name(step)
    tensors = {**parts, _BEST: best} if best else parts
    files = {f"{part}.safetensors": buffers(named) for part, named in tensors.items()}
    chosen = {} if best_step is None else {"best_step": best_step}
    files["state.json"] = [_json({"counters": dict(counters), "log_lines": log_lines, **chosen})]
    needed = sum(map(_size, files.values()))
    with _storage_errors(folder, needed):
        make_folder(folder)
        sweep(folder)
        if _is_saved(final, sha256):
            return final
        _check_space(folder, needed)
        temporary = folder / f".tmp-{_name(step)}-{secrets.token_hex(4)}"
        temporary.mkdir()
        try:
            manifest = _manifest(step, sha256, files, made_with)
            files[_MANIFEST] = [_sealed(manifest)]
            for name, content in files.items():
                write_synced(temporary / name, content)
            sync_folder(temporary)
            _put_in_place(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder)
        write_bytes(folder / "LATEST", f"{final.name}\n".encode(), sync=True)
        _prune(folder, final, max(keep, 2))
    return final


def _manifest(
    step: int, sha256: str, files: Mapping[str, Sequence[Buffer]], made_with: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of MANIFEST.json for the other files of a checkpoint."""
    hashes = {}
    for name, content in files.items():
        digest = hashlib.sha256()
        for piece in content:
            digest.update(piece)
        hashes[name] = {"size": _size(content), "sha256": digest.hexdigest()}
    return {"format": FORMAT, "step": step, "state_sha256": sha256, "files": hashes, "made_with": dict(made_with)}


def lost_checkpoint(folder: Path, candidates: list[Path]) -> list[str]:
    """Return a sentence if LATEST names a newer checkpoint than exists, in place or set aside; else an empty list."""
    try:
        name = (folder / "LATEST").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return []
    newest = _step(candidates[0]) if candidates else -1
    if not _is_name(name) or _step(folder / name) <= newest or any(folder.glob(f".corrupt-{name}-*")):
        return []
    used = f"{candidates[0].name} is used" if candidates else _NOTHING_LEFT
    return [f"{folder / name} is missing, though LATEST names it; {used}."]


def load_checkpoint(checkpoint: Path) -> Checkpoint:
    """Read and verify a checkpoint: every file's size and SHA-256, then the hash over all state.

    Raises CheckpointError naming the missing or changed file.
    """
    manifest = read_manifest(checkpoint)
    parts: Parts = {}
    state: dict[str, Any] = {}
    try:
        for name, expected in manifest["files"].items():
            content = _read_file(checkpoint / Path(name).name, expected)  # never a file elsewhere
            if name.endswith(".safetensors"):
                parts[name.removesuffix(".safetensors")] = safetensors.torch.load(content)
            else:
                state = json.loads(content)
        best = parts.pop(_BEST, {})
        if state_sha256(parts, state["counters"]) != manifest["state_sha256"]:
            raise CheckpointError(f"{checkpoint} does not hold the state its manifest names.")
        return Checkpoint(
            operator.index(manifest["step"]),
            parts,
            state["counters"],
            state["log_lines"],
            manifest["state_sha256"],
            state.get("best_step"),
            best,
        )
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} is not a valid checkpoint ({' '.join(str(error).split())}).") from None


def load_newest(folder: Path, *, strict: bool = False) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and a sentence for each damaged one that was set aside.

    A damaged checkpoint is renamed .corrupt-NAME, so that it is kept for inspection and never tried again; with
    `strict` nothing is renamed and CheckpointError raised instead.
    """
    with _storage_errors(folder):
        _bring_back(folder)
    candidates = list_checkpoints(folder)
    warnings = lost_checkpoint(folder, candidates)
    if strict and warnings:
        raise CheckpointError(f"{warnings[0]} {_WITHOUT_STRICT}")
    for path in candidates:
        try:
            return load_checkpoint(path), warnings
        except CheckpointError as error:
            if strict:
                raise CheckpointError(f"{error} {_WITHOUT_STRICT}") from None
            warnings.append(f"{error} {_set_aside(path)}")
    return None, warnings


def sweep(folder: Path) -> None:
    """Clean up after an interrupted save or prune: restore a displaced checkpoint, remove leftovers."""
    sweep_partial(folder)
    with _storage_errors(folder):
        _bring_back(folder)
        for pattern in (".tmp-*", ".trash-*", f"{_DISPLACED}*"):
            for path in folder.glob(pattern):
                shutil.rmtree(path)


def write_synced(path: Path, content: Sequence[Buffer]) -> None:
    """Write a new file from pieces and flush it to the disk before returning."""
    with path.open("wb", buffering=_BUFFERED) as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _size(content: Sequence[Buffer]) -> int:
    return sum(map(len, content))


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _is_saved(final: Path, sha256: str) -> bool:
    """Whether an undamaged checkpoint of this state exists."""
    try:
        return final.exists() and load_checkpoint(final).state_sha256 == sha256
    except CheckpointError:
        return False


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename a finished checkpoint to its final name; an existing one of that step survives a failure."""
    if not final.exists():
        temporary.rename(final)
        return
    # Python has no system call that exchanges two folders: a crash between these renames is repaired by `_bring_back`.
    displaced = final.parent / (_DISPLACED + final.name)
    if not _is_whole(final):
        displaced = final.parent / f".corrupt-{final.name}-{secrets.token_hex(4)}"
    final.rename(displaced)
    try:
        temporary.rename(final)
    except BaseException:
        with contextlib.suppress(OSError):
            displaced.rename(final)
        raise


def _bring_back(folder: Path) -> None:
    """Restore the names of displaced checkpoints if a crash came before the new ones were renamed."""
    for displaced in folder.glob(f"{_DISPLACED}*"):
        final = folder / displaced.name.removeprefix(_DISPLACED)
        if not final.exists():
            displaced.rename(final)


def _prune(folder: Path, newest: Path, keep: int) -> None:
    """Remove the checkpoints older than the newest `keep` undamaged ones; `newest` was just written."""
    num_whole, num_removed = 0, 0
    for path in list_checkpoints(folder):
        if num_whole >= keep:
            path.rename(folder / f".trash-{path.name}-{secrets.token_hex(4)}")
            num_removed += 1
        elif path == newest or _is_whole(path):
            num_whole += 1
    if num_removed:
        sync_folder(folder)  # a power failure must not leave half of one under its name
    sweep(folder)


def _is_whole(checkpoint: Path) -> bool:
    """Whether every file of a checkpoint has the hash in its manifest, without loading the tensors."""
    try:
        files: dict[str, Any] = read_manifest(checkpoint)["files"]
        for name, expected in files.items():
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
                    return False
    except (CheckpointError, OSError, KeyError):
        return False
    return True


def _set_aside(checkpoint: Path) -> str:
    """Rename a damaged checkpoint so that it is kept but never read again; return a sentence about it."""
    aside = checkpoint.parent / f".corrupt-{checkpoint.name}-{secrets.token_hex(4)}"
    with _storage_errors(checkpoint.parent):
        checkpoint.rename(aside)
        sync_folder(checkpoint.parent)
    left = list_checkpoints(checkpoint.parent)
    return f"It was set aside as {aside.name}; {f'{left[0].name} is tried next' if left else _NOTHING_LEFT}."


def _read_file(path: Path, expected: Mapping[str, Any]) -> bytes:
    """Return a file of a checkpoint; raises CheckpointError if it differs from the one that was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from None
    if len(content) != expected["size"] or hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise CheckpointError(f"{path} was changed after it was written: its SHA-256 is not the manifest's.")
    return content


def _check_space(folder: Path, needed: int) -> None:
    """Raise OSError before the first byte is written if the disk lacks room for the checkpoint and a tenth more."""
    available = shutil.disk_usage(folder).free
    if available < 1.1 * needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _storage_errors(folder: Path, needed: int = 0) -> Iterator[None]:
    """Turn OSError into StorageError; needed: the bytes that the message asks room for."""
    try:
        yield
    except OSError as error:
        name, room = str(error.filename), ""
        place = name if name.startswith(str(folder)) else folder  # removing a folder reports bare names
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and needed:
            room = f" ({needed / 1e6:.1f} MB needed, {shutil.disk_usage(folder).free / 1e6:.1f} MB free)"
        raise StorageError(
            f"Cannot save below {shown(place)}: {error.strerror}; the checkpoints already there are "
            f"untouched. Make room{room} or give a writable --out, then run the same command to continue."
        ) from error
