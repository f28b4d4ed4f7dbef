"""Fetching data sets from a server on this machine that behaves, breaks off or is not there; and evil archives."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import json
import re
import shutil
import socket
import stat
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unpaired import cli
from unpaired.data import download as module
from unpaired.data.datasets import DataConfig
from unpaired.data.domains import open_domains
from unpaired.data.download import PAIRED_SETS, UNPAIRED_SETS, address, download
from unpaired.errors import ConfigError, DataError, DownloadError, OutputError, StorageError, UnpairedError
from unpaired.untrusted import archives
from unpaired.untrusted.archives import unpack

ZIP, TAR = "/cyclegan/datasets/horse2zebra.zip", "/pix2pix/datasets/facades.tar.gz"


def png(seed: int) -> bytes:
    encoded = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def zipped(entries: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return made.getvalue()


def tarred(entries: dict[str, bytes] | list[tarfile.TarInfo]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        if isinstance(entries, list):
            for info in entries:
                tar.addfile(info, io.BytesIO(b"x" * info.size))
        else:
            for name, content in entries.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


UNPAIRED = {
    f"horse2zebra/{split}/{n}.png": png(n) for split in ("trainA", "trainB", "testA", "testB") for n in range(3)
}
PAIRS = {f"./facades/{split}/{n}.png": png(n) for split in ("train", "val") for n in range(2)}


@dataclass
class Served:
    """The files and the behaviour of the server. cut_after: bytes of a reply after which it hangs up."""

    files: dict[str, bytes]
    cut_after: int | None = None
    ranges: bool = True
    sizes: bool = True
    version: str = '"1"'
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "_CHUNK", 4096)
    served = Served({ZIP: zipped(UNPAIRED), TAR: tarred(PAIRS)})

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            content, wanted = served.files.get(self.path), self.headers.get("Range", "")
            served.asked.append(wanted)
            if content is None:
                self.send_error(404)
                return
            start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", wanted)) else 0
            if not served.ranges or self.headers.get("If-Range", served.version) != served.version:
                start = 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if served.sizes:
                self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", served.version)
            self.end_headers()
            end = len(content) if served.cut_after is None else start + served.cut_after
            self.wfile.write(content[start:end])

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield served
    running.shutdown()
    running.server_close()
    thread.join()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- fetching --------------------------------------------------------------------------------------


def test_an_unpaired_set_arrives_ready_to_train_on_with_its_hash_on_record(server: Served, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "sets" / "horse2zebra"
    made = download("horse2zebra", out=out, url=server.url, listener=lambda *progress: seen.append(progress))
    archive = server.files[ZIP]
    files = tree(out)
    record = json.loads(files.pop("download.json"))
    assert files == {name.removeprefix("horse2zebra/"): content for name, content in UNPAIRED.items()}
    assert record["url"] == made.url == server.url + ZIP
    assert record["sha256"] == made.sha256 == hashlib.sha256(archive).hexdigest()
    assert record["bytes"] == made.num_bytes == len(archive)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["date"])
    assert seen[0] == (0, len(archive))
    assert seen[-1] == (len(archive), len(archive))
    assert seen == sorted(seen)
    assert [path.name for path in out.parent.iterdir()] == ["horse2zebra"]  # no part, no temporary folder
    domains = open_domains(DataConfig(root=str(out)))
    assert domains.names == {"A": "horse", "B": "zebra"}
    assert (len(domains.train_b), domains.preview_b.folder.name) == (3, "testB")


def test_pairs_arrive_ready_to_train_on(server: Served, tmp_path: Path) -> None:
    download("facades", out=tmp_path / "facades", paired=True, url=server.url)
    config = DataConfig(root=str(tmp_path / "facades"), pairing="paired", load_size=36, crop_size=32)
    domains = open_domains(config)
    domains.check(config)
    assert (len(domains.train_b), domains.preview_b.folder.name) == (2, "val")


def test_a_cut_connection_keeps_what_came_and_is_continued_to_equal_bytes(
    server: Served, tmp_path: Path, said: list[str]
) -> None:
    server.cut_after, out = 5000, tmp_path / "h"
    with pytest.raises(DownloadError, match=r"was cut after 5,000 of [\d,]+ bytes, which are kept; run the same again"):
        download("horse2zebra", out=out, url=server.url)
    part = tmp_path / "h.zip.part"
    assert part.read_bytes() == server.files[ZIP][:5000]
    assert not out.exists()
    with pytest.raises(DownloadError, match="cut after 10,000"):
        download("horse2zebra", out=out, url=server.url)
    assert "at 5,000 bytes" in said[0]
    server.cut_after = None
    made = download("horse2zebra", out=out, url=server.url)
    assert server.asked == ["", "bytes=5000-", "bytes=10000-"]
    assert made.sha256 == hashlib.sha256(server.files[ZIP]).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["h"]


@pytest.mark.parametrize("change", ["no ranges", "another version", "another version of a careless server"])
def test_a_server_that_cannot_continue_is_asked_for_all_of_it(server: Served, tmp_path: Path, change: str) -> None:
    server.cut_after = 5000
    with pytest.raises(DownloadError):
        download("horse2zebra", out=tmp_path / "h", url=server.url)
    server.cut_after = None
    if change == "no ranges":
        server.ranges = False
    else:
        server.files[ZIP] = zipped({**UNPAIRED, "horse2zebra/trainA/new.png": png(9)})
        if change == "another version":
            server.version = '"2"'
    made = download("horse2zebra", out=tmp_path / "h", url=server.url)
    assert made.sha256 == hashlib.sha256(server.files[ZIP]).hexdigest()
    assert (tmp_path / "h" / "trainA" / "2.png").read_bytes() == png(2)


def test_a_part_of_another_server_is_not_gone_on_with(server: Served, tmp_path: Path) -> None:
    (tmp_path / "h.zip.part").write_bytes(b"something else")
    (tmp_path / "h.zip.part.json").write_text('{"url": "http://elsewhere", "total": 99}')
    download("horse2zebra", out=tmp_path / "h", url=server.url)
    assert server.asked == [""]


def test_a_part_that_the_server_has_less_of_is_fetched_anew(server: Served, tmp_path: Path) -> None:
    (tmp_path / "h.zip.part").write_bytes(b"x" * 10**6)
    facts = {"url": server.url + ZIP, "total": 10**6 + 1, "validator": ""}
    (tmp_path / "h.zip.part.json").write_text(json.dumps(facts))
    download("horse2zebra", out=tmp_path / "h", url=server.url)
    assert (tmp_path / "h" / "trainA" / "2.png").read_bytes() == png(2)


def test_a_whole_part_is_unpacked_without_asking_the_server_again(server: Served, tmp_path: Path) -> None:
    content = server.files[ZIP]
    (tmp_path / "h.zip.part").write_bytes(content)
    facts = {"url": server.url + ZIP, "total": len(content), "validator": '"1"'}
    (tmp_path / "h.zip.part.json").write_text(json.dumps(facts))
    assert download("horse2zebra", out=tmp_path / "h", url=server.url).num_bytes == len(content)
    assert server.asked == []


def test_a_server_that_does_not_say_the_size_is_believed_to_the_end(server: Served, tmp_path: Path) -> None:
    server.sizes, totals = False, set[int]()
    made = download("horse2zebra", out=tmp_path / "h", url=server.url, listener=lambda _, total: totals.add(total))
    assert made.num_bytes == len(server.files[ZIP])
    assert totals == {0}
    shutil.rmtree(tmp_path / "h")
    server.cut_after = 5000
    with pytest.raises(DataError, match="is damaged"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)


def test_what_is_there_already_is_not_fetched_again_and_not_overwritten(
    server: Served, tmp_path: Path, said: list[str]
) -> None:
    first = download("horse2zebra", out=tmp_path / "h", url=server.url)
    said.clear()
    assert download("horse2zebra", out=tmp_path / "h", url=server.url) == first
    assert "is there already" in said[0]
    assert len(server.asked) == 1
    with pytest.raises(OutputError, match="holds something else"):
        download("facades", out=tmp_path / "h", paired=True, url=server.url)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds something else"):
        download("horse2zebra", out=tmp_path / "mine", url=server.url)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError):
        download("horse2zebra", out=tmp_path / "file", url=server.url)
    (tmp_path / "empty").mkdir()
    assert download("horse2zebra", out=tmp_path / "empty", url=server.url).path == tmp_path / "empty"


def test_a_server_that_is_absent_or_has_no_such_file_is_one_sentence(server: Served, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(DownloadError, match=r"Cannot reach 127\.0\.0\.1:\d+ \(Connection refused\); check the network"):
        download("horse2zebra", out=tmp_path / "h", url=nobody)
    with pytest.raises(DownloadError, match=r"Cannot reach nowhere\.invalid"):
        download("horse2zebra", out=tmp_path / "h", url="http://nowhere.invalid")
    with pytest.raises(DownloadError, match=r"answers 404 \(Not Found\) for .*maps\.zip"):
        download("maps", out=tmp_path / "h", url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_falls_silent_counts_as_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DownloadError, match="was cut after 0 bytes"):
            download("horse2zebra", out=tmp_path / "h", url=url)


def test_a_full_disk_is_one_sentence_and_keeps_the_part(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match="has less room"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)
    monkeypatch.setattr(module, "_check_room", lambda _: None)
    with pytest.raises(StorageError, match=r"Unpacking .* needs"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)
    monkeypatch.undo()
    assert (tmp_path / "h.zip.part").stat().st_size == len(server.files[ZIP])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="No space left"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.zip.part", "h.zip.part.json"]


def test_every_published_name_has_an_address_and_others_a_suggestion() -> None:
    for name in UNPAIRED_SETS:
        assert address(name, False).endswith(f"/cyclegan/datasets/{name}.zip")
    for name in PAIRED_SETS:
        assert address(name, True).endswith(f"/pix2pix/datasets/{name}.tar.gz")
    assert address("edges2shoes", False, "https://copy/").startswith("https://copy/pix2pix/")
    with pytest.raises(ConfigError, match="Unknown data set horse2zebr; did you mean horse2zebra"):
        address("horse2zebr", False)
    with pytest.raises(ConfigError, match="horse2zebra has no pairs"):
        address("horse2zebra", True)
    for base in ("file:///etc", "ftp://x", "copy.example.org"):
        with pytest.raises(ConfigError, match="takes an http or https address"):
            address("maps", False, base)


def test_the_command_prints_progress_and_the_hash(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["data", "download", *arguments, "--url", server.url])
        assert isinstance(left.value.code, int)
        return left.value.code, *capsys.readouterr()

    code, out, _ = run("facades", "--paired")
    assert code == 0
    assert "100%" in out
    assert hashlib.sha256(server.files[TAR]).hexdigest() in out
    assert (tmp_path / "datasets" / "facades-pairs" / "train").is_dir()
    code, _, err = run("maps")
    assert code == 69
    assert err.count("\n") == 1
    assert run("zebras")[0] == 78


# --- archives that must not be unpacked ---------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 3 if kind == tarfile.REGTYPE else 0
    return info


def zip_of(*names: str, mode: int = 0, flags: int = 0) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for name in ("trainA/good.png", *names):
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            if name in packed.NameToInfo:
                del packed.NameToInfo[name]  # the writer would warn
            packed.writestr(info, b"xyz")
    content = bytearray(made.getvalue())
    for at in (found.start() for found in re.finditer(b"PK\1\2", bytes(content))):
        content[at + 8] |= flags
    return bytes(content)


def lying_zip() -> bytes:
    """A zip whose directory records a small size for a bomb."""
    content = bytearray(zipped({"bomb.png": bytes(10**7), "noise.png": png(1) * 40}))
    for mark, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        start = content.find(mark) + at
        content[start : start + 4] = struct.pack("<I", 100)
    return bytes(content)


EVIL: dict[str, Callable[[], bytes]] = {
    "zip above": lambda: zip_of("../evil.png"),
    "zip above within": lambda: zip_of("trainA/../../evil.png"),
    "zip absolute": lambda: zip_of("/tmp/evil.png"),
    "zip drive": lambda: zip_of("C:/evil.png"),
    "zip backslash": lambda: zip_of("..\\evil.png"),
    "zip control": lambda: zip_of("evil\x1b[2J.png"),
    "zip nul": lambda: zip_of("good.png\0/../evil"),
    "zip deep": lambda: zip_of("a/" * 5000 + "x.png"),
    "zip twice": lambda: zip_of("trainA/good.png"),
    "zip twice by case": lambda: zip_of("TRAINA/Good.PNG"),
    "zip file is folder": lambda: zip_of("trainA/good.png/x.png"),
    "zip symlink": lambda: zip_of("link", mode=stat.S_IFLNK | 0o777),
    "zip device": lambda: zip_of("dev", mode=stat.S_IFCHR),
    "zip encrypted": lambda: zip_of("secret.png", flags=1),
    "zip bomb": lambda: zipped({"bomb.png": bytes(2 * 10**7)}),
    "tar above": lambda: tarred([member("ok.png"), member("../evil.png")]),
    "tar absolute": lambda: tarred([member("ok.png"), member("/tmp/evil.png")]),
    "tar symlink": lambda: tarred([member("link", tarfile.SYMTYPE, "/etc"), member("link/evil.png")]),
    "tar hard link": lambda: tarred([member("link", tarfile.LNKTYPE, "../evil.png")]),
    "tar device": lambda: tarred([member("dev", tarfile.CHRTYPE)]),
    "tar pipe": lambda: tarred([member("pipe", tarfile.FIFOTYPE)]),
    "tar twice": lambda: tarred([member("ok.png"), member("./ok.png")]),
    "tar no name": lambda: tarred([member("ok.png"), member(".")]),
    "tar twice by accent": lambda: tarred([member("caf\u00e9.png"), member("cafe\u0301.png")]),
    "tar bomb": lambda: tarred({"bomb.png": bytes(2 * 10**7)}),
    "tar long header": lambda: gzip.compress(long_header()),
    "text": lambda: b"<html>Not what you wanted</html>",
    "empty": lambda: b"",
}


def long_header() -> bytes:
    """A tar whose extended header claims a size of all memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(10**5)


