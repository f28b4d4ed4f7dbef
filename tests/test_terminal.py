"""Progress as people see it: printed by default from Python, silent on request, left to logging where it is set up."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from test_live_line import Terminal
from unpaired.config import override
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.training.pace import Pace, StepPace
from unpaired.training.progress import Progress
from unpaired.training.terminal import ProgressLines, live_line, sentences_printed, shown_by_default

STEP = Progress(4, 8, 1, {"generator": 0.5}, 2e-4, 12.34, 0.0, seconds=0.0, seconds_left=75.4)
CYCLEGAN = {
    f"{family}_{domain}": 1.23456 * number
    for number, family in enumerate(("adversarial", "cycle", "identity", "discriminator"), start=1)
    for domain in "ab"
}
PACE = StepPace(
    step=12,
    num_steps=246_000,
    epoch=1,
    losses=CYCLEGAN,
    steps_per_second=0.4762,
    images_per_second=0.4762,
    seconds=30.0,
    seconds_left=520_000.0,
    first=False,
    last=False,
)


def without_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a program that has not set logging up; pytest has, for every logger that is there when a test begins."""
    monkeypatch.setattr(logging.getLogger("unpaired"), "propagate", False)


def test_a_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLines()(STEP)
    assert capsys.readouterr().out == "step 4/8  epoch 1  12.3 images/s  1:15 min left  generator 0.500\n"


def test_the_live_line_of_a_step_fits_80_columns_and_gets_shorter_on_narrower_ones() -> None:
    line = live_line(PACE, 79)
    assert line == "step     12/246000  2.1 s/step  6 d 0 h left  adv 1.23 cyc 2.47 ide 3.70"
    assert live_line(PACE, 60) == "step     12/246000  2.1 s/step  6 d 0 h left  adv 1.23"
    assert live_line(PACE, 20) == "step     12/246000"
    wide = live_line(replace(PACE, steps_per_second=5.14), 200)
    assert wide.endswith("5.1 steps/s  6 d 0 h left  adv 1.23 cyc 2.47 ide 3.70 dis 4.94")
    assert "cycl 1.00 cyca 2.00" in live_line(replace(PACE, losses={"cycle_a": 1.0, "cyca": 2.0}), 200)


def test_a_terminal_shows_each_step_in_place_and_keeps_one_a_minute_and_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with sentences_printed():
        lines = ProgressLines()
        for step, seconds in enumerate((0.0, 1.0, 61.0, 62.0)):
            pace = replace(PACE, step=step, seconds=seconds, first=step == 1, last=step == 3)
            lines.pace(replace(pace, steps_per_second=None) if step == 0 else pace)
            lines(replace(STEP, step=step, seconds=seconds))
            if step == 1:
                assert terminal.lines == [live_line(replace(PACE, step=1), 79)]
    assert [line.partition("  ")[0] + line.partition("  ")[2].strip()[:8] for line in terminal.lines] == [
        "step2/246000",
        "step3/246000",
        "",
    ]


def test_a_log_file_gets_the_first_step_then_logged_ones_and_others_after_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ProgressLines()
    lines.pace(replace(PACE, step=0, losses={}, steps_per_second=None, images_per_second=None, seconds=0.0))
    for step, seconds in enumerate((1.0, 5.0, 12.0, 40.0, 73.0), start=1):
        lines.pace(replace(PACE, step=step, seconds=seconds, first=step == 1))
        if step < 4:
            lines(replace(STEP, step=step, seconds=seconds))
    printed = capsys.readouterr().out
    assert [line.split()[1].partition("/")[0] for line in printed.splitlines()] == ["1", "3", "5"]
    assert "\r" not in printed
    assert "\x1b" not in printed


class View:
    """The part of a StepView that is displayed."""

    num_steps, epoch, losses, last = 100, 1, CYCLEGAN, False

    def __init__(self, step: int) -> None:
        self.step = step


def test_the_pace_leaves_out_the_slow_first_step_and_reports_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reported = [0.0], list[StepPace]()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch = Pace(reported.append, batch_size=4)
    for step in range(8):
        watch(View(step))  # type: ignore[arg-type]
        now[0] += 10.0 if step == 0 else 0.25
    assert [pace.step for pace in reported] == [0, 1, 3, 5, 7]
    assert [pace.first for pace in reported] == [False, True, False, False, False]
    assert (reported[0].steps_per_second, reported[0].seconds_left) == (None, None)
    assert reported[1].seconds_left == pytest.approx(990)
    assert reported[2].seconds_left == pytest.approx(97 * 0.25)
    assert reported[-1].steps_per_second == pytest.approx(4)
    assert reported[-1].images_per_second == pytest.approx(16)


def test_training_from_python_shows_sentences_and_steps_on_standard_error(
    toy_config: Config,
    two_folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_logging(monkeypatch)
    config = override(toy_config, {"data.root": str(two_folders), "schedule.num_steps": 1})
    train(config, out=tmp_path / "run")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Scanning 6 + 5 images." in printed.err
    assert "\nstep 1/1  epoch 1  " in printed.err
    train(config, out=tmp_path / "other", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("unpaired").handlers == []


def test_a_listener_replaces_the_lines_and_not_the_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_logging(monkeypatch)
    steps: list[Progress] = []
    with shown_by_default(steps.append, quiet=False) as listener:
        logging.getLogger("unpaired").info("A sentence of 100 %.")
        listener(STEP)
    assert steps == [STEP]
    assert capsys.readouterr().err == "A sentence of 100 %.\n"


def test_where_logging_is_set_up_it_gets_the_sentences_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "unpaired")
    with shown_by_default(None, quiet=False) as listener:
        logging.getLogger("unpaired").info("A sentence.")
        listener(STEP)
    assert caplog.messages == ["A sentence."]
    assert capsys.readouterr() == ("", "")


def test_what_other_parts_of_the_package_warn_of_stays_out_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    with sentences_printed():
        logging.getLogger("unpaired").warning("Of the run.")
        logging.getLogger("unpaired.registry").warning("Beside it.")
    assert capsys.readouterr() == ("Of the run.\n", "Beside it.\n")


def test_only_the_first_of_several_processes_prints() -> None:
    code = (
        "import logging\n"
        "from unpaired.training.terminal import sentences_printed\n"
        "with sentences_printed():\n"
        "    logging.getLogger('unpaired').info('A sentence.')\n"
    )
    for rank, printed in (("0", "A sentence.\n"), ("1", "")):
        place = {"RANK": rank, "WORLD_SIZE": "2"}
        made = subprocess.run([sys.executable, "-c", code], env=place | path_of_this(), capture_output=True, text=True)
        assert (made.stdout, made.stderr, made.returncode) == (printed, "", 0)


def path_of_this() -> dict[str, str]:
    """The environment of a process that imports the tested package."""
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}


@pytest.mark.parametrize(("columns", "width"), [(40, 80), (79, 80), (80, 80), (132, 132)])
def test_tables_are_not_cut_on_narrow_terminals(columns: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from unpaired.cli.output import console

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert console().width == width
