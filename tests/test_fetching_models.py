"""Fetching published weights from a server on this machine: resumed at any byte, hashed, imported; hostile servers."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import json
import re
import shutil
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import pytest

import unpaired
from unpaired import cli
from unpaired.data import download as downloading
from unpaired.errors import ConfigError, DownloadError, ModelError, OutputError, StorageError
from unpaired.interop import official
from unpaired.interop.official import export_official
from unpaired.models.by_name import data_folder, located
from unpaired.models.model_folder import DirectionInfo, ModelInfo, TrainingInfo, read_model, write_model
from unpaired.models.published_weights import PUBLISHED_WEIGHTS
from unpaired.networks import ResNetGenerator
from unpaired.objectives.base import initialised
from unpaired.storage import alone
from unpaired.zoo import fetching, first_seen
from unpaired.zoo.fetching import Fetched, fetch_model, remove_model

NAME, PATH = "style_monet", "/cyclegan/pretrained_models/style_monet.pth"


def weights(folder: Path, seed: int) -> bytes:
    """Return an official file of a small network."""
    config = ResNetGenerator(base_channels=1, num_blocks=6)
    training = TrainingInfo(step=1, seed=0, load_size=72, crop_size=64, objective="cyclegan")
    entries = {"AtoB": DirectionInfo(generator=config)}
    info = ModelInfo(directions=entries, domains={"A": "a", "B": "b"}, training=training)
    write_model(folder / "model", info, {"AtoB": initialised(config.build(3, 3), seed, "AtoB")})
    export_official(folder / "model", folder / "pth")
    return (folder / "pth" / "latest_net_G.pth").read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return two official files with other weights."""
    first, second = (weights(tmp_path_factory.mktemp("official"), seed) for seed in (0, 1))
    return first, second


