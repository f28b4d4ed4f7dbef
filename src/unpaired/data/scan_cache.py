"""A cache of what scans found out about the files of large folders, in the user's folder for caches.

It spares decoding, and reading, of files that are the same as at the scan (see `known_files`). Its file is one line of
JSON, the table of facts as a second one, the names, and arrays of numbers. It is dropped without a message if anything
differs: the folder, the versions, the hash over its content, the owner, or one of a sample of files that are read anew.

The cache is not kept beside the data, which may come from others. Facts about unusable images are not kept, so that no
cache can leave an image out of training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import random
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from unpaired.compat.collector import collector_paused
from unpaired.data.known_files import IMAGE_FACTS, KnownFiles, Table, header_facts, image_facts
from unpaired.data.sources import FolderSource
from unpaired.errors import UnpairedError
from unpaired.images import FORMATS, ImageHeader, read_header
from unpaired.scanning.inspection import Inspected
from unpaired.scanning.predicates import file_digest
from unpaired.storage import shown, write_bytes
from unpaired.version import __version__

_FORMAT = 1
_LEAST = 1000  # images of a folder from which a cache is kept: fewer are read in a second
_SAMPLE = 64  # files that are read in full though they are known

_log = logging.getLogger("unpaired")


@collector_paused()
def recall(source: FolderSource, background: tuple[int, ...]) -> None:
    """Fill `source.known` with the facts of the cache about files that are the same, if there is a sound one.

    A sample of these files is hashed; if one differs, nothing is taken from the cache.
    """
    if len(source) < _LEAST:
        return
    path = _path(source, background)
    found = None if path is None else _read(path, _about(source, background))
    if found is None:
        return
    names, rows, headers, images = found
    known = source.known
    here = source.names()
    if here != names:
        places = {name: place for place, name in enumerate(names)}
        own = np.array([places.get(name, -1) for name in here], np.int64)
        rows = rows[own]
        rows["stamp"][own < 0] = -1
    same = (rows["stamp"] == known.stamps).all(axis=1)
    known.digests[same], known.has_digest[:] = rows["digest"][same], same
    known.headers[same], known.images[same] = rows["header"][same], rows["image"][same]
    known.header_table, known.image_table = headers, images
    checked = sample(np.flatnonzero(same)) + _first_of_each_kind(known)
    differing = next((index for index in checked if not _is_as_known(source, index)), None)
    if differing is not None:
        known.forget()
        _log.warning(
            f"{shown(source.paths[differing])} is not as at the last scan, although its dates are; every file is "
            "read anew."
        )


def remember(source: FolderSource, background: tuple[int, ...]) -> None:
    """Write the facts about a source to the cache, if there are new ones. A cache that cannot be written is none."""
    known = source.known
    if len(source) < _LEAST or not known.changed:
        return
    path = _path(source, background)
    if path is None:
        return
    kept = np.flatnonzero(known.has_digest & known.settled)
    rows = np.zeros(len(kept), _dtype())
    rows["stamp"], rows["digest"] = known.stamps[kept], known.digests[kept]
    rows["header"], rows["image"] = known.headers[kept], known.images[kept]
    tables = {
        "headers": [header_facts(header) for header in known.header_table.rows],
        "images": [image_facts(image) for image in known.image_table.rows],
    }
    listed = source.names()
    names = "\0".join(listed[index] for index in kept.tolist()).encode(errors="surrogateescape")
    body = json.dumps(tables).encode() + b"\n" + names + b"\n\0" + rows.tobytes()
    head = {"about": _about(source, background), "count": len(kept), "names": len(names), "sha256": _hash(body)}
    with contextlib.suppress(UnpairedError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(path, json.dumps(head).encode() + b"\n" + body)
        path.chmod(0o600)
        known.changed = False


def sample(indices: NDArray[np.int64]) -> list[int]:
    """Return a few of the indices, others each time. Nothing that is trained on depends on the choice."""
    return random.SystemRandom().sample(indices.tolist(), min(_SAMPLE, len(indices)))


def cache_folder() -> Path | None:
    """Return the folder of the cache: below XDG_CACHE_HOME, or the user's usual place; None for a user without a home.

    A relative XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification demands.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "unpaired" / "scans"
    try:
        home = Path.home()
    except RuntimeError:  # HOME is not set and the system does not know the user, as in a container with --user
        return None
    usual = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return home / usual / "unpaired" / "scans" if home.is_absolute() else None


