"""The page of a study in a real browser: display time, resuming, keyboard, and answers that the analysis accepts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser import CHROMIUM, Browser
from test_study import untrained
from unpaired.scenes.draw import draw_dataset
from unpaired.study.analysing import analyse
from unpaired.study.answer_files import Session, read_session
from unpaired.study.image_choice import Counts
from unpaired.study.making import PAGE, make_study
from unpaired.study.study_key import StudyKey, read_key
from unpaired.study.study_settings import StudySettings

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

READY = "!document.querySelector('#work').hidden && !document.querySelector('#left').disabled"
SHOWN = "document.querySelector('#stage.visible')"
ENDED = "!document.querySelector('#end').hidden"

SAMPLER = """
window.spans = [];
addEventListener("DOMContentLoaded", () => {
  let since = null, frames = 0;
  const tick = (now) => {
    const canvas = document.querySelector("#stage canvas");
    const visible = canvas && canvas.checkVisibility({ visibilityProperty: true });
    if (visible && since === null) { since = now; frames = 0; }
    if (visible) frames += 1;
    if (!visible && since !== null) { spans.push([now - since, frames]); since = null; }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
});
"""
"""Measures how long images are visible, independently of the page: milliseconds and frames."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small study of each kind."""
    folder = tmp_path_factory.mktemp("studies")
    draw_dataset(folder / "data", a="summer", b="winter", count=1, size=32, num_test=12)
    models = [untrained(folder / name, seed=seed) for seed, name in enumerate(("alpha", "beta", "gamma"))]
    counts = Counts(practice=2, scored=3, checks=2)
    settings = {
        "real-or-fake": (1, StudySettings(counts=counts)),
        "preference": (2, StudySettings(kind="preference", counts=replace(counts, practice=0))),
        "readers": (3, StudySettings(kind="readers", counts=Counts(practice=0, scored=2, checks=0))),
    }
    for kind, (count, one) in settings.items():
        make_study(models[:count], folder / "data", folder / kind, settings=one)
    return {kind: folder / kind for kind in settings}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as found:
        found.downloads_to(tmp_path)
        yield found
        wrong = [
            event for event in found.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
        ]
        assert wrong == []
        asked = [e["params"]["request"]["url"] for e in found.events if e.get("method") == "Network.requestWillBeSent"]
        assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)


def begin(browser: Browser) -> None:
    assert browser.run("document.querySelector('#start').disabled")
    browser.click("#agree")
    browser.click("#start")


def answer(browser: Browser, count: int, key: str = "ArrowLeft") -> None:
    for _ in range(count):
        browser.until(f"{READY} || !document.querySelector('#between').hidden")
        if not browser.run("document.querySelector('#between').hidden"):
            browser.click("#continue")
            browser.until(READY)
        browser.press(key)
        browser.until(f"!({READY})")


def saved(browser: Browser, folder: Path, study: Path) -> tuple[Session, list[str], StudyKey]:
    browser.until(ENDED)
    before = set(folder.glob("*.jsonl"))
    browser.click("#save")
    end = time.monotonic() + 20
    while not (found := set(folder.glob("*.jsonl")) - before):
        assert time.monotonic() < end
        time.sleep(0.05)
    (path,) = found
    key = read_key(study / "key.json")
    session, remarks = read_session(path, key)
    assert path.name == f"answers-{session.participant}.jsonl"
    assert browser.run("document.querySelector('#lines').value") == path.read_text(encoding="utf-8")
    return session, remarks, key


