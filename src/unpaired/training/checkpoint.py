"""Checkpoints: directories of safetensors and JSON, written so that a crash at any moment loses nothing.

    checkpoints/step-00000500/  weights.safetensors optim.safetensors pool.safetensors [average.safetensors]
                                state.json          the counters
                                MANIFEST.json       step, state_sha256, size and SHA-256 of each file, and one of
                                                    itself; written last
    checkpoints/LATEST          the newest name, a hint for people

A checkpoint is built in a hidden directory beside its final place, every file flushed to the disk, and renamed in
one step. What starts with a dot is unfinished or on its way out, and is never read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from unpaired.errors import CheckpointError, StorageError
from unpaired.storage import sync_folder, write_bytes
from unpaired.training.state import Parts, state_sha256

FORMAT = 1
_MANIFEST = "MANIFEST.json"
_SEAL = "manifest_sha256"


@dataclass(frozen=True)
class Checkpoint:
    """One verified checkpoint in memory. `log_lines`: lines that log.jsonl had when it was taken."""

    step: int
    parts: Parts
    counters: dict[str, int]
    log_lines: int
    state_sha256: str


def save_checkpoint(
    folder: Path, parts: Parts, counters: Mapping[str, int], *, log_lines: int, made_with: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint below `folder`, then remove all but the newest `keep` (at least two); return its path.

    A whole checkpoint of the same state that is there already is left as it is.

    `made_with` records versions and machine in the manifest. Raises StorageError when the disk refuses, with the
    checkpoints that were there untouched.
    """
    step, sha256 = counters["step"], state_sha256(parts, counters)
    final = folder / _name(step)
    files = {f"{part}.safetensors": _serialised(tensors) for part, tensors in parts.items()}
    files["state.json"] = _json({"counters": dict(counters), "log_lines": log_lines})
    manifest = {
        "format": FORMAT,
        "step": step,
        "state_sha256": sha256,
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        "made_with": dict(made_with),
    }
    with _storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        if _is_saved(final, sha256):
            return final
        _check_space(folder, sum(map(len, files.values())))
        temporary = folder / f".tmp-{_name(step)}-{secrets.token_hex(4)}"
        temporary.mkdir()
        try:
            for name, content in {**files, _MANIFEST: _sealed(manifest)}.items():
                write_synced(temporary / name, content)
            sync_folder(temporary)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder)
        write_bytes(folder / "LATEST", f"{final.name}\n".encode(), sync=True)
        for old in list_checkpoints(folder)[max(keep, 2) :]:
            old.rename(folder / f".trash-{old.name}-{secrets.token_hex(4)}")
        sweep(folder)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints below `folder`, newest step first; none when the folder is missing."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; raises CheckpointError where it is missing or was changed."""
    path = checkpoint / _MANIFEST
    try:
        content = path.read_bytes()
        manifest = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not of format {FORMAT}; it is damaged, or a newer version wrote it.")
    if _sealed({key: value for key, value in manifest.items() if key != _SEAL}) != content:
        raise CheckpointError(f"{path} was changed after it was written: its SHA-256 is not the one in it.")
    return manifest


def load_checkpoint(checkpoint: Path) -> Checkpoint:
    """Read and verify a checkpoint: every file's size and SHA-256, then the hash over all state.

    Raises CheckpointError that names the file which is missing or was changed.
    """
    manifest = read_manifest(checkpoint)
    parts: Parts = {}
    state: dict[str, Any] = {}
    for name, expected in manifest["files"].items():
        path = checkpoint / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from None
        if len(content) != expected["size"] or hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise CheckpointError(f"{path} was changed after it was written: its SHA-256 is not the manifest's.")
        if name.endswith(".safetensors"):
            parts[name.removesuffix(".safetensors")] = safetensors.torch.load(content)
        else:
            state = json.loads(content)
    if state_sha256(parts, state["counters"]) != manifest["state_sha256"]:
        raise CheckpointError(f"{checkpoint} does not hold the state its manifest names.")
    return Checkpoint(manifest["step"], parts, state["counters"], state["log_lines"], manifest["state_sha256"])


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and a sentence for each damaged one that was set aside.

    A damaged checkpoint is renamed .corrupt-NAME, so that it is kept for inspection and never tried again.
    """
    warnings: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return load_checkpoint(path), warnings
        except CheckpointError as error:
            aside = folder / f".corrupt-{path.name}-{secrets.token_hex(4)}"
            with _storage_errors(folder):
                path.rename(aside)
            warnings.append(f"{error} It was set aside as {aside.name}; the checkpoint before it is used.")
    return None, warnings


def sweep(folder: Path) -> None:
    """Remove what an interrupted save or prune left behind."""
    for path in [*folder.glob(".tmp-*"), *folder.glob(".trash-*")]:
        shutil.rmtree(path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk before returning."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest with the SHA-256 of all else in it, so that no byte of it can change unseen."""
    return _json({**manifest, _SEAL: hashlib.sha256(_json(dict(manifest))).hexdigest()})


def _is_saved(final: Path, sha256: str) -> bool:
    """Whether a whole checkpoint of this very state is there; one that is not is put out of the way."""
    if not final.exists():
        return False
    try:
        if load_checkpoint(final).state_sha256 == sha256:
            return True
        aside = f".trash-{final.name}"
    except CheckpointError:
        aside = f".corrupt-{final.name}"
    final.rename(final.parent / f"{aside}-{secrets.token_hex(4)}")
    return False


def _serialised(tensors: Mapping[str, Any]) -> bytes:
    snapshot = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(snapshot)


def _check_space(folder: Path, needed: int) -> None:
    """Refuse before the first byte where the disk cannot take the checkpoint and a tenth more."""
    available = shutil.disk_usage(folder).free
    if available < 1.1 * needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB needed, {available / 1e6:.1f} MB free")


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise StorageError(
            f"Cannot save below {place}: {error.strerror}; the checkpoints already there are untouched. Make room or "
            "give a writable --out, then run the same command to continue."
        ) from error