def _path(source: FolderSource, background: tuple[int, ...]) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    about = _about(source, background)
    key = hashlib.sha256(json.dumps([about["folder"], about["source"], about["background"]]).encode())
    return folder / f"{key.hexdigest()[:32]}.scan"


def _about(source: FolderSource, background: tuple[int, ...]) -> dict[str, Any]:
    """Return everything that facts depend on besides the files."""
    return {
        "format": _FORMAT,
        "folder": os.path.realpath(source.folder),
        "source": type(source).__name__,
        "background": list(background),
        "versions": [__version__, PIL.__version__, np.__version__, sys.byteorder],
        "formats": FORMATS.kinds(),
    }


def _dtype() -> np.dtype[Any]:
    return np.dtype([("stamp", "<i8", 4), ("digest", "u1", 32), ("header", "<i4"), ("image", "<i4")])


def _first_of_each_kind(known: KnownFiles) -> list[int]:
    """Return one file of each number of channels and type, which decide the type of the whole domain."""
    kinds: dict[tuple[int, bool, str], int] = {}
    for index, header in known.first_headers():
        kinds.setdefault((header.channels, header.has_alpha, header.dtype), index)
    return list(kinds.values())


def _is_as_known(source: FolderSource, index: int) -> bool:
    """Read a file and return whether its content and header are the known ones."""
    path, known = source.paths[index], source.known
    header = known.header(index)
    with contextlib.suppress(OSError, UnpairedError), path.open("rb") as file:
        return file_digest(file) == known.digest(index) and (header is None or read_header(path) == header)
    return False


_Found = tuple[list[str], NDArray[Any], Table[ImageHeader], Table[Inspected]]


def _read(path: Path, about: dict[str, Any]) -> _Found | None:
    """Return names, rows and tables of a cache; None if it is missing, damaged, of others, or about something else."""
    try:
        with path.open("rb") as file:
            if not _is_own(os.fstat(file.fileno())):
                return None
            head = json.loads(file.readline())
            body = file.read()
        if head["about"] != about or head["sha256"] != _hash(body):
            return None
        tables, rest = body.split(b"\n", 1)
        names, content = rest[: head["names"]], rest[head["names"] + 2 :]
        rows = np.frombuffer(content, _dtype()).copy()
        facts = json.loads(tables)
        headers = Table(map(_header, facts["headers"]))
        images = Table(map(_image, facts["images"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    found = names.decode(errors="surrogateescape").split("\0")
    sound = (
        len(found) == len(rows) == head["count"] > 0
        and _fits(rows["header"], len(headers.rows), len(facts["headers"]))
        and _fits(rows["image"], len(images.rows), len(facts["images"]))
    )
    return (found, rows, headers, images) if sound else None


def _is_own(status: os.stat_result) -> bool:
    """Return whether a file belongs to the user and no other user may write to it."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _fits(places: NDArray[np.int32], count: int, listed: int) -> bool:
    return count == listed and bool((places >= -1).all() and (places < count).all())


def _header(facts: dict[str, Any]) -> ImageHeader:
    """Return a header from JSON values. Raises TypeError or ValueError for others than a header has."""
    kinds: dict[str, type] = {
        "width": int,
        "height": int,
        "channels": int,
        "depth": int,
        "frames": int,
        "has_alpha": bool,
    }
    _require_kinds(facts, {field.name for field in fields(ImageHeader)}, kinds)
    np.dtype(facts["dtype"])
    return ImageHeader(**{**facts, "carries": frozenset(facts["carries"])})


def _image(facts: dict[str, Any]) -> Inspected:
    """Return the facts about an image from JSON values. Raises TypeError or ValueError for others."""
    kinds: dict[str, type] = dict.fromkeys(("height", "width", "channels"), int)
    kinds |= dict.fromkeys(("has_alpha", "flat", "grey", "alpha_is_a_band"), bool)
    _require_kinds(facts, set(IMAGE_FACTS), kinds)
    np.dtype(facts["dtype"])
    return Inspected(path=Path(), **facts)


def _require_kinds(facts: dict[str, Any], names: set[str], kinds: dict[str, type]) -> None:
    if set(facts) != names or any(type(facts[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("facts of another kind")


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
