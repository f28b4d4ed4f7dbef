"""The verbs under `unpaired study`: make a human study, analyse its answers."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from unpaired.cli.app import app
from unpaired.cli.own_parts import load_parts
from unpaired.storage import shown
from unpaired.training.terminal import print_sentence

study_app = App(name="study", help="Ask people: an offline page with real and translated images, and its analysis.")
app.command(study_app)


@study_app.command
def make(
    places: Annotated[tuple[Path, ...], Parameter(name="RUN... DATA")],
    /,
    *,
    out: Path,
    kind: Literal["real-or-fake", "preference", "readers"] = "real-or-fake",
    direction: Literal["AtoB", "BtoA"] = "AtoB",
    trials: int | None = None,
    practice: int | None = None,
    checks: int | None = None,
    max_failed_checks: int = 1,
    seconds: float | None = None,
    size: int | None = None,
    truth: bool | None = None,
    rank_real: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    question: str | None = None,
    consent: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    recipe: Path | None = None,
) -> None:
    """Translate test images and write the page of a study for participants, and the key that stays with you.

    The page is one file that works offline. Participants save their answers as a file for `unpaired
    study analyse`. The same command makes the same study.

    Parameters
    ----------
    places
        Run or model folders, then the data folder with testA and testB, or test (or val) of pairs.
        Of several models of a real-or-fake study, a participant gets one at random.
    out
        Folder for the study: participants/study.html to send, key.json to keep, answers/ for the files of participants.
    kind
        real-or-fake (the papers' test), preference (between two models) or readers (experts rank
        all models, and comment).
    direction
        Direction of the translations.
    trials
        Scored trials of a participant (default: 40; readers 20).
    practice
        Practice trials (default: 10, with feedback; preference none).
    checks
        Attention checks among the scored trials (default: 6; readers none).
    max_failed_checks
        Failed attention checks up to which a participant counts.
    seconds
        Display time of a pair, 0 for unlimited (default: 1; preference unlimited).
    size
        Side that images are resized to (default: that of the training crops).
    truth
        Whether images of the same name are pairs (default: if all names match).
    rank_real
        Readers also rank the real image (paired data).
    question
        The question of a trial, instead of that of the kind.
    consent
        Text file that participants agree to before they start.
    seed
        Seed of every draw.
    device
        auto, cpu, cuda, cuda:N or mps.
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    from dataclasses import replace

    from unpaired.study.answer_places import KEY
    from unpaired.study.making import ANSWERS, PAGE, make_study
    from unpaired.study.study_key import Rule
    from unpaired.study.study_settings import DEFAULTS, StudySettings, consent_text

    given = {"scored": trials, "practice": practice, "checks": checks}
    counts = replace(DEFAULTS[kind][0], **{name: count for name, count in given.items() if count is not None})
    settings = StudySettings(
        kind=kind,
        direction=direction,
        counts=counts,
        seconds=seconds,
        size=size,
        truth=truth,
        rank_real=rank_real,
        question=question or "",
        consent=consent_text(consent) if consent else "",
        seed=seed,
        rule=Rule(max_failed_checks=max_failed_checks),
    )
    command = shlex.join(["unpaired", *sys.argv[1:]])
    key = make_study(places[:-1], places[-1], out, settings=settings, device=device, command=command)
    print_sentence(f"Study {key.study}: send {shown(out / PAGE)}, and keep {shown(out / KEY)} to yourself.")
    print_sentence(f"Collect answer files in {shown(out / ANSWERS)}, then: unpaired study analyse {shown(out)}")


@study_app.command
def analyse(
    places: Annotated[tuple[Path, ...], Parameter(name="STUDY_OR_FILES")],
    /,
    *,
    key: Path | None = None,
    out: Path | None = None,
) -> None:
    """Check the answer files of a study, and print rates, preferences or ranks with 95 % intervals.

    Writes analysis.md and analysis.json. Files that are damaged, edited or of another study are listed and left out.

    Parameters
    ----------
    places
        The study folder, or answer files and folders of them.
    key
        The key of the study (default: key.json in the study folder, or beside or above the answer files).
    out
        Folder for the results (default: that of the key).
    """
    from unpaired.storage import make_folder, write_bytes
    from unpaired.study.analysing import analyse as analyse_sessions
    from unpaired.study.answer_files import read_sessions
    from unpaired.study.answer_places import answer_files, find_key
    from unpaired.study.study_key import read_key
    from unpaired.study.study_report import to_markdown

    key_path = key if key is not None else find_key(places)
    study = read_key(key_path)
    sessions, remarks = read_sessions(answer_files(places), study)
    found = analyse_sessions(sessions, study, remarks)
    folder = out if out is not None else key_path.parent
    make_folder(folder)
    page = to_markdown(found)
    write_bytes(folder / "analysis.md", page.encode())
    write_bytes(folder / "analysis.json", found.to_json().encode())
    print(page, end="")
    print_sentence(f"Wrote {shown(folder / 'analysis.md')} and analysis.json")
