"""Hostile servers: each gives one sentence with an exit code, only http(s) is opened, and downloads are bounded."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from unpaired import cli
from unpaired.data import download as module
from unpaired.data.download import MOST, address, download
from unpaired.errors import ConfigError, DownloadError, StorageError, UnpairedError

Handler = http.server.BaseHTTPRequestHandler
PATH = "/cyclegan/datasets/horse2zebra.zip"


def archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for split in ("trainA", "trainB"):
            packed.writestr(f"horse2zebra/{split}/1.png", b"x" * 3000)
    return made.getvalue()


CONTENT = archive()


@dataclass
class Liar:
    """A server with the replies of `reply`; asked: the Range of each request."""

    reply: Callable[[Handler], None]
    url: str = ""
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "_CHUNK", 1024)
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    liar = Liar(lambda handler: reply(handler))

    class Lying(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            liar.asked.append(self.headers.get("Range"))
            assert len(liar.asked) < 50, "it asks without end"
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                liar.reply(self)

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lying)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    liar.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield liar
    running.shutdown()
    running.server_close()
    thread.join()


def reply(handler: Handler, status: int = 200, body: bytes = CONTENT, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def refused(server: Liar, folder: Path, error: type[UnpairedError] = DownloadError) -> str:
    """Return the sentence of a download that fails."""
    with pytest.raises(error) as caught:
        download("horse2zebra", out=folder / "h", url=server.url)
    assert str(caught.value).isprintable()
    assert not (folder / "h").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    "ranges",
    [{}, {"Content_Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, {"Content_Range": "bytes 9-1/*"}],
)
@pytest.mark.parametrize("had", [0, 1000])
def test_a_server_that_always_answers_with_a_part_is_one_sentence(
    server: Liar, tmp_path: Path, ranges: dict[str, str], had: int
) -> None:
    if had:
        facts = {"url": server.url + PATH, "total": len(CONTENT), "validator": '"1"'}
        (tmp_path / "h.zip.part").write_bytes(CONTENT[:had])
        (tmp_path / "h.zip.part.json").write_text(json.dumps(facts))
    server.reply = lambda handler: reply(handler, 206, Content_Length=str(len(CONTENT)), **ranges)
    assert "answers 206 to a request for all of" in refused(server, tmp_path)
    assert server.asked == (["bytes=1000-", None] if had else [None])


@pytest.mark.parametrize("status", [201, 203, 204, 205, 300, 304, 302, 418, 599])
def test_any_other_status_is_one_sentence(server: Liar, tmp_path: Path, status: int) -> None:
    server.reply = lambda handler: reply(handler, status, b"")
    assert "try --url with a copy" in refused(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("length", [str(10**30), "9" * 5000, str(MOST + 1)])
def test_a_size_that_no_data_set_has_is_refused_before_anything_is_read(
    server: Liar, tmp_path: Path, length: str
) -> None:
    server.reply = lambda handler: reply(handler, Content_Length=length)
    sentence = refused(server, tmp_path)
    assert "which no data set has; try --url" in sentence
    assert len(sentence) < 300
    assert list(tmp_path.iterdir()) == []


def test_a_size_beyond_the_disk_is_said_before_anything_is_written(server: Liar, tmp_path: Path) -> None:
    server.reply = lambda handler: reply(handler, Content_Length=str(MOST))
    assert "has less room" in refused(server, tmp_path, StorageError)
    assert not (tmp_path / "h.zip.part").exists()


@pytest.mark.parametrize("length", ["-5", "many", "", "1e9", "٣", "3, 3"])
def test_a_size_that_is_no_number_counts_as_none(server: Liar, tmp_path: Path, length: str) -> None:
    server.reply = lambda handler: reply(handler, Content_Length=length.encode().decode("latin-1"))
    assert download("horse2zebra", out=tmp_path / "h", url=server.url).num_bytes == len(CONTENT)


def test_a_size_that_is_too_small_ends_in_a_sentence(server: Liar, tmp_path: Path) -> None:
    server.reply = lambda handler: reply(handler, Content_Length="2000")
    with pytest.raises(UnpairedError, match="is damaged"):
        download("horse2zebra", out=tmp_path / "h", url=server.url)


def test_a_size_that_is_too_large_is_a_cut_connection_each_time(server: Liar, tmp_path: Path) -> None:
    server.reply = lambda handler: reply(handler, Content_Length=str(len(CONTENT) + 7))
    for _ in range(2):
        assert "was cut after" in refused(server, tmp_path)


def test_a_part_that_goes_on_beyond_the_whole_is_cut_off_and_thrown_away(server: Liar, tmp_path: Path) -> None:
    facts = {"url": server.url + PATH, "total": len(CONTENT), "validator": '"1"'}
    (tmp_path / "h.zip.part").write_bytes(CONTENT[:1000])
    (tmp_path / "h.zip.part.json").write_text(json.dumps(facts))
    right = f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
    server.reply = lambda handler: reply(handler, 206, b"y" * 10**6, Content_Range=right)
    assert "sends more of" in refused(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_reply_of_unknown_size_ends(server: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10**5)
    server.reply = lambda handler: reply(handler, 200, b"y" * 10**6)
    assert "sends more of" in refused(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "FILE:///etc/passwd",
        "ftp://127.0.0.1:9/x.zip",
        "data:application/zip;base64,UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==",
        "gopher://127.0.0.1/x",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http://[::1/x",
        "http://127.0.0.1:port/x",
        "http://127.0.0.1:99999/x",
        "",
    ],
)
def test_nothing_but_http_is_opened_wherever_a_server_sends_one(
    server: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    opened: list[str] = []
    for handler in ("FileHandler.file_open", "FTPHandler.ftp_open", "DataHandler.data_open"):
        monkeypatch.setattr(f"urllib.request.{handler}", lambda self, request: opened.append(request.full_url))
    server.reply = lambda handler: reply(handler, 302, b"", Location=place)
    assert "try --url with a copy" in refused(server, tmp_path)
    assert opened == []
    assert len(server.asked) <= 11


def test_a_circle_of_addresses_ends(server: Liar, tmp_path: Path) -> None:
    for place in (PATH, "/elsewhere"):
        server.asked.clear()
        server.reply = lambda handler, place=place: reply(handler, 301, b"", Location=place)
        assert "in a circle or to another scheme than http or https" in refused(server, tmp_path)
        assert 1 < len(server.asked) < 12
    numbers = iter(range(100))
    server.asked.clear()
    server.reply = lambda handler: reply(handler, 307, b"", Location=f"/{next(numbers)}")
    assert "in a circle" in refused(server, tmp_path)


def test_an_address_elsewhere_is_followed(server: Liar, tmp_path: Path) -> None:
    def move(handler: Handler) -> None:
        if handler.path == PATH:
            reply(handler, 302, b"", Location="/moved.zip")
        else:
            reply(handler)

    server.reply = move
    assert download("horse2zebra", out=tmp_path / "h", url=server.url).num_bytes == len(CONTENT)


def test_a_tag_that_cannot_be_sent_back_is_not(server: Liar, tmp_path: Path) -> None:
    server.reply = lambda handler: reply(
        handler, body=CONTENT[:1500], Content_Length=str(len(CONTENT)), ETag='"a\r\n b"'
    )
    assert "was cut after 1,500" in refused(server, tmp_path)
    server.reply = lambda handler: reply(handler)
    assert download("horse2zebra", out=tmp_path / "h", url=server.url).num_bytes == len(CONTENT)


@pytest.mark.parametrize("note", ["[]", '{"url": 1}', "{", "NaN", "[" * 10**5])
@pytest.mark.parametrize("total", [1e400, "many", None, -3, True])
def test_a_note_that_is_damaged_is_thrown_away(server: Liar, tmp_path: Path, note: str, total: object) -> None:
    (tmp_path / "h.zip.part").write_bytes(b"something")
    whole = json.dumps({"url": server.url + PATH, "total": total, "validator": 3})
    for text in (note, whole):
        (tmp_path / "h.zip.part").write_bytes(b"something")
        (tmp_path / "h.zip.part.json").write_text(text)
        server.reply = lambda handler: reply(handler, 404, b"")
        assert "answers 404" in refused(server, tmp_path)
    assert server.asked == [None, None]


def test_what_is_no_http_is_one_sentence(server: Liar, tmp_path: Path) -> None:
    for line in (b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", b"HTTP/1.1 2\r\n\r\n"):
        server.reply = lambda handler, line=line: handler.wfile.write(line) and None
        refused(server, tmp_path)


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    for base in ("http://[::1", "http://", "http:/x", "https://host:port", "http://host:99999", "data:,x", "\x1b[2J"):
        with pytest.raises(ConfigError, match="--url takes an http or https address") as caught:
            address("maps", False, base)
        assert str(caught.value).isprintable()


def test_the_command_leaves_with_a_code_of_its_own(
    server: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reply = lambda handler: reply(handler, 302, b"", Location="file:///etc/passwd")
    with pytest.raises(SystemExit) as left:
        cli.main(["data", "download", "horse2zebra", "--out", str(tmp_path / "h"), "--url", server.url])
    assert left.value.code == 69
    assert capsys.readouterr().err.count("\n") == 1
