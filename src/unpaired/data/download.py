"""Download of the published data sets: resumable, with a recorded SHA-256 and a guarded unpacking.

The bytes received so far are kept beside the folder as NAME.part; running the same command again resumes there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import secrets
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unpaired.config import require
from unpaired.data.web import is_http, web
from unpaired.errors import DataError, DownloadError, OutputError, StorageError
from unpaired.storage import alone, at_home, shown, storage_error, write_bytes
from unpaired.suggestions import unknown
from unpaired.untrusted.archives import unpack
from unpaired.version import __version__

_log = logging.getLogger("unpaired")

PUBLISHED_AT = "http://efrosgans.eecs.berkeley.edu"
"""Address of the data sets of the authors of CycleGAN and pix2pix."""

UNPAIRED_SETS = (
    "apple2orange",
    "summer2winter_yosemite",
    "horse2zebra",
    "monet2photo",
    "cezanne2photo",
    "ukiyoe2photo",
    "vangogh2photo",
    "maps",
    "facades",
    "iphone2dslr_flower",
    "ae_photos",
)
"""CycleGAN's sets: trainA, trainB, testA, testB."""

PAIRED_SETS = ("facades", "maps", "edges2shoes", "edges2handbags", "night2day")
"""pix2pix's sets: train, val and test of A and B side by side."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""

MOST = 2**40
"""Largest archive in bytes; the largest published one has 8 GB."""

SLOWEST = 1000
"""Bytes a second, over `WINDOW`, below which a connection counts as lost."""

WINDOW = 60.0
"""Seconds over which the speed of a connection is measured."""

_CHUNK = 2**20
_RECORD = "download.json"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Limits of a download. most: largest size in bytes. noun: for messages. careful: see `web`."""

    most: int
    noun: str = "data set"
    careful: bool = False


@dataclass(frozen=True)
class Download:
    """A downloaded data set; `sha256` and `num_bytes` are those of its archive."""

    path: Path
    url: str
    sha256: str
    num_bytes: int


def download(
    name: str,
    *,
    out: str | Path | None = None,
    paired: bool = False,
    url: str = PUBLISHED_AT,
    listener: Callable[[int, int], None] = lambda received, total: None,
) -> Download:
    """Download a published data set into the folder `out` (default: datasets/NAME), or return the existing one.

    paired: use pix2pix's set if CycleGAN has one of the same name.
    url: address of a mirror with the authors' paths.
    listener: called with the bytes received and expected (0: unknown).

    download.json in the folder records url, SHA-256, size and date.

    Raises ConfigError for an unknown name or address, DownloadError if the server is absent, refuses or breaks
    off (the received bytes are kept), DataError if the archive is damaged or unsafe (it is removed), OutputError if
    the folder holds something else, StorageError if the disk is full or failing.
    """
    source, folder = address(name, paired, url), at_home(out) if out is not None else default_folder(name, paired)
    there = _recorded(folder, source)
    if there is not None:
        _log.info(f"{shown(folder)} is there already.")
        return there
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from None
    busy = f"{shown(folder)} is being fetched by another process; wait for it, or give another --out."
    with alone(folder.parent / f".{folder.name}.lock", busy):
        return _recorded(folder, source) or _arrive(source, folder, listener)


def _arrive(source: str, folder: Path, listener: Callable[[int, int], None]) -> Download:
    """Download the missing bytes and unpack the archive."""
    part = Part(folder.parent / f"{folder.name}.{source.rsplit('/', 1)[1].split('.', 1)[1]}.part")
    if part.start(source):
        _log.info(f"Continuing {source} at {part.received:,} bytes.")
    fetch(source, part, listener)
    _log.info(f"Unpacking into {shown(folder)}")
    arrived = Download(folder, source, part.sha256(), part.received)
    _install(part, arrived)
    return arrived


def address(name: str, paired: bool, base: str = PUBLISHED_AT) -> str:
    """Return the address of a set; raises ConfigError, with the nearest name, for one that is not published."""
    require(is_http(base), f"--url takes an http or https address, not {shown(base)}.")
    known = list(dict.fromkeys(UNPAIRED_SETS + PAIRED_SETS))
    require(
        name != "cityscapes",
        "The licence of cityscapes keeps it from being published with the others; get it from "
        "www.cityscapes-dataset.com and put its images side by side into DIR/train.",
    )
    require(name in known, unknown(name, known, "data set"))
    require(not paired or name in PAIRED_SETS, f"{name} has no pairs; those that have are {', '.join(PAIRED_SETS)}.")
    if paired or name not in UNPAIRED_SETS:
        return f"{base.rstrip('/')}/pix2pix/datasets/{name}.tar.gz"
    return f"{base.rstrip('/')}/cyclegan/datasets/{name}.zip"


