"""The live line of a terminal: rewritten in place, cut to its width, and never in front of anything else."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

import forked
from unpaired import live_line
from unpaired.cli.output import ByteLines, print_below
from unpaired.config import override, to_yaml
from unpaired.headway import Headway, followed
from unpaired.interop import EXPORTERS
from unpaired.interop.running import run_exporter
from unpaired.live_line import erase, has_live_line, live_line_on, rewrite
from unpaired.networks import ResNetGenerator
from unpaired.recipes import Config
from unpaired.runs.verify import verify
from unpaired.training.terminal import sentences_printed
from unpaired.translate import DirectionInfo, ModelInfo, TrainingInfo, write_model

if sys.platform != "win32":
    import fcntl
    import termios

ERASED = "\r\x1b[K"


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps what it gets."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """The lines as a reader sees them at the end."""
        return [line.rpartition(ERASED)[2] for line in self.getvalue().split("\n")]


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Standard output and standard error on one terminal; no fixture, as pytest replaces both for each phase."""
    shown = Terminal()
    with redirect_stdout(shown), redirect_stderr(shown):
        yield shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_line_is_rewritten_in_place_and_erased_at_the_end() -> None:
    with on_terminal() as terminal, live_line_on("stdout"):
        rewrite("one")
        rewrite("two")
    assert terminal.getvalue() == f"{ERASED}one{ERASED}two{ERASED}"


def test_verifying_and_exporting_name_what_they_are_at(tmp_path: Path) -> None:
    info = ModelInfo(
        directions={"AtoB": DirectionInfo(generator=ResNetGenerator(base_channels=4, num_blocks=6))},
        domains={"A": "summer", "B": "winter"},
        training=TrainingInfo(step=None, seed=None, load_size=None, crop_size=None, objective="cyclegan"),
    )
    write_model(tmp_path / "model", info, {"AtoB": info.directions["AtoB"].generator.build(3, 3)})
    with on_terminal() as terminal, live_line_on("stdout"):
        verify(tmp_path / "model")
        run_exporter(EXPORTERS, "official", "--format", tmp_path / "model", tmp_path / "out")
        print("done")
    shown = terminal.getvalue().split(ERASED)
    assert shown[1] == "Verifying model"
    assert shown[2].startswith("Exporting ")
    assert terminal.lines == ["done", ""]


@pytest.mark.parametrize(
    "other",
    [
        lambda: print("other"),
        lambda: print("other", file=sys.stderr),
        lambda: sys.stderr.writelines(["other\n"]),
        lambda: print_below("other"),
    ],
)
def test_whatever_else_is_printed_starts_on_a_line_of_its_own(other: Callable[[], None]) -> None:
    with on_terminal() as terminal, live_line_on("stdout"):
        rewrite("step 1")
        other()
        rewrite("step 2")
    assert terminal.lines == ["other", ""]


def test_a_sentence_of_an_error_replaces_the_line() -> None:
    with pytest.raises(SystemExit), on_terminal() as terminal, sentences_printed():  # noqa: PT012
        rewrite("step 1")
        print("unpaired: it failed", file=sys.stderr)
        raise SystemExit(1)
    assert terminal.lines == ["unpaired: it failed", ""]


def test_what_a_terminal_shows_of_a_signal_is_replaced_by_the_sentence_about_it() -> None:
    with on_terminal() as terminal, sentences_printed():
        terminal.write("^C")
        print_below("Stopping.")
    assert terminal.lines == ["Stopping.", ""]


def test_a_line_is_cut_to_the_width_and_holds_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal() as terminal, live_line_on("stdout"):
        rewrite("x" * 100)
        assert terminal.lines == ["x" * 79]
        monkeypatch.setattr(live_line, "columns", lambda: 10)
        rewrite("a\n\x1b[31m" + "y" * 100)
        assert terminal.lines == ["a\\n\\x1b[3"]


def test_nothing_is_shown_unless_there_is_a_terminal_and_this_is_rank_0(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite("outside of a block")
    with live_line_on("stdout"):
        assert not has_live_line()
        rewrite("in a file")
        erase()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    shown = Terminal()
    with redirect_stdout(shown), live_line_on("stdout"):
        rewrite("another rank")
    assert shown.getvalue() == ""


def test_the_streams_are_as_before_after_the_block() -> None:
    with on_terminal() as terminal:
        with live_line_on("stdout"):
            assert sys.stdout is not terminal
            assert sys.stdout.isatty()
            with live_line_on("stderr"):
                rewrite("inner")
        assert sys.stdout is terminal
        assert sys.stderr is terminal


def test_a_terminal_that_takes_no_more_text_does_not_hold_up_the_end() -> None:
    with live_line._lock:
        waiting = threading.Thread(target=erase)
        waiting.start()
        waiting.join(5)
        assert not waiting.is_alive()


def test_a_loop_shows_its_count_and_the_time_left(clock: list[float]) -> None:
    with on_terminal() as terminal, live_line_on("stdout"):
        headway = Headway("Drawing", 3, "scene")
        assert terminal.lines == ["Drawing: 0 of 3 scenes"]
        clock[0] += 40
        headway.advance()
        assert terminal.lines == ["Drawing: 1 of 3 scenes, 1:20 min left"]
        headway.advance(2)
        assert terminal.lines == [""]
        listener = followed("Inspecting", "file")
        listener(1, 2)
        assert terminal.lines == ["Inspecting: 0 of 2 files"]


def test_a_download_shows_its_share_and_the_time_left(clock: list[float]) -> None:
    with on_terminal() as terminal, sentences_printed():
        listener = ByteLines()
        for received in (0, 5_000_000, 10_000_000):
            clock[0] += 10
            listener(received, 10_000_000)
            if received == 5_000_000:
                assert terminal.lines == ["5.0 of 10.0 MB  50%  10 s left"]
    assert terminal.lines == ["10.0 of 10.0 MB  100%", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_run_on_a_terminal_of_80_columns_from_its_first_step_to_ctrl_c(
    toy_config: Config, two_folders: Path, tmp_path: Path
) -> None:
    file, number = tmp_path / "toy.yaml", f"{10**6}"
    file.write_text(to_yaml(override(toy_config, {"data.root": str(two_folders), "schedule.num_steps": 10**6})))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    line = [sys.executable, "-m", "unpaired", "train", "--config", str(file), "--out", "run"]
    process = forked.Popen(line, stdout=theirs, stderr=theirs, cwd=tmp_path)
    os.close(theirs)
    shown, stopped = "", False
    with suppress(OSError):  # the end of a pseudo-terminal
        while part := os.read(ours, 65536).decode():
            shown += part
            if not stopped and re.search(rf"step +[1-9]\d*/{number}  .* left  adv ", shown):
                stopped = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    assert process.wait(60) == 130
    lines = shown.replace("\r\n", "\n").split("\n")
    assert all(len(state) < 80 for text in lines for state in text.split(ERASED)[1:] if state.startswith("step"))
    final = [text.rpartition(ERASED)[2] for text in lines]
    assert final[0] == "Scanning 6 + 5 images."
    assert final[-3] == "Stopping when this step is done and saved; a second Ctrl-C leaves at once, without saving."
    assert final[-2].startswith("unpaired: Stopped at step ")
    assert final[-1] == ""