def test_a_pair_is_shown_for_one_second_to_the_frame_and_the_answers_are_accepted(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(studies["real-or-fake"] / PAGE, before=SAMPLER)
    begin(browser)
    answer(browser, 7)
    session, remarks, key = saved(browser, tmp_path, studies["real-or-fake"])
    assert remarks == []
    assert [answer.trial.part for answer in session.answers][:2] == ["practice"] * 2
    assert len({answer.trial.id for answer in session.answers}) == 7
    assert all(answer.chose_left for answer in session.answers)
    spans = browser.run("window.spans")
    assert len(spans) == 7
    frame = 1000 / 60
    assert abs(statistics.median(span for span, _ in spans) - 1000) <= 2 * frame
    assert abs(statistics.median(frames for _, frames in spans) - 60) <= 2
    for (span, _), found in zip(spans, session.answers, strict=True):
        assert abs(span - found.shown_ms) <= 2 * frame  # the page records the time that passed, also a wrong one
    found = analyse([session], key)
    (participant,) = found.participants
    assert participant.excluded == ""  # one of two checks failed, as always left fails half
    assert participant.failed_checks == 1
    assert participant.num_answers == participant.left == 3


def test_sides_are_shuffled_by_participant_and_feedback_is_given_in_practice_alone(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    key = read_key(studies["real-or-fake"] / "key.json")
    browser.open(studies["real-or-fake"] / PAGE)
    begin(browser)
    seen: list[str] = []
    for number in range(7):
        answer(browser, 1)
        seen.append(str(browser.run("document.querySelector('#feedback').textContent")))
        if number < 2:
            browser.until("document.querySelector('#feedback').textContent === ''")
    session, _, _ = saved(browser, tmp_path, studies["real-or-fake"])
    for text, found in zip(seen[:2], session.answers, strict=False):
        real = key.images[found.chosen].source == "real"
        assert text == ("Correct: the left image was real." if real else "Wrong: the right image was real.")
    assert not any("real" in text for text in seen[2:])


def test_a_reload_continues_after_the_trial_that_it_interrupted(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    page = studies["real-or-fake"] / PAGE
    browser.open(page)
    begin(browser)
    answer(browser, 3)
    browser.until(SHOWN)
    browser.open(page)
    assert browser.run("document.querySelector('#resume').textContent") == (
        "You have finished 3 of 7 trials; the study continues there."
    )
    begin(browser)
    answer(browser, 3)
    session, remarks, _ = saved(browser, tmp_path, studies["real-or-fake"])
    assert len(session.answers) == 6
    assert len(session.lost) == 1
    assert any("a reload interrupted 1 trial" in remark for remark in remarks)
    browser.open(page)
    browser.until(ENDED)
    assert session.participant in str(browser.run("document.querySelector('#lines').value"))
    assert not browser.run("document.querySelector('#another').disabled")
    browser.click("#another")
    begin(browser)
    browser.until(SHOWN)
    kept = browser.run(f"Object.keys(localStorage).some((name) => name.endsWith('-{session.participant}'))")
    assert kept, "answers of the participant before stay in the browser"


def test_images_that_a_hidden_page_cut_short_are_marked(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(studies["real-or-fake"] / PAGE)
    begin(browser)
    answer(browser, 2)
    browser.until("!document.querySelector('#between').hidden")
    browser.click("#continue")
    browser.until(SHOWN)
    browser.run(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden; 0"
    )
    assert not browser.run(f"Boolean({SHOWN})")
    answer(browser, 5)
    session, _, _ = saved(browser, tmp_path, studies["real-or-fake"])
    assert [found.interrupted for found in session.answers] == [False, False, True, False, False, False, False]
    assert session.answers[2].shown_ms < 900


def test_keys_are_ignored_while_images_are_shown(browser: Browser, studies: dict[str, Path]) -> None:
    browser.open(studies["real-or-fake"] / PAGE)
    begin(browser)
    browser.until(SHOWN)
    browser.press("ArrowLeft")
    assert browser.run(f"Boolean({SHOWN})")
    browser.until(READY)
    assert browser.run("document.querySelector('#progress').textContent") == "Practice 1 of 2"


def test_a_second_tab_stops_the_first_one(browser: Browser, studies: dict[str, Path]) -> None:
    browser.open(studies["real-or-fake"] / PAGE)
    begin(browser)
    browser.until(READY)
    browser.run("dispatchEvent(new StorageEvent('storage', { key: STORE })); 0")
    assert browser.visible("#elsewhere")
    browser.press("ArrowLeft")
    time.sleep(0.2)
    assert browser.visible("#elsewhere")
    assert browser.run("JSON.parse(localStorage.getItem(STORE)).at") == 0


def test_a_preference_is_untimed_and_shows_the_input(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(studies["preference"] / PAGE)
    begin(browser)
    browser.until(READY)
    assert browser.visible("#given canvas")
    time.sleep(1.2)
    assert browser.visible("#stage canvas")
    for _ in range(5):
        browser.until(READY)
        browser.click("#right")
        browser.until(f"!({READY})")
    session, remarks, key = saved(browser, tmp_path, studies["preference"])
    assert (len(session.answers), remarks) == (5, [])
    assert session.answers[0].shown_ms > 1200
    assert analyse([session], key).preference is not None


def test_readers_give_each_image_a_rank_of_its_own_and_a_comment(
    browser: Browser, studies: dict[str, Path], tmp_path: Path
) -> None:
    browser.open(studies["readers"] / PAGE)
    begin(browser)
    for case in range(2):
        browser.until(f"document.querySelector('#progress').textContent === 'Case {case + 1} of 2' && {SHOWN}")
        browser.click("#next")
        assert "a rank of its own" in str(browser.run("document.querySelector('#feedback').textContent"))
        browser.run("document.querySelectorAll('select').forEach((one, i) => { one.value = [2, 1, 3][i]; })")
        browser.run("document.querySelector('#comment').value = 'Grün \\u2028 \"quoted\" 画'")
        browser.click("#next")
    session, remarks, key = saved(browser, tmp_path, studies["readers"])
    assert remarks == []
    assert [list(ranking.ranks.values()) for ranking in session.rankings] == [[2, 1, 3]] * 2
    assert session.rankings[0].comment == 'Grün \u2028 "quoted" 画'
    found = analyse([session], key).reading
    assert found is not None
    assert sum(found.mean_ranks.values()) == pytest.approx(6)


@pytest.mark.parametrize(("width", "height"), [(320, 640), (1280, 700), (640, 320)])
def test_the_page_fits_any_screen_and_every_control_has_a_name(
    browser: Browser, studies: dict[str, Path], width: int, height: int
) -> None:
    for kind, study in studies.items():
        browser.resize(1600 - width, 900 - height)
        browser.open(study / PAGE)
        begin(browser)
        browser.until(SHOWN)
        browser.resize(width, height)  # as if a telephone was turned
        browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), kind
        sides = browser.run(
            "[...document.querySelectorAll('#stage canvas')].map((one) => one.getBoundingClientRect().width)"
        )
        assert len(set(sides)) == 1
        if kind != "readers":
            tops = browser.run(
                "[...document.querySelectorAll('#stage canvas')].map((one) => one.getBoundingClientRect().top)"
            )
            assert len(set(tops)) == 1, "the images of a pair are beside each other"
            if kind == "real-or-fake":
                assert tops[0] + sides[0] <= height, "no scrolling while the images are shown"
        tree: list[dict[str, Any]] = browser.send("Accessibility.getFullAXTree")["nodes"]
        controls = [
            node
            for node in tree
            if node.get("role", {}).get("value")
            in ("button", "image", "img", "combobox", "MenuListPopup", "textbox", "checkbox")
            and not node.get("ignored")
        ]
        assert controls
        assert all(node.get("name", {}).get("value") for node in controls if node["role"]["value"] != "MenuListPopup")
