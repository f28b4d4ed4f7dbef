from __future__ import annotations

import html.parser
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from unpaired.artifacts.curves import LogSums
from unpaired.artifacts.report import MAX_GRIDS, write_report
from unpaired.errors import OutputError

NAMES = [f"{family}_{domain}" for family in ("adversarial", "cycle", "identity", "discriminator") for domain in "ab"]


def record(step: int, **losses: float) -> dict[str, Any]:
    terms = dict.fromkeys(NAMES, 1 / step) | losses
    return {"step": step, "epoch": 1, "losses": terms, "learning_rate": 2e-4, "images_per_second": 10.0, "time": "noon"}


def page(tmp_path: Path, **given: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "seasons: summer ↔ winter",
        "status": {"state": "training", "step": "20 of 100"},
        "log": [record(step) for step in range(1, 21)],
        "samples": [],
        "config_yaml": "schema: 1\n",
        "data": {"A": {"name": "summer", "images": 1067}, "B": {"name": "winter", "images": 1334}},
        "machine": {"torch": "2.13.0", "threads": 2},
    }
    arguments |= given
    path = tmp_path / "report.html"
    write_report(path, **arguments | {"log": LogSums(arguments["log"]).curves()})
    return path.read_text(encoding="utf-8")


def grids(folder: Path, count: int, size: int = 32) -> list[Path]:
    paths = []
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (size, 2 * size, 3), dtype=np.uint8)
        paths.append(folder / f"step-{1000 * index:08d}.png")
        PIL.Image.fromarray(pixels).save(paths[-1])
    return paths


