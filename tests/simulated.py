"""Simulated participants of known ability, for tests of the analysis of studies.

`python tests/simulated.py` prints the coverage of the intervals of rates (benchmarks/2026-12-01-study-coverage.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unpaired.study.answer_files import Answer, Ranking, Session, chained
from unpaired.study.rates import bootstrap, rate
from unpaired.study.study_key import SCHEMA, Kind, Origin, Rule, StudyKey, Trial, TrialSet


def toy_key(
    kind: Kind = "real-or-fake",
    *,
    models: tuple[str, ...] = ("one",),
    scored: int = 40,
    checks: int = 6,
    seconds: float = 1.0,
    seed: int = 0,
) -> StudyKey:
    """Return the key of a study without images."""
    images: dict[str, Origin] = {}
    generator = np.random.default_rng(seed)

    def add(origin: Origin) -> str:
        name: str = generator.bytes(8).hex()
        images[name] = origin
        return name

    def trial_of(part: Any, number: int, *origins: Origin) -> Trial:
        names = [add(origin) for origin in origins]
        if part == "check" and number % 2:
            names.reverse()
        given = "" if kind == "real-or-fake" else add(Origin("input", -1, f"{number}.png"))
        return Trial(generator.bytes(8).hex(), part, tuple(names), given)

    def judged(number: int, model: int) -> tuple[Origin, ...]:
        name = f"{number}.png"
        if kind == "real-or-fake":
            return Origin("real", -1, name), Origin("model", model, name)
        return tuple(Origin("model", each, name) for each in range(len(models)))

    def trials(model: int) -> tuple[Trial, ...]:
        obvious = Origin("noise", -1, "")
        attentive = [trial_of("check", n, judged(n, model)[0], obvious) for n in range(checks)]
        return (*(trial_of("scored", n, *judged(n, model)) for n in range(scored)), *attentive)

    numbers = range(len(models))
    sets = (
        [TrialSet((m,), trials(m)) for m in numbers]
        if kind == "real-or-fake"
        else [TrialSet(tuple(numbers), trials(0))]
    )
    return StudyKey(
        study="0123456789abcdef",
        kind=kind,
        seconds=seconds,
        question="Which?",
        direction="AtoB",
        rule=Rule(),
        models=models,
        images=images,
        sets=tuple(sets),
        facts={"size": 64, "domains": {"A": "summer", "B": "winter"}},
    )


@dataclass(frozen=True)
class Person:
    """fooled: how often a fake is taken for real (or the first model preferred). lapse: share of trials answered
    without looking. left: how often a lapse is answered with left.
    """

    fooled: float
    lapse: float = 0.0
    left: float = 0.5

    def chosen(self, trial: Trial, left: str, key: StudyKey, generator: np.random.Generator) -> str:
        right = next(name for name in trial.images if name != left)
        if generator.random() < self.lapse:
            return left if generator.random() < self.left else right
        if trial.part == "check":
            return next(name for name in trial.images if key.images[name].source not in ("noise", "flat"))
        hit = next(name for name in trial.images if is_hit(name, key))
        other = next(name for name in trial.images if name != hit)
        return hit if generator.random() < self.fooled else other


def is_hit(name: str, key: StudyKey) -> bool:
    """Return whether choosing an image counts: a fake, or the translation of the first model."""
    origin = key.images[name]
    return origin.model == 0 if key.kind == "preference" else origin.source == "model"


def session_of(person: Person, key: StudyKey, generator: np.random.Generator, *, number: int = 0) -> Session:
    """Return the session of a person, who gets the set of trials `number`."""
    answers = []
    flip = int(generator.integers(2))
    for trial in key.sets[number].trials:
        side = flip if trial.part == "check" else int(generator.integers(2))
        left = trial.images[side]
        chosen = person.chosen(trial, left, key, generator)
        answers.append(Answer(trial, left, trial.images[1 - side], chosen, 1000.0, 500.0, interrupted=False))
    return Session(generator.bytes(8).hex(), Path("x.jsonl"), number, tuple(answers), ended=True)


def lines_of(session: Session, key: StudyKey) -> list[dict[str, Any]]:
    """Return the lines that the page writes for a session, without checksums."""
    start = {"line": "start", "schema": SCHEMA, "study": key.study, "kind": key.kind}
    lines: list[dict[str, Any]] = [{**start, "participant": session.participant, "set": session.set}]
    for answer in session.answers:
        about = {"line": "answer", "trial": answer.trial.id, "left": answer.left, "right": answer.right}
        choice = "left" if answer.chose_left else "right"
        times = {"shown_ms": answer.shown_ms, "response_ms": answer.response_ms, "interrupted": answer.interrupted}
        lines.append({**about, "choice": choice, **times})
    lines += [ranking_line(each) for each in session.rankings]
    return [*lines, {"line": "end"}] if session.ended else lines


def ranking_line(ranking: Ranking) -> dict[str, Any]:
    ranks = {"images": list(ranking.ranks), "ranks": list(ranking.ranks.values())}
    return {"line": "ranking", "trial": ranking.trial.id, **ranks, "comment": ranking.comment}


def written(path: Path, lines: list[Mapping[str, Any]] | list[dict[str, Any]]) -> Path:
    """Write an answer file as the page does."""
    check, text = "", b""
    for line in lines:
        body = json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()
        check = chained(check, body)
        text += body[:-1] + f',"check":"{check}"}}\n'.encode()
    path.write_bytes(text)
    return path


def coverage(
    truth: float, spread: float, *, people: int = 25, trials: int = 40, studies: int = 400
) -> tuple[float, float]:
    """Return the shares of simulated studies whose interval, and whose bootstrap alone, covers the truth.

    The abilities of participants are from a beta distribution with the mean `truth` and the standard deviation
    `spread`, 0 for like participants.
    """
    covered = alone = 0
    for number in range(studies):
        generator = np.random.default_rng([number, round(1000 * truth), people])
        size = truth * (1 - truth) / spread**2 - 1 if spread else math.inf
        abilities = generator.beta(truth * size, (1 - truth) * size, people) if spread else truth
        hits = generator.binomial(trials, abilities, people)
        found = rate([int(each) for each in hits], [trials] * people)
        _, low, high = bootstrap(hits / trials)
        covered += found.low <= truth <= found.high
        alone += low <= truth <= high
    return covered / studies, alone / studies


def print_coverage(studies: int = 2000) -> None:
    """Print a table of coverages, in per cent."""
    print("| true rate | standard deviation over participants | participants | interval | bootstrap alone |")
    print("|---|---|---|---|---|")
    for truth, spread in (
        (0.006, 0),
        (0.006, 0.017),
        (0.021, 0.03),
        (0.05, 0.05),
        (0.268, 0.13),
        (0.5, 0),
        (0.5, 0.15),
    ):
        for people in (10, 25, 50):
            found = coverage(truth, spread, people=people, studies=studies)
            print(f"| {truth} | {spread} | {people} | {100 * found[0]:.1f} | {100 * found[1]:.1f} |", flush=True)


if __name__ == "__main__":
    print_coverage()
