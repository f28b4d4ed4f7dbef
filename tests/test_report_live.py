"""The report of a run that goes on, in a real browser: it reloads itself from its file, and keeps what was chosen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from browser import CHROMIUM, Browser
from test_report import Page, grids, page
from unpaired.artifacts import recorder
from unpaired.artifacts.writer import Writer
from unpaired.config import override
from unpaired.recipes import Config
from unpaired.runs import train
from unpaired.training.callbacks import StepView

FASTER = "const wait = setTimeout; window.setTimeout = (run, after) => wait(run, after / 100);"
"""Makes the page reload after a hundredth of its time."""

PLACE = (
    "document.readyState === 'complete' && [document.querySelector('.time output').value, "
    "document.querySelector('details:has(pre)').open, "
    "Math.round(scrollY), document.querySelector('.status').textContent]"
)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_of_a_live_run_shows_new_content_and_keeps_the_grid_the_folds_and_the_place(tmp_path: Path) -> None:
    samples = grids(tmp_path, 4)
    with Browser(tmp_path / "profile") as browser:
        page(tmp_path, samples=samples[:3], live=True, status={"state": "one"})
        browser.open(tmp_path / "report.html", before=FASTER)
        assert browser.run(PLACE)[0] == "Step 2,000"  # the newest
        browser.run(
            "(() => { const slider = document.querySelector('.time input'); slider.value = 1; "
            "slider.dispatchEvent(new Event('input')); document.querySelector('details:has(pre)').open = true; "
            "scrollTo(0, 300); })()"
        )
        page(tmp_path, samples=samples, live=True, status={"state": "two"})
        browser.until(f"({PLACE})[3] === 'statetwo'")
        assert browser.run(PLACE) == ["Step 1,000", True, 300, "statetwo"]
        page(tmp_path, samples=samples, status={"state": "finished"})
        browser.until(f"({PLACE})[3] === 'statefinished'")
        browser.run("window.same = true")
        time.sleep(0.5)
        assert browser.run("window.same") is True


def test_the_report_is_written_again_at_logged_steps_between_two_sample_grids(
    toy_config: Config, two_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_FIRST_REPORT", "_LEAST_SPACING", "_TIMES"):
        monkeypatch.setattr(recorder, name, 0.0)
    monkeypatch.setattr(Writer, "submit", lambda self, kind, task: task())  # before the next step, not behind it
    settings = {"data.root": str(two_folders), "schedule.num_steps": 3, "run.sample_every": 0}
    states: list[str] = []

    class Reading:
        every = 1

        def after_step(self, view: StepView) -> None:
            if view.step > 1:
                states.append(Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text)

    train(override(toy_config, settings), out=tmp_path / "run", callbacks=[Reading()], quiet=True)
    assert [f"{step} of 3" in state and "training" in state for step, state in enumerate(states, start=1)] == [True] * 2
    assert 'data-live=""' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_only_the_page_of_a_live_run_reloads_itself(tmp_path: Path) -> None:
    assert 'data-live=""' in page(tmp_path)
    before = time.time()
    written = page(tmp_path, live=True).partition('data-live="')[2].partition('"')[0]
    assert before - 1 <= float(written) / 1000 <= time.time() + 1