class Page(html.parser.HTMLParser):
    """The elements of a page, and whether every one of them is closed."""

    VOID = frozenset({"meta", "img", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def attributes(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def test_the_page_shows_status_losses_data_configuration_and_machine(tmp_path) -> None:
    shown = Page(page(tmp_path)).text
    for text in ("seasons: summer ↔ winter", "20 of 100", *NAMES, "1,067", "winter", "schema: 1", "2.13.0", "noon"):
        assert text in shown


def test_each_family_of_losses_has_a_panel_and_so_have_learning_rate_and_speed(tmp_path) -> None:
    labels = [svg["aria-label"] for svg in Page(page(tmp_path)).all("svg")]
    assert [label.split(" over ")[0] for label in labels if label] == [
        "Adversarial, generators",
        "Cycle consistency",
        "Identity mapping",
        "Adversarial, discriminators",
        "Learning rate",
        "Images per second",
    ]
    assert labels[1] is not None
    assert labels[1].endswith("cycle_a, cycle_b")


def test_a_loss_of_another_method_gets_a_panel_of_its_own(tmp_path) -> None:
    log = [{"step": 1, "losses": {"patch_contrast": 0.5}}]
    assert [svg["aria-label"] for svg in Page(page(tmp_path, log=log)).all("svg")] == [
        "Patch contrast over 1 steps: patch_contrast"
    ]


def test_a_run_without_log_and_samples_has_a_page(tmp_path) -> None:
    text = Page(page(tmp_path, log=[], samples=[], status={}, data={}, machine={})).text
    assert "Nothing logged yet" in text
    assert "No sample grid yet" in text


def test_the_page_needs_nothing_but_itself(tmp_path) -> None:
    text = page(tmp_path, samples=grids(tmp_path, 3))
    elements = Page(text)
    policies = [meta["content"] for meta in elements.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"]
    assert all((source or "").startswith("data:image/") for source in elements.attributes("src"))
    assert elements.attributes("href") == []
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text


def test_everything_given_is_escaped(tmp_path) -> None:
    evil = "\"'<script>alert(1)</script>&$title"
    log = [{"step": 1, "losses": {evil: 1.0, f"{evil}_a": math.nan}, "time": evil}]
    broken = tmp_path / "step-<script>.png"
    broken.write_bytes(b"no image")
    facts = {evil: evil, "group": {evil: [evil]}}
    given = {"title": evil, "status": {evil: evil}, "log": log, "samples": [broken], "config_yaml": evil}
    text = page(tmp_path, **given, data=facts, machine=facts, notes=[evil])
    elements = Page(text)
    assert len(elements.all("script")) == 1
    assert elements.text.count(evil) >= 10
    assert not any(name.startswith("on") for _, attributes in elements.elements for name in attributes)


def test_every_image_says_what_it_shows(tmp_path) -> None:
    images = Page(page(tmp_path, samples=grids(tmp_path, 2))).all("img")
    assert [(image["alt"] or "").split(":")[0] for image in images] == ["Step 1,000", "Step 0"]


@pytest.mark.parametrize("count", [1, 2, 9, 10, 57])
def test_of_many_grids_the_first_the_newest_and_some_between_are_kept(tmp_path, count: int) -> None:
    shots = Page(page(tmp_path, samples=grids(tmp_path, count, size=4))).attributes("data-name")
    assert len(shots) == min(count, MAX_GRIDS)
    assert shots[0] == f"Step {1000 * (count - 1):,}"
    assert shots[-1] == "Step 0"
    steps = [int((shot or "").removeprefix("Step ").replace(",", "")) // 1000 for shot in shots]
    gaps = -np.diff(steps)
    assert count < 2 or gaps.max() - gaps.min() <= 1


def test_large_grids_are_reduced_so_that_the_page_stays_small(tmp_path) -> None:
    paths = grids(tmp_path, 1, size=420)
    samples = [paths[0]] * 9
    assert paths[0].stat().st_size * 9 > 8e6
    assert len(page(tmp_path, samples=samples)) < 4e6


def test_a_grid_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path) -> None:
    paths = grids(tmp_path, 3)
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    paths[2].unlink()
    elements = Page(page(tmp_path, samples=paths))
    assert elements.attributes("data-name") == ["Step 0"]
    assert paths[1].name in elements.text
    assert paths[2].name in elements.text


def test_a_loss_that_is_no_number_leaves_a_gap_and_is_stated(tmp_path) -> None:
    whole = page(tmp_path, log=[record(step) for step in range(1, 21)])
    log = [record(step, **({"cycle_b": math.nan} if 8 <= step <= 10 else {})) for step in range(1, 21)]
    broken = page(tmp_path, log=log)
    assert "is NaN or infinite" not in whole
    assert "cycle_b is NaN or infinite at 3 of the logged steps, first at step 8" in Page(broken).text

    def pieces(text: str) -> int:
        return sum(path.count("M") for path in re.findall(r'class="smooth" d="([^"]*)"', text))

    assert pieces(broken) == pieces(whole) + 1
    assert "nan" not in re.findall(r"<svg.*</svg>", broken)[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "broken", 1e200])
def test_a_log_without_a_single_usable_value_still_has_a_page(tmp_path, value: Any) -> None:
    elements = Page(page(tmp_path, log=[record(step, cycle_a=value) for step in (10, 20)]))
    assert "cycle_a is NaN or infinite at 2 of the logged steps, first at step 10" in elements.text


def test_a_loss_that_is_logged_only_at_times_is_not_taken_for_a_gap(tmp_path) -> None:
    log = [{"step": step, "losses": {"l1": 1.0} if step % 2 else {}} for step in range(1, 21)]
    text = page(tmp_path, log=log)
    assert "is NaN or infinite" not in text
    (path,) = re.findall(r'class="smooth" d="([^"]*)"', text)
    assert path.count("M") == 1


def test_one_early_peak_does_not_flatten_a_curve_and_is_stated(tmp_path) -> None:
    log = [record(step, cycle_a=90.0 if step == 200 else 1.0) for step in range(1, 401)]
    text = Page(page(tmp_path, log=log)).text
    assert re.search(r"Cut off above \d\d?; the highest value is 90\.", text)


def test_a_hundred_thousand_records_are_drawn_quickly_and_small(tmp_path) -> None:
    log = [record(step) for step in range(1, 100_001)]
    start = time.process_time()
    text = page(tmp_path, log=log)
    assert time.process_time() - start < 2  # 0.6 s on the machine this was written on
    assert len(text) < 200_000


def test_the_page_is_replaced_whole_and_nothing_else_is_left(tmp_path) -> None:
    page(tmp_path, title="first")
    page(tmp_path, title="second")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "second" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(OutputError):
        page(tmp_path / "missing")
