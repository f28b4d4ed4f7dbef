"""The analysis of a study: fooling rates, preferences or ranks, with intervals over participants."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unpaired.errors import DataError
from unpaired.storage import writable
from unpaired.study.answer_files import Session
from unpaired.study.exclusions import Verdict, verdict
from unpaired.study.rank_statistics import friedman, kendall_w
from unpaired.study.rates import Rate, binomial_interval, bootstrap, difference, rate, sign_test
from unpaired.study.study_key import StudyKey


@dataclass(frozen=True)
class Participant:
    """One participant. hits: answers that took a translation for real, or preferred the first model."""

    participant: str
    model: str
    num_answers: int
    hits: int
    left: int
    failed_checks: int
    num_checks: int
    num_mistimed: int
    median_response_ms: float | None
    excluded: str


@dataclass(frozen=True)
class Preference:
    """The comparison of two models.

    share: of answers for the first model. wins, losses, ties: participants with more, fewer or as many answers for it.
    sign_p: sign test over participants. answers_interval: exact interval of all answers, as if they were independent.
    """

    share: Rate
    wins: int
    losses: int
    ties: int
    sign_p: float
    answers_interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """The rate of one model minus that of another one, with its 95 % interval over participants."""

    model: str
    other: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comment:
    """A comment of a reader about a case; case: file name of the input."""

    participant: str
    case: str
    ranks: dict[str, int]
    comment: str


@dataclass(frozen=True)
class Reading:
    """The ranks of readers: mean rank of each model, over cases.

    kendall_w: mean agreement of the readers of a case, None unless two readers ranked the same case. friedman,
    friedman_p: test that all models are alike, with the mean ranks of each case as a block.
    """

    mean_ranks: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    first_places: dict[str, int]
    num_readers: int
    num_cases: int
    num_rankings: int
    kendall_w: float | None
    friedman: float
    friedman_p: float
    comments: tuple[Comment, ...]


@dataclass(frozen=True)
class Analysis:
    """The results of a study.

    fooled: rates by model. differences: of each two models with two participants or more. left: share of answers for
    the left image (position bias). Empty or None if the kind of study has no such result, or no participant counts.
    """

    key: StudyKey
    participants: tuple[Participant, ...] = ()
    fooled: dict[str, Rate] | None = None
    differences: tuple[Difference, ...] = ()
    left: Rate | None = None
    preference: Preference | None = None
    reading: Reading | None = None
    remarks: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return all results, each participant and each remark."""
        key = self.key
        about = {name: getattr(key, name) for name in ("study", "kind", "seconds", "direction", "models", "facts")}
        found: dict[str, Any] = {**about, "rule": asdict(key.rule)}
        for name in ("fooled", "differences", "left", "preference", "reading", "participants", "remarks"):
            found[name] = _plain(getattr(self, name))
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def analyse(sessions: Sequence[Session], key: StudyKey, remarks: Sequence[str] = ()) -> Analysis:
    """Return the results of sessions, which are of different participants. Raises DataError if no answer counts."""
    if key.kind == "readers":
        return Analysis(key, reading=_reading(sessions, key), remarks=tuple(remarks))
    verdicts = [verdict(session, key) for session in sorted(sessions, key=lambda each: each.participant)]
    participants = tuple(_participant(each, key) for each in verdicts)
    included = [each for each in verdicts if each.included]
    left = _rate(included, [sum(answer.chose_left for answer in each.answers) for each in included])
    if key.kind == "preference":
        preference = _preference(included, key)
        return Analysis(key, participants, left=left, preference=preference, remarks=tuple(remarks))
    by_model = {
        name: [each for each in included if key.sets[each.session.set].models == (number,)]
        for number, name in enumerate(key.models)
    }
    rates = {name: _rate(shown, [_hits(each, key) for each in shown]) for name, shown in by_model.items()}
    fooled = {name: found for name, found in rates.items() if found is not None}
    return Analysis(key, participants, fooled, _differences(by_model, key), left, remarks=tuple(remarks))


