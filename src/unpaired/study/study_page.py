"""The page of a study: one HTML file that needs no network and does not hold the key of the scored trials."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from unpaired.pages.html_pages import escaped, html_page
from unpaired.study.study_key import SCHEMA, StudyKey, Trial, TrialSet
from unpaired.words import counted

CONSENT = (
    "Taking part is voluntary; close the page at any time to stop.\n\nThe page records your answers and their times "
    "under a random number, without your name, and sends nothing: at the end you save a file with them, and decide "
    "whether to hand it in."
)
"""The text of the first screen, unless a study has its own."""

_TITLES = {"real-or-fake": "Real or fake?", "preference": "Which is better?", "readers": "Ranking images"}


def to_page(key: StudyKey, files: Mapping[str, bytes], *, consent: str = "") -> str:
    """Return the page.

    Args:
        key: the key, of which the page holds the answers of the practice trials alone.
        files: the encoded images by id.
        consent: text that participants agree to before they start, paragraphs separated by empty lines; "" for
            `CONSENT`.
    """
    study = {
        "schema": SCHEMA,
        "study": key.study,
        "kind": key.kind,
        "seconds": key.seconds,
        "size": key.facts["size"],
        "sets": [_for_page(each, key) for each in key.sets],
        # By their random ids, so that the order reveals nothing.
        "images": {name: base64.b64encode(files[name]).decode() for name in sorted(files)},
    }
    paragraphs = [each for each in (consent or CONSENT).split("\n\n") if each.strip()]
    return html_page(
        __package__,
        "study.html",
        _TITLES[key.kind],
        task=escaped(_task(key)),
        question=escaped(key.question),
        consent="".join(f"<p>{escaped(' '.join(each.split()))}</p>" for each in paragraphs),
        study=json.dumps(study).replace("<", "\\u003c"),
    )


def _task(key: StudyKey) -> str:
    """Return the instructions on the first screen."""
    first = key.sets[0]
    practice = len(first.of("practice"))
    trials = len(first.trials) - practice  # with the checks, which participants cannot distinguish
    seconds = f"{key.seconds:g} second{'s' * (key.seconds != 1)}"
    timed = f"They disappear after {seconds}; there is no time limit for your answer." if key.seconds else ""
    if key.kind == "real-or-fake":
        sentences = [
            "You will see pairs of images, one real and one made by a computer.",
            timed,
            "Choose the real one.",
            f"In {counted(practice, 'practice trial')} you learn whether you were right." if practice else "",
            f"{counted(trials, 'trial')} without feedback follow{'s' * (trials == 1)}.",
        ]
    elif key.kind == "preference":
        sentences = [
            "You will see an image and two translations of it, made by two computer programs.",
            timed.replace("They", "The translations"),
            f"Choose the better translation, in {counted(practice + trials, 'trial')}.",
        ]
    else:
        sentences = [
            "You will see an image and several versions of it in random order.",
            f"Give each a rank, 1 for the best, and add a comment if you like, in {counted(trials, 'case')}.",
            "There is no time limit.",
        ]
    return " ".join(filter(None, sentences))


def _for_page(trials: TrialSet, key: StudyKey) -> dict[str, Any]:
    return {part: [_trial(each, key) for each in trials.of(part)] for part in ("practice", "scored", "check")}


def _trial(trial: Trial, key: StudyKey) -> dict[str, Any]:
    found: dict[str, Any] = {"trial": trial.id, "images": trial.images}
    if trial.given:
        found["given"] = trial.given
    if trial.part == "practice" and key.kind == "real-or-fake":
        found["real"] = next(name for name in trial.images if key.images[name].source == "real")
    return found
