"""Fetching of published weights by name: resumable, with a SHA-256, imported into a model folder.

The bytes received so far are kept beside the folder as .NAME.pth.part; the same command again continues there.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unpaired.config import require
from unpaired.data.download import PUBLISHED_AT, Expected, Part, fetch
from unpaired.data.web import is_http
from unpaired.errors import ConfigError, DownloadError, ModelError, OutputError, StorageError
from unpaired.models.by_name import BUNDLED, data_folder, models_in
from unpaired.models.published_weights import LICENCE, PUBLISHED_WEIGHTS, PublishedWeights
from unpaired.storage import alone, at_home, make_folder, shown, storage_error, write_bytes
from unpaired.suggestions import unknown
from unpaired.zoo.first_seen import check_hash, read_record, record_hash
from unpaired.zoo.shelf import ORIGIN, read_origin

_log = logging.getLogger("unpaired")

MOST = 2**30
"""Largest file of weights in bytes; the largest published one has 0.22 GB."""


@dataclass(frozen=True)
class Fetched:
    """A model folder; notes about its hash and its networks, none if it was there already."""

    path: Path
    notes: tuple[str, ...] = ()


def fetch_model(
    name: str,
    *,
    out: str | Path | None = None,
    url: str = PUBLISHED_AT,
    listener: Callable[[int, int], None] = lambda received, total: None,
) -> Fetched:
    """Fetch published weights into a model folder (default: NAME in the data folder), or return the existing one.

    url: address of a mirror with the authors' paths.
    listener: called with the bytes received and expected (0: unknown).

    origin.json in the folder records address, SHA-256, size, date, licence and credit. A model of the package is
    copied to `out`.

    Raises ConfigError for an unknown name or address, DownloadError if the server is absent, refuses, breaks off (the
    received bytes are kept), or sends other weights or none; OutputError if the folder holds something else,
    StorageError if the disk is full or failing.
    """
    require(is_http(url), f"--url takes an http or https address, not {shown(url)}.")
    bundled = models_in(BUNDLED)
    if name in bundled:
        return _from_package(bundled[name], out)
    require(name in PUBLISHED_WEIGHTS, unknown(name, [*bundled, *PUBLISHED_WEIGHTS], "model"))
    weights = PUBLISHED_WEIGHTS[name]
    folder = at_home(out) if out is not None else data_folder() / name
    if _is_there(folder, weights):
        part_of(folder).remove()  # of a process that was killed after the model was complete
        _log.info(f"{shown(folder)} is there already.")
        return Fetched(folder)
    try:
        make_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, folder) from None
    busy = f"{shown(folder)} is being fetched by another process; wait for it, or give another --out."
    with alone(folder.parent / f".{folder.name}.lock", busy):
        return Fetched(folder) if _is_there(folder, weights) else _arrive(weights, url.rstrip("/"), folder, listener)


def part_of(folder: Path) -> Part:
    """Return the partial download of a model folder, empty if there is none."""
    expected = Expected(noun="file of weights", most=MOST, careful=True)
    return Part(folder.parent / f".{folder.name}.pth.part", expected)


def _arrive(weights: PublishedWeights, mirror: str, folder: Path, listener: Callable[[int, int], None]) -> Fetched:
    source, part = mirror + weights.path, part_of(folder)
    read_record()  # a damaged one is reported before the download
    if part.start(source):
        _log.info(f"Continuing {source} at {part.received:,} bytes.")
    fetch(source, part, listener)
    sha256 = part.sha256()
    temporary = folder.parent / f".{folder.name}.import"
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
        temporary.mkdir()
        notes = _imported(weights, source, sha256, part, temporary)
        if folder.exists():
            folder.rmdir()
        (temporary / "model").rename(folder)
    except (ModelError, DownloadError):
        part.remove()  # the same bytes would fail again
        raise
    except OSError as error:
        raise storage_error(error, folder) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    part.remove()
    return Fetched(folder, notes)


def _imported(weights: PublishedWeights, source: str, sha256: str, part: Part, temporary: Path) -> tuple[str, ...]:
    """Make the model folder temporary/model of a complete download, and return notes.

    Raises DownloadError for other weights than before or none, OSError.
    """
    from unpaired.interop import official  # with torch, which the download does not wait for

    file = temporary / f"{weights.name}.pth"
    _linked(part.path, file)
    try:
        made = official.import_official(
            file, temporary / "model", domain_names=dict(zip("AB", weights.domains, strict=True))
        )
    except ModelError as error:
        reason = str(error).replace(f"{shown(file)} ", "it ").rstrip(".")
        raise DownloadError(f"{source} does not hold the weights of {weights.name}: {reason}.") from None
    note = check_hash(weights.name, sha256, weights.sha256)
    origin = {
        "about": weights.about,
        "licence": LICENCE,
        "credit": weights.credit,
        "url": source,
        "sha256": sha256,
        "bytes": part.received,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_bytes(made.folder / ORIGIN, (json.dumps(origin, indent=1) + "\n").encode(), sync=True)
    card = made.folder / "README.md"
    write_bytes(card, card.read_bytes() + _source_section(origin).encode(), sync=True)
    if not weights.sha256:
        record_hash(weights.name, sha256, source)
    return note, *made.notes[1:]  # the first one is about options beside the file, which are never published


def _source_section(origin: dict[str, object]) -> str:
    """Return the section of the card about the source of the weights."""
    return (
        f"\n## Source\n\n- Weights: {origin['url']}, {origin['bytes']:,} bytes, SHA-256 `{origin['sha256']}`\n"
        f"- Fetched: {origin['date']}\n- Credit: {origin['credit']}\n- Licence: {origin['licence']}\n"
    )


def _linked(path: Path, name: Path) -> None:
    """Give a file a second name, by which messages and the importer know it; copy it if links are not supported."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def _is_there(folder: Path, weights: PublishedWeights) -> bool:
    """Return whether a folder holds these weights. Raises OutputError if it holds something else."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return False
    address = read_origin(folder).get("url")
    if (folder / "model.json").is_file() and isinstance(address, str) and address.endswith(weights.path):
        return True
    raise OutputError(f"{shown(folder)} holds something else already; give another --out or remove it.")


def _from_package(model: Path, out: str | Path | None) -> Fetched:
    """Copy a model of the package to `out`, if that is given."""
    if out is None:
        _log.info(f"{model.name} comes with the package; nothing is to be fetched.")
        return Fetched(model)
    folder = at_home(out)
    if os.path.lexists(folder):
        raise OutputError(f"{shown(folder)} exists already; give another --out or remove it.")
    try:
        shutil.copytree(model, folder)
    except (OSError, shutil.Error) as error:
        if isinstance(error, shutil.Error):
            raise StorageError(f"Cannot copy {model.name} to {shown(folder)}; check the disk.") from None
        raise storage_error(error, folder) from None
    return Fetched(folder)


def remove_model(name: str) -> tuple[Path, int]:
    """Remove a fetched model, or what was fetched of it; return its folder and the bytes that are free again.

    The record of its SHA-256 is kept. Raises ConfigError for a model of the package, an unknown name, one that is not
    fetched, and one in the data folder that was not fetched; StorageError or OutputError if it cannot be removed.
    """
    bundled, there = models_in(BUNDLED), models_in(data_folder())
    require(name not in bundled, f"{name} comes with the package and cannot be removed alone.")
    require(name in there or name in PUBLISHED_WEIGHTS, unknown(name, [*there, *PUBLISHED_WEIGHTS], "model"))
    folder = data_folder() / name
    part = part_of(folder)
    freed = part.received
    if name not in there:
        require(freed > 0, f"{name} is not fetched; there is nothing to remove.")
    elif not read_origin(folder).get("url"):
        raise ConfigError(f"{shown(folder)} was not fetched but put there; remove the folder yourself.")
    with alone(folder.parent / f".{name}.lock", f"{name} is being fetched by another process; end that first."):
        part.remove()
        if name in there:
            freed += _removed(folder)
    return folder, freed


def _removed(folder: Path) -> int:
    """Remove a folder, by a rename first, so that no half of a model remains under its name; return its bytes."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    aside = folder.parent / f".{folder.name}.gone"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise storage_error(error, folder) from None
    return size