def _differences(by_model: Mapping[str, Sequence[Verdict]], key: StudyKey) -> tuple[Difference, ...]:
    """Return the differences of each two models with enough participants."""
    rates = {
        name: np.array([_hits(each, key) / len(each.answers) for each in shown])
        for name, shown in by_model.items()
        if len(shown) > 1
    }
    return tuple(
        Difference(one, other, *difference(rates[one], rates[other])) for one, other in itertools.combinations(rates, 2)
    )


def _hits(found: Verdict, key: StudyKey) -> int:
    """Return the answers that took a translation for real, or preferred the first model."""
    chosen = [key.images[answer.chosen] for answer in found.answers]
    if key.kind == "preference":
        return sum(origin.model == 0 for origin in chosen)
    return sum(origin.source == "model" for origin in chosen)


def _rate(included: Sequence[Verdict], hits: Sequence[int]) -> Rate | None:
    """Return a rate over participants, None without any."""
    return rate(hits, [len(each.answers) for each in included]) if included else None


def _participant(found: Verdict, key: StudyKey) -> Participant:
    times = [answer.response_ms for answer in found.answers]
    models = key.sets[found.session.set].models
    return Participant(
        participant=found.session.participant,
        model=" / ".join(key.models[number] for number in models),
        num_answers=len(found.answers),
        hits=_hits(found, key),
        left=sum(answer.chose_left for answer in found.answers),
        failed_checks=found.failed_checks,
        num_checks=found.num_checks,
        num_mistimed=found.num_mistimed,
        median_response_ms=float(np.median(times)) if times else None,
        excluded=found.reason,
    )


def _preference(included: Sequence[Verdict], key: StudyKey) -> Preference | None:
    hits = [_hits(each, key) for each in included]
    share = _rate(included, hits)
    if share is None:
        return None
    leads = [2 * won - len(each.answers) for won, each in zip(hits, included, strict=True)]
    wins, losses = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    interval = binomial_interval(sum(hits), share.num_answers)
    return Preference(share, wins, losses, len(leads) - wins - losses, sign_test(wins, losses), interval)


def _reading(sessions: Sequence[Session], key: StudyKey) -> Reading:
    """Return the statistics of ranks. Raises DataError if there are none."""
    by_case: dict[str, list[list[int]]] = {}
    comments = []
    for session in sessions:
        for ranking in session.rankings:
            by_label = {_label(image, key): rank for image, rank in ranking.ranks.items()}
            by_case.setdefault(ranking.trial.id, []).append([by_label[name] for name in sorted(by_label)])
            if ranking.comment:
                case = key.images[ranking.trial.given].name
                comments.append(Comment(session.participant, case, by_label, writable(ranking.comment)))
    if not by_case:
        raise DataError("No reader has ranked a case yet; collect more answers.")
    names = sorted({_label(image, key) for trial in key.sets[0].trials for image in trial.images})
    blocks = np.array([np.mean(ranks, axis=0) for ranks in by_case.values()])
    shared = [kendall_w(np.array(ranks, np.float64)) for ranks in by_case.values() if len(ranks) > 1]
    every = np.concatenate([np.array(ranks) for ranks in by_case.values()])
    statistic, p_value = friedman(blocks)
    return Reading(
        mean_ranks={name: float(blocks[:, number].mean()) for number, name in enumerate(names)},
        intervals={name: _rank_interval(blocks[:, number]) for number, name in enumerate(names)},
        first_places={name: int((every[:, number] == 1).sum()) for number, name in enumerate(names)},
        num_readers=sum(bool(session.rankings) for session in sessions),
        num_cases=len(blocks),
        num_rankings=len(every),
        kendall_w=float(np.mean(shared)) if shared else None,
        friedman=statistic,
        friedman_p=p_value,
        comments=tuple(comments),
    )


def _rank_interval(ranks: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the bootstrap interval of a mean rank over cases."""
    if len(ranks) == 1:
        return float(ranks[0]), float(ranks[0])
    return bootstrap(ranks)[1:]


def _label(image: str, key: StudyKey) -> str:
    """Return the name of the model that made an image, or "real image"."""
    origin = key.images[image]
    return key.models[origin.model] if origin.source == "model" else "real image"


def _plain(value: Any) -> Any:
    """Return dataclasses within as dictionaries."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