@pytest.mark.parametrize("kind", EVIL)
def test_an_evil_archive_is_refused_before_a_byte_is_written(kind: str, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(EVIL[kind]())
    folder = tmp_path / "inside"
    folder.mkdir()
    started = time.monotonic()
    with pytest.raises(DataError, match=r"refused|not a zip") as error:
        unpack(tmp_path / "archive", folder)
    assert time.monotonic() - started < 2
    assert "\x1b" not in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "inside"]


@pytest.mark.parametrize("kind", ["zip above", "tar symlink", "zip bomb"])
def test_an_evil_archive_leaves_nothing_behind(server: Served, tmp_path: Path, kind: str) -> None:
    server.files[ZIP] = EVIL[kind]()
    with pytest.raises(DataError, match="refused"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["zip cut", "zip flipped", "zip lies", "tar cut", "tar flipped"])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, damage: str) -> None:
    content = bytearray(zipped(UNPAIRED) if "zip" in damage else tarred(PAIRS))
    if "cut" in damage:
        content = content[: len(content) // 2]
    elif "lies" in damage:
        content = bytearray(lying_zip())
    else:
        content[len(content) // 3] ^= 0xFF
    (tmp_path / "archive").write_bytes(content)
    (tmp_path / "inside").mkdir()
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "archive", tmp_path / "inside")


def test_random_damage_raises_nothing_but_our_errors(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    small = {"a/x.png": b"hello" * 20, "a/y.png": bytes(range(100))}
    for number in range(100):
        content = bytearray(zipped(small) if number % 2 else tarred(small))
        for _ in range(int(draw.integers(1, 6))):
            content[int(draw.integers(2, len(content)))] = int(draw.integers(256))
        (tmp_path / "archive").write_bytes(content)
        (tmp_path / "inside").mkdir()
        with contextlib.suppress(UnpairedError):
            unpack(tmp_path / "archive", tmp_path / "inside")
        shutil.rmtree(tmp_path / "inside")
        assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_an_archive_of_too_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 50)
    (tmp_path / "inside").mkdir()
    for content in (
        zipped({str(n): png(n % 3) for n in range(51)}),
        tarred({str(n): png(n % 3) for n in range(51)}),
        tarred([member("ok.png"), *(member(f"d{n}", tarfile.DIRTYPE) for n in range(50))]),
    ):
        (tmp_path / "archive").write_bytes(content)
        with pytest.raises(DataError, match="more than 50 entries"):
            unpack(tmp_path / "archive", tmp_path / "inside")
    assert list((tmp_path / "inside").iterdir()) == []


def test_a_zip_with_a_directory_beyond_reason_is_refused_without_reading_it(tmp_path: Path) -> None:
    length = 47 * 10**6
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, length, 4, 0)
    with (tmp_path / "archive").open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(length + 4)
        file.seek(0, 2)
        file.write(end)
    (tmp_path / "inside").mkdir()
    started = time.monotonic()
    with pytest.raises(DataError, match="more than 1,000,000 entries"):
        unpack(tmp_path / "archive", tmp_path / "inside")
    assert time.monotonic() - started < 1


def test_what_a_good_archive_says_of_modes_and_owners_is_passed_over(tmp_path: Path) -> None:
    info = member("a/tool.png")
    info.mode, info.mtime = 0o4777, 5
    (tmp_path / "archive").write_bytes(tarred([member("a", tarfile.DIRTYPE), info]))
    (tmp_path / "inside").mkdir()
    unpack(tmp_path / "archive", tmp_path / "inside")
    status = (tmp_path / "inside" / "a" / "tool.png").stat()
    assert not status.st_mode & (stat.S_ISUID | stat.S_IXUSR)
    assert status.st_mtime > 5