def default_folder(name: str, paired: bool) -> Path:
    """Return datasets/NAME, or datasets/NAME-pairs if both methods have a set of this name."""
    return Path("datasets") / (f"{name}-pairs" if paired and name in UNPAIRED_SETS else name)


class Part:
    """A partial download: the received bytes and, in a file beside them, their address and version."""

    def __init__(self, path: Path, expected: Expected | None = None) -> None:
        self.path, self._note = path, path.with_name(f"{path.name}.json")
        self.expected = expected or Expected(most=MOST)
        self.facts: dict[str, Any] = {}

    @property
    def received(self) -> int:
        """Number of bytes received."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def total(self) -> int:
        """Bytes of the whole archive, 0 if the server did not send the size."""
        return int(self.facts.get("total", 0))

    @property
    def whole(self) -> bool:
        """Whether all bytes are received, by the size."""
        return 0 < self.total == self.received

    def start(self, url: str) -> bool:
        """Return whether a download of `url` can be resumed; remove any other one."""
        try:
            self.facts = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            self.facts = {}
        if not self._is_of(url) or self.received > self.total > 0:
            self.remove()
        return self.received > 0

    def note(self, url: str, headers: Mapping[str, str]) -> None:
        """Record the address, the size and the server's validator (ETag or date) of the download."""
        validator = headers.get("ETag", "")
        if not validator or validator.startswith("W/"):  # weak tags do not promise equal bytes
            validator = headers.get("Last-Modified", "")
        sendable = validator.isascii() and validator.isprintable()
        self.facts = {
            "url": url,
            "total": _length(url, headers, self.expected),
            "validator": validator if sendable else "",
        }
        write_bytes(self._note, json.dumps(self.facts).encode())

    def _is_of(self, url: str) -> bool:
        facts = self.facts
        return (
            isinstance(facts, dict)
            and facts.get("url") == url
            and type(facts.get("total")) is int
            and isinstance(facts.get("validator"), str)
        )

    def append(self, chunk: bytes) -> None:
        """Append received bytes; raises StorageError or OutputError if the disk refuses them."""
        try:
            with self.path.open("ab") as file:
                file.write(chunk)
        except OSError as error:
            raise storage_error(error, self.path) from None

    def remove(self) -> None:
        """Delete the part and its record."""
        self.facts = {}
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)

    def sha256(self) -> str:
        """Return the SHA-256 of the received bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _length(url: str, headers: Mapping[str, str], expected: Expected) -> int:
    """Return the size that the server sends, 0 without one; raises DownloadError for an impossible one."""
    length = headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()):
        return 0
    if len(length) > len(str(expected.most)) or int(length) > expected.most:
        size = f"{int(length):,}" if len(length) <= 20 else f"a number of {len(length)} digits of"
        raise DownloadError(
            f"{_host(url)} gives {url} {size} bytes, which no {expected.noun} has; try --url with a copy."
        )
    return int(length)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def fetch(url: str, part: Part, listener: Callable[[int, int], None]) -> None:
    """Download the missing bytes of `url`, or all of them if the server cannot resume.

    Raises DownloadError, which keeps the received bytes, and StorageError.
    """
    if part.whole:
        return
    with _failures(url, part), _request(url, part) as response:
        if response.status != 206:
            part.remove()
            part.note(url, response.headers)
        _check_room(part)
        received = part.received
        listener(received, part.total)
        speed = _Speed(url)
        while chunk := response.read1(_CHUNK):  # unlike read, it returns what is there
            received += len(chunk)
            if received > (part.total or part.expected.most):
                part.remove()
                raise DownloadError(f"{_host(url)} sends more of {url} than it announced; try --url with a copy.")
            part.append(chunk)
            speed.check(received)
            listener(received, part.total)
    if part.total and not part.whole:
        raise _cut(url, part)
    if not part.received:
        raise DownloadError(f"{_host(url)} sends an empty file for {url}; try --url with a copy.")


class _Speed:
    """Ends a download whose server sends almost nothing, but often enough to avoid the timeout."""

    def __init__(self, url: str) -> None:
        self._url, self._start, self._received = url, time.monotonic(), -1

    def check(self, received: int) -> None:
        """Raise DownloadError if the last window brought too little; received: all bytes so far."""
        now = time.monotonic()
        if self._received < 0:
            self._received = received
        if now - self._start < WINDOW:
            return
        if received - self._received < SLOWEST * (now - self._start):
            raise DownloadError(
                f"{_host(self._url)} sends less than {SLOWEST:,} bytes a second; the {received:,} bytes so far are "
                "kept, so run the same again later, or try --url with a copy."
            )
        self._start, self._received = now, received


def _request(url: str, part: Part) -> Any:
    """Request the missing bytes, or all of them if the server's copy has changed.

    Returns a reply of status 206 that begins at the end of the part, or of 200. Raises DownloadError for any other.
    """
    asked = part.received
    try:
        response = web(careful=part.expected.careful).open(_request_for(url, part), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not asked:
            raise
        error.close()
        part.remove()
        return _request(url, part)
    expected = f"bytes {asked}-{part.total - 1}/{part.total}"
    status = response.status
    if status == 200 or (status == 206 and asked and response.headers.get("Content-Range", "") == expected):
        return response
    response.close()
    if status == 206 and asked:
        part.remove()
        return _request(url, part)
    raise DownloadError(f"{_host(url)} answers {status} to a request for all of {url}; try --url with a copy.")


def _request_for(url: str, part: Part) -> urllib.request.Request:
    headers = {"User-Agent": f"unpaired/{__version__}", "Accept-Encoding": "identity"}
    if part.received:
        headers["Range"] = f"bytes={part.received}-"
        if part.facts.get("validator"):
            headers["If-Range"] = part.facts["validator"]
    return urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only, see `address`


@contextmanager
def _failures(url: str, part: Part) -> Iterator[None]:
    """Convert network errors to DownloadError."""
    host = _host(url)
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            which = "of another host without https" if part.expected.careful else "that is not http or https"
            raise DownloadError(
                f"{host} redirects {url} in a circle or to an address {which}; try --url with a copy."
            ) from None
        reason = shown(" ".join(str(error.reason).split()))[:200]
        raise DownloadError(f"{host} answers {error.code} ({reason}) for {url}; try --url with a copy.") from None
    except urllib.error.URLError as error:
        reason = shown((isinstance(error.reason, OSError) and error.reason.strerror) or error.reason)
        raise DownloadError(f"Cannot reach {host} ({reason}); check the network and run the same again.") from None
    except (http.client.InvalidURL, ValueError) as error:
        reason = shown(" ".join(str(error).split()))[:200]
        raise DownloadError(f"{host} cannot be understood ({reason}); try --url with a copy.") from None
    except (http.client.HTTPException, OSError):
        raise _cut(url, part) from None


def _cut(url: str, part: Part) -> DownloadError:
    of = f" of {part.total:,}" if part.total else ""
    return DownloadError(
        f"The connection to {_host(url)} was cut after {part.received:,}{of} bytes, which are kept; run the "
        "same again to continue."
    )


def _check_room(part: Part) -> None:
    """Raise StorageError if the disk cannot hold the remaining bytes."""
    missing = part.total - part.received
    if missing > shutil.disk_usage(part.path.parent).free:
        raise StorageError(f"{missing:,} bytes are to come and {shown(part.path.parent)} has less room; free some.")


def _recorded(folder: Path, url: str) -> Download | None:
    """Return the download of `url` by its download.json, None without a folder; OutputError for other content."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        facts = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if facts["url"] == url:
            return Download(folder, url, facts["sha256"], facts["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise OutputError(f"{folder} holds something else already; give another --out or remove it.")


def _install(part: Part, arrived: Download) -> None:
    """Unpack the archive beside the folder, record its source, and rename it to the folder.

    A damaged or refused archive is removed, because resuming it would not help.
    """
    folder = arrived.path
    temporary = folder.parent / f".unpaired-{secrets.token_hex(6)}.tmp"
    try:
        temporary.mkdir()
        unpack(part.path, temporary)
        inside = _only_folder(temporary)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"url": arrived.url, "sha256": arrived.sha256, "bytes": arrived.num_bytes, "date": date}
        write_bytes(inside / _RECORD, (json.dumps(record, indent=1) + "\n").encode())
        if folder.exists():
            folder.rmdir()
        inside.rename(folder)
        part.remove()
    except DataError:
        part.remove()
        raise
    except OSError as error:
        raise storage_error(error, folder) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _only_folder(folder: Path) -> Path:
    """Return the single folder in an archive, as in the published ones, or `folder` itself."""
    shutil.rmtree(folder / "__MACOSX", ignore_errors=True)  # macOS adds it to zip files
    inside = list(folder.iterdir())
    is_set = len(inside) == 1 and inside[0].is_dir() and not inside[0].name.startswith(("train", "test"))
    return inside[0] if is_set else folder
