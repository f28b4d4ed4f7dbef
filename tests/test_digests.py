"""SHA-256 taken ahead is that of the file as it is when it is asked for, whatever happened in between."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from unpaired import digests
from unpaired.digests import sha256_of, take_ahead


def of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read, in their order."""
    read: list[Path] = []
    original = digests._digest

    def noted(path: Path) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(digests, "_digest", noted)
    return read


def test_a_file_is_read_once_and_then_anew(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "AtoB.safetensors"
    path.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    take_ahead([Path(path.name)])
    assert sha256_of(path) == of(b"weights")  # under another name of the same place
    assert len(counted) == 1
    assert sha256_of(path) == of(b"weights")
    assert len(counted) == 2


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_a_file_that_changed_since_is_read_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "AtoB.safetensors"
    path.write_bytes(b"weights")
    take_ahead([path])
    digests._ahead[path][1].result()
    if how == "written":
        path.write_bytes(b"anothe!")
    else:
        other = tmp_path / "other"
        other.write_bytes(b"anothe!")
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.replace(path)
    assert sha256_of(path) == of(b"anothe!")


def test_what_is_no_file_or_cannot_be_read_is_left_to_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "AtoB.safetensors"
    path.write_bytes(b"weights")
    original = digests._digest

    def failing(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(digests, "_digest", failing)
    take_ahead([tmp_path / "nothing", tmp_path, tmp_path / "pipe", path])
    with pytest.raises(OSError, match="Input/output error"):
        digests._ahead[path][1].result()
    monkeypatch.setattr(digests, "_digest", original)
    assert sha256_of(path) == of(b"weights")
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "nothing")