@dataclass
class Served:
    """A server of one file. cut: bytes of a reply after which it hangs up. reply: replaces the normal one."""

    content: bytes
    cut: int | None = None
    version: str = '"1"'
    reply: Callable[[http.server.BaseHTTPRequestHandler], None] | None = None
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server(files: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(downloading, "_CHUNK", 4096)
    monkeypatch.chdir(tmp_path)
    served = Served(files[0])

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            served.asked.append((self.path, wanted))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if served.reply is not None:
                    served.reply(self)
                elif self.path == PATH:
                    self.send_file(wanted)
                else:
                    self.send_error(404)

        def send_file(self, wanted: str) -> None:
            start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", wanted)) else 0
            start = start if self.headers.get("If-Range", served.version) == served.version else 0
            self.send_response(206 if start else 200)
            size = len(served.content)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.send_header("ETag", served.version)
            self.end_headers()
            self.wfile.write(served.content[start : size if served.cut is None else start + served.cut])

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield served
    running.shutdown()
    running.server_close()
    thread.join()


def get(server: Served, **more: object) -> Fetched:
    return fetch_model(NAME, url=server.url, **more)  # type: ignore[arg-type]


def answer(
    status: int = 200, body: bytes = b"", **headers: str
) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def left() -> list[str]:
    """Return the names in the data folder."""
    return sorted(path.name for path in data_folder().iterdir()) if data_folder().exists() else []


def test_weights_arrive_as_a_model_that_every_command_finds_by_name(server: Served, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = get(server, listener=lambda *progress: seen.append(progress))
    size = len(server.content)
    assert (made.path, seen[0], seen[-1]) == (data_folder() / NAME, (0, size), (size, size))
    assert left() == ["first-seen.json", NAME]  # no part, no lock, no temporary folder
    info, networks = read_model(NAME)
    assert (info.domains, list(networks)) == ({"A": "photo", "B": "monet"}, ["AtoB"])
    sha256 = hashlib.sha256(server.content).hexdigest()
    origin = json.loads((made.path / "origin.json").read_text())
    assert (origin["url"], origin["sha256"], origin["bytes"]) == (server.url + PATH, sha256, size)
    assert (origin["licence"], origin["credit"]) == ("not stated", "Zhu et al., ICCV 2017")
    assert sha256 in (made.path / "README.md").read_text(encoding="utf-8").partition("## Source")[2]
    assert made.notes[0] == f"SHA-256 {sha256}; no published hash: recorded as first seen."
    picture = PIL.Image.new("RGB", (20, 24))
    assert unpaired.load(NAME, device="cpu")(picture).size == (20, 24)
    assert get(server) == Fetched(made.path)
    assert len(server.asked) == 1


def test_an_interrupted_download_continues_at_any_byte(server: Served) -> None:
    size = len(server.content)
    for already, cut in ((0, 1), (1, 4095), (4096, 4097), (8193, size - 8193 - 1)):
        server.cut = cut
        with pytest.raises(DownloadError, match=rf"cut after {already + cut:,} of {size:,} bytes, which are kept"):
            get(server)
    server.cut = None
    get(server)
    assert [wanted for _, wanted in server.asked] == [
        "", "bytes=1-", "bytes=4096-", "bytes=8193-", f"bytes={size - 1}-"
    ]  # fmt: skip
    assert located(Path(NAME)) == data_folder() / NAME


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(server: Served, files: tuple[bytes, bytes]) -> None:
    server.cut = 5000
    with pytest.raises(DownloadError):
        get(server)
    server.cut, server.version, server.content = None, '"2"', files[1]
    assert hashlib.sha256(files[1]).hexdigest() in get(server).notes[0]


def test_a_process_killed_while_importing_asks_for_nothing_again(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        (data_folder() / f".{NAME}.import" / "half").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(official, "import_official", killed)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            get(server)
    assert f".{NAME}.import" in left()
    get(server)
    assert (len(server.asked), left()) == (1, ["first-seen.json", NAME])


def test_other_bytes_than_the_first_seen_ones_are_refused_even_after_a_removal(
    server: Served, files: tuple[bytes, bytes]
) -> None:
    get(server)
    remove_model(NAME)
    assert left() == ["first-seen.json"]
    server.content = files[1]
    with pytest.raises(DownloadError, match=r"when it was first seen on 20.*; if its authors replaced it, remove its"):
        get(server)
    assert left() == ["first-seen.json"]
    server.content = files[0]
    assert "as first seen on 20" in get(server).notes[0]


def test_a_published_hash_decides(server: Served) -> None:
    with pytest.raises(DownloadError, match="has SHA-256 aa, not the published bb"):
        first_seen.check_hash(NAME, "aa", "bb")
    assert first_seen.check_hash(NAME, "bb", "bb") == "SHA-256 bb, as published."


def test_a_damaged_record_is_reported_before_the_download(server: Served) -> None:
    data_folder().mkdir(parents=True)
    for content in ("{", "[]", '{"x": 1}'):
        first_seen.record_file().write_text(content)
        with pytest.raises(ModelError, match=r"first-seen\.json, the record of first seen hashes, is damaged"):
            get(server)
    assert server.asked == []


HTML = b"<!DOCTYPE html><html><body>Moved</body></html>"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (answer(404), "answers 404 (Not Found) for"),
        (answer(body=HTML, Content_Type="text/html"), "does not hold the weights of style_monet: it is a web page"),
        (answer(body=b"x" * 5000), "does not hold the weights of style_monet: it is damaged, or no file of torch.save"),
        (answer(body=b"", Content_Length="0"), "sends an empty file for"),
        (answer(body=b"x", Content_Length=str(2**31)), "2,147,483,648 bytes, which no file of weights has"),
        (answer(body=b"x" * 10, Content_Length="9" * 400), "which no file of weights has"),
        (answer(302, Location="http://localhost:1/x"), "or to an address of another host without https"),
        (answer(302, Location="file:///etc/passwd"), "or to an address of another host without https"),
        (answer(206, body=b"x"), "answers 206 to a request for all of"),
    ],
)
def test_a_hostile_server_gives_one_sentence_and_no_model(
    server: Served, reply: Callable[[http.server.BaseHTTPRequestHandler], None], sentence: str
) -> None:
    server.reply = reply
    with pytest.raises(DownloadError) as refused:
        get(server)
    assert sentence in str(refused.value)
    assert str(refused.value).count("\n") == 0
    assert [name for name in left() if not name.startswith(f".{NAME}.pth.part")] == []


def test_a_file_without_a_length_arrives_and_is_bounded(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply = answer(body=server.content)
    assert get(server).path == data_folder() / NAME
    remove_model(NAME)
    monkeypatch.setattr(fetching, "MOST", 8000)
    with pytest.raises(DownloadError, match="sends more of"):
        get(server)
    assert left() == ["first-seen.json"]


def test_a_server_that_hardly_sends_is_given_up_and_its_bytes_are_kept(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "WINDOW", 0.0)
    monkeypatch.setattr(downloading, "SLOWEST", 10**12)
    with pytest.raises(DownloadError, match=r"sends less than .* bytes a second; the [\d,]+ bytes so far are kept"):
        get(server)
    monkeypatch.setattr(downloading, "SLOWEST", 0)
    get(server)
    assert server.asked[1][1].startswith("bytes=")


def test_a_redirect_within_the_host_is_followed(server: Served) -> None:
    normal = server.content

    def moved(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path == PATH:
            answer(301, Location=f"{server.url}/moved")(handler)
        else:
            answer(body=normal, Content_Length=str(len(normal)))(handler)

    server.reply = moved
    assert get(server).path.is_dir()


def test_a_full_disk_is_reported_and_the_bytes_are_kept(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    with monkeypatch.context() as patched:
        patched.setattr(downloading.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StorageError, match="has less room; free some"):
            get(server)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left to write"):
            get(server)
    assert left() == [f".{NAME}.pth.part", f".{NAME}.pth.part.json"]
    get(server)
    assert len(server.asked) == 2


def test_two_processes_do_not_fetch_the_same_model(server: Served) -> None:
    data_folder().mkdir(parents=True)
    with alone(data_folder() / f".{NAME}.lock", ""), pytest.raises(OutputError, match="fetched by another process"):
        get(server)
    assert server.asked == []


def test_a_part_left_by_a_process_that_was_killed_at_the_end_is_removed(server: Served) -> None:
    part = get(server).path.parent / f".{NAME}.pth.part"
    part.write_bytes(server.content)
    get(server)
    assert left() == ["first-seen.json", NAME]


def test_another_folder_is_taken_or_refused(server: Served, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert get(server, out="empty").path == Path("empty")
    assert read_model(tmp_path / "empty")[0].domains == {"A": "photo", "B": "monet"}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    for out in ("full", "full/x"):
        with pytest.raises(OutputError, match="holds something else already; give another --out or remove it"):
            get(server, out=out)


def test_removing_what_is_not_there_or_was_not_fetched_is_refused(server: Served, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="style_monet is not fetched; there is nothing to remove"):
        remove_model(NAME)
    with pytest.raises(ConfigError, match="Unknown model style_mone; did you mean style_monet"):
        remove_model("style_mone")
    shutil.copytree(get(server, out=tmp_path / "mine").path, data_folder() / "mine")
    (data_folder() / "mine" / "origin.json").unlink()
    with pytest.raises(ConfigError, match="was not fetched but put there; remove the folder yourself"):
        remove_model("mine")
    server.cut = 5000
    with pytest.raises(DownloadError):
        get(server)
    server.cut = None
    assert remove_model(NAME) == (data_folder() / NAME, 5000)


def test_from_the_command_line(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for words in (
        ("get", NAME, "--url", server.url),
        (),
        ("remove", NAME),
        ("get", "../x"),
        ("get", NAME, "--url", "ftp:x"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(["models", *words])
        printed.append((ended.value.code, "".join(capsys.readouterr())))
    assert [code for code, _ in printed] == [0, 0, 0, 78, 78]
    assert "no published hash: recorded as first seen" in printed[0][1]
    assert f"Translate with it: unpaired translate {NAME} IMAGE..." in printed[0][1]
    assert re.search(rf"{NAME} +photo → monet +256 +\d\.\d +fetched +not stated", printed[1][1])
    assert printed[2][1].startswith(f"Removed {data_folder() / NAME}: ")
    assert "Unknown model ../x" in printed[3][1]
    assert "--url takes an http or https address, not ftp:x" in printed[4][1]


def test_the_published_names_and_paths_are_plain() -> None:
    assert len(PUBLISHED_WEIGHTS) == 23
    for name, each in PUBLISHED_WEIGHTS.items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert re.fullmatch(r"/(cyclegan/pretrained_models|pix2pix/models-pytorch)/[a-z0-9_]+\.pth", each.path)
