"""Progress as people see it: printed by default from Python, silent on request, left to logging where it is set up."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from unpaired.config import override
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.training.progress import Progress
from unpaired.training.terminal import ProgressLines, sentences_printed, shown_by_default

STEP = Progress(4, 8, 1, {"generator": 0.5}, 2e-4, 12.34, 0.0, seconds=0.0, seconds_left=75.4)


def without_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a program that has not set logging up; pytest has, for every logger that is there when a test begins."""
    monkeypatch.setattr(logging.getLogger("unpaired"), "propagate", False)


def test_a_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLines()(STEP)
    assert capsys.readouterr().out == "step 4/8  epoch 1  12.3 images/s  1:15 min left  generator 0.500\n"


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
