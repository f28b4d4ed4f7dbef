"""The verdict of an evaluation, and the names of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unpaired.evaluation.evaluating import DirectionResult, Row
from unpaired.evaluation.evaluation_files import free_stem
from unpaired.evaluation.figures import METRICS
from unpaired.evaluation.intervals import Interval
from unpaired.evaluation.verdict import Verdict, verdict_of

NAMES = {"A": "summer", "B": "winter"}
GOOD, EQUAL, BAD = (0.9, 0.8, 1.0), (0.6, 0.5, 0.7), (0.3, 0.2, 0.4)
"""Figures for which more is better, beside one of EQUAL for untranslated images."""

BY_TRUTH, BY_SETS = ("l1", "psnr", "ssim"), ("kernel_distance", "density", "coverage", "two_sample_accuracy")


def verdict(truth: bool, **made: tuple[float, float, float]) -> Verdict:
    """Return the verdict for figures by metric, each given as if more were better."""
    rows = {}
    for kind, (value, low, high) in made.items():
        metric = METRICS.get(kind)
        interval, untranslated = Interval(value, low, high), Interval(*EQUAL)
        if metric.better == "less":
            interval, untranslated = Interval(-value, -high, -low), Interval(-0.6, -0.7, -0.5)
        rows[kind] = Row(metric, interval, None if truth else Interval(*EQUAL), untranslated)
    return verdict_of(DirectionResult("AtoB", rows, {}, (), None), NAMES, truth=truth)


@pytest.mark.parametrize(("truth", "kinds"), [(True, BY_TRUTH), (False, BY_SETS)])
def test_figures_that_agree_decide(truth: bool, kinds: tuple[str, ...]) -> None:
    assert verdict(truth, **dict.fromkeys(kinds, GOOD)).outcome == "better"
    worse = verdict(truth, **{kinds[0]: EQUAL, **dict.fromkeys(kinds[1:], BAD)})
    assert (worse.outcome, worse.better, len(worse.worse)) == ("worse", (), len(kinds) - 1)
    assert worse.sentence.startswith("summer to winter: worse than no translation; further from ")
    assert verdict(truth, **dict.fromkeys(kinds, EQUAL)).outcome == "undecided"


def test_figures_that_disagree_are_listed() -> None:
    found = verdict(True, l1=GOOD, psnr=GOOD, ssim=BAD)
    assert found.outcome == "mixed"
    assert found.sentence == (
        "summer to winter: neither better nor worse than no translation: nearer to the truth by L1 and PSNR, further "
        "from it by SSIM."
    )


def test_without_figures_of_untranslated_images_the_reason_is_given() -> None:
    row = Row(METRICS.get("cycle_error"), Interval(*GOOD))
    few = DirectionResult("BtoA", {"cycle_error": row}, {}, (), None)
    assert verdict_of(few, NAMES, truth=False).outcome == "unknown"
    assert "too few images" in verdict_of(few, NAMES, truth=False).sentence
    row = Row(METRICS.get("ssim"), Interval(*GOOD))
    other = DirectionResult("BtoA", {"ssim": row}, {}, (), None)
    assert verdict_of(other, NAMES, truth=True).sentence.startswith("winter to summer: no verdict, because the domains")


def test_an_undefined_interval_decides_nothing() -> None:
    nan = float("nan")
    assert verdict(True, ssim=(0.9, nan, nan)).outcome == "undecided"


def evaluated(folder: Path, data: str, digest: str) -> str:
    """Write an evaluation as the verb does, and return the stem of its files."""
    facts: dict[str, Any] = {"data": data, "data_sha256": digest}
    stem, _ = free_stem(folder, facts)
    (folder / f"{stem}.json").write_text(json.dumps(facts))
    return stem


def test_the_evaluation_of_another_data_set_is_kept(tmp_path: Path) -> None:
    assert evaluated(tmp_path, "data/one", "1" * 64) == "evaluation"
    assert evaluated(tmp_path, "data/one", "1" * 64) == "evaluation"
    assert evaluated(tmp_path, "data/two sets", "2" * 64) == "evaluation-two_sets"
    assert evaluated(tmp_path, "data/two sets", "3" * 64) == "evaluation-two_sets-33333333"
    assert evaluated(tmp_path, "data/one", "1" * 64) == "evaluation"
    _, sentence = free_stem(tmp_path, {"data": "data/two sets", "data_sha256": "2" * 64})
    assert sentence.endswith(
        "evaluation.json is the evaluation of data/one and is kept; this one is evaluation-two_sets.json."
    )


def test_the_evaluation_of_other_weights_on_the_same_images_is_kept(tmp_path: Path) -> None:
    facts = {"data": "data/one", "data_sha256": "1" * 64, "model_sha256": "a" * 64, "step": 40}
    (tmp_path / "evaluation.json").write_text(json.dumps(facts))
    assert free_stem(tmp_path, facts) == ("evaluation", "")
    stem, sentence = free_stem(tmp_path, {**facts, "model_sha256": "b" * 64, "step": 80})
    assert stem == "evaluation-bbbbbbbb"
    assert sentence.endswith("is of other weights (step 40) and is kept; this one is evaluation-bbbbbbbb.json.")
    (tmp_path / "evaluation.json").write_text(json.dumps({"data": "data/one", "data_sha256": "1" * 64}))
    assert free_stem(tmp_path, facts) == ("evaluation", "")  # an earlier version wrote it, so its weights are unknown


@pytest.mark.parametrize("content", ["no JSON", "[1]"])
def test_a_file_of_another_kind_is_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    assert evaluated(tmp_path, "one", "1" * 64) == "evaluation-one"
    assert (tmp_path / "evaluation.json").read_text() == content
